//! Headers of the answers to some paths. All rules that match add theirs; of two with the same name the later one counts.
//!
//! Paths match as in Netlify's `_headers`: regardless of case and of a last slash, `:name` for one part, `*` for
//! anything, also in the middle of a part. `/x/*` is also `/x`.

use super::path::AskedPath;
use crate::percent;
use http::header::{
    ACCEPT_RANGES, AGE, ALLOW, ALT_SVC, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG,
    LOCATION, SERVER, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use slipway_types::site::HeaderRule;

/// What the edge itself must say, and what belongs to a connection.
const RESERVED: [HeaderName; 19] = [
    ACCEPT_RANGES,
    AGE,
    ALLOW,
    ALT_SVC,
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    DATE,
    ETAG,
    LOCATION,
    SERVER,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    crate::request_id::X_REQUEST_ID,
];
/// Not a header but a lock: never sent.
const BASIC_AUTH: &str = "basic-auth";

#[derive(Debug)]
struct Rule {
    glob: Glob,
    values: Vec<(HeaderName, Vec<HeaderValue>)>,
    /// `user:password` pairs, one of which opens the path.
    logins: Option<Vec<String>>,
}

/// All header rules of a service.
#[derive(Debug, Default)]
pub(crate) struct HeaderRules {
    rules: Vec<Rule>,
}

impl HeaderRules {
    pub(super) fn compile(rules: &[HeaderRule]) -> Self {
        Self { rules: rules.iter().map(Rule::compile).collect() }
    }

    /// Puts the headers for `path` into an answer.
    pub(crate) fn add(&self, path: &str, headers: &mut HeaderMap) {
        for (name, values) in self.matching(path).into_iter().flat_map(|rule| &rule.values) {
            // Others have something to say under these names too.
            let mut replaces = *name != SET_COOKIE && *name != VARY;
            for value in values {
                if std::mem::take(&mut replaces) {
                    headers.insert(name.clone(), value.clone());
                } else {
                    headers.append(name.clone(), value.clone());
                }
            }
        }
    }

    /// The logins that open `path`; None: it is open. Of several rules the last one counts, as for headers.
    pub(crate) fn logins(&self, path: &str) -> Option<&[String]> {
        if !self.has_logins() {
            return None;
        }
        self.matching(path).into_iter().rev().find_map(|rule| rule.logins.as_deref())
    }

    pub(crate) fn has_logins(&self) -> bool {
        self.rules.iter().any(|rule| rule.logins.is_some())
    }

    fn matching(&self, path: &str) -> Vec<&Rule> {
        if self.rules.is_empty() {
            return Vec::new();
        }
        let path = AskedPath::of(path).map_or_else(|| percent::decode_or_keep(path).into_owned(), |path| path.joined());
        let path = path.to_lowercase();
        self.rules.iter().filter(|rule| rule.glob.matches(&path)).collect()
    }
}

impl Rule {
    fn compile(rule: &HeaderRule) -> Self {
        let mut values = Vec::new();
        let mut logins = None;
        for (name, texts) in &rule.values {
            if name.eq_ignore_ascii_case(BASIC_AUTH) {
                let pairs = texts.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned);
                logins = Some(pairs.collect());
                continue;
            }
            let parsed: Vec<HeaderValue> = texts.iter().filter_map(|text| text.trim().parse().ok()).collect();
            match name.parse::<HeaderName>() {
                Ok(name) if parsed.len() == texts.len() && !RESERVED.contains(&name) => values.push((name, parsed)),
                _ => tracing::warn!(path = rule.path, name, "a header rule that cannot be followed"),
            }
        }
        Self { glob: Glob::parse(&rule.path), values, logins }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Text(String),
    /// One part of a path.
    Part,
    /// A part ends here.
    End,
}

/// Tokens between stars: one more run than there are stars.
#[derive(Debug, PartialEq, Eq)]
struct Glob {
    runs: Vec<Vec<Token>>,
}

impl Glob {
    fn parse(path: &str) -> Self {
        let mut runs = Vec::new();
        let mut run = Vec::new();
        for part in path.split('/').map(str::trim_end).filter(|part| !part.is_empty()) {
            if part == "*" {
                run.push(Token::End);
                runs.push(std::mem::take(&mut run));
                continue;
            }
            run.push(Token::Text("/".to_owned()));
            if part.starts_with(':') {
                run.push(Token::Part);
                continue;
            }
            for (index, text) in part.split('*').enumerate() {
                if index > 0 {
                    runs.push(std::mem::take(&mut run));
                }
                run.push(Token::Text(percent::decode_or_keep(text).to_lowercase()));
            }
        }
        runs.push(run);
        Self { runs }
    }

    /// `path` is decoded, lower case, without its last slash.
    fn matches(&self, path: &str) -> bool {
        // The root is the one path that ends in a slash.
        let path = if path == "/" { "" } else { path };
        let Some((last, runs)) = self.runs.split_last() else { return false };
        let Some((first, middle)) = runs.split_first() else { return end_of(last, path, 0) == Some(path.len()) };
        let Some(mut at) = end_of(first, path, 0) else { return false };
        for run in middle {
            // The earliest place leaves the most room for the rest.
            let Some(end) = (at..=path.len()).find_map(|start| end_of(run, path, start)) else { return false };
            at = end;
        }
        (at..=path.len()).any(|start| end_of(last, path, start) == Some(path.len()))
    }
}

/// Where a run that begins at `at` ends; None: it does not fit there.
fn end_of(run: &[Token], path: &str, mut at: usize) -> Option<usize> {
    for token in run {
        let rest = path.as_bytes().get(at..)?;
        match token {
            Token::Text(text) => at += rest.starts_with(text.as_bytes()).then_some(text.len())?,
            Token::Part => {
                let length = rest.iter().take_while(|byte| **byte != b'/').count();
                at += (length > 0).then_some(length)?;
            }
            Token::End => {
                if !matches!(rest.first(), None | Some(b'/')) {
                    return None;
                }
            }
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn rule(path: &str, values: &[(&str, &[&str])]) -> HeaderRule {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let values: BTreeMap<_, _> = values.iter().map(|(name, texts)| ((*name).to_owned(), own(texts))).collect();
        HeaderRule { path: path.to_owned(), values }
    }

    fn added(rules: &[HeaderRule], path: &str) -> Vec<String> {
        let mut headers = HeaderMap::new();
        headers.insert("cache-control", HeaderValue::from_static("edge"));
        headers.insert("vary", HeaderValue::from_static("accept-encoding"));
        HeaderRules::compile(rules).add(path, &mut headers);
        let mut lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn paths_match_as_in_netlifys_headers_files() {
        for (pattern, path, expected) in [
            ("/", "/", true),
            ("/", "/a", false),
            ("/*", "/", true),
            ("/*", "/a/b", true),
            ("/a", "/a/", true),
            ("/a/", "/A", true),
            ("/a/*", "/a", true),
            ("/a/*", "/a/b/c", true),
            // `@netlify/headers-parser` lets this one match; it was hardly meant.
            ("/a/*", "/ab", false),
            ("/:x/index.html", "/p/index.html", true),
            ("/:x/index.html", "/p/q/index.html", false),
            ("/:x", "/", false),
            ("/*/_next/static/chunks/*", "/p/_next/static/chunks/x/y", true),
            ("/*/_next/static/chunks/*", "/_next/static/chunks/x", true),
            ("/directory/*/test.html", "/directory/a/b/test.html", true),
            ("/directory/*/test.html", "/directory/test.html", true),
            ("/*.css", "/a/b.css", true),
            ("/*.css", "/a/b.css.map", false),
            ("/a*c/d", "/abbc/d", true),
            ("/a*b*c", "/a-b-b-c", true),
            ("/a*b*c", "/a-c", false),
            ("/caf%C3%A9", "/caf%C3%A9", true),
            ("/café", "/caf%c3%a9", true),
            ("/a+(b)", "/a+(b)", true),
        ] {
            let rules = HeaderRules::compile(&[rule(pattern, &[])]);
            assert_eq!(rules.matching(path).len() == 1, expected, "{pattern} {path}");
        }
    }

    #[test]
    fn all_that_match_add_and_the_later_one_counts() {
        let rules = [
            rule("/*", &[("X-A", &["1"]), ("Cache-Control", &["no-store"]), ("Set-Cookie", &["a=1"])]),
            rule("/x", &[("x-a", &["2"]), ("Vary", &["cookie"]), ("Set-Cookie", &["b=1"])]),
        ];
        let lines = [
            "cache-control: no-store",
            "set-cookie: a=1",
            "set-cookie: b=1",
            "vary: accept-encoding",
            "vary: cookie",
            "x-a: 2",
        ];
        assert_eq!(added(&rules, "/x"), lines);
        let several = [rule("/*", &[("Cache-Control", &["public", "max-age=1"])])];
        assert_eq!(added(&several, "/x")[..2], ["cache-control: max-age=1", "cache-control: public"]);
    }

    #[test]
    fn what_the_edge_must_say_itself_cannot_be_set() {
        let reserved =
            ["Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Location", "ETag", "Basic-Auth"];
        for name in reserved.into_iter().chain(["bad name", ""]) {
            assert_eq!(added(&[rule("/*", &[(name, &["1"])])], "/x").len(), 2, "{name}");
        }
        assert_eq!(added(&[rule("/*", &[("x-a", &["1\r\nx-b: 2"])])], "/x").len(), 2);
    }

    #[test]
    fn a_lock_is_found_by_the_last_rule_that_has_one() {
        let rules = HeaderRules::compile(&[
            rule("/a/*", &[("Basic-Auth", &["u:p v:q"])]),
            rule("/a/b", &[("Basic-Auth", &["w:r"]), ("X-A", &["1"])]),
            rule("/*", &[("X-B", &["1"])]),
        ]);
        assert_eq!(rules.logins("/a"), Some(&["u:p".to_owned(), "v:q".to_owned()][..]));
        assert_eq!(rules.logins("/A/b/"), Some(&["w:r".to_owned()][..]));
        assert_eq!(rules.logins("/b"), None);
    }
}
