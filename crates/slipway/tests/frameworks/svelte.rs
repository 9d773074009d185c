//! SvelteKit with the adapter that its tool gives by default, the one for Node.js, and the one for files.

use crate::BINARY;
use crate::project::Project;
use crate::tool::SVELTE_CLI;
use slipway_testing::TestServer;

const ARGS: [&str; 7] = ["create", "@", "--template", "minimal", "--types", "ts", "--no-install"];

/// A page that is rendered for each request.
const LOAD: &str = "export const load = ({ url }) => ({ say: url.searchParams.get('say') });\n";
const PAGE: &str = "<script>\n\tlet { data } = $props();\n</script>\n\n<p>{data.say}</p>\n";

fn check_server(project: Project) {
    let server = TestServer::start(BINARY);
    let project = project.with("src/routes/say/+page.server.js", LOAD).with("src/routes/say/+page.svelte", PAGE);
    let served = project.deploy(&server);
    served.shows("/", "Welcome to SvelteKit");
    served.has_file("/", "/_app/immutable/", ".js", "text/javascript");
    served.echoes("/say");
    served.misses("/nothing-here", "Not Found");
}

#[test]
fn sveltekit_as_its_tool_makes_it() {
    check_server(Project::scaffold("svelte", SVELTE_CLI, &[&ARGS[..], &["--no-add-ons"]].concat()));
}

#[test]
fn sveltekit_with_the_node_adapter() {
    let add = ["--add", "sveltekit-adapter=adapter:node"];
    check_server(Project::scaffold("svelte-node", SVELTE_CLI, &[&ARGS[..], &add].concat()));
}

#[test]
fn sveltekit_with_the_static_adapter() {
    let server = TestServer::start(BINARY);
    let add = ["--add", "sveltekit-adapter=adapter:static"];
    let project = Project::scaffold("svelte-static", SVELTE_CLI, &[&ARGS[..], &add].concat());
    // The adapter's documentation asks for this line; the tool leaves it to the owner.
    let project = project
        .with("src/routes/+layout.js", "export const prerender = true;\n")
        .with("src/routes/about/+page.svelte", "<h1>About this site</h1>\n");
    let site = project.deploy(&server);
    site.shows("/", "Welcome to SvelteKit");
    site.shows("/about", "About this site");
    site.has_asset("/", "/_app/immutable/", ".js", "text/javascript");
    site.misses("/nothing-here", "");
    site.is_a_site("/");
}
