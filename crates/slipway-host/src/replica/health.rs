//! When a replica may get traffic, whether it still may, and whether it still lives.
//!
//! Readiness decides about traffic, liveness about a restart. A ready replica that fails two probes in a row gets no traffic
//! until one succeeds; it runs on. It is restarted only when it shows no life: by default when it answers nothing at all,
//! so that an app that says "503, my database is away" is left alone.

use super::output::Observed;
use super::{End, Replica};
use crate::probe::probe;
use slipway_sandbox::Sandbox;
use slipway_types::host::{ProbeResult, ReplicaState};
use slipway_types::route::Endpoint;
use slipway_types::settings::HealthSettings;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Failed probes in a row after which a ready replica gets no traffic: one may be bad luck.
const UNREADY_FROM: u32 = 2;
/// Between the probes of a ready replica that has just failed one, and of an unready one.
const DOUBT_INTERVAL: Duration = Duration::from_secs(1);
/// Longest pause while the app does not listen yet.
const REFUSED_INTERVAL_MAX: Duration = Duration::from_millis(50);
/// Shortest pause between probes, whatever the settings say.
const INTERVAL_MIN: Duration = Duration::from_millis(20);
/// Accepted by development servers and frameworks that check the name, as no address would be.
const HOST: &str = "localhost";

impl Replica {
    /// Reports `Ready` when the replica is, and `Unready` as long as it is not any more; returns when it did not become healthy,
    /// or shows no life. For a worker it never does.
    pub(super) async fn watch_health(&self, sandbox: &Sandbox, observed: &Observed, is_adopted: bool) -> End {
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
        let (readiness, is_ready) = watch::channel(true);
        tokio::select! {
            end = stay_alive(address, health, is_ready) => end,
            () = self.stay_ready(address, health, observed, readiness) => std::future::pending().await,
        }
    }

    async fn ready(&self, address: SocketAddr) {
        self.was_ready.store(true, Ordering::Relaxed);
        self.note_ready();
        self.report(ReplicaState::Ready { at: Endpoint::Address(address) }).await;
    }

    /// Probes until the replica has been healthy for the stable window. An adopted one was: one answer is enough.
    async fn until_stable(&self, address: SocketAddr, health: &HealthSettings, is_adopted: bool) -> Result<(), End> {
        let began = Instant::now();
        let (start_timeout, timeout) = (health.start_timeout.as_duration(), health.timeout.as_duration());
        let window = if is_adopted { Duration::ZERO } else { self.spec.stable_window.as_duration() };
        let interval = health.interval.as_duration().max(INTERVAL_MIN);
        let mut healthy_since: Option<Instant> = None;
        let mut last_answer = None;
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
                let is_cut = result == ProbeResult::TimedOut && bound < timeout;
                if began.elapsed() >= start_timeout {
                    // One that had less than its time says less than the answer before it.
                    let last_probe = last_answer.filter(|_| is_cut).or(Some(result));
                    return Err(End::Unhealthy { last_probe, waited: began.elapsed() });
                }
                if matches!(result, ProbeResult::Status { .. } | ProbeResult::Broken { .. }) {
                    last_answer = Some(result);
                }
            }
            // Nothing listens yet: asking again soon costs a refused connection, and shows the moment when it does.
            let interval = if result_was_refused { interval.min(REFUSED_INTERVAL_MAX) } else { interval };
            let rest = healthy_since.map_or(interval, |since| window.saturating_sub(since.elapsed()));
            tokio::time::sleep(interval.min(rest.max(INTERVAL_MIN))).await;
        }
    }

    /// Says of a replica that was ready whether it is. Never returns.
    async fn stay_ready(
        &self,
        address: SocketAddr,
        health: &HealthSettings,
        observed: &Observed,
        readiness: watch::Sender<bool>,
    ) {
        let interval = health.watch_interval.as_duration().max(INTERVAL_MIN);
        let (mut failures, mut failing_since) = (0, Instant::now());
        loop {
            tokio::time::sleep(if failures == 0 { interval } else { interval.min(DOUBT_INTERVAL) }).await;
            match probe(address, HOST, health.path.as_deref(), health.timeout.as_duration()).await {
                ProbeResult::Healthy => {
                    if failures >= UNREADY_FROM {
                        readiness.send_replace(true);
                        self.ready(address).await;
                    }
                    failures = 0;
                }
                failed => {
                    if failures == 0 {
                        failing_since = Instant::now();
                    }
                    failures = u32::saturating_add(failures, 1);
                    if failures == UNREADY_FROM {
                        readiness.send_replace(false);
                        let end = End::Unhealthy { last_probe: Some(failed), waited: failing_since.elapsed() };
                        let evidence = Box::new(self.evidence(end, observed));
                        self.report(ReplicaState::Unready { evidence }).await;
                    }
                }
            }
        }
    }
}

/// Until the replica shows no life. Without a path of its own, only one that is unready is asked: what answers its readiness
/// lives.
async fn stay_alive(address: SocketAddr, health: &HealthSettings, mut is_ready: watch::Receiver<bool>) -> End {
    let liveness = &health.liveness;
    if liveness.failures == 0 {
        return std::future::pending().await;
    }
    let path = liveness.path.as_deref();
    let interval = liveness.interval.as_duration().max(INTERVAL_MIN);
    let (mut failures, mut failing_since) = (0, Instant::now());
    loop {
        if path.is_none() && is_ready.wait_for(|ready| !ready).await.is_err() {
            return std::future::pending().await;
        }
        tokio::time::sleep(interval).await;
        let result = probe(address, HOST, path.or(health.path.as_deref()), liveness.timeout.as_duration()).await;
        // An answer is life, unless its owner has said which one.
        if result == ProbeResult::Healthy || (path.is_none() && matches!(result, ProbeResult::Status { .. })) {
            failures = 0;
            continue;
        }
        if failures == 0 {
            failing_since = Instant::now();
        }
        failures += 1;
        if failures >= liveness.failures {
            return End::Unhealthy { last_probe: Some(result), waited: failing_since.elapsed() };
        }
    }
}
