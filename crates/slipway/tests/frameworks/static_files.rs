//! Files without any tool.

use crate::BINARY;
use crate::project::Project;
use slipway_testing::TestServer;

#[test]
fn plain_files() {
    let server = TestServer::start(BINARY);
    let project = Project::empty("plain-files")
        .with("index.html", "<!doctype html><link rel=\"stylesheet\" href=\"/style.css\"><h1>Plain files</h1>\n")
        .with("about.html", "<!doctype html><h1>About plain files</h1>\n")
        .with("notes/index.html", "<!doctype html><h1>Notes in a directory</h1>\n")
        .with("404.html", "<!doctype html><h1>No such file</h1>\n")
        .with("style.css", "h1 { color: teal; }\n")
        .with("data/a b.json", "{\"space\": true}\n");
    let site = project.deploy(&server);
    site.shows("/", "Plain files");
    site.shows("/about", "About plain files");
    site.shows("/notes/", "Notes in a directory");
    let style = site.answers("/style.css", "teal");
    assert_eq!(style.header("content-type").unwrap_or_default().split(';').next(), Some("text/css"));
    assert!(!style.header("cache-control").unwrap_or_default().contains("immutable"), "its name has no digest");
    site.answers("/data/a%20b.json", "space");
    site.misses("/nothing-here", "No such file");
    site.is_a_site("/");

    project.write("index.html", "<!doctype html><h1>Other files</h1>\n");
    project.deploy(&server).shows("/", "Other files");
}

/// The pages in `public`, beside what is nobody's business.
#[test]
fn plain_files_in_public() {
    let server = TestServer::start(BINARY);
    let project = Project::empty("plain-public")
        .with("README.md", "# Not published\n")
        .with("public/index.html", "<!doctype html><h1>Public files</h1>\n");
    let site = project.deploy(&server);
    site.shows("/", "Public files");
    site.misses("/README.md", "");
    site.is_a_site("/");
}
