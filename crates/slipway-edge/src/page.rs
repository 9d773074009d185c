//! The edge's own answers: a page for browsers, JSON or plain text for programs.

use crate::refusal::{Refusal, SITE_METHOD};
use crate::request_id::X_REQUEST_ID;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};

pub(crate) const X_SLIPWAY_ERROR: HeaderName = HeaderName::from_static("x-slipway-error");

/// What the client can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Html,
    Json,
    Text,
}

impl Format {
    /// By the `Accept` field.
    pub(crate) fn wanted(accept: Option<&HeaderValue>) -> Self {
        let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let accepts = |kind: &str| accept.contains(kind);
        if accepts("text/html") {
            Self::Html
        } else if accepts("application/json") || accepts("+json") {
            Self::Json
        } else {
            Self::Text
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
        }
    }
}

/// The whole answer to a request that no app answers.
pub(crate) fn render(refusal: &Refusal, format: Format, request_id: &HeaderValue) -> Response<Bytes> {
    let id = request_id.to_str().unwrap_or_default();
    let body = match format {
        Format::Html => html(refusal, id),
        Format::Json => json(refusal, id),
        Format::Text => text(refusal, id),
    };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = refusal.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_SLIPWAY_ERROR, HeaderValue::from_static(refusal.code));
    headers.insert(X_REQUEST_ID, request_id.clone());
    if format == Format::Html {
        let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    }
    if refusal.status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
    }
    if refusal.status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"site\", charset=\"UTF-8\""));
    }
    if refusal.code == SITE_METHOD {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// To another address. A browser asks again each time: the next deployment may have other rules.
pub(crate) fn redirect(status: StatusCode, location: HeaderValue) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response.headers_mut().insert(LOCATION, location);
    let revalidated = HeaderValue::from_static("public, max-age=0, must-revalidate");
    response.headers_mut().insert(CACHE_CONTROL, revalidated);
    response
}

fn text(refusal: &Refusal, id: &str) -> String {
    let Refusal { status, code, title, detail, hint } = refusal;
    format!("{} {title}\n\n{detail}\n{hint}\n\ncode: {code}\nrequest: {id}\n", status.as_u16())
}

fn json(refusal: &Refusal, id: &str) -> String {
    let body = serde_json::json!({
        "code": refusal.code,
        "status": refusal.status.as_u16(),
        "message": refusal.detail,
        "hints": [refusal.hint],
        "request_id": id,
    });
    format!("{body}\n")
}

fn html(refusal: &Refusal, id: &str) -> String {
    PAGE.replace("{status}", refusal.status.as_str())
        .replace("{code}", refusal.code)
        .replace("{title}", refusal.title)
        .replace("{hint}", &marked_up(refusal.hint))
        .replace("{id}", &escaped(id))
        // Last: it may hold text from outside, which must not be taken for a place to fill in.
        .replace("{detail}", &escaped(&refusal.detail))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A hint's words between backticks become code.
fn marked_up(hint: &str) -> String {
    let part = |(index, text): (usize, &str)| {
        if index % 2 == 1 { format!("<code>{}</code>", escaped(text)) } else { escaped(text) }
    };
    hint.split('`').enumerate().map(part).collect()
}

const PAGE: &str = include_str!("page.html");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_escaped() {
        let refusal = Refusal::no_such_host("<script>alert('1')</script>&{code}\"");
        let response = render(&refusal, Format::Html, &HeaderValue::from_static("id-1"));
        let page = std::str::from_utf8(response.body()).unwrap();
        assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;{code}&quot;"), "{page}");
        assert!(!page.contains("<script"), "{page}");
        for expected in ["404", "no-such-host", "id-1"] {
            assert!(page.contains(expected), "{expected} in {page}");
        }
    }

    #[test]
    fn the_format_follows_the_accept_header() {
        for (accept, expected) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Html),
            ("application/json", Format::Json),
            ("application/problem+json", Format::Json),
            ("*/*", Format::Text),
        ] {
            assert_eq!(Format::wanted(Some(&HeaderValue::from_static(accept))), expected, "{accept}");
        }
        assert_eq!(Format::wanted(None), Format::Text);
    }
}
