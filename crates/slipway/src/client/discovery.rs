//! How a command finds its server: `--url` and `--token`, else `client.json` in the server's data directory. The
//! server writes that file once it is ready, so its existence is also the notice that scripts wait for.

use super::{Client, ClientError};
use crate::cli::GlobalOptions;
use serde::{Deserialize, Serialize};
use slipway_types::Secret;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) const DATA_DIR_DEFAULT: &str = "/var/lib/slipway";
const CLIENT_FILE_NAME: &str = "client.json";

/// `client.json`, readable by the server's user only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClientFile {
    pub(crate) url: String,
    pub(crate) token: Secret,
}

impl ClientFile {
    pub(crate) fn path(data_dir: &Path) -> PathBuf {
        data_dir.join(CLIENT_FILE_NAME)
    }

    fn read(path: &Path) -> Result<Self, ClientError> {
        let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ClientError::NoServer { path: path.to_owned() },
            _ => ClientError::ClientFile { path: path.to_owned(), source },
        })?;
        serde_json::from_str(&text).map_err(|source| ClientError::ClientFileContent { path: path.to_owned(), source })
    }
}

/// The data directory that the options name, or the default one.
fn data_dir(options: &GlobalOptions) -> PathBuf {
    options.data.clone().unwrap_or_else(|| PathBuf::from(DATA_DIR_DEFAULT))
}

impl Client {
    /// # Errors
    /// When no server is known, or what is known of it is not usable.
    pub(crate) fn discover(options: &GlobalOptions) -> Result<Self, ClientError> {
        let token = options.token.as_deref().map(Secret::new);
        let file = ClientFile::read(&ClientFile::path(&data_dir(options)));
        match (&options.url, file) {
            // The file's token is for the file's server only: never sent to another one.
            (Some(url), Ok(file)) if file.url == url.trim_end_matches('/') => {
                Client::new(url, token.or(Some(file.token)))
            }
            (Some(url), _) => Client::new(url, token),
            (None, file) => {
                let file = file?;
                Client::new(&file.url, token.or(Some(file.token)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(data: &Path, url: Option<&str>, token: Option<&str>) -> GlobalOptions {
        GlobalOptions {
            data: Some(data.to_owned()),
            url: url.map(str::to_owned),
            token: token.map(str::to_owned),
            project: None,
            service: None,
            json: false,
        }
    }

    #[test]
    fn the_file_s_token_goes_to_the_file_s_server_only() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(ClientFile::path(dir.path()), r#"{"url":"http://127.0.0.1:1","token":"t"}"#).unwrap();
        let token = |url, token| {
            let client = Client::discover(&options(dir.path(), url, token)).unwrap();
            client.token.map(|token| token.expose().to_owned())
        };
        assert_eq!(token(None, None).as_deref(), Some("t"));
        assert_eq!(token(Some("http://127.0.0.1:1/"), None).as_deref(), Some("t"));
        assert_eq!(token(Some("http://127.0.0.1:2"), None), None);
        assert_eq!(token(None, Some("mine")).as_deref(), Some("mine"));
    }

    #[test]
    fn no_file_is_no_server() {
        let dir = tempfile::tempdir().unwrap();
        let error = Client::discover(&options(dir.path(), None, None)).unwrap_err();
        assert!(matches!(error, ClientError::NoServer { .. }));
        std::fs::write(ClientFile::path(dir.path()), "{").unwrap();
        let error = Client::discover(&options(dir.path(), None, None)).unwrap_err();
        assert!(matches!(error, ClientError::ClientFileContent { .. }));
    }
}
