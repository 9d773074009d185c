//! Reads the file: each member in turn, digested on its way, and at the end whether all of them are what was written.

use super::failed;
use super::member::{FORMAT, HEADER_BYTES_MAX, Header, Member, SUMS_BYTES_MAX};
use crate::failure::Failure;
use blake3::Hasher;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use tar::{Archive, EntryType};
use zstd::Decoder;

/// After the last member there are a few blocks of zeros.
const REST_BYTES_MAX: u64 = 1 << 20;

/// Gives each member but the first and the last to `take`, which reads what it needs; then compares all digests.
///
/// # Errors
/// When the file is no backup, of another format or a newer schema, or not what was written, with the member; or `take` fails.
pub(super) fn read(
    path: &Path,
    mut take: impl FnMut(&Member, &mut dyn Read) -> Result<(), Failure>,
) -> Result<Header, Failure> {
    let file = File::open(path).map_err(failed("open the backup", path))?;
    let decoder = Decoder::new(file).map_err(|error| no_backup(path).caused_by(&error))?;
    let mut archive = Archive::new(decoder);
    let mut seen = Seen::default();
    for entry in archive.entries().map_err(|error| no_backup(path).caused_by(&error))? {
        let mut entry = entry.map_err(|error| seen.broken(path, &error))?;
        let bytes = entry.size();
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let member = Member::parse(&name).filter(|_| entry.header().entry_type() == EntryType::Regular);
        let Some(member) = member else { return Err(unknown(path, &name)) };
        let mut digesting = Digesting { input: &mut entry, hasher: Hasher::new(), bytes: 0, trouble: None };
        let taken = match (&seen.header, &member) {
            (None, Member::Header) => header(path, &mut digesting).map(|header| seen.header = Some(header)),
            (None, _) => Err(no_backup(path)),
            (Some(_), Member::Sums) => {
                text(path, &name, &mut digesting, SUMS_BYTES_MAX).map(|sums| seen.sums = Some(sums))
            }
            (Some(_), Member::Header) => Err(unknown(path, &name)),
            (Some(_), _) if seen.sums.is_some() => Err(unknown(path, &name)),
            (Some(_), _) => take(&member, &mut digesting),
        };
        // Who takes it sees an error like any other; that the file is damaged is what it comes from.
        if let Some(error) = digesting.trouble.take() {
            return Err(damaged(path, &format!("in `{name}`"), &error));
        }
        taken?;
        io::copy(&mut digesting, &mut io::sink()).map_err(|error| damaged(path, &format!("in `{name}`"), &error))?;
        if digesting.bytes != bytes {
            return Err(damaged(path, &format!("in `{name}`"), &io::ErrorKind::UnexpectedEof.into()));
        }
        if member != Member::Sums {
            seen.lines.push_str(&format!("{}  {name}\n", digesting.hasher.finalize().to_hex()));
        }
        seen.last = Some(name);
    }
    // The checksum of the whole stream stands at its end.
    let mut rest = BufReader::new(archive.into_inner()).take(REST_BYTES_MAX);
    io::copy(&mut rest, &mut io::sink()).map_err(|error| damaged(path, "at its end", &error))?;
    seen.compare(path)
}

#[derive(Default)]
struct Seen {
    header: Option<Header>,
    sums: Option<String>,
    /// Of the members so far.
    lines: String,
    last: Option<String>,
}

impl Seen {
    fn broken(&self, path: &Path, error: &io::Error) -> Failure {
        match &self.last {
            Some(name) => damaged(path, &format!("after `{name}`"), error),
            None => no_backup(path).caused_by(error),
        }
    }

    fn compare(self, path: &Path) -> Result<Header, Failure> {
        let (Some(header), Some(sums)) = (self.header, self.sums) else {
            let Some(name) = self.last else { return Err(no_backup(path)) };
            return Err(Failure::usage(format!(
                "the backup `{}` is not whole: it ends after `{name}`",
                path.display()
            )));
        };
        if sums == self.lines {
            return Ok(header);
        }
        let differs = self.lines.lines().zip(sums.lines()).find(|(found, told)| found != told);
        let member = differs.and_then(|(found, _)| found.split_once("  ")).map_or("SUMS", |(_, name)| name);
        Err(Failure::usage(format!("the backup `{}` is damaged: `{member}` is not what was written", path.display())))
    }
}

fn header(path: &Path, input: &mut dyn Read) -> Result<Header, Failure> {
    let text = text(path, "backup.json", input, HEADER_BYTES_MAX)?;
    // Of another format nothing else may be known.
    let fields: serde_json::Value = serde_json::from_str(&text).map_err(|error| no_backup(path).caused_by(&error))?;
    let format = fields.get("format").and_then(serde_json::Value::as_u64).ok_or_else(|| no_backup(path))?;
    if format != u64::from(FORMAT) {
        return Err(newer(path, &format!("format {format}"), &format!("format {FORMAT}"), &fields));
    }
    let header: Header = serde_json::from_value(fields.clone()).map_err(|error| no_backup(path).caused_by(&error))?;
    let known = slipway_store::newest_schema();
    if header.schema > known {
        return Err(newer(path, &format!("schema {}", header.schema), &format!("schemas up to {known}"), &fields));
    }
    Ok(header)
}

fn newer(path: &Path, has: &str, knows: &str, fields: &serde_json::Value) -> Failure {
    let version = fields.get("version").and_then(serde_json::Value::as_str).unwrap_or("unknown");
    let message = format!("the backup `{}` has {has}, and this version of Slipway knows {knows}", path.display());
    Failure::usage(message).hint(format!("restore it by the version that made it ({version}), or a newer one"))
}

fn text(path: &Path, name: &str, input: &mut dyn Read, bytes_max: u64) -> Result<String, Failure> {
    let mut text = String::new();
    let read = input.take(bytes_max + 1).read_to_string(&mut text);
    read.map_err(|error| damaged(path, &format!("in `{name}`"), &error))?;
    match text.len() as u64 > bytes_max {
        true => Err(Failure::usage(format!("`{name}` of the backup `{}` is too large to be one", path.display()))),
        false => Ok(text),
    }
}

fn unknown(path: &Path, name: &str) -> Failure {
    let name = crate::output::printable(name);
    Failure::usage(format!(
        "the backup `{}` holds `{name}`, which no backup of this version does there",
        path.display()
    ))
}

fn no_backup(path: &Path) -> Failure {
    Failure::usage(format!("`{}` is no backup of Slipway", path.display()))
}

fn damaged(path: &Path, place: &str, error: &io::Error) -> Failure {
    Failure::usage(format!("the backup `{}` is damaged {place}", path.display())).caused_by(error)
}

/// Tells trouble with the file from trouble with what is made of it.
struct Digesting<'a, R> {
    input: &'a mut R,
    hasher: Hasher,
    bytes: u64,
    trouble: Option<io::Error>,
}

impl<R: Read> Read for Digesting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.input.read(buffer) {
            Ok(read) => {
                self.hasher.update(&buffer[..read]);
                self.bytes += read as u64;
                Ok(read)
            }
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                self.trouble.get_or_insert(error);
                Err(told)
            }
        }
    }
}
