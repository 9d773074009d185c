//! TanStack Start: as its tool makes it by default, and with Nitro.

use crate::BINARY;
use crate::project::Project;
use crate::tool::TANSTACK_CLI;
use slipway_testing::TestServer;

const ARGS: [&str; 8] = ["create", "@", "--no-install", "--no-git", "--no-intent", "--yes", "--package-manager", "npm"];

/// A page whose loader runs on the server for each request.
const PAGE: &str = "import { createFileRoute } from '@tanstack/react-router'

export const Route = createFileRoute('/say')({
  validateSearch: (search: Record<string, unknown>) => ({ say: String(search.say) }),
  component: () => <p>{Route.useSearch().say}</p>,
})
";

fn check(project: Project) {
    let server = TestServer::start(BINARY);
    let served = project.with("src/routes/say.tsx", PAGE).deploy(&server);
    served.shows("/", "Welcome to TanStack Start");
    served.has_file("/", "/assets/", ".js", "text/javascript");
    served.echoes("/say");
}

#[test]
fn tanstack_start() {
    check(Project::scaffold("tanstack", TANSTACK_CLI, &[&ARGS[..], &["--blank"]].concat()));
}

#[test]
fn tanstack_start_with_nitro() {
    check(Project::scaffold(
        "tanstack-nitro",
        TANSTACK_CLI,
        &[&ARGS[..], &["--blank", "--deployment", "nitro"]].concat(),
    ));
}
