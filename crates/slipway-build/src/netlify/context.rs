//! Which deployment a configuration is resolved for, and what of `[context.*]` holds for it.

use super::merge::merge;
use super::{Problem, case};
use std::fmt;
use toml::{Table, Value};

/// What `netlify.toml` calls the deploy context, and the branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployContext {
    /// `production`, `branch-deploy`, `deploy-preview`.
    pub name: String,
    /// None: the source has no branch, or does not say which.
    pub branch: Option<String>,
}

impl DeployContext {
    /// The default branch, or a directory that its owner deploys.
    pub fn production() -> Self {
        Self { name: "production".to_owned(), branch: None }
    }

    /// Of a branch, tag or commit that was asked for by name. Which branch is the repository's default is not known
    /// here: the usual names of it are production, and so is a commit, which belongs to no branch.
    pub fn of_reference(name: &str) -> Self {
        let branch = name.trim_start_matches("refs/heads/");
        if is_commit(branch) {
            return Self::production();
        }
        let context = if DEFAULT_BRANCHES.contains(&branch) { "production" } else { "branch-deploy" };
        Self { name: context.to_owned(), branch: Some(branch.to_owned()) }
    }
}

impl fmt::Display for DeployContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.branch {
            Some(branch) => write!(f, "{} {branch}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What repositories call their default branch.
const DEFAULT_BRANCHES: [&str; 2] = ["main", "master"];

/// The whole name of a commit. A shorter one may as well be a branch, such as `20240101`.
fn is_commit(name: &str) -> bool {
    matches!(name.len(), 40 | 64) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Keys that in `[context.NAME]` mean `[build]`, when they are not lists or tables of functions.
const BUILD_KEYS: [&str; 8] =
    ["base", "command", "edge_functions", "environment", "functions", "ignore", "processing", "publish"];

/// The file without its contexts, with those that hold merged in: the context's, then the branch's.
pub(super) fn merge_contexts(config: &Table, context: &DeployContext) -> Result<Table, Problem> {
    let mut merged = case::normalize(config)?;
    let Some(contexts) = merged.remove("context") else { return Ok(merged) };
    let contexts = contexts.as_table().ok_or_else(|| Problem::new("context", "must be a table"))?;
    let mut normal: Vec<(&str, Table)> = Vec::new();
    for (name, value) in contexts {
        let table = value.as_table().ok_or_else(|| Problem::new(&format!("context.{name}"), "must be a table"))?;
        normal.push((name, case::normalize(&with_build(table)).map_err(|problem| problem.under(name))?));
    }
    for key in std::iter::once(context.name.as_str()).chain(context.branch.as_deref()) {
        for matching in matching(&normal, key) {
            merged = merge(&merged, matching);
        }
    }
    Ok(merged)
}

/// Settings of the build that stand in the context itself go where they would be in the file. In the order of the
/// file: a `[context.NAME.build]` replaces what stands before it.
fn with_build(context: &Table) -> Table {
    let mut named = Table::new();
    for (key, value) in context {
        let of_functions = (key == "functions" && value.is_table()) || (key == "edge_functions" && value.is_array());
        if !BUILD_KEYS.contains(&key.as_str()) || of_functions {
            named.insert(key.clone(), value.clone());
            continue;
        }
        match named.get_mut("build") {
            Some(Value::Table(build)) => drop(build.insert(key.clone(), value.clone())),
            _ => {
                let build = Table::from_iter([(key.clone(), value.clone())]);
                named.insert("build".to_owned(), Value::Table(build));
            }
        }
    }
    named
}

/// The context of that name, else all whose name ends in `*` and begins the key, in the order of the file.
fn matching<'c>(contexts: &'c [(&str, Table)], key: &str) -> Vec<&'c Table> {
    if key.is_empty() {
        return Vec::new();
    }
    if let Some((_, exact)) = contexts.iter().find(|(name, _)| *name == key) {
        return vec![exact];
    }
    let begins = |name: &str| name.strip_suffix('*').is_some_and(|start| key.starts_with(start));
    contexts.iter().filter(|(name, _)| begins(name)).map(|(_, context)| context).collect()
}
