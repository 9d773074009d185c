//! Who may call: the bearer of the admin's token, by a host name that is ours.
//!
//! A browser never sends the `Authorization` header on its own, so a foreign page can't act for its visitor; and a
//! foreign name that was made to resolve to this address (DNS rebinding) is refused by the `Host` header.

use crate::refusal::Refusal;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use slipway_types::Secret;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What a request is held against.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Of the token: digests have one length, so the comparison takes the same time whatever is sent.
    token_digest: blake3::Hash,
    address: IpAddr,
}

impl Guard {
    pub(crate) fn new(token: &Secret, listener: SocketAddr) -> Self {
        Self { token_digest: blake3::hash(token.expose().as_bytes()), address: listener.ip() }
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if !self.is_ours(host) {
            let message = "the API is not served under this host name";
            return Err(Refusal::new(StatusCode::FORBIDDEN, "host-not-allowed", message)
                .hint("use the URL that `client.json` in the data directory names"));
        }
        let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(token) = sent.and_then(bearer) else {
            return Err(unauthorized("token-missing", "the request has no `Authorization: Bearer` header"));
        };
        let same = blake3::hash(token.as_bytes()).as_bytes().ct_eq(self.token_digest.as_bytes());
        if bool::from(same) { Ok(()) } else { Err(unauthorized("token-unknown", "the token is not known here")) }
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = without_port(host);
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        // A literal address can't be rebound by a name server, so any is good where every one is listened on.
        address.is_ok_and(|address| address.is_loopback() || address == self.address || self.address.is_unspecified())
    }
}

fn unauthorized(code: &str, message: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, code, message)
        .hint("the token is in `admin-token` in the server's data directory")
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn without_port(host: &str) -> &str {
    let Some((name, port)) = host.rsplit_once(':') else { return host };
    // In `::1` without brackets the last part is no port.
    let is_port = port.bytes().all(|b| b.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']'));
    if is_port { name } else { host }
}

pub(crate) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(host: &str, authorization: Option<&str>) -> String {
        let guard = Guard::new(&Secret::new("slipway_right"), "127.0.0.1:80".parse().unwrap());
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        guard.check(&headers).map_or_else(|refusal| refusal.error.code, |()| "ok".to_owned())
    }

    #[test]
    fn only_the_token_opens() {
        for (authorization, expected) in [
            (Some("Bearer slipway_right"), "ok"),
            (Some("bearer slipway_right"), "ok"),
            (Some("Bearer slipway_wrong"), "token-unknown"),
            (Some("Bearer slipway_right2"), "token-unknown"),
            (Some("Bearer "), "token-unknown"),
            (Some("Basic slipway_right"), "token-missing"),
            (None, "token-missing"),
        ] {
            assert_eq!(code("localhost:7070", authorization), expected, "{authorization:?}");
        }
    }

    #[test]
    fn only_our_names_are_answered() {
        for host in ["127.0.0.1:80", "127.0.0.1", "LOCALHOST:1", "[::1]:80", "[::1]"] {
            assert_eq!(code(host, Some("Bearer slipway_right")), "ok", "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:80", "10.0.0.1", "", "web-shop.localhost:80"] {
            assert_eq!(code(host, Some("Bearer slipway_right")), "host-not-allowed", "{host}");
        }
    }
}
