//! Other variables for replicas that are wanted already: for those that come, or for all; and who of those that run has them.

use super::{Fleet, Group};
use slipway_types::api::ReloadView;
use slipway_types::host::{Env, ReplicaState};
use slipway_types::settings::ReloadMode;
use slipway_types::{DeploymentId, ReplicaId};
use std::collections::BTreeSet;

/// Replicas are told of other variables while they run.
#[derive(Debug)]
pub(super) struct Reload {
    revision: u64,
    of: u32,
    waiting: BTreeSet<ReplicaId>,
    failed: Option<String>,
}

/// Who gets other variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Only replicas that come.
    Coming,
    /// Those that are there too: they are told, or begin with them when they start again.
    All,
}

impl Group {
    /// It ended before it was seen to have the new variables.
    pub(super) fn reload_fails(&mut self, replica: &ReplicaId, why: &str) {
        if let Some(reload) = self.reload.as_mut().filter(|reload| reload.waiting.contains(replica)) {
            reload.waiting.remove(replica);
            reload.failed.get_or_insert_with(|| why.to_owned());
        }
    }
}

impl Fleet {
    pub(crate) fn reload_mode(&self, deployment: &DeploymentId) -> ReloadMode {
        self.groups.get(deployment).map(|group| group.template.reload).unwrap_or_default()
    }

    pub(crate) fn set_variables(&mut self, deployment: &DeploymentId, (env, revision): (&Env, u64), reach: Reach) {
        let Some(group) = self.groups.get_mut(deployment) else { return };
        let those = group.replicas.values_mut().filter(|_| reach == Reach::All).map(|replica| &mut replica.spec);
        for spec in those.chain([&mut group.template]) {
            (spec.env, spec.env_revision) = (env.clone(), revision);
        }
    }

    /// The host is about to tell those that run; how many that are. One that starts is told when it is ready.
    pub(crate) fn reload_begins(&mut self, deployment: &DeploymentId, revision: u64) -> u32 {
        let Some(group) = self.groups.get_mut(deployment) else { return 0 };
        let runs = |state: &ReplicaState| match state {
            ReplicaState::Starting | ReplicaState::Ready { .. } => true,
            ReplicaState::Unready { evidence } => evidence.restart.is_none(),
            ReplicaState::Failed { .. } | ReplicaState::Stopped => false,
        };
        let waiting: BTreeSet<_> =
            group.staying().filter(|(_, replica)| runs(&replica.state)).map(|(id, _)| id.clone()).collect();
        let of = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
        group.reload = Some(Reload { revision, of, waiting, failed: None });
        of
    }

    /// They are restarted instead.
    pub(crate) fn reload_ends(&mut self, deployment: &DeploymentId) {
        if let Some(group) = self.groups.get_mut(deployment) {
            group.reload = None;
        }
    }

    pub(crate) fn deployment_of(&self, replica: &ReplicaId) -> Option<&DeploymentId> {
        self.groups.iter().find(|(_, group)| group.replicas.contains_key(replica)).map(|(deployment, _)| deployment)
    }

    /// A replica runs with the variables of that revision. True: it was waited for.
    pub(crate) fn variables_taken(&mut self, replica: &ReplicaId, revision: u64) -> bool {
        let reload = self.groups.values_mut().find_map(|group| {
            let reload = group.reload.as_mut()?;
            (reload.revision <= revision && reload.waiting.remove(replica)).then_some(())
        });
        reload.is_some()
    }

    pub(crate) fn reload_view(&self, deployment: &DeploymentId) -> Option<ReloadView> {
        let group = self.groups.get(deployment)?;
        let Reload { of, waiting, failed, .. } = group.reload.as_ref()?;
        // Who has gone meanwhile, or sleeps, has nothing to take.
        let stays = |id: &&ReplicaId| {
            !group.sleeps() && group.replicas.get(*id).is_some_and(|replica| replica.leaving_until.is_none())
        };
        let waiting = u32::try_from(waiting.iter().filter(stays).count()).unwrap_or(u32::MAX);
        Some(ReloadView { taken: of.saturating_sub(waiting), of: *of, failed: failed.clone() })
    }
}
