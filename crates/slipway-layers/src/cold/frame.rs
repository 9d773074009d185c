//! One frame: a span of an image, compressed or brought back.

use crate::cold::format::{Entry, FRAME_BYTES_MAX};
use crate::digest::{SPAN_BYTES, SpanFacts, read_span, span_digest};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The level at which zstd is still as fast as a disk.
const LEVEL: i32 = 3;
/// Pieces of a block that are all zero are not written: the file system's own block size.
const HOLE_BYTES: usize = 4096;
static ZEROS: [u8; HOLE_BYTES] = [0; HOLE_BYTES];

/// Why a frame did not become its part of the image.
#[derive(Debug)]
pub(crate) enum FrameError {
    Damaged,
    Write(io::Error),
}

/// Compresses one span. `None`: it is all zero.
pub(crate) fn pack(file: &File, image_bytes: u64, number: u32) -> io::Result<Option<(Entry, Vec<u8>)>> {
    let mut buffer = vec![0; SPAN_BYTES];
    let Some(SpanFacts { map, digest, bytes }) = read_span(file, image_bytes, number, &mut buffer)? else {
        return Ok(None);
    };
    let frame = zstd::bulk::compress(&buffer[..bytes], LEVEL)?;
    debug_assert!(frame.len() <= FRAME_BYTES_MAX, "zstd's bound");
    let frame_bytes = u32::try_from(frame.len()).map_err(io::Error::other)?;
    Ok(Some((Entry { number, map, frame_bytes, digest }, frame)))
}

/// Decompresses one frame, checks it and writes it to its place. `file` is all zero there.
pub(crate) fn unpack(file: &File, image_bytes: u64, entry: &Entry, frame: &[u8]) -> Result<(), FrameError> {
    let expected = entry.data_bytes(image_bytes);
    // Never more than a span, whatever the frame says of itself.
    let data = zstd::bulk::decompress(frame, expected).map_err(|_| FrameError::Damaged)?;
    if data.len() != expected || span_digest(entry.map, &data) != entry.digest {
        return Err(FrameError::Damaged);
    }
    let mut rest = data.as_slice();
    for (at, bytes) in entry.blocks(image_bytes) {
        let (block, others) = rest.split_at(bytes);
        write_sparse(file, at, block).map_err(FrameError::Write)?;
        rest = others;
    }
    Ok(())
}

/// Writes the runs of pieces that are not all zero.
fn write_sparse(file: &File, at: u64, block: &[u8]) -> io::Result<()> {
    let is_hole = |piece: &[u8]| piece == &ZEROS[..piece.len()];
    let mut start = 0;
    while start < block.len() {
        let run = block[start..].chunks(HOLE_BYTES).take_while(|piece| !is_hole(piece)).map(<[u8]>::len).sum::<usize>();
        file.write_all_at(&block[start..start + run], at + start as u64)?;
        // Behind the run stands a hole, or nothing.
        start += run + HOLE_BYTES;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::digest::BLOCK_BYTES;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_span_comes_back_with_its_holes_and_a_damaged_frame_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let length = 2 * SPAN_BYTES as u64 + 4242;
        let file = |name: &str| {
            let file = File::options().read(true).write(true).create_new(true).open(dir.path().join(name)).unwrap();
            file.set_len(length).unwrap();
            file
        };
        let (from, to) = (file("from"), file("to"));
        let parts = [(3, 10), (BLOCK_BYTES - 5, 10_000), (20 * BLOCK_BYTES + 8192, 1), (2 * SPAN_BYTES + 4200, 42)];
        for (at, bytes) in parts {
            from.write_all_at(&vec![7; bytes], at as u64).unwrap();
        }
        assert!(pack(&from, length, 1).unwrap().is_none(), "a hole has no frame");
        for number in [0, 2] {
            let (entry, frame) = pack(&from, length, number).unwrap().unwrap();
            unpack(&to, length, &entry, &frame).unwrap();
            for at in 0..frame.len() {
                let mut broken = frame.clone();
                broken[at] ^= 0x10;
                let scratch = file(&format!("scratch-{number}-{at}"));
                // A bit that says nothing about the content may be accepted, a wrong content never.
                if unpack(&scratch, length, &entry, &broken).is_ok() {
                    let (kept, _) = pack(&scratch, length, number).unwrap().unwrap();
                    assert_eq!(kept.digest, entry.digest, "byte {at}");
                }
            }
            let other = Entry { map: entry.map << 1, ..entry };
            assert!(matches!(unpack(&to, length, &other, &frame), Err(FrameError::Damaged)));
        }
        let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
        assert!(read("from") == read("to"));
        assert!(to.metadata().unwrap().blocks() <= from.metadata().unwrap().blocks(), "holes stay holes");
    }

    #[test]
    fn a_frame_that_unpacks_to_more_than_it_may_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("image")).unwrap();
        let bomb = zstd::bulk::compress(&vec![0; 64 * SPAN_BYTES], 3).unwrap();
        let entry = Entry { number: 0, map: 1, frame_bytes: bomb.len() as u32, digest: [0; 32] };
        assert!(matches!(unpack(&file, SPAN_BYTES as u64, &entry, &bomb), Err(FrameError::Damaged)));
    }
}
