//! Redirects and headers, for sites and for apps.

use crate::client::{Answer, Client};
use crate::files::SiteDirectory;
use crate::harness::{App, AppRequest, Edge, full, route, target};
use slipway_edge::EdgeConfig;
use slipway_types::route::Route;
use slipway_types::site::{HeaderRule, Redirect, SiteRules};
use std::collections::BTreeMap;
use std::sync::Arc;

/// `from to status`, with `!` after the status for a forced one.
pub(crate) fn redirects(lines: &[&str]) -> SiteRules {
    let parse = |line: &&str| {
        let [from, to, status] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        Redirect {
            from: from.to_owned(),
            query: BTreeMap::new(),
            to: to.to_owned(),
            status: status.trim_end_matches('!').parse().unwrap(),
            force: status.ends_with('!'),
            conditions: BTreeMap::new(),
            headers: BTreeMap::new(),
        }
    };
    SiteRules { redirects: lines.iter().map(parse).collect(), headers: Vec::new() }
}

/// `path name value`
pub(crate) fn headers(lines: &[(&str, &str, &str)]) -> Vec<HeaderRule> {
    let parse = |(path, name, value): &(&str, &str, &str)| HeaderRule {
        path: (*path).to_owned(),
        values: BTreeMap::from([((*name).to_owned(), vec![(*value).to_owned()])]),
    };
    lines.iter().map(parse).collect()
}

async fn ask(edge: &Edge, method: &str, path: &str, fields: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x.test\r\nContent-Length: 0\r\n{fields}\r\n");
    Client::connect(edge.address).await.ask(&request).await
}

fn site() -> SiteDirectory {
    SiteDirectory::new(&[
        ("index.html", "home"),
        ("old.html", "old"),
        ("new.html", "new"),
        ("docs/index.html", "docs"),
        ("en/404.html", "lost in English"),
        ("404.html", "lost"),
        ("assets/index-DVoHNO1Y.js", "run()"),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_before_a_rule_that_is_not_forced() {
    let site = site();
    let rules = redirects(&[
        "/old /new 301",
        "/new /docs 302!",
        "/gone/* /new/:splat 308",
        "/view /old 200",
        "/show/* /docs 200",
        "/js /assets/index-DVoHNO1Y.js 200",
        "/away https://other.test/:splat?x=1 303",
        "/sorry /old 410",
        "/en/* /en/404.html 404",
        "/broken /no-such-file 200",
        "/up/* /../:splat 200",
        "/* /index.html 200",
    ]);
    let edge = Edge::start(vec![site.route(rules)]).await;
    for (path, status, body, location) in [
        ("/old", 200, "old", None),
        ("/new?a=1", 302, "", Some("/docs?a=1")),
        ("/gone/a/b?c", 308, "", Some("/new/a/b?c")),
        ("/gone", 308, "", Some("/new/")),
        ("/view", 200, "old", None),
        ("/show/x", 200, "docs", None),
        ("/docs", 301, "", Some("/docs/")),
        ("/js", 200, "run()", None),
        ("/away?y=2", 303, "", Some("https://other.test/:splat?x=1")),
        ("/sorry", 410, "old", None),
        ("/en/nothing", 404, "lost in English", None),
        ("/broken", 404, "lost", None),
        ("/nothing", 200, "home", None),
        ("/a/../b", 400, "", None),
        ("/up/x", 400, "", None),
    ] {
        let answer = ask(&edge, "GET", path, "").await;
        assert_eq!((answer.status, answer.header("location")), (status, location), "{path}: {answer:?}");
        assert!(status == 400 || answer.body == body, "{path}: {answer:?}");
    }
    // Under another name it is not the same for ever.
    let rewritten = ask(&edge, "GET", "/js", "").await;
    assert_eq!(rewritten.header("cache-control"), Some("public, max-age=0, must-revalidate"));
    assert_eq!(ask(&edge, "POST", "/gone/a", "").await.status, 308);
    assert_eq!(ask(&edge, "POST", "/view", "").await.status, 405);
    // A page with an error's status is no copy to compare with, nor to cut.
    let fields = "If-None-Match: *\r\nRange: bytes=0-0\r\n";
    assert_eq!(ask(&edge, "GET", "/sorry", fields).await.body, "old");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_gets_what_the_rules_leave_to_it() {
    let app = App::start(|request: AppRequest| async move {
        let conditional = request.headers().contains_key("if-none-match");
        let mut response = full(format!("{} {} {conditional}", request.method(), request.uri()));
        response.headers_mut().insert("cache-control", "private".parse().unwrap());
        response.headers_mut().insert("set-cookie", "app=1".parse().unwrap());
        response
    })
    .await;
    let mut rules = redirects(&[
        "/old/* /new/:splat 301",
        "/api/* /v1/:splat 200",
        "/search /find?q=all 200",
        "/gone /sorry 410",
        "/outside http://10.0.0.1/x 200",
    ]);
    rules.headers = headers(&[("/*", "X-Frame-Options", "DENY"), ("/api/*", "Cache-Control", "no-store")]);
    rules.headers.extend(headers(&[("/api/*", "Set-Cookie", "rule=1"), ("/*", "Content-Length", "3")]));
    let rules = Arc::new(rules);
    let edge = Edge::start(vec![Route { rules, ..route("x.test", vec![target("r-app", app.address)]) }]).await;
    for (method, path, status, body) in [
        ("GET", "/new/a?b=c", 200, "GET /new/a?b=c true"),
        ("POST", "/api/users/7?b=c%20d", 200, "POST /v1/users/7?b=c%20d true"),
        ("GET", "/search?q=mine", 200, "GET /find?q=all true"),
        ("GET", "/gone", 410, "GET /sorry false"),
        ("GET", "/api/../x", 200, "GET /api/../x true"),
    ] {
        let answer = ask(&edge, method, path, "If-None-Match: \"x\"\r\n").await;
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
    }
    let api = ask(&edge, "GET", "/api/x", "").await;
    let cookies: Vec<_> =
        api.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, v)| v.as_str()).collect();
    assert_eq!((api.header("cache-control"), cookies), (Some("no-store"), vec!["app=1", "rule=1"]));
    let before = app.requests();
    let moved = ask(&edge, "GET", "/old/a?b=c", "").await;
    assert_eq!((moved.status, moved.header("location")), (301, Some("/new/a?b=c")));
    let outside = ask(&edge, "GET", "/outside", "").await;
    assert_eq!((outside.status, outside.header("x-slipway-error")), (502, Some("proxy-address-refused")));
    assert_eq!(app.requests(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_a_site_come_over_its_own() {
    let site = site();
    let rules = headers(&[
        ("/*", "X-A", "1"),
        ("/assets/*", "Cache-Control", "no-store"),
        ("/OLD", "Content-Type", "text/plain"),
        ("/new", "Content-Encoding", "br"),
    ]);
    let edge = Edge::start(vec![site.route(SiteRules { headers: rules, ..SiteRules::default() })]).await;
    let script = ask(&edge, "GET", "/assets/index-DVoHNO1Y.js", "").await;
    assert_eq!((script.header("cache-control"), script.header("x-a")), (Some("no-store"), Some("1")));
    let tag = format!("If-None-Match: {}\r\n", script.header("etag").unwrap());
    let known = ask(&edge, "GET", "/assets/index-DVoHNO1Y.js", &tag).await;
    assert_eq!((known.status, known.header("cache-control")), (304, Some("no-store")));
    assert_eq!(ask(&edge, "GET", "/old", "").await.header("content-type"), Some("text/plain"));
    assert_eq!(ask(&edge, "GET", "/new", "").await.header("content-encoding"), None);
    assert_eq!(ask(&edge, "GET", "/nothing", "").await.header("x-a"), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_and_hosts_are_those_of_the_request() {
    let site = site();
    let mut rules = redirects(&[
        "/ /en 302!",
        "/ /fr 302!",
        "/ /beta 302!",
        "/ /au 302!",
        "https://y.test/* /only-y 302!",
        "http://x.test/s https://x.test/s 301!",
    ]);
    let conditions = [("Language", "en"), ("Language", "fr"), ("Cookie", "beta"), ("Country", "au")];
    for (redirect, (name, value)) in rules.redirects.iter_mut().zip(conditions) {
        redirect.conditions.insert(name.to_owned(), vec![value.to_owned()]);
    }
    let config = EdgeConfig { trust_forwarded: true, ..EdgeConfig::default() };
    let edge = Edge::start_with(config, vec![site.route(rules)]).await;
    for (path, fields, status, location) in [
        ("/", "Accept-Language: en-GB,fr;q=0.5\r\n", 302, Some("/en")),
        ("/", "Accept-Language: fr-CA\r\n", 302, Some("/fr")),
        ("/", "Accept-Language: pt\r\nCookie: a=1; beta=yes\r\n", 302, Some("/beta")),
        ("/", "Accept-Language: pt\r\nX-Country: au\r\n", 200, None),
        ("/s", "", 301, Some("https://x.test/s")),
        ("/s", "X-Forwarded-Proto: https\r\n", 404, None),
    ] {
        let answer = ask(&edge, "GET", path, fields).await;
        assert_eq!((answer.status, answer.header("location")), (status, location), "{path} {fields}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_path_needs_its_login() {
    let site = site();
    let lock = ("Basic-Auth", "amy:secret bob:other");
    let rules = headers(&[("/docs/*", lock.0, lock.1), ("/old", lock.0, lock.1), ("/index.html", lock.0, lock.1)]);
    let edge = Edge::start(vec![site.route(SiteRules { headers: rules, ..SiteRules::default() })]).await;
    for (path, fields, status) in [
        ("/docs/", "", 401),
        ("/DOCS/index.html", "Authorization: Basic YW15Ondyb25n\r\n", 401),
        ("/docs", "Authorization: Basic YW15OnNlY3JldA==\r\n", 301),
        ("/docs/", "Authorization: Basic Ym9iOm90aGVy\r\n", 200),
        ("/old.html", "", 401),
        ("/old/", "", 401),
        ("/", "", 401),
        ("/new", "", 200),
    ] {
        let answer = ask(&edge, "GET", path, fields).await;
        assert_eq!(answer.status, status, "{path} {fields}");
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401);
        if status == 200 {
            let is_private = answer.header("cache-control").unwrap().starts_with("private");
            assert_eq!(is_private, path == "/docs/", "{path}");
        }
        assert!(answer.header("basic-auth").is_none() && !answer.body.contains("secret"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_change_with_the_table() {
    let site = site();
    let mut edge = Edge::start(vec![site.route(redirects(&["/a /one 301"]))]).await;
    let mut client = Client::connect(edge.address).await;
    assert_eq!(client.get("x.test", "/a").await.header("location"), Some("/one"));
    edge.route(vec![site.route(redirects(&["/a /two 301"]))]).await;
    assert_eq!(client.get("x.test", "/a").await.header("location"), Some("/two"));
    edge.route(vec![site.route(SiteRules::default())]).await;
    assert_eq!(client.get("x.test", "/a").await.status, 404);
}
