//! Disks of a machine that was restored: the kernel learns of the images that they stand for now a moment after it runs again.

use super::MachineError;
use slipway_types::agent::DeviceSize;
use std::path::Path;
use std::time::{Duration, Instant};

/// The kernel asks each device for its size once, from a worker of its own.
const SIZE_TIME_MAX: Duration = Duration::from_secs(5);
const SIZE_PAUSE: Duration = Duration::from_millis(1);
/// What the kernel counts in, whatever the disk's own blocks are.
const SECTOR_BYTES: u64 = 512;

/// Nothing is mounted with a size that is another's.
pub(super) fn wait_for(devices: &[DeviceSize]) -> Result<(), MachineError> {
    let deadline = Instant::now() + SIZE_TIME_MAX;
    for wanted in devices {
        loop {
            let bytes = size(Path::new("/sys/block"), &wanted.device);
            if bytes == Some(wanted.bytes) {
                break;
            }
            if Instant::now() >= deadline {
                let found = bytes.map_or_else(|| "no size".to_owned(), |bytes| format!("{bytes} bytes"));
                let DeviceSize { device, bytes } = wanted;
                return Err(MachineError::new(format!("the disk `{device}` has {found}, expected {bytes}")));
            }
            std::thread::sleep(SIZE_PAUSE);
        }
    }
    Ok(())
}

fn size(block: &Path, device: &str) -> Option<u64> {
    let text = std::fs::read_to_string(block.join(device.replace('/', "")).join("size")).ok()?;
    text.trim().parse::<u64>().ok()?.checked_mul(SECTOR_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_the_kernel_s() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("vda")).unwrap();
        std::fs::write(dir.path().join("vda/size"), "131072\n").unwrap();
        assert_eq!(size(dir.path(), "vda"), Some(64 << 20));
        assert_eq!(size(dir.path(), "../vda"), None);
        assert_eq!(size(dir.path(), "vdb"), None);
    }
}
