//! Build: what the build command writes above the source becomes the output layer; of a site, what it publishes is kept
//! and nothing else.

use super::command::SandboxCommand;
use super::install::directory_in_app;
use super::{PhaseContext, PhaseEnd};
use crate::cache::{CACHE_BYTES, CacheClaim};
use crate::site::SiteSpec;
use crate::{blocking, environment, key};
use slipway_sandbox::CacheSpec;
use slipway_types::host::{CommandSpec, PhaseOutput};
use slipway_types::site::SitePlan;

impl PhaseContext<'_> {
    pub(super) async fn build(&self, spec: &CommandSpec, site: Option<&SitePlan>) -> Result<PhaseOutput, PhaseEnd> {
        let site = site.map(|plan| SiteSpec { root: spec.cwd.clone(), plan: plan.clone() });
        let source = key::source(&self.spec.deployment);
        if spec.command.trim().is_empty() {
            self.log.say("there is no build command").await;
            return match site {
                Some(site) => self.publish_site(site, None).await,
                None => Ok(PhaseOutput::Build { layers: vec![source], site: None }),
            };
        }
        let output = key::output(&self.spec.deployment);
        let claim = self.claim_cache(spec).await;
        let cwd = directory_in_app(&spec.cwd);
        let cache = claim.as_ref().map(|claim| CacheSpec {
            image: claim.image().to_owned(),
            bytes: CACHE_BYTES,
            targets: spec.cache_dirs.iter().map(|dir| format!("{cwd}/{}", dir.trim_matches('/'))).collect(),
        });
        let image = self.scratch.join("build.img");
        let mut layers = spec.layers.clone();
        layers.push(source.clone());
        self.log.say(format!("$ {}", spec.command)).await;
        self.run_in_sandbox(SandboxCommand {
            layers: &layers,
            image: image.clone(),
            cache,
            command: &spec.command,
            cwd,
            env: environment::of_build(&spec.path, self.host.config.sandbox.ca_env(), &spec.env),
            limits: spec.limits,
            timeout: spec.timeout,
        })
        .await?;
        drop(claim);
        if let Some(site) = site {
            return self.publish_site(site, Some(image)).await;
        }
        // Built again: the newer output is the right one.
        let (store, older) = (self.host.store.clone(), output.clone());
        blocking(move || store.remove(&older)).await?;
        self.publish_written(image, &output).await?;
        Ok(PhaseOutput::Build { layers: vec![source, output], site: None })
    }

    async fn claim_cache(&self, spec: &CommandSpec) -> Option<CacheClaim> {
        if spec.cache_dirs.is_empty() {
            return None;
        }
        let Some(claim) = self.host.caches.claim(&self.spec.service_id) else {
            self.log.say("another build of this service uses its cache; this one goes without").await;
            return None;
        };
        if claim.remove_if_nearly_full() {
            self.log.say("the build cache was nearly full and begins afresh").await;
        }
        Some(claim)
    }
}
