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
use slipway_layers::copy;
use slipway_layers::image::{self, IMAGE_BYTES_MIN};
use slipway_layers::{LayerError, Lease};
use slipway_types::host::{CommandSpec, OnOlderTree};
use slipway_types::source::Lineage;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Installs in a row that go on from the one before. What scripts leave behind in the home directory is gone after that many.
const GENERATIONS_MAX: u32 = 30;
/// Directories outside of those of package managers: a layer has a handful, one for each package of a workspace.
const DIRECTORIES_MAX: usize = 20_000;

/// What package managers keep, each in the directory that it installs for.
const KEPT_DIRECTORIES: [&str; 3] = ["node_modules", ".yarn/cache", ".yarn/unplugged"];
const KEPT_FILES: [&str; 4] = [".pnp.cjs", ".pnp.loader.mjs", ".yarn/install-state.gz", ".yarn/build-state.yml"];
/// Written by the tree's own scripts at every install, and so removed before it.
const WRITTEN_AGAIN: [&str; 3] = [".svelte-kit", ".nuxt", ".react-router"];

/// An older tree in the image of the install.
#[derive(Debug)]
pub(super) struct Older {
    pub(super) command: String,
    pub(super) generation: u32,
    /// The tree was in use until it was copied.
    _lease: Option<Lease>,
}

/// Why there is no older tree.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}")]
    Because(String),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error("cannot look through the older tree: {0}")]
    Look(#[from] io::Error),
}

impl PhaseContext<'_> {
    /// Puts the tree to begin from into `image`, where nothing is. None: the install begins from nothing.
    pub(super) async fn older_tree(&self, spec: &CommandSpec, wanted: &Dependencies, image: &Path) -> Option<Older> {
        let (branch, head) = self.newest_head()?;
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

    fn newest_head(&self) -> Option<(String, Head)> {
        let head = |branch: &str| Some((branch.to_owned(), self.host.heads.read(&self.spec.service_id, branch)?));
        self.spec.lineage.candidates().find_map(head)
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
        if head.generation >= GENERATIONS_MAX {
            return Err(because("many installs in a row have gone on from one another"));
        }
        let lease = self.host.store.lease(std::slice::from_ref(&head.layer)).ok();
        let (store, layer, image) = (self.host.store.clone(), head.layer.clone(), image.to_owned());
        let source = store.path(&key::source(&self.spec.deployment));
        let (at, source_at) = (self.scratch.join("older"), self.scratch.join("read"));
        let bytes = spec.limits.disk.0.max(IMAGE_BYTES_MIN);
        let made_ready = blocking(move || {
            let from = store.path(&layer);
            match fs::metadata(&from).map(|found| found.len()) {
                Ok(length) if length == bytes => {}
                Ok(_) => return Err(because("the disk limit of builds changed")),
                Err(_) => return Err(because("the older layer is gone")),
            }
            let copied = copy::copy(&from, &image)?;
            store.touch(&layer);
            let source = image::mount(&source, &source_at, image::ReadOnly)?;
            let mounted = image::mount(&image, &at, image::ReadWrite)?;
            let tidied = tidy(&mounted.upper().join("app"), &source.upper().join("app"));
            mounted.unmount()?;
            source.unmount()?;
            tracing::debug!(%layer, ?copied, "older tree copied");
            tidied
        });
        made_ready.await?;
        Ok(Older { command, generation: head.generation + 1, _lease: lease })
    }
}

/// Removes what is written again, and refuses what no package manager keeps.
fn tidy(app: &Path, source: &Path) -> Result<(), Unusable> {
    let mut directories = vec![PathBuf::new()];
    let mut seen = 0;
    while let Some(directory) = directories.pop() {
        let entries = match fs::read_dir(app.join(&directory)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && directory.as_os_str().is_empty() => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let relative = directory.join(entry.file_name());
            let is_directory = entry.file_type()?.is_dir();
            let is_one_of = |names: &[&str]| names.iter().any(|name| relative.ends_with(name));
            if is_directory && is_one_of(&WRITTEN_AGAIN) && is_absent(&source.join(&relative)) {
                fs::remove_dir_all(entry.path())?;
            } else if is_one_of(if is_directory { &KEPT_DIRECTORIES } else { &KEPT_FILES }) {
                if !is_absent(&source.join(&relative)) {
                    return Err(Unusable::Because(format!("the source has its own `{}`", relative.display())));
                }
            } else if is_directory && !hides_what_is_below(&entry.path()) && seen < DIRECTORIES_MAX {
                seen += 1;
                directories.push(relative);
            } else if is_file(&entry.path()) && is_file(&source.join(&relative)) {
                // Changed by the install before; this one meets it as the source has it.
                fs::remove_file(entry.path())?;
            } else {
                return Err(Unusable::Because(format!("the install before wrote `{}`", relative.display())));
            }
        }
    }
    Ok(())
}

fn is_absent(path: &Path) -> bool {
    matches!(fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

/// A directory that was removed and made again: overlayfs marks it.
fn hides_what_is_below(directory: &Path) -> bool {
    let mut value = [0; 4];
    rustix::fs::lgetxattr(directory, c"trusted.overlay.opaque", &mut value).is_ok()
}

/// A lockfile among these that an install has written, instead of doing what it says. `app` is what the install wrote.
pub(super) fn rewritten<'f>(app: &Path, files: &'f [String]) -> Option<&'f String> {
    files.iter().find(|file| key_file::is_lockfile(file) && !is_absent(&app.join(file)))
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

    fn check(written: &[&str], source: &[&str]) -> Result<(), String> {
        let app = tree(written);
        let result = tidy(app.path(), tree(source).path()).map_err(|error| error.to_string());
        for name in WRITTEN_AGAIN {
            assert!(result.is_err() || is_absent(&app.path().join(name)), "{name}");
        }
        result
    }

    #[test]
    fn what_package_managers_keep_is_of_use() {
        let kept = ["node_modules/a/x", "packages/b/node_modules/c/y", ".yarn/cache/z", ".pnp.cjs", "web/.pnp.cjs"];
        check(&kept, &["package.json", "packages/b/package.json", ".yarn/releases/yarn.cjs"]).unwrap();
        check(&["node_modules/a/x", ".svelte-kit/tsconfig.json", ".nuxt/x"], &["package.json"]).unwrap();
        check(&[], &["package.json"]).unwrap();
        // The install before changed it: it is removed, and the source's own counts.
        check(&["package.json"], &["package.json"]).unwrap();
    }

    #[test]
    fn whatever_else_was_written_is_refused() {
        for (written, source, why) in [
            ("package-lock.json", "package.json", "wrote `package-lock.json`"),
            ("src/a", "src/a/b", "wrote `src/a`"),
            ("public/worker.js", "package.json", "wrote `public/worker.js`"),
            ("node_modules/a/x", "node_modules/a/y", "has its own `node_modules`"),
            (".yarn/cache/a.zip", ".yarn/cache/b.zip", "has its own `.yarn/cache`"),
            (".nuxt/x", ".nuxt/y", "wrote `.nuxt/x`"),
            (".yarn/other", "package.json", "wrote `.yarn/other`"),
        ] {
            let error = check(&[written], &[source]).unwrap_err();
            assert!(error.contains(why), "{written}: {error}");
        }
    }

    #[test]
    fn a_removed_file_and_a_replaced_directory_are_refused() {
        let app = tree(&["src/node_modules/x"]);
        rustix::fs::setxattr(app.path().join("src"), c"trusted.overlay.opaque", b"y", rustix::fs::XattrFlags::empty())
            .unwrap();
        assert!(tidy(app.path(), tree(&[]).path()).is_err());
        let app = tree(&["node_modules/x"]);
        std::os::unix::fs::symlink("/", app.path().join("link")).unwrap();
        assert!(tidy(app.path(), tree(&[]).path()).is_err());
    }

    #[test]
    fn a_lockfile_must_not_be_written() {
        let files = ["package-lock.json".to_owned(), "package.json".to_owned()];
        assert_eq!(rewritten(tree(&["node_modules/x"]).path(), &files), None);
        assert_eq!(rewritten(tree(&["package.json"]).path(), &files), None);
        assert_eq!(rewritten(tree(&["package-lock.json"]).path(), &files), Some(&files[0]));
    }
}
