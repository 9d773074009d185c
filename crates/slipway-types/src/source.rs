//! What goes in: an uploaded directory or a git commit.

use crate::{Secret, UploadId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where the source of a deployment comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "from")]
pub enum SourceSpec {
    /// An archive that the server has already checked.
    Upload {
        upload: UploadId,
    },
    Git(GitSource),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitSource {
    /// `https://`, `ssh://`, `git://`, `file://` or `user@host:path`, without credentials in it.
    pub url: String,
    /// Branch, tag or commit. None: the remote's default branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Password or token for `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Secret>,
}

/// Largest number of paths in a [`TreeListing`].
pub const TREE_PATHS_MAX: usize = 50_000;
/// Largest file whose text a [`TreeListing`] carries.
pub const TREE_TEXT_BYTES_MAX: u64 = 8 << 20;

/// Texts of one [`TreeListing`] together: four of the largest.
pub const TREE_TEXTS_BYTES_MAX: u64 = 4 * TREE_TEXT_BYTES_MAX;

/// What detection may know of a source tree: the paths, and the text of the few files that say something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeListing {
    /// Relative paths of regular files, sorted, `/` between parts; without `node_modules` and `.git`. Where there are too
    /// many, those nearest to the root are here.
    pub paths: Vec<String>,
    /// Text by path, of the files whose name was asked for.
    pub texts: BTreeMap<String, String>,
    /// More paths existed than [`TREE_PATHS_MAX`].
    pub truncated: bool,
}

/// What the source phase found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFacts {
    /// The commit, when the source is git.
    pub commit: Option<String>,
    pub tree: TreeListing,
}
