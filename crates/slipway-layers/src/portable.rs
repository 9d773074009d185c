//! A layer as a stream of bytes, for a backup: what holds data, and where it stands.
//!
//! ```text
//! magic (8)  image length (8)  number of extents (8)
//! per extent: offset (8)  length (8)  its bytes
//! ```
//! An image is mostly holes: read as a file, 500 MB of a base system would be 4 GB. The boot block is no part of a layer
//! and is written as zeros. Reading trusts nothing: whatever the bytes are, it ends within the bounds of the largest image.

use crate::copy::extents;
use crate::digest::IMAGE_BYTES_MAX;
use crate::error::LayerError;
use crate::image::BOOT_BLOCK_BYTES;
use crate::store::LayerStore;
use slipway_types::LayerRef;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

const MAGIC: &[u8; 8] = b"SLIPEXT1";
const FIELD_BYTES: u64 = 8;
/// Read or written at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// A published layer that is about to be read. It stays readable, also when the layer leaves the store meanwhile.
#[derive(Debug)]
pub struct Portable {
    file: File,
    image_bytes: u64,
    extents: Vec<(u64, u64)>,
}

impl LayerStore {
    /// # Errors
    /// When the layer is not in the hot tier, or cannot be read.
    pub fn portable(&self, layer: &LayerRef) -> Result<Portable, LayerError> {
        let path = self.path(layer);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(LayerError::NoSuchLayer { layer: layer.to_string() });
            }
            opened => opened.map_err(|e| LayerError::io("open the image", &path, e))?,
        };
        let image_bytes = file.metadata().map_err(|e| LayerError::io("measure", &path, e))?.len();
        let extents = extents(&file, image_bytes).map_err(|e| LayerError::io("measure", &path, e.into()))?;
        Ok(Portable { file, image_bytes, extents })
    }
}

impl Portable {
    /// Length of the stream.
    pub fn bytes(&self) -> u64 {
        let extents: u64 = self.extents.iter().map(|(_, length)| 2 * FIELD_BYTES + length).sum();
        3 * FIELD_BYTES + extents
    }

    /// # Errors
    /// When the image cannot be read, or the stream not be written.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(MAGIC)?;
        out.write_all(&self.image_bytes.to_le_bytes())?;
        out.write_all(&(self.extents.len() as u64).to_le_bytes())?;
        let mut buffer = vec![0; BUFFER_BYTES];
        for &(at, length) in &self.extents {
            out.write_all(&at.to_le_bytes())?;
            out.write_all(&length.to_le_bytes())?;
            self.write_extent(at, length, &mut buffer, out)?;
        }
        Ok(())
    }

    fn write_extent(&self, mut at: u64, length: u64, buffer: &mut [u8], out: &mut impl Write) -> io::Result<()> {
        let end = at + length;
        while at < end {
            let wanted = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            self.file.read_exact_at(&mut buffer[..wanted], at)?;
            let boot = usize::try_from(BOOT_BLOCK_BYTES.saturating_sub(at)).unwrap_or(0).min(wanted);
            buffer[..boot].fill(0);
            out.write_all(&buffer[..wanted])?;
            at += wanted as u64;
        }
        Ok(())
    }
}

/// Makes the image of a stream, ready to be published. Fails where `image` exists.
///
/// # Errors
/// When the stream is none of a layer or ends too early, or the image cannot be written.
pub fn unpack(stream: &mut impl Read, image: &Path) -> io::Result<()> {
    let damaged = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("it is no layer: {why}"));
    let mut magic = [0; MAGIC.len()];
    stream.read_exact(&mut magic)?;
    let (image_bytes, count) = (number(stream)?, number(stream)?);
    if &magic != MAGIC || image_bytes > IMAGE_BYTES_MAX {
        return Err(damaged("its beginning is another one's"));
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(image)?;
    file.set_len(image_bytes)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut next = 0;
    for _ in 0..count {
        let (at, length) = (number(stream)?, number(stream)?);
        let end = at.checked_add(length).filter(|end| *end <= image_bytes && at >= next && length > 0);
        next = end.ok_or_else(|| damaged("a part of it lies outside of its image"))?;
        let mut at = at;
        while at < next {
            let wanted = buffer.len().min(usize::try_from(next - at).unwrap_or(usize::MAX));
            stream.read_exact(&mut buffer[..wanted])?;
            file.write_all_at(&buffer[..wanted], at)?;
            at += wanted as u64;
        }
    }
    Ok(())
}

fn number(stream: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; FIELD_BYTES as usize];
    stream.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image;
    use slipway_types::LayerKind;

    #[test]
    fn a_layer_comes_back_as_sparse_as_it_was_and_without_its_boot_block() {
        let dir = tempfile::tempdir().unwrap();
        let store = LayerStore::open(dir.path().join("layers")).unwrap();
        let layer = LayerRef::new(LayerKind::Source, "one");
        store
            .write_layer::<LayerError>(&layer, 64 << 20, |tree| {
                std::fs::write(tree.join("file"), vec![7; 3 << 20]).unwrap();
                Ok(())
            })
            .unwrap();
        let portable = store.portable(&layer).unwrap();
        let mut stream = Vec::new();
        portable.write_to(&mut stream).unwrap();
        assert_eq!(stream.len() as u64, portable.bytes());
        assert!(stream.len() < 8 << 20, "{}", stream.len());

        let back = dir.path().join("back.img");
        unpack(&mut stream.as_slice(), &back).unwrap();
        let (before, after) = (std::fs::read(store.path(&layer)).unwrap(), std::fs::read(&back).unwrap());
        let boot = BOOT_BLOCK_BYTES as usize;
        assert!(before[boot..] == after[boot..] && after[..boot].iter().all(|byte| *byte == 0));
        let other = LayerStore::open(dir.path().join("other")).unwrap();
        assert!(other.publish(&back, &layer).unwrap());
        let mounted = image::mount(&other.path(&layer), &dir.path().join("mount"), image::ReadOnly).unwrap();
        assert_eq!(std::fs::read(mounted.upper().join("file")).unwrap().len(), 3 << 20);
    }

    #[test]
    fn what_is_no_layer_ends_within_its_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let fields = |fields: &[u64]| -> Vec<u8> {
            let numbers = fields.iter().flat_map(|field| field.to_le_bytes());
            MAGIC.iter().copied().chain(numbers).collect()
        };
        for (number, stream) in [
            b"SLIPEXT2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
            fields(&[u64::MAX, 1, 0, 1]),
            fields(&[4096, u64::MAX, 0, 4097]),
            fields(&[4096, 1, u64::MAX, 2]),
            fields(&[4096, 1, 0, 0]),
            fields(&[4096, 1, 0, 4096]),
            fields(&[4096]),
        ]
        .into_iter()
        .enumerate()
        {
            assert!(unpack(&mut stream.as_slice(), &dir.path().join(number.to_string())).is_err(), "{number}");
        }
    }
}
