//! Lists of requirements: names of packages, and the files that a list draws in. Read loosely, because pip reads them
//! exactly.

/// One line of a `requirements.txt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line<'t> {
    /// A package, by its normalized name, with its extras.
    Package { name: String, extras: Vec<String> },
    /// `-r`, `-c`: another list, relative to this one.
    List(&'t str),
    /// A directory or an archive of the tree, relative to it; `.` is the project itself.
    Local { path: &'t str, editable: bool },
}

/// The lines that say something.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().filter_map(|line| {
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        for (option, editable) in [("-e", true), ("--editable", true)] {
            if let Some(path) = option_value(line, option) {
                return is_path(path).then_some(Line::Local { path: without_extras(path), editable });
            }
        }
        if let Some(path) = ["-r", "--requirement", "-c", "--constraint"].iter().find_map(|o| option_value(line, o)) {
            return Some(Line::List(path));
        }
        if line.starts_with('-') {
            return None;
        }
        if is_path(line) {
            return Some(Line::Local { path: without_extras(line), editable: false });
        }
        package(line).map(|(name, extras)| Line::Package { name, extras })
    })
}

/// `-r x`, `-rx`, `--requirement x`, `--requirement=x`.
fn option_value<'t>(line: &'t str, option: &str) -> Option<&'t str> {
    let rest = line.strip_prefix(option)?;
    let long = option.starts_with("--");
    let value = if long { rest.strip_prefix([' ', '=', '\t'])? } else { rest };
    let value = value.trim();
    (!value.is_empty() && !value.starts_with('-')).then_some(value)
}

fn is_path(text: &str) -> bool {
    let local = text == "." || text.starts_with("./") || text.starts_with("../") || text.starts_with(".[");
    local || (text.ends_with(".whl") || text.ends_with(".tar.gz")) && !text.contains("://")
}

fn without_extras(path: &str) -> &str {
    path.split(['[', ';', ' ']).next().unwrap_or_default()
}

/// Name and extras of a requirement: `uvicorn[standard]>=0.30; python_version > "3.8"`.
pub(super) fn package(requirement: &str) -> Option<(String, Vec<String>)> {
    let requirement = requirement.trim();
    let end = requirement
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
        .unwrap_or(requirement.len());
    let (name, rest) = requirement.split_at(end);
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let extras = rest.trim_start().strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(extras, _)| extras);
    let extras = extras.into_iter().flat_map(|extras| extras.split(',')).map(normalized).collect();
    Some((normalized(name), extras))
}

/// Names are equal in spite of case and of `-`, `_` and `.` (PEP 503).
pub(super) fn normalized(name: &str) -> String {
    let parts = name.trim().split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_list() {
        let text = "# comment\nFlask==3.0 --hash=sha256:00\n    --hash=sha256:11\nuvicorn[standard] >=0.3 ; python_version > '3.8'  # why\n-r base.txt\n--requirement=more/x.txt\n-c constraints.txt\n-e .\n./lib/a[x]\n--index-url https://example.org\ngit+https://example.org/a.git\nzope.interface\n";
        let package = |name: &str, extras: &[&str]| Line::Package {
            name: name.into(),
            extras: extras.iter().map(|extra| (*extra).to_owned()).collect(),
        };
        assert_eq!(
            lines(text).collect::<Vec<_>>(),
            [
                package("flask", &[]),
                package("uvicorn", &["standard"]),
                Line::List("base.txt"),
                Line::List("more/x.txt"),
                Line::List("constraints.txt"),
                Line::Local { path: ".", editable: true },
                Line::Local { path: "./lib/a", editable: false },
                package("git", &[]),
                package("zope-interface", &[]),
            ]
        );
    }
}
