//! Which package manager, of which version, and the directory that it installs in.

use crate::package_json::PackageJson;
use crate::tree::Tree;
use slipway_types::plan::{PackageManager, PackageManagerName, Reason};

/// A lockfile and whose it is. Where several lie side by side the first one of this list is taken: a `bun.lock` or
/// `pnpm-lock.yaml` is there on purpose, a `package-lock.json` often by accident.
const LOCKFILES: [(&str, PackageManagerName); 6] = [
    ("bun.lock", PackageManagerName::Bun),
    ("bun.lockb", PackageManagerName::Bun),
    ("pnpm-lock.yaml", PackageManagerName::Pnpm),
    ("yarn.lock", PackageManagerName::Yarn),
    ("npm-shrinkwrap.json", PackageManagerName::Npm),
    ("package-lock.json", PackageManagerName::Npm),
];

/// What was decided about packages.
#[derive(Debug, Clone)]
pub(super) struct Choice<'t> {
    pub(super) manager: PackageManager,
    /// Where the install command runs: the nearest directory upwards with a lockfile, else the workspace's top, else
    /// the service's own.
    pub(super) directory: Tree<'t>,
    /// Name of the lockfile in `directory`, if the chosen manager has one there.
    pub(super) lockfile: Option<&'static str>,
    /// Yarn's Plug'n'Play: there is no `node_modules`, so programs start through `yarn` only.
    pub(super) plug_and_play: bool,
    pub(super) reasons: Vec<Reason>,
}

impl Choice<'_> {
    /// Yarn 2 and later have other options than Yarn 1.
    pub(super) fn is_yarn_berry(&self) -> bool {
        let classic = self.manager.version.as_deref().is_some_and(|version| version.split('.').next() == Some("1"));
        self.manager.name == PackageManagerName::Yarn && !classic
    }
}

/// Decides by `packageManager`, then by lockfile, then takes npm.
pub(super) fn choose<'t>(tree: &Tree<'t>, package: &PackageJson, workspace: Option<Tree<'t>>) -> Choice<'t> {
    let locked = tree.upwards().find(|directory| !lockfiles(directory).is_empty());
    let directory = locked.or(workspace).unwrap_or(*tree);
    let above = PackageJson::read(&directory).ok().flatten().unwrap_or_default();
    let present = lockfiles(&directory);
    let mut reasons = Vec::new();

    let declared = declared(tree, package).or_else(|| declared(&directory, &above));
    let manager = match declared {
        Some((manager, reason)) => {
            reasons.push(reason);
            manager
        }
        None => match present.first() {
            Some((lockfile, name)) => {
                let (version, said) = version_by_lockfile(&directory, &above, *name);
                let decided = decided(*name, version.as_deref());
                reasons.push(Reason { decided, from: format!("`{}`{said}", directory.path(lockfile)) });
                PackageManager { name: *name, version }
            }
            None if let Some((name, range)) = by_engines(package) => {
                let from = format!("`engines.{}` in `{}`", name.as_str(), tree.path("package.json"));
                reasons.push(Reason { decided: decided(name, Some(range)), from });
                PackageManager { name, version: Some(range.to_owned()) }
            }
            None => {
                let from = "no lockfile and no `packageManager` in `package.json`".to_owned();
                reasons.push(Reason { decided: decided(PackageManagerName::Npm, None), from });
                PackageManager { name: PackageManagerName::Npm, version: None }
            }
        },
    };
    let lockfile = present.iter().find(|(_, name)| *name == manager.name).map(|(lockfile, _)| *lockfile);
    reasons.extend(several(&directory, &present, lockfile));
    let plug_and_play = uses_plug_and_play(&directory, &manager);
    Choice { manager, directory, lockfile, plug_and_play, reasons }
}

/// Who asks for a package manager as for a runtime means it, where no lockfile says another.
fn by_engines(package: &PackageJson) -> Option<(PackageManagerName, &str)> {
    let names = [PackageManagerName::Bun, PackageManagerName::Pnpm, PackageManagerName::Yarn];
    names.into_iter().find_map(|name| Some((name, package.text(&["engines", name.as_str()])?)))
}

fn lockfiles(directory: &Tree<'_>) -> Vec<(&'static str, PackageManagerName)> {
    LOCKFILES.into_iter().filter(|(lockfile, _)| directory.has(lockfile)).collect()
}

fn decided(name: PackageManagerName, version: Option<&str>) -> String {
    version.map_or_else(|| name.as_str().to_owned(), |version| format!("{} {version}", name.as_str()))
}

/// `"packageManager": "pnpm@9.1.0+sha512.…"`, `devEngines.packageManager`, or what Volta is told.
fn declared(directory: &Tree<'_>, package: &PackageJson) -> Option<(PackageManager, Reason)> {
    let (field, name, version) =
        in_package_manager(package).or_else(|| in_development_engines(package)).or_else(|| in_volta(package))?;
    let from = format!("`{field}` in `{}`", directory.path("package.json"));
    let reason = Reason { decided: decided(name, version), from };
    Some((PackageManager { name, version: version.map(str::to_owned) }, reason))
}

type Declared<'p> = (&'static str, PackageManagerName, Option<&'p str>);

fn in_package_manager(package: &PackageJson) -> Option<Declared<'_>> {
    let text = package.text(&["packageManager"])?;
    let (name, version) = text.split_once('@').unwrap_or((text, ""));
    // Behind the plus sign stands a digest, which the registry's own takes the place of.
    let version = version.split('+').next().filter(|version| !version.is_empty());
    Some(("packageManager", manager_named(name)?, version))
}

fn in_development_engines(package: &PackageJson) -> Option<Declared<'_>> {
    let engines = package.development_engines("packageManager");
    engines.into_iter().find_map(|(name, version)| Some(("devEngines.packageManager", manager_named(name)?, version)))
}

/// Volta pins npm beside Node.js, so only another manager says something.
fn in_volta(package: &PackageJson) -> Option<Declared<'_>> {
    let managers = [("volta.pnpm", "pnpm", PackageManagerName::Pnpm), ("volta.yarn", "yarn", PackageManagerName::Yarn)];
    managers.into_iter().find_map(|(field, key, name)| Some((field, name, Some(package.text(&["volta", key])?))))
}

fn manager_named(name: &str) -> Option<PackageManagerName> {
    let all = [PackageManagerName::Npm, PackageManagerName::Pnpm, PackageManagerName::Yarn, PackageManagerName::Bun];
    all.into_iter().find(|manager| manager.as_str() == name.trim())
}

/// The version that can read the lockfile, with words for the reason.
fn version_by_lockfile(
    directory: &Tree<'_>,
    package: &PackageJson,
    name: PackageManagerName,
) -> (Option<String>, String) {
    let engine = package.text(&["engines", name.as_str()]);
    match name {
        PackageManagerName::Pnpm => {
            let format = directory.text("pnpm-lock.yaml").and_then(pnpm_lockfile_version);
            let by_format = format.map(pnpm_major).map(str::to_owned);
            let said = format.map(|format| format!(" of format {format}")).unwrap_or_default();
            match engine {
                Some(engine) => (Some(engine.to_owned()), format!("{said}, and `engines.pnpm` in `package.json`")),
                None => (by_format, said),
            }
        }
        PackageManagerName::Yarn => yarn_version(directory),
        _ => (None, String::new()),
    }
}

/// `lockfileVersion: '9.0'`, near the top.
fn pnpm_lockfile_version(text: &str) -> Option<&str> {
    let line = text.lines().take(20).find_map(|line| line.strip_prefix("lockfileVersion:"))?;
    Some(line.trim().trim_matches(['\'', '"']))
}

/// A major version of pnpm that keeps a lockfile format as it is. Versions 9 and later share one: the first of them still runs
/// the install scripts of dependencies, which later ones do for those that the source names.
fn pnpm_major(format: &str) -> &'static str {
    match format {
        "5.4" => "7",
        old if old.starts_with("5.") => "6",
        sixth if sixth.starts_with("6.") => "8",
        _ => "9",
    }
}

/// Yarn 1 says so in a comment; later ones keep a version of the format in `__metadata`, or are in the tree themselves.
fn yarn_version(directory: &Tree<'_>) -> (Option<String>, String) {
    let own = directory.text(".yarnrc.yml").and_then(|text| yaml_value(text, "yarnPath")).and_then(yarn_of_path);
    if let Some(version) = own {
        return (Some(version.to_owned()), " and `yarnPath` in `.yarnrc.yml`".to_owned());
    }
    let Some(text) = directory.text("yarn.lock") else { return (None, String::new()) };
    let Some((_, metadata)) = text.split_once("__metadata:") else {
        return (Some("1".to_owned()), " of format 1".to_owned());
    };
    let format = metadata.lines().find_map(|line| line.trim().strip_prefix("version:")).map_or("", str::trim);
    let major = match format.parse::<u32>() {
        Ok(..=5) => "2",
        Ok(6..=7) => "3",
        _ => "4",
    };
    (Some(major.to_owned()), format!(" of format {format}"))
}

/// `.yarn/releases/yarn-4.5.0.cjs` is 4.5.0.
fn yarn_of_path(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?;
    let version = name.strip_prefix("yarn-")?.trim_end_matches(".cjs").trim_end_matches(".js");
    version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
}

/// The value of a top-level key of YAML, where it stands on one line.
fn yaml_value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    Some(line.trim().trim_matches(['\'', '"']))
}

fn uses_plug_and_play(directory: &Tree<'_>, manager: &PackageManager) -> bool {
    let classic = manager.version.as_deref().is_some_and(|version| version.split('.').next() == Some("1"));
    if manager.name != PackageManagerName::Yarn || classic {
        return false;
    }
    let linker = directory.text(".yarnrc.yml").and_then(|text| yaml_value(text, "nodeLinker"));
    linker.is_none_or(|linker| linker == "pnp")
}

/// A warning when lockfiles of several package managers lie side by side.
fn several(directory: &Tree<'_>, present: &[(&str, PackageManagerName)], taken: Option<&str>) -> Option<Reason> {
    let others: Vec<String> = present
        .iter()
        .filter(|(lockfile, _)| Some(*lockfile) != taken)
        .map(|(lockfile, _)| format!("`{}`", directory.path(lockfile)))
        .collect();
    if others.is_empty() {
        return None;
    }
    let from = "only one package manager can be right: remove the others, or set `packageManager` in `package.json`";
    Some(Reason { decided: format!("{} not used", others.join(" and ")), from: from.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::listing;

    /// The choice as `name version in directory by lockfile`, and the reasons.
    fn check(files: &[(&str, &str)], expect: &str) -> Vec<String> {
        let listing = listing(files);
        let tree = Tree::new(&listing, "");
        let package = PackageJson::read(&tree).unwrap().unwrap_or_default();
        let choice = choose(&tree, &package, None);
        let said = format!(
            "{} by {}{}",
            decided(choice.manager.name, choice.manager.version.as_deref()),
            choice.lockfile.unwrap_or("none"),
            if choice.plug_and_play { " pnp" } else { "" }
        );
        assert_eq!(said, expect);
        choice.reasons.into_iter().map(|reason| format!("{}: {}", reason.decided, reason.from)).collect()
    }

    #[test]
    fn by_lockfile() {
        check(&[("package-lock.json", "{}")], "npm by package-lock.json");
        check(&[("package-lock.json", "{}"), ("npm-shrinkwrap.json", "{}")], "npm by npm-shrinkwrap.json");
        check(&[("pnpm-lock.yaml", "lockfileVersion: 5.4\n")], "pnpm 7 by pnpm-lock.yaml");
        check(&[("pnpm-lock.yaml", "lockfileVersion: '6.0'\n")], "pnpm 8 by pnpm-lock.yaml");
        check(&[("pnpm-lock.yaml", "lockfileVersion: '9.0'\n")], "pnpm 9 by pnpm-lock.yaml");
        check(
            &[("pnpm-lock.yaml", "lockfileVersion: '9.0'\n"), ("package.json", "{\"engines\":{\"pnpm\":\"^9\"}}")],
            "pnpm ^9 by pnpm-lock.yaml",
        );
        check(&[("yarn.lock", "# yarn lockfile v1\n\n")], "yarn 1 by yarn.lock");
        check(&[("yarn.lock", "__metadata:\n  version: 8\n  cacheKey: 10\n")], "yarn 4 by yarn.lock pnp");
        check(
            &[("yarn.lock", "__metadata:\n  version: 6\n"), (".yarnrc.yml", "nodeLinker: node-modules\n")],
            "yarn 3 by yarn.lock",
        );
        check(
            &[
                ("yarn.lock", "__metadata:\n  version: 8\n"),
                (".yarnrc.yml", "nodeLinker: node-modules\nyarnPath: .yarn/releases/yarn-4.5.1.cjs\n"),
            ],
            "yarn 4.5.1 by yarn.lock",
        );
        check(&[("bun.lockb", "")], "bun by bun.lockb");
        check(&[("index.js", "")], "npm by none");
    }

    #[test]
    fn the_declared_one_wins_without_its_hash() {
        let reasons = check(
            &[("package.json", "{\"packageManager\":\"pnpm@9.1.0+sha512.abc\"}"), ("package-lock.json", "{}")],
            "pnpm 9.1.0 by none",
        );
        assert_eq!(reasons[0], "pnpm 9.1.0: `packageManager` in `package.json`");
        assert!(reasons[1].starts_with("`package-lock.json` not used"), "{reasons:?}");
    }

    #[test]
    fn several_lockfiles_are_pointed_out() {
        let reasons = check(&[("package-lock.json", "{}"), ("yarn.lock", "# yarn lockfile v1")], "yarn 1 by yarn.lock");
        assert!(reasons[1].starts_with("`package-lock.json` not used"), "{reasons:?}");
    }
}
