//! When a replica may get traffic, and whether it still may.

use super::{End, Replica};
use crate::probe::probe;
use slipway_sandbox::Sandbox;
use slipway_types::host::{ProbeResult, ReplicaState};
use slipway_types::route::Endpoint;
use slipway_types::settings::HealthSettings;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// Between two probes of a ready replica: slow, because an exit is noticed at once anyway.
const LIVENESS_INTERVAL: Duration = Duration::from_secs(10);
/// Failed probes in a row that a ready replica is allowed: one slow answer must not cost a restart.
const LIVENESS_FAILURES_MAX: u32 = 3;
/// Longest pause while the app does not listen yet.
const REFUSED_INTERVAL_MAX: Duration = Duration::from_millis(50);
/// Shortest pause between probes, whatever the settings say.
const INTERVAL_MIN: Duration = Duration::from_millis(20);
/// Accepted by development servers and frameworks that check the name, as no address would be.
const HOST: &str = "localhost";

impl Replica {
    /// Reports `Ready` when the replica is, and returns when it is not healthy (any more). For a worker it never does.
    pub(super) async fn watch_health(&self, sandbox: &Sandbox, is_adopted: bool) -> End {
        let address = SocketAddr::from((sandbox.address(), self.spec.port));
        let Some(health) = &self.spec.health else {
            if !is_adopted {
                tokio::time::sleep(self.spec.stable_window.as_duration()).await;
            }
            self.ready(address).await;
            return std::future::pending().await;
        };
        if let Err(end) = self.until_stable(address, health, is_adopted).await {
            return end;
        }
        self.ready(address).await;
        stay_alive(address, health).await
    }

    async fn ready(&self, address: SocketAddr) {
        self.was_ready.store(true, Ordering::Relaxed);
        self.report(ReplicaState::Ready { at: Endpoint::Address(address) }).await;
    }

    /// Probes until the replica has been healthy for the stable window. An adopted one was: one answer is enough.
    async fn until_stable(&self, address: SocketAddr, health: &HealthSettings, is_adopted: bool) -> Result<(), End> {
        let began = Instant::now();
        let (start_timeout, timeout) = (health.start_timeout.as_duration(), health.timeout.as_duration());
        let window = if is_adopted { Duration::ZERO } else { self.spec.stable_window.as_duration() };
        let interval = health.interval.as_duration().max(INTERVAL_MIN);
        let mut healthy_since: Option<Instant> = None;
        loop {
            // A probe that is under way when the time is over has had its chance: only its rest is cut.
            let left = start_timeout.saturating_sub(began.elapsed());
            let bound = if healthy_since.is_some() { timeout } else { timeout.min(left.max(INTERVAL_MIN)) };
            let result = probe(address, HOST, health.path.as_deref(), bound).await;
            let result_was_refused = result == ProbeResult::Refused;
            if result == ProbeResult::Healthy {
                let since = *healthy_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= window {
                    return Ok(());
                }
            } else {
                healthy_since = None;
                if began.elapsed() >= start_timeout {
                    return Err(End::Unhealthy { last_probe: Some(result), waited: began.elapsed() });
                }
            }
            // Nothing listens yet: asking again soon costs a refused connection, and shows the moment when it does.
            let interval = if result_was_refused { interval.min(REFUSED_INTERVAL_MAX) } else { interval };
            let rest = healthy_since.map_or(interval, |since| window.saturating_sub(since.elapsed()));
            tokio::time::sleep(interval.min(rest.max(INTERVAL_MIN))).await;
        }
    }
}

async fn stay_alive(address: SocketAddr, health: &HealthSettings) -> End {
    let began = Instant::now();
    let mut failures = 0;
    loop {
        tokio::time::sleep(LIVENESS_INTERVAL).await;
        match probe(address, HOST, health.path.as_deref(), health.timeout.as_duration()).await {
            ProbeResult::Healthy => failures = 0,
            failed => {
                failures += 1;
                if failures >= LIVENESS_FAILURES_MAX {
                    return End::Unhealthy { last_probe: Some(failed), waited: began.elapsed() };
                }
            }
        }
    }
}
