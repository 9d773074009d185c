//! What the files of a Python project say about its packages, and which tool they are for.

use super::requirement::{self, Line};
use crate::diagnosis::entry::INVALID_PYPROJECT;
use crate::place::{line_and_column, quoted_line};
use crate::tree::{self, Tree};
use slipway_types::Diagnosis;
use std::collections::{BTreeMap, BTreeSet};

pub(super) const PYPROJECT: &str = "pyproject.toml";
/// Lists that draw in each other are followed this far.
const LISTS_MAX: usize = 32;

/// Who installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Installer {
    /// `uv.lock`.
    UvLock,
    /// `poetry.lock`, or `[tool.poetry]` without one.
    Poetry { locked: bool },
    /// `requirements.txt`.
    Requirements,
    /// `Pipfile`.
    Pipenv { locked: bool },
    /// `[project]` without a lockfile that is known.
    Pyproject,
    /// `setup.py`.
    Setup,
    /// Nothing but the standard library.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Manifests<'t> {
    pub(super) installer: Installer,
    /// Where the lockfile of uv lies: the service's directory or one above it.
    pub(super) locked_at: Tree<'t>,
    pub(super) pyproject: toml::Table,
    pub(super) pipfile: toml::Table,
    /// Packages by normalized name with their extras; of a lockfile also those that others need.
    packages: BTreeMap<String, BTreeSet<String>>,
    /// `requirements.txt` and the lists that it draws in: paths relative to the top.
    pub(super) lists: BTreeSet<String>,
    /// Directories and archives of the tree that a list names, relative to the top; those that are not editable.
    pub(super) locals: BTreeSet<String>,
}

impl<'t> Manifests<'t> {
    /// # Errors
    /// `invalid-pyproject` when `pyproject.toml` or `Pipfile` is no TOML.
    pub(super) fn read(tree: &Tree<'t>) -> Result<Self, Diagnosis> {
        let pyproject = table(tree, PYPROJECT)?;
        let pipfile = table(tree, "Pipfile")?;
        let locked_at = tree.upwards().find(|directory| directory.has("uv.lock"));
        let installer = installer(tree, &pyproject, locked_at.as_ref());
        let mut manifests = Self {
            installer,
            locked_at: locked_at.unwrap_or(*tree),
            pyproject,
            pipfile,
            packages: BTreeMap::new(),
            lists: BTreeSet::new(),
            locals: BTreeSet::new(),
        };
        manifests.add_packages(tree);
        Ok(manifests)
    }

    pub(super) fn has(&self, package: &str) -> bool {
        self.packages.contains_key(package)
    }

    pub(super) fn has_extra(&self, package: &str, extra: &str) -> bool {
        self.packages.get(package).is_some_and(|extras| extras.contains(extra))
    }

    /// A table of `pyproject.toml`, such as `tool.poetry`.
    pub(super) fn pyproject_table(&self, keys: &[&str]) -> Option<&toml::Table> {
        let (first, rest) = keys.split_first()?;
        let first = self.pyproject.get(*first)?.as_table()?;
        rest.iter().try_fold(first, |table, key| table.get(*key)?.as_table())
    }

    /// Whether the project itself is a package that tools install.
    pub(super) fn is_package(&self, tree: &Tree<'_>) -> bool {
        self.pyproject.contains_key("build-system") || tree.has("setup.py") || tree.has("setup.cfg")
    }

    fn add_packages(&mut self, tree: &Tree<'t>) {
        let mut found: Vec<(String, Vec<String>)> = Vec::new();
        match self.installer {
            Installer::Requirements => found.extend(self.follow_lists(tree)),
            Installer::Setup => found.extend(quoted_words(tree.text("setup.py").unwrap_or_default())),
            Installer::Pipenv { .. } => found.extend(keys_of(self.pipfile.get("packages"))),
            Installer::UvLock => found.extend(locked(self.locked_at.text("uv.lock"))),
            Installer::Poetry { .. } => found.extend(locked(tree.text("poetry.lock"))),
            Installer::Pyproject | Installer::Nothing => {}
        }
        let project = self.pyproject_table(&["project"]).and_then(|project| project.get("dependencies"));
        let project = project.and_then(toml::Value::as_array).into_iter().flatten().filter_map(toml::Value::as_str);
        found.extend(project.filter_map(requirement::package));
        let poetry = self.pyproject_table(&["tool", "poetry"]).and_then(|poetry| poetry.get("dependencies"));
        found.extend(keys_of(poetry));
        for (name, extras) in found {
            self.packages.entry(name).or_default().extend(extras);
        }
    }

    /// All packages of `requirements.txt` and what it draws in.
    fn follow_lists(&mut self, tree: &Tree<'t>) -> Vec<(String, Vec<String>)> {
        let mut found = Vec::new();
        let mut waiting = vec![tree.path("requirements.txt")];
        while let Some(path) = waiting.pop() {
            if self.lists.len() == LISTS_MAX || !self.lists.insert(path.clone()) {
                continue;
            }
            let Some(text) = tree.top().text(&path) else { continue };
            let at = tree::parent(&path).unwrap_or_default();
            for line in requirement::lines(text) {
                match line {
                    Line::Package { name, extras } => found.push((name, extras)),
                    Line::List(other) => waiting.extend(tree::resolve(at, other)),
                    // pip looks for these from where it runs, which is the service's directory.
                    Line::Local { path, editable: false } => {
                        self.locals.extend(tree::resolve(tree.directory(), path));
                    }
                    Line::Local { editable: true, .. } => {}
                }
            }
        }
        found
    }
}

fn installer(tree: &Tree<'_>, pyproject: &toml::Table, uv_lock: Option<&Tree<'_>>) -> Installer {
    let own_uv_lock = uv_lock.is_some_and(|at| at.directory() == tree.directory());
    let has_project = pyproject.contains_key("project");
    let poetry = pyproject.get("tool").and_then(|tool| tool.get("poetry")).is_some();
    if own_uv_lock || (uv_lock.is_some() && has_project && !tree.has("requirements.txt")) {
        Installer::UvLock
    } else if tree.has("poetry.lock") {
        Installer::Poetry { locked: true }
    } else if tree.has("Pipfile.lock") {
        Installer::Pipenv { locked: true }
    } else if tree.has("requirements.txt") {
        Installer::Requirements
    } else if tree.has("Pipfile") {
        Installer::Pipenv { locked: false }
    } else if poetry {
        Installer::Poetry { locked: false }
    } else if has_project {
        Installer::Pyproject
    } else if tree.has("setup.py") || tree.has("setup.cfg") {
        Installer::Setup
    } else {
        Installer::Nothing
    }
}

fn table(tree: &Tree<'_>, name: &str) -> Result<toml::Table, Diagnosis> {
    let Some(text) = tree.text(name) else { return Ok(toml::Table::new()) };
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let (line, column) = line_and_column(text, error.span().map_or(0, |span| span.start));
        let path = tree.path(name);
        INVALID_PYPROJECT
            .diagnosis(format!("`{path}` is not valid TOML"))
            .at(format!("{path}:{line}:{column}"))
            .because(format!("{}, in `{}`", error.message().trim(), quoted_line(text, line)))
            .hint("no tool for Python could read the file either: correct the line")
    })
}

fn keys_of(table: Option<&toml::Value>) -> Vec<(String, Vec<String>)> {
    let extras = |value: &toml::Value| -> Vec<String> {
        let list = value.get("extras").and_then(toml::Value::as_array).into_iter().flatten();
        list.filter_map(toml::Value::as_str).map(requirement::normalized).collect()
    };
    let entries = table.and_then(toml::Value::as_table).into_iter().flatten();
    entries.map(|(name, value)| (requirement::normalized(name), extras(value))).collect()
}

/// Names of the packages in a lockfile of uv or Poetry, which begin a table each.
fn locked(text: Option<&str>) -> Vec<(String, Vec<String>)> {
    let names = text.unwrap_or_default().lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    names.map(|name| (requirement::normalized(name), Vec::new())).collect()
}

/// Whatever stands in quotes in a program may be a requirement.
fn quoted_words(text: &str) -> Vec<(String, Vec<String>)> {
    text.split(['"', '\'']).skip(1).step_by(2).filter_map(requirement::package).collect()
}
