//! Which versions exist, remembered on disk for a day, so that a deployment of what is known asks nobody.

use super::ToolchainError;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A release is known at most a day late.
const FRESH_MS: u64 = 24 * 60 * 60 * 1000;

/// The versions of one tool at one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Catalog {
    pub(crate) source: Source,
    pub(crate) fetched_at: u64,
    pub(crate) versions: Vec<Listed>,
}

/// Where a tool comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "from")]
pub(crate) enum Source {
    /// The layout of `https://nodejs.org/dist`.
    Site {
        base_url: String,
    },
    Npm,
    /// The Python package index.
    Pypi,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listed {
    pub(crate) version: String,
    /// The npm that comes with this Node.js.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) npm: Option<String>,
}

impl Catalog {
    pub(crate) fn now(source: Source, versions: Vec<Listed>) -> Self {
        Self { source, fetched_at: now_ms(), versions }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.versions.iter().map(|listed| listed.version.as_str())
    }

    pub(crate) fn is_fresh(&self) -> bool {
        now_ms().checked_sub(self.fetched_at).is_some_and(|age| age < FRESH_MS)
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The remembered catalogs: one file per tool.
#[derive(Debug)]
pub(crate) struct Catalogs {
    directory: PathBuf,
}

impl Catalogs {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// None: not known, or not readable; then it is asked for again.
    pub(crate) fn load(&self, tool: &str) -> Option<Catalog> {
        serde_json::from_slice(&std::fs::read(self.path(tool)).ok()?).ok()
    }

    pub(crate) fn save(&self, tool: &str, catalog: &Catalog) -> Result<(), ToolchainError> {
        let path = self.path(tool);
        let partial = path.with_extension("partial");
        let failed = |source| ToolchainError::Disk { path: path.clone(), source };
        let bytes = serde_json::to_vec(catalog).map_err(|error| failed(error.into()))?;
        std::fs::create_dir_all(&self.directory).map_err(failed)?;
        std::fs::write(&partial, bytes).map_err(failed)?;
        std::fs::rename(&partial, &path).map_err(failed)
    }

    fn path(&self, tool: &str) -> PathBuf {
        Path::new(&self.directory).join(format!("{tool}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_is_remembered_for_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let catalogs = Catalogs::new(dir.path().join("versions"));
        assert_eq!(catalogs.load("node"), None);
        let mut catalog = Catalog::now(Source::Npm, vec![Listed { version: "24.1.0".into(), npm: None }]);
        catalogs.save("node", &catalog).unwrap();
        assert_eq!(catalogs.load("node"), Some(catalog.clone()));
        assert!(catalog.is_fresh());
        catalog.fetched_at -= FRESH_MS;
        assert!(!catalog.is_fresh());
        std::fs::write(dir.path().join("versions/node.json"), "{").unwrap();
        assert_eq!(catalogs.load("node"), None);
    }
}
