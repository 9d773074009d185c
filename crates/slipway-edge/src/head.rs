//! What changes in a head on its way through: hop-by-hop fields go (RFC 9110 §7.6.1), forwarding fields come.

use crate::request_id::X_REQUEST_ID;
use http::header::{
    CONNECTION, EXPECT, FORWARDED, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::time::Duration;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Says where a request came from, so never taken from a client that is not trusted.
const CLAIMS: [HeaderName; 6] = [
    FORWARDED,
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-ssl"),
];

/// What the edge knows of the client, for the app.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: HeaderValue,
    /// What is in front of the edge is believed: its fields are kept and added to.
    pub(crate) trusted: bool,
}

/// How a transfer coding other than `chunked` is refused: it cannot be undone here, nor passed on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownCoding;

/// Makes a client's head into one for a replica. Answers the protocol that is really asked for, if one is.
pub(crate) fn forward_request(
    headers: &mut HeaderMap,
    peer: &Peer,
    authority: HeaderValue,
    request_id: HeaderValue,
    may_upgrade: bool,
) -> Result<Option<HeaderValue>, UnknownCoding> {
    let chunked = is_chunked(headers)?;
    let upgrade = wanted_upgrade(headers).filter(|_| may_upgrade);
    let trailers = headers.get_all(TE).iter().any(|value| has_token(value, "trailers"));
    remove_hop_by_hop(headers);
    headers.remove(HTTP2_SETTINGS);
    // Answered here: `100 Continue` is sent as soon as a replica takes the body.
    headers.remove(EXPECT);
    if chunked {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if let Some(protocol) = &upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    } else if trailers {
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    add_forwarded(headers, peer, &authority);
    headers.insert(X_REQUEST_ID, request_id);
    headers.insert(HOST, authority);
    Ok(upgrade)
}

/// The client's connection is encrypted, as far as is known here: see `X-Forwarded-Proto` of [`forward_request`].
pub(crate) fn is_https(headers: &HeaderMap) -> bool {
    headers
        .get(X_FORWARDED_PROTO)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(',').next().is_some_and(|first| first.trim().eq_ignore_ascii_case("https")))
}

fn add_forwarded(headers: &mut HeaderMap, peer: &Peer, authority: &HeaderValue) {
    if !peer.trusted {
        for name in CLAIMS {
            headers.remove(name);
        }
        headers.insert(X_FORWARDED_FOR, peer.address.clone());
        headers.insert(X_FORWARDED_HOST, authority.clone());
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
        headers.insert(X_REAL_IP, peer.address.clone());
        return;
    }
    let chain = appended(headers, &peer.address);
    headers.insert(X_FORWARDED_FOR, chain);
    headers.entry(X_FORWARDED_HOST).or_insert_with(|| authority.clone());
    headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
    headers.entry(X_REAL_IP).or_insert_with(|| peer.address.clone());
}

fn appended(headers: &HeaderMap, address: &HeaderValue) -> HeaderValue {
    let mut chain = Vec::new();
    for value in headers.get_all(X_FORWARDED_FOR) {
        chain.extend_from_slice(value.as_bytes());
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(address.as_bytes());
    HeaderValue::from_bytes(&chain).unwrap_or_else(|_| address.clone())
}

/// Makes a replica's head into one for the client. Answers how long the replica keeps the connection when idle.
pub(crate) fn forward_response(status: StatusCode, headers: &mut HeaderMap, idle_max: Duration) -> Duration {
    let keep = kept_for(headers, idle_max);
    let protocol = headers.get(UPGRADE).cloned();
    remove_hop_by_hop(headers);
    if let Some(protocol) = protocol
        && (status == StatusCode::SWITCHING_PROTOCOLS || status == StatusCode::UPGRADE_REQUIRED)
    {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    keep
}

/// Reads `Keep-Alive: timeout=5`: a connection is given up a second before the replica does.
fn kept_for(headers: &HeaderMap, idle_max: Duration) -> Duration {
    let margin = Duration::from_secs(1);
    let timeout = headers.get(KEEP_ALIVE).and_then(|value| value.to_str().ok()).and_then(|text| {
        text.split(',').find_map(|part| part.trim().strip_prefix("timeout=")?.trim().parse::<u32>().ok())
    });
    timeout.map_or(idle_max, |seconds| Duration::from_secs(u64::from(seconds)).saturating_sub(margin).min(idle_max))
}

fn is_chunked(headers: &HeaderMap) -> Result<bool, UnknownCoding> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(UnknownCoding),
    }
}

/// The protocol of a real upgrade. HTTP/2 is not one: the app behind would speak a protocol that nothing here checks.
fn wanted_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers.get_all(CONNECTION).iter().any(|value| has_token(value, "upgrade"));
    let protocol = headers.get(UPGRADE).filter(|_| asked)?;
    (!has_token(protocol, "h2c") && !has_token(protocol, "h2")).then(|| protocol.clone())
}

fn has_token(value: &HeaderValue, token: &str) -> bool {
    value.as_bytes().split(|byte| *byte == b',').any(|part| {
        let name = part.split(|byte| *byte == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(token.as_bytes())
    })
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        remove_listed(headers);
        headers.remove(CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE]
    {
        headers.remove(name);
    }
}

/// Removes the fields that `Connection` lists. `Host` and framing are not a sender's to take away.
fn remove_listed(headers: &mut HeaderMap) {
    let mut listed: Vec<HeaderName> = Vec::new();
    for value in headers.get_all(CONNECTION) {
        for part in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let usual = [&b"close"[..], b"keep-alive", b"upgrade", b"te"];
            if usual.iter().any(|name| part.eq_ignore_ascii_case(name)) {
                continue;
            }
            listed.extend(HeaderName::from_bytes(part));
        }
    }
    for name in listed {
        if name != HOST && name != http::header::CONTENT_LENGTH {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn lines(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    fn forwarded(sent: &[(&'static str, &'static str)], trusted: bool) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let peer = Peer { address: HeaderValue::from_static("192.0.2.7"), trusted };
        let (host, id) = (HeaderValue::from_static("a.test"), HeaderValue::from_static("id"));
        forward_request(&mut headers, &peer, host, id, true).unwrap();
        lines(&headers)
    }

    #[test]
    fn hop_by_hop_fields_and_claims_go() {
        let sent = [
            ("connection", "close, X-Secret-Hop, host"),
            ("x-secret-hop", "1"),
            ("keep-alive", "timeout=9"),
            ("proxy-authorization", "Basic x"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip, trailers;q=1"),
            ("upgrade", "websocket"),
            ("expect", "100-continue"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil"),
            ("forwarded", "for=evil"),
            ("x-real-ip", "10.0.0.1"),
            ("cookie", "a=b"),
        ];
        let expected = [
            "connection: te",
            "cookie: a=b",
            "host: a.test",
            "te: trailers",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-host: a.test",
            "x-forwarded-proto: http",
            "x-real-ip: 192.0.2.7",
            "x-request-id: id",
        ];
        assert_eq!(forwarded(&sent, false), expected);
    }

    #[test]
    fn a_trusted_proxy_is_believed_and_added_to() {
        let sent = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "https")];
        let headers = forwarded(&sent, true);
        assert!(headers.contains(&"x-forwarded-for: 203.0.113.9, 192.0.2.7".to_owned()), "{headers:?}");
        assert!(headers.contains(&"x-forwarded-proto: https".to_owned()), "{headers:?}");
    }

    #[test]
    fn only_real_upgrades_pass() {
        let headers = forwarded(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")], false);
        assert!(headers.contains(&"upgrade: websocket".to_owned()), "{headers:?}");
        assert!(headers.contains(&"connection: upgrade".to_owned()), "{headers:?}");
        for sent in [
            &[("connection", "upgrade, http2-settings"), ("upgrade", "h2c"), ("http2-settings", "x")][..],
            &[("upgrade", "websocket")],
            &[("connection", "upgrade")],
        ] {
            let headers = forwarded(sent, false);
            assert!(!headers.iter().any(|line| line.contains("upgrade") || line.contains("http2")), "{headers:?}");
        }
    }

    #[test]
    fn other_transfer_codings_are_refused() {
        assert_eq!(is_chunked(&map(&[("transfer-encoding", " Chunked ")])), Ok(true));
        assert_eq!(is_chunked(&map(&[])), Ok(false));
        assert_eq!(is_chunked(&map(&[("transfer-encoding", "gzip, chunked")])), Err(UnknownCoding));
    }

    #[test]
    fn connections_are_given_up_before_the_replica_does() {
        let idle_max = Duration::from_millis(3500);
        for (sent, expected) in
            [("timeout=5", 3500), ("timeout=3, max=100", 2000), ("timeout=1", 0), ("max=5", 3500), ("timeout=x", 3500)]
        {
            let mut headers = map(&[("connection", "keep-alive"), ("keep-alive", sent)]);
            let keep = forward_response(StatusCode::OK, &mut headers, idle_max);
            assert_eq!(keep, Duration::from_millis(expected), "{sent}");
            assert!(headers.is_empty());
        }
    }
}
