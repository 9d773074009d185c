//! Pre-deploy: the migration command, in the new image, once. What it writes to its file system is discarded.

use super::command::SandboxCommand;
use super::{PhaseContext, PhaseEnd};
use crate::environment;
use slipway_types::Image;
use slipway_types::host::{Env, PhaseOutput};
use slipway_types::settings::{DurationMs, ResourceLimits};

impl PhaseContext<'_> {
    pub(super) async fn pre_deploy(
        &self,
        image: &Image,
        command: &str,
        env: &Env,
        limits: ResourceLimits,
        timeout: DurationMs,
    ) -> Result<PhaseOutput, PhaseEnd> {
        let written = self.empty_image("pre-deploy.img").await;
        self.log.say(format!("$ {command}")).await;
        let Some(start) = image.process() else {
            return Err(PhaseEnd::host_error("sandbox-failed", "a site has no process that could run a command"));
        };
        let run = self.run_in_sandbox(SandboxCommand {
            layers: &image.layers,
            image: written.clone(),
            cache: None,
            command,
            cwd: start.cwd.clone(),
            env: environment::of_release(&start.path, self.host.config.sandbox.ca_env(), &start.env, env),
            limits,
            timeout,
            becomes_layer: false,
            older_tree: false,
            look_at: Vec::new(),
        });
        let ended = run.await;
        // The release of the worker removes what could not be removed now.
        let _ = tokio::fs::remove_file(&written).await;
        ended.map(|_| PhaseOutput::PreDeploy)
    }
}
