//! Where the cold tier is, and with whose rights it is used.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest credentials file that is read.
const CREDENTIALS_BYTES_MAX: u64 = 64 * 1024;
/// Requests and compressed frames in flight at once; more would only hold memory.
pub(crate) const CONCURRENCY_MAX: u32 = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColdConfig {
    /// Base URL of any S3-compatible store, buckets as its first path part. `None`: AWS in that region.
    pub endpoint: Option<String>,
    pub bucket: String,
    /// In front of all names, without the slashes around it; may be empty.
    pub prefix: String,
    /// `None`: `us-east-1`, which most stores other than AWS do not look at.
    pub region: Option<String>,
    pub credentials: ColdCredentials,
    /// Requests at once, of all fetches together and of the archiver by itself.
    pub concurrency: u32,
    /// Of all transfers together, both ways. `None`: no bound.
    pub bytes_per_second: Option<u64>,
    /// Whether the endpoint may be `http://`.
    pub allow_http: bool,
    /// PEM certificates that are trusted besides the system's (which `SSL_CERT_FILE` names).
    pub ca_bundle: Option<PathBuf>,
}

#[derive(Clone, PartialEq, Eq)]
pub enum ColdCredentials {
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if there is one, `AWS_SESSION_TOKEN`.
    Environment,
    /// A file in AWS's form (`[default]`, `aws_access_key_id = …`), or lines like those of the environment (`AWS_ACCESS_KEY_ID=…`).
    File(PathBuf),
    Keys {
        access_key_id: String,
        secret_access_key: String,
        session_token: Option<String>,
    },
}

/// Never shows a key.
impl std::fmt::Debug for ColdCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Environment => f.write_str("Environment"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Keys { .. } => f.write_str("Keys(..)"),
        }
    }
}

/// How long things may take. The defaults are for a store that is worth having: where it is slower than these, installing again
/// is quicker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColdBounds {
    /// Until the store accepts a connection.
    pub connect_wait: Duration,
    /// Until it answers a request of a fetch, retries included, and between two pieces of an answer.
    pub answer_wait: Duration,
    /// A whole fetch, waiting for another process's included.
    pub fetch_wait: Duration,
    /// A fetch that brings less than this in each [`ColdBounds::progress_every`] is given up. Half of a configured rate, where that is less.
    pub fetch_bytes_per_second_min: u64,
    pub progress_every: Duration,
    /// For so long after a store failed as a whole nobody asks it again.
    pub trouble_kept: Duration,
    /// One part of an upload, retries included. Nobody waits for it.
    pub part_wait: Duration,
    /// Between two looks of the archiver for what is to be done.
    pub archive_every: Duration,
}

impl Default for ColdBounds {
    fn default() -> Self {
        Self {
            connect_wait: Duration::from_secs(3),
            answer_wait: Duration::from_secs(8),
            fetch_wait: Duration::from_secs(10 * 60),
            fetch_bytes_per_second_min: 1024 * 1024,
            progress_every: Duration::from_secs(5),
            trouble_kept: Duration::from_secs(30),
            part_wait: Duration::from_secs(3 * 60),
            archive_every: Duration::from_secs(10),
        }
    }
}

/// Why there is no cold tier. All of it is found when it is configured, before any request.
#[derive(Debug, thiserror::Error)]
pub enum ColdError {
    #[error("`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` are not both set")]
    NoCredentials,
    #[error("`{}` has no `{key}`", path.display())]
    NoKeyInFile { path: PathBuf, key: &'static str },
    #[error("could not read `{}`", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("`{}` is longer than 64 KiB: is it a credentials file?", path.display())]
    FileTooLong { path: PathBuf },
    #[error("`{endpoint}` is not encrypted; `allow_http` permits that")]
    Unencrypted { endpoint: String },
    #[error("the bucket of the cold tier has no name")]
    NoBucket,
    #[error("the cold tier's settings do not work")]
    Client { source: object_store::Error },
}

/// What requests are signed with.
#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
}

impl ColdCredentials {
    pub(crate) fn keys(&self) -> Result<Keys, ColdError> {
        match self {
            Self::Keys { access_key_id, secret_access_key, session_token } => {
                Ok(Keys { id: access_key_id.clone(), secret: secret_access_key.clone(), token: session_token.clone() })
            }
            Self::Environment => from_environment(|name| std::env::var(name).ok()).ok_or(ColdError::NoCredentials),
            Self::File(path) => from_file(path),
        }
    }
}

fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Option<Keys> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    Some(Keys { id: set("AWS_ACCESS_KEY_ID")?, secret: set("AWS_SECRET_ACCESS_KEY")?, token: set("AWS_SESSION_TOKEN") })
}

fn from_file(path: &Path) -> Result<Keys, ColdError> {
    let failed = |source| ColdError::Read { path: path.to_path_buf(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > CREDENTIALS_BYTES_MAX {
        return Err(ColdError::FileTooLong { path: path.to_path_buf() });
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let missing = |key| ColdError::NoKeyInFile { path: path.to_path_buf(), key };
    Ok(Keys {
        id: value(&text, "aws_access_key_id").ok_or_else(|| missing("aws_access_key_id"))?,
        secret: value(&text, "aws_secret_access_key").ok_or_else(|| missing("aws_secret_access_key"))?,
        token: value(&text, "aws_session_token"),
    })
}

/// The value of a key that stands before any section, or in `[default]`.
fn value(text: &str, key: &str) -> Option<String> {
    let mut counts = true;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            counts = section.trim_end_matches(']').trim() == "default";
        } else if let Some((name, value)) = line.split_once('=')
            && counts
            && name.trim().trim_start_matches("export ").trim().eq_ignore_ascii_case(key)
        {
            let value = value.trim().trim_matches(['"', '\'']);
            return (!value.is_empty()).then(|| value.to_owned());
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn credentials_files_of_both_forms_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        for text in [
            "# mine\n[other]\naws_access_key_id = no\n\n[default]\naws_access_key_id = id\naws_secret_access_key=se=cret\n",
            "AWS_ACCESS_KEY_ID=id\nexport AWS_SECRET_ACCESS_KEY=\"se=cret\"\n",
        ] {
            std::fs::write(&path, text).unwrap();
            let credentials = ColdCredentials::File(path.clone());
            let keys = credentials.keys().unwrap();
            assert_eq!((keys.id.as_str(), keys.secret.as_str(), keys.token), ("id", "se=cret", None));
        }
        std::fs::write(&path, "[other]\naws_access_key_id = id\n").unwrap();
        let refused = ColdCredentials::File(path).keys().err().unwrap();
        assert!(matches!(refused, ColdError::NoKeyInFile { key: "aws_access_key_id", .. }), "{refused}");
    }

    #[test]
    fn a_secret_key_is_never_shown() {
        let secret = "sentinel".to_owned();
        let keys = ColdCredentials::Keys { access_key_id: "id".into(), secret_access_key: secret, session_token: None };
        assert!(!format!("{keys:?}").contains("sentinel"));
    }
}
