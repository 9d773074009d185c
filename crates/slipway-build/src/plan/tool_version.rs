//! Versions from the files of version managers: `.tool-versions` of asdf, `mise.toml`.

use crate::tree::Tree;

const TOOL_VERSIONS: &str = ".tool-versions";

const MISE_FILES: [&str; 3] = ["mise.toml", ".mise.toml", ".config/mise.toml"];

/// The version of a tool, by any of its names, that a file in this directory asks for, with the file's path.
pub(super) fn of(directory: &Tree<'_>, names: &[&str]) -> Option<(String, String)> {
    let asdf = || {
        let version = directory.text(TOOL_VERSIONS)?.lines().find_map(|line| in_line(line, names))?;
        Some((version.to_owned(), directory.path(TOOL_VERSIONS)))
    };
    asdf().or_else(|| {
        MISE_FILES.iter().find_map(|file| {
            let table: toml::Table = directory.text(file)?.parse().ok()?;
            let tools = table.get("tools")?.as_table()?;
            let version = names.iter().find_map(|name| in_value(tools.get(*name)?))?;
            Some((version, directory.path(file)))
        })
    })
}

/// `nodejs 22.1.0 20.0.0 # why`: the first version counts.
fn in_line<'l>(line: &'l str, names: &[&str]) -> Option<&'l str> {
    let mut words = line.split('#').next()?.split_whitespace();
    words.next().filter(|tool| names.contains(tool))?;
    words.next().filter(|version| is_version(version))
}

/// A version, a list of which the first counts, or a table with a `version`.
fn in_value(value: &toml::Value) -> Option<String> {
    let text = match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Array(list) => return list.first().and_then(in_value),
        toml::Value::Table(table) => return table.get("version").and_then(in_value),
        toml::Value::Boolean(_) | toml::Value::Datetime(_) => return None,
    };
    let text = text.strip_prefix("prefix:").unwrap_or(&text).trim();
    is_version(text).then(|| text.to_owned())
}

/// The machine's own, a path or a commit is nothing that could be installed here.
fn is_version(text: &str) -> bool {
    !text.is_empty() && text != "system" && !["path:", "ref:", "sub-"].iter().any(|other| text.starts_with(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::listing;

    #[test]
    fn versions_of_version_managers() {
        for (file, text, version) in [
            (".tool-versions", "python 3.12\nnodejs 16.20.2 system\n", Some("16.20.2")),
            (".tool-versions", "nodejs system", None),
            ("mise.toml", "[tools]\nnode = \"22\"", Some("22")),
            ("mise.toml", "[tools]\nnode = [\"22.1\", \"20\"]", Some("22.1")),
            (".mise.toml", "[tools]\nnode = { version = \"prefix:20\" }", Some("20")),
            (".config/mise.toml", "[tools]\nnodejs = 24", Some("24")),
            ("mise.toml", "[tools]\nnode = \"path:/opt/node\"", None),
            ("mise.toml", "[tools\n", None),
        ] {
            let listing = listing(&[(file, text)]);
            let found = of(&Tree::new(&listing, ""), &["node", "nodejs"]);
            let expected = version.map(|version| (version.to_owned(), file.to_owned()));
            assert_eq!(found, expected, "{text}");
        }
    }
}
