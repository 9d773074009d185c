//! The base layer: Debian with build tools, made by mmdebstrap at the first start. One key per suite and package
//! set: a changed configuration makes another layer and leaves the old one to the releases that stand on it.

use crate::config::{BaseConfig, HostConfig};
use crate::process::{LineSink, ProgramError, RunBounds, run_logged};
use crate::tree::{APP_GID, APP_UID};
use crate::{archive, blocking};
use slipway_layers::{LayerError, LayerKey, LayerStore, image};
use slipway_types::agent::Stream;
use slipway_types::{LayerKind, LayerRef};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

/// Rises when what stands in a base layer changes for the same configuration.
const FORMAT: &str = "base 1";
/// mmdebstrap takes 20 to 60 s; a slow mirror gets this.
const MAKE_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Of the image. A base is 600 MB, and the file is sparse.
const BASE_LAYER_BYTES: u64 = 4 << 30;
/// What no build and no app reads.
const EXCLUDED: [&str; 6] = [
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/lintian/*",
    "/var/cache/apt/*.bin",
];
/// What every sandbox finds in the base, with its owner and mode.
const DIRECTORIES: [(&str, u32, u32); 4] =
    [("app", APP_UID, 0o755), ("home/app", APP_UID, 0o755), ("opt/slipway", 0, 0o755), ("run/slipway", 0, 0o755)];

#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error(
        "the program `mmdebstrap` is not installed, and the base system is made with it; `apt-get install mmdebstrap` brings it"
    )]
    NoMmdebstrap,
    #[error("mmdebstrap failed: {}", last_words(tail))]
    Mmdebstrap { tail: Vec<String> },
    #[error("cannot make the base system: {0}")]
    Program(String),
    #[error("cannot write `{}`", path.display())]
    Disk {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Layer(#[from] LayerError),
}

fn last_words(tail: &[String]) -> &str {
    let is_error = |line: &&String| line.starts_with("E:") || line.contains("error");
    tail.iter().rev().find(is_error).or(tail.last()).map_or("it said nothing", String::as_str)
}

impl From<ProgramError> for PrepareError {
    fn from(error: ProgramError) -> Self {
        match error {
            ProgramError::Missing { .. } => PrepareError::NoMmdebstrap,
            ProgramError::Failed { tail, .. } => PrepareError::Mmdebstrap { tail },
            other => PrepareError::Program(other.to_string()),
        }
    }
}

/// Which layer a configuration means.
pub fn base_layer(config: &BaseConfig) -> LayerRef {
    let mut packages = config.packages.clone();
    packages.sort();
    let key = LayerKey::new(FORMAT).part("architecture", std::env::consts::ARCH).part("suite", &config.suite);
    let key = packages.iter().fold(key, |key, package| key.part("package", package));
    // The name tells images apart; the content of one that is replaced in place does not count.
    let image = config.image.as_ref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    key.part("image", image).layer(LayerKind::Base)
}

/// Makes the base layer unless it is there. `progress` gets a line whenever something happens.
///
/// # Errors
/// When mmdebstrap is missing or fails, or the disk does not take the layer. Nothing half-made is left.
pub async fn prepare(config: &HostConfig, progress: impl Fn(&str) + Send + Sync) -> Result<(), PrepareError> {
    let layers_dir = config.layers_dir.clone();
    let store = blocking(move || LayerStore::open(layers_dir)).await?;
    let layer = base_layer(&config.base);
    if store.contains(&layer) {
        return Ok(());
    }
    let directory = config.data_dir.join("scratch").join(".base");
    match tokio::fs::remove_dir_all(&directory).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(disk(&directory)(error)),
        _ => tokio::fs::create_dir_all(&directory).await.map_err(disk(&directory))?,
    }
    let made = make(config, &store, &layer, &directory, &progress).await;
    // A leftover costs disk until the next start removes it.
    let _ = tokio::fs::remove_dir_all(&directory).await;
    made
}

async fn make(
    config: &HostConfig,
    store: &LayerStore,
    layer: &LayerRef,
    directory: &Path,
    progress: &(impl Fn(&str) + Send + Sync),
) -> Result<(), PrepareError> {
    let image = directory.join("base.img");
    if let Some(ready) = &config.base.image {
        progress(&format!("taking the base system from `{}`", ready.display()));
        // A hard link where the disk is the same, else a copy.
        let linked = tokio::fs::hard_link(ready, &image).await;
        if linked.is_err() {
            tokio::fs::copy(ready, &image).await.map_err(disk(ready))?;
        }
    } else {
        let archive = directory.join("base.tar");
        progress(&format!("making the base system from Debian packages ({})", config.base.suite));
        debootstrap(&config.base, &archive, progress).await?;
        progress("writing the base layer");
        let (at, image) = (directory.join("mount"), image.clone());
        blocking(move || fill(&archive, &image, &at)).await?;
    }
    let (store, layer) = (store.clone(), layer.clone());
    blocking(move || store.publish(&image, &layer).and_then(|_| store.sync(&layer))).await?;
    progress("the base system is ready");
    Ok(())
}

async fn debootstrap(
    base: &BaseConfig,
    archive: &Path,
    progress: &(impl Fn(&str) + Send + Sync),
) -> Result<(), PrepareError> {
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=minbase", "--format=tar", "--mode=auto"]);
    command.arg(format!("--include={}", base.packages.join(",")));
    for path in EXCLUDED {
        command.arg(format!("--dpkgopt=path-exclude={path}"));
    }
    command.args(["--aptopt=Acquire::Languages \"none\"", "--aptopt=Apt::Install-Recommends \"false\""]);
    command.arg(&base.suite).arg(archive);
    if let Some(mirror) = &base.mirror {
        command.arg(mirror);
    }
    command.env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive");
    let cancel = CancellationToken::new();
    let bounds = RunBounds { timeout: MAKE_TIMEOUT, cancel: &cancel };
    Ok(run_logged(command, bounds, &Progress(Mutex::new(progress))).await?)
}

struct Progress<'p, F>(Mutex<&'p F>);

impl<F: Fn(&str) + Send + Sync> LineSink for Progress<'_, F> {
    async fn line(&self, _: Stream, line: String) {
        let line = line.trim_start_matches("I: ").trim();
        if !line.is_empty() {
            (self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))(line);
        }
    }
}

/// Unpacks the packages' tree into an image and adds what Slipway needs.
fn fill(archive: &Path, image: &Path, at: &Path) -> Result<(), PrepareError> {
    image::create(image, BASE_LAYER_BYTES)?;
    let mounted = image::mount(image, at, image::ReadWrite)?;
    let root = mounted.upper();
    // Packages are trusted: owners, modes, links and capabilities stay as they are.
    let file = std::fs::File::open(archive).map_err(disk(archive))?;
    let mut tar = tar::Archive::new(file);
    tar.set_preserve_ownerships(true);
    tar.set_preserve_permissions(true);
    tar.set_unpack_xattrs(true);
    for entry in tar.entries().map_err(disk(archive))? {
        let mut entry = entry.map_err(disk(archive))?;
        // Devices come from the sandbox's own /dev.
        if !matches!(entry.header().entry_type(), tar::EntryType::Block | tar::EntryType::Char) {
            entry.unpack_in(&root).map_err(disk(&root))?;
        }
    }
    add_user(&root).map_err(disk(&root))?;
    mounted.unmount()?;
    Ok(())
}

fn add_user(root: &Path) -> io::Result<()> {
    let append = |file: &str, line: String| {
        std::fs::OpenOptions::new().append(true).open(root.join(file))?.write_all(line.as_bytes())
    };
    append("etc/passwd", format!("app:x:{APP_UID}:{APP_GID}:app:/home/app:/bin/sh\n"))?;
    append("etc/group", format!("app:x:{APP_GID}:\n"))?;
    append("etc/shadow", "app:!:19700:0:99999:7:::\n".to_owned())?;
    for (path, owner, mode) in DIRECTORIES {
        let path = Path::new(path);
        archive::make_directories(root, path).map_err(io::Error::other)?;
        std::fs::set_permissions(root.join(path), std::fs::Permissions::from_mode(mode))?;
        chown(root.join(path), Some(owner), Some(owner))?;
    }
    Ok(())
}

fn disk(path: &Path) -> impl FnOnce(io::Error) -> PrepareError {
    let path = path.to_owned();
    move |source| PrepareError::Disk { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_follows_suite_and_packages_in_any_order() {
        let config = BaseConfig::default();
        let mut reordered = config.clone();
        reordered.packages.reverse();
        assert_eq!(base_layer(&config), base_layer(&reordered));
        reordered.packages.pop();
        assert_ne!(base_layer(&config), base_layer(&reordered));
        assert_ne!(base_layer(&config), base_layer(&BaseConfig { suite: "trixie".into(), ..config.clone() }));
        // A mirror changes where packages come from, not what they are.
        assert_eq!(base_layer(&config), base_layer(&BaseConfig { mirror: Some("http://m".into()), ..config.clone() }));
    }
}
