//! The end of a site's build: what is published becomes its layer.

use super::{PhaseContext, PhaseEnd, with_causes};
use crate::site::{Packed, SiteError, SiteSpec, View};
use crate::{blocking, key, site};
use slipway_types::host::PhaseOutput;
use std::path::PathBuf;

impl PhaseContext<'_> {
    /// `written` is the image that the build command wrote, if one ran. It goes with the scratch.
    pub(super) async fn publish_site(&self, spec: SiteSpec, written: Option<PathBuf>) -> Result<PhaseOutput, PhaseEnd> {
        let store = self.host.store.clone();
        let source = store.path(&key::source(&self.spec.deployment));
        let layer = key::site(&self.spec.deployment);
        let (at, cancel, target) = (self.scratch.join("site"), self.cancel.clone(), layer.clone());
        let directory = spec.plan.directory.clone();
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

fn size(bytes: u64) -> String {
    if bytes < 1 << 20 {
        format!("{} KB", bytes.div_ceil(1024))
    } else {
        format!("{:.1} MB", bytes as f64 / f64::from(1 << 20))
    }
}
