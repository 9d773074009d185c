//! The object of one layer, version 1. All numbers are little-endian.
//!
//! ```text
//! header   magic (8)  version (4)  zero (4)
//! frames   independent zstd frames, one after the other, each of the non-zero blocks of one span of the image
//! index    name length (2)  name  image length (8)  layer digest (32)  entries (4)
//!          per entry: span number (4)  map of its blocks (8)  frame length (4)  span digest (32)
//! trailer  index length (4)  version (4)  blake3 of the index (32)  magic (8)
//! ```
//!
//! Frames follow each other without gaps, so an entry's offset is the sum of the lengths before it: nothing can overlap. An index that
//! is accepted is consistent in itself: it is this layer's, its digest is that of its entries, and the object ends where it says.

use crate::digest::{BLOCK_BYTES, Digester, IMAGE_BYTES_MAX, LayerDigest, SPAN_BYTES, span_bytes};
use slipway_types::LayerRef;

const MAGIC: &[u8; 8] = b"SLIPLAYR";
const VERSION: u32 = 1;
pub(crate) const HEADER_BYTES: u64 = 16;
pub(crate) const TRAILER_BYTES: usize = 48;
const ENTRY_BYTES: usize = 48;
/// Longest name: see `KEY_CHARS_MAX`.
const NAME_BYTES_MAX: usize = 255;
/// Of the longest image, all of it data.
pub(crate) const INDEX_BYTES_MAX: usize =
    NAME_BYTES_MAX + 46 + (IMAGE_BYTES_MAX / SPAN_BYTES as u64) as usize * ENTRY_BYTES;
/// What zstd makes at most of a span that does not compress (`ZSTD_COMPRESSBOUND`).
pub(crate) const FRAME_BYTES_MAX: usize = SPAN_BYTES + SPAN_BYTES / 256 + 64;

/// One frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) number: u32,
    pub(crate) map: u64,
    pub(crate) frame_bytes: u32,
    pub(crate) digest: [u8; 32],
}

/// What an object holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) image_bytes: u64,
    pub(crate) digest: LayerDigest,
    pub(crate) entries: Vec<Entry>,
}

/// Why an object is not a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormatError {
    #[error("it is not a layer, or not all of it is there")]
    NotALayer,
    #[error("its format is of version {0}, which this version of Slipway does not know")]
    UnknownVersion(u32),
    #[error("its index is damaged")]
    Damaged,
    #[error("it is another layer's")]
    OtherLayer,
}

pub(crate) fn header() -> [u8; HEADER_BYTES as usize] {
    let mut header = [0; HEADER_BYTES as usize];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header
}

/// The end of the trailer: how long the index before it is.
pub(crate) struct Trailer {
    pub(crate) index_bytes: usize,
    hash: [u8; 32],
}

impl Trailer {
    /// `tail`: the last bytes of an object of that length.
    pub(crate) fn read(tail: &[u8], object_bytes: u64) -> Result<Self, FormatError> {
        let at = tail.len().checked_sub(TRAILER_BYTES).ok_or(FormatError::NotALayer)?;
        let mut fields = Fields(&tail[at..]);
        let (index_bytes, version) = (fields.u32()? as usize, fields.u32()?);
        let (hash, magic) = (fields.array::<32>()?, fields.array::<8>()?);
        if &magic != MAGIC {
            return Err(FormatError::NotALayer);
        }
        if version != VERSION {
            return Err(FormatError::UnknownVersion(version));
        }
        let fits = (index_bytes + TRAILER_BYTES) as u64 + HEADER_BYTES <= object_bytes;
        if index_bytes > INDEX_BYTES_MAX || !fits {
            return Err(FormatError::Damaged);
        }
        Ok(Self { index_bytes, hash })
    }
}

impl Index {
    /// Index and trailer as they stand at the end of an object.
    pub(crate) fn encode(&self, layer: &LayerRef) -> Vec<u8> {
        let name = layer.to_string();
        let mut out = Vec::with_capacity(name.len() + 46 + self.entries.len() * ENTRY_BYTES + TRAILER_BYTES);
        out.extend_from_slice(&(name.len() as u16).to_le_bytes());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&self.image_bytes.to_le_bytes());
        out.extend_from_slice(self.digest.as_bytes());
        out.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        for entry in &self.entries {
            out.extend_from_slice(&entry.number.to_le_bytes());
            out.extend_from_slice(&entry.map.to_le_bytes());
            out.extend_from_slice(&entry.frame_bytes.to_le_bytes());
            out.extend_from_slice(&entry.digest);
        }
        let (index_bytes, hash) = (out.len() as u32, blake3::hash(&out));
        out.extend_from_slice(&index_bytes.to_le_bytes());
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(hash.as_bytes());
        out.extend_from_slice(MAGIC);
        out
    }

    /// `bytes`: the index alone, of an object of that length.
    pub(crate) fn decode(
        bytes: &[u8],
        trailer: &Trailer,
        layer: &LayerRef,
        object_bytes: u64,
    ) -> Result<Self, FormatError> {
        if *blake3::hash(bytes).as_bytes() != trailer.hash {
            return Err(FormatError::Damaged);
        }
        let mut fields = Fields(bytes);
        let name_bytes = usize::from(fields.u16()?);
        if fields.slice(name_bytes)? != layer.to_string().as_bytes() {
            return Err(FormatError::OtherLayer);
        }
        let image_bytes = fields.u64()?;
        let digest = LayerDigest::from_bytes(fields.array()?);
        let count = fields.u32()? as usize;
        if fields.0.len() != count * ENTRY_BYTES || image_bytes > IMAGE_BYTES_MAX {
            return Err(FormatError::Damaged);
        }
        let entries = (0..count).map(|_| Entry::read(&mut fields)).collect::<Result<Vec<_>, _>>()?;
        let index = Self { image_bytes, digest, entries };
        let frames = index.check()?;
        let expected = HEADER_BYTES + frames + (bytes.len() + TRAILER_BYTES) as u64;
        if expected == object_bytes { Ok(index) } else { Err(FormatError::Damaged) }
    }

    /// Bytes of all frames, if the entries are possible and the digest is theirs.
    fn check(&self) -> Result<u64, FormatError> {
        let mut digester = Digester::new(self.image_bytes);
        let (mut frames, mut next) = (0, 0);
        for entry in &self.entries {
            let blocks = span_bytes(self.image_bytes, entry.number).div_ceil(BLOCK_BYTES) as u32;
            let outside = entry.map.checked_shr(blocks).unwrap_or(0) != 0;
            let length = entry.frame_bytes as usize;
            if entry.number < next || entry.map == 0 || outside || length == 0 || length > FRAME_BYTES_MAX {
                return Err(FormatError::Damaged);
            }
            next = entry.number.checked_add(1).ok_or(FormatError::Damaged)?;
            frames += u64::from(entry.frame_bytes);
            digester.add(entry.number, &entry.digest);
        }
        if digester.finish() == self.digest { Ok(frames) } else { Err(FormatError::Damaged) }
    }

    /// Bytes of the image that are no holes.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.data_bytes(self.image_bytes) as u64).sum()
    }
}

impl Entry {
    fn read(fields: &mut Fields) -> Result<Self, FormatError> {
        Ok(Self { number: fields.u32()?, map: fields.u64()?, frame_bytes: fields.u32()?, digest: fields.array()? })
    }

    /// Offset in the image and length of the blocks that the frame holds.
    pub(crate) fn blocks(&self, image_bytes: u64) -> impl Iterator<Item = (u64, usize)> + use<> {
        let (map, start) = (self.map, u64::from(self.number) * SPAN_BYTES as u64);
        let bytes = span_bytes(image_bytes, self.number);
        (0..bytes.div_ceil(BLOCK_BYTES)).filter(move |block| map & (1 << block) != 0).map(move |block| {
            let at = block * BLOCK_BYTES;
            (start + at as u64, BLOCK_BYTES.min(bytes - at))
        })
    }

    /// What the frame decompresses to.
    pub(crate) fn data_bytes(&self, image_bytes: u64) -> usize {
        self.blocks(image_bytes).map(|(_, bytes)| bytes).sum()
    }
}

/// Reads from the front; the end of the bytes is an error, never a panic.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn slice(&mut self, bytes: usize) -> Result<&'a [u8], FormatError> {
        let (field, rest) = self.0.split_at_checked(bytes).ok_or(FormatError::Damaged)?;
        self.0 = rest;
        Ok(field)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        self.slice(N)?.try_into().map_err(|_| FormatError::Damaged)
    }

    fn u16(&mut self) -> Result<u16, FormatError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, FormatError> {
        self.array().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
#[path = "format/tests.rs"]
mod tests;
