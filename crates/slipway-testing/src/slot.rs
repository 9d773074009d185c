//! Numbers that no two test processes hold at once, so that each server has its own subnet.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;

/// Test servers that may run at once on one machine.
const SLOTS: u8 = 40;
/// First second octet of `10.x.0.0/16`; a server in use on the same machine has 10.201.
const FIRST_OCTET: u8 = 205;
/// The kernel's own range begins at 32768.
const FIRST_PORT: u16 = 21_400;

/// A number held until it is dropped, or the process dies.
#[derive(Debug)]
pub struct Slot {
    number: u8,
    _locked: File,
}

impl Slot {
    /// Claims the first free number of a kind, by a lock file that all checkouts on the machine know.
    pub fn claim(kind: &str) -> Slot {
        let dir = std::env::temp_dir().join("slipway-test-slots").join(kind);
        std::fs::create_dir_all(&dir).unwrap();
        for number in 0..SLOTS {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(dir.join(format!("slot-{number}.lock")))
                .unwrap();
            // SAFETY: flock on a descriptor that `file` owns; no memory is involved.
            if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
                return Slot { number, _locked: file };
            }
        }
        panic!("all {SLOTS} slots for test servers are taken: is an earlier test run still alive?");
    }

    pub fn number(&self) -> u8 {
        self.number
    }

    /// Two ports of its own. Below the range from which the kernel gives ports to connections: one that was free a moment ago
    /// in that range may be a client's now.
    pub fn ports(&self) -> [u16; 2] {
        let first = FIRST_PORT + 2 * u16::from(self.number);
        [first, first + 1]
    }

    /// For the sandboxes of the test server that holds it.
    pub fn subnet(&self) -> String {
        format!("10.{}.0.0/16", FIRST_OCTET + self.number)
    }
}
