//! Python: that of the base system where the asked range allows it, else a build that uv fetches and checks.

use super::copy::{self, Moved};
use super::{Tool, ToolchainError, Toolchains, Work, download, pypi, version};
use crate::archive::make_directories;
use crate::blocking;
use crate::process::LineSink;
use serde::Deserialize;
use slipway_layers::image;
use slipway_types::LayerKind;
use slipway_types::agent::Stream;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Of the image; a Python unpacked is 100 to 300 MB, and the file is sparse.
const LAYER_BYTES: u64 = 1 << 30;
/// Debian's list of installed packages; a base has 100 KB.
const STATUS_BYTES_MAX: u64 = 16 << 20;
/// Taken out of an open range before newer ones: what the packages of the index are ready for, and not the newest, which
/// many of them would have to be compiled for.
const SETTLED: &str = "3.13";
/// Of uv where it serves the host itself: the first with all options that are used here.
const HOST_UV: &str = ">=0.9";

/// Which Python runs the app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Python {
    /// `/usr/bin/python3` of the base system, of this version.
    Base(String),
    Tool(Tool),
}

impl Python {
    pub(super) fn version(&self) -> &str {
        match self {
            Python::Base(version) => version,
            Python::Tool(tool) => &tool.version,
        }
    }
}

/// One entry of `uv python list`.
#[derive(Deserialize)]
struct Build {
    key: String,
    version: String,
    implementation: String,
    #[serde(default)]
    variant: String,
    #[serde(default)]
    libc: String,
}

impl Toolchains {
    pub(super) async fn ensure_python(
        &self,
        range: &str,
        work: &Work<'_, impl LineSink>,
    ) -> Result<Python, ToolchainError> {
        let base = self.base_python().await?;
        if let Some(base) =
            base.as_ref().filter(|base| version::newest(range, [base.as_str()].into_iter(), false).is_some())
        {
            return Ok(Python::Base(base.clone()));
        }
        let tool = |version: String| Tool { name: "python".to_owned(), version };
        if let Some(at_hand) = version::exact(range).map(tool).filter(|tool| self.store.contains(&tool.layer())) {
            return Ok(Python::Tool(at_hand));
        }
        let builds = self.python_builds(work).await?;
        let known = || builds.iter().map(|build| build.version.as_str());
        let settled = known().filter(|version| version::minor(version) == SETTLED);
        let python = version::newest(range, settled, false).or_else(|| version::newest(range, known(), false));
        let python = python.map(tool).ok_or_else(|| {
            let near = version::near_minor(known().chain(base.as_deref()));
            ToolchainError::Version { tool: "Python".to_owned(), range: range.to_owned(), near }
        })?;
        match self.fetch_python(&python, &builds, work).await {
            Ok(()) => Ok(Python::Tool(python)),
            Err(ToolchainError::Unavailable { what, why }) => {
                self.python_at_hand(range, base, what, why, work).await.map(Python::Tool)
            }
            Err(error) => Err(error),
        }
    }

    /// What to do when the newest of a range cannot be fetched: an older one that was, else words that help.
    async fn python_at_hand(
        &self,
        range: &str,
        base: Option<String>,
        what: String,
        why: String,
        work: &Work<'_, impl LineSink>,
    ) -> Result<Tool, ToolchainError> {
        if let Some(older) = self.newest_at_hand("python", range) {
            let line = format!("cannot get `{what}`: {why}; taking Python {}, which is at hand", older.version);
            work.sink.line(Stream::Stderr, line).await;
            return Ok(older);
        }
        let base = base.map(|version| format!("{version} (of the base system)"));
        let at_hand: Vec<String> = base.into_iter().chain(self.versions_at_hand("python")).collect();
        let at_hand = if at_hand.is_empty() { "none".to_owned() } else { at_hand.join(", ") };
        Err(ToolchainError::Unavailable { what, why: format!("{why}; versions of Python at hand: {at_hand}") })
    }

    async fn python_builds(&self, work: &Work<'_, impl LineSink>) -> Result<Vec<Build>, ToolchainError> {
        let args = ["python", "list", "--only-downloads", "--all-versions", "--output-format", "json"];
        let printed = self.run_uv(&args.map(str::to_owned), "uv python list", work).await?;
        let builds: Vec<Build> = serde_json::from_slice(&printed)
            .map_err(|_| ToolchainError::Answer { from: "uv python list".to_owned() })?;
        let is_usual = |build: &Build| {
            build.implementation == "cpython"
                && (build.variant.is_empty() || build.variant == "default")
                && (build.libc.is_empty() || build.libc == "gnu")
        };
        Ok(builds.into_iter().filter(is_usual).collect())
    }

    async fn fetch_python(
        &self,
        python: &Tool,
        builds: &[Build],
        work: &Work<'_, impl LineSink>,
    ) -> Result<(), ToolchainError> {
        let Some(_alone) = self.to_make(&python.layer(), work).await? else { return Ok(()) };
        let what = format!("Python {}", python.version);
        let key = builds.iter().find(|build| build.version == python.version).map(|build| build.key.clone());
        let key = key.ok_or_else(|| ToolchainError::Answer { from: "uv python list".to_owned() })?;
        work.sink.line(Stream::Stdout, format!("fetching {what}")).await;
        let args = ["python", "install", "--no-bin", "--no-progress", &key];
        self.run_uv(&args.map(str::to_owned), &what, work).await?;
        let fetched = pythons(work.scratch).join(&key);
        if key.contains('/') || !fetched.is_dir() {
            return Err(ToolchainError::Answer { from: "uv python install".to_owned() });
        }
        let (store, tool) = (self.store.clone(), python.clone());
        blocking(move || {
            let inside = tool.directory();
            let moved = Moved { from: fetched.display().to_string(), to: format!("/{}", inside.display()) };
            store.write_layer(&tool.layer(), LAYER_BYTES, |root| {
                make_directories(root, &inside)?;
                copy::tree(&fetched, &root.join(&inside), &moved)
            })?;
            fs::remove_dir_all(&fetched).map_err(|source| ToolchainError::Disk { path: fetched, source })
        })
        .await
    }

    /// Runs uv on this machine, out of its layer.
    pub(super) async fn run_uv(
        &self,
        args: &[String],
        what: &str,
        work: &Work<'_, impl LineSink>,
    ) -> Result<Vec<u8>, ToolchainError> {
        let uv = match self.newest_at_hand(pypi::UV.name, HOST_UV) {
            Some(uv) => uv,
            None => self.ensure_pypi(pypi::UV, HOST_UV, work).await?,
        };
        let (image, at) = (self.store.path(&uv.layer()), work.scratch.join("uv"));
        let mounted = blocking(move || image::mount(&image, &at, image::ReadOnly)).await?;
        let mut command = Command::new(mounted.upper().join(uv.directory()).join("bin/uv"));
        command.args(args).current_dir(work.scratch).env("UV_NO_CONFIG", "1").env("UV_HTTP_RETRIES", "2");
        command.env("UV_CACHE_DIR", work.scratch.join("uv-cache")).env("UV_PYTHON_INSTALL_DIR", pythons(work.scratch));
        command.env("UV_PYTHON_DOWNLOADS", "manual").env("UV_LINK_MODE", "copy");
        for (variable, value) in
            [("UV_PYTHON_INSTALL_MIRROR", &self.python.mirror), ("UV_PYTHON_DOWNLOADS_JSON_URL", &self.python.list)]
        {
            if let Some(value) = value {
                command.env(variable, value);
            }
        }
        let done = download::captured(command, download::LIST_BYTES_MAX, work).await;
        let unmounted = blocking(move || mounted.unmount()).await;
        let printed = done.map_err(|error| ToolchainError::unavailable(what, error))?;
        unmounted?;
        Ok(printed)
    }

    /// The version of the base system's Python, when that can make virtual environments. Read once.
    pub(super) async fn base_python(&self) -> Result<Option<String>, ToolchainError> {
        let read = async {
            if !self.store.contains(&self.base) {
                return Ok(None);
            }
            let (image, at) = (self.store.path(&self.base), self.scratch_of_base.clone());
            blocking(move || {
                fs::create_dir_all(&at).map_err(|source| ToolchainError::Disk { path: at.clone(), source })?;
                let mounted = image::mount(&image, &at, image::ReadOnly)?;
                let status = read_bounded(&mounted.upper().join("var/lib/dpkg/status"));
                mounted.unmount()?;
                // A base of somebody's own may not be Debian: then its Python is not known.
                Ok::<_, ToolchainError>(status.as_deref().and_then(debian_python))
            })
            .await
        };
        self.base_python.get_or_try_init(|| read).await.cloned()
    }

    fn versions_at_hand(&self, name: &str) -> Vec<String> {
        let layers = self.store.list().unwrap_or_default();
        let prefix = format!("{name}-");
        let keys = layers.iter().filter(|entry| entry.layer.kind == LayerKind::Toolchain);
        keys.filter_map(|entry| entry.layer.key.strip_prefix(&prefix)).map(str::to_owned).collect()
    }
}

fn pythons(scratch: &Path) -> PathBuf {
    scratch.join("pythons")
}

fn read_bounded(path: &Path) -> Option<String> {
    let mut text = String::new();
    fs::File::open(path).ok()?.take(STATUS_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// From Debian's list of packages: the version of `python3.<n>-venv`, which is that of its Python.
fn debian_python(status: &str) -> Option<String> {
    status.split("\n\n").find_map(|entry| {
        let field = |name: &str| entry.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let minor = field("Package")?.strip_prefix("python3.")?.strip_suffix("-venv")?;
        let installed = field("Status")?.ends_with(" installed") && minor.bytes().all(|b| b.is_ascii_digit());
        let version = field("Version")?.split(['-', '+', '~']).next()?;
        installed.then(|| version.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::debian_python;

    #[test]
    fn the_base_names_its_python() {
        let entry = |package: &str, status: &str, version: &str| {
            format!("Package: {package}\nStatus: install ok {status}\nVersion: {version}\n")
        };
        let base = [
            entry("python3.11", "installed", "3.11.2-6+deb12u6"),
            entry("python3-venv", "installed", "3.11.2-1+b1"),
            entry("python3.11-venv", "installed", "3.11.2-6+deb12u6"),
        ];
        assert_eq!(debian_python(&base.join("\n")).as_deref(), Some("3.11.2"));
        assert_eq!(debian_python(&base[..2].join("\n")), None, "without venv it is of no use");
        assert_eq!(debian_python(&entry("python3.11-venv", "config-files", "3.11.2-6")), None);
        assert_eq!(debian_python(""), None);
    }
}
