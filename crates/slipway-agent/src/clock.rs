//! Host name and clock, as the host gives them.

use std::time::{Duration, SystemTime};

/// A clock that is nearer than this to the host's is left alone.
const CLOCK_SKEW_MAX: Duration = Duration::from_millis(500);

/// In a container both may be refused, which is fine: they are right there already.
pub(crate) fn set_identity(hostname: &str, unix_time_ms: i64) {
    let _ = rustix::system::sethostname(hostname.as_bytes());
    let wanted = Duration::from_millis(unix_time_ms.max(0).cast_unsigned());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if now.abs_diff(wanted) > CLOCK_SKEW_MAX {
        let time = libc::timespec { tv_sec: wanted.as_secs().cast_signed(), tv_nsec: wanted.subsec_nanos().into() };
        // SAFETY: `time` outlives the call.
        unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &raw const time) };
    }
}
