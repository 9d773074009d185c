//! A plain HTTP/1.1 client on blocking sockets: small enough to trust, and it reports every byte that is wrong.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// For any single read or write.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(60);

/// An answer, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// One persistent connection to the edge.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<TcpStream>,
    host: String,
}

impl Connection {
    pub fn open(port: u16, host: &str) -> io::Result<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(SOCKET_TIMEOUT))?;
        stream.set_write_timeout(Some(SOCKET_TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Connection { reader: BufReader::new(stream), host: host.to_owned() })
    }

    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.request("GET", path, &[], "")
    }

    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Response> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.host);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        head.push_str(body);
        self.reader.get_mut().write_all(head.as_bytes())?;
        self.response(method == "HEAD")
    }

    /// Sends the head of an upgrade to WebSocket and expects 101.
    pub fn upgrade(&mut self, path: &str) -> io::Result<()> {
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.host
        );
        self.reader.get_mut().write_all(head.as_bytes())?;
        let (status, headers) = self.head()?;
        let accepted = headers.iter().any(|(_, value)| value == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        if status == 101 && accepted { Ok(()) } else { Err(broken(format!("upgrade answered {status} {headers:?}"))) }
    }

    /// Sends one short text frame and reads one back (RFC 6455, section 5.2).
    pub fn echo_frame(&mut self, text: &str) -> io::Result<String> {
        assert!(text.len() < 126, "short frames only");
        let mask = [1, 2, 3, 4];
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap()];
        frame.extend(mask);
        frame.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.reader.get_mut().write_all(&frame)?;
        let mut head = [0; 2];
        self.reader.read_exact(&mut head)?;
        let mut payload = vec![0; usize::from(head[1] & 0x7f)];
        self.reader.read_exact(&mut payload)?;
        String::from_utf8(payload).map_err(|e| broken(e.to_string()))
    }

    fn response(&mut self, no_body: bool) -> io::Result<Response> {
        let (status, headers) = self.head()?;
        let find =
            |wanted: &str| headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, v)| v.clone());
        let body = if no_body || status == 204 || status == 304 {
            Vec::new()
        } else if find("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            self.chunked()?
        } else if let Some(length) = find("content-length") {
            let mut body = vec![0; length.parse().map_err(|_| broken(format!("content-length {length}")))?];
            self.reader.read_exact(&mut body)?;
            body
        } else {
            let mut body = Vec::new();
            self.reader.read_to_end(&mut body)?;
            body
        };
        Ok(Response { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
    }

    fn head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let first = self.line()?;
        let status = first
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| broken(format!("status line `{first}`")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| broken(format!("header `{line}`")))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn chunked(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = self.line()?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(|_| broken(format!("chunk size `{size}`")))?;
            let start = body.len();
            body.resize(start + size, 0);
            self.reader.read_exact(&mut body[start..])?;
            self.line()?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "connection closed"));
        }
        Ok(line.trim_end().to_owned())
    }
}

/// One request on a connection of its own.
///
/// # Errors
/// When the connection or the answer breaks.
pub fn get(port: u16, host: &str, path: &str) -> io::Result<Response> {
    Connection::open(port, host)?.request("GET", path, &[("connection", "close")], "")
}

fn broken(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
