//! A source tree on disk: what detection may know of it, and whom it belongs to. No link is followed.

use slipway_types::TreeListing;
use slipway_types::source::{TREE_PATHS_MAX, TREE_TEXT_BYTES_MAX, TREE_TEXTS_BYTES_MAX};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, DirEntry, File};
use std::io::{self, Read};
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};

/// The user that builds and runs apps, in every sandbox; the base layer has it as `app`.
pub(crate) const APP_UID: u32 = 10_001;
pub(crate) const APP_GID: u32 = 10_001;

/// Directories that say nothing about a source.
const SKIPPED: [&str; 4] = ["node_modules", ".git", ".venv", "__pycache__"];

#[derive(Debug, thiserror::Error)]
#[error("cannot read `{}`", path.display())]
pub(crate) struct TreeError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> TreeError + '_ {
    |source| TreeError { path: path.to_owned(), source }
}

/// Lists the regular files, nearest to the root first where there are too many, and reads those of a wanted name.
pub(crate) fn list(root: &Path, wanted: &[String]) -> Result<TreeListing, TreeError> {
    let mut listing = TreeListing::default();
    let mut texts_left = TREE_TEXTS_BYTES_MAX;
    let mut directories = VecDeque::from([PathBuf::new()]);
    while let Some(directory) = directories.pop_front() {
        for entry in sorted_entries(&root.join(&directory))? {
            let path = entry.path();
            let kind = entry.file_type().map_err(at(&path))?;
            // A name that is not UTF-8 can be no file that detection looks for.
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let relative = directory.join(&name);
            if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
                directories.push_back(relative);
            } else if kind.is_file() {
                if listing.paths.len() == TREE_PATHS_MAX {
                    listing.truncated = true;
                    return Ok(sorted(listing));
                }
                let relative = relative.to_string_lossy().into_owned();
                if wanted.contains(&name)
                    && let Some(text) = read_text(&path, TREE_TEXT_BYTES_MAX.min(texts_left)).map_err(at(&path))?
                {
                    texts_left -= text.len().min(texts_left as usize) as u64;
                    listing.texts.insert(relative.clone(), text);
                }
                listing.paths.push(relative);
            }
        }
    }
    Ok(sorted(listing))
}

fn sorted(mut listing: TreeListing) -> TreeListing {
    listing.paths.sort();
    listing
}

fn sorted_entries(directory: &Path) -> Result<Vec<DirEntry>, TreeError> {
    let entries: io::Result<Vec<DirEntry>> = fs::read_dir(directory).map_err(at(directory))?.collect();
    let mut entries = entries.map_err(at(directory))?;
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

/// None: larger than allowed.
fn read_text(path: &Path, bytes_max: u64) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= bytes_max).then(|| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Hands the directory and everything in it to the app's user.
pub(crate) fn give_to_app(root: &Path) -> Result<(), TreeError> {
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        lchown(&directory, Some(APP_UID), Some(APP_GID)).map_err(at(&directory))?;
        for entry in fs::read_dir(&directory).map_err(at(&directory))? {
            let entry = entry.map_err(at(&directory))?;
            let path = entry.path();
            if entry.file_type().map_err(at(&path))?.is_dir() {
                directories.push(path);
            } else {
                lchown(&path, Some(APP_UID), Some(APP_GID)).map_err(at(&path))?;
            }
        }
    }
    Ok(())
}

/// Contents of files by path relative to `root`, for a key. None: no such regular file inside of it.
pub(crate) fn digests(root: &Path, files: &[String]) -> Result<BTreeMap<String, Option<blake3::Hash>>, TreeError> {
    files.iter().map(|file| Ok((file.clone(), digest(root, file).map_err(at(&root.join(file)))?))).collect()
}

fn digest(root: &Path, file: &str) -> io::Result<Option<blake3::Hash>> {
    let Some(opened) = open_inside(root, file)? else { return Ok(None) };
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut &opened, &mut hasher)?;
    Ok(Some(hasher.finalize()))
}

/// None: no such regular file inside of `root`, or a larger one.
pub(crate) fn read_inside(root: &Path, file: &str, bytes_max: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    open_inside(root, file).ok()??.take(bytes_max + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= bytes_max).then_some(bytes)
}

fn open_inside(root: &Path, file: &str) -> io::Result<Option<File>> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
    let directory = open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // A link in the tree must not make the host read its own files; one that stays inside is fine.
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let Ok(opened) = openat2(&directory, file, flags, Mode::empty(), inside) else { return Ok(None) };
    let opened = File::from(opened);
    Ok(opened.metadata()?.is_file().then_some(opened))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn regular_files_are_listed_and_wanted_texts_read() {
        let dir = tree(&[
            ("package.json", "{}"),
            ("app/page.tsx", "page"),
            ("packages/a/package.json", "{\"a\":1}"),
            ("node_modules/x/package.json", "no"),
            (".git/config", "no"),
        ]);
        symlink("/etc/passwd", dir.path().join("passwd")).unwrap();
        let listing = list(dir.path(), &["package.json".into()]).unwrap();
        assert_eq!(listing.paths, ["app/page.tsx", "package.json", "packages/a/package.json"]);
        assert_eq!(listing.texts["packages/a/package.json"], "{\"a\":1}");
        assert_eq!(listing.texts.len(), 2);
        assert!(!listing.truncated);
    }

    #[test]
    fn a_link_is_given_away_but_not_what_it_points_to() {
        let outside = tree(&[("secret", "x")]);
        let dir = tree(&[("a/b", "x")]);
        symlink(outside.path().join("secret"), dir.path().join("link")).unwrap();
        give_to_app(dir.path()).unwrap();
        assert_eq!(fs::metadata(dir.path().join("a/b")).unwrap().uid(), APP_UID);
        assert_eq!(fs::symlink_metadata(dir.path().join("link")).unwrap().uid(), APP_UID);
        assert_eq!(fs::metadata(outside.path().join("secret")).unwrap().uid(), 0);
    }

    #[test]
    fn digests_never_follow_a_link_out_of_the_tree() {
        let dir = tree(&[("lock", "1"), ("sub/lock", "1")]);
        symlink("/etc/passwd", dir.path().join("out")).unwrap();
        symlink("sub/lock", dir.path().join("in")).unwrap();
        let files = ["lock", "in", "out", "missing", "sub", "../x"].map(str::to_owned);
        let digests = digests(dir.path(), &files).unwrap();
        assert_eq!(digests["lock"], digests["in"]);
        assert!(digests["lock"].is_some());
        for absent in ["out", "missing", "sub", "../x"] {
            assert!(digests[absent].is_none(), "{absent}");
        }
    }
}
