//! Writes sites as the host packages them: a manifest, and files by the digest of their contents.

use crate::harness::route;
use slipway_types::ReplicaId;
use slipway_types::route::{Endpoint, Route, Target};
use slipway_types::site::{FILES_DIRECTORY, MANIFEST_FILE, SiteFile, SiteManifest, SiteRules};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// A site in a directory that goes with it.
pub(crate) struct SiteDirectory {
    directory: TempDir,
    manifest: SiteManifest,
}

impl SiteDirectory {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let mut site = Self { directory: TempDir::new().unwrap(), manifest: SiteManifest::default() };
        std::fs::create_dir(site.path().join(FILES_DIRECTORY)).unwrap();
        for (name, text) in files {
            site.add(name, text.as_bytes());
        }
        site.write();
        site
    }

    pub(crate) fn with_fallback(files: &[(&str, &str)], fallback: &str) -> Self {
        let mut site = Self::new(files);
        site.manifest.fallback = Some(fallback.to_owned());
        site.write();
        site
    }

    /// With compressed forms, which are not really compressed: `br:` and `gz:` in front of the contents.
    pub(crate) fn compressed(files: &[(&str, &str)]) -> Self {
        let mut site = Self::new(files);
        for (name, text) in files {
            let file = site.manifest.files.get_mut(*name).unwrap();
            let (brotli, gzip) = (format!("br:{text}"), format!("gz:{text}"));
            file.brotli_bytes = Some(brotli.len() as u64);
            file.gzip_bytes = Some(gzip.len() as u64);
            let path = site.directory.path().join(FILES_DIRECTORY).join(&file.digest);
            std::fs::write(path.with_extension("br"), brotli).unwrap();
            std::fs::write(path.with_extension("gz"), gzip).unwrap();
        }
        site.write();
        site
    }

    pub(crate) fn add(&mut self, name: &str, contents: &[u8]) {
        let digest = digest(contents);
        std::fs::write(self.path().join(FILES_DIRECTORY).join(&digest), contents).unwrap();
        let file = SiteFile { digest, bytes: contents.len() as u64, brotli_bytes: None, gzip_bytes: None };
        self.manifest.files.insert(name.to_owned(), file);
    }

    pub(crate) fn write(&self) {
        std::fs::write(self.path().join(MANIFEST_FILE), serde_json::to_vec(&self.manifest).unwrap()).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn digest(&self, name: &str) -> &str {
        &self.manifest.files[name].digest
    }

    pub(crate) fn target(&self, replica: &str) -> Target {
        Target { replica: ReplicaId::parse(replica).unwrap(), at: Endpoint::Site(self.path().to_owned()) }
    }

    /// At `x.test`.
    pub(crate) fn route(&self, rules: SiteRules) -> Route {
        Route { rules: Arc::new(rules), ..route("x.test", vec![self.target("r-site")]) }
    }
}

/// Not BLAKE3, which nothing here checks, but as long, and another one for other contents.
fn digest(contents: &[u8]) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, contents).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    };
    (0..4).map(half).collect()
}
