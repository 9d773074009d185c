//! What is decided about small trees, one for each framework, package manager and way of saying a version, and about
//! every example. A tree and its plan stand in one file, to be read side by side.
//!
//! `UPDATE=1 cargo nextest run -p slipway-build --test plans` writes the plans anew; the difference is what to review.
#![allow(clippy::unwrap_used)]

use slipway_build::{WANTED_FILES, decide};
use slipway_types::{SettingsPatch, TreeListing};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A new framework comes with a tree: fewer than these would mean that some were lost.
const TREES_MIN: usize = 45;

/// Directories that a build leaves behind in an example.
const LEFT_BEHIND: [&str; 7] = ["node_modules", ".git", ".next", "dist", "build", ".venv", "__pycache__"];

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans").join(name)
}

/// What is decided, as text: the plan, or the diagnosis when there is none.
fn decided(listing: &TreeListing) -> String {
    let json = match decide(listing, &SettingsPatch::default()) {
        Ok(decision) => serde_json::to_string_pretty(&decision.plan).unwrap(),
        Err(diagnosis) => serde_json::to_string_pretty(&diagnosis).unwrap(),
    };
    format!("{json}\n")
}

/// The files of a fixture: each stands behind a line `-- path --`, the last one is the plan.
fn files(text: &str) -> Vec<(&str, String)> {
    let mut files: Vec<(&str, String)> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("-- ").and_then(|rest| rest.strip_suffix(" --")) {
            Some(path) => files.push((path, String::new())),
            None => {
                let Some((_, text)) = files.last_mut() else { continue };
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    files
}

/// A listing as the host makes it: text only of the files that detection asks for.
fn listing<'f>(files: impl IntoIterator<Item = (&'f str, String)>) -> TreeListing {
    let files: BTreeMap<String, String> = files.into_iter().map(|(path, text)| (path.to_owned(), text)).collect();
    let mut listing = TreeListing::default();
    for (path, text) in files {
        if WANTED_FILES.contains(&path.rsplit('/').next().unwrap()) {
            listing.texts.insert(path.clone(), text);
        }
        listing.paths.push(path);
    }
    listing
}

/// Compares, or writes anew; the name of what differs is returned.
fn differs(path: &Path, written: &str, now: &str) -> Option<String> {
    if written == now {
        return None;
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, now).unwrap();
        return None;
    }
    Some(format!("{}:\n{now}", path.display()))
}

fn check(differing: &[String]) {
    let how = "run `UPDATE=1 cargo nextest run -p slipway-build --test plans` and read the difference";
    assert!(differing.is_empty(), "{} plans have changed; {how}\n\n{}", differing.len(), differing.join("\n"));
}

#[test]
fn plans_of_small_trees() {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory("trees")).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= TREES_MIN, "only {} trees", paths.len());
    let mut differing = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut files = files(&text);
        if files.last().is_some_and(|(name, _)| *name == "plan") {
            files.pop();
        }
        let tree = text.split("-- plan --\n").next().unwrap();
        let now = format!("{tree}-- plan --\n{}", decided(&listing(files)));
        differing.extend(differs(&path, &text, &now));
    }
    check(&differing);
}

#[test]
fn plans_of_the_examples() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut differing = Vec::new();
    for entry in std::fs::read_dir(examples).unwrap() {
        let example = entry.unwrap().path();
        if !example.is_dir() {
            continue;
        }
        let mut files = Vec::new();
        read(&example, "", &mut files);
        let files = files.iter().map(|(path, text)| (path.as_str(), text.clone()));
        let snapshot = directory("examples").join(example.file_name().unwrap()).with_extension("json");
        let written = std::fs::read_to_string(&snapshot).unwrap_or_default();
        differing.extend(differs(&snapshot, &written, &decided(&listing(files))));
    }
    check(&differing);
}

fn read(directory: &Path, prefix: &str, files: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            if !LEFT_BEHIND.contains(&name.as_str()) {
                read(&entry.path(), &format!("{prefix}{name}/"), files);
            }
        } else {
            let text = std::fs::read(entry.path()).unwrap();
            files.push((format!("{prefix}{name}"), String::from_utf8_lossy(&text).into_owned()));
        }
    }
}

/// The order in which a host lists a tree must not matter.
#[test]
fn a_plan_does_not_depend_on_the_order_of_the_listing() {
    for entry in std::fs::read_dir(directory("trees")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let files = files(&text);
        let mut listing = listing(files.into_iter().filter(|(name, _)| *name != "plan"));
        let sorted = decided(&listing);
        listing.paths.reverse();
        assert_eq!(decided(&listing), sorted);
    }
}

/// Ten times what is promised for an optimised build, because this one is not, and others run beside it.
const LARGE_TREE_LIMIT: Duration = Duration::from_secs(1);

#[test]
fn a_large_tree_is_planned_at_once() {
    let mut files = vec![
        ("package.json".to_owned(), r#"{"workspaces":["apps/*","packages/*"]}"#.to_owned()),
        ("package-lock.json".to_owned(), "{}".to_owned()),
        ("slipway.toml".to_owned(), "root = \"apps/app7\"".to_owned()),
    ];
    for package in 0..100 {
        let at = format!("{}/app{package}", if package < 50 { "apps" } else { "packages" });
        let next = format!("{}app{}", "", package + 1);
        let manifest = format!(
            r#"{{"name":"app{package}","scripts":{{"build":"vite build"}},"dependencies":{{"{next}":"*","vite":"8"}}}}"#
        );
        files.push((format!("{at}/package.json"), manifest));
        files.push((format!("{at}/index.html"), String::new()));
        files.extend((0..100).map(|file| (format!("{at}/src/deep/er/file{file}.ts"), String::new())));
    }
    let listing = listing(files.iter().map(|(path, text)| (path.as_str(), text.clone())));
    assert!(listing.paths.len() > 10_000);
    let took = || {
        let start = Instant::now();
        let decision = decide(&listing, &SettingsPatch::default()).unwrap();
        let took = start.elapsed();
        assert_eq!(decision.plan.site().unwrap().directory, "dist");
        took
    };
    // The best of some: another test on the same machine is not its slowness.
    let fastest = (0..5).map(|_| took()).min().unwrap();
    assert!(fastest < LARGE_TREE_LIMIT, "{fastest:?}");
}
