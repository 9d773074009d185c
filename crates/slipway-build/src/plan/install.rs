//! The install command and the files that decide what it installs.
//!
//! Two builds with equal key files share one dependency layer, so a file too many costs an install and a file too few
//! a wrong result: where install scripts may read anything, every file of the tree is a key file.

use super::node::Project;
use super::workspace;
use crate::package_json::{PACKAGE_JSON, PackageJson};
use crate::tree::{self, Tree};
use slipway_types::plan::{InstallPlan, PackageManagerName, Reason};
use std::collections::BTreeSet;

/// Files beside the lockfile that change what is installed.
const CONFIGURATION_FILES: [&str; 8] = [
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    ".pnpmfile.cjs",
    ".pnpmfile.mjs",
    "pnpm-workspace.yaml",
    "bunfig.toml",
    ".pnp.loader.mjs",
];

/// Directories beside the lockfile that change what is installed.
const CONFIGURATION_DIRECTORIES: [&str; 5] =
    ["patches", ".yarn/patches", ".yarn/releases", ".yarn/plugins", ".yarn/cache"];

/// Scripts of `package.json` that every package manager runs at an install.
const INSTALL_SCRIPTS: [&str; 6] = ["preinstall", "install", "postinstall", "preprepare", "prepare", "postprepare"];

/// Beginnings of install scripts that read no other file of the tree than configuration and patches, or write only what
/// the build writes again.
const HARMLESS_SCRIPTS: [&str; 12] = [
    "svelte-kit sync",
    "nuxt prepare",
    "nuxi prepare",
    "react-router typegen",
    "husky",
    "patch-package",
    "only-allow",
    "npx only-allow",
    "npx -y only-allow",
    "simple-git-hooks",
    "lefthook install",
    "true",
];

/// What to install with, and by which files; None when there is nothing to install.
pub(super) fn plan(project: &Project<'_>, reasons: &mut Vec<Reason>) -> Option<InstallPlan> {
    let directory = project.packages.directory;
    let set = project.settings.install_command.as_deref().map(str::trim);
    let (command, from) = match set {
        Some("") => {
            let from = "the setting `build.install_command`".to_owned();
            reasons.push(Reason { decided: "no install".to_owned(), from });
            return None;
        }
        Some(command) => (command.to_owned(), "the setting `build.install_command`".to_owned()),
        None if has_nothing(project) => {
            let from = format!("`{}` names no dependency", project.tree.path(PACKAGE_JSON));
            reasons.push(Reason { decided: "no install".to_owned(), from });
            return None;
        }
        None => detected(project),
    };
    reasons.push(Reason { decided: format!("install: `{command}`"), from });
    let command = match directory.directory() {
        "" => command,
        // Of the owner's command nothing is known: whatever it is made of, none of it may run elsewhere.
        path if set.is_some() => format!(
            "cd {} || exit 1
{command}",
            quoted(path)
        ),
        path => format!("cd {} && {command}", quoted(path)),
    };
    Some(InstallPlan { command, key_files: key_files(project, set, reasons) })
}

fn has_nothing(project: &Project<'_>) -> bool {
    let own = &project.package;
    let elsewhere = project.packages.directory.directory() != project.tree.directory();
    own.dependencies().next().is_none()
        && own.workspaces().is_empty()
        && !elsewhere
        && INSTALL_SCRIPTS.iter().all(|script| own.script(script).is_none())
}

/// The command of the package manager: exactly what the lockfile says, or nothing. Dependencies for the build are
/// asked for by name, because `NODE_ENV=production` would leave them out.
fn detected(project: &Project<'_>) -> (String, String) {
    let packages = &project.packages;
    let locked = packages.lockfile.is_some();
    let command = match (packages.manager.name, locked) {
        (PackageManagerName::Npm, true) => "npm ci --include=dev --no-audit --no-fund",
        (PackageManagerName::Npm, false) => "npm install --include=dev --no-audit --no-fund",
        (PackageManagerName::Pnpm, true) => "pnpm install --frozen-lockfile --prod=false",
        (PackageManagerName::Pnpm, false) => "pnpm install --no-frozen-lockfile --prod=false",
        (PackageManagerName::Yarn, true) if packages.is_yarn_berry() => "yarn install --immutable",
        (PackageManagerName::Yarn, false) if packages.is_yarn_berry() => "yarn install --no-immutable",
        (PackageManagerName::Yarn, true) => "yarn install --frozen-lockfile --non-interactive --production=false",
        (PackageManagerName::Yarn, false) => "yarn install --non-interactive --production=false",
        (PackageManagerName::Bun, true) => "bun install --frozen-lockfile",
        (PackageManagerName::Bun, false) => "bun install",
        (PackageManagerName::Pip | PackageManagerName::Uv | PackageManagerName::Poetry, _) => "",
    };
    let from = match packages.lockfile {
        Some(lockfile) => format!("exactly what `{}` says", packages.directory.path(lockfile)),
        None => "no lockfile: the same source may get other versions tomorrow; commit one".to_owned(),
    };
    (command.to_owned(), from)
}

/// Whether a command does nothing but run one package manager in this directory.
fn only_installs(command: &str) -> bool {
    let words: Vec<&str> = command.split_ascii_whitespace().collect();
    let is_install = |word: &&str| matches!(*word, "ci" | "i" | "install" | "--frozen-lockfile" | "--immutable");
    let goes_elsewhere =
        |word: &&str| ["-C", "--prefix", "--dir", "--cwd"].iter().any(|option| word.starts_with(option));
    words.first().is_some_and(|word| matches!(*word, "npm" | "pnpm" | "yarn" | "bun"))
        && words.get(1).is_none_or(is_install)
        && !words.iter().any(goes_elsewhere)
        && !command.contains(['&', '|', ';', '$', '`', '<', '>', '(', '\n'])
}

/// Lockfile, manifests, configuration, patches, and what install scripts read.
fn key_files(project: &Project<'_>, set: Option<&str>, reasons: &mut Vec<Reason>) -> Vec<String> {
    let directory = project.packages.directory;
    if set.is_some_and(|command| !only_installs(command)) {
        let from = "the owner's install command may read any file".to_owned();
        reasons.push(Reason { decided: "dependencies are installed again when any file changes".to_owned(), from });
        return directory.top().files().map(str::to_owned).collect();
    }
    let top = PackageJson::read(&directory).ok().flatten().unwrap_or_default();
    let mut files = BTreeSet::new();
    for at in [directory, project.tree] {
        files.extend(
            CONFIGURATION_FILES.iter().chain(&[PACKAGE_JSON]).filter(|name| at.has(name)).map(|name| at.path(name)),
        );
        for name in CONFIGURATION_DIRECTORIES {
            files.extend(below(&directory, &at.path(name)));
        }
    }
    files.extend(project.packages.lockfile.map(|lockfile| directory.path(lockfile)));
    if workspace::is_workspace(&directory, &top) {
        files.extend(workspace::manifests(&directory).map(str::to_owned));
    }
    let mut generates_from_schema = false;
    for manifest in files.clone().iter().filter(|path| path.ends_with(PACKAGE_JSON)) {
        let at = tree::parent(manifest).unwrap_or_default();
        let member = Tree::new(directory.listing(), at);
        let Ok(Some(package)) = PackageJson::read(&member) else { continue };
        files.extend(local_dependencies(&directory, at, &package));
        files.extend(below(&directory, &member.path("patches")));
        generates_from_schema |= ["prisma", "@prisma/client"].iter().any(|name| package.dependency(name).is_some());
        if reads_anything(&package) || compiles(&member, &package) {
            let from = format!("install scripts in `{manifest}` may read any file");
            reasons.push(Reason { decided: "dependencies are installed again when any file changes".to_owned(), from });
            return directory.top().files().map(str::to_owned).collect();
        }
    }
    if generates_from_schema {
        files.extend(directory.top().files().filter(|path| is_prisma_file(path)).map(str::to_owned));
    }
    files.into_iter().collect()
}

/// The client of Prisma is generated from its schema when it is installed.
fn is_prisma_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.ends_with(".prisma") || name.starts_with("prisma.config.")
}

/// Files of dependencies that lie in the tree: `file:../lib`, `link:./x`, `patch:…#./p.patch`.
fn local_dependencies<'t>(directory: &Tree<'t>, at: &str, package: &PackageJson) -> Vec<String> {
    let versions = package.dependencies().map(|(_, version)| version);
    let patches = package.texts_in(&["pnpm", "patchedDependencies"]);
    let own = package.texts_in(&["patchedDependencies"]);
    versions
        .filter_map(|version| ["file:", "link:", "portal:"].iter().find_map(|scheme| version.strip_prefix(scheme)))
        .chain(patches)
        .chain(own)
        .filter_map(|path| tree::resolve(at, path))
        .filter(|path| !path.is_empty())
        .flat_map(|path| below(directory, &path))
        .collect()
}

/// The file at `path`, or all files below the directory of that name.
fn below<'t>(directory: &Tree<'t>, path: &str) -> Vec<String> {
    if directory.top().has(path) {
        return vec![path.to_owned()];
    }
    Tree::new(directory.listing(), path).files().map(str::to_owned).collect()
}

fn reads_anything(package: &PackageJson) -> bool {
    INSTALL_SCRIPTS.iter().filter_map(|name| package.script(name)).flat_map(|script| script.split("&&")).any(
        |command| {
            // `svelte-kit sync || echo ''` is the same, and may fail.
            let command =
                command.strip_suffix("|| echo ''").or_else(|| command.strip_suffix("|| true")).unwrap_or(command);
            let command = command.trim();
            let harmless = HARMLESS_SCRIPTS.iter().any(|known| command.strip_prefix(known).is_some_and(does_no_more));
            !harmless && !matches!(command, "prisma generate" | "npx prisma generate")
        },
    )
}

/// Without a script of its own a package with this file is compiled, of whatever files that names.
fn compiles(member: &Tree<'_>, package: &PackageJson) -> bool {
    member.has("binding.gyp") && ["preinstall", "install"].iter().all(|name| package.script(name).is_none())
}

/// What may follow a harmless command: words, and nothing that runs or reads something else.
fn does_no_more(rest: &str) -> bool {
    let begins = rest.is_empty() || rest.starts_with(char::is_whitespace);
    begins && !rest.contains([';', '|', '&', '<', '>', '$', '`', '(', '\n']) && !rest.contains("--patch-dir")
}

/// A word for a shell.
pub(super) fn quoted(word: &str) -> String {
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_'));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}
