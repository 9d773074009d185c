//! Dials an agent in a virtual machine: the VMM (Firecracker) or its vsock device (QEMU) offers a unix socket, on which
//! `CONNECT <port>` is answered by `OK <number>` once the guest listens there.

use super::DriverError;
use crate::home::short_path;
use slipway_types::agent::VSOCK_PORT;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Between two attempts while the guest boots. Each costs the device a few system calls.
const DIAL_PAUSE: Duration = Duration::from_millis(20);
/// A guest that has the device but does not listen yet refuses at once. Before it has the device, the request waits, or is lost.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: usize = 32;

/// Tries until the agent listens. `ended` says whether there is still anything to wait for, and waits that long.
pub(crate) fn dial(
    dir: &Path,
    socket: &str,
    bound: Duration,
    ended: impl Fn(Duration) -> bool,
) -> Result<UnixStream, DriverError> {
    let deadline = Instant::now() + bound;
    loop {
        let why = match attempt(dir, socket) {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        if ended(DIAL_PAUSE) {
            return Err(DriverError::new("the virtual machine ended before its agent was ready"));
        }
        if Instant::now() >= deadline {
            let what = format!("the agent did not answer within {} s", bound.as_secs());
            return Err(DriverError::because(what, &why));
        }
    }
}

fn attempt(dir: &Path, socket: &str) -> std::io::Result<UnixStream> {
    let (_dir, path) = short_path(dir, socket)?;
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
    stream.write_all(format!("CONNECT {VSOCK_PORT}\n").as_bytes())?;
    let answer = read_line(&mut stream)?;
    if !answer.starts_with("OK ") {
        return Err(std::io::Error::other(format!("it answered `{}`", answer.escape_default())));
    }
    stream.set_read_timeout(None)?;
    Ok(stream)
}

/// Byte by byte: what follows the line is the agent's.
fn read_line(stream: &mut impl Read) -> std::io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < ANSWER_BYTES_MAX {
        stream.read_exact(&mut byte)?;
        if byte[0] == b'\n' {
            return Ok(String::from_utf8_lossy(&line).into_owned());
        }
        line.push(byte[0]);
    }
    Err(std::io::Error::other("it answered a line that is too long"))
}

/// The device answered that.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzzing(data: &[u8]) {
    let mut rest = data;
    if read_line(&mut rest).is_ok() {
        let taken = data.len() - rest.len();
        assert!(taken <= ANSWER_BYTES_MAX && data[..taken].iter().filter(|byte| **byte == b'\n').count() == 1);
        assert_eq!(data[taken - 1], b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;

    #[test]
    fn it_tries_until_the_guest_listens_and_takes_nothing_of_what_follows() {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("v.sock")).unwrap();
        std::thread::spawn(move || {
            for round in 0.. {
                let (stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream);
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                assert_eq!(line, "CONNECT 1024\n");
                if round >= 2 {
                    // Whoever waited too long is gone, and dials again.
                    let _ = reader.get_mut().write_all(b"OK 1073741824\nhello");
                }
            }
        });
        let pause = |_| {
            std::thread::yield_now();
            false
        };
        let mut stream = dial(dir.path(), "v.sock", Duration::from_secs(120), pause).unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "hello");
        let nobody = tempfile::tempdir().unwrap();
        assert!(dial(nobody.path(), "v.sock", Duration::from_secs(5), |_| true).is_err());
    }
}
