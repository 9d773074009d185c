//! An append-only log of lines in files of bounded size.
//!
//! Segment 0 is `<stem>.ndjson`, the next `<stem>.1.ndjson` and so on. When they take too much, one goes ([`room`]). Readers see whole lines only, in order, and are told of a gap. The instant of
//! a segment's first line is its index: a reader who wants what came after an instant opens no older segment.

use super::budget::Budget;
use super::room;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Bytes of one read by a follower; above the longest line, so that a read always makes progress.
pub(crate) const CHUNK_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) segment_bytes: u64,
    /// All segments together.
    pub(crate) bytes_max: u64,
    /// The beginnings of all chapters stay.
    pub(crate) keep_heads: bool,
}

#[derive(Debug)]
pub(crate) struct SegmentLog {
    dir: PathBuf,
    stem: String,
    shape: Shape,
    budget: Arc<Budget>,
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
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// What a read found.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Where the lines begin.
    pub(crate) at: Cursor,
    /// Whole lines; empty: the reader has seen everything there is.
    pub(crate) bytes: Vec<u8>,
    pub(crate) next: Cursor,
    /// Lines between the cursor and these are gone.
    pub(crate) gap: bool,
}

impl SegmentLog {
    pub(crate) fn open(dir: PathBuf, stem: &str, shape: Shape, budget: Arc<Budget>) -> io::Result<Self> {
        let (writer, grown) = (Mutex::default(), watch::Sender::new(0));
        let log = Self { dir, stem: stem.to_owned(), shape, budget, writer, grown };
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
        self.append_all(&[line])
    }

    /// Appends lines, with one write for all of them that a segment takes.
    pub(crate) fn append_all(&self, lines: &[impl AsRef<str>]) -> io::Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut whole = String::new();
        for line in lines.iter().map(AsRef::as_ref) {
            if writer.file.is_none() {
                self.reopen(&mut writer)?;
            }
            let bytes = (whole.len() + line.len()) as u64 + 1;
            if writer.bytes + whole.len() as u64 > 0 && writer.bytes + bytes > self.shape.segment_bytes {
                self.write(&mut writer, &whole)?;
                whole.clear();
                self.begin(&mut writer, |segment| segment + 1)?;
                self.reopen(&mut writer)?;
            }
            whole.push_str(line);
            whole.push('\n');
        }
        self.write(&mut writer, &whole)?;
        drop(writer);
        self.ring();
        Ok(())
    }

    /// What is appended from now on is a chapter of its own.
    pub(crate) fn begin_chapter(&self) -> io::Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if self.bytes_of(writer.segment)?.is_none() {
            return Ok(());
        }
        self.begin(&mut writer, room::next_chapter)
    }

    fn begin(&self, writer: &mut Writer, next: impl Fn(u64) -> u64) -> io::Result<()> {
        *writer = Writer { segment: next(writer.segment), bytes: 0, file: None };
        self.make_room(writer.segment)
    }

    fn write(&self, writer: &mut Writer, text: &str) -> io::Result<()> {
        if let Some(file) = &mut writer.file {
            file.write_all(text.as_bytes())?;
        }
        writer.bytes += text.len() as u64;
        self.budget.written(text.len() as u64);
        Ok(())
    }

    /// Lines after `cursor`, at most [`CHUNK_BYTES_MAX`] bytes of them. Blocking, but short.
    pub(crate) fn read(&self, mut cursor: Cursor) -> io::Result<Chunk> {
        let segments = self.segments()?;
        let mut gap = false;
        let at = segments.partition_point(|segment| *segment < cursor.segment);
        for segment in &segments[at..] {
            if *segment != cursor.segment {
                gap |= !room::follows(cursor.segment, *segment) || (cursor == Cursor::default() && *segment != 0);
                cursor = Cursor { segment: *segment, offset: 0 };
            }
            let bytes = match self.read_segment(cursor) {
                // Rotated away since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                bytes => bytes?,
            };
            if !bytes.is_empty() {
                let next = Cursor { offset: cursor.offset + bytes.len() as u64, ..cursor };
                return Ok(Chunk { at: cursor, bytes, next, gap });
            }
        }
        Ok(Chunk { at: cursor, bytes: Vec::new(), next: cursor, gap })
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

    /// All of a segment; nothing when it was rotated away.
    pub(crate) fn whole_segment(&self, segment: u64) -> io::Result<String> {
        match fs::read(self.path(segment)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            bytes => Ok(String::from_utf8_lossy(&bytes?).into_owned()),
        }
    }

    /// The first line of a segment.
    pub(crate) fn first_line(&self, segment: u64) -> io::Result<Vec<u8>> {
        match self.read_segment(Cursor { segment, offset: 0 }) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            bytes => Ok(bytes?.split(|byte| *byte == b'\n').next().unwrap_or_default().to_vec()),
        }
    }

    /// A place that a reader was told, in a log that may have lost its end to a power cut since: the nearest one that is a line's
    /// beginning.
    pub(crate) fn resume(&self, cursor: Cursor) -> io::Result<Cursor> {
        let Some(bytes) = self.bytes_of(cursor.segment)? else { return Ok(cursor) };
        let mut offset = cursor.offset.min(bytes);
        let mut file = File::open(self.path(cursor.segment))?;
        let mut byte = [b'\n'];
        while offset > 0 {
            file.seek(SeekFrom::Start(offset - 1))?;
            file.read_exact(&mut byte)?;
            if byte == *b"\n" {
                break;
            }
            offset -= 1;
        }
        Ok(Cursor { offset, ..cursor })
    }

    /// Behind the last line that there is.
    pub(crate) fn end(&self) -> io::Result<Cursor> {
        let segment = self.segments()?.last().copied().unwrap_or(0);
        let offset = self.bytes_of(segment)?.unwrap_or(0);
        self.resume(Cursor { segment, offset })
    }

    fn bytes_of(&self, segment: u64) -> io::Result<Option<u64>> {
        match fs::metadata(self.path(segment)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            metadata => Ok(Some(metadata?.len())),
        }
    }

    /// Bytes of all segments, and how many this log may have.
    pub(crate) fn extent(&self) -> io::Result<(u64, u64)> {
        let mut bytes = 0;
        for segment in self.segments()? {
            bytes += self.bytes_of(segment)?.unwrap_or(0);
        }
        Ok((bytes, self.shape.bytes_max))
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

    /// For `coming`, a whole new segment.
    fn make_room(&self, coming: u64) -> io::Result<()> {
        let mut kept = Vec::new();
        for segment in self.segments()? {
            kept.push((segment, self.bytes_of(segment)?.unwrap_or(0)));
        }
        let mut bytes: u64 = kept.iter().map(|(_, bytes)| bytes).sum();
        while bytes + self.shape.segment_bytes > self.shape.bytes_max {
            let Some(index) = room::next_to_go(&kept, coming, self.shape.keep_heads) else { break };
            let (segment, of_segment) = kept.remove(index);
            remove_if_there(&self.path(segment))?;
            bytes -= of_segment;
        }
        Ok(())
    }

    fn path(&self, segment: u64) -> PathBuf {
        match segment {
            0 => self.dir.join(format!("{}.ndjson", self.stem)),
            n => self.dir.join(format!("{}.{}.ndjson", self.stem, room::name(n))),
        }
    }

    /// Numbers of the segments there are, ascending.
    pub(crate) fn segments(&self) -> io::Result<Vec<u64>> {
        segments_in(&self.dir, &self.stem)
    }
}

/// Numbers of the segments in a directory, ascending.
pub(crate) fn segments_in(dir: &Path, stem: &str) -> io::Result<Vec<u64>> {
    let prefix = format!("{stem}.");
    let entries = match fs::read_dir(dir) {
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

/// The segment's number in `<stem>.ndjson` or `<stem>.<n>.ndjson`.
pub(crate) fn number(name: &str, prefix: &str) -> Option<u64> {
    match name.strip_prefix(prefix)? {
        "ndjson" => Some(0),
        rest => room::parse(rest.strip_suffix(".ndjson")?),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Shape = Shape { segment_bytes: 40, bytes_max: 120, keep_heads: true };

    fn open(dir: &Path, shape: Shape) -> SegmentLog {
        SegmentLog::open(dir.to_owned(), "x", shape, Arc::default()).unwrap()
    }

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
        let log = open(dir.path(), SMALL);
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
        let log = open(dir.path(), Shape { bytes_max: 80, keep_heads: false, ..SMALL });
        for i in 0..20 {
            log.append(&format!("line {i:04} 123456789")).unwrap();
        }
        let (text, _) = read_all(&log, Cursor::default());
        assert!(text.starts_with("(gap)") && text.ends_with("line 0019 123456789\n"), "{text}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_flood_in_one_chapter_takes_nothing_of_a_small_one() {
        let dir = tempfile::tempdir().unwrap();
        let shape = Shape { segment_bytes: 40, bytes_max: 400, keep_heads: true };
        let log = open(dir.path(), shape);
        for (chapter, lines) in [3, 100, 2, 100, 1].into_iter().enumerate() {
            log.begin_chapter().unwrap();
            for line in 0..lines {
                log.append(&format!("c{chapter} line {line:04} 1234567")).unwrap();
            }
        }
        // A server that starts anew goes on with the last one.
        let log = open(dir.path(), shape);
        log.append("c4 line 0001 1234567").unwrap();
        let (text, _) = read_all(&log, Cursor::default());
        let of = |chapter: &str| text.lines().filter(|line| line.starts_with(chapter)).collect::<Vec<_>>();
        assert_eq!([of("c0").len(), of("c2").len(), of("c4").len()], [3, 2, 2], "{text}");
        for flood in ["c1", "c3"] {
            let lines = of(flood);
            let ends = [lines[0], lines[lines.len() - 1]].map(|line| line[8..12].to_owned());
            assert_eq!(ends, ["0000", "0099"], "{text}");
        }
        assert_eq!(of("(gap)").len(), 2, "{text}");
        assert!(log.extent().unwrap().0 <= 400);
    }

    #[test]
    fn a_follower_goes_on_where_it_was_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), SMALL);
        log.append("one").unwrap();
        let (text, cursor) = read_all(&log, Cursor::default());
        assert_eq!(text, "one\n");
        fs::OpenOptions::new().append(true).open(dir.path().join("x.ndjson")).unwrap().write_all(b"cut").unwrap();
        assert_eq!(read_all(&log, cursor).0, "", "half a line is no line yet");
        let log = open(dir.path(), SMALL);
        log.append("two").unwrap();
        assert_eq!(read_all(&log, cursor).0, "cut\ntwo\n");
    }

    #[test]
    fn lines_that_are_appended_together_stay_within_the_bounds_too() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), Shape { keep_heads: false, ..SMALL });
        let lines: Vec<_> = (0..50).map(|i| format!("line {i:04} 123456789")).collect();
        log.append_all(&lines).unwrap();
        let (bytes, bytes_max) = log.extent().unwrap();
        assert!(bytes <= bytes_max && bytes > 40, "{bytes}");
        assert!(read_all(&log, Cursor::default()).0.ends_with("line 0049 123456789\n"));
    }

    #[test]
    fn a_place_that_is_no_more_is_the_nearest_line() {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path(), Shape { segment_bytes: 1000, ..SMALL });
        log.append_all(&["one", "two"]).unwrap();
        let at = |offset| log.resume(Cursor { segment: 0, offset }).unwrap().offset;
        assert_eq!([at(0), at(4), at(5), at(8), at(99)], [0, 4, 4, 8, 8]);
        assert_eq!(log.end().unwrap(), Cursor { segment: 0, offset: 8 });
    }
}
