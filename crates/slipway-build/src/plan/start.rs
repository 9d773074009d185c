//! The start command.
//!
//! A script of `package.json` is run without its package manager where that changes nothing: `npm run start` keeps a
//! process of 50 MB above the app, and the app gets its signals late or not at all.

use super::framework::Framework;
use super::node::{Project, program_directories, run_script};
use super::{missing, next};
use crate::diagnosis::entry::NO_START_COMMAND;
use crate::package_json::PACKAGE_JSON;
use slipway_types::Diagnosis;
use slipway_types::plan::Reason;

/// Files that are taken for the app when nothing says how it starts.
const ENTRY_FILES: [&str; 6] = ["server.js", "server.mjs", "index.js", "index.mjs", "app.js", "main.js"];

/// Scripts that call other scripts are followed this far: nobody nests deeper on purpose.
const SCRIPT_DEPTH_MAX: usize = 4;

/// Decides how the app starts.
///
/// # Errors
/// A diagnosis `no-start-command` when nothing says so.
pub(super) fn command(project: &Project<'_>, builds: bool, reasons: &mut Vec<Reason>) -> Result<String, Diagnosis> {
    let (command, from) = choose(project, builds).ok_or_else(|| none(project))?;
    reasons.push(Reason { decided: format!("start: `{command}`"), from });
    Ok(command)
}

fn choose(project: &Project<'_>, builds: bool) -> Option<(String, String)> {
    if let Some(command) =
        project.settings.start_command.as_deref().map(str::trim).filter(|command| !command.is_empty())
    {
        return Some((command.to_owned(), "the setting `start_command`".to_owned()));
    }
    let path = project.tree.path(PACKAGE_JSON);
    if is_exported(project) {
        return None;
    }
    let names = project.framework.map_or(&["start"][..], |framework| framework.start_scripts);
    let script =
        names.iter().find(|name| project.package.script(name).is_some_and(|text| !is_development(project, text)));
    let script = script.filter(|name| !(next::is_standalone(project) && is_next_start(project, name)));
    if let Some(name) = script {
        return Some((from_script(project, name), format!("the script `{name}` in `{path}`")));
    }
    if let Some(framework) = project.framework.filter(|framework| !framework.start_command.is_empty()) {
        return Some(by_framework(project, framework));
    }
    if let Some(main) = project.package.text(&["main"]).filter(|main| builds || exists(project, main)) {
        return Some((format!("exec node {}", shell_word(main)), format!("`main` in `{path}`")));
    }
    let file = ENTRY_FILES.iter().find(|file| project.tree.has(file))?;
    Some((format!("exec node {file}"), format!("the file `{}`", project.tree.path(file))))
}

fn by_framework(project: &Project<'_>, framework: &Framework) -> (String, String) {
    if next::is_standalone(project) {
        let config = next::output(project).map_or("next.config.js", |(file, _)| file);
        return (format!("exec {}", next::STANDALONE_START), format!("`output: \"standalone\"` in `{config}`"));
    }
    let said = framework.start_scripts.iter().find(|name| project.package.script(name).is_some());
    let from = match said {
        Some(name) => format!("what {} needs: the script `{name}` starts its development server", framework.name),
        None => format!("no script `start`: what {} needs", framework.name),
    };
    (direct(project, framework.start_command), from)
}

/// A site that `next build` exports has no server.
fn is_exported(project: &Project<'_>) -> bool {
    next::output(project).is_some_and(|(_, output)| output == "export")
        && project.package.script("start").is_none_or(|script| script.trim_start().starts_with("next start"))
}

fn is_next_start(project: &Project<'_>, name: &str) -> bool {
    project.package.script(name).is_some_and(|script| script.trim() == "next start")
}

fn is_development(project: &Project<'_>, script: &str) -> bool {
    let commands = project.framework.map(|framework| framework.development_commands).unwrap_or_default();
    let (words, rest) = (script.trim(), |command: &str| format!("{command} -"));
    commands.iter().any(|command| words == *command || words.starts_with(&rest(command)))
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
    if let Some(next) = called_script(text) {
        return resolved(project, next, depth + 1);
    }
    is_plain(text).then_some(text)
}

/// `npm run serve` calls `serve`.
fn called_script(text: &str) -> Option<&str> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        ["npm" | "pnpm" | "yarn" | "bun", "run", script] => Some(script),
        _ => None,
    }
}

/// Words, quotes, variables and `&&`: nothing whose meaning `exec` in front of the last command could change.
fn is_plain(text: &str) -> bool {
    let quoted_and = text.split(['"', '\'']).skip(1).step_by(2).any(|quoted| quoted.contains("&&"));
    let rest = text.replace("&&", " ");
    let is_builtin =
        matches!(last_command(text).split_whitespace().next(), None | Some("cd" | "exit" | "set" | "." | "source"));
    !quoted_and && !is_builtin && !rest.contains(['&', ';', '|', '<', '>', '(', ')', '`', '\n', '#'])
}

fn last_command(text: &str) -> &str {
    text.rsplit("&&").next().unwrap_or_default().trim()
}

/// The commands of a script with the dependencies' programs at hand; the last one takes the place of the shell, so
/// that it gets the signals itself.
fn direct(project: &Project<'_>, text: &str) -> String {
    let last = last_command(text);
    let before = text[..text.len() - text.rsplit("&&").next().unwrap_or_default().len()].trim();
    let before = if before.is_empty() { String::new() } else { format!("{before} ") };
    let assigns = last.split_whitespace().next().is_some_and(is_assignment);
    let exec = if assigns { "exec env" } else { "exec" };
    let command = format!("{before}{exec} {last}");
    let needs_programs =
        !(before.is_empty() && last.split_whitespace().find(|word| !is_assignment(word)) == Some("node"));
    if needs_programs {
        return format!("export PATH=\"{}:$PATH\"; {command}", program_directories(project));
    }
    command
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit())
    })
}

fn shell_word(word: &str) -> String {
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '@'));
    if plain && !word.starts_with('-') { word.to_owned() } else { format!("'./{}'", word.replace('\'', "'\\''")) }
}

fn none(project: &Project<'_>) -> Diagnosis {
    let path = project.tree.path(PACKAGE_JSON);
    let scripts = match &project.package.script_names()[..] {
        [] => "has no scripts".to_owned(),
        names => format!("has the scripts {}, none of which starts it for production", listed(names)),
    };
    let exported = is_exported(project).then_some("out");
    let site = exported.or_else(|| project.framework.and_then(|framework| framework.static_output));
    let mut diagnosis = NO_START_COMMAND.diagnosis("nothing says how the app starts").at(path.clone());
    if let Some(directory) = site {
        let name = project.framework.map_or("the build", |framework| framework.name);
        return diagnosis
            .because(format!("{name} makes a site of files in `{directory}` here, without a server"))
            .hint(format!(
                "serve them: `npm install serve`, then `\"start\": \"serve {directory}\"` in the scripts of `{path}`"
            ))
            .hint("or set `start_command` in `slipway.toml`");
    }
    diagnosis = diagnosis
        .because(format!("`{path}` {scripts}; `main` and files such as `server.js` and `index.js` are missing too"))
        .hint(format!("add a script `start` to `{path}`, or set `start_command` in `slipway.toml`"));
    missing::candidates(&project.tree).into_iter().fold(diagnosis, |diagnosis, directory| {
        diagnosis.hint(format!("if the app is in `{directory}`, set `root = \"{directory}\"` in `slipway.toml`"))
    })
}

/// Scripts that a diagnosis names.
const SCRIPTS_NAMED_MAX: usize = 8;

fn listed(names: &[&str]) -> String {
    let named: Vec<String> = names.iter().take(SCRIPTS_NAMED_MAX).map(|name| format!("`{name}`")).collect();
    named.join(", ")
}
