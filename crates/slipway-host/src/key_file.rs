//! The files that decide what an install makes, sorted by what a change in them means for an older tree.

use crate::manifest::{MANIFEST_BYTES_MAX, Manifest};
use crate::tree::{self, TreeError};
use std::collections::BTreeMap;
use std::path::Path;

const MANIFEST: &str = "package.json";
const LOCKFILES: [&str; 6] =
    ["package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock", "bun.lockb"];
/// Beside a manifest these say how to install, and make it no package that is copied as a whole.
const CONFIGURATION: [&str; 5] = [".npmrc", ".yarnrc", ".yarnrc.yml", "pnpm-workspace.yaml", "bunfig.toml"];

/// What a file adds to the key of a layer, and what to its family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyFile {
    pub(crate) key: Part,
    pub(crate) family: Part,
}

/// What counts of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Content(blake3::Hash),
    /// That it is there.
    Presence,
    /// No regular file inside of the tree.
    Absent,
}

impl KeyFile {
    /// A file of which every byte counts for both.
    fn whole(content: Option<blake3::Hash>) -> Self {
        let part = content.map_or(Part::Absent, Part::Content);
        Self { key: part.clone(), family: part }
    }
}

/// Reads the files, by path relative to `root`.
pub(crate) fn read(root: &Path, files: &[String]) -> Result<BTreeMap<String, KeyFile>, TreeError> {
    let mut digests = tree::digests(root, files)?;
    let mut found = BTreeMap::new();
    if let Some(top) = top(files) {
        for lockfile in files.iter().filter(|file| parent(file) == top && is_lockfile(file)) {
            if let Some(Some(content)) = digests.remove(lockfile) {
                found.insert(lockfile.clone(), KeyFile { key: Part::Content(content), family: Part::Presence });
            }
        }
        let paths = files.iter().filter(|file| name(file) == MANIFEST && is_plain(file, top, files));
        let manifests: Vec<(String, Manifest)> =
            paths.filter_map(|path| Some((path.clone(), parsed(root, path)?))).collect();
        let any_runs = manifests.iter().any(|(_, manifest)| manifest.runs_scripts());
        for (path, manifest) in manifests {
            let Some(Some(content)) = digests.remove(&path) else { continue };
            let key = if any_runs { content } else { manifest.clone().without_effect_left_out().digest() };
            let family = if any_runs { manifest } else { manifest.without_effect_left_out() };
            let family = Part::Content(family.dependencies_left_out().digest());
            found.insert(path, KeyFile { key: Part::Content(key), family });
        }
    }
    found.extend(digests.into_iter().map(|(path, content)| (path, KeyFile::whole(content))));
    Ok(found)
}

fn parsed(root: &Path, path: &str) -> Option<Manifest> {
    Manifest::parse(&tree::read_inside(root, path, MANIFEST_BYTES_MAX)?)
}

/// The directory of the lockfile: the nearest to the root, because a package that lies in the tree may have one too.
fn top(files: &[String]) -> Option<&str> {
    let lockfiles = files.iter().filter(|file| is_lockfile(file));
    lockfiles.map(|file| parent(file)).min_by_key(|directory| (directory.split('/').count(), directory.len()))
}

/// Of a package with other key files below it the package manager may copy everything, so every byte of its manifest counts.
/// The top one is nobody's dependency.
fn is_plain(manifest: &str, top: &str, files: &[String]) -> bool {
    let directory = parent(manifest);
    let is_other = |file: &String| {
        let name = name(file);
        name != MANIFEST && !CONFIGURATION.contains(&name) && is_below(file, directory)
    };
    directory == top || !files.iter().any(is_other)
}

pub(crate) fn is_lockfile(path: &str) -> bool {
    LOCKFILES.contains(&name(path))
}

fn is_below(file: &str, directory: &str) -> bool {
    directory.is_empty() || file.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changes `path` to `text` in a small workspace: whether that changes the key, and whether the family.
    fn changed(files: &[(&str, &str)], path: &str, text: &str) -> (bool, bool) {
        let read_with = |change: Option<(&str, &str)>| {
            let dir = tempfile::tempdir().unwrap();
            for (path, text) in files.iter().copied().chain(change) {
                let path = dir.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            let names: Vec<String> = files.iter().map(|(path, _)| (*path).to_owned()).collect();
            read(dir.path(), &names).unwrap()
        };
        let (before, after) = (read_with(None), read_with(Some((path, text))));
        let differ = |part: fn(&KeyFile) -> &Part| {
            before.iter().map(|(path, file)| (path, part(file))).ne(after.iter().map(|(path, file)| (path, part(file))))
        };
        (differ(|file| &file.key), differ(|file| &file.family))
    }

    const FILES: [(&str, &str); 6] = [
        (".npmrc", "a=1"),
        ("package-lock.json", "{}"),
        ("package.json", r#"{"workspaces":["packages/*"]}"#),
        ("packages/a/package.json", r#"{"name":"a"}"#),
        ("local/b/package.json", r#"{"name":"b"}"#),
        ("local/b/index.js", "1"),
    ];

    #[test]
    fn each_kind_of_file_counts_for_what_it_must() {
        for (path, text, expected) in [
            ("package-lock.json", "{\"a\":1}", (true, false)),
            ("package.json", r#"{"workspaces":["packages/*"],"dependencies":{"x":"1"}}"#, (true, false)),
            ("package.json", r#"{"workspaces":["packages/*"],"scripts":{"build":"x"}}"#, (false, false)),
            ("package.json", r#"{"workspaces":["packages/*"],"scripts":{"postinstall":"x"}}"#, (true, true)),
            ("package.json", r#"{"workspaces":["*"]}"#, (true, true)),
            ("package.json", "not json", (true, true)),
            ("packages/a/package.json", r#"{"name":"a","description":"x"}"#, (false, false)),
            ("packages/a/package.json", r#"{"name":"a","dependencies":{"x":"1"}}"#, (true, false)),
            // It may be copied with all of its fields.
            ("local/b/package.json", r#"{"name":"b","description":"x"}"#, (true, true)),
            ("local/b/index.js", "2", (true, true)),
            (".npmrc", "a=2", (true, true)),
        ] {
            assert_eq!(changed(&FILES, path, text), expected, "{path}: {text}");
        }
    }

    #[test]
    fn a_script_that_runs_at_the_install_may_read_every_field() {
        let files = [("package-lock.json", "{}"), ("package.json", r#"{"scripts":{"prepare":"x","a":"1"}}"#)];
        for (text, expected) in [
            (r#"{"scripts":{"prepare":"x","a":"2"}}"#, (true, true)),
            (r#"{"scripts":{"prepare":"x","a":"1"},"description":"d"}"#, (true, true)),
            (r#"{"scripts":{"prepare":"x","a":"1"},"dependencies":{"x":"1"}}"#, (true, false)),
        ] {
            assert_eq!(changed(&files, "package.json", text), expected, "{text}");
        }
    }

    #[test]
    fn without_a_lockfile_every_byte_counts() {
        let files = [("package.json", r#"{"name":"a"}"#), ("requirements.txt", "x")];
        assert_eq!(changed(&files, "package.json", r#"{"name":"a","description":"x"}"#), (true, true));
    }
}
