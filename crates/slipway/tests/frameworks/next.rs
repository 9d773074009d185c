//! Next.js in its three ways of output.

use crate::BINARY;
use crate::project::Project;
use crate::tool::CREATE_NEXT_APP;
use slipway_testing::TestServer;

const CONFIG: &str = "const nextConfig: NextConfig = {";

/// A route that only a server can answer.
const ROUTE: &str = "export function GET(request: Request) {
  return new Response(new URL(request.url).searchParams.get(\"say\"));
}
";

#[test]
fn next_js_as_a_server_standalone_and_exported() {
    let server = TestServer::start(BINARY);
    let project =
        Project::scaffold("next", CREATE_NEXT_APP, &["@", "--yes", "--skip-install", "--disable-git", "--use-npm"]);
    without_fonts(&project);
    let project = project.with("app/say/route.ts", ROUTE);

    let as_server = project.deploy(&server);
    as_server.shows("/", "To get started, edit the");
    as_server.has_file("/", "/_next/static/", ".css", "text/css");
    as_server.answers("/next.svg", "<svg");
    as_server.echoes("/say");
    as_server.misses("/nothing-here", "404");

    project.replace("next.config.ts", CONFIG, &format!("{CONFIG}\n  output: \"standalone\","));
    let standalone = project.deploy(&server);
    standalone.shows("/", "To get started, edit the");
    standalone.has_file("/", "/_next/static/", ".css", "text/css");
    standalone.answers("/next.svg", "<svg");
    standalone.echoes("/say");
    let plan = server.run_in(&project.path(), &["logs", "--build"]).stdout;
    assert!(plan.contains("standalone/server.js"), "the standalone server is what runs: {plan}");

    project.replace("next.config.ts", "output: \"standalone\"", "output: \"export\"");
    // Next.js refuses to export with these, which its template turns on.
    project.replace("next.config.ts", "  cacheComponents: true,\n  partialPrefetching: true,\n", "");
    std::fs::remove_dir_all(project.path().join("app/say")).unwrap();
    project.write("app/about/page.tsx", "export default function About() {\n  return <h1>About this export</h1>;\n}\n");
    let exported = project.deploy(&server);
    exported.shows("/", "To get started, edit the");
    exported.shows("/about", "About this export");
    exported.has_asset("/", "/_next/static/", ".css", "text/css");
    exported.answers("/next.svg", "<svg");
    exported.misses("/nothing-here", "404");
    exported.is_a_site("/");
}

/// The template loads two fonts from Google while it is built; the test must not depend on that. All else is the template's.
fn without_fonts(project: &Project) {
    let layout = std::fs::read_to_string(project.path().join("app/layout.tsx")).unwrap();
    let (_, rest) = layout.split_once("import \"./globals.css\";").expect("the template's layout has its style sheet");
    let (_, rest) = rest.split_once("export const metadata").expect("the template's layout has its metadata");
    let rest = rest.replace("${geistSans.variable} ${geistMono.variable} ", "");
    project.write(
        "app/layout.tsx",
        &format!("import type {{ Metadata }} from \"next\";\nimport \"./globals.css\";\n\nexport const metadata{rest}"),
    );
}
