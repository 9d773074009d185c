//! Which machine this is, and which of its boots: hosts that share a directory must not take each other's work for their own.

use std::path::Path;
use std::sync::LazyLock;

/// Characters of a tag in a file name: enough to tell the hosts of one directory apart.
const TAG_CHARS: usize = 8;
/// Each may be missing, and copies of one disk image may share the first: all that there is counts. None changes with a boot.
const IDENTITY_FILES: [&str; 3] = ["/etc/machine-id", "/var/lib/dbus/machine-id", "/sys/class/dmi/id/product_uuid"];
const BOOT_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// A machine in one of its boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Boot {
    pub(crate) machine: [u8; 32],
    pub(crate) boot: [u8; 32],
}

/// This machine, now. Reads nothing after the first time.
pub(crate) fn this_boot() -> &'static Boot {
    static THIS: LazyLock<Boot> = LazyLock::new(|| Boot { machine: machine(), boot: boot() });
    &THIS
}

/// Short name of this machine, for names of files.
pub(crate) fn tag() -> &'static str {
    static TAG: LazyLock<String> = LazyLock::new(|| {
        let mut hex = blake3::Hash::from(this_boot().machine).to_hex().to_string();
        hex.truncate(TAG_CHARS);
        hex
    });
    &TAG
}

fn machine() -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("slipway machine 1");
    let mut known = false;
    for file in IDENTITY_FILES {
        let Ok(text) = std::fs::read_to_string(Path::new(file)) else { continue };
        // systemd writes this word before the first boot has decided.
        if text.trim().is_empty() || text.trim() == "uninitialized" {
            continue;
        }
        known = true;
        hasher.update(text.trim().as_bytes()).update(b"\0");
    }
    if !known {
        hasher.update(rustix::system::uname().nodename().to_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// Without a boot id each process is a boot of its own: then an unsynced layer costs a reinstall instead of being trusted.
fn boot() -> [u8; 32] {
    let id = std::fs::read_to_string(BOOT_FILE).unwrap_or_else(|_| {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        format!("process {} at {}", std::process::id(), now.as_nanos())
    });
    blake3::derive_key("slipway boot 1", id.trim().as_bytes())
}
