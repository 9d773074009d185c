//! One part of a configuration (the file, or one context) before it is merged: its keys in lower case, the types that
//! everything after relies on checked, and where commands come from noted.

use super::Problem;
use super::text::is_blank;
use std::collections::BTreeSet;
use toml::{Table, Value};

/// Keys of `[build]` that may be capitalised.
const BUILD_KEYS: [&str; 8] =
    ["base", "command", "edge_functions", "environment", "functions", "ignore", "processing", "publish"];
/// In `[build]` of the merged configuration: some part of it says what is published.
pub(super) const PUBLISH_IS_SET: &str = "publishOrigin";

pub(super) fn normalize(config: &Table) -> Result<Table, Problem> {
    if config.get("build").is_some_and(|build| !build.is_table()) {
        return Err(Problem::new("build", "must be a table"));
    }
    let mut normal = config.clone();
    let capital = normal.remove("Build");
    let build = normal.remove("build").or(capital);
    let build = match build {
        None => Table::new(),
        Some(Value::Table(build)) => normal_build(build),
        Some(_) => return Err(Problem::new("Build", "must be a table")),
    };
    check(&normal, &build)?;
    normal.insert("build".to_owned(), Value::Table(noted(build)));
    Ok(normal)
}

fn normal_build(mut build: Table) -> Table {
    for key in BUILD_KEYS {
        let mut capital = key.to_owned();
        capital[..1].make_ascii_uppercase();
        if let Some(value) = build.remove(&capital)
            && !build.contains_key(key)
        {
            build.insert(key.to_owned(), value);
        }
    }
    build
}

fn check(config: &Table, build: &Table) -> Result<(), Problem> {
    if build.get("command").is_some_and(|command| !command.is_str()) {
        return Err(Problem::new("build.command", "must be a string"));
    }
    let Some(plugins) = config.get("plugins") else { return Ok(()) };
    let plugins = plugins.as_array().filter(|plugins| plugins.iter().all(Value::is_table));
    let plugins = plugins.ok_or_else(|| Problem::new("plugins", "must be a list of tables: write `[[plugins]]`"))?;
    let mut seen = BTreeSet::new();
    for package in plugins.iter().filter_map(|plugin| plugin.get("package")?.as_str()) {
        if !seen.insert(package) {
            return Err(Problem::new("plugins", format!("name `{package}` twice")));
        }
    }
    Ok(())
}

fn noted(mut build: Table) -> Table {
    if build.get("publish").is_some_and(|publish| publish.as_str().is_none_or(|text| !is_blank(text))) {
        build.insert(PUBLISH_IS_SET.to_owned(), Value::String("config".to_owned()));
    }
    build
}
