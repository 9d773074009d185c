//! Writes the file: members in turn, each digested on its way.

use super::member::Member;
use blake3::Hasher;
use std::fs::File;
use std::io::{self, Read, Write};
use zstd::Encoder;

/// The fastest of zstd's ordinary levels: a backup runs beside apps.
const LEVEL: i32 = 1;
/// Of a tar file.
const BLOCK_BYTES: u64 = 512;
const MODE: u32 = 0o600;

pub(super) struct BackupWriter {
    out: Encoder<'static, File>,
    /// In the form of `b3sum`.
    sums: String,
    /// In seconds.
    made_at: u64,
    bytes: u64,
}

impl BackupWriter {
    pub(super) fn new(file: File, made_at: u64) -> io::Result<Self> {
        let mut out = Encoder::new(file, LEVEL)?;
        // Of the whole stream: a damaged file is noticed where it is damaged.
        out.include_checksum(true)?;
        Ok(Self { out, sums: String::new(), made_at, bytes: 0 })
    }

    /// What was written, before it was compressed.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn add_bytes(&mut self, member: &Member, content: &[u8]) -> io::Result<()> {
        self.add(member, content.len() as u64, |out| out.write_all(content))
    }

    /// A file that may grow meanwhile: what it had when it was opened.
    pub(super) fn add_file(&mut self, member: &Member, file: &File) -> io::Result<()> {
        let bytes = file.metadata()?.len();
        self.add(member, bytes, |out| io::copy(&mut file.take(bytes), out).map(drop))
    }

    /// `write` writes exactly `bytes`.
    pub(super) fn add(
        &mut self,
        member: &Member,
        bytes: u64,
        write: impl FnOnce(&mut Digesting<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let name = member.name();
        let mut header = tar::Header::new_gnu();
        header.set_path(&name)?;
        header.set_size(bytes);
        header.set_mode(MODE);
        header.set_mtime(self.made_at);
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        let mut digesting = Digesting { out: &mut self.out, hasher: Hasher::new(), bytes: 0 };
        write(&mut digesting)?;
        if digesting.bytes != bytes {
            let why = format!("`{name}` changed while it was read: {} bytes of {bytes}", digesting.bytes);
            return Err(io::Error::other(why));
        }
        if *member != Member::Sums {
            self.sums.push_str(&format!("{}  {name}\n", digesting.hasher.finalize().to_hex()));
        }
        let padding = bytes.next_multiple_of(BLOCK_BYTES) - bytes;
        self.bytes += bytes;
        io::copy(&mut io::repeat(0).take(padding), &mut self.out).map(drop)
    }

    /// Writes the digests and the end. The file is not on the disk yet.
    pub(super) fn finish(mut self) -> io::Result<File> {
        let sums = std::mem::take(&mut self.sums);
        self.add_bytes(&Member::Sums, sums.as_bytes())?;
        io::copy(&mut io::repeat(0).take(2 * BLOCK_BYTES), &mut self.out)?;
        self.out.finish()
    }
}

pub(super) struct Digesting<'a> {
    out: &'a mut Encoder<'static, File>,
    hasher: Hasher,
    bytes: u64,
}

impl Write for Digesting<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.out.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
