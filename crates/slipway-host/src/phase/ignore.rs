//! Ignore: a command of the service that looks at the source and says whether there is anything to deploy.

use super::command::SandboxCommand;
use super::install::directory_in_app;
use super::{PhaseContext, PhaseEnd};
use crate::{environment, key};
use slipway_types::host::{CommandSpec, Evidence, PhaseOutput};

impl PhaseContext<'_> {
    /// Goes on in the environment that is there now, unless the command ends with 0. What it writes is thrown away.
    pub(super) async fn ignore(&self, spec: &CommandSpec, made: &PhaseOutput) -> Result<(), PhaseEnd> {
        let PhaseOutput::Environment { layers, path, .. } = made else { return Ok(()) };
        let mut layers = layers.clone();
        layers.push(key::source(&self.spec.deployment));
        let image = self.empty_image("ignore.img").await;
        self.log.say(format!("$ {}", spec.command)).await;
        let ended = self
            .run_in_sandbox(SandboxCommand {
                layers: &layers,
                image: image.clone(),
                cache: None,
                command: &spec.command,
                cwd: directory_in_app(&spec.cwd),
                env: environment::of_build(path, self.host.config.sandbox.ca_env(), &spec.env),
                limits: spec.limits,
                timeout: spec.timeout,
                becomes_layer: false,
                older_tree: false,
                look_at: Vec::new(),
            })
            .await;
        let _ = tokio::fs::remove_file(&image).await;
        match ended {
            Ok(_) => Err(PhaseEnd::Ignored),
            Err(PhaseEnd::Failed(evidence)) if evidence.host_error.is_none() => {
                self.log.say(format!("`{}` {}: the deployment goes on", spec.command, said(&evidence))).await;
                Ok(())
            }
            Err(end) => Err(end),
        }
    }
}

fn said(evidence: &Evidence) -> String {
    match evidence.exit.and_then(|exit| exit.code) {
        Some(code) => format!("exited with status {code}"),
        None if evidence.timed_out_after.is_some() => "did not end in time".to_owned(),
        None => "was killed".to_owned(),
    }
}
