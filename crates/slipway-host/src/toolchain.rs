//! Runtimes and package managers as layers: which version a range means, where it comes from, what stands in it.
//!
//! A tool lies at `/opt/slipway/<tool>-<version>` with its programs in `bin`. Each is a layer of its own, made once
//! per version and shared by all builds and apps.

mod catalog;
mod download;
mod node;
mod package;
mod version;

use crate::archive::UnpackError;
use crate::config::NodeSource;
use crate::process::{LineSink, ProgramError};
use catalog::{Catalog, Catalogs, Source};
use slipway_layers::{LayerError, LayerStore};
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
    #[error("there is no toolchain `{0}`")]
    Unknown(String),
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
            ToolchainError::Version { .. } | ToolchainError::Unknown(_) => "version-unavailable",
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

/// All tools of a host.
#[derive(Debug)]
pub(crate) struct Toolchains {
    store: LayerStore,
    catalogs: Catalogs,
    node: NodeSource,
    npm_program: PathBuf,
    /// One fetch at a time: two builds that want the same tool fetch it once.
    fetching: tokio::sync::Mutex<()>,
}

impl Toolchains {
    pub(crate) fn new(store: LayerStore, catalogs: PathBuf, node: NodeSource, npm_program: PathBuf) -> Self {
        let catalogs = Catalogs::new(catalogs);
        Self { store, catalogs, node, npm_program, fetching: tokio::sync::Mutex::new(()) }
    }

    /// Finds or makes the layers of the runtime and the package manager.
    pub(crate) async fn ensure(
        &self,
        toolchains: &[Toolchain],
        manager: Option<&PackageManager>,
        work: &Work<'_, impl LineSink>,
    ) -> Result<Resolved, ToolchainError> {
        let [toolchain] = toolchains else { return Err(ToolchainError::Unknown(format!("{toolchains:?}"))) };
        if toolchain.name != ToolchainName::Node {
            return Err(ToolchainError::Unknown(toolchain.name.as_str().to_owned()));
        }
        let _alone = tokio::select! {
            guard = self.fetching.lock() => guard,
            () = work.cancel.cancelled() => return Err(ToolchainError::Canceled),
        };
        let (node, bundled_npm) = self.ensure_node(&toolchain.version_range, work).await?;
        let asked = |name| manager.filter(|manager| manager.name == name).and_then(|manager| manager.version.clone());
        let mut tools = vec![node.clone()];
        tools.push(self.ensure_npm(&node, asked(PackageManagerName::Npm), bundled_npm, work).await?);
        if let Some(manager) = manager.filter(|manager| manager.name != PackageManagerName::Npm) {
            tools.push(self.ensure_package_manager(&node, manager, work).await?);
        }
        Ok(Resolved {
            layers: tools.iter().map(Tool::layer).collect(),
            runtime_versions: vec![node.version.clone()],
            package_manager_version: manager.and(tools.last()).map(|tool| tool.version.clone()),
            // What was asked for is found before what comes along.
            path: tools.iter().rev().map(Tool::bin).collect(),
        })
    }

    /// The catalog from disk while it is fresh, else from its source; a stale one when the source does not answer.
    async fn catalog<S: LineSink>(
        &self,
        tool: &str,
        work: &Work<'_, S>,
        fetch: impl Future<Output = Result<Catalog, ToolchainError>>,
    ) -> Result<Catalog, ToolchainError> {
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
    }
}

#[cfg(test)]
mod tests;
