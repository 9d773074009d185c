//! The kernel proper out of the file that a distribution boots. A `bzImage` unpacks itself, which takes a translating VMM longer
//! than all the rest of the boot, and Firecracker does not take one.

use super::GuestError;
use crate::program;
use std::path::Path;
use std::process::Command;

const ELF: &[u8] = b"\x7fELF";
/// Of Linux' boot protocol for x86: magic, version, number of real-mode sectors, place and length of the packed kernel.
const HEADER_MAGIC: &[u8] = b"HdrS";
const HEADER_AT: usize = 0x202;
const SECTORS_AT: usize = 0x1f1;
const PAYLOAD_OFFSET_AT: usize = 0x248;
const PAYLOAD_LENGTH_AT: usize = 0x24c;
const SECTOR_BYTES: usize = 512;
/// LZ4's old stream form, which the kernel's build uses.
const LZ4_MAGIC: &[u8] = &[0x02, 0x21, 0x4c, 0x18];
/// A kernel with everything built in has about 100 MiB.
const KERNEL_BYTES_MAX: usize = 512 << 20;

/// By the first bytes, the program that unpacks it from standard input.
const UNPACKERS: [(&[u8], &str); 3] =
    [(&[0x1f, 0x8b], "gzip"), (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"), (&[0x28, 0xb5, 0x2f, 0xfd], "zstd")];

/// An ELF file.
pub(super) fn uncompressed(path: &Path) -> Result<Vec<u8>, GuestError> {
    let bytes = std::fs::read(path).map_err(GuestError::file("read", path))?;
    let refuse = |why: String| GuestError::Kernel { path: path.to_owned(), why };
    if bytes.starts_with(ELF) {
        return Ok(bytes);
    }
    let payload = payload(&bytes).ok_or_else(|| refuse("it is neither an ELF file nor a `bzImage`".to_owned()))?;
    let kernel = if let Some(stream) = payload.strip_prefix(LZ4_MAGIC) {
        lz4(stream).ok_or_else(|| refuse("its LZ4 stream is broken".to_owned()))?
    } else {
        let unpacker = UNPACKERS.iter().find(|(magic, _)| payload.starts_with(magic));
        let (_, program) = unpacker.ok_or_else(|| refuse("its compression is not known".to_owned()))?;
        // What follows the stream is not its matter: programs warn about it, and the result decides.
        program::run_binary(Command::new(program).arg("-dc"), payload)?
    };
    match kernel.starts_with(ELF) {
        true => Ok(kernel),
        false => Err(refuse("what it unpacks to is no ELF file".to_owned())),
    }
}

fn payload(image: &[u8]) -> Option<&[u8]> {
    let number = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    if image.get(HEADER_AT..HEADER_AT + HEADER_MAGIC.len())? != HEADER_MAGIC {
        return None;
    }
    let start = (usize::from(*image.get(SECTORS_AT)?) + 1) * SECTOR_BYTES + number(PAYLOAD_OFFSET_AT)?;
    image.get(start..start.checked_add(number(PAYLOAD_LENGTH_AT)?)?)
}

/// Blocks, each behind its length. The kernel's build puts the unpacked length behind the last one.
fn lz4(mut stream: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let (length, rest) = stream.split_at_checked(4)?;
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        if rest.is_empty() {
            return (length == out.len()).then_some(out);
        }
        let (block, rest) = rest.split_at_checked(length)?;
        lz4_block(block, &mut out)?;
        stream = rest;
    }
}

/// Sequences of literals and copies; a copy may reach into the block's own output, but not before it.
fn lz4_block(mut block: &[u8], out: &mut Vec<u8>) -> Option<()> {
    /// Shorter copies are not encoded.
    const COPY_MIN: usize = 4;
    let start = out.len();
    loop {
        let (token, rest) = block.split_first()?;
        block = rest;
        let literals = length(usize::from(token >> 4), &mut block)?;
        let (text, rest) = block.split_at_checked(literals)?;
        out.extend_from_slice(text);
        block = rest;
        if block.is_empty() {
            return Some(());
        }
        let (offset, rest) = block.split_at_checked(2)?;
        block = rest;
        let offset = usize::from(u16::from_le_bytes(offset.try_into().ok()?));
        let copied = length(usize::from(token & 15), &mut block)? + COPY_MIN;
        let from = out.len().checked_sub(offset).filter(|from| offset > 0 && *from >= start)?;
        if out.len() + copied > KERNEL_BYTES_MAX {
            return None;
        }
        if offset >= copied {
            out.extend_from_within(from..from + copied);
        } else {
            (from..from + copied).for_each(|at| out.push(out[at]));
        }
    }
}

/// Four bits, and more bytes as long as they are full.
fn length(first: usize, block: &mut &[u8]) -> Option<usize> {
    let mut length = first;
    if first == 15 {
        loop {
            let (byte, rest) = block.split_first()?;
            *block = rest;
            length += usize::from(*byte);
            if *byte != u8::MAX {
                break;
            }
        }
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bz_image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 4 * SECTOR_BYTES];
        image[SECTORS_AT] = 1;
        image[HEADER_AT..HEADER_AT + 4].copy_from_slice(HEADER_MAGIC);
        image[PAYLOAD_OFFSET_AT..PAYLOAD_OFFSET_AT + 4].copy_from_slice(&(2 * SECTOR_BYTES as u32).to_le_bytes());
        image[PAYLOAD_LENGTH_AT..PAYLOAD_LENGTH_AT + 4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image.extend_from_slice(payload);
        image
    }

    fn unpack(image: &[u8]) -> Result<Vec<u8>, GuestError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kernel");
        std::fs::write(&path, image).unwrap();
        uncompressed(&path)
    }

    #[test]
    fn lz4_as_the_kernel_s_build_writes_it() {
        // "\x7fELF", ten times "ab" by an overlapping copy, then literals alone.
        let block = [0x6f, 0x7f, b'E', b'L', b'F', b'a', b'b', 2, 0, 0, 0x20, b'.', b'.'];
        let expect = [b"\x7fELF".as_slice(), b"ab".repeat(10).as_slice(), b"a.."].concat();
        let mut payload = LZ4_MAGIC.to_vec();
        payload.extend((block.len() as u32).to_le_bytes());
        payload.extend(block);
        payload.extend((expect.len() as u32).to_le_bytes());
        assert_eq!(
            unpack(&bz_image(&payload)).map(|kernel| String::from_utf8_lossy(&kernel).into_owned()).unwrap(),
            String::from_utf8_lossy(&expect)
        );
        for cut in 1..payload.len() {
            assert!(unpack(&bz_image(&payload[..cut])).is_err(), "{cut}");
        }
    }

    #[test]
    fn other_compressions_and_what_is_no_kernel() {
        let kernel = [ELF, &[7; 5000]].concat();
        for program in ["gzip", "xz"] {
            let packed = program::run_binary(Command::new(program).arg("-c"), &kernel).unwrap();
            assert_eq!(unpack(&bz_image(&packed)).unwrap(), kernel, "{program}");
        }
        assert_eq!(unpack(&kernel).unwrap(), kernel);
        for bad in [&b""[..], b"#!/bin/sh", &[0; 5000], &bz_image(b"no compression"), &bz_image(&kernel)] {
            assert!(matches!(unpack(bad), Err(GuestError::Kernel { .. })));
        }
    }
}
