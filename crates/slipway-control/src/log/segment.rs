//! An append-only log of lines in files of bounded size and number.
//!
//! Segment 0 is `<stem>.ndjson`, the next `<stem>.1.ndjson` and so on. When there are too many, the oldest goes; with
//! `keep_head` that is the oldest but segment 0. Readers see whole lines only, in order, and are told of a gap.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// Bytes of one read by a follower; above the longest line, so that a read always makes progress.
pub(crate) const CHUNK_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) segment_bytes: u64,
    /// Segments kept, the head not counted.
    pub(crate) tail_segments: u64,
    pub(crate) keep_head: bool,
}

#[derive(Debug)]
pub(crate) struct SegmentLog {
    dir: PathBuf,
    stem: String,
    shape: Shape,
    writer: Mutex<Writer>,
    /// Rung after each write; the number means nothing.
    grown: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Writer {
    segment: u64,
    bytes: u64,
    file: Option<File>,
}

/// Where a reader is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    segment: u64,
    offset: u64,
}

/// What a read found.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Whole lines; empty: the reader has seen everything there is.
    pub(crate) bytes: Vec<u8>,
    pub(crate) next: Cursor,
    /// Lines between the cursor and these are gone.
    pub(crate) gap: bool,
}

impl SegmentLog {
    pub(crate) fn open(dir: PathBuf, stem: &str, shape: Shape) -> io::Result<Self> {
        let log = Self { dir, stem: stem.to_owned(), shape, writer: Mutex::default(), grown: watch::Sender::new(0) };
        let segment = log.segments()?.last().copied().unwrap_or(0);
        *log.writer.lock().unwrap_or_else(PoisonError::into_inner) = Writer { segment, bytes: 0, file: None };
        Ok(log)
    }

    /// Rung whenever there may be something new.
    pub(crate) fn doorbell(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }

    /// Wakes followers without a new line: something else that they look at has changed.
    pub(crate) fn ring(&self) {
        self.grown.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Appends one line; the newline is added.
    pub(crate) fn append(&self, line: &str) -> io::Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = line.len() as u64 + 1;
        if writer.file.is_none() {
            self.reopen(&mut writer)?;
        }
        if writer.bytes > 0 && writer.bytes + bytes > self.shape.segment_bytes {
            *writer = Writer { segment: writer.segment + 1, bytes: 0, file: None };
            self.drop_oldest(writer.segment)?;
            self.reopen(&mut writer)?;
        }
        let whole = format!("{line}\n");
        if let Some(file) = &mut writer.file {
            file.write_all(whole.as_bytes())?;
        }
        writer.bytes += bytes;
        drop(writer);
        self.ring();
        Ok(())
    }

    /// Lines after `cursor`, at most [`CHUNK_BYTES_MAX`] bytes of them. Blocking, but short.
    pub(crate) fn read(&self, mut cursor: Cursor) -> io::Result<Chunk> {
        let segments = self.segments()?;
        let mut gap = false;
        let at = segments.partition_point(|segment| *segment < cursor.segment);
        for segment in &segments[at..] {
            if *segment != cursor.segment {
                gap |= *segment != cursor.segment + 1 || (cursor == Cursor::default() && *segment != 0);
                cursor = Cursor { segment: *segment, offset: 0 };
            }
            let bytes = match self.read_segment(cursor) {
                // Rotated away since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                bytes => bytes?,
            };
            if !bytes.is_empty() {
                cursor.offset += bytes.len() as u64;
                return Ok(Chunk { bytes, next: cursor, gap });
            }
        }
        Ok(Chunk { bytes: Vec::new(), next: cursor, gap })
    }

    fn read_segment(&self, cursor: Cursor) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.path(cursor.segment))?;
        file.seek(SeekFrom::Start(cursor.offset))?;
        let mut bytes = Vec::new();
        file.take(CHUNK_BYTES_MAX as u64).read_to_end(&mut bytes)?;
        match bytes.iter().rposition(|b| *b == b'\n') {
            Some(end) => bytes.truncate(end + 1),
            // No line is this long: whatever it is, reading on is better than standing still.
            None if bytes.len() == CHUNK_BYTES_MAX => {}
            None => bytes.clear(),
        }
        Ok(bytes)
    }

    /// Removes all files. Followers see the end of what they have read.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        for segment in self.segments()? {
            remove_if_there(&self.path(segment))?;
        }
        *writer = Writer::default();
        drop(writer);
        self.ring();
        match fs::remove_dir(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn reopen(&self, writer: &mut Writer) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(self.path(writer.segment))?;
        writer.bytes = file.metadata()?.len();
        if writer.bytes > 0 {
            // A crash may have cut the last line; the next one must not be glued to it.
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                writer.bytes += 1;
            }
        }
        writer.file = Some(file);
        Ok(())
    }

    fn drop_oldest(&self, newest: u64) -> io::Result<()> {
        for segment in self.segments()? {
            let head = segment == 0 && self.shape.keep_head;
            if !head && segment + self.shape.tail_segments <= newest {
                remove_if_there(&self.path(segment))?;
            }
        }
        Ok(())
    }

    fn path(&self, segment: u64) -> PathBuf {
        match segment {
            0 => self.dir.join(format!("{}.ndjson", self.stem)),
            n => self.dir.join(format!("{}.{n}.ndjson", self.stem)),
        }
    }

    /// Numbers of the segments there are, ascending.
    fn segments(&self) -> io::Result<Vec<u64>> {
        let prefix = format!("{}.", self.stem);
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut numbers = Vec::new();
        for entry in entries {
            numbers.extend(number(&entry?.file_name().to_string_lossy(), &prefix));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// The segment's number in `<stem>.ndjson` or `<stem>.<n>.ndjson`.
fn number(name: &str, prefix: &str) -> Option<u64> {
    match name.strip_prefix(prefix)? {
        "ndjson" => Some(0),
        rest => rest.strip_suffix(".ndjson")?.parse().ok(),
    }
}

fn remove_if_there(path: &std::path::Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Shape = Shape { segment_bytes: 40, tail_segments: 2, keep_head: true };

    fn read_all(log: &SegmentLog, mut cursor: Cursor) -> (String, Cursor) {
        let mut text = String::new();
        loop {
            let chunk = log.read(cursor).unwrap();
            if chunk.bytes.is_empty() {
                return (text, chunk.next);
            }
            if chunk.gap {
                text.push_str("(gap)\n");
            }
            text.push_str(std::str::from_utf8(&chunk.bytes).unwrap());
            cursor = chunk.next;
        }
    }

    #[test]
    fn head_and_tail_are_kept_and_the_gap_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let log = SegmentLog::open(dir.path().to_owned(), "x", SMALL).unwrap();
        for i in 0..20 {
            log.append(&format!("line {i:04} 123456789")).unwrap();
        }
        let (text, _) = read_all(&log, Cursor::default());
        assert!(text.starts_with("line 0000"), "{text}");
        assert!(text.contains("(gap)") && text.ends_with("line 0019 123456789\n"), "{text}");
        assert_eq!(text.lines().filter(|line| *line == "(gap)").count(), 1);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_service_keeps_the_newest_only() {
        let dir = tempfile::tempdir().unwrap();
        let log = SegmentLog::open(dir.path().to_owned(), "x", Shape { keep_head: false, ..SMALL }).unwrap();
        for i in 0..20 {
            log.append(&format!("line {i:04} 123456789")).unwrap();
        }
        let (text, _) = read_all(&log, Cursor::default());
        assert!(text.starts_with("(gap)") && text.ends_with("line 0019 123456789\n"), "{text}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_follower_goes_on_where_it_was_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let log = SegmentLog::open(dir.path().to_owned(), "x", SMALL).unwrap();
        log.append("one").unwrap();
        let (text, cursor) = read_all(&log, Cursor::default());
        assert_eq!(text, "one\n");
        fs::OpenOptions::new().append(true).open(dir.path().join("x.ndjson")).unwrap().write_all(b"cut").unwrap();
        assert_eq!(read_all(&log, cursor).0, "", "half a line is no line yet");
        let log = SegmentLog::open(dir.path().to_owned(), "x", SMALL).unwrap();
        log.append("two").unwrap();
        assert_eq!(read_all(&log, cursor).0, "cut\ntwo\n");
    }
}
