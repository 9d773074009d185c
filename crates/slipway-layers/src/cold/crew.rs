//! Threads for work that nobody waits for: lowest priority for CPU and disk, so that builds and apps come first.

use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// The nicest that a thread can be.
const NICE: libc::c_int = 19;
/// From the kernel's `include/uapi/linux/ioprio.h`: this thread, class idle.
const IOPRIO_WHO_PROCESS: libc::c_int = 1;
const IOPRIO_IDLE: libc::c_int = 3 << 13;

/// Ends with its last job once it is dropped.
pub(crate) struct Crew {
    jobs: SyncSender<Job>,
    threads: usize,
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").field("threads", &self.threads).finish()
    }
}

impl Crew {
    pub(crate) fn start(threads: usize) -> std::io::Result<Self> {
        // Room for what is in flight, and for what was given up and is passed over.
        let (jobs, receiver) = sync_channel::<Job>(4 * threads);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..threads {
            let receiver = receiver.clone();
            std::thread::Builder::new().name("layer-archive".to_owned()).spawn(move || work(&receiver))?;
        }
        Ok(Self { jobs, threads })
    }

    /// Jobs that may be in flight: one in work and one waiting for each thread.
    pub(crate) fn in_flight_max(&self) -> usize {
        2 * self.threads
    }

    /// Starts a job; the receiver gets its result. It gets an error when there is no room, or the job panicked.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Nobody waits any more: not worth the work.
            if !sender.is_closed() {
                let _ = sender.send(job());
            }
        });
        if self.jobs.try_send(job).is_err() {
            tracing::warn!("more background work on layers than there is room for");
        }
        receiver
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    lower_priority();
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // A job that panics is its caller's loss, not the thread's.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    }
}

/// Of the calling thread alone. Where it is refused the work is done at the usual priority.
fn lower_priority() {
    // SAFETY: plain system calls without pointers; 0 is the calling thread.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
        libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE);
    }
}
