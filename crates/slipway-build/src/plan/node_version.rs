//! Which Node.js: who asks for it, and the range that a toolchain is chosen by.

use super::tool_version;
use crate::diagnosis::entry::INVALID_NODE_VERSION;
use crate::package_json::PackageJson;
use crate::tree::Tree;
use nodejs_semver::Range;
use slipway_types::Diagnosis;
use slipway_types::plan::{Reason, Toolchain, ToolchainName};
use slipway_types::settings::ServiceSettings;

/// The long-term support line that is taken when nothing is asked for, and out of an open range such as `>=18`: what
/// works today must not break on the day a new major appears. Supported until April 2028.
pub(crate) const NODE_DEFAULT: &str = "24";

/// Code names of long-term support lines, newest first (`.nvmrc` has them as `lts/jod`).
const LTS_LINES: [(&str, &str); 10] = [
    ("krypton", "24"),
    ("jod", "22"),
    ("iron", "20"),
    ("hydrogen", "18"),
    ("gallium", "16"),
    ("fermium", "14"),
    ("erbium", "12"),
    ("dubnium", "10"),
    ("carbon", "8"),
    ("boron", "6"),
];

/// Files that hold nothing but a version, in order of precedence.
const VERSION_FILES: [&str; 2] = [".nvmrc", ".node-version"];

/// A version as somebody wrote it, with the place for a person and for a diagnosis.
struct Asked {
    text: String,
    from: String,
    place: String,
}

/// The toolchain and the reason for it.
///
/// # Errors
/// A diagnosis `invalid-node-version` when what is asked for is no range.
pub(super) fn choose(
    tree: &Tree<'_>,
    package: &PackageJson,
    settings: &ServiceSettings,
) -> Result<(Toolchain, Reason), Diagnosis> {
    let Some(asked) = asked(tree, package, settings)? else {
        let reason =
            reason(format!("Node.js {NODE_DEFAULT}"), "nothing asks for a version: the long-term support line");
        return Ok((node(NODE_DEFAULT), reason));
    };
    let range = range_of(&asked.text).ok_or_else(|| invalid(&asked))?;
    let narrowed = narrowed(&range);
    let from = match &narrowed {
        Some(_) => format!("{} (`{}`), which allows the long-term support line", asked.from, asked.text),
        None if range == asked.text => asked.from,
        None => format!("{} (`{}`)", asked.from, asked.text),
    };
    let range = narrowed.unwrap_or(range);
    Ok((node(&range), reason(format!("Node.js {range}"), from)))
}

fn node(range: &str) -> Toolchain {
    Toolchain { name: ToolchainName::Node, version_range: range.to_owned() }
}

fn reason(decided: String, from: impl Into<String>) -> Reason {
    Reason { decided, from: from.into() }
}

/// Who asks first. The package's own files come before those of the directories above it.
fn asked(tree: &Tree<'_>, package: &PackageJson, settings: &ServiceSettings) -> Result<Option<Asked>, Diagnosis> {
    if let Some(version) = settings.node_version.as_deref().filter(|version| !version.trim().is_empty()) {
        let place = "the setting `build.node_version`".to_owned();
        return Ok(Some(Asked { text: version.trim().to_owned(), from: place.clone(), place }));
    }
    for directory in tree.upwards() {
        let own = directory.directory() == tree.directory();
        let above = if own { None } else { PackageJson::read(&directory)? };
        let package = if own { Some(package) } else { above.as_ref() };
        let file = version_file(&directory);
        let found = package
            .and_then(|package| engines(&directory, package))
            .filter(|engines| !file.as_ref().is_some_and(|file| is_within(file, engines)))
            .or(file)
            .or_else(|| package.and_then(|package| pinned(&directory, package)));
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Whether a file names one major version of those that an open range allows: then that is what is developed with.
fn is_within(file: &Asked, engines: &Asked) -> bool {
    let major = |text: &str| -> Option<u64> {
        let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
        digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let is_plain = file.text.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit());
    let is_open = range_of(&engines.text).is_some_and(|range| narrowed(&range).is_some());
    is_plain && is_open && major(&file.text) >= major(&engines.text)
}

fn engines(directory: &Tree<'_>, package: &PackageJson) -> Option<Asked> {
    let text = package.text(&["engines", "node"])?.to_owned();
    let path = directory.path("package.json");
    Some(Asked { text, from: format!("`engines.node` in `{path}`"), place: path })
}

/// What tools of the developers' machines are told: asked last, because they are rarely kept up to date.
fn pinned(directory: &Tree<'_>, package: &PackageJson) -> Option<Asked> {
    let engines = package.development_engines("runtime");
    let runtime = engines.iter().find(|(name, _)| *name == "node").and_then(|(_, version)| *version);
    let (text, field) = match runtime {
        Some(version) => (version, "devEngines.runtime"),
        None => (package.text(&["volta", "node"])?, "volta.node"),
    };
    let path = directory.path("package.json");
    Some(Asked { text: text.to_owned(), from: format!("`{field}` in `{path}`"), place: path })
}

fn version_file(directory: &Tree<'_>) -> Option<Asked> {
    let plain = VERSION_FILES.iter().find_map(|name| {
        let text = directory.text(name)?.lines().map(without_comment).find(|line| !line.is_empty())?;
        Some((directory.path(name), text.to_owned()))
    });
    let (path, text) = plain.or_else(|| {
        let (version, path) = tool_version::of(directory, &["nodejs", "node", "core:node"])?;
        Some((path, version))
    })?;
    Some(Asked { text, from: format!("`{path}`"), place: path })
}

fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

/// The semver range that a version text means, aliases of nvm resolved. None: it means nothing.
fn range_of(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    if matches!(lower.as_str(), "node" | "current" | "latest" | "stable") {
        return Some("*".to_owned());
    }
    if let Some(line) = lower.strip_prefix("lts/").or_else(|| lower.strip_prefix("lts-")) {
        return lts_line(line).map(str::to_owned);
    }
    if lower == "lts" {
        return Some(NODE_DEFAULT.to_owned());
    }
    let plain = lower.strip_prefix('v').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(&lower);
    Range::parse(plain).ok().filter(|_| is_made_of_versions(plain))?;
    Some(plain.to_owned())
}

/// The parser skips words that it does not know, as npm does; here a word that is no version is a mistake.
fn is_made_of_versions(range: &str) -> bool {
    let mut versions = 0;
    for word in range.split("||").flat_map(str::split_whitespace).filter(|word| *word != "-") {
        let version = word.trim_start_matches(['<', '>', '=', '~', '^']).trim_start_matches('v');
        if version.starts_with(|c: char| !c.is_ascii_digit() && !matches!(c, 'x' | '*')) {
            return false;
        }
        versions += usize::from(!version.is_empty());
    }
    versions > 0
}

fn lts_line(name: &str) -> Option<&'static str> {
    if name == "*" {
        return Some(NODE_DEFAULT);
    }
    if let Some(back) = name.strip_prefix('-') {
        return back.parse::<usize>().ok().and_then(|back| LTS_LINES.get(back)).map(|(_, major)| *major);
    }
    LTS_LINES.iter().find(|(line, _)| *line == name).map(|(_, major)| *major)
}

/// An open range, narrowed to the default line when it allows that line and others too. `*` on purpose means the
/// newest and stays.
fn narrowed(range: &str) -> Option<String> {
    let default = Range::parse(NODE_DEFAULT).ok()?;
    let asked = Range::parse(range).ok()?;
    if range == "*" || default.allows_all(&asked) {
        return None;
    }
    if asked.allows_all(&default) {
        return Some(NODE_DEFAULT.to_owned());
    }
    asked.intersect(&default).map(|both| both.to_string())
}

/// The first version that is built with OpenSSL 3.
const OPENSSL_3: &str = ">=17";

/// Whether every version of a range has OpenSSL 3, and so knows the option for its old algorithms.
pub(super) fn has_new_openssl(range: &str) -> bool {
    let ranges = Range::parse(OPENSSL_3).ok().zip(Range::parse(range).ok());
    range == "*" || ranges.is_some_and(|(new, range)| new.allows_all(&range))
}

fn invalid(asked: &Asked) -> Diagnosis {
    INVALID_NODE_VERSION
        .diagnosis(format!("`{}` is not a Node.js version range", asked.text))
        .at(asked.place.clone())
        .because(format!(
            "{} asks for `{}`, which is neither a version nor a semver range nor an alias of nvm",
            asked.from, asked.text
        ))
        .hint(format!("write a major version such as `{NODE_DEFAULT}`, a range such as `>=22 <25`, or `lts/*`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::listing;

    fn check(files: &[(&str, &str)], setting: Option<&str>, expect: Result<(&str, &str), &str>) {
        let listing = listing(files);
        let tree = Tree::new(&listing, "");
        let package = PackageJson::read(&tree).unwrap().unwrap_or_default();
        let settings = ServiceSettings { node_version: setting.map(str::to_owned), ..Default::default() };
        let result = choose(&tree, &package, &settings);
        match (&result, expect) {
            (Ok((toolchain, reason)), Ok((range, from))) => {
                assert_eq!((toolchain.version_range.as_str(), reason.from.as_str()), (range, from));
            }
            (Err(diagnosis), Err(place)) => {
                assert_eq!((diagnosis.code.as_str(), diagnosis.r#where.as_str()), ("invalid-node-version", place));
            }
            _ => panic!("{result:?} instead of {expect:?}"),
        }
    }

    #[test]
    fn precedence() {
        let engines = ("package.json", "{\"engines\": {\"node\": \"22.x\"}}");
        let nvmrc = (".nvmrc", "v20.11.0\n");
        let node_version = (".node-version", "18\n");
        let tools = (".tool-versions", "python 3.12\nnodejs 16.20.2 system\n");
        check(&[engines, nvmrc], Some("26"), Ok(("26", "the setting `build.node_version`")));
        check(&[engines, nvmrc, tools], None, Ok(("22.x", "`engines.node` in `package.json`")));
        check(&[nvmrc, node_version, tools], None, Ok(("20.11.0", "`.nvmrc` (`v20.11.0`)")));
        check(&[node_version, tools], None, Ok(("18", "`.node-version`")));
        check(&[tools], None, Ok(("16.20.2", "`.tool-versions`")));
        check(&[], None, Ok(("24", "nothing asks for a version: the long-term support line")));
    }

    #[test]
    fn open_ranges_get_the_long_term_support_line() {
        for (asked, range) in [
            (">=18", "24"),
            (">=18 <26", "24"),
            ("^20 || ^22 || >=24", "24"),
            (">=24.5", ">=24.5.0 <25.0.0-0"),
            ("*", "*"),
            ("^22.1.0", "^22.1.0"),
            (">=22 <24", ">=22 <24"),
            ("24.1.0", "24.1.0"),
            ("24", "24"),
            ("lts/*", "24"),
            ("lts/Jod", "22"),
            ("lts/-1", "22"),
            ("node", "*"),
            ("v22", "22"),
        ] {
            let listing = listing(&[(".nvmrc", asked)]);
            let tree = Tree::new(&listing, "");
            let settings = ServiceSettings::default();
            let (toolchain, _) = choose(&tree, &PackageJson::default(), &settings).unwrap();
            assert_eq!(toolchain.version_range, range, "{asked}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused_where_it_stands() {
        check(&[("package.json", "{\"engines\": {\"node\": \"twenty\"}}")], None, Err("package.json"));
        check(&[("package.json", "{\"engines\": {\"node\": \">=twenty\"}}")], None, Err("package.json"));
        check(&[(".nvmrc", "lts/nope")], None, Err(".nvmrc"));
        check(&[], Some("22 or so"), Err("the setting `build.node_version`"));
    }
}
