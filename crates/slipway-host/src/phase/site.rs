//! The end of a site's build: what is published becomes its layer.
//!
//! What a container wrote is mounted here. What a virtual machine wrote is mounted in another one, which ran nothing before and runs
//! nothing else: it sends the published files, and the host packs these.

use super::archive::Asked;
use super::{PhaseContext, PhaseEnd, with_causes};
use crate::site::{ARCHIVE_BOUNDS, Packed, SiteError, SiteSpec, UNPACKED_DIRECTORY, View};
use crate::{blocking, key, site};
use slipway_sandbox::{SandboxSpec, WritableSpec};
use slipway_tree::site::CODES;
use slipway_types::WrittenBy;
use slipway_types::agent::{ArchiveOf, ArchiveTrouble};
use slipway_types::host::{CommandSpec, PhaseOutput};
use slipway_types::site::SitePlan;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Of the machine that only reads: what its overlay needs.
const READER_DISK_BYTES: u64 = 64 << 20;
/// Room for the file system's own tables, beside what a build may write and what its source has: the image is sparse.
const UNPACKED_BYTES_MORE: u64 = 1 << 30;

impl PhaseContext<'_> {
    /// `written` is the image that the build command wrote, if one ran. It goes with the scratch.
    pub(super) async fn publish_site(
        &self,
        spec: SiteSpec,
        command: &CommandSpec,
        written: Option<PathBuf>,
    ) -> Result<PhaseOutput, PhaseEnd> {
        let store = self.host.store.clone();
        let source = store.path(&key::source(&self.spec.deployment));
        let layer = key::site(&self.spec.deployment);
        let (at, cancel, target) = (self.scratch.join("site"), self.cancel.clone(), layer.clone());
        let directory = spec.plan.directory.clone();
        let (source, written, spec) = match written {
            Some(written) if self.host.written_by() == WrittenBy::Guest => {
                let unpacked = self.receive_site(&spec, command, &source, &written).await?;
                let plan = SitePlan { directory: UNPACKED_DIRECTORY.to_owned(), ..spec.plan };
                (unpacked, None, SiteSpec { root: String::new(), plan })
            }
            written => (source, written, spec),
        };
        let packed = blocking(move || {
            let view = View::mount(&source, written.as_deref(), &at)?;
            site::package(&store, &target, &view, &spec, &cancel)
        })
        .await;
        let Packed { facts, compressed_bytes, notes } = packed.map_err(|error| match error {
            SiteError::Canceled => PhaseEnd::Canceled,
            error => PhaseEnd::host_error(error.code(), with_causes(&error)),
        })?;
        for note in notes.into_lines() {
            self.log.say(note).await;
        }
        let directory = if directory.is_empty() { "." } else { &directory };
        let (files, bytes) = (facts.files, facts.bytes);
        let (size, sent) = (size(bytes), size(compressed_bytes));
        self.log.say(format!("published {files} files of `{directory}`: {size}, {sent} compressed")).await;
        Ok(PhaseOutput::Build { layers: vec![layer], site: Some(facts) })
    }
}

impl PhaseContext<'_> {
    /// The published files, in an image of the host's own.
    async fn receive_site(
        &self,
        spec: &SiteSpec,
        command: &CommandSpec,
        source: &Path,
        written: &Path,
    ) -> Result<PathBuf, PhaseEnd> {
        let [unpacked, scratch] = ["published.img", "reader.img"].map(|name| self.scratch.join(name));
        for image in [&unpacked, &scratch] {
            let _ = tokio::fs::remove_file(image).await;
        }
        let booted = self.host.sandboxes.boot(SandboxSpec {
            id: self.host.build_sandbox_id(&self.spec.deployment),
            layers: vec![source.to_owned(), written.to_owned()],
            writable: WritableSpec::scratch(scratch, READER_DISK_BYTES),
            cache: None,
            limits: command.limits,
            hostname: format!("{}-build", self.spec.service),
        });
        let failed = |error: slipway_sandbox::SandboxError| PhaseEnd::host_error("sandbox-failed", with_causes(&error));
        let sandbox = booted.await.map_err(failed)?;
        let asked = Asked {
            of: ArchiveOf::Site { root: spec.root.clone(), plan: spec.plan.clone() },
            bounds: ARCHIVE_BOUNDS,
            // What may take as long to build may take as long to send.
            within: command.timeout.as_duration(),
        };
        let bytes = command.limits.disk.0 + super::source::SOURCE_LAYER_BYTES + UNPACKED_BYTES_MORE;
        let (image, at) = (unpacked.clone(), self.scratch.join("published"));
        let received = self
            .ask(&sandbox, &mut sandbox.events(), asked, move |incoming| {
                site::unpack(&image, &at, bytes, |take| incoming.read(take))
            })
            .await;
        // It wrote nothing that counts.
        let stopped = sandbox.stop(Duration::ZERO).await;
        let (received, report) = received?;
        stopped.map_err(failed)?;
        if let Some(ArchiveTrouble { code, message }) = report.trouble {
            // No other code is the guest's to give.
            let code = CODES.into_iter().find(|known| *known == code).unwrap_or("layer-failed");
            return Err(PhaseEnd::host_error(code, message));
        }
        received.map_err(|error: SiteError| PhaseEnd::host_error(error.code(), with_causes(&error)))?;
        for note in report.notes {
            self.log.say(note).await;
        }
        Ok(unpacked)
    }
}

fn size(bytes: u64) -> String {
    if bytes < 1 << 20 {
        format!("{} KB", bytes.div_ceil(1024))
    } else {
        format!("{:.1} MB", bytes as f64 / f64::from(1 << 20))
    }
}
