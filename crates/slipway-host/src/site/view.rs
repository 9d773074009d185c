//! The tree that a build left behind, mounted as the build saw it: source and what was written above it, read-only.

use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountFlags, UnmountFlags};
use slipway_layers::{LayerError, Mounted, image};
use slipway_tree::site::SiteTree;
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// As the overlay of the sandbox: nothing in the written layer can name a place elsewhere.
const OVERLAY_OPTIONS: &str = "redirect_dir=off,metacopy=off,index=off,xino=off";

/// Mounted until dropped.
#[derive(Debug)]
pub(crate) struct View {
    /// It keeps the mounts in use: dropped first.
    pub(super) tree: SiteTree,
    /// Above the layers that it shows: dropped before them.
    _overlay: Option<Overlay>,
    _written: Option<Mounted>,
    _source: Mounted,
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
        let tree = SiteTree::open(&root, written.as_ref().map(Mounted::upper));
        let tree = tree.map_err(|error| LayerError::io("open", &root, error))?;
        Ok(Self { tree, _overlay: overlay, _written: written, _source: source })
    }
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
