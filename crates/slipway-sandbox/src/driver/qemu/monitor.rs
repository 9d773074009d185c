//! QEMU's monitor, by which the empty disks of a blank are changed for a sandbox's images: JSON lines over a socket, with
//! descriptors beside them.
//!
//! It is used once, before anything of a sandbox runs in the machine, and closed. What it answers is bounded: a QEMU that a guest
//! took over is no better than the guest.

use crate::driver::DriverError;
use crate::driver::machine::Disk;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// Lines that are no answer, while one is waited for.
const EVENTS_MAX: usize = 64;
/// Of what it says went wrong.
const FAULT_CHARS_MAX: usize = 300;
/// Numbers of descriptor sets that no disk of the command line has.
const FIRST_SET: usize = 100;
/// More than any file system: the capacity that the guest sees never changes. Beyond its image a disk answers errors.
const PLACEHOLDER_BYTES: u64 = 1 << 40;

/// A disk that stands for nothing: memory that nobody writes.
pub(super) fn placeholder(read_only: bool) -> io::Result<Disk> {
    let memory = rustix::fs::memfd_create("slipway-placeholder", rustix::fs::MemfdFlags::CLOEXEC)?;
    rustix::fs::ftruncate(&memory, PLACEHOLDER_BYTES)?;
    let file = match read_only {
        true => std::fs::File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&memory)))?.into(),
        false => memory,
    };
    Ok(Disk { file, read_only })
}

#[derive(Debug)]
pub(super) struct Monitor {
    stream: BufReader<UnixStream>,
}

impl Monitor {
    /// Ours, and the end that QEMU inherits.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(ANSWER_TIME_MAX))?;
        ours.set_write_timeout(Some(ANSWER_TIME_MAX))?;
        Ok((Self { stream: BufReader::new(ours) }, theirs.into()))
    }

    /// Takes the greeting; afterwards it takes commands.
    pub(super) fn begin(&mut self) -> Result<(), DriverError> {
        self.line().map_err(|error| DriverError::because("QEMU's monitor does not greet", &error))?;
        self.ask("qmp_capabilities", &json!({}), None)
    }

    /// Puts each image in the place of the disk that stands there. The guest must not have used it yet.
    pub(super) fn change(&mut self, disks: &[(usize, Disk)]) -> Result<(), DriverError> {
        for (place, disk) in disks {
            let set = FIRST_SET + place;
            self.ask("add-fd", &json!({ "fdset-id": set }), Some(disk.file.as_fd()))?;
            self.ask("blockdev-add", &file_node(*place, set, disk.read_only), None)?;
        }
        let options: Vec<Value> = disks.iter().map(|(place, disk)| disk_node(*place, disk.read_only)).collect();
        self.ask("blockdev-reopen", &json!({ "options": options }), None)
    }

    fn ask(&mut self, command: &str, arguments: &Value, beside: Option<BorrowedFd<'_>>) -> Result<(), DriverError> {
        let failed = |why: String| DriverError::new(format!("QEMU refuses `{command}`: {why}"));
        let text = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        send(self.stream.get_ref(), text.as_bytes(), beside).map_err(|error| failed(error.to_string()))?;
        for _ in 0..EVENTS_MAX {
            let answer = self.line().map_err(|error| failed(error.to_string()))?;
            if answer.get("return").is_some() {
                return Ok(());
            }
            if let Some(error) = answer.get("error") {
                let why = error["desc"].as_str().unwrap_or("it does not say why");
                return Err(failed(why.chars().filter(|c| !c.is_control()).take(FAULT_CHARS_MAX).collect()));
            }
        }
        Err(failed("it answers something else".to_owned()))
    }

    fn line(&mut self) -> io::Result<Value> {
        let mut line = Vec::new();
        (&mut self.stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        Ok(serde_json::from_slice(&line)?)
    }
}

fn file_node(place: usize, set: usize, read_only: bool) -> Value {
    json!({
        "driver": "file",
        "node-name": format!("image{place}"),
        "filename": format!("/dev/fdset/{set}"),
        "read-only": read_only,
        "locking": "off",
        "aio": "threads",
        "discard": "unmap",
        "cache": { "no-flush": true },
    })
}

fn disk_node(place: usize, read_only: bool) -> Value {
    json!({
        "driver": "raw",
        "node-name": format!("disk{place}"),
        "file": format!("image{place}"),
        "read-only": read_only,
        "discard": "unmap",
        "cache": { "no-flush": true },
    })
}

/// A command is shorter than what a socket takes at once.
fn send(stream: &UnixStream, bytes: &[u8], beside: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<BorrowedFd<'_>> = beside.into_iter().collect();
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("there is no room for the descriptor"));
    }
    match sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)? {
        sent if sent == bytes.len() => Ok(()),
        _ => Err(io::ErrorKind::WriteZero.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn answered(lines: &'static str) -> Result<(), String> {
        let (mut monitor, theirs) = Monitor::pair().unwrap();
        let mut theirs = UnixStream::from(theirs);
        theirs.write_all(lines.as_bytes()).unwrap();
        let disk = placeholder(true).unwrap();
        let asked = monitor.ask("add-fd", &json!({}), Some(disk.file.as_fd()));
        drop(theirs);
        asked.map_err(|error| error.to_string())
    }

    #[test]
    fn an_answer_is_found_among_events_and_a_refusal_is_said() {
        assert_eq!(answered("{\"event\":\"RESUME\"}\n{\"return\":{\"fd\":3}}\n"), Ok(()));
        let refused = answered("{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\\nsuch set\"}}\n").unwrap_err();
        assert_eq!(refused, "QEMU refuses `add-fd`: nosuch set");
        assert!(answered("hello\n").is_err());
        let flood: &'static str = Box::leak("{\"event\":1}\n".repeat(EVENTS_MAX).into_boxed_str());
        assert!(answered(flood).unwrap_err().contains("something else"));
    }

    #[test]
    fn a_placeholder_takes_no_room() {
        use std::os::unix::fs::MetadataExt;
        for read_only in [true, false] {
            let file = std::fs::File::from(placeholder(read_only).unwrap().file);
            let metadata = file.metadata().unwrap();
            assert_eq!((metadata.len(), metadata.blocks()), (PLACEHOLDER_BYTES, 0));
            assert_eq!((&file).write_all(b"x").is_err(), read_only);
        }
    }
}
