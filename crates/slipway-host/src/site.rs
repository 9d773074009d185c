//! A site without a process: the published files of a built tree, packed for the edge.
//!
//! The layer holds each content once, named by its digest, with compressed forms where they pay, and a manifest of all
//! paths. What stands in the tree is untrusted: a link never leads out of what the build saw, every number is bounded,
//! and what nobody publishes on purpose (`.git`, `.env`, `node_modules`) is left out.

mod compress;
mod pack;
mod view;
mod walk;

use slipway_layers::{LayerError, LayerStore};
use slipway_types::LayerRef;
use slipway_types::site::{FILES_MAX, MANIFEST_BYTES_MAX, SiteFacts, SitePlan};
use std::io;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;
pub(crate) use view::View;
use view::open_file;

/// Files of one site together, uncompressed: far above any site, below what would surprise a disk.
const BYTES_MAX: u64 = 16 << 30;
/// Of all paths together: the manifest is read as a whole.
const PATHS_BYTES_MAX: usize = 32 << 20;
/// Sentences about single files; a count stands for the rest.
const NOTES_MAX: usize = 20;
/// Room of a layer beside its files, and for each file: the file system's own tables, and two compressed forms.
const LAYER_BYTES_MIN: u64 = 64 << 20;
const LAYER_BYTES_PER_FILE: u64 = 3 * 8192;

/// What is published of which directory.
#[derive(Debug, Clone)]
pub(crate) struct SiteSpec {
    /// The service's, relative to the source tree.
    pub(crate) root: String,
    pub(crate) plan: SitePlan,
}

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
    #[error("there is no directory `{directory}` {place}; {instead}")]
    DirectoryMissing { directory: String, place: String, instead: String },
    #[error("the directory `{directory}` holds no file to publish; {instead}")]
    DirectoryEmpty { directory: String, instead: String },
    #[error("`{fallback}` is not among the {files} published files of `{directory}`")]
    FallbackMissing { fallback: String, directory: String, files: u64 },
    #[error("it has more than {FILES_MAX} files")]
    TooManyFiles,
    #[error("its files have more than {} GB", BYTES_MAX >> 30)]
    TooManyBytes,
    #[error("the paths of its files have more than {} MB together", PATHS_BYTES_MAX >> 20)]
    PathsTooLong,
    #[error("the list of its files has more than {} MB", MANIFEST_BYTES_MAX >> 20)]
    ManifestTooLarge,
    #[error("`{file}` is larger than {bytes_max} bytes")]
    RulesTooLarge { file: &'static str, bytes_max: u64 },
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
            SiteError::DirectoryMissing { .. } | SiteError::DirectoryEmpty { .. } => "site-directory-missing",
            SiteError::FallbackMissing { .. } => "site-fallback-missing",
            SiteError::TooManyFiles
            | SiteError::TooManyBytes
            | SiteError::PathsTooLong
            | SiteError::ManifestTooLarge
            | SiteError::RulesTooLarge { .. } => "site-too-large",
            SiteError::Layer(LayerError::DiskFull { .. }) => "disk-full",
            SiteError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => "disk-full",
            SiteError::Io { .. } | SiteError::Manifest(_) | SiteError::Layer(_) | SiteError::Canceled => "layer-failed",
        }
    }
}

/// Lines for a log, of which only the first are kept.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    lines: Vec<String>,
    more: usize,
}

impl Notes {
    fn add(&mut self, line: impl Into<String>) {
        if self.lines.len() < NOTES_MAX {
            self.lines.push(line.into());
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn into_lines(mut self) -> Vec<String> {
        if self.more > 0 {
            self.lines.push(format!("and {} more of the kind", self.more));
        }
        self.lines
    }
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
    let listing = walk::list(view, spec)?;
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
