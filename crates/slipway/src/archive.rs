//! A directory as the archive that is uploaded: gzip-compressed tar.
//!
//! Guarantees: the same tree gives the same bytes (sorted, no owners, one fixed modification time, two modes); what
//! `.gitignore` and `.slipwayignore` name is left out, `.git`, `node_modules`, `.venv` and `__pycache__` always; a link that leads out of
//! the directory is refused here already. Memory does not grow with the tree.

mod link;
mod listing;
mod tree;

pub(crate) use tree::Tree;

use tree::{TreeEntry, TreeEntryKind};

use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// 1 January 1980, the oldest instant that every archive format can hold; the true ones would change the digest.
const MODIFIED_AT_SECONDS: u64 = 315_532_800;
/// The archive travels over a local socket more often than not: time counts for more than size.
const COMPRESSION: Compression = Compression::new(3);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    #[error("`{}` is not a directory", .path.display())]
    NotDirectory { path: PathBuf },
    #[error("cannot read the directory")]
    Walk(#[source] ignore::Error),
    #[error("cannot read `{}`", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("`{}` changed while it was read", .path.display())]
    Changed { path: PathBuf },
    #[error("the link `{}` leads to `{}`, which is not in the directory", .path.display(), .target.display())]
    LinkOutside { path: PathBuf, target: PathBuf },
    #[error("there is nothing to upload in `{}`", .path.display())]
    Empty { path: PathBuf },
    #[error("the upload is larger than {bytes_max} bytes, compressed")]
    TooLarge { bytes_max: u64 },
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
}

impl ArchiveError {
    /// What to do about it, if there is something to say.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::LinkOutside { .. } => Some("name the link in .slipwayignore, or put a copy in its place"),
            Self::Empty { .. } => Some("look at .gitignore and .slipwayignore: they name everything"),
            Self::TooLarge { .. } => Some("name what the build does not need in .slipwayignore"),
            Self::Changed { .. } => Some("run the command again once nothing writes to the directory"),
            _ => None,
        }
    }
}

/// Writes the archive of `tree` to `sink`.
///
/// # Errors
/// When a file cannot be read or changes meanwhile, or `sink` refuses, or gets more than `bytes_max`.
pub(crate) fn write(tree: &Tree, sink: impl Write, bytes_max: u64) -> Result<u64, ArchiveError> {
    let counted = Counted { sink, bytes: 0, bytes_max, exceeded: false };
    let mut builder = Builder::new(GzEncoder::new(counted, COMPRESSION));
    for entry in &tree.entries {
        if let Err(error) = append(&mut builder, &tree.root, entry) {
            let exceeded = builder.get_ref().get_ref().exceeded;
            return Err(if exceeded { ArchiveError::TooLarge { bytes_max } } else { error });
        }
    }
    finish(builder, bytes_max)
}

fn finish<W: Write>(builder: Builder<GzEncoder<Counted<W>>>, bytes_max: u64) -> Result<u64, ArchiveError> {
    let mut encoder = builder.into_inner().map_err(ArchiveError::Write)?;
    let finished = encoder.try_finish();
    let counted = encoder.get_ref();
    match finished {
        Ok(()) => Ok(counted.bytes),
        Err(_) if counted.exceeded => Err(ArchiveError::TooLarge { bytes_max }),
        Err(error) => Err(ArchiveError::Write(error)),
    }
}

fn append<W: Write>(builder: &mut Builder<W>, root: &Path, entry: &TreeEntry) -> Result<(), ArchiveError> {
    let mut header = Header::new_gnu();
    header.set_mtime(MODIFIED_AT_SECONDS);
    header.set_uid(0);
    header.set_gid(0);
    match &entry.kind {
        TreeEntryKind::Directory => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            builder.append_data(&mut header, &entry.path, io::empty()).map_err(ArchiveError::Write)
        }
        TreeEntryKind::Link { target } => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            builder.append_link(&mut header, &entry.path, target).map_err(ArchiveError::Write)
        }
        TreeEntryKind::File { bytes, executable } => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(if *executable { 0o755 } else { 0o644 });
            header.set_size(*bytes);
            append_file(builder, header, &root.join(&entry.path), entry, *bytes)
        }
    }
}

fn append_file<W: Write>(
    builder: &mut Builder<W>,
    mut header: Header,
    path: &Path,
    entry: &TreeEntry,
    bytes: u64,
) -> Result<(), ArchiveError> {
    let file = File::open(path).map_err(|source| ArchiveError::Read { path: path.to_owned(), source })?;
    // The header with the size goes first: exactly as many bytes must follow, or the archive is broken.
    let mut limited = Exactly { file: file.take(bytes), missing: bytes };
    let written = builder.append_data(&mut header, &entry.path, &mut limited).map_err(ArchiveError::Write);
    if limited.missing > 0 && written.is_ok() {
        return Err(ArchiveError::Changed { path: path.to_owned() });
    }
    written
}

/// Counts how much of the promised size did not come.
struct Exactly {
    file: io::Take<File>,
    missing: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.missing -= count as u64;
        Ok(count)
    }
}

/// Counts what passes and refuses more than the limit.
struct Counted<W> {
    sink: W,
    bytes: u64,
    bytes_max: u64,
    exceeded: bool,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.bytes + buffer.len() as u64 > self.bytes_max {
            self.exceeded = true;
            return Err(io::Error::other("the archive is too large"));
        }
        let count = self.sink.write(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests;
