//! Angular, whose script `start` is its development server and whose output has the project's name in its path.

use crate::BINARY;
use crate::project::Project;
use crate::tool::ANGULAR_CLI;
use slipway_testing::TestServer;

#[test]
fn angular() {
    let server = TestServer::start(BINARY);
    let args = ["new", "@", "--defaults", "--skip-install", "--skip-git"];
    let project = Project::scaffold("angular", ANGULAR_CLI, &args);
    // npm 11 can't resolve the template's ranges, because each of these packages wants exactly its own version of the others.
    project.replace("package.json", "\"^22.2.0\"", "\"22.2.6\"");
    let site = project.deploy(&server);
    site.shows("/", "<app-root></app-root>");
    site.has_asset("/", "main-", ".js", "text/javascript");
    site.has_asset("/", "styles-", ".css", "text/css");
    site.answers("/favicon.ico", "");
    site.shows("/users/42", "<app-root></app-root>");
    site.is_a_site("/");
}
