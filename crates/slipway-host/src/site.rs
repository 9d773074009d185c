//! A site without a process: the published files of a built tree, packed for the edge.
//!
//! The layer holds each content once, named by its digest, with compressed forms where they pay, and a manifest of all
//! paths. What stands in the tree is untrusted: a link never leads out of what the build saw, every number is bounded,
//! and what nobody publishes on purpose (`.git`, `.env`, `node_modules`) is left out.

mod compress;
mod pack;
mod unpack;
mod view;

use slipway_layers::{LayerError, LayerStore};
use slipway_tree::archive::ArchiveError;
pub(crate) use slipway_tree::site::SiteSpec;
use slipway_tree::site::{ListError, Notes, list};
use slipway_types::LayerRef;
use slipway_types::site::{MANIFEST_BYTES_MAX, SiteFacts};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;
pub(crate) use unpack::{ARCHIVE_BOUNDS, UNPACKED_DIRECTORY, unpack};
pub(crate) use view::View;

/// Room of a layer beside its files, and for each file: the file system's own tables, and two compressed forms.
const LAYER_BYTES_MIN: u64 = 64 << 20;
const LAYER_BYTES_PER_FILE: u64 = 3 * 8192;

/// A packed site.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    pub(crate) facts: SiteFacts,
    /// Bytes that the smallest form of each file takes together.
    pub(crate) compressed_bytes: u64,
    /// For the log: what was left out or done otherwise than expected.
    pub(crate) notes: Notes,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SiteError {
    #[error(transparent)]
    List(#[from] ListError),
    #[error("the list of its files has more than {} MB", MANIFEST_BYTES_MAX >> 20)]
    ManifestTooLarge,
    #[error("cannot {action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the manifest can't be written as JSON")]
    Manifest(#[source] serde_json::Error),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("packing was broken off")]
    Canceled,
}

impl SiteError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| SiteError::Io { action, path: path.to_owned(), source }
    }

    /// As in [`slipway_types::host::HostError`].
    pub(crate) fn code(&self) -> &'static str {
        match self {
            SiteError::List(error) => error.code(),
            SiteError::ManifestTooLarge
            | SiteError::Archive(
                ArchiveError::TooManyFiles(_) | ArchiveError::TooManyBytes(_) | ArchiveError::PathsTooLong(_),
            ) => "site-too-large",
            SiteError::Archive(_) => "sandbox-failed",
            SiteError::Layer(LayerError::DiskFull { .. }) => "disk-full",
            SiteError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => "disk-full",
            SiteError::Io { .. } | SiteError::Manifest(_) | SiteError::Layer(_) | SiteError::Canceled => "layer-failed",
        }
    }
}

fn open_file(path: &Path) -> Result<File, SiteError> {
    slipway_tree::site::open_file(path).map_err(SiteError::io("open", path))
}

/// Makes the site's layer of what stands in the view. One that is there already is replaced: the newer build is the right
/// one. Blocks.
pub(crate) fn package(
    store: &LayerStore,
    layer: &LayerRef,
    view: &View,
    spec: &SiteSpec,
    cancel: &CancellationToken,
) -> Result<Packed, SiteError> {
    let listing = list(&view.tree, spec)?;
    store.remove(layer)?;
    let mut packed = Packed::default();
    let files = listing.files.len() as u64;
    let bytes = LAYER_BYTES_MIN + files * LAYER_BYTES_PER_FILE + listing.bytes * 3;
    store.write_layer(layer, bytes, |directory| {
        packed = pack::write(directory, listing, cancel)?;
        Ok::<(), SiteError>(())
    })?;
    Ok(packed)
}

#[cfg(test)]
mod tests;
