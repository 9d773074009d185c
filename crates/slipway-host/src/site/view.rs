//! The tree that a build left behind, as the build saw it: source and what was written above it, read-only.

use super::SiteError;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::mount::{MountFlags, UnmountFlags};
use slipway_layers::{LayerError, Mounted, image};
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// As the overlay of the sandbox: nothing in the written layer can name a place elsewhere.
const OVERLAY_OPTIONS: &str = "redirect_dir=off,metacopy=off,index=off,xino=off";
/// Where the source tree stands in a layer.
const SOURCE_DIRECTORY: &str = "app";

/// Mounted until dropped.
#[derive(Debug)]
pub(crate) struct View {
    root: PathBuf,
    directory: OwnedFd,
    /// Above the layers that it shows: dropped first.
    _overlay: Option<Overlay>,
    written: Option<Mounted>,
    _source: Mounted,
}

/// What a path is in the end, links followed.
#[derive(Debug)]
pub(super) struct Resolved {
    /// Without links.
    pub(super) path: PathBuf,
    pub(super) kind: FileType,
}

impl View {
    /// Shows the source layer and, when a command ran, what it wrote. `at` is a directory for the mounts.
    pub(crate) fn mount(source: &Path, written: Option<&Path>, at: &Path) -> Result<Self, LayerError> {
        let source = image::mount(source, &at.join("source"), image::ReadOnly)?;
        let written = written.map(|image| image::mount(image, &at.join("written"), image::ReadOnly)).transpose()?;
        let overlay =
            written.as_ref().map(|written| Overlay::mount(&written.upper(), &source.upper(), &at.join("merged")));
        let overlay = overlay.transpose()?;
        let root = overlay.as_ref().map_or_else(|| source.upper(), |overlay| overlay.at.clone());
        // As the kernel names it: paths of open files begin with it.
        let root = root.canonicalize().map_err(|error| LayerError::io("resolve", &root, error))?;
        let directory = open_directory(&root)?;
        Ok(Self { root, directory, _overlay: overlay, written, _source: source })
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
        let app = self.written.as_ref()?.upper().join(SOURCE_DIRECTORY);
        let relative = Path::new(path.trim_matches('/'));
        // A link on the way would lead out of the layer.
        let real = crate::tree::is_real_directory(&app, relative);
        Some(if real { app.join(relative) } else { app })
    }

    pub(super) fn was_built(&self) -> bool {
        self.written.is_some()
    }
}

/// Opens a regular file of the view by its real path.
pub(super) fn open_file(path: &Path) -> Result<File, SiteError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = open(path, flags, Mode::empty()).map_err(|errno| SiteError::io("open", path)(errno.into()))?;
    Ok(File::from(opened))
}

fn open_directory(path: &Path) -> Result<OwnedFd, LayerError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).map_err(|errno| LayerError::io("open", path, errno.into()))
}

/// Two trees as one, read-only.
#[derive(Debug)]
struct Overlay {
    at: PathBuf,
}

impl Overlay {
    fn mount(upper: &Path, lower: &Path, at: &Path) -> Result<Self, LayerError> {
        std::fs::create_dir_all(at).map_err(|error| LayerError::io("create the directory", at, error))?;
        // By descriptor: a path may hold any character, an option list may not.
        let (upper, lower) = (open_directory(upper)?, open_directory(lower)?);
        let lowers = format!("/proc/self/fd/{}:/proc/self/fd/{}", upper.as_raw_fd(), lower.as_raw_fd());
        let failed = |error| LayerError::io("mount an overlay at", at, error);
        let options =
            CString::new(format!("lowerdir={lowers},{OVERLAY_OPTIONS}")).map_err(|error| failed(error.into()))?;
        let flags =
            MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NOATIME;
        rustix::mount::mount(c"overlay", at, c"overlay", flags, options.as_c_str())
            .map_err(|errno| failed(errno.into()))?;
        Ok(Self { at: at.to_owned() })
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // Nothing of it is open any more: it goes at once, and lets go of its layers.
        if let Err(error) = rustix::mount::unmount(&self.at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            tracing::warn!(%error, at = %self.at.display(), "cannot unmount an overlay");
        }
    }
}
