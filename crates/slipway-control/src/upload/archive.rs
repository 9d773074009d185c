//! The check of an uploaded archive, before anything of it is stored or unpacked.
//!
//! Guarantees of an accepted archive: every path and every link stays inside the tree however it is unpacked; it holds
//! only files, directories and links; no path occurs twice; its unpacked size is bounded; and there is one way to
//! read it (no bytes after the end, no header that one reader heeds and another does not).

use super::tree::{Kind, Tree};
use flate2::bufread::GzDecoder;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tar::EntryType;

/// Entries of one archive; twice what detection looks at, directories included.
pub(crate) const ENTRIES_MAX: u64 = 100_000;
/// A long name or extended header; Linux knows no longer path than 4096 bytes.
const EXTENSION_BYTES_MAX: u64 = 32 * 1024;
/// Longest path that is accepted, below Linux's 4096 so that it fits under a prefix.
const PATH_BYTES_MAX: usize = 3072;
/// Longest part of a path on ext4.
const PART_BYTES_MAX: usize = 255;

/// What an accepted archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ArchiveFacts {
    pub(crate) files: u64,
    /// Unpacked.
    pub(crate) bytes: u64,
}

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveRefusal {
    #[error("could not read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("the upload is not a gzip-compressed tar archive: {0}")]
    NotAnArchive(String),
    #[error("the upload holds no files")]
    Empty,
    #[error("the upload has a path that leaves the tree: `{0}`")]
    PathOutside(String),
    #[error("the upload has a link that leaves the tree: `{path}` → `{target}`")]
    LinkOutside { path: String, target: String },
    #[error("the upload has a path behind a link: `{path}` is inside `{link}`")]
    PathThroughLink { path: String, link: String },
    #[error("the upload has a link that leads in a circle: `{0}`")]
    LinkLoop(String),
    #[error("the upload has something that is no file, directory or link: `{path}` ({kind})")]
    SpecialFile { path: String, kind: &'static str },
    #[error("the upload has the path `{0}` twice")]
    Duplicate(String),
    #[error("the upload has a path that can't be used: `{path}` ({why})")]
    Name { path: String, why: &'static str },
    #[error("the upload has more than {ENTRIES_MAX} entries")]
    TooManyEntries,
    #[error("the upload is larger than {0} bytes when unpacked")]
    TooLarge(u64),
}

impl ArchiveRefusal {
    /// Stable code for the API.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "internal",
            Self::NotAnArchive(_) => "upload-not-an-archive",
            Self::Empty => "upload-empty",
            Self::PathOutside(_) => "upload-path-outside",
            Self::LinkOutside { .. } => "upload-link-outside",
            Self::PathThroughLink { .. } => "upload-path-through-link",
            Self::LinkLoop(_) => "upload-link-loop",
            Self::SpecialFile { .. } => "upload-special-file",
            Self::Duplicate(_) => "upload-duplicate-path",
            Self::Name { .. } => "upload-name",
            Self::TooManyEntries => "upload-too-many-entries",
            Self::TooLarge(_) => "upload-too-large",
        }
    }
}

/// Reads the whole archive at `path` once. Blocking.
pub(crate) fn check(path: &Path, unpacked_bytes_max: u64) -> Result<ArchiveFacts, ArchiveRefusal> {
    let file = File::open(path).map_err(|source| ArchiveRefusal::Read { path: path.to_owned(), source })?;
    // `GzDecoder` stops at the end of the first member; what follows is looked at below.
    let over = Rc::new(Cell::new(false));
    let gunzip = GzDecoder::new(BufReader::new(file));
    // Headers and padding come on top of the contents: one block each way per entry.
    let bounded = Bounded { inner: gunzip, left: unpacked_bytes_max + ENTRIES_MAX * 1024, over: Rc::clone(&over) };
    let mut archive = tar::Archive::new(bounded);
    let outcome = check_entries(&mut archive, unpacked_bytes_max).and_then(|facts| {
        check_end(archive.into_inner())?;
        Ok(facts)
    });
    match outcome {
        Err(_) if over.get() => Err(ArchiveRefusal::TooLarge(unpacked_bytes_max)),
        outcome => outcome,
    }
}

fn check_entries<R: Read>(
    archive: &mut tar::Archive<R>,
    unpacked_bytes_max: u64,
) -> Result<ArchiveFacts, ArchiveRefusal> {
    let mut tree = Tree::default();
    let mut extension = Extension::default();
    let mut facts = ArchiveFacts { files: 0, bytes: 0 };
    let mut entries_seen = 0;
    // Raw: long names are put together here, with a bound, not by the library in as much memory as a header says.
    for entry in archive.entries().map_err(not_an_archive)?.raw(true) {
        let mut entry = entry.map_err(not_an_archive)?;
        entries_seen += 1;
        if entries_seen > ENTRIES_MAX {
            return Err(ArchiveRefusal::TooManyEntries);
        }
        if extension.take(&mut entry)? {
            continue;
        }
        let Extension { path, link, .. } = std::mem::take(&mut extension);
        let path = text(path.unwrap_or_else(|| entry.path_bytes().into_owned()))?;
        let link = link.or_else(|| entry.link_name_bytes().map(std::borrow::Cow::into_owned));
        let kind = kind(entry.header().entry_type(), &path, link)?;
        let size = entry.size();
        if kind != Kind::File && size != 0 {
            return Err(ArchiveRefusal::NotAnArchive(format!("`{path}` is no file but has content")));
        }
        facts.bytes = facts.bytes.saturating_add(size);
        if facts.bytes > unpacked_bytes_max {
            return Err(ArchiveRefusal::TooLarge(unpacked_bytes_max));
        }
        facts.files += u64::from(kind != Kind::Directory);
        tree.add(&path, kind)?;
        io::copy(&mut entry, &mut io::sink()).map_err(not_an_archive).and_then(|read| match read == size {
            true => Ok(()),
            false => Err(ArchiveRefusal::NotAnArchive("it ends in the middle of a file".to_owned())),
        })?;
    }
    if extension.pending() {
        return Err(ArchiveRefusal::NotAnArchive("it ends after a long name".to_owned()));
    }
    if facts.files == 0 {
        return Err(ArchiveRefusal::Empty);
    }
    tree.check_links()?;
    Ok(facts)
}

fn kind(entry: EntryType, path: &str, link: Option<Vec<u8>>) -> Result<Kind, ArchiveRefusal> {
    let special = |kind| Err(ArchiveRefusal::SpecialFile { path: path.to_owned(), kind });
    let target = || text(link.unwrap_or_default());
    match entry {
        EntryType::Regular | EntryType::Continuous => Ok(Kind::File),
        EntryType::Directory => Ok(Kind::Directory),
        EntryType::Symlink => Ok(Kind::Symlink(target()?)),
        // The host that unpacks makes none: a link is refused here, before anything is stored.
        EntryType::Link => special("hard link"),
        EntryType::Char => special("character device"),
        EntryType::Block => special("block device"),
        EntryType::Fifo => special("named pipe"),
        EntryType::GNUSparse => special("sparse file"),
        _ => special("unknown type"),
    }
}

/// What headers in front of an entry say about it.
#[derive(Debug, Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    /// One `x` header per entry; a second would let readers disagree.
    pax: bool,
}

impl Extension {
    fn pending(&self) -> bool {
        self.pax || self.path.is_some() || self.link.is_some()
    }

    /// Whether `entry` was such a header, which is then read.
    fn take<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<bool, ArchiveRefusal> {
        let kind = entry.header().entry_type();
        let is_extension = kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions();
        if !is_extension {
            return Ok(false);
        }
        if entry.size() > EXTENSION_BYTES_MAX {
            return Err(ArchiveRefusal::NotAnArchive("a name in it is too long".to_owned()));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(not_an_archive)?;
        let (longname, longlink) = (kind.is_gnu_longname(), kind.is_gnu_longlink());
        match () {
            () if longname && self.path.is_none() => self.path = Some(until_nul(bytes)),
            () if longlink && self.link.is_none() => self.link = Some(until_nul(bytes)),
            () if kind.is_pax_local_extensions() && !self.pax => self.take_pax(&bytes, true)?,
            () if kind.is_pax_global_extensions() => self.take_pax(&bytes, false)?,
            () => return Err(ArchiveRefusal::NotAnArchive("an entry has two names".to_owned())),
        }
        Ok(true)
    }

    fn take_pax(&mut self, bytes: &[u8], local: bool) -> Result<(), ArchiveRefusal> {
        self.pax |= local;
        for record in tar::PaxExtensions::new(bytes) {
            let record = record.map_err(not_an_archive)?;
            let key = record.key_bytes();
            let slot = match key {
                b"path" if local => &mut self.path,
                b"linkpath" if local => &mut self.link,
                // Honest writers need `size` for files above 8 GiB only, which are refused anyway.
                b"path" | b"linkpath" | b"size" => {
                    let key = String::from_utf8_lossy(key).into_owned();
                    return Err(ArchiveRefusal::NotAnArchive(format!("it has an extended header with `{key}`")));
                }
                key if key.starts_with(b"GNU.sparse.") => {
                    return Err(ArchiveRefusal::NotAnArchive("it has a sparse file".to_owned()));
                }
                _ => continue,
            };
            if slot.replace(record.value_bytes().to_vec()).is_some() {
                return Err(ArchiveRefusal::NotAnArchive("an entry has two names".to_owned()));
            }
        }
        Ok(())
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// A path or target as text that is safe to show and to hand to any tool.
fn text(bytes: Vec<u8>) -> Result<String, ArchiveRefusal> {
    let shown = || String::from_utf8_lossy(&bytes).chars().filter(|c| !c.is_control()).take(200).collect::<String>();
    let why = if bytes.is_empty() {
        "it is empty"
    } else if bytes.len() > PATH_BYTES_MAX {
        "it is too long"
    } else if bytes.split(|b| *b == b'/').any(|part| part.len() > PART_BYTES_MAX) {
        "a part of it is too long"
    } else if bytes.iter().any(u8::is_ascii_control) {
        "it has a control character"
    } else if let Ok(text) = std::str::from_utf8(&bytes) {
        return Ok(text.to_owned());
    } else {
        "it is not UTF-8"
    };
    Err(ArchiveRefusal::Name { path: shown(), why })
}

/// After the end of the archive only zeros and then nothing: another reader must not find more entries there.
fn check_end<R: io::BufRead>(mut rest: Bounded<GzDecoder<R>>) -> Result<(), ArchiveRefusal> {
    let mut buffer = [0; 8192];
    loop {
        match rest.read(&mut buffer).map_err(not_an_archive)? {
            0 => break,
            read if buffer[..read].iter().all(|b| *b == 0) => {}
            _ => return Err(ArchiveRefusal::NotAnArchive("there is something after its end".to_owned())),
        }
    }
    match rest.inner.into_inner().fill_buf() {
        Ok([]) => Ok(()),
        _ => Err(ArchiveRefusal::NotAnArchive("there is something after its end".to_owned())),
    }
}

fn not_an_archive(error: io::Error) -> ArchiveRefusal {
    ArchiveRefusal::NotAnArchive(error.to_string())
}

/// A reader that fails, and says so, once more than `left` bytes were read.
struct Bounded<R> {
    inner: R,
    left: u64,
    over: Rc<Cell<bool>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            self.over.set(true);
            io::Error::other("too many bytes")
        })?;
        Ok(read)
    }
}

#[cfg(test)]
#[path = "archive_test.rs"]
mod tests;
