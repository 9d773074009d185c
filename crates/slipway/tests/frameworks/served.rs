//! What a deployed service answers.

use slipway_testing::http::{Connection, Response};
use slipway_testing::{TestServer, wait};
use std::time::Duration;

/// Until the replicas of an earlier deployment are gone: more than the grace that they are given.
const PROCESS_END_BOUND: Duration = Duration::from_secs(60);

/// A service that is live.
pub(crate) struct Served<'s> {
    server: &'s TestServer,
    host: String,
}

impl<'s> Served<'s> {
    pub(crate) fn new(server: &'s TestServer, host: String) -> Served<'s> {
        Served { server, host }
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.server.get(&self.host, path)
    }

    fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut connection = Connection::open(self.server.edge_port(), &self.host).unwrap();
        connection.request("GET", path, headers, "").unwrap()
    }

    /// 200 with `text` in the body.
    pub(crate) fn answers(&self, path: &str, text: &str) -> Response {
        let response = self.get(path);
        assert_eq!(response.status, 200, "GET {path}: {response:?}");
        assert!(response.body.contains(text), "GET {path} has no `{text}`: {response:?}");
        response
    }

    /// An HTML page with `text` on it.
    pub(crate) fn shows(&self, path: &str, text: &str) -> Response {
        let page = self.answers(path, text);
        let kind = page.header("content-type").unwrap_or_default().to_ascii_lowercase();
        assert!(kind.starts_with("text/html"), "GET {path} is of the type `{kind}`");
        page
    }

    /// The answer is made for each request: what the query says comes back in it.
    pub(crate) fn echoes(&self, path: &str) {
        for word in ["first-4711", "second-0815"] {
            self.answers(&format!("{path}?say={word}"), word);
        }
    }

    /// The page is a file of the edge's: an ETag that is honoured, a charset, and no process behind it.
    pub(crate) fn is_a_site(&self, path: &str) {
        let page = self.get(path);
        let kind = page.header("content-type").unwrap_or_default().to_ascii_lowercase().replace(' ', "");
        assert_eq!(kind, "text/html;charset=utf-8", "GET {path}");
        let tag =
            page.header("etag").unwrap_or_else(|| panic!("GET {path} has no ETag: {:?}", page.headers)).to_owned();
        let again = self.get_with(path, &[("if-none-match", &tag)]);
        assert_eq!((again.status, again.body.as_str()), (304, ""), "GET {path} with its own ETag");
        assert_eq!(again.header("etag"), Some(tag.as_str()));
        assert!(
            !page.header("cache-control").unwrap_or_default().contains("immutable"),
            "a page must not be cached for ever: {:?}",
            page.headers
        );
        // An earlier deployment's process may still be ending.
        wait::until("a site without a process", PROCESS_END_BOUND, || self.server.sandboxes().is_empty().then_some(()));
    }

    /// The page names a file that begins with `prefix` and ends with `ending`; it is served for ever, and compressed.
    pub(crate) fn has_asset(&self, page: &str, prefix: &str, ending: &str, kind: &str) {
        let body = self.get(page).body;
        let path =
            asset(&body, prefix, ending).unwrap_or_else(|| panic!("GET {page} names no `{prefix}…{ending}`: {body}"));
        let file = self.get_with(&path, &[("accept-encoding", "br, gzip")]);
        assert_eq!(file.status, 200, "GET {path}: {:?}", file.headers);
        let found = file.header("content-type").unwrap_or_default();
        assert!(found.starts_with(kind), "GET {path} is of the type `{found}`");
        let caching = file.header("cache-control").unwrap_or_default();
        let certain = has_certain_digest(&path);
        assert!(
            caching.contains("immutable") || !certain,
            "GET {path} has a digest in its name but `cache-control: {caching}`"
        );
    }

    /// As [`Served::has_asset`], of a server that itself decides about caching.
    pub(crate) fn has_file(&self, page: &str, prefix: &str, ending: &str, kind: &str) {
        let body = self.get(page).body;
        let path =
            asset(&body, prefix, ending).unwrap_or_else(|| panic!("GET {page} names no `{prefix}…{ending}`: {body}"));
        let file = self.get(&path);
        assert_eq!(file.status, 200, "GET {path}: {:?}", file.headers);
        let found = file.header("content-type").unwrap_or_default();
        assert!(found.starts_with(kind), "GET {path} is of the type `{found}`");
    }

    /// 404 with `text` in the body.
    pub(crate) fn misses(&self, path: &str, text: &str) {
        let response = self.get(path);
        assert_eq!(response.status, 404, "GET {path}: {response:?}");
        assert!(response.body.contains(text), "GET {path} has no `{text}`: {response:?}");
    }
}

/// Whether the framework puts nothing but files named by their contents there. Elsewhere a digest may look like a word
/// (`main-TMBSGUE4.js`): such a file is asked for again each time, on purpose.
fn has_certain_digest(path: &str) -> bool {
    ["/_next/static/", "/_astro/", "/_app/immutable/"].iter().any(|directory| path.starts_with(directory))
}

/// The first path of that form; a minified page has no quotes around it, and a relative one no slash before it.
fn asset(body: &str, prefix: &str, ending: &str) -> Option<String> {
    let rooted = |word: &str| format!("/{}", word.trim_start_matches(['.', '/']));
    let words = body.split(|c: char| c.is_whitespace() || "\"'()<>=".contains(c)).map(rooted);
    words.into_iter().find(|path| path.starts_with(&rooted(prefix)) && path.ends_with(ending))
}
