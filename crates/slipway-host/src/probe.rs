//! One health probe: an HTTP/1.1 request, or a connection where no path is set. Bounded in time and in bytes read.

use slipway_types::host::ProbeResult;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Enough for the status line and any sane set of header fields.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Asks once. `host` is the `Host` field, as a request through the edge would have it.
pub(crate) async fn probe(address: SocketAddr, host: &str, path: Option<&str>, timeout: Duration) -> ProbeResult {
    tokio::time::timeout(timeout, ask(address, host, path)).await.unwrap_or(ProbeResult::TimedOut)
}

async fn ask(address: SocketAddr, host: &str, path: Option<&str>) -> ProbeResult {
    let mut stream = match TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return ProbeResult::Refused,
        Err(error) if error.kind() == io::ErrorKind::TimedOut => return ProbeResult::TimedOut,
        Err(error) => return ProbeResult::Broken { message: error.to_string() },
    };
    let Some(path) = path else { return ProbeResult::Healthy };
    match exchange(&mut stream, host, path).await {
        Ok(200..=399) => ProbeResult::Healthy,
        Ok(status) => ProbeResult::Status { status },
        Err(error) => ProbeResult::Broken { message: error.to_string() },
    }
}

async fn exchange(stream: &mut TcpStream, host: &str, path: &str) -> io::Result<u16> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: slipway-health\r\naccept: */*\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    // 1xx answers come before the real one.
    loop {
        while let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            match status_of(&head)? {
                100..=199 => drop(head.drain(..end + 4)),
                status => return Ok(status),
            }
        }
        if head.len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("the answer has no end of its header"));
        }
        match stream.read(&mut chunk).await? {
            0 if head.is_empty() => return Err(io::Error::other("the connection was closed without an answer")),
            0 => return Err(io::Error::other("the connection was closed within the answer's header")),
            count => head.extend_from_slice(&chunk[..count]),
        }
        if !b"HTTP/1.".starts_with(&head[..head.len().min(7)]) {
            return Err(io::Error::other("the answer is not HTTP"));
        }
    }
}

/// `HTTP/1.1 200 OK` → 200.
fn status_of(head: &[u8]) -> io::Result<u16> {
    let status = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|text| text.parse().ok());
    status.filter(|_| head.get(8) == Some(&b' ')).ok_or_else(|| io::Error::other("the answer has no status"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Answers one connection with `answer`, then holds it open or closes it.
    async fn server(answer: &'static [u8], hold: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let count = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..count]).into_owned();
            assert!(request.starts_with("GET /health HTTP/1.1\r\nhost: web\r\nuser-agent: slipway-health\r\n"));
            stream.write_all(answer).await.unwrap();
            if hold {
                std::future::pending::<()>().await;
            }
        });
        address
    }

    #[tokio::test]
    async fn answers_are_told_apart() {
        let second = Duration::from_secs(5);
        let status = |status| ProbeResult::Status { status };
        for (answer, expected) in [
            (&b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..], ProbeResult::Healthy),
            (b"HTTP/1.0 302 Found\r\nlocation: /\r\n\r\n", ProbeResult::Healthy),
            (b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 204 No\r\n\r\n", ProbeResult::Healthy),
            (b"HTTP/1.1 404 Not Found\r\n\r\n", status(404)),
            (b"HTTP/1.1 500 Oh\r\n\r\n", status(500)),
        ] {
            let address = server(answer, true).await;
            assert_eq!(probe(address, "web", Some("/health"), second).await, expected);
        }
        for broken in [&b"SSH-2.0-x\r\n"[..], b"HTTP/1.1 200 OK\r\n", b"", b"HTTP/1.1 abc\r\n\r\n"] {
            let address = server(broken, false).await;
            let result = probe(address, "web", Some("/health"), second).await;
            assert!(matches!(result, ProbeResult::Broken { .. }), "{result:?}");
        }
    }

    #[tokio::test]
    async fn silence_and_refusal_are_told_apart() {
        let silent = server(b"", true).await;
        assert_eq!(probe(silent, "web", Some("/health"), Duration::from_millis(100)).await, ProbeResult::TimedOut);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(probe(address, "web", None, Duration::from_secs(1)).await, ProbeResult::Healthy);
        drop(listener);
        assert_eq!(probe(address, "web", None, Duration::from_secs(1)).await, ProbeResult::Refused);
    }
}
