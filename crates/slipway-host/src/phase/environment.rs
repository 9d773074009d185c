//! Environment: the layers that a build and its app stand on.

use super::{PhaseContext, PhaseEnd, with_causes};
use crate::toolchain::{ToolchainError, Work};
use slipway_types::host::PhaseOutput;
use slipway_types::plan::{PackageManager, Toolchain};

impl PhaseContext<'_> {
    pub(super) async fn environment(
        &self,
        toolchains: &[Toolchain],
        manager: Option<&PackageManager>,
    ) -> Result<PhaseOutput, PhaseEnd> {
        if toolchains.is_empty() {
            self.log.say("plain files: no runtime is needed").await;
            let layers = vec![self.host.base.clone()];
            let (runtime_versions, path) = (Vec::new(), Vec::new());
            return Ok(PhaseOutput::Environment { layers, runtime_versions, package_manager_version: None, path });
        }
        let scratch = self.scratch.join("toolchain");
        let made = tokio::fs::create_dir_all(&scratch).await;
        made.map_err(|error| self.disk_error("make the directory", &scratch, &error))?;
        let work = Work { scratch: &scratch, cancel: &self.cancel, sink: &self.log, hold: &self.hold };
        let resolved = self.host.toolchains.ensure(toolchains, manager, &work).await.map_err(|error| match error {
            ToolchainError::Canceled => PhaseEnd::Canceled,
            error => PhaseEnd::host_error(error.code(), with_causes(&error)),
        })?;
        let with = match (manager, &resolved.package_manager_version) {
            (Some(manager), Some(version)) => format!(", {} {version}", manager.name.as_str()),
            _ => String::new(),
        };
        let tools = toolchains.iter().zip(&resolved.runtime_versions);
        let tools: Vec<String> = tools.map(|(tool, version)| format!("{} {version}", tool.name.title())).collect();
        self.log.say(format!("{}{with}", tools.join(", "))).await;
        let mut layers = vec![self.host.base.clone()];
        layers.extend(resolved.layers);
        Ok(PhaseOutput::Environment {
            layers,
            runtime_versions: resolved.runtime_versions,
            package_manager_version: resolved.package_manager_version,
            path: resolved.path,
        })
    }
}
