//! Which files of a built tree a site publishes.
//!
//! A link never leads out of what the build saw, every number is bounded, and what nobody publishes on purpose (`.git`, `.env`,
//! `node_modules`) is left out.

mod view;
mod walk;

use slipway_types::site::{FILES_MAX, SitePlan};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
pub use view::SiteTree;
pub use walk::list;

/// Files of one site together, uncompressed: far above any site, below what would surprise a disk.
pub const BYTES_MAX: u64 = 16 << 30;
/// Of all paths together: the manifest is read as a whole.
pub const PATHS_BYTES_MAX: usize = 32 << 20;
/// Directories below each other: links may lead back up.
pub const DEPTH_MAX: usize = 64;
/// Sentences about single files; a count stands for the rest.
const NOTES_MAX: usize = 20;

/// What is published of which directory.
#[derive(Debug, Clone)]
pub struct SiteSpec {
    /// The service's, relative to the source tree.
    pub root: String,
    pub plan: SitePlan,
}

/// What is to be packed.
#[derive(Debug, Default)]
pub struct Listing {
    /// As the spec says, or the top of the tree.
    pub(crate) directory: String,
    pub fallback: Option<String>,
    /// Real path by published path.
    pub files: BTreeMap<String, PathBuf>,
    pub bytes: u64,
    pub redirects_text: Option<String>,
    pub headers_text: Option<String>,
    pub notes: Notes,
}

/// Texts of the published directory that are rules, not files.
pub const REDIRECTS: &str = "_redirects";
pub const HEADERS: &str = "_headers";

#[derive(Debug, thiserror::Error)]
pub enum ListError {
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
    #[error("`{file}` is larger than {bytes_max} bytes")]
    RulesTooLarge { file: &'static str, bytes_max: u64 },
    #[error("cannot {action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Codes of [`ListError`], as in [`slipway_types::host::HostError`].
pub const CODES: [&str; 4] = ["site-directory-missing", "site-fallback-missing", "site-too-large", "layer-failed"];

impl ListError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| ListError::Io { action, path: path.to_owned(), source }
    }

    /// One of [`CODES`].
    pub fn code(&self) -> &'static str {
        let [missing, fallback, large, failed] = CODES;
        match self {
            ListError::DirectoryMissing { .. } | ListError::DirectoryEmpty { .. } => missing,
            ListError::FallbackMissing { .. } => fallback,
            ListError::TooManyFiles
            | ListError::TooManyBytes
            | ListError::PathsTooLong
            | ListError::RulesTooLarge { .. } => large,
            ListError::Io { .. } => failed,
        }
    }
}

/// Lines for a log, of which only the first are kept.
#[derive(Debug, Default)]
pub struct Notes {
    lines: Vec<String>,
    more: usize,
}

impl Notes {
    pub fn add(&mut self, line: impl Into<String>) {
        if self.lines.len() < NOTES_MAX {
            self.lines.push(line.into());
        } else {
            self.more += 1;
        }
    }

    pub fn into_lines(mut self) -> Vec<String> {
        if self.more > 0 {
            self.lines.push(format!("and {} more of the kind", self.more));
        }
        self.lines
    }
}

/// Opens a regular file of a listing by its real path.
///
/// # Errors
/// As of `open`.
pub fn open_file(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(open(path, flags, Mode::empty())?))
}
