//! The merged configuration, part by part, as what it means.

use super::case::PUBLISH_IS_SET;
use super::text::is_blank;
use super::{Netlify, Plugin, Problem, header, redirect};
use crate::tree::{Tree, resolve};
use slipway_types::TreeListing;
use slipway_types::site::SiteRules;
use std::collections::BTreeMap;
use toml::{Table, Value};

/// Variables that Netlify sets itself: the file can't.
const OWN_VARIABLES: [&str; 17] = [
    "BRANCH",
    "CACHED_COMMIT_REF",
    "COMMIT_REF",
    "CONTEXT",
    "HEAD",
    "REPOSITORY_URL",
    "URL",
    "NETLIFY",
    "NETLIFY_LOCAL",
    "INCOMING_HOOK_BODY",
    "INCOMING_HOOK_TITLE",
    "INCOMING_HOOK_URL",
    "NETLIFY_BUILD_BASE",
    "NETLIFY_BUILD_LIFECYCLE_TRIAL",
    "NETLIFY_IMAGES_CDN_DOMAIN",
    "PULL_REQUEST",
    "REVIEW_ID",
];
/// Directories that hold functions when the file names none, the first that is there.
const FUNCTIONS_DIRECTORIES: [&str; 2] = ["netlify/functions", "netlify-automatic-functions"];
const EDGE_FUNCTIONS_DIRECTORY: &str = "netlify/edge-functions";

/// `base`: the one that is settled already.
pub(super) fn typed(config: &Table, base: Option<&str>, listing: &TreeListing) -> Result<Netlify, Problem> {
    let build = config.get("build").and_then(Value::as_table).cloned().unwrap_or_default();
    let own = match base {
        Some(_) => None,
        None => path(&build, "base", "")?,
    };
    if let Some(own) = &own
        && !listing.truncated
        && Tree::new(listing, own).is_empty()
    {
        return Err(Problem::new("build.base", format!("names a directory that does not exist: `{own}`")));
    }
    let base = own.or_else(|| base.map(str::to_owned));
    let directory = base.as_deref().unwrap_or_default();
    let tree = Tree::new(listing, directory);
    let publish = path(&build, "publish", directory)?;
    let mut netlify = Netlify {
        command: text(&build, "command")?,
        publish: publish.unwrap_or_else(|| directory.to_owned()),
        publish_is_set: build.contains_key(PUBLISH_IS_SET),
        ignore: text(&build, "ignore")?,
        environment: environment(&build)?,
        functions_directory: functions(config, &build, tree)?,
        edge_functions_directory: path(&build, "edge_functions", directory)?
            .or_else(|| existing(tree, EDGE_FUNCTIONS_DIRECTORY)),
        edge_functions: edge_functions(config)?,
        plugins: plugins(config)?,
        spa_fallback: flag(config, "spa_fallback")?,
        base,
        ..Netlify::default()
    };
    add_rules(&mut netlify, config);
    Ok(netlify)
}

fn add_rules(netlify: &mut Netlify, config: &Table) {
    let said = |key: &str| config.get(key).filter(|value| value.as_str().is_none_or(|text| !is_blank(text)));
    let (headers, of_headers) = said("headers").map(header::from_entries).unwrap_or_default();
    let (redirects, of_redirects) = said("redirects").map(redirect::from_entries).unwrap_or_default();
    netlify.rules = SiteRules { redirects, headers };
    netlify.warnings = of_headers.into_iter().chain(of_redirects).collect();
}

/// A blank text is as good as none.
fn text(build: &Table, key: &str) -> Result<Option<String>, Problem> {
    match build.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok((!is_blank(text)).then(|| text.clone())),
        Some(_) => Err(Problem::new(&format!("build.{key}"), "must be a string")),
    }
}

/// A path of `[build]` relative to the tree. A slash at its start means the directory, not the machine.
fn path(build: &Table, key: &str, directory: &str) -> Result<Option<String>, Problem> {
    let Some(written) = text(build, key)? else { return Ok(None) };
    inside(&format!("build.{key}"), &written, directory).map(Some)
}

fn inside(key: &str, written: &str, directory: &str) -> Result<String, Problem> {
    resolve(directory, written).ok_or_else(|| Problem::new(key, format!("`{written}` leads out of the repository")))
}

fn environment(build: &Table) -> Result<BTreeMap<String, String>, Problem> {
    let mut environment = BTreeMap::new();
    let Some(value) = build.get("environment").filter(|value| value.as_str().is_none_or(|text| !is_blank(text))) else {
        return Ok(environment);
    };
    let table = value.as_table().ok_or_else(|| Problem::new("build.environment", "must be a table"))?;
    for (name, value) in table {
        let refused = || Problem::new(&format!("build.environment.{name}"), "must be a string");
        let value = as_text(value).ok_or_else(refused)?;
        if !OWN_VARIABLES.contains(&name.as_str()) {
            environment.insert(name.clone(), value);
        }
    }
    Ok(environment)
}

/// A value as JavaScript makes a text of it.
fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        Value::Datetime(date) => Some(date.to_string()),
        Value::Array(parts) => Some(parts.iter().map(as_text).collect::<Option<Vec<_>>>()?.join(",")),
        Value::Table(_) => None,
    }
}

/// `functions.directory`, else `build.functions`, else the usual place.
fn functions(config: &Table, build: &Table, tree: Tree<'_>) -> Result<Option<String>, Problem> {
    let functions = match config.get("functions") {
        None => None,
        Some(Value::String(text)) if is_blank(text) => None,
        Some(value) => Some(value.as_table().ok_or_else(|| Problem::new("functions", "must be a table"))?),
    };
    let of_all = functions.and_then(|table| table.get("*")?.get("directory"));
    let said = of_all.or_else(|| functions.and_then(|table| table.get("directory")).filter(|value| !value.is_table()));
    let written = match said {
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => return Err(Problem::new("functions.directory", "must be a string")),
        None => text(build, "functions")?,
    };
    match written.filter(|text| !is_blank(text)) {
        Some(written) => inside("functions.directory", &written, tree.directory()).map(Some),
        None => Ok(FUNCTIONS_DIRECTORIES.iter().find_map(|directory| existing(tree, directory))),
    }
}

fn existing(tree: Tree<'_>, directory: &str) -> Option<String> {
    let path = tree.path(directory);
    (!Tree::new(tree.listing(), &path).is_empty()).then_some(path)
}

fn edge_functions(config: &Table) -> Result<Vec<String>, Problem> {
    let Some(list) = config.get("edge_functions") else { return Ok(Vec::new()) };
    let entries = list.as_array().filter(|entries| entries.iter().all(Value::is_table));
    let entries = entries.ok_or_else(|| Problem::new("edge_functions", "must be a list of tables"))?;
    Ok(entries.iter().filter_map(|entry| entry.get("function")?.as_str()).map(str::to_owned).collect())
}

fn plugins(config: &Table) -> Result<Vec<Plugin>, Problem> {
    let entries = config.get("plugins").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let plugin = |entry: &Value| {
        let package = entry.get("package").and_then(Value::as_str);
        let package = package.filter(|package| !is_blank(package));
        let package = package.ok_or_else(|| Problem::new("plugins", "name a `package` each"))?;
        let inputs = match entry.get("inputs") {
            None => Table::new(),
            Some(inputs) => {
                inputs.as_table().cloned().ok_or_else(|| Problem::new("plugins.inputs", "must be a table"))?
            }
        };
        Ok(Plugin { package: package.to_owned(), inputs })
    };
    entries.iter().map(plugin).collect()
}

fn flag(config: &Table, key: &str) -> Result<Option<bool>, Problem> {
    match config.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if is_blank(text) => Ok(None),
        Some(value) => value.as_bool().map(Some).ok_or_else(|| Problem::new(key, "must be true or false")),
    }
}
