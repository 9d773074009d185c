//! Whether a redeploy builds: it does when something that the build reads has changed since the newest image was made of
//! the same source, and else takes that image with the settings and variables of now.

use crate::refusal::Refusal;
use crate::seal::MasterKey;
use crate::shared::Shared;
use crate::source;
use crate::variable::Variables;
use slipway_pipeline::BuildInputs;
use slipway_store::{BuiltRow, DeploymentRow, Reuse, ServiceRow};
use slipway_types::{Plan, ServiceId, ServiceSettings, SourceSpec};

/// What a redeploy is about to do.
#[derive(Debug)]
pub(crate) struct Redeploy {
    /// As it was asked for: a branch may have moved since, so the label decides which commit is meant.
    pub(crate) source: SourceSpec,
    pub(crate) label: String,
    pub(crate) message: Option<String>,
    pub(crate) build: Build,
}

#[derive(Debug)]
pub(crate) enum Build {
    Reuse(Box<Reuse>),
    /// One sentence.
    Again {
        because: String,
    },
}

/// What a build reads of the owner: the rest follows from the source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner<'o> {
    pub(crate) key: &'o MasterKey,
    pub(crate) service: &'o ServiceId,
    pub(crate) variables: &'o Variables,
}

/// `settings` as said, before detection had its word.
pub(crate) fn inputs(
    owner: Owner<'_>,
    source: &SourceSpec,
    commit: Option<&str>,
    settings: &ServiceSettings,
    plan: &Plan,
) -> BuildInputs {
    let identity = match source {
        SourceSpec::Upload { upload } => upload.to_string(),
        SourceSpec::Git(git) => format!("{} {}", git.url, commit.unwrap_or_default()),
    };
    let given = owner.variables.for_build(&plan.public_prefixes);
    let digests = given.iter().map(|(name, value)| (name.clone(), owner.key.digest(owner.service, name, value)));
    BuildInputs::new(identity, source::context(source).to_string(), settings, digests.collect())
}

impl Shared {
    /// Of the source of the service's newest deployment that its ignore command did not rule out, as it was then: of a
    /// git source the same commit.
    pub(crate) async fn redeploy(&self, service: &ServiceRow, rebuild: bool) -> Result<Redeploy, Refusal> {
        let newest = self.store.newest_not_ignored(&service.service_id).await?.ok_or_else(|| {
            Refusal::conflict("nothing-to-redeploy", "the service has no deployment yet").hint("run `slipway up`")
        })?;
        let message = newest.summary.message.clone();
        let build = match rebuild {
            true => Build::Again { because: "it was asked for".to_owned() },
            false => self.build(service, &newest).await?,
        };
        Ok(Redeploy { source: newest.source, label: newest.summary.source_label, message, build })
    }

    async fn build(&self, service: &ServiceRow, newest: &DeploymentRow) -> Result<Build, Refusal> {
        let again = |because: &str| Ok(Build::Again { because: because.to_owned() });
        let id = &service.service_id;
        let Some(built) = self.store.newest_built(id).await? else { return again("nothing was built so far") };
        let commit = Some(built.source_label.as_str());
        if built.source != newest.source || built.source_label != newest.summary.source_label {
            return again("what was built last is another source");
        }
        if self.is_gone(&built).await? {
            return again("layers of what was built last were removed to make room");
        }
        // What can't be resolved is diagnosed by the build.
        let Ok(said) = ServiceSettings::resolve([&service.settings, &built.source_settings]) else {
            return again("a setting is not usable");
        };
        let Ok(settings) = slipway_build::settings_with(&built.plan, &said) else {
            return again("a setting does not go with the plan");
        };
        let variables = self.variables(id, service.env_revision).await?;
        let owner = Owner { key: &self.key, service: id, variables: &variables };
        if let Some(because) = built.inputs.changed(&inputs(owner, &built.source, commit, &said, &built.plan)) {
            return Ok(Build::Again { because });
        }
        let note = format!("unchanged since {}: nothing that the build reads has changed", name(&built));
        Ok(Build::Reuse(Box::new(Reuse { settings, of: built, note })))
    }
}

/// Part of [`Shared::build`]: whether the image can't be started any more.
impl Shared {
    async fn is_gone(&self, built: &BuiltRow) -> Result<bool, Refusal> {
        let row = self.store.deployment(&built.deployment).await?;
        let Some(image) = row.image else { return Ok(false) };
        let since = row.summary.finished_at.unwrap_or(row.summary.created_at);
        Ok(!self.cache().gone(&image.layers, since).is_empty())
    }
}

fn name(built: &BuiltRow) -> String {
    built.built_release.map_or_else(|| built.built_by.to_string(), |number| format!("v{number}"))
}
