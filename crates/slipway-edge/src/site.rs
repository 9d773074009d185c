//! A site of files: its manifest in memory, its files on a mounted directory.
//!
//! The manifest is read once, when a table first names the site, and never changes. A request is looked up in it; the
//! disk sees only names made of a digest. What a file answers with is in [`answer`].

pub(crate) mod answer;
mod bundle;
mod encoding;
pub(crate) mod file;
mod fingerprint;
mod media_type;
mod memory;
mod name;
mod range;
mod resolve;

pub(crate) use encoding::quality;
pub(crate) use memory::MemoryBudget;

use crate::limits::SITE_MANIFEST_BYTES_MAX;
use bundle::Bundles;
use encoding::Encoding;
use http::HeaderValue;
use memory::Memory;
use name::FileName;
use resolve::Resolved;
use slipway_types::site::{FILES_DIRECTORY, FILES_MAX, MANIFEST_FILE, SiteFile, SiteManifest};
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Hexadecimal BLAKE3.
const DIGEST_CHARACTERS: usize = 64;

/// Why a directory is no site that can be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SiteError {
    #[error("`{}` cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("`{}` has more than {SITE_MANIFEST_BYTES_MAX} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("`{}` is not a manifest: {source}", path.display())]
    NotManifest { path: PathBuf, source: serde_json::Error },
    #[error("`{}` names {files} files, more than {FILES_MAX}", path.display())]
    TooMany { path: PathBuf, files: usize },
    #[error("`{}` gives the file `{file}` a digest that is none", path.display())]
    Digest { path: PathBuf, file: String },
    #[error("`{}` has the fallback `{file}`, which is no file of it", path.display())]
    Fallback { path: PathBuf, file: String },
    #[error("the manifest took longer than {0:?} to read")]
    TimedOut(std::time::Duration),
    #[error("reading the manifest panicked")]
    Panicked,
}

/// All that is known of one site.
#[derive(Debug)]
pub(crate) struct Site {
    files: PathBuf,
    fallback: Option<String>,
    entries: HashMap<Box<str>, Entry>,
    memory: MemoryBudget,
}

/// One file.
#[derive(Debug)]
pub(crate) struct Entry {
    file: SiteFile,
    kind: HeaderValue,
    /// Its name has a hash of its contents in it.
    is_fingerprinted: bool,
    memory: Memory,
}

impl Entry {
    /// The size of a form; None: it is not there.
    fn bytes(&self, encoding: Encoding) -> Option<u64> {
        match encoding {
            Encoding::Identity => Some(self.file.bytes),
            Encoding::Brotli => self.file.brotli_bytes,
            Encoding::Gzip => self.file.gzip_bytes,
        }
    }
}

impl Site {
    /// Reads the manifest of `directory`.
    pub(crate) fn load(directory: &Path, memory: MemoryBudget) -> Result<Self, SiteError> {
        let path = directory.join(MANIFEST_FILE);
        let text = read(&path)?;
        let manifest: SiteManifest = match serde_json::from_slice(&text) {
            Ok(manifest) => manifest,
            Err(source) => return Err(SiteError::NotManifest { path, source }),
        };
        if manifest.files.len() > FILES_MAX {
            return Err(SiteError::TooMany { path, files: manifest.files.len() });
        }
        if let Some(file) = manifest.fallback.as_ref().filter(|file| !manifest.files.contains_key(*file)) {
            return Err(SiteError::Fallback { path, file: file.clone() });
        }
        let bundles = Bundles::among(manifest.files.keys().map(String::as_str));
        let mut entries = HashMap::with_capacity(manifest.files.len());
        for (name, file) in manifest.files {
            if !is_digest(&file.digest) {
                return Err(SiteError::Digest { path, file: name });
            }
            let (kind, is_fingerprinted) = (media_type::of(&name), fingerprint::is_in(&name) || bundles.name(&name));
            entries.insert(name.into(), Entry { file, kind, is_fingerprinted, memory: Memory::default() });
        }
        Ok(Self { files: directory.join(FILES_DIRECTORY), fallback: manifest.fallback, entries, memory })
    }

    fn resolve(&self, asked: &FileName) -> Resolved {
        resolve::resolve(asked, |name| self.entries.contains_key(name))
    }

    fn get(&self, name: &str) -> Option<(&str, &Entry)> {
        self.entries.get_key_value(name).map(|(name, entry)| (&**name, entry))
    }

    fn path(&self, entry: &Entry, encoding: Encoding) -> PathBuf {
        let digest = &entry.file.digest;
        self.files.join(encoding.suffix().map_or_else(|| digest.clone(), |suffix| format!("{digest}.{suffix}")))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let held: u64 = self.entries.values().map(|entry| entry.memory.bytes()).sum();
        self.memory.give_back(held);
    }
}

fn read(path: &Path) -> Result<Vec<u8>, SiteError> {
    let unreadable = |source| SiteError::Unreadable { path: path.to_owned(), source };
    let file = file::open_plain(path).map_err(unreadable)?;
    let mut text = Vec::new();
    file.take(SITE_MANIFEST_BYTES_MAX + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > SITE_MANIFEST_BYTES_MAX {
        return Err(SiteError::TooLarge { path: path.to_owned() });
    }
    Ok(text)
}

fn is_digest(text: &str) -> bool {
    text.len() == DIGEST_CHARACTERS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
