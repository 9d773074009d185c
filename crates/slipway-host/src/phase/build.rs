//! Build: what the build command writes above the source becomes the output layer; of a site, what it publishes is kept
//! and nothing else.

use super::command::SandboxCommand;
use super::install::directory_in_app;
use super::{PhaseContext, PhaseEnd, with_causes};
use crate::cache::{CACHE_BYTES, CacheBegin};
use crate::{blocking, environment, key};
use slipway_sandbox::CacheSpec;
use slipway_tree::site::SiteSpec;
use slipway_types::host::{CommandSpec, PhaseOutput};
use slipway_types::site::SitePlan;
use slipway_types::source::Lineage;
use std::path::PathBuf;
use std::time::Instant;

impl PhaseContext<'_> {
    pub(super) async fn build(&self, spec: &CommandSpec, site: Option<&SitePlan>) -> Result<PhaseOutput, PhaseEnd> {
        let site = site.map(|plan| SiteSpec { root: spec.cwd.clone(), plan: plan.clone() });
        let source = key::source(&self.spec.deployment);
        if spec.command.trim().is_empty() {
            self.log.say("there is no build command").await;
            return match site {
                Some(site) => self.publish_site(site, spec, None).await,
                None => Ok(PhaseOutput::Build { layers: vec![source], site: None }),
            };
        }
        let output = key::output(&self.spec.deployment, self.host.written_by());
        let cwd = directory_in_app(&spec.cwd);
        let cache = self.begin_cache(spec, &cwd).await;
        let cache_image = cache.as_ref().map(|cache| cache.image.clone());
        let image = self.empty_image("build.img").await;
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
            becomes_layer: site.is_none(),
            older_tree: false,
            look_at: Vec::new(),
        })
        .await?;
        // Its service may be destroyed by now, and nobody would look for the cache again.
        if let Some(cache) = cache_image.filter(|_| !self.cancel.is_cancelled()) {
            self.publish_cache(cache).await;
        }
        if let Some(site) = site {
            return self.publish_site(site, spec, Some(image)).await;
        }
        // Built again: the newer output is the right one.
        let (store, older) = (self.host.store.clone(), output.clone());
        blocking(move || store.remove(&older)).await?;
        self.publish_written(image, &output).await?;
        Ok(PhaseOutput::Build { layers: vec![source, output], site: None })
    }

    /// A copy of the branch's cache, for this build alone. Losing a cache costs time, never a deployment.
    async fn begin_cache(&self, spec: &CommandSpec, cwd: &str) -> Option<CacheSpec> {
        if spec.cache_dirs.is_empty() {
            return None;
        }
        let image = self.scratch.join("cache.img");
        let (caches, service, lineage) =
            (self.host.caches.clone(), self.spec.service_id.clone(), self.spec.lineage.clone());
        let copy = image.clone();
        let began = Instant::now();
        match blocking(move || caches.begin(&service, &lineage, &copy)).await {
            Ok(CacheBegin::Empty) => {}
            Ok(CacheBegin::WrittenByGuest) => {
                self.log.say("the build cache was written in a virtual machine and begins afresh").await;
            }
            Ok(CacheBegin::NearlyFull) => {
                self.log.say("the build cache was nearly full and begins afresh").await;
            }
            Ok(CacheBegin::CopyOf { branch, copied }) => {
                let took = began.elapsed();
                tracing::debug!(branch, ?copied, ?took, "build cache copied");
                if branch != self.spec.lineage.branch {
                    self.log.say(format!("the build cache begins as that of {}", Lineage::describe(&branch))).await;
                }
            }
            Err(error) => {
                let _ = tokio::fs::remove_file(&image).await;
                self.log.say(format!("the build cache begins afresh ({})", with_causes(&error))).await;
            }
        }
        let targets = spec.cache_dirs.iter().map(|dir| format!("{cwd}/{}", dir.trim_matches('/'))).collect();
        Some(CacheSpec { image, bytes: CACHE_BYTES, targets })
    }

    async fn publish_cache(&self, image: PathBuf) {
        let (caches, service, lineage) =
            (self.host.caches.clone(), self.spec.service_id.clone(), self.spec.lineage.clone());
        if let Err(error) = blocking(move || caches.publish(&service, &lineage, &image)).await {
            self.log.say(format!("the build cache is not kept ({})", with_causes(&error))).await;
        }
    }
}
