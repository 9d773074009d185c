//! What can go wrong with an image or the store. Each variant is an operation and what it worked on.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    #[error("could not {action} `{}`", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("`{key}` is not a layer key (lower-case letters, digits, `.` and `-`, at most 128)")]
    InvalidKey { key: String },
    #[error("`mkfs.ext4` is not installed (package `e2fsprogs`)")]
    MkfsMissing,
    #[error("`mkfs.ext4` failed for `{}`: {message}", path.display())]
    Mkfs { path: PathBuf, message: String },
    #[error("no loop device for `{}` (is the `loop` module loaded, and `/dev/loop-control` there?)", path.display())]
    NoLoopDevice { path: PathBuf, source: io::Error },
    #[error("`{}` is not an ext4 image", path.display())]
    NotAnImage { path: PathBuf },
    #[error("image `{}` was not unmounted cleanly, or holds errors", path.display())]
    NotClean { path: PathBuf },
    #[error("`{}` was written in a virtual machine, and only a virtual machine mounts it", path.display())]
    GuestWritten { path: PathBuf },
    #[error("image `{}` is mounted already", path.display())]
    ImageInUse { path: PathBuf },
    #[error("could not mount `{}` at `{}`", path.display(), at.display())]
    Mount { path: PathBuf, at: PathBuf, source: io::Error },
    #[error("could not unmount `{}`", at.display())]
    Unmount { at: PathBuf, source: io::Error },
    #[error("the disk that holds `{}` is full", path.display())]
    DiskFull { path: PathBuf },
    #[error("layer `{layer}` stayed locked by other work for {seconds} s")]
    LockTimeout { layer: String, seconds: u64 },
    #[error("there is no layer `{layer}`")]
    NoSuchLayer { layer: String },
    #[error("`{holder}` is not a name for a holder of pins (lower-case letters, digits, `.` and `-`, at most 128)")]
    InvalidHolder { holder: String },
    #[error("{count} layers are too many to be kept by one holder")]
    TooManyPins { count: usize },
}

impl LayerError {
    /// An error of a file operation; a full disk gets its own variant, because the way out is another one.
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                LayerError::DiskFull { path: path.to_path_buf() }
            }
            _ => LayerError::Io { action, path: path.to_path_buf(), source },
        }
    }
}
