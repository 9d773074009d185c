//! Removes what only the build needs from the image, when the owner asks for it. It runs after the build: the layer of
//! dependencies stays as it is, for the next build.

use super::node::Project;
use super::script;
use super::{SOURCE_DIRECTORY, install, workspace};
use crate::package_json::PackageJson;
use slipway_types::plan::{PackageManagerName, Reason, Start};

/// The first major version of Yarn that focuses without a plugin.
const YARN_FOCUS_MAJOR: u32 = 4;

/// What is run after the build; None when it is not asked for, or would not help.
pub(super) fn command(project: &Project<'_>, start: &Start, reasons: &mut Vec<Reason>) -> Option<String> {
    if !project.settings.prune {
        return None;
    }
    let from = "the setting `build.prune`".to_owned();
    match decide(project, start) {
        Ok(command) => {
            reasons.push(Reason { decided: format!("after the build: `{command}`"), from });
            Some(match project.packages.directory.directory() {
                directory if directory == project.tree.directory() => command,
                "" => format!("(cd {SOURCE_DIRECTORY} && {command})"),
                directory => format!("(cd {SOURCE_DIRECTORY}/{} && {command})", install::quoted(directory)),
            })
        }
        Err(why) => {
            reasons.push(Reason { decided: format!("nothing is pruned: {why}"), from });
            None
        }
    }
}

fn decide(project: &Project<'_>, start: &Start) -> Result<String, String> {
    let Start::Command { command } = start else {
        return Err("a site has no dependencies when it is served".to_owned());
    };
    if project.package.dependencies().next().is_none() {
        return Err("there are no dependencies".to_owned());
    }
    if let Some(needed) = needed_tool(project, command) {
        return Err(format!("the start command needs `{needed}`, which is a development dependency"));
    }
    let packages = &project.packages;
    let top = PackageJson::read(&packages.directory).ok().flatten().unwrap_or_default();
    let in_workspace = workspace::is_workspace(&packages.directory, &top);
    let locked = if packages.lockfile.is_some() { " --frozen-lockfile" } else { "" };
    let major = packages.manager.version.as_deref().and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    Ok(match packages.manager.name {
        PackageManagerName::Npm => "npm prune --omit=dev --ignore-scripts --no-audit --no-fund".to_owned(),
        PackageManagerName::Pnpm if in_workspace => format!("pnpm install --prod --ignore-scripts{locked}"),
        PackageManagerName::Pnpm => "pnpm prune --prod --ignore-scripts".to_owned(),
        PackageManagerName::Yarn if !packages.is_yarn_berry() => {
            format!("yarn install --production --ignore-scripts --non-interactive{locked}")
        }
        PackageManagerName::Yarn if major.is_some_and(|major| major < YARN_FOCUS_MAJOR) => {
            return Err("Yarn 2 and 3 need a plugin for it".to_owned());
        }
        PackageManagerName::Yarn => "yarn workspaces focus --all --production".to_owned(),
        PackageManagerName::Bun => format!("rm -rf node_modules && bun install --production --ignore-scripts{locked}"),
        PackageManagerName::Pip | PackageManagerName::Uv | PackageManagerName::Poetry => {
            return Err("there are no dependencies of Node.js".to_owned());
        }
    })
}

/// A development dependency that is the start command's own program, such as `tsx`.
fn needed_tool(project: &Project<'_>, command: &str) -> Option<String> {
    let last = command.rsplit(';').next().unwrap_or_default();
    let program = script::program(last)?;
    let only_for_development = |name: &str| {
        project.package.text(&["devDependencies", name]).is_some()
            && project.package.text(&["dependencies", name]).is_none()
    };
    only_for_development(program).then(|| program.to_owned())
}
