use super::*;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn rule(from: &str, to: &str, status: u16) -> Redirect {
    Redirect {
        from: from.to_owned(),
        query: BTreeMap::new(),
        to: to.to_owned(),
        status,
        force: false,
        conditions: BTreeMap::new(),
        headers: BTreeMap::new(),
    }
}

fn with_query(from: &str, query: &[(&str, &str)], to: &str) -> Redirect {
    let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Redirect { query, ..rule(from, to, 301) }
}

/// `301 /x`, `200 -> /x`, `proxy URL`, or `-`.
fn asked(rules: &[Redirect], url: &str) -> String {
    let compiled = Redirects::compile(rules);
    let (is_https, rest) =
        url.strip_prefix("https://").map_or((false, url.strip_prefix("http://").unwrap_or(url)), |rest| (true, rest));
    let (host, target) = rest.find('/').map_or(("", rest), |at| rest.split_at(at));
    let host = if host.is_empty() { "x.test" } else { host };
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let headers = HeaderMap::new();
    match compiled.decide(&Question { host, is_https, path, query, headers: &headers }).map(|decision| decision.action)
    {
        None => "-".to_owned(),
        Some(Action::Redirect { status, location }) => format!("{} {}", status.as_u16(), location.to_str().unwrap()),
        Some(Action::Rewrite { status, to }) => format!("{} -> {}", status.as_u16(), to.path_and_query()),
        Some(Action::Proxy { url, .. }) => format!("proxy {}", url.path_and_query()),
    }
}

#[test]
fn the_first_that_matches_decides() {
    let rules = [
        rule("/o/*", "/first", 301),
        rule("/o/a", "/never", 301),
        rule("/o2/b", "/literal", 301),
        rule("/:p", "/named", 302),
        rule("/o2/:a", "/five", 307),
        rule("/app/*", "/index.html", 200),
        rule("/gone", "/sorry", 410),
        rule("/*", "/404.html", 404),
    ];
    for (url, expected) in [
        ("/o/a", "301 /first"),
        ("/o", "301 /first"),
        ("/zz", "302 /named"),
        ("/o2/b", "301 /literal"),
        ("/o2/c", "307 /five"),
        ("/app/x?y=1", "200 -> /index.html?y=1"),
        ("/gone", "302 /named"),
        ("/a/b/c", "404 -> /404.html"),
        ("/", "404 -> /404.html"),
    ] {
        assert_eq!(asked(&rules, url), expected, "{url}");
    }
}

/// As Netlify's matcher answers, but for a space of a query, which it writes as `+`.
#[test]
fn query_parameters_are_matched_and_captured() {
    let rules = [
        with_query("/st", &[("id", ":id")], "/b/:id?"),
        with_query("/st", &[("a", ":x"), ("b", ":y")], "/two/:x/:y?"),
        with_query("/st", &[("k", "v")], "/lit"),
        rule("/st", "/none", 301),
    ];
    for (url, expected) in [
        ("/st?id=1", "301 /b/1"),
        ("/st?x=2&id=1", "301 /b/1"),
        ("/st?b=2&a=1", "301 /two/1/2"),
        ("/st?k=v&z=1", "301 /lit?k=v&z=1"),
        ("/st?k=w", "301 /none?k=w"),
        ("/st?id=", "301 /b/"),
        ("/st?id", "301 /none?id"),
        ("/st?id=a+b", "301 /b/a%20b"),
        ("/st?id=a/b", "301 /b/a%2Fb"),
        ("/st?id=1&id=2", "301 /b/2"),
        ("/st", "301 /none"),
    ] {
        assert_eq!(asked(&rules, url), expected, "{url}");
    }
}

#[test]
fn a_full_url_restricts_the_host() {
    let rules = [
        rule("http://blog.test/*", "https://www.test/b/:splat", 301),
        rule("https://Old.test:443/*", "https://new.test/:splat", 301),
        rule("http://x.test/*", "https://x.test/:splat", 308),
        rule("/api/*", "https://api.test/v1/:splat?k=1", 200),
    ];
    for (url, expected) in [
        ("http://blog.test/a", "301 https://www.test/b/a"),
        ("https://blog.test/a", "-"),
        ("https://old.test/a?b=1", "301 https://new.test/a?b=1"),
        ("http://old.test/a", "301 https://new.test/a"),
        ("http://x.test/a", "308 https://x.test/a"),
        ("https://x.test/a", "-"),
        ("https://x.test/api/a", "proxy https://api.test/v1/a?k=1"),
    ] {
        assert_eq!(asked(&rules, url), expected, "{url}");
    }
}

#[test]
fn a_redirect_to_itself_is_none() {
    let rules = [
        rule("/a", "/a", 301),
        rule("/b/", "/b", 301),
        rule("/c/*", "/c/:splat", 302),
        rule("/d", "http://x.test/d", 301),
        with_query("/e", &[("v", "1")], "/e?v=2"),
        rule("/*", "/d", 301),
    ];
    for (url, expected) in [
        ("/a", "301 /d"),
        ("/a/", "301 /d"),
        ("/b/", "301 /d"),
        ("/c/x?y", "301 /d?y"),
        ("/d", "-"),
        ("/e?v=1", "301 /e?v=2"),
        ("/e?v=2", "301 /d?v=2"),
    ] {
        assert_eq!(asked(&rules, url), expected, "{url}");
    }
}

#[test]
fn a_redirect_stays_on_its_host() {
    let rules = [rule("/out/*", "/:splat", 301), rule("/*", "/:splat/x", 301)];
    for (url, expected) in [
        ("/out//evil.test", "301 /evil.test"),
        ("/out/%0d%0aX:y", "301 /%0d%0aX:y"),
        ("//evil.test/", "301 /evil.test//x"),
        ("/out/\\evil.test", "301 /%5Cevil.test"),
        ("/out/../a", "-"),
    ] {
        assert_eq!(asked(&rules, url), expected, "{url}");
    }
}

#[test]
fn rules_that_make_no_sense_are_left_out() {
    for bad in [
        rule("/a", "/b", 999),
        rule("/a", "/b", 204),
        rule("/a", "/b", 304),
        rule("/a*b", "/b", 301),
        rule("ftp://x.test/a", "/b", 301),
        rule("/a", "https://x/", 404),
    ] {
        let from = bad.from.clone();
        assert_eq!(asked(&[bad, rule("/a", "/ok", 301)], "/a"), "301 /ok", "{from}");
    }
}

#[test]
fn thousands_of_rules_cost_a_look_up() {
    let mut rules: Vec<Redirect> =
        (0..20_000).map(|i| rule(&format!("/blog/{i}/post"), &format!("/p/{i}"), 301)).collect();
    rules.extend((0..20_000).map(|i| rule(&format!("/d{i}/*"), "/x/:splat", 301)));
    let compiled = Redirects::compile(&rules);
    let headers = HeaderMap::new();
    let began = Instant::now();
    for i in 0..2_000 {
        let (hit, miss) = (format!("/blog/{}/post", i * 7), format!("/none/{i}"));
        let ask = |path: &str| {
            let question = Question { host: "x.test", is_https: false, path, query: None, headers: &headers };
            compiled.decide(&question).is_some()
        };
        assert!(ask(&hit) && ask(&format!("/d{i}/a")) && !ask(&miss));
    }
    // Looking at each rule would take 240 million comparisons.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
