//! A site of files without a process, and the redirects and headers that any web service may have.
//!
//! A built site is one layer: [`MANIFEST_FILE`] and a directory [`FILES_DIRECTORY`] in which each file stands once,
//! named by its digest, with the compressed forms beside it (`.br`, `.gz`). The host writes it, the edge serves nothing
//! but what the manifest names: no path of a request is ever looked up on disk.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// In the root of a site's layer.
pub const MANIFEST_FILE: &str = "site.json";
/// In the root of a site's layer: files by the hexadecimal BLAKE3 digest of their contents.
pub const FILES_DIRECTORY: &str = "files";
/// Files of one site.
pub const FILES_MAX: usize = 200_000;
/// Of the manifest as it is written: 200,000 files with names of some 250 bytes.
pub const MANIFEST_BYTES_MAX: u64 = 96 << 20;
/// Of `_redirects` or `_headers` in the published directory.
pub const RULES_TEXT_BYTES_MAX: u64 = 4 << 20;

/// What a build publishes without a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SitePlan {
    /// Relative to the service's root: what is published. Empty is the root itself.
    pub directory: String,
    /// Relative to the directory: answers 200 for a path that is no file (a single-page app's `index.html`).
    pub fallback: Option<String>,
}

/// Every file of a site.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteManifest {
    /// As in [`SitePlan::fallback`]; it names a file of this manifest.
    pub fallback: Option<String>,
    /// By path without a leading slash, decoded (`img/a b.png`).
    pub files: BTreeMap<String, SiteFile>,
}

/// One file of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteFile {
    /// Hexadecimal BLAKE3 of the contents: its name in [`FILES_DIRECTORY`] and its strong `ETag`.
    pub digest: String,
    pub bytes: u64,
    /// Its compressed form `<digest>.br` is there, of so many bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brotli_bytes: Option<u64>,
    /// Its compressed form `<digest>.gz` is there, of so many bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gzip_bytes: Option<u64>,
}

/// Redirects and headers of a service, in the words of Netlify's `_redirects` and `_headers`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SiteRules {
    /// The first that matches decides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redirects: Vec<Redirect>,
    /// All that match add theirs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderRule>,
}

impl SiteRules {
    pub fn is_empty(&self) -> bool {
        self.redirects.is_empty() && self.headers.is_empty()
    }
}

/// One redirect or rewrite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// A path, with `:name` for one part and a last `*` for the rest; a full URL restricts the host too.
    pub from: String,
    /// Query parameters that must be there; a value `:name` takes any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
    /// A path or URL, with `:name` and `:splat` put in.
    pub to: String,
    /// 200 rewrites, 301, 302, 303, 307 and 308 redirect, others answer `to` with that status.
    pub status: u16,
    /// Also where a file of that path exists.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// All must hold: `Language`, `Country`, `Cookie`, `Role` with the allowed values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub conditions: BTreeMap<String, Vec<String>>,
    /// Sent along when `to` is another server.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// Headers of the answers to some paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderRule {
    /// As [`Redirect::from`], with `*` anywhere.
    pub path: String,
    /// Names as written; several values of one name are several header lines.
    pub values: BTreeMap<String, Vec<String>>,
}

/// What the host found while it made a site's layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteFacts {
    pub files: u64,
    /// Uncompressed.
    pub bytes: u64,
    /// Text of `_redirects` in the published directory.
    pub redirects_text: Option<String>,
    /// Text of `_headers` in the published directory.
    pub headers_text: Option<String>,
}
