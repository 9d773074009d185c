//! Why a sandbox could not be made, found or spoken to.

use crate::network::NetworkError;
use crate::program::ProgramError;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("sandbox `{id}` cannot be made: {why}")]
    Spec { id: String, why: String },
    #[error("sandbox `{id}` runs already")]
    Exists { id: String },
    #[error("cannot {action} `{path}`")]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("no OCI runtime was found: neither `crun` nor `runc` is installed")]
    NoRuntime,
    #[error("no `{program}` was found: {hint}")]
    NoMachineProgram { program: &'static str, hint: &'static str },
    #[error("there is no guest kernel or initramfs at `{path}`: prepare the guest first")]
    NoGuest { path: PathBuf },
    #[error("`/dev/kvm` cannot be used: {why}")]
    NoKvm { why: String },
    #[error("`{program}` is version {found}, expected {wanted}")]
    Version { program: PathBuf, found: String, wanted: String },
    #[error("`{program}` is not an executable file")]
    NoProgram { program: PathBuf },
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Layer(#[from] slipway_layers::LayerError),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("cannot start the shim `{program}`")]
    ShimStart {
        program: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// What the shim reported, or that it did not.
    #[error("sandbox `{id}` did not boot: {why}")]
    Boot { id: String, why: String },
    #[error("a command for sandbox `{id}` is {bytes} bytes long: the environment is too large")]
    TaskTooLarge { id: String, bytes: usize },
    #[error("sandbox `{id}` was booted by an older version of Slipway, whose agent knows of no new variables")]
    OldAgent { id: String },
    #[error("sandbox `{id}` is gone")]
    Gone { id: String },
    #[error("sandbox `{id}` did not end within {waited_s} s")]
    StopTimeout { id: String, waited_s: u64 },
    #[error("a background step ended early: {why}")]
    Background { why: String },
}

impl SandboxError {
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
