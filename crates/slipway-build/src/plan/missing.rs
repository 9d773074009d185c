//! Trees that no plan can be made for, with what was found instead.

use crate::diagnosis::entry::{NO_PACKAGE_JSON, ROOT_MISSING};
use crate::package_json::PACKAGE_JSON;
use crate::tree::{Tree, parent};
use slipway_types::Diagnosis;

/// Entries of a directory that a diagnosis names.
const ENTRIES_NAMED_MAX: usize = 8;
/// Directories that a hint proposes.
const CANDIDATES_MAX: usize = 3;

/// Files that tell of another language, with its name.
const OTHER_LANGUAGES: [(&str, &str); 7] = [
    ("go.mod", "Go"),
    ("Cargo.toml", "Rust"),
    ("Gemfile", "Ruby"),
    ("composer.json", "PHP"),
    ("pom.xml", "Java"),
    ("Dockerfile", "a container image"),
    ("index.html", "a site without a server"),
];

/// The directory of `settings.root` is not in the tree.
pub(super) fn root(tree: &Tree<'_>) -> Diagnosis {
    let directory = tree.directory();
    let diagnosis = ROOT_MISSING
        .diagnosis(format!("there is no directory `{directory}` in the source"))
        .at("the setting `root`")
        .because(format!("`root = \"{directory}\"`, but the source holds {}", entries(&tree.top())));
    with_candidates(diagnosis, &tree.top())
}

/// There is no `package.json` in the service's directory.
pub(super) fn package_json(tree: &Tree<'_>) -> Diagnosis {
    let place = match tree.directory() {
        "" => "top of the source".to_owned(),
        directory => format!("`{directory}`"),
    };
    let language = OTHER_LANGUAGES.iter().find(|(file, _)| tree.has(file));
    let looks = language.map(|(file, name)| format!("; `{file}` tells of {name}, which can't be built yet"));
    let diagnosis = NO_PACKAGE_JSON
        .diagnosis("there is no `package.json`, so there is nothing that can be built or started")
        .at(place)
        .because(format!("the directory holds {}{}", entries(tree), looks.unwrap_or_default()));
    with_candidates(diagnosis, tree)
        .hint("check that the right directory was sent and that `package.json` is not ignored by git")
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
