//! The bodies of what Firecracker is asked for.

use super::FirecrackerPrograms;
use crate::config::IoLimits;
use crate::driver::tap::TAP;
use crate::network::Slot;
use serde_json::{Value, json};

/// The machine's own number on its vsock; each has a device of its own.
const GUEST_CID: u32 = 3;
pub(super) const NETWORK: &str = "network";
/// Where the host dials the guest, in the machine's root.
pub(super) const VSOCK_SOCKET: &str = "vsock.sock";
/// End the machine for a reboot or a panic, look for no keyboard and no mouse, and say little.
const WORDS: &str = "reboot=k panic=-1 audit=0 i8042.noaux i8042.nomux i8042.dumbkbd swiotlb=noforce cryptomgr.notests";
const SILENT_WORDS: &str = "quiet loglevel=1 8250.nr_uarts=0";
const TALKING_WORDS: &str = "console=ttyS0 loglevel=7 8250.nr_uarts=1";
/// A second: what is not used within it is lost.
const REFILL_MS: u64 = 1000;

/// Whether the machine has a serial console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    Silent,
    Talking,
}

/// What a machine is given before it starts, by path, in order.
pub(super) fn boot(
    programs: &FirecrackerPrograms,
    slot: &Slot,
    (memory_mib, processors): (u64, u32),
    disks: &[bool],
    speech: Speech,
) -> Vec<(String, Value)> {
    let source = json!({
        "kernel_image_path": "/kernel",
        "initrd_path": "/initramfs",
        "boot_args": kernel_words(programs, speech),
    });
    let machine = json!({ "vcpu_count": processors, "mem_size_mib": memory_mib, "smt": false });
    let mut bodies = vec![("/machine-config".to_owned(), machine), ("/boot-source".to_owned(), source)];
    for (place, read_only) in disks.iter().enumerate() {
        let mut drive = json!({
            "drive_id": disk(place),
            "path_on_host": format!("/{}", disk(place)),
            "is_root_device": false,
            "is_read_only": read_only,
        });
        put_limit(&mut drive, "rate_limiter", disk_limit(&programs.limits));
        bodies.push((format!("/drives/{}", disk(place)), drive));
    }
    let mut network = json!({ "iface_id": NETWORK, "host_dev_name": TAP, "guest_mac": mac(slot) });
    for name in ["rx_rate_limiter", "tx_rate_limiter"] {
        put_limit(&mut network, name, network_limit(&programs.limits));
    }
    bodies.push((format!("/network-interfaces/{NETWORK}"), network));
    bodies.push(("/vsock".to_owned(), json!({ "guest_cid": GUEST_CID, "uds_path": format!("/{VSOCK_SOCKET}") })));
    bodies.push(("/entropy".to_owned(), json!({})));
    bodies
}

pub(super) fn kernel_words(programs: &FirecrackerPrograms, speech: Speech) -> String {
    let console = if speech == Speech::Talking { TALKING_WORDS } else { SILENT_WORDS };
    format!("{WORDS} {} {console}", programs.kernel_words).replace("  ", " ")
}

/// Name of the disk at that place, in the interface and in the machine's root.
pub(super) fn disk(place: usize) -> String {
    format!("disk{place}")
}

pub(super) fn disk_limit(limits: &IoLimits) -> Option<Value> {
    limiter(limits.disk_bytes_per_second, limits.disk_operations_per_second)
}

pub(super) fn network_limit(limits: &IoLimits) -> Option<Value> {
    limiter(limits.network_bytes_per_second, limits.network_packets_per_second)
}

pub(super) fn put_limit(body: &mut Value, name: &str, limit: Option<Value>) {
    if let Some(limit) = limit {
        body[name] = limit;
    }
}

fn limiter(bytes: Option<u64>, operations: Option<u64>) -> Option<Value> {
    let mut limiter = json!({});
    for (name, count) in [("bandwidth", bytes), ("ops", operations)] {
        if let Some(count) = count {
            limiter[name] = json!({ "size": count, "refill_time": REFILL_MS });
        }
    }
    (bytes.is_some() || operations.is_some()).then_some(limiter)
}

/// Of the slot's address, in the range for private use.
fn mac(slot: &Slot) -> String {
    let [a, b, c, d] = slot.guest.octets();
    format!("02:51:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_said_only_where_they_are_configured() {
        assert_eq!(disk_limit(&IoLimits::default()), None);
        let limits =
            IoLimits { disk_bytes_per_second: Some(1000), network_packets_per_second: Some(7), ..IoLimits::default() };
        assert_eq!(disk_limit(&limits), Some(json!({ "bandwidth": { "size": 1000, "refill_time": 1000 } })));
        assert_eq!(network_limit(&limits), Some(json!({ "ops": { "size": 7, "refill_time": 1000 } })));
    }
}
