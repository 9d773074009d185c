//! The API of a server, over HTTP/1.1 on a TCP connection of its own per call: a command makes two or three calls,
//! so a pool would only add states. Every wait and every body has a bound.

mod api;
mod discovery;
mod error;
mod lines;

pub(crate) use api::{Query, ServicePath};
pub(crate) use discovery::{ClientFile, DATA_DIR_DEFAULT};
pub(crate) use error::ClientError;
pub(crate) use lines::Lines;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use slipway_types::{ApiError, Secret};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Loopback answers at once; five seconds are enough for another continent.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
/// Handlers store intent and return; more means that the server hangs.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);
/// From the start of an upload until the server has unpacked and checked it.
const UPLOAD_WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// A listing of `LIMIT_MAX` rows with diagnoses is below 2 MB.
const ANSWER_BYTES_MAX: usize = 16 << 20;
const USER_AGENT: &str = concat!("slipway/", env!("CARGO_PKG_VERSION"));

type RequestBody = UnsyncBoxBody<Bytes, io::Error>;

/// A server that commands talk to.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// `http://127.0.0.1:7700`, for messages.
    url: String,
    /// `127.0.0.1:7700`
    authority: String,
    token: Option<Secret>,
}

/// An answer whose body is still to come; the connection lives as long as this.
struct Answer {
    response: Response<Incoming>,
    connection: Connection,
}

/// Drives the connection; ends with its owner.
#[derive(Debug)]
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// # Errors
    /// When `url` is not `http://host[:port]`.
    pub(crate) fn new(url: &str, token: Option<Secret>) -> Result<Self, ClientError> {
        let url = url.trim_end_matches('/').to_owned();
        let uri: http::Uri = url.parse().map_err(|_| ClientError::Url { url: url.clone() })?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        match (uri.scheme_str(), authority) {
            (Some("http"), Some(authority)) if uri.path() == "/" && uri.query().is_none() => {
                let port = authority.port_u16().unwrap_or(80);
                let authority = format!("{}:{port}", authority.host());
                Ok(Self { url, authority, token })
            }
            _ => Err(ClientError::Url { url }),
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, empty()).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.call(Method::POST, path, json(body)?).await
    }

    /// One call whose answer is a JSON document. An empty answer reads as `null`.
    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: RequestBody) -> Result<T, ClientError> {
        let exchange = async {
            let answer = self.send(method, path, "application/json", body).await?;
            self.read(answer).await
        };
        let bytes = self.within(ANSWER_WAIT_MAX, exchange).await?;
        let bytes: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        serde_json::from_slice(bytes).map_err(|source| ClientError::Answer { url: self.url.clone(), source })
    }

    /// One call whose answer is a stream of lines without an end of its own.
    async fn lines(&self, path: &str) -> Result<Lines, ClientError> {
        let sent = self.send(Method::GET, path, "application/json", empty());
        let answer = self.within(ANSWER_WAIT_MAX, sent).await?;
        if answer.response.status().is_success() {
            return Ok(Lines::new(answer.response.into_body(), answer.connection, &self.url));
        }
        Err(self.refusal(answer).await)
    }

    async fn within<T>(
        &self,
        wait_max: Duration,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let timed_out = |_| ClientError::TimedOut { url: self.url.clone(), seconds: wait_max.as_secs() };
        tokio::time::timeout(wait_max, work).await.map_err(timed_out)?
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: RequestBody,
    ) -> Result<Answer, ClientError> {
        let unreachable = |source| ClientError::Connect { url: self.url.clone(), source };
        let dial = tokio::time::timeout(CONNECT_WAIT_MAX, TcpStream::connect(&self.authority));
        let stream = dial.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let broken = |source| ClientError::Broken { url: self.url.clone(), source };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let connection = Connection(tokio::spawn(async move {
            // What goes wrong here is told by the call that uses the connection.
            let _ = connection.await;
        }));
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONTENT_TYPE, content_type);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let request = request.body(body).map_err(|_| ClientError::Token)?;
        let response = sender.send_request(request).await.map_err(broken)?;
        Ok(Answer { response, connection })
    }

    /// The whole body of a success; the server's own error else.
    async fn read(&self, answer: Answer) -> Result<Bytes, ClientError> {
        if !answer.response.status().is_success() {
            return Err(self.refusal(answer).await);
        }
        let collected = Limited::new(answer.response.into_body(), ANSWER_BYTES_MAX).collect().await;
        drop(answer.connection);
        collected.map(http_body_util::Collected::to_bytes).map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(source) => ClientError::Broken { url: self.url.clone(), source: *source },
            // `Limited` has one error of its own.
            Err(_) => ClientError::TooLong { bytes_max: ANSWER_BYTES_MAX },
        })
    }

    /// An answer as it stands, whatever it says: behind its status, where that is no success.
    async fn text_of(&self, path: &str) -> Result<String, ClientError> {
        let exchange = async {
            let answer = self.send(Method::GET, path, "application/json", empty()).await?;
            let status = answer.response.status();
            let body = Limited::new(answer.response.into_body(), ANSWER_BYTES_MAX).collect().await;
            drop(answer.connection);
            let body = body.map_err(|_| ClientError::TooLong { bytes_max: ANSWER_BYTES_MAX })?.to_bytes();
            let head = if status.is_success() { String::new() } else { format!("{status}\n") };
            Ok(head + &String::from_utf8_lossy(&body))
        };
        self.within(ANSWER_WAIT_MAX, exchange).await
    }

    async fn refusal(&self, answer: Answer) -> ClientError {
        let status = answer.response.status();
        let body = Limited::new(answer.response.into_body(), ANSWER_BYTES_MAX).collect();
        let body = tokio::time::timeout(ANSWER_WAIT_MAX, body).await;
        let bytes = body.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default();
        match serde_json::from_slice::<ApiError>(&bytes) {
            Ok(_) if status == StatusCode::UNAUTHORIZED => ClientError::Unauthorized { url: self.url.clone() },
            Ok(error) => ClientError::Refused(error),
            Err(_) => ClientError::Status { url: self.url.clone(), status },
        }
    }
}

fn empty() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn json(body: &impl Serialize) -> Result<RequestBody, ClientError> {
    let bytes = serde_json::to_vec(body).map_err(ClientError::Request)?;
    Ok(Full::from(bytes).map_err(|never| match never {}).boxed_unsync())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses() {
        for (url, authority) in [
            ("http://127.0.0.1:7700", "127.0.0.1:7700"),
            ("http://slipway.lan/", "slipway.lan:80"),
            ("http://[::1]:7700", "[::1]:7700"),
        ] {
            assert_eq!(Client::new(url, None).unwrap().authority, authority);
        }
        for url in ["https://x", "x", "http://", "http://a/b", "http://u:p@a", "ftp://a", "http://a?b"] {
            assert!(Client::new(url, None).is_err(), "{url}");
        }
    }
}
