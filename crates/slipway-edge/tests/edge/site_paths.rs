//! Paths that nobody would write, thousands of them: the edge answers each, and never with anything but the site's files.

use crate::client::Client;
use crate::files::SiteDirectory;
use crate::harness::Edge;
use slipway_types::site::{HeaderRule, Redirect, SiteRules};
use std::collections::BTreeMap;

const PATHS: usize = 4000;
/// What makes paths go wrong, and what makes them right.
const PIECES: [&str; 34] = [
    "/",
    "//",
    ".",
    "..",
    "%2e",
    "%2E%2e",
    "%2f",
    "%5c",
    "\\",
    "%00",
    "%0d%0a",
    "%",
    "%4",
    "%zz",
    "%ff",
    "%c3%a9",
    "a",
    "index",
    ".html",
    "docs",
    "files",
    "site.json",
    "secret",
    ":splat",
    "*",
    ";x",
    "?",
    "?id=",
    "&",
    "=",
    "+",
    "x.js",
    "~",
    "@evil.test",
];

/// The same at every run: a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_paths_are_answered_and_lead_nowhere() {
    let site = SiteDirectory::new(&[("index.html", "home"), ("docs/index.html", "docs"), ("a.html", "a")]);
    std::fs::write(site.path().join("secret"), "TOP-SECRET").unwrap();
    let redirect = |from: &str, to: &str, status| Redirect {
        from: from.to_owned(),
        query: BTreeMap::from_iter((status == 302).then(|| ("id".to_owned(), ":id".to_owned()))),
        to: to.to_owned(),
        status,
        force: false,
        conditions: BTreeMap::new(),
        headers: BTreeMap::new(),
    };
    let redirects = vec![
        redirect("/a/*", "/:splat", 301),
        redirect("/docs/:x/*/y*", "/:splat/:x", 200),
        redirect("/x.js", "/:id", 302),
        redirect("/files/*", "/:splat", 200),
    ];
    let header =
        HeaderRule { path: "/*a*/:x".to_owned(), values: BTreeMap::from([("X-A".to_owned(), vec!["1".to_owned()])]) };
    let edge = Edge::start(vec![site.route(SiteRules { redirects, headers: vec![header] })]).await;
    let mut dice = Dice(0x0051_17a9);
    let mut client = Client::connect(edge.address).await;
    let mut statuses = BTreeMap::new();
    for _ in 0..PATHS {
        let pieces: String = (0..=dice.below(9)).map(|_| PIECES[dice.below(PIECES.len())]).collect();
        let path = format!("/{pieces}");
        let answer = client.get("x.test", &path).await;
        *statuses.entry(answer.status).or_insert(0) += 1;
        assert!(!answer.body.contains("TOP-SECRET") && !answer.body.contains("digest"), "{path}");
        match answer.status {
            200 => assert!(["home", "docs", "a"].contains(&answer.body.as_str()), "{path}: {}", answer.body),
            301 | 302 => {
                let location = answer.header("location").unwrap();
                let second = location.as_bytes().get(1);
                assert!(location.starts_with('/') && !matches!(second, Some(b'/' | b'\\')), "{path} to {location}");
            }
            400 => {
                // Refused by the parser of heads, before any of this.
                if answer.header("x-slipway-error").is_none() {
                    client = Client::connect(edge.address).await;
                }
            }
            status => assert_eq!(status, 404, "{path}"),
        }
    }
    for status in [200, 301, 400, 404] {
        assert!(statuses.get(&status).is_some_and(|count| *count > 3), "{status} of {statuses:?}");
    }
}
