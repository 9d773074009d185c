//! The tree that a build left behind, as the build saw it.

use crate::is_real_directory;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Where the source tree stands in a sandbox, and in a layer.
const SOURCE_DIRECTORY: &str = "app";

/// Nothing may change it while it is looked through.
#[derive(Debug)]
pub struct SiteTree {
    root: PathBuf,
    directory: OwnedFd,
    written: Option<PathBuf>,
}

/// What a path is in the end, links followed.
#[derive(Debug)]
pub(super) struct Resolved {
    /// Without links.
    pub(super) path: PathBuf,
    pub(super) kind: FileType,
}

impl SiteTree {
    /// `root` is what the sandbox had for a root; `written` the tree of what the build alone wrote, when one ran.
    ///
    /// # Errors
    /// When the root is no directory that can be opened.
    pub fn open(root: &Path, written: Option<PathBuf>) -> io::Result<Self> {
        // As the kernel names it: paths of open files begin with it.
        let root = root.canonicalize()?;
        let directory = open(&root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { root, directory, written })
    }

    /// A path of the source tree. None: there is nothing, or a link leads nowhere.
    pub(super) fn in_source(&self, path: &str) -> Option<Resolved> {
        self.resolve(&Path::new(SOURCE_DIRECTORY).join(path.trim_matches('/')))
    }

    /// A path below the root. Links in it end inside of the source tree, whatever they say.
    pub(super) fn real(&self, path: &Path) -> Option<Resolved> {
        self.resolve(path.strip_prefix(&self.root).ok()?)
    }

    /// A real path as seen from the root.
    pub(super) fn inside<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    fn resolve(&self, path: &Path) -> Option<Resolved> {
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let found = openat2(&self.directory, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), inside).ok()?;
        let kind = FileType::from_raw_mode(fstat(&found).ok()?.st_mode);
        let path = std::fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()?;
        path.starts_with(self.root.join(SOURCE_DIRECTORY)).then_some(Resolved { path, kind })
    }

    /// The directory of the written layer that stands for `path` of the source tree. None: nothing was built.
    pub(super) fn written(&self, path: &str) -> Option<PathBuf> {
        let app = self.written.as_ref()?.join(SOURCE_DIRECTORY);
        let relative = Path::new(path.trim_matches('/'));
        // A link on the way would lead out of the layer.
        let real = is_real_directory(&app, relative);
        Some(if real { app.join(relative) } else { app })
    }

    pub(super) fn was_built(&self) -> bool {
        self.written.is_some()
    }
}
