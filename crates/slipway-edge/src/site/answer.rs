//! The answer to one request from the files of a site (RFC 9110).
//!
//! Rules come before files where they are forced, after them otherwise. Only GET and HEAD are answered with a file.

use super::encoding::{self, Encoding};
use super::file::{self, FileBody, Opened};
use super::name::FileName;
use super::range::{self, Asked};
use super::resolve::{self, NOT_FOUND_PAGE, Resolved};
use super::{Entry, Site};
use crate::activity::Activity;
use crate::backend::Permit;
use crate::body::ResponseBody;
use crate::login;
use crate::page;
use crate::percent;
use crate::refusal::Refusal;
use crate::rules::{Action, Decision, Target};
use crate::table::RouteEntry;
use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri};
use std::sync::Arc;

/// What is forever the same under its name.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// What must be asked for again, which costs a 304.
const REVALIDATED: HeaderValue = HeaderValue::from_static("public, max-age=0, must-revalidate");

/// Behind a login: no cache on the way may keep it.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, max-age=0, must-revalidate");

/// One request for a site.
#[derive(Debug)]
pub(crate) struct Visit<'a> {
    pub(crate) site: &'a Site,
    pub(crate) route: &'a RouteEntry,
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) activity: &'a Arc<Activity>,
}

/// What comes of a visit.
#[derive(Debug)]
pub(crate) enum Reply<'r> {
    Own(Response<ResponseBody>),
    /// Another server answers.
    Outside {
        url: Target,
        headers: &'r [(HeaderName, HeaderValue)],
    },
}

/// A file and how it is sent.
#[derive(Debug)]
struct Page<'a> {
    name: &'a str,
    entry: &'a Entry,
    status: StatusCode,
    /// It is at the address that was asked for.
    is_direct: bool,
}

impl Visit<'_> {
    /// `decision` is what the rules of the route say.
    pub(crate) async fn answer<'r>(
        &self,
        decision: Option<Decision<'r>>,
        permit: Permit,
    ) -> Result<Reply<'r>, Refusal> {
        let asked = FileName::of(self.uri.path()).map_err(|_| Refusal::bad_path(self.route))?;
        let resolved = self.site.resolve(&asked);
        if let Some(decision) = decision
            && (decision.force || resolved == Resolved::Missing)
        {
            return match decision.action {
                Action::Redirect { status, location } => Ok(Reply::Own(self.redirect(status, location))),
                Action::Proxy { url, headers } => Ok(Reply::Outside { url, headers }),
                Action::Rewrite { status, to } => self.rewrite(status, &to, permit).await.map(Reply::Own),
            };
        }
        if !matches!(*self.method, Method::GET | Method::HEAD) {
            return Err(Refusal::site_method(self.route));
        }
        let response = match resolved {
            Resolved::File(name) => self.send(self.page(&name, StatusCode::OK, true)?, permit).await,
            Resolved::Directory => self.to_directory(),
            Resolved::Missing => self.send(self.instead(&asked)?, permit).await,
        };
        response.map(Reply::Own)
    }

    async fn rewrite(
        &self,
        status: StatusCode,
        to: &Target,
        permit: Permit,
    ) -> Result<Response<ResponseBody>, Refusal> {
        if !matches!(*self.method, Method::GET | Method::HEAD) {
            return Err(Refusal::site_method(self.route));
        }
        let asked = FileName::of(&to.base).map_err(|_| Refusal::bad_path(self.route))?;
        let found = match self.site.resolve(&asked) {
            Resolved::Directory => self.site.resolve(&FileName { slash: true, ..asked }),
            found => found,
        };
        let page = match &found {
            Resolved::File(name) => self.page(name, status, false)?,
            _ => self.not_found()?,
        };
        self.send(page, permit).await
    }

    /// For a path that is no file: a single-page app's page, or the site's own for what is missing.
    fn instead(&self, asked: &FileName) -> Result<Page<'_>, Refusal> {
        let accept = self.headers.get_all(ACCEPT).iter();
        let accepts_html = accept.filter_map(|accept| accept.to_str().ok()).any(|accept| accept.contains("text/html"));
        match &self.site.fallback {
            Some(name) if resolve::is_navigation(asked, accepts_html) => self.page(name, StatusCode::OK, false),
            _ => self.not_found(),
        }
    }

    fn not_found(&self) -> Result<Page<'_>, Refusal> {
        self.page(NOT_FOUND_PAGE, StatusCode::NOT_FOUND, false)
    }

    fn page(&self, name: &str, status: StatusCode, is_direct: bool) -> Result<Page<'_>, Refusal> {
        let (name, entry) = self.site.get(name).ok_or_else(|| Refusal::no_such_page(self.route, self.uri.path()))?;
        Ok(Page { name, entry, status, is_direct })
    }

    /// The same address with a slash, so that relative links of the page are right.
    fn to_directory(&self) -> Result<Response<ResponseBody>, Refusal> {
        let query = self.uri.query().map_or_else(String::new, |query| format!("?{query}"));
        let location = HeaderValue::try_from(format!("{}/{query}", self.uri.path()));
        let location = location.map_err(|_| Refusal::bad_path(self.route))?;
        Ok(self.redirect(StatusCode::MOVED_PERMANENTLY, location))
    }

    fn redirect(&self, status: StatusCode, location: HeaderValue) -> Response<ResponseBody> {
        page::redirect(status, location).map(|bytes| ResponseBody::own(bytes, self.activity.clone()))
    }

    async fn send(&self, page: Page<'_>, permit: Permit) -> Result<Response<ResponseBody>, Refusal> {
        let file = &page.entry.file;
        let is_ok = page.status == StatusCode::OK;
        let range = match self.range(&page) {
            Asked::Whole => None,
            range => Some(range),
        };
        let encoding = match range {
            Some(_) => Encoding::Identity,
            None => {
                let accepted = self.headers.get_all(ACCEPT_ENCODING).iter();
                encoding::choose(accepted, file.brotli_bytes.is_some(), file.gzip_bytes.is_some())
            }
        };
        let bytes = page.entry.bytes(encoding).unwrap_or(file.bytes);
        let mut headers = page.headers(encoding);
        if self.is_locked(page.name)? {
            headers.insert(CACHE_CONTROL, PRIVATE);
        }
        self.route.rules.headers.add(self.uri.path(), &mut headers);
        let (status, start, length) = match range {
            _ if is_ok && self.is_known(&headers) => (StatusCode::NOT_MODIFIED, 0, 0),
            Some(Asked::Part { start, length }) => {
                let last = start + length - 1;
                headers.insert(CONTENT_RANGE, text(format!("bytes {start}-{last}/{bytes}")));
                (StatusCode::PARTIAL_CONTENT, start, length)
            }
            Some(_) => {
                headers.insert(CONTENT_RANGE, text(format!("bytes */{bytes}")));
                (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0)
            }
            None => (page.status, 0, bytes),
        };
        if status != StatusCode::NOT_MODIFIED {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let body = match *self.method == Method::HEAD || length == 0 {
            true => ResponseBody::own(Bytes::new(), self.activity.clone()),
            false => self.body(&page, encoding, start, length, permit).await?,
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// Whether a login was needed. A file is locked at each of its addresses when it is at one of them: `/a` is `/a.html`.
    fn is_locked(&self, name: &str) -> Result<bool, Refusal> {
        let rules = &self.route.rules.headers;
        if !rules.has_logins() {
            return Ok(false);
        }
        let mut file = String::from("/");
        percent::encode_into(&mut file, name, |byte| byte == b'/' || percent::unreserved(byte));
        let addresses = [Some(file.as_str()), file.strip_suffix(".html"), file.strip_suffix("index.html")];
        let mut is_locked = rules.logins(self.uri.path()).is_some();
        for address in addresses.into_iter().flatten() {
            login::check(self.route, address, self.headers)?;
            is_locked |= rules.logins(address).is_some();
        }
        Ok(is_locked)
    }

    fn range(&self, page: &Page<'_>) -> Asked {
        if *self.method != Method::GET || page.status != StatusCode::OK {
            return Asked::Whole;
        }
        let mut fields = self.headers.get_all(RANGE).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else { return Asked::Whole };
        // A date is never believed: files of a site have none.
        let is_same = self.headers.get(IF_RANGE).is_none_or(|tag| *tag == page.tag(Encoding::Identity));
        if is_same { range::asked(Some(field), page.entry.file.bytes) } else { Asked::Whole }
    }

    /// The client has what it would get.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        headers.get(ETAG).is_some_and(|tag| range::names(self.headers.get_all(IF_NONE_MATCH).iter(), tag))
    }

    async fn body(
        &self,
        page: &Page<'_>,
        encoding: Encoding,
        start: u64,
        length: u64,
        permit: Permit,
    ) -> Result<ResponseBody, Refusal> {
        if let Some(whole) = page.entry.memory.get(encoding) {
            return Ok(ResponseBody::held(part(&whole, start, length), permit, self.activity.clone()));
        }
        let bytes = page.entry.bytes(encoding).unwrap_or_default();
        let path = self.site.path(page.entry, encoding);
        match file::open(path.clone(), bytes, permit).await {
            Ok(Opened::Whole(whole, permit)) => {
                page.entry.memory.keep(encoding, &whole, &self.site.memory);
                Ok(ResponseBody::held(part(&whole, start, length), permit, self.activity.clone()))
            }
            Ok(Opened::Large(file)) => {
                Ok(ResponseBody::file(FileBody::new(file, start, length), self.activity.clone()))
            }
            Err(error) => {
                tracing::error!(path = %path.display(), file = page.name, %error, "a file of a site cannot be read");
                Err(Refusal::file_unreadable(self.route))
            }
        }
    }
}

impl Page<'_> {
    fn headers(&self, encoding: Encoding) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(12);
        let is_immutable = self.entry.is_fingerprinted && self.is_direct;
        headers.insert(CONTENT_TYPE, self.entry.kind.clone());
        headers.insert(CACHE_CONTROL, if is_immutable { IMMUTABLE } else { REVALIDATED });
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.status == StatusCode::OK {
            headers.insert(ETAG, self.tag(encoding));
            headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        }
        if let Some(token) = encoding.token() {
            headers.insert(CONTENT_ENCODING, token);
        }
        if self.entry.file.brotli_bytes.is_some() || self.entry.file.gzip_bytes.is_some() {
            headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        }
        headers
    }

    /// Strong: each form has its own.
    fn tag(&self, encoding: Encoding) -> HeaderValue {
        let digest = &self.entry.file.digest;
        text(encoding.suffix().map_or_else(|| format!("\"{digest}\""), |suffix| format!("\"{digest}-{suffix}\"")))
    }
}

/// Digits and hexadecimal digits are always a valid value.
fn text(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn part(whole: &Bytes, start: u64, length: u64) -> Bytes {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(whole.len());
    whole.slice(place(start)..place(start.saturating_add(length)))
}
