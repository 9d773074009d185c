//! Sites of files, served without a process.

use crate::client::{Answer, Client};
use crate::files::SiteDirectory;
use crate::harness::{Edge, route};
use slipway_edge::EdgeLimits;
use slipway_types::site::{FILES_DIRECTORY, MANIFEST_FILE};

const IMMUTABLE: &str = "public, max-age=31536000, immutable";
const REVALIDATED: &str = "public, max-age=0, must-revalidate";

async fn ask(edge: &Edge, method: &str, path: &str, fields: &str) -> Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x.test\r\n{fields}\r\n");
    Client::connect(edge.address).await.ask(&request).await
}

async fn start(site: &SiteDirectory) -> Edge {
    Edge::start(vec![site.route(Default::default())]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_have_their_type_length_and_caching() {
    let site = SiteDirectory::new(&[
        ("index.html", "<h1>home</h1>"),
        ("assets/index-DVoHNO1Y.js", "run()"),
        ("js/jquery-ui-customized.js", "$"),
        ("caf\u{e9} menu.txt", "tea"),
        ("empty.css", ""),
        ("LICENSE", "free"),
    ]);
    let edge = start(&site).await;
    let mut client = Client::connect(edge.address).await;
    for (path, body, kind, caching) in [
        ("/", "<h1>home</h1>", "text/html; charset=utf-8", REVALIDATED),
        ("/assets/index-DVoHNO1Y.js", "run()", "text/javascript; charset=utf-8", IMMUTABLE),
        ("/js/jquery-ui-customized.js", "$", "text/javascript; charset=utf-8", REVALIDATED),
        ("/caf%C3%A9%20menu.txt", "tea", "text/plain; charset=utf-8", REVALIDATED),
        ("/empty.css?v=1", "", "text/css; charset=utf-8", REVALIDATED),
        ("/LICENSE", "free", "application/octet-stream", REVALIDATED),
    ] {
        // Twice: from disk, and from memory.
        for _ in 0..2 {
            let answer = client.get("x.test", path).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, body), "{path}");
            assert_eq!(answer.header("content-type"), Some(kind), "{path}");
            assert_eq!(answer.header("cache-control"), Some(caching), "{path}");
            assert_eq!(answer.header("content-length"), Some(body.len().to_string().as_str()), "{path}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(answer.header("accept-ranges"), Some("bytes"));
            assert!(answer.header("x-request-id").is_some() && answer.header("date").is_some());
        }
    }
    let tag = format!("\"{}\"", site.digest("index.html"));
    assert_eq!(client.get("x.test", "/").await.header("etag"), Some(tag.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn clean_addresses_and_directories() {
    let files = [("index.html", "home"), ("about.html", "about"), ("docs/index.html", "docs"), ("404.html", "lost")];
    let site = SiteDirectory::new(&files);
    let edge = start(&site).await;
    for (path, status, body) in [
        ("/about", 200, "about"),
        ("/about/", 200, "about"),
        ("/about.html", 200, "about"),
        ("/docs/", 200, "docs"),
        ("/index.html", 200, "home"),
        ("/docs?a=1&b=%20", 301, ""),
        ("/nothing", 404, "lost"),
        ("/nothing.js", 404, "lost"),
        ("//docs", 404, "lost"),
    ] {
        let answer = ask(&edge, "GET", path, "").await;
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{path}");
        match status {
            301 => assert_eq!(answer.header("location"), Some("/docs/?a=1&b=%20")),
            404 => {
                assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
                assert_eq!(answer.header("etag"), None);
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_page_app_answers_views_and_never_assets() {
    let site = SiteDirectory::with_fallback(&[("index.html", "app"), ("assets/a.js", "a")], "index.html");
    let edge = start(&site).await;
    let html = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    for (path, fields, status) in [
        ("/users/7", "", 200),
        ("/users/7/", html, 200),
        ("/users/john.doe", html, 200),
        ("/users/john.doe", "Accept: */*\r\n", 404),
        ("/assets/x.js", "", 404),
        ("/assets/x.js", html, 404),
        ("/x.png", html, 404),
    ] {
        let answer = ask(&edge, "GET", path, fields).await;
        assert_eq!(answer.status, status, "{path} {fields}");
        if status == 200 {
            assert_eq!((answer.body.as_str(), answer.header("cache-control")), ("app", Some(REVALIDATED)));
        } else {
            assert_eq!(answer.header("x-slipway-error"), Some("no-such-page"), "{path}");
            assert!(!answer.body.contains("app</"), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_that_the_client_likes_best_is_sent() {
    let site = SiteDirectory::compressed(&[("index.html", "home")]);
    let edge = start(&site).await;
    let digest = site.digest("index.html");
    for (fields, body, coding, tag) in [
        ("Accept-Encoding: gzip, deflate, br\r\n", "br:home", Some("br"), format!("\"{digest}-br\"")),
        ("Accept-Encoding: gzip;q=1, br;q=0.5\r\n", "gz:home", Some("gzip"), format!("\"{digest}-gz\"")),
        ("Accept-Encoding: identity\r\n", "home", None, format!("\"{digest}\"")),
        ("", "home", None, format!("\"{digest}\"")),
        ("Accept-Encoding: br\r\nRange: bytes=1-2\r\n", "om", None, format!("\"{digest}\"")),
    ] {
        let answer = ask(&edge, "GET", "/", fields).await;
        assert_eq!((answer.body.as_str(), answer.header("content-encoding")), (body, coding), "{fields}");
        assert_eq!(answer.header("etag"), Some(tag.as_str()), "{fields}");
        assert_eq!(answer.header("vary"), Some("accept-encoding"));
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_has_is_not_sent_again() {
    let site = SiteDirectory::compressed(&[("index.html", "home"), ("404.html", "lost")]);
    let edge = start(&site).await;
    let digest = site.digest("index.html");
    for (fields, status) in [
        (format!("If-None-Match: \"{digest}\"\r\n"), 304),
        (format!("If-None-Match: \"x\", W/\"{digest}\"\r\n"), 304),
        ("If-None-Match: *\r\n".to_owned(), 304),
        (format!("If-None-Match: \"{digest}-br\"\r\n"), 200),
        (format!("If-None-Match: \"{digest}-br\"\r\nAccept-Encoding: br\r\n"), 304),
        (format!("If-None-Match: \"{digest}\"\r\nRange: bytes=0-1\r\n"), 304),
        ("If-None-Match: \"old\"\r\n".to_owned(), 200),
        ("If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n".to_owned(), 200),
    ] {
        let answer = ask(&edge, "GET", "/", &fields).await;
        assert_eq!(answer.status, status, "{fields}");
        assert!(answer.header("etag").is_some() && answer.header("cache-control").is_some(), "{fields}");
        assert!(answer.header("content-length").is_none() || status == 200, "{answer:?}");
    }
    assert_eq!(ask(&edge, "GET", "/lost", "If-None-Match: *\r\n").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_file() {
    let site = SiteDirectory::new(&[("a.bin", "0123456789")]);
    let edge = start(&site).await;
    let digest = site.digest("a.bin");
    let same = format!("If-Range: \"{digest}\"\r\nRange: bytes=2-3\r\n");
    let weak = format!("If-Range: W/\"{digest}\"\r\nRange: bytes=2-3\r\n");
    for (fields, status, body, range) in [
        ("Range: bytes=0-3\r\n", 206, "0123", Some("bytes 0-3/10")),
        ("Range: bytes=8-\r\n", 206, "89", Some("bytes 8-9/10")),
        ("Range: bytes=-3\r\n", 206, "789", Some("bytes 7-9/10")),
        ("Range: bytes=10-\r\n", 416, "", Some("bytes */10")),
        ("Range: bytes=3-1\r\n", 200, "0123456789", None),
        ("Range: bytes=0-1,4-5\r\n", 200, "0123456789", None),
        (&same, 206, "23", Some("bytes 2-3/10")),
        (&weak, 200, "0123456789", None),
        ("If-Range: \"old\"\r\nRange: bytes=2-3\r\n", 200, "0123456789", None),
        ("If-Range: Fri, 01 Jan 2100 00:00:00 GMT\r\nRange: bytes=2-3\r\n", 200, "0123456789", None),
    ] {
        let answer = ask(&edge, "GET", "/a.bin", fields).await;
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{fields}");
        assert_eq!(answer.header("content-range"), range, "{fields}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_get_and_head() {
    let site = SiteDirectory::new(&[("index.html", "home"), ("docs/index.html", "docs")]);
    let edge = start(&site).await;
    let mut client = Client::connect(edge.address).await;
    client.send("HEAD / HTTP/1.1\r\nHost: x.test\r\nRange: bytes=0-0\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("4")));
    assert!(head.header("etag").is_some());
    // No body came after it.
    assert_eq!(client.get("x.test", "/").await.body, "home");
    for (method, path) in [("POST", "/"), ("PUT", "/x"), ("DELETE", "/docs"), ("OPTIONS", "/")] {
        let answer = ask(&edge, method, path, "Content-Length: 0\r\n").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_leaves_the_manifest() {
    let site = SiteDirectory::new(&[("index.html", "home"), ("_headers", "/*\n  X: 1"), ("_redirects", "/a /b")]);
    std::fs::write(site.path().join("secret"), "secret").unwrap();
    let digest = site.digest("index.html").to_owned();
    let edge = start(&site).await;
    for path in [
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/files/../secret",
        "/a/%2e%2e/index.html",
        "/.",
        "/%00",
        "/index.html%00",
        "/%zz",
        "/%",
        "/%ff",
        "/..%5csecret",
        "/\\secret",
        "*",
    ] {
        let answer = ask(&edge, "GET", path, "").await;
        assert_eq!((answer.status, answer.header("x-slipway-error")), (400, Some("bad-path")), "{path}");
    }
    let stored = format!("/files/{digest}");
    for path in ["/secret", "/site.json", &stored, "/_headers", "/_redirects", "//secret", "/index.html/"] {
        assert_eq!(ask(&edge, "GET", path, "").await.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_cannot_be_read_is_a_503_until_it_can() {
    let (site, other) = (SiteDirectory::new(&[("index.html", "home")]), SiteDirectory::new(&[("index.html", "other")]));
    let manifest = site.path().join(MANIFEST_FILE);
    let good = std::fs::read_to_string(&manifest).unwrap();
    let limits = EdgeLimits { site_hold_timeout: Default::default(), ..EdgeLimits::default() };
    let mut edge = Edge::start_limited(limits, vec![other.route(Default::default())]).await;
    for bad in [
        "",
        "{",
        "[]",
        &good.replace("home", "").replace(&site.digest("index.html")[..4], "../."),
        &good.replacen("null", "\"gone.html\"", 1),
    ] {
        std::fs::write(&manifest, bad).unwrap();
        edge.route(vec![site.route(Default::default()), route("y.test", vec![other.target("r-other")])]).await;
        let answer = ask(&edge, "GET", "/", "").await;
        assert_eq!((answer.status, answer.header("x-slipway-error")), (503, Some("site-unreadable")), "{bad}");
        assert!(answer.body.contains("Service web of project shop"), "{}", answer.body);
        assert_eq!(Client::connect(edge.address).await.get("y.test", "/").await.body, "other");
    }
    std::fs::remove_file(&manifest).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &manifest).unwrap();
    edge.route(vec![site.route(Default::default())]).await;
    edge.drained("r-other").await;
    assert_eq!(ask(&edge, "GET", "/", "").await.status, 503);
    std::fs::remove_file(&manifest).unwrap();
    std::fs::write(&manifest, good).unwrap();
    edge.route(vec![site.route(Default::default())]).await;
    assert_eq!(ask(&edge, "GET", "/", "").await.body, "home");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_what_the_manifest_says_is_an_error() {
    let site =
        SiteDirectory::new(&[("gone.txt", "gone"), ("longer.txt", "long"), ("link.txt", "link"), ("a.txt", "a")]);
    let edge = start(&site).await;
    let path = |name: &str| site.path().join(FILES_DIRECTORY).join(site.digest(name));
    std::fs::remove_file(path("gone.txt")).unwrap();
    std::fs::write(path("longer.txt"), "longer").unwrap();
    std::fs::remove_file(path("link.txt")).unwrap();
    std::os::unix::fs::symlink(path("a.txt"), path("link.txt")).unwrap();
    for name in ["/gone.txt", "/longer.txt", "/link.txt"] {
        let answer = ask(&edge, "GET", name, "").await;
        assert_eq!((answer.status, answer.header("x-slipway-error")), (500, Some("site-file-unreadable")), "{name}");
    }
    assert_eq!(ask(&edge, "GET", "/a.txt", "").await.body, "a");
}
