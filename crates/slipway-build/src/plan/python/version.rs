//! Which Python: who asks for it, and the range that a toolchain is chosen by.

use super::manifest::{Manifests, PYPROJECT};
use super::toolchain;
use crate::diagnosis::entry::INVALID_PYTHON_VERSION;
use crate::plan::tool_version;
use crate::tree::Tree;
use nodejs_semver::Range;
use slipway_types::Diagnosis;
use slipway_types::plan::{Reason, Toolchain, ToolchainName};
use slipway_types::settings::ServiceSettings;

/// A version as somebody wrote it.
struct Asked {
    text: String,
    from: String,
    place: String,
}

/// The toolchain and the reason for it.
///
/// # Errors
/// A diagnosis `invalid-python-version` when what is asked for is no range.
pub(super) fn choose(
    tree: &Tree<'_>,
    manifests: &Manifests<'_>,
    settings: &ServiceSettings,
) -> Result<(Toolchain, Reason), Diagnosis> {
    let Some(asked) = asked(tree, manifests, settings) else {
        let from = "nothing asks for a version: the base system's".to_owned();
        return Ok((toolchain(ToolchainName::Python, "*"), Reason { decided: "Python".to_owned(), from }));
    };
    let range = range_of(&asked.text).ok_or_else(|| invalid(&asked))?;
    let from = if range == asked.text { asked.from } else { format!("{} (`{}`)", asked.from, asked.text) };
    let decided = format!("Python {range}");
    Ok((toolchain(ToolchainName::Python, &range), Reason { decided, from }))
}

fn asked(tree: &Tree<'_>, manifests: &Manifests<'_>, settings: &ServiceSettings) -> Option<Asked> {
    if let Some(version) = settings.python_version.as_deref().filter(|version| !version.trim().is_empty()) {
        let place = "the setting `build.python_version`".to_owned();
        return Some(Asked { text: version.trim().to_owned(), from: place.clone(), place });
    }
    let own = version_file(tree).or_else(|| of_manifests(tree, manifests));
    own.or_else(|| tree.upwards().skip(1).find_map(|directory| version_file(&directory)))
}

fn version_file(tree: &Tree<'_>) -> Option<Asked> {
    let lines = |name: &str| tree.text(name).into_iter().flat_map(str::lines).map(without_comment);
    let found = lines(".python-version").find(|line| !line.is_empty()).map(|line| (".python-version", line.to_owned()));
    let found = found.or_else(|| {
        let line = lines("runtime.txt").find_map(|line| line.strip_prefix("python-"))?;
        Some(("runtime.txt", line.to_owned()))
    });
    if let Some((name, text)) = found {
        let path = tree.path(name);
        return Some(Asked { text, from: format!("`{path}`"), place: path });
    }
    let (text, path) = tool_version::of(tree, &["python"])?;
    Some(Asked { text, from: format!("`{path}`"), place: path })
}

fn of_manifests(tree: &Tree<'_>, manifests: &Manifests<'_>) -> Option<Asked> {
    let project = manifests.pyproject_table(&["project"]).and_then(|project| project.get("requires-python"));
    let poetry = manifests.pyproject_table(&["tool", "poetry", "dependencies"]).and_then(|table| table.get("python"));
    let pipfile = manifests.pipfile.get("requires").and_then(toml::Value::as_table);
    let pipfile = pipfile.and_then(|table| table.get("python_full_version").or_else(|| table.get("python_version")));
    let found = [
        (project, "`project.requires-python`", PYPROJECT),
        (poetry, "`tool.poetry.dependencies.python`", PYPROJECT),
        (pipfile, "`requires`", "Pipfile"),
    ];
    found.into_iter().find_map(|(value, field, file)| {
        let text = value?.as_str().filter(|text| !text.trim().is_empty())?.to_owned();
        let path = tree.path(file);
        Some(Asked { text, from: format!("{field} in `{path}`"), place: path })
    })
}

fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

/// The semver range that a version text means: one of pyenv, a specifier of PEP 440, or a range of Poetry. None: it means
/// nothing.
fn range_of(text: &str) -> Option<String> {
    let text = text.trim();
    let text = ["python-", "python", "cpython-", "cpython@"].iter().find_map(|p| text.strip_prefix(p)).unwrap_or(text);
    let text = text.strip_suffix("-dev").unwrap_or(text);
    if matches!(text, "latest" | "3" | "*") {
        return Some("*".to_owned());
    }
    let unions: Option<Vec<String>> = text.split("||").map(all_of).collect();
    let range = unions?.join(" || ");
    Range::parse(&range).ok()?;
    Some(range)
}

/// Conditions that must all hold, separated by commas or spaces.
fn all_of(text: &str) -> Option<String> {
    // An operator may stand apart from its version.
    let mut joined = text.replace(',', " ");
    for operator in ["===", "~=", "==", "!=", ">=", "<=", "^", "~", ">", "<"] {
        joined = joined.replace(&format!("{operator} "), operator);
    }
    let parts: Option<Vec<Option<String>>> = joined.split_whitespace().map(condition).collect();
    let parts: Vec<String> = parts?.into_iter().flatten().collect();
    Some(if parts.is_empty() { "*".to_owned() } else { parts.join(" ") })
}

/// One condition. `Some(None)`: it only leaves out single versions, which the package manager looks at.
fn condition(word: &str) -> Option<Option<String>> {
    let operators = ["===", "~=", "==", "!=", ">=", "<=", "^", "~", ">", "<"];
    let operator = operators.into_iter().find(|operator| word.starts_with(operator)).unwrap_or_default();
    let version = word[operator.len()..].trim_end_matches(".*").trim_start_matches('v');
    let numbers: Vec<u64> = version.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    if numbers.len() > 3 {
        return None;
    }
    let full = |numbers: &[u64]| {
        let at = |index: usize| numbers.get(index).copied().unwrap_or(0);
        format!("{}.{}.{}", at(0), at(1), at(2))
    };
    Some(Some(match operator {
        "!=" => return Some(None),
        "~=" if numbers.len() < 2 => return None,
        "~=" => {
            let mut next = numbers[..numbers.len() - 1].to_vec();
            *next.last_mut()? += 1;
            format!(">={} <{}", full(&numbers), full(&next))
        }
        // Here a version means itself, not all that begin with it.
        ">" | ">=" | "<" | "<=" => format!("{operator}{}", full(&numbers)),
        "^" | "~" => format!("{operator}{version}"),
        _ => version.to_owned(),
    }))
}

fn invalid(asked: &Asked) -> Diagnosis {
    INVALID_PYTHON_VERSION
        .diagnosis(format!("`{}` is not a Python version", asked.text))
        .at(asked.place.clone())
        .because(format!(
            "{} asks for `{}`, which is neither a version nor a range of versions",
            asked.from, asked.text
        ))
        .hint("write a version such as `3.13`, or a range such as `>=3.11,<3.14`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::listing;

    #[test]
    fn ranges_of_all_tools() {
        for (text, expected) in [
            ("3.12", Some("3.12")),
            ("3.12.4", Some("3.12.4")),
            ("python-3.12.4", Some("3.12.4")),
            ("cpython-3.12", Some("3.12")),
            ("3.13-dev", Some("3.13")),
            ("3", Some("*")),
            (">=3.10", Some(">=3.10.0")),
            (">=3.10,<4", Some(">=3.10.0 <4.0.0")),
            (">= 3.10, < 3.13", Some(">=3.10.0 <3.13.0")),
            ("~=3.11", Some(">=3.11.0 <4.0.0")),
            ("~=3.11.2", Some(">=3.11.2 <3.12.0")),
            ("==3.12.*", Some("3.12")),
            (">=3.9,!=3.9.7", Some(">=3.9.0")),
            ("!=3.9.7", Some("*")),
            ("^3.11", Some("^3.11")),
            ("~3.11", Some("~3.11")),
            ("^3.8 || ^3.10", Some("^3.8 || ^3.10")),
            ("pypy3.10", None),
            ("three", None),
            ("~=3", None),
        ] {
            assert_eq!(range_of(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn who_asks_first() {
        let check = |files: &[(&str, &str)], setting: Option<&str>, expect: (&str, &str)| {
            let listing = listing(files);
            let tree = Tree::new(&listing, "api");
            let settings = ServiceSettings { python_version: setting.map(str::to_owned), ..Default::default() };
            let (toolchain, reason) = choose(&tree, &Manifests::read(&tree).unwrap(), &settings).unwrap();
            assert_eq!((toolchain.version_range.as_str(), reason.from.as_str()), expect);
        };
        let pyproject = ("api/pyproject.toml", "[project]\nrequires-python = '>=3.11'\n");
        check(&[("api/main.py", "")], None, ("*", "nothing asks for a version: the base system's"));
        check(&[pyproject], None, (">=3.11.0", "`project.requires-python` in `api/pyproject.toml` (`>=3.11`)"));
        check(&[pyproject, ("api/.python-version", "# x\n3.12\n")], None, ("3.12", "`api/.python-version`"));
        check(
            &[pyproject, (".python-version", "3.12")],
            None,
            (">=3.11.0", "`project.requires-python` in `api/pyproject.toml` (`>=3.11`)"),
        );
        check(&[("api/main.py", ""), (".python-version", "3.12")], None, ("3.12", "`.python-version`"));
        check(&[("api/.python-version", "3.12")], Some("3.13"), ("3.13", "the setting `build.python_version`"));
        check(&[("api/runtime.txt", "python-3.12.4")], None, ("3.12.4", "`api/runtime.txt`"));
        check(&[("api/.tool-versions", "nodejs 24\npython 3.12.4 3.11")], None, ("3.12.4", "`api/.tool-versions`"));
        check(&[("api/mise.toml", "[tools]\npython = ['3.12', '3.11']")], None, ("3.12", "`api/mise.toml`"));
        check(
            &[("api/pyproject.toml", "[tool.poetry.dependencies]\npython = '^3.11'")],
            None,
            ("^3.11", "`tool.poetry.dependencies.python` in `api/pyproject.toml`"),
        );
        check(&[("api/Pipfile", "[requires]\npython_version = '3.11'")], None, ("3.11", "`requires` in `api/Pipfile`"));
    }

    #[test]
    fn nonsense_is_a_diagnosis() {
        let listing = listing(&[(".python-version", "snake")]);
        let tree = Tree::new(&listing, "");
        let manifests = Manifests::read(&tree).unwrap();
        let diagnosis = choose(&tree, &manifests, &ServiceSettings::default()).unwrap_err();
        assert_eq!(
            (diagnosis.code.as_str(), diagnosis.r#where.as_str()),
            ("invalid-python-version", ".python-version")
        );
    }
}
