//! Files from the network by the programs `curl` and `npm`, which know this machine's proxies, certificates and
//! registries. What comes is bounded in size and time, and checked against a digest.

use super::catalog::Listed;
use super::{ToolchainError, Work};
use crate::process::{LineSink, ProgramError, RunBounds, run_captured};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// For one file; Node.js is 60 MB.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// A site that does not answer by then is given up, so that the next source is tried.
const CONNECT_TIMEOUT_SECONDS: &str = "4";
const FILE_BYTES_MAX: u64 = 512 << 20;
/// Lists of versions: nodejs.org's is 300 KB, the largest package's under 1 MB.
pub(super) const LIST_BYTES_MAX: usize = 16 << 20;

/// Fetches an address into memory.
pub(crate) async fn text(url: &str, work: &Work<'_, impl LineSink>) -> Result<Vec<u8>, ToolchainError> {
    let mut command = curl(url);
    command.arg("--max-filesize").arg(LIST_BYTES_MAX.to_string());
    captured(command, LIST_BYTES_MAX, work).await.map_err(|error| ToolchainError::unavailable(url, error))
}

/// Fetches an address into a file.
pub(crate) async fn file(url: &str, path: &Path, work: &Work<'_, impl LineSink>) -> Result<(), ToolchainError> {
    let mut command = curl(url);
    command.arg("--max-filesize").arg(FILE_BYTES_MAX.to_string()).arg("--output").arg(path);
    captured(command, LIST_BYTES_MAX, work).await.map_err(|error| ToolchainError::unavailable(url, error))?;
    Ok(())
}

fn curl(url: &str) -> Command {
    let mut command = Command::new("curl");
    // A site configured by `https` is never followed to an unprotected one.
    let protocols = if url.starts_with("https://") { "=https" } else { "=http,https" };
    command.args(["--fail", "--silent", "--show-error", "--location", "--proto", protocols]);
    command.args(["--connect-timeout", CONNECT_TIMEOUT_SECONDS, "--retry", "2", "--max-redirs", "5", "--url", url]);
    command
}

/// Compares the file with a SHA-256 in hexadecimal.
pub(crate) async fn check_sha256(
    path: &Path,
    expected: &str,
    work: &Work<'_, impl LineSink>,
) -> Result<(), ToolchainError> {
    let what = path.display().to_string();
    let mut command = Command::new("sha256sum");
    command.arg("--binary").arg(path);
    let sum = captured(command, LIST_BYTES_MAX, work).await;
    let sum = sum.map_err(|error| ToolchainError::unavailable(&what, error))?;
    let sum = String::from_utf8_lossy(&sum);
    if sum.split_whitespace().next().is_some_and(|digest| digest.eq_ignore_ascii_case(expected)) {
        return Ok(());
    }
    Err(ToolchainError::Digest { what })
}

/// The published versions of a package.
pub(crate) async fn npm_versions(
    npm: &Path,
    package: &str,
    work: &Work<'_, impl LineSink>,
) -> Result<Vec<Listed>, ToolchainError> {
    let mut command = npm_command(npm, work.scratch);
    command.args(["view", package, "versions", "--json"]);
    let failed = |error| ToolchainError::unavailable(package, error);
    let json = captured(command, LIST_BYTES_MAX, work).await.map_err(failed)?;
    // A package with one version answers with the text itself instead of a list.
    let versions: Vec<String> = serde_json::from_slice(&json)
        .or_else(|_| serde_json::from_slice::<String>(&json).map(|version| vec![version]))
        .map_err(|_| ToolchainError::Answer { from: format!("npm view {package}") })?;
    Ok(versions.into_iter().map(|version| Listed { version, npm: None }).collect())
}

/// Fetches the archive of one version of a package; npm checks its digest.
pub(crate) async fn npm_pack(
    npm: &Path,
    package: &str,
    version: &str,
    work: &Work<'_, impl LineSink>,
) -> Result<PathBuf, ToolchainError> {
    let what = format!("{package}@{version}");
    let mut command = npm_command(npm, work.scratch);
    command.args(["pack", &what, "--ignore-scripts", "--silent", "--pack-destination"]).arg(work.scratch);
    let printed = captured(command, LIST_BYTES_MAX, work).await.map_err(|error| match &error {
        ProgramError::Failed { tail, .. } if tail.iter().any(|line| line.contains("ETARGET")) => {
            ToolchainError::Version { tool: package.to_owned(), range: version.to_owned(), near: Vec::new() }
        }
        _ => ToolchainError::unavailable(&what, error),
    })?;
    let printed = String::from_utf8_lossy(&printed);
    let name = printed.lines().last().map(str::trim).filter(|name| name.ends_with(".tgz") && !name.contains('/'));
    name.map(|name| work.scratch.join(name)).ok_or(ToolchainError::Answer { from: format!("npm pack {what}") })
}

fn npm_command(npm: &Path, directory: &Path) -> Command {
    let mut command = Command::new(npm);
    // No project's settings: those of the machine and of the user that the server runs as.
    command.current_dir(directory).env("npm_config_update_notifier", "false").env_remove("NODE_OPTIONS");
    command
}

pub(super) async fn captured(
    command: Command,
    bytes_max: usize,
    work: &Work<'_, impl LineSink>,
) -> Result<Vec<u8>, ProgramError> {
    run_captured(command, RunBounds { timeout: DOWNLOAD_TIMEOUT, cancel: work.cancel }, bytes_max).await
}
