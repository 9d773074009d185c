//! Regular files as a stream, for when the reader does not trust the writer.
//!
//! ```text
//! magic (18 bytes)
//! per file:  'F'  path length (2)  path  content length (8)  content
//! end:       'E'  number of files (8)
//! ```
//!
//! Numbers are little-endian. There is nothing but regular files in it: no link, no device, no owner, no mode. Whoever reads it
//! refuses a path that is not plain, one that came before, and whatever exceeds the bounds, before a byte of it is used.

use std::collections::HashSet;
use std::io::{self, Read, Write};

const MAGIC: &[u8; 18] = b"slipway archive 1\n";
const FILE: u8 = b'F';
const END: u8 = b'E';
/// Of one name in a path, as file systems have it.
const NAME_BYTES_MAX: usize = 255;
/// Of one path: the kernel's bound, with room for the directory that it is unpacked in.
const PATH_BYTES_MAX: usize = 3 * 1024;
const BUFFER_BYTES: usize = 64 * 1024;

/// Writes an archive.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    files: u64,
}

impl<W: Write> Writer<W> {
    /// # Errors
    /// As of the output.
    pub fn begin(mut output: W) -> io::Result<Self> {
        output.write_all(MAGIC)?;
        Ok(Self { output, files: 0 })
    }

    /// Adds a file of that length.
    ///
    /// # Errors
    /// As of input and output, and when the content is shorter. The archive is of no use then.
    pub fn file(&mut self, path: &str, bytes: u64, content: impl Read) -> io::Result<()> {
        let length = u16::try_from(path.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidFilename))?;
        self.output.write_all(&[FILE])?;
        self.output.write_all(&length.to_le_bytes())?;
        self.output.write_all(path.as_bytes())?;
        self.output.write_all(&bytes.to_le_bytes())?;
        if io::copy(&mut content.take(bytes), &mut self.output)? < bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.files += 1;
        Ok(())
    }

    /// # Errors
    /// As of the output.
    pub fn end(mut self) -> io::Result<()> {
        self.output.write_all(&[END])?;
        self.output.write_all(&self.files.to_le_bytes())?;
        self.output.flush()
    }
}

/// What an archive may hold.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub files_max: u64,
    /// Of all contents together.
    pub bytes_max: u64,
    /// Of all paths together.
    pub paths_bytes_max: u64,
    /// Names in one path.
    pub depth_max: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("the archive ends too early")]
    Cut,
    #[error("it is no archive, or not of this version")]
    NoArchive,
    #[error("the archive has `{path}`: {why}")]
    Refused { path: String, why: &'static str },
    #[error("the archive has more than {0} files")]
    TooManyFiles(u64),
    #[error("the files of the archive have more than {} MB", .0 >> 20)]
    TooManyBytes(u64),
    #[error("the paths of the archive have more than {} MB", .0 >> 20)]
    PathsTooLong(u64),
    #[error("something follows the end of the archive")]
    Trailing,
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
}

/// Reads an archive to its end, handing each file to `take`, which may leave content unread.
///
/// # Errors
/// When the archive is not what it should be, or `take` fails.
pub fn read<E: From<ArchiveError>>(
    mut input: impl Read,
    bounds: Bounds,
    mut take: impl FnMut(&str, u64, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    if bytes::<18>(&mut input)? != *MAGIC {
        return Err(ArchiveError::NoArchive.into());
    }
    let mut seen = Seen { bounds, paths: HashSet::new(), bytes_left: bounds.bytes_max, paths_bytes: 0 };
    loop {
        match bytes::<1>(&mut input)? {
            [FILE] => {
                let path = seen.path(&mut input)?;
                let length = seen.length(&mut input)?;
                let mut content = (&mut input).take(length);
                take(&path, length, &mut content)?;
                skip(&mut content)?;
                seen.paths.insert(path);
            }
            [END] if bytes::<8>(&mut input)? == (seen.paths.len() as u64).to_le_bytes() => break,
            [END] => return Err(ArchiveError::Cut.into()),
            _ => return Err(ArchiveError::NoArchive.into()),
        }
    }
    match input.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(ArchiveError::Trailing.into()),
        Err(error) => Err(ArchiveError::Read(error).into()),
    }
}

struct Seen {
    bounds: Bounds,
    paths: HashSet<String>,
    bytes_left: u64,
    paths_bytes: u64,
}

impl Seen {
    fn path(&mut self, input: &mut impl Read) -> Result<String, ArchiveError> {
        if self.paths.len() as u64 >= self.bounds.files_max {
            return Err(ArchiveError::TooManyFiles(self.bounds.files_max));
        }
        let length = usize::from(u16::from_le_bytes(bytes(input)?));
        self.paths_bytes += length as u64;
        if self.paths_bytes > self.bounds.paths_bytes_max {
            return Err(ArchiveError::PathsTooLong(self.bounds.paths_bytes_max));
        }
        let mut path = vec![0; length];
        input.read_exact(&mut path).map_err(cut)?;
        let refused = |path: &[u8], why| Err(ArchiveError::Refused { path: shown(path), why });
        let path = match String::from_utf8(path) {
            Ok(path) => path,
            Err(error) => return refused(error.as_bytes(), "its name is not UTF-8"),
        };
        if let Some(why) = objection(&path, self.bounds.depth_max) {
            return refused(path.as_bytes(), why);
        }
        if self.paths.contains(&path) {
            return refused(path.as_bytes(), "it came before");
        }
        Ok(path)
    }

    fn length(&mut self, input: &mut impl Read) -> Result<u64, ArchiveError> {
        let length = u64::from_le_bytes(bytes(input)?);
        let left = self.bytes_left.checked_sub(length);
        self.bytes_left = left.ok_or(ArchiveError::TooManyBytes(self.bounds.bytes_max))?;
        Ok(length)
    }
}

/// Why a path is not plain and relative.
fn objection(path: &str, depth_max: usize) -> Option<&'static str> {
    if path.len() > PATH_BYTES_MAX {
        return Some("its path is too long");
    }
    let mut depth = 0;
    for name in path.split('/') {
        depth += 1;
        match name {
            "" => return Some("its path is absolute, or a name in it is empty"),
            "." | ".." => return Some("its path has `.` or `..`"),
            name if name.len() > NAME_BYTES_MAX => return Some("a name in its path is too long"),
            name if name.contains('\0') => return Some("its path has a NUL"),
            _ => {}
        }
    }
    (depth > depth_max).then_some("its path is too deep")
}

fn bytes<const N: usize>(input: &mut impl Read) -> Result<[u8; N], ArchiveError> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map_err(cut)?;
    Ok(bytes)
}

fn cut(error: io::Error) -> ArchiveError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ArchiveError::Cut,
        _ => ArchiveError::Read(error),
    }
}

/// Reads what is left of a file's content; all of what was announced must be there.
fn skip(content: &mut io::Take<impl Read>) -> Result<(), ArchiveError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    while content.limit() > 0 {
        match content.read(&mut buffer) {
            Ok(0) => return Err(ArchiveError::Cut),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ArchiveError::Read(error)),
        }
    }
    Ok(())
}

/// For a message: the beginning, without what is no text.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { files_max: 3, bytes_max: 20, paths_bytes_max: 4000, depth_max: 4 };

    fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::begin(&mut out).unwrap();
        for (path, text) in files {
            writer.file(path, text.len() as u64, text.as_bytes()).unwrap();
        }
        writer.end().unwrap();
        out
    }

    fn read_all(archive: &[u8]) -> Result<Vec<(String, String)>, ArchiveError> {
        let mut files = Vec::new();
        read(archive, BOUNDS, |path, _, content| {
            let mut text = String::new();
            content.read_to_string(&mut text).map_err(ArchiveError::Read)?;
            files.push((path.to_owned(), text));
            Ok::<_, ArchiveError>(())
        })?;
        Ok(files)
    }

    #[test]
    fn files_come_as_they_went() {
        let files = [("a", "one"), ("b/c d/é", ""), ("b/x", "two")];
        let read = read_all(&archive(&files)).unwrap();
        let read: Vec<(&str, &str)> = read.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        assert_eq!(read, files);
        // Content that nobody wants is passed over.
        let mut names = Vec::new();
        super::read(archive(&files).as_slice(), BOUNDS, |path, bytes, _| {
            names.push((path.to_owned(), bytes));
            Ok::<_, ArchiveError>(())
        })
        .unwrap();
        assert_eq!(names, [("a".to_owned(), 3), ("b/c d/é".to_owned(), 0), ("b/x".to_owned(), 3)]);
    }

    #[test]
    fn a_cut_archive_is_no_archive_wherever_it_is_cut() {
        let whole = archive(&[("a", "one"), ("b/x", "two")]);
        for length in 0..whole.len() {
            let error = read_all(&whole[..length]).unwrap_err();
            assert!(matches!(error, ArchiveError::Cut), "{length}: {error}");
        }
        let trailing = [whole.as_slice(), b"F"].concat();
        assert!(matches!(read_all(&trailing), Err(ArchiveError::Trailing)));
    }

    #[test]
    fn paths_that_are_not_plain_are_refused() {
        let long = "x".repeat(256);
        let path_too_long = ["x".repeat(250).as_str(); 15].join("/");
        for path in
            ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a/.", "a\0b", &long, "1/2/3/4/5", path_too_long.as_str()]
        {
            let error = read_all(&archive(&[(path, "")])).unwrap_err();
            assert!(matches!(error, ArchiveError::Refused { .. }), "{path:?}: {error}");
        }
        assert!(matches!(read_all(&archive(&[("a", "1"), ("a", "2")])), Err(ArchiveError::Refused { .. })));
        let mut binary = archive(&[("ab", "")]);
        binary[22] = 0xff;
        assert!(matches!(read_all(&binary), Err(ArchiveError::Refused { .. })));
    }

    #[test]
    fn floods_end_at_the_bounds() {
        assert!(matches!(
            read_all(&archive(&[("1", ""), ("2", ""), ("3", ""), ("4", "")])),
            Err(ArchiveError::TooManyFiles(3))
        ));
        assert!(matches!(read_all(&archive(&[("1", &"x".repeat(21))])), Err(ArchiveError::TooManyBytes(20))));
        assert!(matches!(
            read_all(&archive(&[("1", &"x".repeat(11)), ("2", &"x".repeat(10))])),
            Err(ArchiveError::TooManyBytes(20))
        ));
        let long = ["x".repeat(240).as_str(); 12].join("/");
        let deep = Bounds { depth_max: 20, ..BOUNDS };
        let twice = archive(&[(&long, ""), (&long.replace('x', "y"), "")]);
        let error = read(twice.as_slice(), deep, |_, _, _| Ok::<_, ArchiveError>(())).unwrap_err();
        assert!(matches!(error, ArchiveError::PathsTooLong(4000)));
        // A length that is only claimed reserves nothing.
        let mut claimed = archive(&[("a", "")]);
        claimed.truncate(22);
        claimed.extend(u64::MAX.to_le_bytes());
        assert!(matches!(read_all(&claimed), Err(ArchiveError::TooManyBytes(20))));
        // An endless stream of one byte, and one of nothing but files' heads.
        assert!(read(io::repeat(b'F'), BOUNDS, |_, _, _| Ok::<_, ArchiveError>(())).is_err());
        let endless = MAGIC.as_slice().chain(io::repeat(b'F'));
        assert!(read(endless, BOUNDS, |_, _, _| Ok::<_, ArchiveError>(())).is_err());
    }

    #[test]
    fn what_the_taker_refuses_ends_the_reading() {
        let files = archive(&[("a", "1"), ("b", "2")]);
        let mut seen = 0;
        let result = read(files.as_slice(), BOUNDS, |_, _, _| {
            seen += 1;
            Err::<(), _>(ArchiveError::Trailing)
        });
        assert!(matches!(result, Err(ArchiveError::Trailing)));
        assert_eq!(seen, 1);
    }

    #[test]
    fn a_file_that_is_shorter_than_announced_fails_the_writer() {
        let mut writer = Writer::begin(Vec::new()).unwrap();
        assert!(writer.file("a", 4, b"one".as_slice()).is_err());
    }
}
