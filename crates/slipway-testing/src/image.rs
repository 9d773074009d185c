//! Bytes of a file-system image, deleted files included.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

const CHUNK_BYTES: usize = 4 << 20;

/// Whether `text` stands anywhere in a file; its holes are passed over.
pub fn contains(path: &Path, text: &str) -> bool {
    let file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let (mut at, overlap) = (0, text.len() as u64);
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Some(data) = seek(&file, at, libc::SEEK_DATA).filter(|data| *data < size) {
        let end = seek(&file, data, libc::SEEK_HOLE).unwrap_or(size);
        let mut from = data;
        while from < end {
            let read = file.read_at(&mut chunk, from).unwrap();
            if read == 0 || chunk[..read].windows(text.len()).any(|window| window == text.as_bytes()) {
                return read != 0;
            }
            from = if (read as u64) > overlap { from + read as u64 - overlap + 1 } else { end };
            if read < CHUNK_BYTES {
                break;
            }
        }
        at = end;
    }
    false
}

fn seek(file: &File, from: u64, whence: i32) -> Option<u64> {
    // SAFETY: lseek takes three integers; the descriptor is `file`'s.
    let at = unsafe { libc::lseek(file.as_raw_fd(), i64::try_from(from).unwrap(), whence) };
    u64::try_from(at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_behind_a_hole_and_across_chunks() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(64 << 20).unwrap();
        assert!(!contains(file.path(), "needle"));
        file.as_file().write_all_at(&vec![b'x'; 2 * CHUNK_BYTES], 16 << 20).unwrap();
        file.as_file().write_all_at(b"needle", (16 << 20) + CHUNK_BYTES as u64 - 3).unwrap();
        assert!(contains(file.path(), "needle"));
        assert!(!contains(file.path(), "needles"));
    }
}
