//! Whether this machine's processor runs virtual machines for us.

use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::path::Path;

pub(crate) const KVM: &str = "/dev/kvm";
/// `_IO(0xAE, 0x00)`; the answer has been 12 since 2007.
const KVM_GET_API_VERSION: libc::c_ulong = 0xae00;
const KVM_API_VERSION: i32 = 12;

/// Why the device cannot be used at all, and what to do.
pub(crate) fn trouble() -> Option<String> {
    trouble_of(Path::new(KVM))
}

fn trouble_of(path: &Path) -> Option<String> {
    let file = match std::fs::File::options().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) => return Some(why(&error)),
    };
    // SAFETY: the call takes no argument.
    match unsafe { libc::ioctl(file.as_raw_fd(), KVM_GET_API_VERSION, 0) } {
        KVM_API_VERSION => None,
        -1 => Some("it is no device of the kernel's virtualisation".to_owned()),
        version => Some(format!("it speaks version {version}, expected {KVM_API_VERSION}")),
    }
}

fn why(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => {
            "it is not there: turn virtualisation on in the firmware, load the module `kvm_intel` or \
            `kvm_amd`, or, on a virtual machine, ask its provider for nested virtualisation; or use another driver"
                .to_owned()
        }
        ErrorKind::PermissionDenied => {
            "no permission: start `slipway server` as root, and let its service or container open the device".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Whether guests run without the processor's own virtualisation (PVM: pagetable-based virtual machines). Such a host offers the
/// same device but runs only kernels that are made for it.
pub(crate) fn is_pvm() -> bool {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    Path::new("/sys/module/kvm_pvm").exists() || (cfg!(target_arch = "x86_64") && lacks_virtualisation(&processor))
}

fn lacks_virtualisation(processor: &str) -> bool {
    let flags = processor.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    !flags.split_ascii_whitespace().any(|flag| matches!(flag, "vmx" | "svm"))
}

pub(crate) const PVM_HINT: &str = "this host virtualises without the processor's help (PVM): it runs only kernels that are made \
    for it, and the guest's seems to be another; give a kernel that is, or use the driver `qemu` or `oci`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_with_what_to_do() {
        let missing = trouble_of(Path::new("/nonexistent/kvm")).unwrap();
        assert!(missing.contains("nested virtualisation"), "{missing}");
        assert!(why(&ErrorKind::PermissionDenied.into()).contains("as root"));
        let plain = tempfile::NamedTempFile::new().unwrap();
        assert!(trouble_of(plain.path()).unwrap().contains("no device"));
    }

    #[test]
    fn a_processor_that_shows_no_virtualisation() {
        assert!(!lacks_virtualisation("model name\t: X\nflags\t\t: fpu vmx sse\n"));
        assert!(lacks_virtualisation("flags\t\t: fpu vmxlike sse\n"));
    }
}
