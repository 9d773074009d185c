//! Node.js, from a site with the layout of nodejs.org or from the npm registry.

use super::catalog::{Catalog, Listed, Source};
use super::{Tool, ToolchainError, Toolchains, Work, download, package, source_name, version};
use crate::archive::{TOOLCHAIN_BOUNDS, unpack};
use crate::blocking;
use crate::config::NodeSource;
use crate::process::LineSink;
use serde::Deserialize;
use slipway_types::agent::Stream;
use std::fs::File;
use std::path::{Component, Path, PathBuf};

const NODEJS_ORG: &str = "https://nodejs.org/dist";
/// Of the image; Node.js unpacked is 200 MB, and the file is sparse.
const NODE_LAYER_BYTES: u64 = 1 << 30;

/// As nodejs.org and the packages of the npm registry name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "x64",
    }
}

fn npm_package() -> String {
    format!("node-linux-{}", architecture())
}

impl Toolchains {
    /// The runtime, and the version of npm that belongs to it where its source says so.
    pub(super) async fn ensure_node(
        &self,
        range: &str,
        work: &Work<'_, impl LineSink>,
    ) -> Result<(Tool, Option<String>), ToolchainError> {
        let tool = |version: String| Tool { name: "node".to_owned(), version };
        if let Some(node) = version::exact(range).map(tool).filter(|node| self.store.contains(&node.layer())) {
            let npm = self.catalogs.load("node").and_then(|catalog| npm_of(&catalog, &node.version));
            return Ok((node, npm));
        }
        let catalog = match self.catalog("node", work, self.fetch_catalog(work)).await {
            Err(ToolchainError::Unavailable { what, why }) => {
                return Ok((self.node_at_hand(range, what, why, work).await?, None));
            }
            catalog => catalog?,
        };
        let node = version::newest(range, catalog.names(), true).map(tool).ok_or_else(|| ToolchainError::Version {
            tool: "Node.js".to_owned(),
            range: range.to_owned(),
            near: version::near(catalog.names()),
        })?;
        let npm = npm_of(&catalog, &node.version);
        if let Some(_alone) = self.to_make(&node.layer(), work).await? {
            let line = format!("fetching Node.js {} from {}", node.version, source_name(&catalog.source));
            work.sink.line(Stream::Stdout, line).await;
            self.fetch_node(&node, npm.as_deref(), &catalog.source, work).await?;
        }
        Ok((node, npm))
    }

    /// Where nobody says which versions there are: the newest that was fetched before.
    async fn node_at_hand(
        &self,
        range: &str,
        what: String,
        why: String,
        work: &Work<'_, impl LineSink>,
    ) -> Result<Tool, ToolchainError> {
        let Some(node) = self.newest_at_hand("node", range) else {
            return Err(ToolchainError::Unavailable { what, why });
        };
        let line = format!("cannot get `{what}`: {why}; taking Node.js {}, which is at hand", node.version);
        work.sink.line(Stream::Stderr, line).await;
        Ok(node)
    }

    async fn fetch_catalog(&self, work: &Work<'_, impl LineSink>) -> Result<Catalog, ToolchainError> {
        let site = match &self.node {
            NodeSource::Npm => None,
            NodeSource::Auto => Some(NODEJS_ORG),
            NodeSource::NodejsOrg { base_url } => Some(base_url.trim_end_matches('/')),
        };
        if let Some(base_url) = site {
            match site_catalog(base_url, work).await {
                Ok(catalog) => return Ok(catalog),
                Err(ToolchainError::Unavailable { .. }) if self.node == NodeSource::Auto => {
                    let line = "nodejs.org does not answer; taking Node.js from the npm registry";
                    work.sink.line(Stream::Stdout, line.to_owned()).await;
                }
                Err(error) => return Err(error),
            }
        }
        let versions = download::npm_versions(&self.npm_program, &npm_package(), work).await?;
        Ok(Catalog::now(Source::Npm, versions))
    }

    async fn fetch_node(
        &self,
        node: &Tool,
        npm: Option<&str>,
        source: &Source,
        work: &Work<'_, impl LineSink>,
    ) -> Result<(), ToolchainError> {
        let archive = match source {
            Source::Site { base_url } => site_archive(base_url, &node.version, work).await?,
            Source::Npm | Source::Pypi => {
                download::npm_pack(&self.npm_program, &npm_package(), &node.version, work).await?
            }
        };
        let (store, node) = (self.store.clone(), node.clone());
        let npm = npm.map(|version| Tool { name: "npm".to_owned(), version: version.to_owned() });
        blocking(move || {
            store.write_layer(&node.layer(), NODE_LAYER_BYTES, |root| {
                unpack_from(&archive, root, &|path| node_placement(path, &node))
            })?;
            if let Some(npm) = npm.filter(|npm| !store.contains(&npm.layer())) {
                store.write_layer(&npm.layer(), package::LAYER_BYTES, |root| {
                    unpack_from(&archive, root, &|path| bundled_npm_placement(path, &npm))?;
                    package::write_launchers(root, &npm)
                })?;
            }
            std::fs::remove_file(&archive).map_err(|source| ToolchainError::Disk { path: archive, source })
        })
        .await
    }
}

fn npm_of(catalog: &Catalog, node: &str) -> Option<String> {
    catalog.versions.iter().find(|listed| listed.version == node).and_then(|listed| listed.npm.clone())
}

pub(super) fn unpack_from(
    archive: &Path,
    root: &Path,
    placement: crate::archive::Placement<'_>,
) -> Result<(), ToolchainError> {
    let file = File::open(archive).map_err(|source| ToolchainError::Disk { path: archive.to_owned(), source })?;
    Ok(unpack(file, root, TOOLCHAIN_BOUNDS, placement)?)
}

/// `<any>/bin/node` and the headers for native modules; package managers come as tools of their own.
fn node_placement(path: &Path, node: &Tool) -> Option<PathBuf> {
    let inner = without_first(path)?;
    let wanted = inner == Path::new("bin/node") || inner.starts_with("include") || inner == Path::new("LICENSE");
    wanted.then(|| node.directory().join(inner))
}

fn bundled_npm_placement(path: &Path, npm: &Tool) -> Option<PathBuf> {
    let inner = without_first(path)?;
    let inner = inner.strip_prefix("lib/node_modules/npm").ok()?;
    Some(package::library(npm).join(inner))
}

pub(super) fn without_first(path: &Path) -> Option<&Path> {
    let mut components = path.components();
    matches!(components.next(), Some(Component::Normal(_))).then(|| components.as_path())
}

/// One entry of nodejs.org's `index.json`.
#[derive(Deserialize)]
struct SiteEntry {
    version: String,
    files: Vec<String>,
    npm: Option<String>,
}

async fn site_catalog(base_url: &str, work: &Work<'_, impl LineSink>) -> Result<Catalog, ToolchainError> {
    let url = format!("{base_url}/index.json");
    let json = download::text(&url, work).await?;
    let entries: Vec<SiteEntry> = serde_json::from_slice(&json).map_err(|_| ToolchainError::Answer { from: url })?;
    let file = format!("linux-{}", architecture());
    let versions = entries
        .into_iter()
        .filter(|entry| entry.files.contains(&file))
        .map(|entry| Listed { version: entry.version.trim_start_matches('v').to_owned(), npm: entry.npm })
        .collect();
    Ok(Catalog::now(Source::Site { base_url: base_url.to_owned() }, versions))
}

/// Downloads the archive and checks it against the site's own list of digests.
async fn site_archive(
    base_url: &str,
    version: &str,
    work: &Work<'_, impl LineSink>,
) -> Result<PathBuf, ToolchainError> {
    let name = format!("node-v{version}-linux-{}.tar.gz", architecture());
    let sums_url = format!("{base_url}/v{version}/SHASUMS256.txt");
    let sums = download::text(&sums_url, work).await?;
    let sums = String::from_utf8_lossy(&sums).into_owned();
    let digest = sums.lines().filter_map(|line| line.split_once("  ")).find(|(_, file)| file.trim() == name);
    let (digest, _) = digest.ok_or(ToolchainError::Answer { from: sums_url })?;
    let path = work.scratch.join(&name);
    download::file(&format!("{base_url}/v{version}/{name}"), &path, work).await?;
    download::check_sha256(&path, digest, work).await?;
    Ok(path)
}
