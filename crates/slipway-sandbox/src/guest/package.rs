//! Debian's kernel for clouds, out of its package: fetched and unpacked by the machine's own tools and configuration, not installed.

use super::{GuestError, KernelFiles};
use crate::program;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A package without content that depends on the newest kernel.
const META_PACKAGE: &str =
    if cfg!(target_arch = "aarch64") { "linux-image-cloud-arm64" } else { "linux-image-cloud-amd64" };
const PREFIX: &str = "linux-image-";
/// About 30 MB, over a slow line.
const FETCH_TIME_MAX: Duration = Duration::from_secs(600);
const UNPACK_TIME_MAX: Duration = Duration::from_secs(120);

/// The newest kernel that is there, or the newest that can be had. Removing the directory brings a newer one.
pub(super) fn ensure(dir: &Path) -> Result<KernelFiles, GuestError> {
    std::fs::create_dir_all(dir).map_err(GuestError::file("make", dir))?;
    if let Some(package) = newest(dir) {
        return files(&dir.join(package));
    }
    let package = newest_package()?;
    let partial = dir.join(".new");
    let _ = std::fs::remove_dir_all(&partial);
    std::fs::create_dir_all(&partial).map_err(GuestError::file("make", &partial))?;
    let failed = |why: String| GuestError::Package { package: package.clone(), why };
    let mut download = Command::new("apt-get");
    download.args(["download", "--quiet", &package]).current_dir(&partial);
    program::run_within(&mut download, "", FETCH_TIME_MAX).map_err(|error| failed(error.to_string()))?;
    let entries = std::fs::read_dir(&partial).map_err(GuestError::file("read", &partial))?;
    let deb = entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "deb"));
    let deb = deb.ok_or_else(|| failed("`apt-get download` left no package".to_owned()))?;
    let unpacked = partial.join("unpacked");
    program::run_within(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&unpacked), "", UNPACK_TIME_MAX)?;
    let there = dir.join(&package);
    std::fs::rename(&unpacked, &there).map_err(GuestError::file("rename", &unpacked))?;
    let _ = std::fs::remove_dir_all(&partial);
    files(&there)
}

fn newest(dir: &Path) -> Option<String> {
    let entries = std::fs::read_dir(dir).ok()?.flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(PREFIX)).max()
}

/// By the package index that the machine has.
fn newest_package() -> Result<String, GuestError> {
    let failed = |why: String| GuestError::Package { package: META_PACKAGE.to_owned(), why };
    let mut show = Command::new("apt-cache");
    let listed = program::run(show.args(["--no-all-versions", "show", META_PACKAGE]), "").map_err(|error| {
        failed(format!("{error}; on a machine without Debian's packages give a kernel and its modules instead"))
    })?;
    let depends = listed.lines().find_map(|line| line.strip_prefix("Depends: ")).unwrap_or_default();
    let names = depends.split(',').filter_map(|part| part.split_ascii_whitespace().next());
    let package = names.into_iter().find(|name| name.starts_with(PREFIX));
    package.map(str::to_owned).ok_or_else(|| failed("`apt-cache show` names no kernel".to_owned()))
}

fn files(package: &Path) -> Result<KernelFiles, GuestError> {
    let only = |dir: PathBuf, prefix: &str| {
        let entries = std::fs::read_dir(&dir).map_err(GuestError::file("read", &dir))?;
        let mut names = entries.flatten().map(|entry| entry.path());
        let found = names.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)));
        found.ok_or_else(|| GuestError::Kernel { path: dir, why: format!("no `{prefix}…` in it") })
    };
    Ok(KernelFiles {
        kernel: only(package.join("boot"), "vmlinuz")?,
        modules: Some(only(package.join("lib/modules"), "")?),
    })
}
