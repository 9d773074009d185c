//! Headers of the answers to some paths. All rules that match add theirs; of two with the same name the later one counts.
//!
//! Paths match as in Netlify's `_headers`: regardless of case and of a last slash, `:name` for one part, `*` for
//! anything, also in the middle of a part. `/x/*` is also `/x`.

use super::glob::{Glob, first_part};
use super::path::AskedPath;
use crate::percent;
use http::header::{
    ACCEPT_RANGES, AGE, ALLOW, ALT_SVC, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG,
    LOCATION, SERVER, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use slipway_types::site::HeaderRule;
use std::collections::HashMap;

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

/// Longest path that rules with more after a star than a text are tried on: their cost grows faster than it, and no page
/// has such an address.
pub(crate) const PATH_BYTES_MAX: usize = 4096;

#[derive(Debug)]
struct Rule {
    glob: Glob,
    values: Vec<(HeaderName, Vec<HeaderValue>)>,
    /// `user:password` pairs, one of which opens the path.
    logins: Option<Vec<String>>,
}

/// Rules in order, found without looking at each: those for exactly one path, those whose first part is literal, and the
/// others.
#[derive(Debug, Default)]
struct Index {
    by_path: HashMap<String, Vec<usize>>,
    by_first: HashMap<String, Vec<usize>>,
    others: Vec<usize>,
}

impl Index {
    fn add(&mut self, glob: &Glob, rule: usize) {
        match (glob.literal(), glob.first()) {
            (Some(path), _) => self.by_path.entry(path.to_owned()).or_default().push(rule),
            (None, Some(first)) => self.by_first.entry(first.to_owned()).or_default().push(rule),
            (None, None) => self.others.push(rule),
        }
    }

    fn is_empty(&self) -> bool {
        self.by_path.is_empty() && self.by_first.is_empty() && self.others.is_empty()
    }

    /// The rules that match `path`, in order.
    fn matching(&self, rules: &[Rule], path: &str) -> Vec<usize> {
        if self.is_empty() {
            return Vec::new();
        }
        let path = AskedPath::of(path).map_or_else(|| percent::decode_or_keep(path).into_owned(), |path| path.joined());
        let path = path.to_lowercase();
        // The root is the one path that ends in a slash.
        let path = if path == "/" { "" } else { path.as_str() };
        let exact = self.by_path.get(path).into_iter().flatten().copied();
        let first = self.by_first.get(first_part(path)).into_iter().flatten();
        let is_long = path.len() > PATH_BYTES_MAX;
        let globs = first.chain(&self.others).copied().filter(|rule| {
            let glob = &rules[*rule].glob;
            (!is_long || glob.is_cheap()) && glob.matches(path)
        });
        let mut found: Vec<usize> = exact.chain(globs).collect();
        found.sort_unstable();
        found
    }
}

/// All header rules of a service.
#[derive(Debug, Default)]
pub(crate) struct HeaderRules {
    rules: Vec<Rule>,
    /// Those that set a header, and those that want a login: no rule is looked at for what it does not say.
    setting: Index,
    locking: Index,
}

impl HeaderRules {
    pub(super) fn compile(rules: &[HeaderRule]) -> Self {
        let mut compiled = Self { rules: rules.iter().map(Rule::compile).collect(), ..Self::default() };
        for (index, rule) in compiled.rules.iter().enumerate() {
            if !rule.values.is_empty() {
                compiled.setting.add(&rule.glob, index);
            }
            if rule.logins.is_some() {
                compiled.locking.add(&rule.glob, index);
            }
        }
        compiled
    }

    /// Puts the headers for `path` into an answer.
    pub(crate) fn add(&self, path: &str, headers: &mut HeaderMap) {
        let matching = self.setting.matching(&self.rules, path);
        for (name, values) in matching.into_iter().flat_map(|rule| &self.rules[rule].values) {
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
        let last = self.locking.matching(&self.rules, path).pop()?;
        self.rules[last].logins.as_deref()
    }

    pub(crate) fn has_logins(&self) -> bool {
        !self.locking.is_empty()
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
            ("/a%2Fb", "/a/b", true),
            ("/a%2Fb/*", "/a/b/c", true),
            ("/*aa/:x", "/aaa/b", true),
            ("/*aa/*", "/aaa/b", true),
            ("/*aa/*", "/aab", false),
            ("/*/:x/c", "/a//b/c", true),
            ("/*/:x/c", "/a/b/d", false),
            ("/*aab", "/aaab", true),
            ("/*é", "/aé", true),
        ] {
            let rules = HeaderRules::compile(&[rule(pattern, &[("X-A", &["1"])])]);
            assert_eq!(rules.setting.matching(&rules.rules, path).len() == 1, expected, "{pattern} {path}");
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

    #[test]
    fn rules_for_other_paths_are_not_looked_at() {
        let mut rules = vec![rule("/*", &[("X-A", &["0"])])];
        rules.extend((0..20_000).map(|at| rule(&format!("/a/{at}"), &[("X-A", &["1"])])));
        rules.extend((0..20_000).map(|at| rule(&format!("/{at}/*"), &[("X-A", &["2"])])));
        rules.push(rule("/a/:x", &[("X-A", &["3"])]));
        let rules = HeaderRules::compile(&rules);
        let Index { by_path, by_first, others } = &rules.setting;
        assert_eq!((by_path["/a/7"].len(), by_first["7"].len(), by_first["a"].len(), others.len()), (1, 1, 1, 1));
        assert_eq!(rules.setting.matching(&rules.rules, "/a/7"), [0, 8, 40_001]);
        assert_eq!(rules.setting.matching(&rules.rules, "/7/x"), [0, 20_008]);
        assert!(!rules.has_logins());
    }

    #[test]
    fn a_path_of_no_page_is_held_against_cheap_rules_only() {
        let rules = [
            rule("/*", &[("X-A", &["1"])]),
            rule("/*a*b*.html", &[("X-B", &["1"])]),
            rule("/*/:x/b.html", &[("X-C", &["1"])]),
        ];
        let path = |bytes: usize| format!("/{}/a/b.html", "a".repeat(bytes - 10));
        assert_eq!(added(&rules, &path(PATH_BYTES_MAX)).len(), 5);
        assert_eq!(added(&rules, &path(PATH_BYTES_MAX + 1)).len(), 4);
    }
}
