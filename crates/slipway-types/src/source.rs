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
    /// The branch that was asked for; None for a tag, a commit, an upload, and where the remote did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The remote's own choice of a branch, where it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<String>,
    pub tree: TreeListing,
}

/// The line of work that a deployment belongs to: it begins from what an earlier one of the same line installed and cached,
/// else from that of the default branch. Names come from a remote and are no file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    pub branch: String,
    /// None: there is no other line to begin from.
    pub default_branch: Option<String>,
}

impl Lineage {
    /// Of uploads. No branch has a colon in its name.
    pub const UPLOADS: &str = "uploads:";
    /// Of a remote that did not name its default branch.
    const UNKNOWN: &str = "unknown:";

    pub fn uploads() -> Self {
        Self { branch: Self::UPLOADS.to_owned(), default_branch: None }
    }

    /// Of a git source; a tag or a commit counts as the default branch.
    pub fn of_git(branch: Option<String>, default_branch: Option<String>) -> Self {
        let branch = branch.or_else(|| default_branch.clone()).unwrap_or_else(|| Self::UNKNOWN.to_owned());
        Self { default_branch: default_branch.filter(|default| *default != branch), branch }
    }

    /// Where to look for something to begin from, the best first.
    pub fn candidates(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.branch.as_str()).chain(self.default_branch.as_deref())
    }

    /// For a log.
    pub fn describe(branch: &str) -> String {
        match branch {
            Self::UPLOADS => "uploads".to_owned(),
            Self::UNKNOWN => "the default branch".to_owned(),
            branch => format!("branch `{branch}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_from_itself_and_then_from_the_default_branch() {
        let candidates = |branch: Option<&str>, default: Option<&str>| {
            let lineage = Lineage::of_git(branch.map(str::to_owned), default.map(str::to_owned));
            lineage.candidates().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(candidates(Some("next"), Some("main")), ["next", "main"]);
        assert_eq!(candidates(Some("main"), Some("main")), ["main"]);
        assert_eq!(candidates(None, Some("main")), ["main"]);
        assert_eq!(candidates(Some("next"), None), ["next"]);
        assert_eq!(candidates(None, None), [Lineage::UNKNOWN]);
        assert_eq!(Lineage::uploads().candidates().collect::<Vec<_>>(), [Lineage::UPLOADS]);
    }
}
