//! The URL that a rule leads to, taken apart.

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Uri};

/// A server and what to ask it for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) is_https: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    /// The value of `Host`.
    pub(super) authority: HeaderValue,
    pub(super) path_and_query: PathAndQuery,
}

impl Destination {
    /// None: it is no URL of HTTP, or has a login in it, which a rule is no place for.
    pub(super) fn parse(url: &str) -> Option<Self> {
        // As a page that came encrypted would read it; nothing is ever sent in plain text that did not say so.
        let url = if url.starts_with("//") { format!("https:{url}") } else { url.to_owned() };
        let uri: Uri = url.parse().ok()?;
        let is_https = match uri.scheme()? {
            scheme if *scheme == Scheme::HTTPS => true,
            scheme if *scheme == Scheme::HTTP => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let has_port = !authority.as_str().ends_with(authority.host());
        let port = match authority.port_u16() {
            Some(0) => return None,
            Some(port) => port,
            None if has_port => return None,
            None => {
                if is_https {
                    443
                } else {
                    80
                }
            }
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        Some(Self {
            is_https,
            host: host.to_ascii_lowercase(),
            port,
            authority: HeaderValue::from_str(authority.as_str()).ok()?,
            path_and_query: match uri.path_and_query().filter(|path| path.as_str().starts_with('/')) {
                Some(path) => path.clone(),
                None => format!("/{}", uri.path_and_query().map_or("", PathAndQuery::as_str)).parse().ok()?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, expected) in [
            ("https://Api.test/a?b=c", Some("true api.test 443 Api.test /a?b=c")),
            ("http://api.test:8080", Some("false api.test 8080 api.test:8080 /")),
            ("HTTP://api.test.?x", Some("false api.test 80 api.test. /?x")),
            ("//api.test/x", Some("true api.test 443 api.test /x")),
            ("http://[::1]:81/", Some("false ::1 81 [::1]:81 /")),
            ("https://user:word@api.test/", None),
            ("https://evil.test@api.test/", None),
            ("https://api.test:0/", None),
            ("https://api.test:99999/", None),
            ("https:///x", None),
            ("ftp://api.test/", None),
            ("/x", None),
            ("", None),
        ] {
            let parsed = Destination::parse(url).map(|d| {
                let authority = d.authority.to_str().unwrap().to_owned();
                format!("{} {} {} {authority} {}", d.is_https, d.host, d.port, d.path_and_query)
            });
            assert_eq!(parsed.as_deref(), expected, "{url}");
        }
    }
}
