//! Trees that no plan can be made for, with what was found instead.

use crate::diagnosis::entry::{NO_PACKAGE_JSON, NOTHING_RECOGNISED, ROOT_MISSING};
use crate::package_json::PACKAGE_JSON;
use crate::tree::{Tree, parent};
use slipway_types::Diagnosis;

/// Entries of a directory that a diagnosis names.
const ENTRIES_NAMED_MAX: usize = 8;
/// Directories that a hint proposes.
const CANDIDATES_MAX: usize = 3;

/// Files that are never alone: beside each of them belongs a `package.json`.
const LOCKFILES: [&str; 4] = ["package-lock.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock"];

/// Endings of files that Node.js runs.
const PROGRAM_ENDINGS: [&str; 5] = ["js", "mjs", "cjs", "ts", "mts"];

/// Files that tell of another language, with its name.
const OTHER_LANGUAGES: [(&str, &str); 9] = [
    ("go.mod", "Go"),
    ("Cargo.toml", "Rust"),
    ("Gemfile", "Ruby"),
    ("composer.json", "PHP"),
    ("pom.xml", "Java"),
    ("build.gradle", "Java"),
    ("mix.exs", "Elixir"),
    ("deno.json", "Deno"),
    ("Dockerfile", "a container image"),
];

/// The language of the files, where it is one that can't be built yet.
pub(super) fn other_language(tree: &Tree<'_>) -> Option<(&'static str, &'static str)> {
    OTHER_LANGUAGES.into_iter().find(|(file, _)| tree.has(file))
}

/// The directory of `settings.root` is not in the tree.
pub(super) fn root(tree: &Tree<'_>) -> Diagnosis {
    let directory = tree.directory();
    let diagnosis = ROOT_MISSING
        .diagnosis(format!("there is no directory `{directory}` in the source"))
        .at("the setting `root`")
        .because(format!("`root = \"{directory}\"`, but the source holds {}", entries(&tree.top())));
    with_candidates(diagnosis, &tree.top())
        .hint("correct `root` in `slipway.toml`: case matters, and git keeps no empty directories")
}

/// There is no `package.json` in the service's directory, though one below or a lockfile tells that it should be.
pub(super) fn package_json(tree: &Tree<'_>) -> Diagnosis {
    let diagnosis = NO_PACKAGE_JSON
        .diagnosis("there is no `package.json`, so there is nothing that can be built or started")
        .at(place(tree))
        .because(format!("the directory holds {}", entries(tree)));
    with_candidates(diagnosis, tree)
        .hint("check that the right directory was sent and that `package.json` is not ignored by git")
}

/// Nothing in the service's directory says what it is.
pub(super) fn nothing_recognised(tree: &Tree<'_>) -> Diagnosis {
    if !candidates(tree).is_empty() || is_node(tree) {
        return package_json(tree);
    }
    let language = other_language(tree);
    let looks = language.map(|(file, name)| format!("; `{file}` tells of {name}, which can't be built yet"));
    NOTHING_RECOGNISED
        .diagnosis("nothing in the source says how it is built or started")
        .at(place(tree))
        .because(format!("the directory holds {}{}", entries(tree), looks.unwrap_or_default()))
        .hint("an app of Node.js has a `package.json`, one of Python a `requirements.txt` or `pyproject.toml`, a site an `index.html`")
        .hint("if the app is in a directory below, set `root` in `slipway.toml`")
        .hint("if these are the files of a site, set `directory` in the section `[site]` of `slipway.toml`")
}

/// Whether a lockfile or a program of Node.js lies in the directory itself.
fn is_node(tree: &Tree<'_>) -> bool {
    let is_program = |name: &str| name.rsplit_once('.').is_some_and(|(_, ending)| PROGRAM_ENDINGS.contains(&ending));
    let mut own = tree.files().filter_map(|path| tree.relative(path)).filter(|name| !name.contains('/'));
    own.any(|name| LOCKFILES.contains(&name) || is_program(name))
}

fn place(tree: &Tree<'_>) -> String {
    match tree.directory() {
        "" => "top of the source".to_owned(),
        directory => format!("`{directory}`"),
    }
}

/// Names the directories that could be meant.
fn with_candidates(diagnosis: Diagnosis, tree: &Tree<'_>) -> Diagnosis {
    candidates(tree).into_iter().fold(diagnosis, |diagnosis, directory| {
        diagnosis.hint(format!("`{directory}` has a `package.json`: set `root = \"{directory}\"` in `slipway.toml`"))
    })
}

/// Directories below that have a `package.json`, the least deep first.
pub(super) fn candidates<'t>(tree: &Tree<'t>) -> Vec<&'t str> {
    let mut directories: Vec<&str> = tree
        .files()
        .filter(|path| path.rsplit('/').next() == Some(PACKAGE_JSON))
        .filter_map(parent)
        .filter(|directory| *directory != tree.directory())
        .collect();
    directories.sort_by_key(|directory| (directory.matches('/').count(), *directory));
    directories.truncate(CANDIDATES_MAX);
    directories
}

/// The first entries of a directory, directories with a slash.
fn entries(tree: &Tree<'_>) -> String {
    let prefix = if tree.directory().is_empty() { 0 } else { tree.directory().len() + 1 };
    let mut names: Vec<String> = Vec::new();
    for path in tree.files() {
        let inside = path.get(prefix..).unwrap_or_default();
        let name =
            inside.split_once('/').map_or_else(|| format!("`{inside}`"), |(directory, _)| format!("`{directory}/`"));
        if names.last() != Some(&name) && !names.contains(&name) {
            names.push(name);
        }
        if names.len() > ENTRIES_NAMED_MAX {
            names.truncate(ENTRIES_NAMED_MAX);
            return format!("{} and more", names.join(", "));
        }
    }
    if names.is_empty() { "no files".to_owned() } else { names.join(", ") }
}
