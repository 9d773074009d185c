//! How a release answers: a process, or files without one.
//!
//! A script of `package.json` is run without its package manager where that changes nothing: `npm run start` keeps a
//! process of 50 MB above the app, and the app gets its signals late or not at all.

use super::framework::{Found, Shape};
use super::node::{Project, program_directories, run_script};
use super::script::{self, SCRIPT_DEPTH_MAX, is_assignment, is_plain, last_command};
use super::{files, refusal, site};
use crate::package_json::PACKAGE_JSON;
use slipway_types::Diagnosis;
use slipway_types::plan::{PackageManagerName, Reason, Start};
use slipway_types::settings::ServiceKind;

/// Files that are taken for the app when nothing says how it starts.
pub(super) const ENTRY_FILES: [&str; 8] =
    ["server.js", "server.mjs", "index.js", "index.mjs", "app.js", "main.js", "src/index.js", "src/server.js"];

/// The same in TypeScript, which Bun runs as it is.
const ENTRY_FILES_OF_BUN: [&str; 4] = ["index.ts", "server.ts", "src/index.ts", "src/server.ts"];

/// Decides how the release answers: what the owner set, the `Procfile`, a script that starts a server, what the
/// framework makes, and at last what the files tell.
///
/// # Errors
/// A diagnosis `no-start-command` or `no-site-directory` when nothing says so.
pub(super) fn decide(
    project: &Project<'_>,
    found: &Found,
    builds: bool,
    reasons: &mut Vec<Reason>,
) -> Result<Start, Diagnosis> {
    let settings = project.settings;
    if let Some(directory) = site::directory_set(settings) {
        let fallback = if let Shape::Site { fallback, .. } = &found.shape { fallback.as_deref() } else { None };
        return Ok(Start::Site(site::decide(settings, directory, fallback, "", reasons)));
    }
    if settings.kind == ServiceKind::Static {
        return of_site(project, found, reasons).ok_or_else(|| refusal::no_site(&project.tree));
    }
    let said = by_owner(project, found).or_else(|| by_script(project, found));
    if said.is_none() && settings.kind == ServiceKind::Web && matches!(found.shape, Shape::Site { .. }) {
        return of_site(project, found, reasons).ok_or_else(|| refusal::no_site(&project.tree));
    }
    if let Some((command, from)) =
        said.or_else(|| by_framework(project, found)).or_else(|| by_file(project, found, builds))
    {
        reasons.push(Reason { decided: format!("start: `{command}`"), from });
        return Ok(Start::Command { command });
    }
    let site = if is_page(project, builds) { of_site(project, found, reasons) } else { None };
    site.ok_or_else(|| refusal::no_start(project, found))
}

/// Whether files that lie in the source are the site. With a build, a page in a directory of its own may be what the
/// build reads and not what it writes, unless the build names that directory.
fn is_page(project: &Project<'_>, builds: bool) -> bool {
    project.settings.kind == ServiceKind::Web
        && project.framework.is_none()
        && files::directory(&project.tree)
            .is_some_and(|directory| !builds || directory.is_empty() || project.build_text().contains(directory))
}

/// The site that the framework makes, else the directory with a page in it.
fn of_site(project: &Project<'_>, found: &Found, reasons: &mut Vec<Reason>) -> Option<Start> {
    let settings = project.settings;
    if let Shape::Site { directory, fallback } = &found.shape {
        let name = project.framework.map_or("the build", |framework| framework.name);
        let from = found.from.clone().unwrap_or_else(|| format!("what {name} makes"));
        return Some(Start::Site(site::decide(settings, directory, fallback.as_deref(), &from, reasons)));
    }
    let directory = files::directory(&project.tree)?;
    let page = if directory.is_empty() { "index.html".to_owned() } else { format!("{directory}/index.html") };
    let from = format!("`{}`, and nothing that starts", project.tree.path(&page));
    Some(Start::Site(site::decide(settings, directory, None, &from, reasons)))
}

fn by_owner(project: &Project<'_>, found: &Found) -> Option<(String, String)> {
    let set = project.settings.start_command.as_deref().map(str::trim).filter(|command| !command.is_empty());
    if let Some(command) = set {
        return Some((command.to_owned(), "the setting `start_command`".to_owned()));
    }
    let (command, from) = project.procfile.command(project.settings.kind)?;
    let text = resolved_call(project, command).unwrap_or(command);
    is_server(project, found, text).then(|| (runnable(project, command), from))
}

fn by_script(project: &Project<'_>, found: &Found) -> Option<(String, String)> {
    let names = project.framework.map_or(&["start"][..], |framework| framework.start_scripts);
    let name = names.iter().find(|name| {
        let text = project.package.script(name);
        text.is_some_and(|text| is_server(project, found, resolved_call(project, text).unwrap_or(text)))
    })?;
    Some((from_script(project, name), format!("the script `{name}` in `{}`", project.tree.path(PACKAGE_JSON))))
}

/// The text behind a script that only calls others.
fn resolved_call<'p>(project: &'p Project<'_>, text: &str) -> Option<&'p str> {
    let mut found = project.package.script(script::called(&project.package, text)?)?;
    for _ in 1..SCRIPT_DEPTH_MAX {
        match script::called(&project.package, found).and_then(|name| project.package.script(name)) {
            Some(next) => found = next,
            None => break,
        }
    }
    Some(found)
}

/// Whether a command starts the app for production. Development servers do not; where the build makes a site,
/// neither does what only shows it.
fn is_server(project: &Project<'_>, found: &Found, text: &str) -> bool {
    let Some(framework) = project.framework else { return true };
    let is_site = matches!(found.shape, Shape::Site { .. });
    let shows_site = is_site && script::serves_files(text);
    let has_better =
        (is_site || found.after_build.is_some()) && script::starts_with_one_of(text, framework.site_commands);
    !shows_site && !has_better && !script::runs_one_of(text, framework.development_commands)
}

fn by_framework(project: &Project<'_>, found: &Found) -> Option<(String, String)> {
    let Shape::Server(command) = &found.shape else { return None };
    let framework = project.framework?;
    let said = framework.start_scripts.iter().find(|name| project.package.script(name).is_some());
    let from = match (&found.from, said) {
        (Some(from), _) => from.clone(),
        (None, Some(name)) => {
            format!("what {} needs: the script `{name}` starts its development server", framework.name)
        }
        (None, None) => format!("no script `start`: what {} needs", framework.name),
    };
    Some((direct(project, command), from))
}

/// `main`, and files that are called as the start of an app is.
fn by_file(project: &Project<'_>, found: &Found, builds: bool) -> Option<(String, String)> {
    if matches!(found.shape, Shape::Site { .. } | Shape::Foreign { .. }) {
        return None;
    }
    let path = project.tree.path(PACKAGE_JSON);
    let bun = project.packages.manager.name == PackageManagerName::Bun;
    let program = if bun { "bun" } else { "node" };
    // `index.js` is what `npm init` writes: a build makes files in directories of its own.
    let built = |main: &str| builds && main.trim_start_matches("./").contains('/');
    for field in if bun { &["main", "module"][..] } else { &["main"] } {
        let main = project.package.text(&[field]).filter(|main| exists(project, main) || built(main));
        if let Some(main) = main {
            return Some((format!("exec {program} {}", shell_word(main)), format!("`{field}` in `{path}`")));
        }
    }
    let more = if bun { &ENTRY_FILES_OF_BUN[..] } else { &[] };
    let file = ENTRY_FILES.iter().chain(more).find(|file| project.tree.has(file))?;
    Some((format!("exec {program} {file}"), format!("the file `{}`", project.tree.path(file))))
}

fn exists(project: &Project<'_>, main: &str) -> bool {
    let main = main.trim_start_matches("./");
    ["", ".js", "/index.js"].iter().any(|ending| project.tree.has(&format!("{main}{ending}")))
}

fn from_script(project: &Project<'_>, name: &str) -> String {
    if project.packages.plug_and_play {
        return run_script(project, name);
    }
    match resolved(project, name, 0) {
        Some(text) => direct(project, text),
        None => run_script(project, name),
    }
}

/// The text of a script that can run by itself; scripts that only call another one are followed.
fn resolved<'p>(project: &'p Project<'_>, name: &str, depth: usize) -> Option<&'p str> {
    let has = |prefix: &str| project.package.script(&format!("{prefix}{name}")).is_some();
    if depth == SCRIPT_DEPTH_MAX || has("pre") || has("post") {
        return None;
    }
    let text = project.package.script(name)?;
    if let Some(next) = script::called(&project.package, text) {
        return resolved(project, next, depth + 1);
    }
    is_plain(text).then_some(text)
}

/// A command of the source's own with the dependencies' programs at hand, as on Heroku.
pub(super) fn runnable(project: &Project<'_>, command: &str) -> String {
    if let Some(name) = script::called(&project.package, command) {
        return from_script(project, name);
    }
    if project.packages.plug_and_play {
        return command.to_owned();
    }
    if is_plain(command) {
        return direct(project, command);
    }
    format!("export PATH=\"{}:$PATH\"; {command}", program_directories(project))
}

/// The commands of a script with the dependencies' programs at hand; the last one takes the place of the shell, so
/// that it gets the signals itself.
fn direct(project: &Project<'_>, text: &str) -> String {
    let last = last_command(text);
    let before = text[..text.len() - text.rsplit("&&").next().unwrap_or_default().len()].trim();
    let before = if before.is_empty() { String::new() } else { format!("{before} ") };
    let assigns = last.split_whitespace().next().is_some_and(is_assignment);
    let exec = if assigns { "exec env" } else { "exec" };
    let last = last.strip_prefix("exec ").unwrap_or(last);
    let command = format!("{before}{exec} {last}");
    let needs_programs =
        !(before.is_empty() && last.split_whitespace().find(|word| !is_assignment(word)) == Some("node"));
    if needs_programs {
        return format!("export PATH=\"{}:$PATH\"; {command}", program_directories(project));
    }
    command
}

fn shell_word(word: &str) -> String {
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '@'));
    if plain && !word.starts_with('-') { word.to_owned() } else { format!("'./{}'", word.replace('\'', "'\\''")) }
}
