//! Which host name a request is for.

use http::header::HOST;
use http::{HeaderValue, Request, Uri};
use std::borrow::Cow;

/// Why a request names no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostError {
    Missing,
    /// More than one, or one that is not text.
    Ambiguous,
}

/// The authority as the client wrote it. An absolute-form target counts before the header (RFC 9112 §3.2.2).
pub(crate) fn authority<B>(request: &Request<B>) -> Result<HeaderValue, HostError> {
    if let Some(authority) = request.uri().authority() {
        // User information is not part of a host name.
        let text = authority.as_str().rsplit('@').next().unwrap_or_default();
        return HeaderValue::from_str(text).map_err(|_| HostError::Ambiguous);
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => Err(HostError::Missing),
        (Some(host), None) if host.is_empty() => Err(HostError::Missing),
        (Some(host), None) if host.to_str().is_ok() => Ok(host.clone()),
        _ => Err(HostError::Ambiguous),
    }
}

/// The name to look up: lower case, without port and without the root's dot.
pub(crate) fn name(authority: &str) -> Cow<'_, str> {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => authority,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// The target in origin form, as an upstream wants it.
pub(crate) fn origin_form(uri: Uri) -> Uri {
    if uri.scheme().is_none() && uri.authority().is_none() {
        return uri;
    }
    match uri.into_parts().path_and_query {
        Some(path) if path.as_str().starts_with('/') => Uri::from(path),
        // `http://host?query` names the root.
        Some(path) => format!("/{}", path.as_str()).parse().unwrap_or_default(),
        None => Uri::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_port_case_and_dot() {
        for (authority, expected) in [
            ("web-shop.localhost", "web-shop.localhost"),
            ("Web-Shop.Localhost:8080", "web-shop.localhost"),
            ("a.example.", "a.example"),
            ("a.example.:80", "a.example"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("a:", "a"),
        ] {
            assert_eq!(name(authority), expected, "{authority}");
        }
    }

    #[test]
    fn the_target_goes_before_the_header() {
        let request = |uri: &str, hosts: &[&'static str]| {
            let mut request = Request::new(());
            *request.uri_mut() = uri.parse().unwrap();
            for host in hosts {
                request.headers_mut().append(HOST, HeaderValue::from_static(host));
            }
            authority(&request).map(|host| host.to_str().unwrap().to_owned())
        };
        assert_eq!(request("/x", &["a"]).unwrap(), "a");
        assert_eq!(request("http://u:p@b:81/x", &["a"]).unwrap(), "b:81");
        assert_eq!(request("/x", &[]), Err(HostError::Missing));
        assert_eq!(request("/x", &[""]), Err(HostError::Missing));
        assert_eq!(request("/x", &["a", "b"]), Err(HostError::Ambiguous));
    }

    #[test]
    fn upstreams_get_the_origin_form() {
        for (given, expected) in
            [("http://a/x?y=1", "/x?y=1"), ("http://a", "/"), ("http://a?q", "/?q"), ("/x", "/x"), ("*", "*")]
        {
            assert_eq!(origin_form(given.parse().unwrap()).to_string(), expected, "{given}");
        }
    }
}
