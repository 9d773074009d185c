//! When to stop waiting for a state's end. The host has its own, shorter limits; these are for a host that says
//! nothing.

use crate::DeploymentState as S;
use slipway_types::settings::ServiceSettings;
use slipway_types::{Phase, TimestampMs};
use std::time::Duration;

/// Fetching a large repository over a slow line, or the first fetch of a toolchain.
const FETCH_MS: i64 = 30 * 60 * 1000;
/// How long a service's ignore command may take: it compares two commits, and what does not end decides nothing. It runs
/// in the environment phase, whose deadline has room for it beside the fetch of a toolchain.
pub const IGNORE_TIMEOUT_MS: u64 = 5 * 60 * 1000;
/// What a host may take beyond a limit that it enforces itself: to stop a sandbox, to publish a layer, to report.
const MARGIN_MS: i64 = 2 * 60 * 1000;
/// The edge applies a table at once; after this it is given again.
const ROUTE_MS: i64 = 5 * 1000;
/// Removing scratch; after this it is tried again.
const CLEAN_UP_MS: i64 = 60 * 1000;

/// A worker that was not heard of for so long has lost its deployment, which goes on with another one. Several times
/// [`slipway_types::host::HEARTBEAT_INTERVAL`]: one word that is late decides nothing.
pub const LEASE: Duration = Duration::from_secs(10);

/// [`crate::Event::TimedOut`] for `phase` is due at `at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    pub phase: Phase,
    pub at: TimestampMs,
}

/// The deadline of the state, if it has one. Queued and resuming deployments wait as long as it takes.
pub fn deadline(state: &S, settings: &ServiceSettings) -> Option<Deadline> {
    let (phase, since, limit_ms) = match state {
        S::Running { phase, since, .. } => (*phase, *since, worker_limit_ms(*phase, settings)),
        S::Starting { since } => (Phase::Start, *since, start_limit_ms(settings)),
        S::Health { since } => (Phase::Health, *since, start_limit_ms(settings)),
        S::Routing { since, .. } => (Phase::Route, *since, ROUTE_MS),
        // As long for what is in flight as for the process itself.
        S::Draining { since, .. } => (Phase::Drain, *since, ms(settings.stop_grace.0)),
        S::CleaningUp { since, .. } => (Phase::CleanUp, *since, CLEAN_UP_MS),
        S::Queued { .. }
        | S::Resuming { .. }
        | S::Live { .. }
        | S::Superseded { .. }
        | S::Failed { .. }
        | S::Canceled { .. } => return None,
    };
    Some(Deadline { phase, at: since.saturating_add(limit_ms) })
}

fn worker_limit_ms(phase: Phase, settings: &ServiceSettings) -> i64 {
    match phase {
        Phase::Install | Phase::Build => ms(settings.build_timeout.0).saturating_add(MARGIN_MS),
        Phase::PreDeploy => ms(settings.pre_deploy_timeout.0).saturating_add(MARGIN_MS),
        Phase::Environment => FETCH_MS.saturating_add(ms(IGNORE_TIMEOUT_MS)).saturating_add(MARGIN_MS),
        _ => FETCH_MS,
    }
}

fn start_limit_ms(settings: &ServiceSettings) -> i64 {
    let health = &settings.health;
    ms(health.start_timeout.0).saturating_add(ms(health.stable_window.0)).saturating_add(MARGIN_MS)
}

fn ms(duration_ms: u64) -> i64 {
    i64::try_from(duration_ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_states_that_someone_works_on_have_a_deadline() {
        let settings = ServiceSettings::default();
        assert_eq!(deadline(&S::Queued { since: 7 }, &settings), None);
        assert_eq!(deadline(&S::Live { since: 7, crashed: None }, &settings), None);
        let routing = S::Routing { since: 7, generation: 1, former: None, crashed: None };
        assert_eq!(deadline(&routing, &settings), Some(Deadline { phase: Phase::Route, at: 7 + ROUTE_MS }));
    }

    #[test]
    fn a_host_has_more_time_than_its_own_limit() {
        let settings = ServiceSettings::default();
        let building = S::Running { phase: Phase::Build, worker: 0, since: 0, attempt: 1, superseded_by: None };
        let at = deadline(&building, &settings).unwrap().at;
        assert!(at > ms(settings.build_timeout.0));
    }

    #[test]
    fn an_ignore_command_takes_nothing_of_the_time_for_fetching_a_toolchain() {
        let settings = ServiceSettings::default();
        let since = |phase| S::Running { phase, worker: 0, since: 0, attempt: 1, superseded_by: None };
        let limit = |phase| deadline(&since(phase), &settings).unwrap().at;
        assert!(limit(Phase::Environment) > limit(Phase::Source) + ms(IGNORE_TIMEOUT_MS));
    }
}
