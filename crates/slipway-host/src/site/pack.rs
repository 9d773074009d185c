//! Writes the layer of a site: contents by digest, their compressed forms, the manifest.
//!
//! On a few threads of low priority: a deploy that waits is bad, apps of the same machine that wait are worse.

use super::compress::{Effort, Encoding, is_compressible, pays};
use super::{Packed, SiteError, open_file};
use slipway_tree::site::{Listing, Notes};
use slipway_types::site::{FILES_DIRECTORY, MANIFEST_BYTES_MAX, MANIFEST_FILE, SiteFacts, SiteFile, SiteManifest};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// More would not be faster on the disk, and each holds a file and its compressed form in memory.
const THREADS_MAX: usize = 4;
/// Of 19: behind the apps of the machine, without waiting for them all.
const NICE: i32 = 5;
/// Compressing ends after this long, whatever is left: such a site is served, only larger.
const COMPRESS_TIME_MAX: Duration = Duration::from_secs(30);
/// A larger file is copied as it is: it is an archive or a film, and would have to be held in memory.
const COMPRESS_BYTES_MAX: u64 = 16 << 20;

/// One file with the compressed forms that the build made of it, in the order of [`Encoding::ALL`].
#[derive(Debug)]
struct Job<'l> {
    path: &'l str,
    real: &'l Path,
    made: [Option<(&'l str, &'l Path)>; 2],
}

struct Packer<'p> {
    /// Of the contents.
    directory: PathBuf,
    jobs: Vec<Job<'p>>,
    next: AtomicUsize,
    effort: Effort,
    /// Contents that a thread has taken upon itself.
    taken: Mutex<HashSet<String>>,
    until: Instant,
    cancel: &'p CancellationToken,
}

/// What one thread did.
#[derive(Default)]
struct Done {
    /// Digest by published path.
    paths: Vec<(String, String)>,
    contents: Vec<SiteFile>,
    /// Files that time did not suffice to compress.
    late: usize,
    notes: Notes,
}

/// Fills the layer's directory.
pub(super) fn write(directory: &Path, listing: Listing, cancel: &CancellationToken) -> Result<Packed, SiteError> {
    let contents = directory.join(FILES_DIRECTORY);
    std::fs::create_dir(&contents).map_err(SiteError::io("make the directory", &contents))?;
    let packer = Packer {
        directory: contents,
        jobs: jobs(&listing.files),
        next: AtomicUsize::new(0),
        effort: Effort::of_site(listing.bytes),
        taken: Mutex::default(),
        until: Instant::now() + COMPRESS_TIME_MAX,
        cancel,
    };
    let done = packer.run()?;
    let late: usize = done.iter().map(|done| done.late).sum();
    let mut notes = listing.notes;
    if late > 0 {
        notes.add(format!("{late} files are not compressed: it took longer than {} s", COMPRESS_TIME_MAX.as_secs()));
    }
    let mut paths = Vec::new();
    let mut by_digest = HashMap::new();
    for done in done {
        paths.extend(done.paths);
        by_digest.extend(done.contents.into_iter().map(|file| (file.digest.clone(), file)));
        done.notes.into_lines().into_iter().for_each(|line| notes.add(line));
    }
    let files: BTreeMap<String, SiteFile> =
        paths.into_iter().filter_map(|(path, digest)| Some((path, by_digest.get(&digest)?.clone()))).collect();
    let facts = SiteFacts {
        files: files.len() as u64,
        bytes: files.values().map(|file| file.bytes).sum(),
        redirects_text: listing.redirects_text,
        headers_text: listing.headers_text,
    };
    let compressed_bytes = files.values().map(smallest).sum();
    write_manifest(directory, &SiteManifest { fallback: listing.fallback, files })?;
    Ok(Packed { facts, compressed_bytes, notes })
}

fn smallest(file: &SiteFile) -> u64 {
    [file.brotli_bytes, file.gzip_bytes].into_iter().flatten().fold(file.bytes, u64::min)
}

fn write_manifest(directory: &Path, manifest: &SiteManifest) -> Result<(), SiteError> {
    let json = serde_json::to_vec(manifest).map_err(SiteError::Manifest)?;
    // Escapes take up to six times what a path has: more than the edge reads would be a site that nobody can serve.
    if json.len() as u64 > MANIFEST_BYTES_MAX {
        return Err(SiteError::ManifestTooLarge);
    }
    let path = directory.join(MANIFEST_FILE);
    std::fs::write(&path, json).map_err(SiteError::io("write", &path))
}

/// One job per file. A file that looks like the compressed form of another goes with that one.
fn jobs(files: &BTreeMap<String, PathBuf>) -> Vec<Job<'_>> {
    let made = |path: &str, encoding: Encoding| {
        let (path, real) = files.get_key_value(&format!("{path}.{}", encoding.extension()))?;
        is_form(path, files).then_some((path.as_str(), real.as_path()))
    };
    let own = files.iter().filter(|(path, _)| !is_form(path, files));
    own.map(|(path, real)| Job { path, real, made: Encoding::ALL.map(|encoding| made(path, encoding)) }).collect()
}

/// Whether the name is that of a compressed form, with what it would be the form of beside it.
fn is_form(path: &str, files: &BTreeMap<String, PathBuf>) -> bool {
    Encoding::ALL.into_iter().any(|encoding| {
        let of = path.strip_suffix(encoding.extension()).and_then(|path| path.strip_suffix('.'));
        of.is_some_and(|of| is_compressible(of) && files.contains_key(of))
    })
}

impl Packer<'_> {
    fn run(&self) -> Result<Vec<Done>, SiteError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| self.work())).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }

    fn work(&self) -> Result<Done, SiteError> {
        // Of this thread alone. Where it is refused, the work is done as the rest of the server is.
        let _ = rustix::process::setpriority_process(None, NICE);
        let mut done = Done::default();
        while let Some(job) = self.jobs.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if self.cancel.is_cancelled() {
                return Err(SiteError::Canceled);
            }
            self.pack(job, &mut done)?;
        }
        Ok(done)
    }

    fn pack(&self, job: &Job<'_>, done: &mut Done) -> Result<(), SiteError> {
        let Some(content) = read(job.real)? else {
            self.copy(job.path, job.real, done)?;
            return job.made.iter().flatten().try_for_each(|(path, real)| self.pack_as_file(path, real, done));
        };
        let mut forms = [None, None];
        for ((encoding, made), form) in Encoding::ALL.into_iter().zip(&job.made).zip(&mut forms) {
            let Some((path, real)) = made else { continue };
            *form = read(real)?.filter(|form| pays(content.len(), form.len()) && encoding.is_of(form, &content));
            if form.is_none() {
                done.notes.add(format!("`{path}` is no smaller form of `{}`", job.path));
            }
            // Also at its own address: sitemaps name theirs, and apps unpack some themselves.
            self.pack_as_file(path, real, done)?;
        }
        self.keep(job.path, &content, forms, done)
    }

    /// A file that is no compressed form of another.
    fn pack_as_file(&self, path: &str, real: &Path, done: &mut Done) -> Result<(), SiteError> {
        match read(real)? {
            Some(content) => self.keep(path, &content, [None, None], done),
            None => self.copy(path, real, done),
        }
    }

    fn keep(&self, path: &str, content: &[u8], forms: [Option<Vec<u8>>; 2], done: &mut Done) -> Result<(), SiteError> {
        let digest = blake3::hash(content).to_hex().to_string();
        done.paths.push((path.to_owned(), digest.clone()));
        if !self.take(&digest) {
            return Ok(());
        }
        self.store(&digest, content)?;
        let in_time = Instant::now() < self.until;
        let compresses = is_compressible(path);
        done.late += usize::from(compresses && !in_time);
        let mut sizes = [None, None];
        for ((encoding, form), size) in Encoding::ALL.into_iter().zip(forms).zip(&mut sizes) {
            let form =
                form.or_else(|| (compresses && in_time).then(|| encoding.compress(content, self.effort)).flatten());
            let Some(form) = form else { continue };
            self.store(&format!("{digest}.{}", encoding.extension()), &form)?;
            *size = Some(form.len() as u64);
        }
        let [brotli_bytes, gzip_bytes] = sizes;
        done.contents.push(SiteFile { digest, bytes: content.len() as u64, brotli_bytes, gzip_bytes });
        Ok(())
    }

    /// A file that is too large for memory.
    fn copy(&self, path: &str, real: &Path, done: &mut Done) -> Result<(), SiteError> {
        let mut hasher = blake3::Hasher::new();
        let bytes = io::copy(&mut open_file(real)?, &mut hasher).map_err(SiteError::io("read", real))?;
        let digest = hasher.finalize().to_hex().to_string();
        done.paths.push((path.to_owned(), digest.clone()));
        if self.take(&digest) {
            let target = self.directory.join(&digest);
            let mut file = File::create_new(&target).map_err(SiteError::io("make", &target))?;
            io::copy(&mut open_file(real)?, &mut file).map_err(SiteError::io("write", &target))?;
            done.contents.push(SiteFile { digest, bytes, brotli_bytes: None, gzip_bytes: None });
        }
        Ok(())
    }

    /// Whether the content is this thread's to write.
    fn take(&self, digest: &str) -> bool {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.to_owned())
    }

    fn store(&self, name: &str, content: &[u8]) -> Result<(), SiteError> {
        let path = self.directory.join(name);
        let made = File::create_new(&path).and_then(|mut file| file.write_all(content));
        made.map_err(SiteError::io("write", &path))
    }
}

/// None: larger than is held in memory.
fn read(path: &Path) -> Result<Option<Vec<u8>>, SiteError> {
    let file = open_file(path)?;
    let bytes = file.metadata().map_err(SiteError::io("inspect", path))?.len();
    if bytes > COMPRESS_BYTES_MAX {
        return Ok(None);
    }
    let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    file.take(COMPRESS_BYTES_MAX).read_to_end(&mut content).map_err(SiteError::io("read", path))?;
    Ok(Some(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_that_the_edge_would_not_read_is_refused() {
        let directory = tempfile::TempDir::new().unwrap();
        let file = SiteFile { digest: "0".repeat(64), bytes: 1, brotli_bytes: None, gzip_bytes: None };
        let manifest = |bytes: usize| SiteManifest {
            fallback: None,
            files: BTreeMap::from([("\u{1}".repeat(bytes), file.clone())]),
        };
        let written = write_manifest(directory.path(), &manifest(17 << 20));
        assert_eq!(written.unwrap_err().code(), "site-too-large");
        assert!(!directory.path().join(MANIFEST_FILE).exists());
        write_manifest(directory.path(), &manifest(1000)).unwrap();
    }
}
