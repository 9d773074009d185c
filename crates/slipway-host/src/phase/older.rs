//! The tree of an earlier install, made ready to be installed on.
//!
//! A copy of the newest layer of the same branch, else of the default branch, becomes the writable image of the install. It is of
//! use only where all but lockfile and manifests is equal, and where it holds nothing but what package managers keep: whatever
//! else an install has written might hide or replace a file of the newer source.

use super::{PhaseContext, with_causes};
use crate::blocking;
use crate::head::Head;
use crate::key::{self, Dependencies};
use crate::key_file;
use slipway_layers::LayerError;
use slipway_layers::copy;
use slipway_layers::image::{self, IMAGE_BYTES_MIN};
use slipway_tree::older::{self, OlderTreeError, is_absent};
use slipway_types::WrittenBy;
use slipway_types::host::{CommandSpec, OnOlderTree};
use slipway_types::source::Lineage;
use std::fs;
use std::path::Path;

/// Installs in a row that go on from the one before. What scripts leave behind in the home directory is gone after that many.
const GENERATIONS_MAX: u32 = 30;

/// An older tree in the image of the install.
#[derive(Debug)]
pub(super) struct Older {
    pub(super) command: String,
    pub(super) head: Head,
}

/// Why there is no older tree.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}")]
    Because(String),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Tree(#[from] OlderTreeError),
}

impl PhaseContext<'_> {
    /// Puts the tree to begin from into `image`, where nothing is. None: the install begins from nothing.
    pub(super) async fn older_tree(&self, spec: &CommandSpec, wanted: &Dependencies, image: &Path) -> Option<Older> {
        let (branch, head) = self.newest_head().await?;
        let made = match self.prepared(spec, wanted, &head, image).await {
            Ok(made) => made,
            Err(why) => {
                let _ = tokio::fs::remove_file(image).await;
                self.log.say(format!("dependencies changed; installing from nothing: {}", with_causes(&why))).await;
                return None;
            }
        };
        let by = head.made_by.as_ref().map_or_else(String::new, |deployment| format!(" of deployment {deployment}"));
        let branch = Lineage::describe(&branch);
        let line = format!("dependencies changed; beginning from those{by} ({branch}, layer `{}`)", head.layer);
        self.log.say(line).await;
        Some(made)
    }

    async fn newest_head(&self) -> Option<(String, Head)> {
        let (heads, service, lineage) =
            (self.host.heads.clone(), self.spec.service_id.clone(), self.spec.lineage.clone());
        blocking(move || {
            lineage.candidates().find_map(|branch| Some((branch.to_owned(), heads.read(&service, branch)?)))
        })
        .await
    }

    async fn prepared(
        &self,
        spec: &CommandSpec,
        wanted: &Dependencies,
        head: &Head,
        image: &Path,
    ) -> Result<Older, Unusable> {
        let because = |why: &str| Unusable::Because(why.to_owned());
        let command = match &spec.on_older_tree {
            OnOlderTree::Run { command } => command.clone(),
            OnOlderTree::Never { why } => return Err(because(why)),
        };
        if head.family != wanted.family {
            return Err(because(
                "more than packages differs (runtime, package manager, command, configuration or variables)",
            ));
        }
        if head.hung {
            return Err(because("an install on them took too long"));
        }
        if head.generation >= GENERATIONS_MAX {
            return Err(because("many installs in a row have gone on from one another"));
        }
        // It stays until the deployment ends.
        if !self.bring_back(&head.layer, "earlier dependencies are not used").await {
            return Err(because("the older layer is gone"));
        }
        let (store, layer, image) = (self.host.store.clone(), head.layer.clone(), image.to_owned());
        let source = store.path(&key::source(&self.spec.deployment));
        let (at, source_at) = (self.scratch.join("older"), self.scratch.join("read"));
        let bytes = spec.limits.disk.0.max(IMAGE_BYTES_MIN);
        let by_guest = self.host.written_by() == WrittenBy::Guest;
        let made_ready = blocking(move || {
            let from = store.path(&layer);
            match fs::metadata(&from).map(|found| found.len()) {
                Ok(length) if length == bytes => {}
                Ok(_) => return Err(because("the disk limit of builds changed")),
                Err(_) => return Err(because("the older layer is gone")),
            }
            let copied = copy::copy(&from, &image)?;
            store.touch(&layer);
            tracing::debug!(%layer, ?copied, "older tree copied");
            if by_guest {
                // The machine that installs on it makes it ready, or refuses it.
                return Ok(());
            }
            let source = image::mount(&source, &source_at, image::ReadOnly)?;
            let mounted = image::mount(&image, &at, image::ReadWrite)?;
            let made_ready = older::make_ready(&mounted.upper().join("app"), &source.upper().join("app"));
            mounted.unmount()?;
            source.unmount()?;
            Ok(made_ready?)
        });
        made_ready.await?;
        Ok(Older { command, head: head.clone() })
    }
}

/// The lockfiles among these.
pub(super) fn lockfiles(files: &[String]) -> Vec<String> {
    files.iter().filter(|file| key_file::is_lockfile(file)).cloned().collect()
}

/// The first of these files that an install has written. `app` is what the install wrote.
pub(super) fn written<'f>(app: &Path, files: &'f [String]) -> Option<&'f String> {
    files.iter().find(|file| !is_absent(&app.join(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in paths {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        dir
    }

    #[test]
    fn a_lockfile_must_not_be_written() {
        let files = lockfiles(&["package-lock.json".to_owned(), "package.json".to_owned()]);
        assert_eq!(written(tree(&["node_modules/x"]).path(), &files), None);
        assert_eq!(written(tree(&["package.json"]).path(), &files), None);
        assert_eq!(written(tree(&["package-lock.json"]).path(), &files), Some(&files[0]));
    }
}
