//! What detection may know of a directory, as the server will know it once the directory was uploaded.

use super::{ArchiveError, Tree, TreeEntryKind};
use slipway_types::TreeListing;
use slipway_types::source::{TREE_PATHS_MAX, TREE_TEXT_BYTES_MAX, TREE_TEXTS_BYTES_MAX};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

impl Tree {
    /// The regular files, and the texts of those whose name is wanted; with the same bounds as the server's.
    ///
    /// # Errors
    /// When one of the texts can't be read.
    pub(crate) fn listing(&self, wanted: &[&str]) -> Result<TreeListing, ArchiveError> {
        // A name that is not UTF-8 can be no file that detection looks for.
        let files = self.entries.iter().filter(|entry| matches!(entry.kind, TreeEntryKind::File { .. }));
        let mut paths: Vec<&str> = files.filter_map(|entry| entry.path.to_str()).collect();
        // Nearest to the root first: where there are too many, those say the most.
        paths.sort_by_cached_key(|path| (path.matches('/').count(), path.split('/').collect::<Vec<_>>()));
        let truncated = paths.len() > TREE_PATHS_MAX;
        paths.truncate(TREE_PATHS_MAX);
        let mut listing = TreeListing { truncated, ..TreeListing::default() };
        let mut texts_left = TREE_TEXTS_BYTES_MAX;
        for path in paths {
            let name = path.rsplit('/').next().unwrap_or(path);
            if wanted.contains(&name) {
                let file = self.root.join(path);
                let text = read_text(&file, TREE_TEXT_BYTES_MAX.min(texts_left))
                    .map_err(|source| ArchiveError::Read { path: file.clone(), source })?;
                if let Some(text) = text {
                    texts_left = texts_left.saturating_sub(text.len() as u64);
                    listing.texts.insert(path.to_owned(), text);
                }
            }
            listing.paths.push(path.to_owned());
        }
        listing.paths.sort();
        Ok(listing)
    }
}

/// None: larger than allowed.
fn read_text(path: &Path, bytes_max: u64) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= bytes_max).then(|| String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_uploaded_is_what_is_listed() {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("package.json", "{}"),
            ("web/package.json", "{\"a\":1}"),
            ("web/src/main.js", "x"),
            ("node_modules/x/package.json", "no"),
            ("dist/package.json", "ignored"),
            (".gitignore", "dist\n"),
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        symlink("web", dir.path().join("link")).unwrap();
        let listing = Tree::list(dir.path()).unwrap().listing(&["package.json"]).unwrap();
        assert_eq!(listing.paths, [".gitignore", "package.json", "web/package.json", "web/src/main.js"]);
        assert_eq!(listing.texts["web/package.json"], "{\"a\":1}");
        assert_eq!((listing.texts.len(), listing.truncated), (2, false));
    }

    #[test]
    fn a_text_that_is_too_large_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("package.json"), vec![b' '; TREE_TEXT_BYTES_MAX as usize + 1]).unwrap();
        let listing = Tree::list(dir.path()).unwrap().listing(&["package.json"]).unwrap();
        assert_eq!((listing.paths.len(), listing.texts.len()), (1, 0));
    }
}
