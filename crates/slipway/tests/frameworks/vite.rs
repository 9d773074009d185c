//! Vite's own templates: sites of files whose router lives in the browser.

use crate::BINARY;
use crate::project::Project;
use crate::tool::CREATE_VITE;
use slipway_testing::TestServer;

/// Builds a template and checks what each of them is: one page, hashed assets, unknown paths left to the page.
fn check(name: &'static str, template: &str) {
    let server = TestServer::start(BINARY);
    let args = ["@", "--template", template, "--no-interactive"];
    let site = Project::scaffold(name, CREATE_VITE, &args).deploy(&server);
    site.shows("/", "<script type=\"module\" crossorigin src=\"/assets/");
    site.has_asset("/", "/assets/", ".js", "text/javascript");
    site.has_asset("/", "/assets/", ".css", "text/css");
    site.shows("/users/42", "<script type=\"module\" crossorigin src=\"/assets/");
    site.misses("/assets/nothing-here.js", "");
    site.is_a_site("/");
}

#[test]
fn vite_with_react() {
    check("vite-react", "react-ts");
}

#[test]
fn vite_with_vue() {
    check("vite-vue", "vue-ts");
}

#[test]
fn vite_with_svelte() {
    check("vite-svelte", "svelte-ts");
}

#[test]
fn vite_with_solid() {
    check("vite-solid", "solid-ts");
}
