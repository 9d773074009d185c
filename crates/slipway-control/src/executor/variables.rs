//! Changed variables reach what is live: replicas are replaced one by one, or told while they run, as the service wants it.
//! What a build reads is a build's business, and only said.
//!
//! A further release of the same image is stored before the host hears of anything: a server that comes back goes on with it.

use super::fleet::Reach;
use super::{Executor, Order};
use crate::refusal::{Refusal, cause_chain};
use crate::variable::Variables;
use slipway_pipeline::Roster;
use slipway_store::{DeploymentRow, ReleaseRow, StoreError, VariablesChange};
use slipway_types::api::{EnvAction, EnvApplyView};
use slipway_types::settings::ReloadMode;
use slipway_types::{DeploymentId, ReleaseId, ReplicaId, ServiceId};

/// Names that a sentence lists; the rest is counted.
const NAMED_MAX: usize = 5;

/// What is live of a service, with the variables that it has.
struct Live {
    deployment: DeploymentRow,
    release: ReleaseRow,
    variables: Variables,
}

impl Executor {
    pub(super) async fn apply_variables(&mut self, service: &ServiceId) -> Result<EnvApplyView, Refusal> {
        // Variables are not to change between the decision and what it leads to.
        let shared = self.shared.clone();
        let _turn = shared.editing.lock().await;
        let row = self.shared.store.service(service).await?;
        let Some(live) = self.live_variables(row.live.as_ref()).await? else {
            let because = "nothing of the service is live: its first deployment takes them".to_owned();
            return Ok(EnvApplyView { variables: vec![], action: EnvAction::Nothing { because }, under_way: None });
        };
        let newest = self.shared.variables(service, row.env_revision).await?;
        let id = live.deployment.summary.deployment.clone();
        let under_way = self.under_way(service, &id, row.env_revision).await?;
        let view = |variables, action| Ok(EnvApplyView { variables, action, under_way: under_way.clone() });
        let prefixes = self.public_prefixes(&live).await?;
        let of_build = changed(&live.variables.for_build(&prefixes), &newest.for_build(&prefixes));
        if !of_build.is_empty() {
            let because = format!("the build reads {}", listed(&of_build));
            let all = changed(&live.variables.all(), &newest.all());
            return view(all, EnvAction::NeedsBuild { because });
        }
        let names = changed(&live.variables.for_run(), &newest.for_run());
        if names.is_empty() {
            let because = "what is live has them already".to_owned();
            return view(names, EnvAction::Nothing { because });
        }
        if self.shared.fleet().is_site(&id) {
            let because = "the service is a site of files: nothing runs that reads them".to_owned();
            return view(names, EnvAction::Nothing { because });
        }
        let action = self.bring(service, &id, (&newest, row.env_revision), &names).await?;
        view(names, action)
    }

    async fn live_variables(&self, live: Option<&DeploymentId>) -> Result<Option<Live>, Refusal> {
        let Some(live) = live else { return Ok(None) };
        let deployment = self.shared.store.deployment(live).await?;
        let Some(release) = &deployment.release else { return Ok(None) };
        let release = self.shared.store.release(release).await?;
        let variables = self.shared.variables(&release.service_id, release.env_revision).await?;
        Ok(Some(Live { deployment, release, variables }))
    }

    /// Of the plan that the image was built by. A rollback has none of its own.
    async fn public_prefixes(&self, live: &Live) -> Result<Vec<String>, Refusal> {
        let plan = match &live.deployment.plan {
            Some(plan) => Some(plan.clone()),
            None => match self.shared.store.deployment(&live.release.deployment).await {
                Ok(row) => row.plan,
                Err(StoreError::Missing { .. }) => None,
                Err(error) => return Err(error.into()),
            },
        };
        Ok(plan.map(|plan| plan.public_prefixes).unwrap_or_default())
    }

    async fn under_way(
        &self,
        service: &ServiceId,
        live: &DeploymentId,
        newest: u64,
    ) -> Result<Option<DeploymentId>, Refusal> {
        let active = self.shared.store.active_deployments().await?;
        let older = active.into_iter().find(|row| {
            let summary = &row.summary;
            summary.service_id == *service && summary.deployment != *live && row.env_revision < newest
        });
        Ok(older.map(|row| row.summary.deployment))
    }

    async fn bring(
        &mut self,
        service: &ServiceId,
        live: &DeploymentId,
        (newest, env_revision): (&Variables, u64),
        names: &[String],
    ) -> Result<EnvAction, Refusal> {
        let gone = || Refusal::conflict("nothing-live", "something else went live just now").hint("try it again");
        let (roster, rests, mode) = {
            let fleet = self.shared.fleet();
            let roster = fleet.roster(live).cloned().ok_or_else(gone)?;
            let rests = roster.is_stopped() || fleet.is_asleep(live);
            (roster, rests, fleet.reload_mode(live))
        };
        let restarts = !rests && mode == ReloadMode::Restart;
        let restarted = || {
            let restarted = roster.restarted();
            restarted.step(|_| false).unwrap_or(restarted)
        };
        let change = VariablesChange {
            release: ReleaseId::parse(self.shared.random_id("rel")?)
                .map_err(|error| Refusal::internal("a new id is not an id", &error))?,
            env_revision,
            roster: restarts.then(restarted),
            event: ("variables-changed", told(names, rests, mode)),
        };
        let stored = self.shared.store.change_variables(self.shared.now(), service, live, &change).await?;
        let release = stored.ok_or_else(gone)?;
        newest.add_secrets_to(self.maskers.entry(service.clone()).or_default());
        let reach = if restarts { Reach::Coming } else { Reach::All };
        self.shared.fleet().set_variables(live, (&newest.for_run(), env_revision), reach);
        self.replicas_changed = true;
        if let Some(roster) = change.roster {
            self.enroll(live, roster);
            let mut fleet = self.shared.fleet();
            fleet.reload_ends(live);
            fleet.restart_begins(live);
            return Ok(EnvAction::Restarting {
                release,
                replicas: fleet.roster(live).map_or(0, Roster::left_to_replace),
            });
        }
        if rests {
            return Ok(EnvAction::NextStart { release });
        }
        let replicas = self.shared.fleet().reload_begins(live, env_revision);
        Ok(EnvAction::Reloading { release, replicas })
    }

    /// What could not be told while it runs is replaced.
    pub(super) async fn variables_taken(&mut self, replica: &ReplicaId, revision: u64, trouble: Option<String>) {
        let waited_for = self.shared.fleet().variables_taken(replica, revision);
        let Some(why) = trouble.filter(|_| waited_for) else { return };
        let of = {
            let fleet = self.shared.fleet();
            let deployment = fleet.deployment_of(replica).cloned();
            deployment.and_then(|id| Some((fleet.service_of(&id).cloned()?, id)))
        };
        let Some((service, deployment)) = of else { return };
        tracing::warn!(%replica, why, "could not be told of its new variables, and is restarted");
        let message = format!("replica {replica} could not be told of new variables, and all are restarted: {why}");
        self.tell_of_replica(&deployment, replica, "replica-not-told", &message).await;
        self.shared.fleet().reload_ends(&deployment);
        if let Err(refusal) = self.supervise(&service, Order::Restart).await {
            tracing::error!(%deployment, refusal = refusal.error.message, "replicas without their new variables stay");
        }
    }

    /// The variables of the deployment's release as it is stored now, for replicas that come.
    pub(super) async fn read_variables(&self, deployment: &DeploymentId) {
        let read = async {
            let live = self.live_variables(Some(deployment)).await?;
            Ok::<_, Refusal>(live.map(|live| (live.variables.for_run(), live.release.env_revision)))
        };
        match read.await {
            Ok(Some((env, revision))) => {
                self.shared.fleet().set_variables(deployment, (&env, revision), Reach::Coming);
            }
            Ok(None) => {}
            // Replicas that come get those that did not work; the next start of the server reads them again.
            Err(refusal) => {
                tracing::error!(%deployment, error = cause_chain(&refusal.error), "the former variables can't be read");
            }
        }
    }
}

fn changed<V: PartialEq>(
    before: &std::collections::BTreeMap<String, V>,
    now: &std::collections::BTreeMap<String, V>,
) -> Vec<String> {
    let names: std::collections::BTreeSet<_> = before.keys().chain(now.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != now.get(*name)).cloned().collect()
}

/// `A`, `B` and 3 more
fn listed(names: &[String]) -> String {
    let named = names.iter().take(NAMED_MAX).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED_MAX) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn told(names: &[String], rests: bool, mode: ReloadMode) -> String {
    let what = match (rests, mode) {
        (true, _) => "they count from its next start on",
        (false, ReloadMode::Restart) => "replicas are replaced one by one",
        (false, ReloadMode::Signal) => "replicas are told while they run",
    };
    format!("{} changed: {what}", listed(names))
}
