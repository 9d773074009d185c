//! Host name and clock, as the host gives them.

use std::time::{Duration, Instant, SystemTime};

/// A clock that is nearer than this to the host's is left alone.
const CLOCK_SKEW_MAX: Duration = Duration::from_millis(500);

/// How long a machine sleeps to see whether its timer wakes it when it should.
const TIMER_SLEEP: Duration = Duration::from_millis(10);
/// A machine that shares a processor is late by chance; one of these is in time, or the timer is wrong.
const TIMER_TRIES: u32 = 8;

/// Whether the kernel's timer agrees with its clock, within a factor of two.
pub(crate) fn timer_is_right() -> bool {
    (0..TIMER_TRIES).any(|_| {
        let begun = Instant::now();
        std::thread::sleep(TIMER_SLEEP);
        begun.elapsed() < 2 * TIMER_SLEEP
    })
}

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
