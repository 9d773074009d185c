//! Firecracker's interface: small JSON bodies over HTTP/1.1, one request after the other on one connection of its unix socket.
//!
//! Written by hand: the shim has no runtime for a library's client, and this is all of HTTP that the other side speaks. What it
//! answers is bounded: a VMM that a guest took over is no better than the guest.

use crate::driver::DriverError;
use crate::driver::vmm::Process;
use crate::home::short_path;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// From its start until it listens: some milliseconds.
const LISTEN_TIME_MAX: Duration = Duration::from_secs(10);
const LISTEN_PAUSE: Duration = Duration::from_millis(1);
/// For an answer. Writing a snapshot takes as long as its memory takes to write.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
const LINE_BYTES_MAX: u64 = 4096;
const HEADER_LINES_MAX: usize = 32;
const BODY_BYTES_MAX: u64 = 64 * 1024;
/// Of what it says went wrong.
const FAULT_CHARS_MAX: usize = 500;

#[derive(Debug)]
pub(super) struct Api {
    stream: BufReader<UnixStream>,
}

impl Api {
    /// Waits until the VMM listens.
    pub(super) fn connect(dir: &Path, socket: &str, vmm: &Process) -> Result<Self, DriverError> {
        let deadline = Instant::now() + LISTEN_TIME_MAX;
        loop {
            let error = match short_path(dir, socket).and_then(|(_dir, path)| UnixStream::connect(path)) {
                Ok(stream) => {
                    let failed = |e: io::Error| DriverError::because("cannot bound Firecracker's answers", &e);
                    stream.set_read_timeout(Some(ANSWER_TIME_MAX)).map_err(failed)?;
                    stream.set_write_timeout(Some(ANSWER_TIME_MAX)).map_err(failed)?;
                    return Ok(Self { stream: BufReader::new(stream) });
                }
                Err(error) => error,
            };
            if vmm.wait(LISTEN_PAUSE) {
                return Err(DriverError::new("Firecracker, or its jailer, ended at once"));
            }
            if Instant::now() >= deadline {
                return Err(DriverError::because("Firecracker does not listen", &error));
            }
        }
    }

    pub(super) fn put(&mut self, path: &str, body: &Value) -> Result<(), DriverError> {
        self.ask("PUT", path, body)
    }

    pub(super) fn patch(&mut self, path: &str, body: &Value) -> Result<(), DriverError> {
        self.ask("PATCH", path, body)
    }

    fn ask(&mut self, method: &str, path: &str, body: &Value) -> Result<(), DriverError> {
        let failed = |what: &dyn std::fmt::Display| DriverError::new(format!("Firecracker: `{method} {path}`: {what}"));
        let answer = self.exchange(method, path, &body.to_string()).map_err(|error| failed(&error))?;
        match answer.status {
            200..300 => Ok(()),
            status => Err(failed(&format_args!("{status}, {}", answer.fault()))),
        }
    }

    fn exchange(&mut self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.stream.get_mut().write_all((head + body).as_bytes())?;
        read_answer(&mut self.stream)
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    fn fault(&self) -> String {
        let value: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = value["fault_message"].as_str().map_or_else(|| String::from_utf8_lossy(&self.body), Into::into);
        text.chars().filter(|c| !c.is_control()).take(FAULT_CHARS_MAX).collect()
    }
}

fn read_answer(stream: &mut impl BufRead) -> io::Result<Answer> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    let first = read_line(stream)?;
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| bad("the answer has no status"))?;
    let mut length = 0;
    for _ in 0..HEADER_LINES_MAX {
        let line = read_line(stream)?;
        if line.is_empty() {
            let mut body = vec![0; length];
            stream.read_exact(&mut body)?;
            return Ok(Answer { status, body });
        }
        let Some((name, value)) = line.split_once(':') else { return Err(bad("the answer has a broken header")) };
        if name.eq_ignore_ascii_case("content-length") {
            let value = value.trim().parse::<u64>().ok().filter(|value| *value <= BODY_BYTES_MAX);
            length = value.ok_or_else(|| bad("the answer is too long"))? as usize;
        }
    }
    Err(bad("the answer has too many headers"))
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    stream.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\r\n") {
        Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
        None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer ends early")),
    }
}

/// The VMM answered that.
#[cfg(any(test, fuzzing))]
pub(crate) fn answers(mut data: &[u8]) {
    while let Ok(answer) = read_answer(&mut data) {
        assert!(answer.body.len() as u64 <= BODY_BYTES_MAX);
        assert!(answer.fault().chars().count() <= FAULT_CHARS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_within_bounds() {
        let answer = |text: &str| read_answer(&mut text.as_bytes());
        let done = answer("HTTP/1.1 204 \r\nServer: x\r\nConnection: keep-alive\r\n\r\n").unwrap();
        assert_eq!((done.status, done.body.len()), (204, 0));
        let body = r#"{"fault_message":"The drive\nis bad"}"#;
        let failed = answer(&format!("HTTP/1.1 400 \r\ncontent-length: {}\r\n\r\n{body}", body.len())).unwrap();
        assert_eq!((failed.status, failed.fault().as_str()), (400, "The driveis bad"));
        let many = format!("HTTP/1.1 200 \r\n{}", "a: b\r\n".repeat(100));
        let long = format!("HTTP/1.1 200 {}", "x".repeat(100_000));
        for bad in ["", "HTTP/1.1", "SSH-2.0\r\n\r\n", "HTTP/1.1 200 \r\nContent-Length: 9999999\r\n\r\n", &many, &long]
        {
            assert!(answer(bad).is_err(), "{bad:.40}");
        }
        assert!(answer("HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\n1234").is_err());
    }

    #[test]
    fn requests_follow_each_other_on_one_connection() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut api = Api { stream: BufReader::new(ours) };
        let server = std::thread::spawn(move || {
            let mut seen = Vec::new();
            for status in ["204 ", "400 "] {
                let mut chunk = [0; 1024];
                let length = theirs.read(&mut chunk).unwrap();
                seen.push(String::from_utf8_lossy(&chunk[..length]).into_owned());
                theirs.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).unwrap();
            }
            seen
        });
        api.put("/vm", &serde_json::json!({"a": 1})).unwrap();
        let error = api.patch("/vm", &serde_json::json!({})).unwrap_err().to_string();
        assert!(error.contains("`PATCH /vm`: 400"), "{error}");
        let seen = server.join().unwrap();
        assert!(seen[0].starts_with("PUT /vm HTTP/1.1\r\n") && seen[0].ends_with("\r\n\r\n{\"a\":1}"), "{}", seen[0]);
    }
}
