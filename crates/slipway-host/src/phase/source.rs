//! Source: a commit or an upload becomes a layer, its tree at `/app`.

use super::{PhaseContext, PhaseEnd, with_causes};
use crate::archive::{SOURCE_BOUNDS, unpack};
use crate::git::{self, Branches};
use crate::{archive, blocking, key, tree};
use slipway_layers::{Mounted, image};
use slipway_types::UploadId;
use slipway_types::host::PhaseOutput;
use slipway_types::source::{GitSource, SourceFacts, SourceSpec};
use std::io;
use std::path::{Path, PathBuf};

/// Of the image: the largest tree with the repository that it comes from; the file is sparse.
pub(super) const SOURCE_LAYER_BYTES: u64 = 6 << 30;

impl PhaseContext<'_> {
    pub(super) async fn source(&self, source: &SourceSpec, wanted: &[String]) -> Result<PhaseOutput, PhaseEnd> {
        let layer = key::source(&self.spec.deployment);
        let (store, image) = (self.host.store.clone(), self.scratch.join("source.img"));
        let (at, known) = (self.scratch.join("source"), layer.clone());
        let file = image.clone();
        // Asked for again: it starts afresh.
        let mounted = blocking(move || {
            store.remove(&known)?;
            remove_if_there(&file)?;
            image::create(&file, SOURCE_LAYER_BYTES)?;
            let mounted = image::mount(&file, &at, image::ReadWrite)?;
            let app = mounted.upper().join("app");
            std::fs::create_dir(&app).map_err(|error| slipway_layers::LayerError::io("make", &app, error))?;
            Ok::<_, PhaseEnd>(mounted)
        })
        .await?;
        let fetched = match source {
            SourceSpec::Upload { upload } => self.unpack_upload(upload, &mounted).await.map(|()| None),
            SourceSpec::Git(git) => self.fetch_git(git, &mounted).await.map(Some),
        }?;
        if self.cancel.is_cancelled() {
            return Err(PhaseEnd::Canceled);
        }
        let (store, wanted) = (self.host.store.clone(), wanted.to_vec());
        let tree = blocking(move || {
            let app = mounted.upper().join("app");
            let failed = |error: tree::TreeError| PhaseEnd::host_error("layer-failed", with_causes(&error));
            let listing = tree::list(&app, &wanted).map_err(failed)?;
            tree::give_to_app(&app).map_err(failed)?;
            mounted.unmount()?;
            store.publish(&image, &layer)?;
            Ok::<_, PhaseEnd>(listing)
        })
        .await?;
        self.log.say(format!("{} files", tree.paths.len())).await;
        let (commit, branches) = fetched.map(|fetched| (fetched.commit, fetched.branches)).unzip();
        let Branches { asked, default } = branches.unwrap_or_default();
        Ok(PhaseOutput::Source(SourceFacts { commit, branch: asked, default_branch: default, tree }))
    }

    async fn unpack_upload(&self, upload: &UploadId, mounted: &Mounted) -> Result<(), PhaseEnd> {
        let path = self.host.config.data_dir.join("uploads").join(format!("{upload}.tar.gz"));
        let app = mounted.upper().join("app");
        blocking(move || {
            let file = std::fs::File::open(&path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    PhaseEnd::host_error("upload-missing", format!("there is no upload `{}`", path.display()))
                }
                _ => PhaseEnd::host_error("upload-missing", format!("cannot read `{}`: {error}", path.display())),
            })?;
            unpack(file, &app, SOURCE_BOUNDS, &|path| Some(path.to_owned())).map_err(|error| unpack_failure(&error))
        })
        .await
    }

    async fn fetch_git(&self, source: &GitSource, mounted: &Mounted) -> Result<git::Fetched, PhaseEnd> {
        let work_tree = mounted.upper().join("app");
        // In the image, so that a huge repository fills the image and not the host's disk.
        let repository = git::repository_beside(mounted.path());
        let checkout = git::Checkout { repository: &repository, work_tree: &work_tree };
        let reference = source.reference.as_deref().unwrap_or("the default branch");
        self.log.say(format!("fetching {reference} of {}", source.url)).await;
        let made = tokio::fs::create_dir(&repository).await;
        made.map_err(|error| self.disk_error("make the directory", &repository, &error))?;
        let fetched = match git::fetch(source, &checkout, &self.cancel, &self.log).await {
            Ok(fetched) => fetched,
            Err(error) => return Err(git_failure(&error)),
        };
        self.log.say(format!("checked out {}", fetched.commit)).await;
        let removed = tokio::fs::remove_dir_all(&repository).await;
        removed.map_err(|error| self.disk_error("remove", &repository, &error))?;
        Ok(fetched)
    }
}

fn remove_if_there(path: &Path) -> Result<(), PhaseEnd> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let path: PathBuf = path.to_owned();
            Err(slipway_layers::LayerError::io("remove", &path, error).into())
        }
        _ => Ok(()),
    }
}

fn unpack_failure(error: &archive::UnpackError) -> PhaseEnd {
    let code = if error.is_disk_full() { "disk-full" } else { "upload-unusable" };
    PhaseEnd::host_error(code, with_causes(error))
}

fn git_failure(error: &git::GitError) -> PhaseEnd {
    if let git::GitError::Program(crate::process::ProgramError::Canceled { .. }) = error {
        return PhaseEnd::Canceled;
    }
    PhaseEnd::host_error(error.code(), error.to_string())
}
