//! A server that says what a test wants, over HTTP/1.1 on a loopback socket, and remembers what it was asked.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `GET /v1/services`
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Vec<u8>,
    /// The body came to its end as HTTP has it.
    pub(crate) complete: bool,
}

impl Asked {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Json(u16, Value),
    /// Lines, then the end of the stream.
    Lines(Vec<Value>),
    /// Lines, then the connection breaks.
    Broken(Vec<Value>),
    /// Lines, then nothing more until the client goes.
    Held(Vec<Value>),
}

#[derive(Debug)]
pub(crate) struct FakeServer {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl FakeServer {
    /// Answers every request by `answer`, which gets the request and how many came before it.
    pub(crate) fn start(answer: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, remembered) = (Arc::new(answer), asked.clone());
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, remembered) = (answer.clone(), remembered.clone());
                std::thread::spawn(move || serve(stream, answer.as_ref(), &remembered));
            }
        });
        Self { url, asked }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&Asked, usize) -> Reply, asked: &Mutex<Vec<Asked>>) {
    let request = read_request(&stream);
    let before = {
        let mut asked = asked.lock().unwrap();
        asked.push(request.clone());
        asked.len() - 1
    };
    // The client may go at any time; that is what some tests are about.
    let _ = write_reply(&mut stream, answer(&request, before));
}

fn read_request(stream: &TcpStream) -> Asked {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let header = |name: &str| {
        let lines = head.iter().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let mut body = Vec::new();
    let complete = match header("content-length") {
        Some(length) => reader.take(length.parse().unwrap()).read_to_end(&mut body).is_ok(),
        None if header("transfer-encoding").is_some() => read_chunks(&mut reader, &mut body).is_some(),
        None => true,
    };
    let line = head.first().map(|line| line.trim_end_matches(" HTTP/1.1").to_owned()).unwrap_or_default();
    Asked { line, authorization: header("authorization"), body, complete }
}

/// None when the connection ended before the last chunk.
fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> Option<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = u64::from_str_radix(line.trim(), 16).ok()?;
        let mut chunk = vec![0; usize::try_from(size).ok()? + 2];
        reader.read_exact(&mut chunk).ok()?;
        if size == 0 {
            return Some(());
        }
        body.extend_from_slice(&chunk[..chunk.len() - 2]);
    }
}

fn write_reply(stream: &mut TcpStream, reply: Reply) -> std::io::Result<()> {
    let (lines, end) = match reply {
        Reply::Json(status, value) => {
            let body = value.to_string();
            let length = body.len();
            return write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
        }
        Reply::Lines(lines) => (lines, "0\r\n\r\n"),
        Reply::Broken(lines) => (lines, ""),
        Reply::Held(lines) => {
            write_lines(stream, &lines)?;
            return stream.read(&mut [0]).map(drop);
        }
    };
    write_lines(stream, &lines)?;
    stream.write_all(end.as_bytes())
}

fn write_lines(stream: &mut TcpStream, lines: &[Value]) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n")?;
    for line in lines {
        let text = format!("{line}\n");
        write!(stream, "{:x}\r\n{text}\r\n", text.len())?;
    }
    stream.flush()
}
