//! What a virtual machine boots: a kernel, and an initramfs that holds the agent and the kernel's modules. Made once per machine,
//! by [`prepare`]; both VMMs boot the same two files.
//!
//! `<dir>/kernel/<package>` is a kernel as its package has it; `<dir>/<key>` is what was made of one kernel and one agent.
//! A directory that exists is complete.

mod cpio;
mod kernel;
mod modules;
mod package;

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Part of the key: a new way to make the files is a new name.
const FORMAT: &str = "2";
/// Of the digest, in the key: enough to tell apart what one machine ever makes.
const KEY_CHARS: usize = 16;

/// Two files that boot together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestImage {
    /// Not compressed: what every VMM takes, and what boots soonest.
    pub kernel: PathBuf,
    pub initramfs: PathBuf,
}

/// Where the kernel comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KernelSource {
    /// Debian's kernel for clouds, by the machine's own `apt`.
    #[default]
    Debian,
    /// A kernel (`bzImage` or `vmlinux`) and its directory below `/lib/modules`.
    Files {
        kernel: PathBuf,
        /// None: the kernel has all that is needed built in.
        modules: Option<PathBuf>,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    #[error("cannot {action} `{path}`")]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}` is no kernel that can be booted: {why}")]
    Kernel { path: PathBuf, why: String },
    #[error("the kernel in `{modules}` lacks the module `{name}`: {hint}")]
    Module { modules: PathBuf, name: String, hint: &'static str },
    #[error("the package `{package}` of the guest's kernel cannot be had: {why}")]
    Package { package: String, why: String },
    #[error(transparent)]
    Program(#[from] crate::program::ProgramError),
}

impl GuestError {
    fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

/// A kernel as it is distributed.
#[derive(Debug, Clone)]
struct KernelFiles {
    kernel: PathBuf,
    modules: Option<PathBuf>,
}

/// Makes the guest's files in `dir`, or finds them there. Blocking: the first time it may fetch a package. Only one process
/// works at a time; the others wait for it.
///
/// # Errors
/// When there is no usable kernel, or the files cannot be written.
pub fn prepare(dir: &Path, source: &KernelSource, agent: &Path) -> Result<GuestImage, GuestError> {
    std::fs::create_dir_all(dir).map_err(GuestError::file("make", dir))?;
    let lock = dir.join("lock");
    let lock = File::create(&lock).map_err(GuestError::file("create", &lock))?;
    lock.lock().map_err(GuestError::file("lock", dir.join("lock")))?;
    let files = match source {
        KernelSource::Debian => package::ensure(&dir.join("kernel"))?,
        KernelSource::Files { kernel, modules } => KernelFiles { kernel: kernel.clone(), modules: modules.clone() },
    };
    let modules = files.modules.as_deref().map_or(Ok(Vec::new()), modules::needed)?;
    let key = key(&files.kernel, &modules, agent)?;
    let made = dir.join(&key);
    if !made.exists() {
        let partial = dir.join(format!(".new-{key}"));
        let _ = std::fs::remove_dir_all(&partial);
        make(&partial, &files.kernel, &modules, agent)?;
        std::fs::rename(&partial, &made).map_err(GuestError::file("rename", &partial))?;
    }
    Ok(GuestImage { kernel: made.join("vmlinux"), initramfs: made.join("initramfs.cpio") })
}

fn key(kernel: &Path, modules: &[PathBuf], agent: &Path) -> Result<String, GuestError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(FORMAT.as_bytes());
    for file in [kernel, agent].into_iter().chain(modules.iter().map(PathBuf::as_path)) {
        let bytes = std::fs::read(file).map_err(GuestError::file("read", file))?;
        hasher.update(blake3::hash(&bytes).as_bytes());
    }
    Ok(hasher.finalize().to_hex().chars().take(KEY_CHARS).collect())
}

fn make(dir: &Path, kernel: &Path, modules: &[PathBuf], agent: &Path) -> Result<(), GuestError> {
    std::fs::create_dir_all(dir).map_err(GuestError::file("make", dir))?;
    write(&dir.join("vmlinux"), &kernel::uncompressed(kernel)?)?;
    let read = |path: &Path| std::fs::read(path).map_err(GuestError::file("read", path));
    let mut archive = cpio::Archive::default();
    for name in ["dev", "modules", "proc", "sys"] {
        archive.directory(name, 0o755);
    }
    // The kernel opens it for the first process, before that could mount anything.
    archive.character_device("dev/console", 0o600, 5, 1);
    // The same process without a console: its streams lead there.
    archive.character_device("dev/null", 0o666, 1, 3);
    archive.file("init", 0o755, &read(agent)?);
    let mut order = String::new();
    for path in modules {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        archive.file(&format!("modules/{name}"), 0o644, &read(path)?);
        order.push_str(&format!("{name}\n"));
    }
    archive.file("modules/order", 0o644, order.as_bytes());
    write(&dir.join("initramfs.cpio"), &archive.finish())
}

/// Readable by all: the user that a machine runs as opens it, and nothing in it is secret.
fn write(path: &Path, bytes: &[u8]) -> Result<(), GuestError> {
    std::fs::write(path, bytes).map_err(GuestError::file("write", path))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(path, mode).map_err(GuestError::file("change the mode of", path))
}
