//! Firecracker's own release, fetched at set-up: by version, with its digest, from an address that is configured.

use super::programs::{arch, version_of};
use crate::error::SandboxError;
use crate::program::{self, ProgramError};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where the project publishes its releases.
pub const RELEASE_URL: &str =
    "https://github.com/firecracker-microvm/firecracker/releases/download/v{version}/firecracker-v{version}-{arch}.tgz";
/// Fetched where no other is configured and none is installed. It is one that restores machines with a working vsock device
/// (1.16.0 does not), and the one that this project is run on.
pub const RELEASE_VERSION: &str = "1.17.0";
/// Version, architecture, SHA-256 of the archive, as the project publishes it beside the archive.
const KNOWN: [(&str, &str, &str); 2] = [
    ("1.17.0", "x86_64", "06094a1108ae9e82aa4c23a775aa92758f53f1175d422270d9d6162cb9ade558"),
    ("1.17.0", "aarch64", "e351ebe4f7a16b5873bbd51005d2e6767103cff4d5ebc829df2d3f95a93e2256"),
];
/// A release is 30 MB packed.
const ARCHIVE_BYTES_MAX: &str = "268435456";
const FETCH_TIME_MAX: Duration = Duration::from_secs(600);
/// A server's start waits for it, on a host without the internet too.
const CONNECT_SECONDS: &str = "5";
const UNPACK_TIME_MAX: Duration = Duration::from_secs(60);
/// The archive has one directory with all files in it.
const DEPTH_MAX: u32 = 2;

/// What to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseSource {
    /// `{version}` and `{arch}` are replaced.
    pub url: String,
    /// Such as `1.12.1`.
    pub version: String,
    /// Of the archive, in hexadecimal: the project publishes it beside the archive.
    pub sha256: String,
}

/// The two programs of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub firecracker: PathBuf,
    pub jailer: PathBuf,
}

impl ReleaseSource {
    /// A release whose digest is known here, from where the project publishes it; `None` for another version or architecture.
    pub fn known(version: &str) -> Option<Self> {
        let (_, _, sha256) = KNOWN.iter().find(|(known, on, _)| *known == version && *on == arch())?;
        Some(Self { url: RELEASE_URL.to_owned(), version: version.to_owned(), sha256: (*sha256).to_owned() })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error("`{version}` is no version of Firecracker: write it like `1.12.1`")]
    Version { version: String },
    #[error("cannot fetch Firecracker {version} from `{url}`")]
    Fetch {
        version: String,
        url: String,
        #[source]
        source: ProgramError,
    },
    #[error("what `{url}` answered is not Firecracker {version}: its SHA-256 is {found}, expected {expected}")]
    Digest { version: String, url: String, found: String, expected: String },
    #[error("the archive of Firecracker {version} holds no `{name}`")]
    Content { version: String, name: String },
    #[error("cannot {action} `{path}`")]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("the programs of Firecracker {version} cannot be used")]
    Unusable {
        version: String,
        #[source]
        source: Box<SandboxError>,
    },
}

/// Puts the release into `<dir>/<version>`, or finds it there. Blocking; only one process works at a time, the others wait for it.
///
/// # Errors
/// When it cannot be fetched, or is not what the digest says; nothing is left of it then.
pub fn fetch_release(dir: &Path, source: &ReleaseSource) -> Result<Release, ReleaseError> {
    let version = &source.version;
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b));
    if !plain(version) || version.starts_with('.') {
        return Err(ReleaseError::Version { version: version.clone() });
    }
    let file = |action, path: &Path| {
        let path = path.to_owned();
        move |source| ReleaseError::File { action, path, source }
    };
    std::fs::create_dir_all(dir).map_err(file("make", dir))?;
    let lock = dir.join("lock");
    let held = File::create(&lock).map_err(file("create", &lock))?;
    held.lock().map_err(file("lock", &lock))?;
    let there = dir.join(version);
    let release = Release { firecracker: there.join("firecracker"), jailer: there.join("jailer") };
    if there.exists() {
        return Ok(release);
    }
    let partial = dir.join(".new");
    let _ = std::fs::remove_dir_all(&partial);
    std::fs::create_dir(&partial).map_err(file("make", &partial))?;
    let made = make(&partial, source).and_then(|made| std::fs::rename(made, &there).map_err(file("rename", &there)));
    let _ = std::fs::remove_dir_all(&partial);
    made.map(|()| release)
}

/// The directory to be kept, in `partial`.
fn make(partial: &Path, source: &ReleaseSource) -> Result<PathBuf, ReleaseError> {
    let archive = partial.join("archive.tgz");
    download(&archive, source)?;
    let unpacked = partial.join("unpacked");
    let kept = partial.join("kept");
    for dir in [&unpacked, &kept] {
        std::fs::create_dir(dir).map_err(|error| ReleaseError::File {
            action: "make",
            path: dir.clone(),
            source: error,
        })?;
    }
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--gzip", "--no-same-owner", "--file"]).arg(&archive).arg("--directory").arg(&unpacked);
    program::run_within(&mut tar, "", UNPACK_TIME_MAX)?;
    let version = &source.version;
    for name in ["firecracker", "jailer"] {
        let published = format!("{name}-v{version}-{}", arch());
        let found = find(&unpacked, &published, DEPTH_MAX)
            .ok_or_else(|| ReleaseError::Content { version: version.clone(), name: published.clone() })?;
        let to = kept.join(name);
        std::fs::rename(&found, &to).map_err(|error| ReleaseError::File {
            action: "rename",
            path: found,
            source: error,
        })?;
        version_of(&to)
            .map_err(|error| ReleaseError::Unusable { version: version.clone(), source: Box::new(error) })?;
    }
    Ok(kept)
}

fn download(archive: &Path, source: &ReleaseSource) -> Result<(), ReleaseError> {
    let ReleaseSource { version, sha256, .. } = source;
    let url = source.url.replace("{version}", version).replace("{arch}", arch());
    let mut command = Command::new("curl");
    // A site configured by `https` is never followed to an unprotected one.
    let protocols = if url.starts_with("https://") { "=https" } else { "=http,https" };
    command.args(["--fail", "--silent", "--show-error", "--location", "--proto", protocols, "--max-redirs", "5"]);
    command.args(["--connect-timeout", CONNECT_SECONDS, "--retry", "1", "--max-filesize", ARCHIVE_BYTES_MAX]);
    command.arg("--output").arg(archive).args(["--url", &url]);
    program::run_within(&mut command, "", FETCH_TIME_MAX).map_err(|error| ReleaseError::Fetch {
        version: version.clone(),
        url: url.clone(),
        source: error,
    })?;
    let sum = program::run_within(Command::new("sha256sum").arg("--binary").arg(archive), "", UNPACK_TIME_MAX)?;
    let found = sum.split_ascii_whitespace().next().unwrap_or_default();
    match found.eq_ignore_ascii_case(sha256) {
        true => Ok(()),
        false => Err(ReleaseError::Digest {
            version: version.clone(),
            url,
            found: found.to_owned(),
            expected: sha256.clone(),
        }),
    }
}

/// A plain file of that name. Links in an archive lead nowhere.
fn find(dir: &Path, name: &str, depth: u32) -> Option<PathBuf> {
    let entries: Vec<_> = std::fs::read_dir(dir).ok()?.flatten().collect();
    let is =
        |entry: &std::fs::DirEntry| entry.file_name() == name && entry.file_type().is_ok_and(|kind| kind.is_file());
    entries.iter().find(|entry| is(entry)).map(std::fs::DirEntry::path).or_else(|| {
        let dirs = entries.iter().filter(|entry| depth > 1 && entry.file_type().is_ok_and(|kind| kind.is_dir()));
        dirs.filter_map(|entry| find(&entry.path(), name, depth - 1)).next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Serves `body` at one path, for as many requests as it takes, and nothing elsewhere.
    fn serve(path: String, body: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = [0; 4096];
                let length = stream.read(&mut request).unwrap_or(0);
                let found = String::from_utf8_lossy(&request[..length]).starts_with(&format!("GET {path} "));
                let (status, body) = if found { ("200 OK", body.as_slice()) } else { ("404 Not Found", &[][..]) };
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(&[head.as_bytes(), body].concat());
            }
        });
        format!("http://{address}")
    }

    fn archive(version: &str, names: &[&str]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join(format!("release-v{version}-{}", arch()));
        std::fs::create_dir(&inside).unwrap();
        for name in names {
            let path = inside.join(format!("{name}-v{version}-{}", arch()));
            std::fs::write(&path, format!("#!/bin/sh\necho Program v{version}\n")).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let made = dir.path().join("archive.tgz");
        let mut tar = Command::new("tar");
        tar.arg("-czf").arg(&made).arg("-C").arg(dir.path()).arg(inside.file_name().unwrap());
        program::run(&mut tar, "").unwrap();
        std::fs::read(made).unwrap()
    }

    fn sha256(bytes: &[u8]) -> String {
        let sum = program::run_binary(&mut Command::new("sha256sum"), bytes).unwrap();
        String::from_utf8(sum).unwrap().split_ascii_whitespace().next().unwrap().to_owned()
    }

    fn source(version: &str, body: Vec<u8>) -> ReleaseSource {
        let sha256 = sha256(&body);
        let site = serve(format!("/v{version}/firecracker-{}.tgz", arch()), body);
        let url = format!("{site}/v{{version}}/firecracker-{{arch}}.tgz");
        ReleaseSource { url, version: version.to_owned(), sha256 }
    }

    #[test]
    fn the_release_that_is_fetched_unasked_can_be_used() {
        let known = ReleaseSource::known(RELEASE_VERSION).unwrap();
        assert!(known.url.starts_with("https://") && known.sha256.len() == 64, "{known:?}");
        assert_eq!(ReleaseSource::known("1.3.0"), None);
        for (version, _, sha256) in KNOWN {
            assert!(sha256.bytes().all(|b| b.is_ascii_hexdigit()), "{version}");
            assert!(super::super::programs::is_supported(version), "{version}");
        }
    }

    #[test]
    fn a_release_is_fetched_once_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let source = source("1.13.0", archive("1.13.0", &["firecracker", "jailer"]));
        let release = fetch_release(dir.path(), &source).unwrap();
        assert!(release.firecracker.is_file() && release.jailer.is_file());
        let gone = ReleaseSource { url: "http://127.0.0.1:1/".to_owned(), ..source.clone() };
        assert_eq!(fetch_release(dir.path(), &gone).unwrap(), release, "it is there already");
        let other = dir.path().join("other");
        let wrong = ReleaseSource { sha256: sha256(b"something else"), ..source };
        let error = fetch_release(&other, &wrong).unwrap_err();
        assert!(matches!(error, ReleaseError::Digest { .. }), "{error}");
        assert!(!other.join("1.13.0").exists() && !other.join(".new").exists());
    }

    #[test]
    fn what_is_missing_or_too_old_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let fetch = |source: &ReleaseSource| fetch_release(dir.path(), source).unwrap_err();
        let error = fetch(&source("1.13.1", archive("1.13.1", &["firecracker"])));
        assert!(matches!(error, ReleaseError::Content { .. }), "{error}");
        let error = fetch(&source("1.3.0", archive("1.3.0", &["firecracker", "jailer"])));
        assert!(matches!(error, ReleaseError::Unusable { .. }), "{error}");
        let known = source("1.13.2", archive("1.13.2", &["firecracker", "jailer"]));
        let error = fetch(&ReleaseSource { version: "1.13.3".to_owned(), ..known.clone() });
        assert!(matches!(&error, ReleaseError::Fetch { url, .. } if url.contains("/v1.13.3/")), "{error}");
        let error = fetch(&ReleaseSource { version: "../1.13".to_owned(), ..known });
        assert!(matches!(error, ReleaseError::Version { .. }), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "only the lock is left");
    }
}
