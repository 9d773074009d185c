//! Apps that nobody could start: what was found, and what to add.

use super::framework::{Found, Shape};
use super::missing;
use super::node::Project;
use crate::diagnosis::entry::{NO_SITE_DIRECTORY, NO_START_COMMAND};
use crate::package_json::PACKAGE_JSON;
use crate::tree::Tree;
use slipway_types::Diagnosis;

/// Scripts that a diagnosis names.
const SCRIPTS_NAMED_MAX: usize = 8;

/// The service is static, and nothing says which directory is published.
pub(super) fn no_site(tree: &Tree<'_>) -> Diagnosis {
    let place = if tree.directory().is_empty() {
        "the top of the source".to_owned()
    } else {
        format!("`{}`", tree.directory())
    };
    NO_SITE_DIRECTORY
        .diagnosis("nothing says which directory is the site")
        .at("the setting `kind`")
        .because(format!("`kind = \"static\"`, but no framework that makes a site was recognised in {place}, and there is no `index.html`"))
        .hint("set `directory` in the section `[site]` of `slipway.toml` to what the build writes, such as `dist`")
}

/// Nothing says how the app starts.
pub(super) fn no_start(project: &Project<'_>, found: &Found) -> Diagnosis {
    let path = project.tree.path(PACKAGE_JSON);
    let diagnosis = NO_START_COMMAND.diagnosis("nothing says how the app starts").at(path.clone());
    match &found.shape {
        Shape::Foreign { why, hint } => {
            return diagnosis.because(why.clone()).hint(hint.clone()).hint("or set `start_command` in `slipway.toml`");
        }
        Shape::Site { directory, .. } => {
            let name = project.framework.map_or("the build", |framework| framework.name);
            return diagnosis
                .because(format!("{name} makes a site of files in `{directory}`, and a worker needs a process"))
                .hint("set `start_command` in `slipway.toml`, or remove `kind = \"worker\"`");
        }
        Shape::Server(_) | Shape::Unsaid => {}
    }
    let more = found.from.as_ref().map(|from| format!("; {from}")).unwrap_or_default();
    let diagnosis = diagnosis
        .because(format!(
            "`{path}` {}; `main` and files such as `server.js` and `index.js` are missing too{more}",
            scripts(project)
        ))
        .hint(format!("add a script `start` to `{path}`, or set `start_command` in `slipway.toml`"))
        .hint("if the build makes a site of files, set `directory` in the section `[site]` of `slipway.toml`");
    missing::candidates(&project.tree).into_iter().fold(diagnosis, |diagnosis, directory| {
        diagnosis.hint(format!("if the app is in `{directory}`, set `root = \"{directory}\"` in `slipway.toml`"))
    })
}

fn scripts(project: &Project<'_>) -> String {
    let names = project.package.script_names();
    if names.is_empty() {
        return "has no scripts".to_owned();
    }
    let named: Vec<String> = names.iter().take(SCRIPTS_NAMED_MAX).map(|name| format!("`{name}`")).collect();
    format!("has the scripts {}, none of which starts it for production", named.join(", "))
}
