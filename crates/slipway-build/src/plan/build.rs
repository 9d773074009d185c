//! The build command of a Node.js app: the owner's, else its script, else what its framework needs; in a workspace
//! after the packages that it depends on; at its end what the framework leaves to do, and the pruning.

use super::framework::{Found, Shape};
use super::node::{Project, run_script, with_programs};
use super::{SOURCE_DIRECTORY, prune, script, workspace};
use crate::package_json::PACKAGE_JSON;
use slipway_types::plan::{Reason, Start};

/// Programs that are there without any dependency: behind another word a dependency's program is looked for.
const SYSTEM_PROGRAMS: [&str; 20] = [
    "npm", "pnpm", "yarn", "bun", "npx", "bunx", "node", "corepack", "make", "sh", "bash", "cd", "echo", "cp", "mv",
    "rm", "mkdir", "test", "true", "git",
];

/// The owner's, else the script `build`, else what the framework needs, else nothing.
pub(super) fn command(project: &Project<'_>, reasons: &mut Vec<Reason>) -> Option<String> {
    if let Some(command) = &project.settings.build_command {
        let command = command.trim();
        let decided = if command.is_empty() { "no build".to_owned() } else { format!("build: `{command}`") };
        reasons.push(Reason { decided, from: "the setting `build.command`".to_owned() });
        return (!command.is_empty()).then(|| of_owner(project, command));
    }
    let (command, from) = match project.build_script() {
        Some(name) => by_workspace(project, name).unwrap_or_else(|| {
            let from = format!("the script `{name}` in `{}`", project.tree.path(PACKAGE_JSON));
            (run_script(project, name), from)
        }),
        None => {
            let framework = project.framework.filter(|framework| !framework.build_command.is_empty())?;
            let from = format!("no script `build`: what {} needs", framework.name);
            (with_programs(project, framework.build_command), from)
        }
    };
    reasons.push(Reason { decided: format!("build: `{command}`"), from });
    Some(command)
}

/// A command such as `vite build` finds its program as it would in a script.
fn of_owner(project: &Project<'_>, command: &str) -> String {
    let all_known = command
        .split("&&")
        .filter_map(script::program)
        .all(|program| SYSTEM_PROGRAMS.contains(&program) || program.contains(['/', '$', '(', '[', '{']));
    if all_known || project.packages.plug_and_play {
        return command.to_owned();
    }
    format!("export PATH=\"{}:$PATH\"; {command}", super::node::program_directories(project))
}

/// In a workspace, the packages that this one is made of are built before it.
fn by_workspace(project: &Project<'_>, script: &str) -> Option<(String, String)> {
    let top = project.packages.directory;
    if top.directory() == project.tree.directory() {
        return None;
    }
    let at_top = |command: String| format!("(cd {SOURCE_DIRECTORY}{} && {command})", slashed(top.directory()));
    let name = project.package.text(&["name"]);
    if let Some(name) = name.filter(|_| workspace::has_turborepo(&top, script)) {
        let command = at_top(with_programs_at_top(project, &format!("turbo run {script} --filter={name}")));
        return Some((command, format!("`{}` builds what it depends on first", top.path("turbo.json"))));
    }
    if let Some(name) = workspace::nx_project(&top, &project.tree, name) {
        let command = at_top(with_programs_at_top(project, &format!("nx run {name}:{script} --skip-nx-cache")));
        return Some((command, format!("`{}` builds what it depends on first", top.path("nx.json"))));
    }
    let before = workspace::built_before(&top, &project.tree, &project.package, script);
    if before.is_empty() {
        return None;
    }
    let own = run_script(project, script);
    let steps: Vec<String> =
        before.iter().map(|directory| format!("(cd {SOURCE_DIRECTORY}{} && {own})", slashed(directory))).collect();
    let packages: Vec<String> = before.iter().map(|directory| format!("`{directory}`")).collect();
    let from = format!("it depends on {} of the same workspace, built first", packages.join(", "));
    Some((format!("{} && {own}", steps.join(" && ")), from))
}

fn with_programs_at_top(project: &Project<'_>, command: &str) -> String {
    if project.packages.plug_and_play {
        return format!("yarn exec {command}");
    }
    format!("PATH=\"$PWD/node_modules/.bin:$PATH\" {command}")
}

fn slashed(directory: &str) -> String {
    if directory.is_empty() { String::new() } else { format!("/{}", super::install::quoted(directory)) }
}

/// The command with what follows it: what the framework leaves to do, and the pruning.
pub(super) fn finished(
    project: &Project<'_>,
    command: Option<String>,
    found: &Found,
    start: &Start,
    reasons: &mut Vec<Reason>,
) -> Option<String> {
    let fits = matches!(
        (start, &found.shape),
        (Start::Command { .. }, Shape::Server(_)) | (Start::Site(_), Shape::Site { .. })
    );
    let after = found.after_build.clone().filter(|_| fits && command.is_some());
    if let (Some(_), Some(from)) = (&after, &found.from) {
        reasons.push(Reason {
            decided: "after the build its files are put where they are served from".to_owned(),
            from: from.clone(),
        });
    }
    let prune = prune::command(project, start, reasons);
    // Of the owner's command nothing is known: what follows it must hang on all of it.
    let is_owners = project.settings.build_command.is_some() && (after.is_some() || prune.is_some());
    let command = command.map(|command| if is_owners { format!("{{ {command}\n}}") } else { command });
    let parts: Vec<String> = [command, after, prune].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(" && "))
}
