//! What of a directory goes into the archive.

use super::{ArchiveError, link};
use ignore::{DirEntry, WalkBuilder};
use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Never uploaded: history, which the build does not need, and what the install phase and running make.
const ALWAYS_LEFT_OUT: [&str; 4] = [".git", "node_modules", ".venv", "__pycache__"];
const IGNORE_FILE: &str = ".slipwayignore";

/// The files, links and directories to upload, sorted by path.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Absolute.
    pub(super) root: PathBuf,
    pub(super) entries: Vec<TreeEntry>,
    /// Files and links.
    pub(crate) files: u64,
    /// Sum of the files' sizes.
    pub(crate) bytes: u64,
    /// Sockets, pipes and devices, which an archive cannot hold.
    pub(crate) left_out: Vec<PathBuf>,
}

#[derive(Debug)]
pub(super) struct TreeEntry {
    /// Relative to the root.
    pub(super) path: PathBuf,
    pub(super) kind: TreeEntryKind,
}

#[derive(Debug)]
pub(super) enum TreeEntryKind {
    Directory,
    File { bytes: u64, executable: bool },
    Link { target: PathBuf },
}

impl Tree {
    /// Lists the directory `dir`.
    ///
    /// # Errors
    /// When it cannot be read, has a link that leads out, or nothing is left to upload.
    pub(crate) fn list(dir: &Path) -> Result<Self, ArchiveError> {
        let root = dir.canonicalize().map_err(|source| ArchiveError::Read { path: dir.to_owned(), source })?;
        if !root.is_dir() {
            return Err(ArchiveError::NotDirectory { path: dir.to_owned() });
        }
        let mut tree = Tree { root, entries: Vec::new(), files: 0, bytes: 0, left_out: Vec::new() };
        for found in walker(&tree.root).build() {
            let found = found.map_err(ArchiveError::Walk)?;
            if found.depth() > 0 {
                tree.take(&found)?;
            }
        }
        if tree.files == 0 {
            return Err(ArchiveError::Empty { path: dir.to_owned() });
        }
        tree.entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    fn take(&mut self, found: &DirEntry) -> Result<(), ArchiveError> {
        let unreadable = |source| ArchiveError::Read { path: found.path().to_owned(), source };
        let facts = found.path().symlink_metadata().map_err(unreadable)?;
        let path = found.path().strip_prefix(&self.root).unwrap_or(found.path()).to_owned();
        let kind = if facts.is_dir() {
            TreeEntryKind::Directory
        } else if facts.is_symlink() {
            let target = found.path().read_link().map_err(unreadable)?;
            let Some(target) = link::inside(&self.root, &path, &target) else {
                return Err(ArchiveError::LinkOutside { path, target });
            };
            self.files += 1;
            TreeEntryKind::Link { target }
        } else if facts.is_file() {
            self.files += 1;
            self.bytes += facts.len();
            TreeEntryKind::File { bytes: facts.len(), executable: is_executable(&facts) }
        } else {
            self.left_out.push(path);
            return Ok(());
        };
        self.entries.push(TreeEntry { path, kind });
        Ok(())
    }
}

fn walker(root: &Path) -> WalkBuilder {
    let in_repository = root.ancestors().any(|dir| dir.join(".git").exists());
    let mut walker = WalkBuilder::new(root);
    walker
        .standard_filters(false)
        .git_ignore(true)
        .git_exclude(true)
        // Ignore files above the directory count as far as its repository reaches. A directory that is in none is
        // treated as it will be once it is one.
        .require_git(in_repository)
        .parents(in_repository)
        .add_custom_ignore_filename(IGNORE_FILE)
        .follow_links(false)
        .filter_entry(|entry| entry.depth() == 0 || !ALWAYS_LEFT_OUT.iter().any(|name| entry.file_name() == *name));
    walker
}

fn is_executable(facts: &Metadata) -> bool {
    facts.permissions().mode() & 0o100 != 0
}
