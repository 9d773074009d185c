//! The root that commands see, and trees that they wrote: made, tidied, looked through, carried away.
//!
//! The same work is done by two: by the host for a container and on what it wrote, and by the agent in a virtual machine on what was
//! written there, because the host does not mount that. What stands in such a tree is untrusted: no path is followed out of it, and
//! every number is bounded.
//!
//! - [`root`]: what tasks see, made of layers.
//! - [`tidy`]: what stays of a tree when its sandbox ends.
//! - [`older`]: the tree of an earlier install, made ready to be installed on.
//! - [`site`]: which files of a tree a site publishes.
//! - [`archive`]: files as a stream, and how the other side reads one that may be hostile.

pub mod archive;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod older;
pub mod root;
pub mod site;
mod tidied;

pub use tidied::tidy;

use std::path::Path;

/// Whether every part of the path below `root` is a directory and no link.
pub fn is_real_directory(root: &Path, relative: &Path) -> bool {
    let mut path = root.to_owned();
    relative.components().all(|part| {
        path.push(part);
        std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir())
    })
}
