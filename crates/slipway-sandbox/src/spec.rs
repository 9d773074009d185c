//! What a sandbox is to be: layers, writable image, cache, limits.

use crate::error::SandboxError;
use serde::{Deserialize, Serialize};
use slipway_types::agent::Tidy;
use slipway_types::id::ID_BYTES_MAX;
use slipway_types::settings::ResourceLimits;
use std::path::{Component, Path, PathBuf};

/// Most layers of one sandbox: base, toolchains, dependencies, source, output, with room.
pub(crate) const LAYERS_MAX: usize = 16;
/// Most directories that a cache is shown at.
pub(crate) const CACHE_TARGETS_MAX: usize = 32;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// `a-z`, `0-9` and `-`; names the directory, the container and its cgroup.
    pub id: String,
    /// Image files, lowest first.
    pub layers: Vec<PathBuf>,
    pub writable: WritableSpec,
    pub cache: Option<CacheSpec>,
    pub limits: ResourceLimits,
    pub hostname: String,
}

/// The image that takes what the sandbox writes. It is made when it does not exist; its size is the disk limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WritableSpec {
    pub image: PathBuf,
    pub bytes: u64,
    /// The image stays when the sandbox is gone, with the written tree under `upper/`.
    pub keep: bool,
    /// What stays of the tree. Done by the kernel that wrote it, when every task is gone.
    #[serde(default)]
    pub tidy: Option<Tidy>,
    /// The image holds the tree of an earlier install, which a virtual machine's agent makes ready to be installed on; the boot
    /// fails where it is of no use. Containers are given an image that the host made ready.
    #[serde(default)]
    pub older_tree: bool,
}

impl WritableSpec {
    /// Thrown away at the end.
    pub fn scratch(image: PathBuf, bytes: u64) -> Self {
        Self { image, bytes, keep: false, tidy: None, older_tree: false }
    }

    /// Kept, as it was written.
    pub fn kept(image: PathBuf, bytes: u64) -> Self {
        Self { keep: true, ..Self::scratch(image, bytes) }
    }
}

/// An image that outlives the sandbox, shown at some directories. It is made when it does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheSpec {
    pub image: PathBuf,
    pub bytes: u64,
    /// Absolute directories in the sandbox; missing ones are made, owned by the app user.
    pub targets: Vec<String>,
}

impl SandboxSpec {
    /// Refuses what could not boot or would reach outside of the sandbox.
    pub(crate) fn check(&self) -> Result<(), SandboxError> {
        let refuse = |why: String| Err(SandboxError::Spec { id: self.id.clone(), why });
        if !is_id(&self.id) {
            return refuse(format!("the id is not 1 to {ID_BYTES_MAX} characters of a-z, 0-9 and `-`"));
        }
        if self.layers.is_empty() || self.layers.len() > LAYERS_MAX {
            return refuse(format!("{} layers, expected 1 to {LAYERS_MAX}", self.layers.len()));
        }
        if let Some(missing) = self.layers.iter().find(|layer| !layer.is_file()) {
            return refuse(format!("there is no layer `{}`", missing.display()));
        }
        if !is_host_name(&self.hostname) {
            return refuse(format!("`{}` is not a host name", self.hostname));
        }
        let targets = self.cache.as_ref().map_or(&[][..], |cache| &cache.targets);
        if targets.len() > CACHE_TARGETS_MAX {
            return refuse(format!("{} cache directories, at most {CACHE_TARGETS_MAX}", targets.len()));
        }
        match targets.iter().find(|target| !is_plain_absolute(target)) {
            Some(bad) => refuse(format!("cache directory `{bad}` is not a plain absolute path")),
            None => Ok(()),
        }
    }
}

pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= ID_BYTES_MAX
        && !text.starts_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_host_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 63 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

/// Absolute, more than `/`, and without `.`, `..` or control characters.
fn is_plain_absolute(text: &str) -> bool {
    let path = Path::new(text);
    let mut parts = path.components();
    parts.next() == Some(Component::RootDir)
        && path.file_name().is_some()
        && parts.all(|part| matches!(part, Component::Normal(_)))
        && !text.split('/').any(|part| part == ".")
        && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_targets_stay_inside() {
        for good in ["/app/.next/cache", "/app/web/node_modules/.cache", "/x"] {
            assert!(is_plain_absolute(good), "{good}");
        }
        for bad in ["", "/", "app", "/app/../etc", "/..", "/app/./x", "/a\nb"] {
            assert!(!is_plain_absolute(bad), "{bad}");
        }
    }
}
