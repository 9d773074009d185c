//! What the first start of a server makes in its data directory: the master key, the admin's token and the file by
//! which the CLI on the same machine finds both. Later starts read them. All are readable by their owner only.

use crate::seal::{KEY_BYTES, MasterKey};
use slipway_types::Secret;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Random bytes of a token: 256 bits can't be guessed.
const TOKEN_BYTES: usize = 32;
/// Beginning of every token, so that scanners for leaked secrets recognise one.
const TOKEN_PREFIX: &str = "slipway_";

/// Keys and token of a data directory.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    pub token: Secret,
    pub master_key: MasterKey,
}

#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error("could not make directory {path}")]
    Directory { path: PathBuf, source: io::Error },
    #[error("could not read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("could not write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} is not usable: expected {expected}")]
    Damaged { path: PathBuf, expected: &'static str },
    #[error("could not get random bytes: {0}")]
    Random(getrandom::Error),
}

/// Makes or reads keys and token.
///
/// # Errors
/// When a file can't be read or written, or is not what was once written.
pub fn bootstrap(data_dir: &Path) -> Result<Bootstrap, BootstrapError> {
    for directory in [data_dir.to_owned(), data_dir.join("keys"), data_dir.join("uploads"), data_dir.join("logs")] {
        make_directory(&directory)?;
    }
    Ok(Bootstrap { token: token(&data_dir.join("admin-token"))?, master_key: key(&data_dir.join("keys/master.key"))? })
}

/// Writes `client.json`: where the API is and the token for it.
pub(crate) fn write_client(data_dir: &Path, url: &str, token: &Secret) -> Result<(), BootstrapError> {
    let body = serde_json::json!({ "url": url, "token": token.expose() });
    write_private(&data_dir.join("client.json"), format!("{body}\n").as_bytes())
}

fn token(path: &Path) -> Result<Secret, BootstrapError> {
    if let Some(bytes) = read_if_there(path)? {
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        let usable = text.len() >= TOKEN_BYTES && text.bytes().all(|b| b.is_ascii_graphic());
        return match usable {
            true => Ok(Secret::new(text)),
            false => Err(BootstrapError::Damaged { path: path.to_owned(), expected: "one line with a token" }),
        };
    }
    let mut text = TOKEN_PREFIX.to_owned();
    for byte in random::<TOKEN_BYTES>()? {
        let _ = write!(text, "{byte:02x}");
    }
    write_private(path, format!("{text}\n").as_bytes())?;
    Ok(Secret::new(text))
}

fn key(path: &Path) -> Result<MasterKey, BootstrapError> {
    let bytes: [u8; KEY_BYTES] = match read_if_there(path)? {
        Some(bytes) => {
            bytes.try_into().map_err(|_| BootstrapError::Damaged { path: path.to_owned(), expected: "32 bytes" })?
        }
        None => {
            let bytes = random()?;
            write_private(path, &bytes)?;
            bytes
        }
    };
    Ok(MasterKey::new(&bytes))
}

fn random<const N: usize>() -> Result<[u8; N], BootstrapError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(BootstrapError::Random)?;
    Ok(bytes)
}

fn make_directory(path: &Path) -> Result<(), BootstrapError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| BootstrapError::Directory { path: path.to_owned(), source })
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, BootstrapError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(BootstrapError::Read { path: path.to_owned(), source }),
    }
}

/// Whole or not at all: a key that was half written before a power cut would lose every secret.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), BootstrapError> {
    let beside = path.with_extension("new");
    let write = || {
        // Left by a crash, perhaps with another mode; the mode below counts only for a file that is made.
        let _ = fs::remove_file(&beside);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|source| BootstrapError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_second_start_finds_what_the_first_made() {
        let dir = tempfile::tempdir().unwrap();
        let first = bootstrap(dir.path()).unwrap();
        write_client(dir.path(), "http://127.0.0.1:1", &first.token).unwrap();
        assert_eq!(bootstrap(dir.path()).unwrap().token, first.token);
        for file in ["admin-token", "client.json", "keys/master.key"] {
            let mode = fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        assert_eq!(fs::read(dir.path().join("keys/master.key")).unwrap().len(), KEY_BYTES);
    }

    #[test]
    fn a_damaged_key_is_refused_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        bootstrap(dir.path()).unwrap();
        fs::write(dir.path().join("keys/master.key"), b"short").unwrap();
        assert!(matches!(bootstrap(dir.path()), Err(BootstrapError::Damaged { .. })));
    }
}
