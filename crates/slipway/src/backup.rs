//! `slipway backup` and `slipway restore`: a server's data directory as one file.
//!
//! ```text
//! zstd( tar( backup.json, slipway.db, keys/master.key, admin-token, slipway-server.toml, uploads/…, layers/…, SUMS ) )
//! ```
//! `SUMS` holds the BLAKE3 digest of each member before it, in the form of `b3sum`. A layer is a stream of what holds data
//! (`slipway_layers::portable`). Left out is what a server makes again or what is of one machine: sandboxes, scratch, mounts,
//! caches, logs, the kernel of virtual machines, and `server-id`, which no two data directories may share.
//!
//! Guarantees: a backup is of one moment of the database, and whole or not there; a restored directory is whole and checked, or
//! as it was before. The file holds the key to all secrets, and only its owner may read it.

mod member;
mod reader;
mod restore;
mod staging;
mod take;
mod writer;

pub(crate) use member::Header;
pub(crate) use restore::restore;
pub(crate) use staging::{is_unfinished, unfinished};
pub(crate) use take::take;

use crate::failure::Failure;
use std::fs::File;
use std::io;
use std::path::Path;

/// Waits until the names in a directory are on the disk.
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The directory that a path is in.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// For `map_err`: what was tried, with which file.
fn failed(action: &str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let message = format!("cannot {action} `{}`", path.display());
    move |error| Failure::server(message).caused_by(&error)
}
