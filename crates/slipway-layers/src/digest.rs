//! What a layer's bytes are, in 32 bytes.
//!
//! The digest covers the image's length and its non-zero blocks, each with its place. So it does not depend on which of the
//! zeros are holes: a copy that is more or less sparse has the same digest. The boot block counts as zeros. It is a tree (blocks → spans → layer) over fixed
//! boundaries: spans can be computed and checked one by one, in any order, by many threads.

use crate::error::LayerError;
use crate::image::BOOT_BLOCK_BYTES;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A block is left out when all of it is zero.
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;
/// One bit each in a span's map.
const SPAN_BLOCKS: usize = 64;
/// What one worker reads, compresses or checks at a time.
pub(crate) const SPAN_BYTES: usize = BLOCK_BYTES * SPAN_BLOCKS;
/// Longest image that has a digest and a cold copy: a bound for what an index may claim, far above any disk limit of a sandbox.
pub(crate) const IMAGE_BYTES_MAX: u64 = 1 << 40;
/// Part of what is hashed, so that another way to compute it can never give the same digest.
const FORMAT: &[u8] = b"slipway layer digest 1";
static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// In text 64 lower-case hex characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerDigest([u8; 32]);

impl LayerDigest {
    /// Reads the whole image with this thread. Holes are skipped, not read.
    pub fn of_image(path: &Path) -> Result<Self, LayerError> {
        let file = File::open(path).map_err(|e| LayerError::io("open the image", path, e))?;
        let failed = |e| LayerError::io("read", path, e);
        let length = file.metadata().map_err(failed)?.len();
        let mut digester = Digester::new(length);
        let mut buffer = vec![0; SPAN_BYTES];
        for number in data_spans(&file, length).map_err(failed)? {
            if let Some(span) = read_span(&file, length, number, &mut buffer).map_err(failed)? {
                digester.add(number, &span.digest);
            }
        }
        Ok(digester.finish())
    }

    pub fn parse(text: &str) -> Result<Self, DigestError> {
        match blake3::Hash::from_hex(text) {
            Ok(hash) => Ok(Self(*hash.as_bytes())),
            Err(_) => Err(DigestError { text: text.chars().take(80).collect() }),
        }
    }

    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Display for LayerDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl std::fmt::Debug for LayerDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LayerDigest({self})")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a digest: expected 64 characters of 0-9 and a-f")]
pub struct DigestError {
    text: String,
}

impl Serialize for LayerDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LayerDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The layer's digest from those of its spans, which must come in order.
pub(crate) struct Digester(blake3::Hasher);

impl Digester {
    pub(crate) fn new(image_bytes: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(FORMAT).update(&image_bytes.to_le_bytes());
        Self(hasher)
    }

    pub(crate) fn add(&mut self, number: u32, span: &[u8; 32]) {
        self.0.update(&number.to_le_bytes()).update(span);
    }

    pub(crate) fn finish(&self) -> LayerDigest {
        LayerDigest(*self.0.finalize().as_bytes())
    }
}

/// The non-zero blocks of one span.
pub(crate) struct SpanFacts {
    /// Bit `n`: block `n` is not all zero.
    pub(crate) map: u64,
    pub(crate) digest: [u8; 32],
    /// Of those blocks together.
    pub(crate) bytes: usize,
}

/// Bytes of the span that lie within an image of that length.
pub(crate) fn span_bytes(image_bytes: u64, number: u32) -> usize {
    let left = image_bytes.saturating_sub(u64::from(number) * SPAN_BYTES as u64);
    usize::try_from(left).unwrap_or(SPAN_BYTES).min(SPAN_BYTES)
}

/// Numbers of the spans that hold data, in order. The others are holes.
pub(crate) fn data_spans(file: &File, image_bytes: u64) -> std::io::Result<Vec<u32>> {
    if image_bytes > IMAGE_BYTES_MAX {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "the image is too long"));
    }
    let (mut spans, mut at) = (Vec::new(), 0);
    while at < image_bytes {
        match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => at = data,
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        }
        let number = u32::try_from(at / SPAN_BYTES as u64).unwrap_or(u32::MAX);
        spans.push(number);
        at = (u64::from(number) + 1) * SPAN_BYTES as u64;
    }
    Ok(spans)
}

/// Reads one span and moves its non-zero blocks to the front of `buffer` (of [`SPAN_BYTES`]). `None`: all of it is zero.
pub(crate) fn read_span(
    file: &File,
    image_bytes: u64,
    number: u32,
    buffer: &mut [u8],
) -> std::io::Result<Option<SpanFacts>> {
    let bytes = span_bytes(image_bytes, number);
    file.read_exact_at(&mut buffer[..bytes], u64::from(number) * SPAN_BYTES as u64)?;
    if number == 0 {
        // It says who answers for this copy of the image, and is no part of the layer.
        buffer[..bytes.min(BOOT_BLOCK_BYTES as usize)].fill(0);
    }
    let (mut map, mut packed) = (0_u64, 0);
    for (block, start) in (0..bytes).step_by(BLOCK_BYTES).enumerate() {
        let end = (start + BLOCK_BYTES).min(bytes);
        if !is_zero(&buffer[start..end]) {
            map |= 1 << block;
            buffer.copy_within(start..end, packed);
            packed += end - start;
        }
    }
    let digest = span_digest(map, &buffer[..packed]);
    Ok((map != 0).then_some(SpanFacts { map, digest, bytes: packed }))
}

/// Digest of a span from its packed non-zero blocks.
pub(crate) fn span_digest(map: u64, packed: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&map.to_le_bytes());
    for block in packed.chunks(BLOCK_BYTES) {
        hasher.update(blake3::hash(block).as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// By comparison with zeros: that is one `memcmp`, also in a build without optimisation.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(BLOCK_BYTES).all(|part| part == &ZEROS[..part.len()])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn digest_of(path: &Path, length: u64, parts: &[(u64, &[u8])]) -> LayerDigest {
        let file = File::create(path).unwrap();
        file.set_len(length).unwrap();
        for (at, bytes) in parts {
            file.write_all_at(bytes, *at).unwrap();
        }
        LayerDigest::of_image(path).unwrap()
    }

    #[test]
    fn holes_do_not_change_a_digest_and_everything_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let (mib, far) = (1 << 20, 100 << 20);
        let length = far + 12_345;
        let one = digest_of(&path, length, &[(mib, b"data"), (far + 12_340, b"last!")]);
        // The same content, with zeros that are written out.
        let zeros = vec![0; 9 * mib as usize];
        let same = digest_of(
            &path,
            length,
            &[(0, &zeros), (far - 3 * mib, &zeros[..(3 * mib) as usize]), (mib, b"data"), (far + 12_340, b"last!")],
        );
        assert_eq!(one, same);
        // Each host marks its copy.
        let marked = digest_of(&path, length, &[(0, &[7; 1024]), (mib, b"data"), (far + 12_340, b"last!")]);
        assert_eq!(one, marked);
        for (length, parts) in [
            (length, [(1024, b"data".as_slice()), (far + 12_340, b"last!")]),
            (length + 1, [(mib, b"data"), (far + 12_340, b"last!")]),
            (length, [(mib, b"date"), (far + 12_340, b"last!")]),
            (length, [(mib + 1, b"data"), (far + 12_340, b"last!")]),
            (length, [(mib + BLOCK_BYTES as u64, b"data"), (far + 12_340, b"last!")]),
            (length, [(mib, b"data"), (far - SPAN_BYTES as u64 + 12_340, b"last!")]),
        ] {
            assert_ne!(one, digest_of(&path, length, &parts));
        }
        assert_eq!(LayerDigest::parse(&one.to_string()).unwrap(), one);
        assert_eq!(serde_json::from_str::<LayerDigest>(&serde_json::to_string(&one).unwrap()).unwrap(), one);
        assert!(LayerDigest::parse("abc").is_err());
    }
}
