//! The host's random bytes for this kernel's generator.

use super::MachineError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use slipway_types::Secret;
use std::fs::File;
use std::os::fd::AsRawFd;

/// A seed as strong as the generator's own key.
const SEED_BYTES_MIN: usize = 32;
const SEED_BYTES_MAX: usize = 256;

/// The kernel's `struct rand_pool_info`, with its buffer.
#[repr(C)]
struct PoolInfo {
    entropy_count: libc::c_int,
    buf_size: libc::c_int,
    buf: [u8; SEED_BYTES_MAX],
}

/// Fails rather than to let a task draw numbers that another machine may have drawn.
pub(super) fn seed(seed: &Secret) -> Result<(), MachineError> {
    let bytes = STANDARD.decode(seed.expose()).map_err(|_| MachineError::new("the host's seed is no base64"))?;
    if !(SEED_BYTES_MIN..=SEED_BYTES_MAX).contains(&bytes.len()) {
        return Err(MachineError::new(format!("the host's seed has {} bytes", bytes.len())));
    }
    let failed = |error: std::io::Error| MachineError::because("seed the random generator", error);
    let random = File::options().write(true).open("/dev/urandom").map_err(failed)?;
    let length = libc::c_int::try_from(bytes.len()).unwrap_or(0);
    let mut info = PoolInfo { entropy_count: length * 8, buf_size: length, buf: [0; SEED_BYTES_MAX] };
    info.buf[..bytes.len()].copy_from_slice(&bytes);
    // SAFETY: `info` has the layout of the kernel's struct, with `buf_size` bytes behind its head, and outlives the call; the second
    // code takes nothing. The kernel mixes the bytes in at once, and draws from them only after the second.
    let done = unsafe {
        libc::ioctl(random.as_raw_fd(), RNDADDENTROPY, &raw const info) == 0
            && libc::ioctl(random.as_raw_fd(), RNDRESEEDCRNG) == 0
    };
    if done { Ok(()) } else { Err(failed(std::io::Error::last_os_error())) }
}

/// `_IOW('R', 0x03, int[2])`
const RNDADDENTROPY: libc::c_ulong = 0x4008_5203;
/// `_IO('R', 0x07)`
const RNDRESEEDCRNG: libc::c_ulong = 0x5207;
