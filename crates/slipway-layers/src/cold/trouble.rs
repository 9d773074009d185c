//! What can go wrong with the cold tier, in sentences for a build's log. None of it ends a build.

use crate::cold::format::FormatError;
use crate::error::LayerError;
use std::error::Error;
use std::time::Duration;

/// Longest cause that is shown: a store may answer with a page.
const CAUSE_CHARS_MAX: usize = 200;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ColdTrouble {
    #[error("there is no such object")]
    NoObject,
    #[error("it has no such bucket")]
    NoBucket,
    #[error("it denies access: have the configured credentials the right to read and write there?")]
    Denied,
    #[error("it does not answer within {} s", wait.as_secs_f32())]
    NoAnswer { wait: Duration },
    #[error("it fails ({cause})")]
    Failed { cause: String },
    #[error("it is too slow: {bytes} bytes in {} s", within.as_secs_f32())]
    Slow { bytes: u64, within: Duration },
    #[error("the layer did not come within {} s", wait.as_secs_f32())]
    TooLate { wait: Duration },
    #[error("the copy there cannot be used: {0}")]
    Object(FormatError),
    #[error("the copy there was changed while it was read")]
    Changed,
    #[error("the copy there cannot be used: it ends too early")]
    Truncated,
    #[error("the copy there cannot be used: a part of it is damaged")]
    DamagedFrame,
    #[error("the copy there is another one than the layer that is known here (its digest is wrong)")]
    WrongDigest,
    #[error("its copy is gone")]
    Gone,
    #[error("{}", sentence(.0))]
    Local(LayerError),
    #[error("the hot tier's disk has no room for {bytes} bytes")]
    NoRoom { bytes: u64 },
    #[error("the layer here is not what it was when it was made (its digest has changed)")]
    HotChanged,
    #[error("the server stops")]
    Stopped,
}

impl ColdTrouble {
    /// Whether any other layer would meet the same.
    pub(crate) fn is_of_the_store(&self) -> bool {
        matches!(self, Self::NoBucket | Self::Denied | Self::NoAnswer { .. } | Self::Failed { .. } | Self::Slow { .. })
    }

    /// Whether the object itself is of no use, so that it may be replaced.
    pub(crate) fn is_of_the_object(&self) -> bool {
        match self {
            Self::Truncated | Self::DamagedFrame => true,
            // Another version of Slipway may make good use of it.
            Self::Object(error) => !matches!(error, FormatError::UnknownVersion(_)),
            _ => false,
        }
    }

    pub(crate) fn of_request(error: object_store::Error) -> Self {
        use object_store::Error as E;
        match &error {
            E::NotFound { .. } if error.to_string().contains("NoSuchBucket") => Self::NoBucket,
            E::NotFound { .. } => Self::NoObject,
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => Self::Denied,
            E::Precondition { .. } => Self::Changed,
            // Status 416: the object has no such bytes.
            E::Generic { .. } if error.to_string().contains("InvalidRange") => Self::Truncated,
            _ => Self::Failed { cause: root_cause(&error) },
        }
    }
}

impl From<FormatError> for ColdTrouble {
    fn from(error: FormatError) -> Self {
        Self::Object(error)
    }
}

impl From<LayerError> for ColdTrouble {
    fn from(error: LayerError) -> Self {
        Self::Local(error)
    }
}

fn sentence(error: &LayerError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The innermost cause: those around it repeat it, with addresses and counts of retries. One line.
fn root_cause(error: &object_store::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let text = cause.to_string();
    // Of an error page (XML) only its code.
    let code =
        text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code.to_owned());
    code.unwrap_or(text).split_whitespace().collect::<Vec<_>>().join(" ").chars().take(CAUSE_CHARS_MAX).collect()
}
