//! The archive's reader, for fuzzing, with what must be true of it. Not compiled otherwise.

use crate::archive::{ArchiveError, Bounds, Writer, read};
use std::collections::HashSet;
use std::path::{Component, Path};

const BOUNDS: Bounds = Bounds { files_max: 8, bytes_max: 4096, paths_bytes_max: 1024, depth_max: 4 };

/// Small bounds, so that small inputs meet them. What is read whole is what a writer writes.
pub fn archive(data: &[u8]) {
    let (mut files, mut bytes, mut paths_bytes) = (Vec::new(), 0, 0);
    let mut seen = HashSet::new();
    let whole = read(data, BOUNDS, |path, length, content| {
        let mut text = Vec::new();
        content.read_to_end(&mut text).map_err(ArchiveError::Read)?;
        bytes += text.len() as u64;
        paths_bytes += path.len() as u64;
        assert!(text.len() as u64 <= length && bytes <= BOUNDS.bytes_max && paths_bytes <= BOUNDS.paths_bytes_max);
        assert!(seen.insert(path.to_owned()) && seen.len() as u64 <= BOUNDS.files_max);
        let parts: Vec<Component> = Path::new(path).components().collect();
        assert!(parts.len() <= BOUNDS.depth_max && parts.iter().all(|part| matches!(part, Component::Normal(_))));
        assert_eq!(parts.iter().collect::<std::path::PathBuf>().to_str(), Some(path));
        files.push((path.to_owned(), text));
        Ok::<_, ArchiveError>(())
    });
    if whole.is_ok() {
        let mut again = Vec::new();
        let mut writer = Writer::begin(&mut again).expect("memory");
        for (path, text) in &files {
            writer.file(path, text.len() as u64, text.as_slice()).expect("memory");
        }
        writer.end().expect("memory");
        assert_eq!(again, data);
        // Content that is left unread is passed over to the same end.
        assert!(read(data, BOUNDS, |_, _, _| Ok::<_, ArchiveError>(())).is_ok());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_archive_of_any_bytes_is_refused_or_read_within_bounds() {
        slipway_testing::fuzzing::replay("archive", 5000, super::archive);
    }
}
