//! Why a call did not succeed.

use crate::archive::ArchiveError;
use crate::failure::{Exit, Failure};
use http::StatusCode;
use slipway_types::ApiError;
use std::error::Error;
use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("no server found: there is no `{}`", .path.display())]
    NoServer { path: PathBuf },
    #[error("cannot read `{}`", .path.display())]
    ClientFile { path: PathBuf, source: io::Error },
    #[error("`{}` is not a client file", .path.display())]
    ClientFileContent { path: PathBuf, source: serde_json::Error },
    #[error("`{url}` is not an address of a server: expected `http://host:port`")]
    Url { url: String },
    #[error("the token has a character that cannot be in a header")]
    Token,
    #[error("cannot reach the server at `{url}`")]
    Connect { url: String, source: io::Error },
    #[error("the connection to the server at `{url}` broke")]
    Broken { url: String, source: hyper::Error },
    #[error("the server at `{url}` did not answer within {seconds} s")]
    TimedOut { url: String, seconds: u64 },
    #[error("the server at `{url}` does not accept the token")]
    Unauthorized { url: String },
    #[error("the server refused")]
    Refused(#[source] ApiError),
    #[error("the server at `{url}` answered {status}, and not in the way that this client knows")]
    Status { url: String, status: StatusCode },
    #[error("the server at `{url}` answered something that this client does not understand")]
    Answer { url: String, source: serde_json::Error },
    #[error("the server's answer is longer than {bytes_max} bytes")]
    TooLong { bytes_max: usize },
    #[error("cannot write the request")]
    Request(#[source] serde_json::Error),
    #[error("cannot make the upload")]
    Archive(#[from] ArchiveError),
}

impl ClientError {
    /// Whether the same call may well succeed in a moment: the server restarts, or the network hiccups.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Broken { .. } | Self::TimedOut { .. } => true,
            Self::Refused(error) => error.retry,
            _ => false,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoServer { .. } => "start one by `slipway server`, or name it by `--url` and `--token`",
            Self::ClientFile { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run the command as the server's user, or name the server by `--url` and `--token`"
            }
            Self::Connect { .. } => "is it running? start it by `slipway server`; `slipway doctor` checks it",
            Self::Unauthorized { .. } => "give it by `--token` or SLIPWAY_TOKEN; the server keeps it in `admin-token`",
            Self::Archive(error) => return error.hint(),
            Self::Status { .. } | Self::Answer { .. } => "are the client and the server of the same version?",
            _ => return None,
        })
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let hint = error.hint();
        let failure = match error {
            ClientError::Refused(refusal) => Failure::from(refusal),
            ClientError::Archive(error) => Failure::usage(error.to_string()).caused_by_all(error.source()),
            other => {
                let usage = matches!(other, ClientError::Url { .. } | ClientError::Token);
                let exit = if usage { Exit::Usage } else { Exit::Server };
                Failure::new(exit, other.to_string()).caused_by_all(other.source())
            }
        };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
