//! What is written into a mounted image reaches the disk while the command that writes it still runs.
//!
//! Else all of it would be written when the command has ended and somebody waits: the unmount writes what the image's own page
//! cache holds, and newer kernels (6.14) write a file to the disk before they attach it to a loop device, so the next mount would.

use crate::error::LayerError;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the page cache of a mounted image may hold unwritten: what an unmount has to copy at most.
const DIRTY_BYTES_MAX: u64 = 128 << 20;
const EARLY_EVERY: Duration = Duration::from_secs(1);

/// Makes the kernel write the pages of a mounted image into its file soon. Best effort: the switches came with Linux 6.2.
pub(crate) fn bound_dirty(device: u64) {
    switch(device, &[("strict_limit", 1), ("max_bytes", DIRTY_BYTES_MAX)]);
}

/// As the kernel has it: the next user of a loop device may be anybody.
pub(crate) fn unbound_dirty(device: u64) {
    switch(device, &[("strict_limit", 0), ("max_ratio", 100)]);
}

fn switch(device: u64, values: &[(&str, u64)]) {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let switches = PathBuf::from(format!("/sys/dev/block/{major}:{minor}/bdi"));
    for (switch, value) in values {
        let _ = std::fs::write(switches.join(switch), value.to_string());
    }
}

/// Starts to write the file to its disk every second, until dropped. Waits for nothing.
#[derive(Debug)]
pub(crate) struct EarlyWriteBack {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EarlyWriteBack {
    pub(crate) fn start(image: &Path) -> Result<Self, LayerError> {
        let file = File::open(image).map_err(|e| LayerError::io("open the image", image, e))?;
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name("write-back".to_owned()).spawn(move || {
            while stopped.recv_timeout(EARLY_EVERY) == Err(RecvTimeoutError::Timeout) {
                // SAFETY: `file` is open; the call takes no memory. A file system that lacks it does without.
                unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
            }
        });
        let thread = thread.map_err(|e| LayerError::io("start the thread that writes", image, e))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for EarlyWriteBack {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
