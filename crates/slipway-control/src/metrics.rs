//! Numbers for a monitoring system, in its text format: what was counted since the start of the server, and how things are at the
//! moment of the question.
//!
//! Labels take their values from fixed lists alone, so that neither people nor apps can make more series.

mod edge;

pub use edge::TrafficReader;

use crate::readiness::Heard;
use crate::shared::Shared;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use slipway_store::StoreError;
use slipway_types::DeploymentStatus;
use slipway_types::api::{DeploymentEvent, PhaseResult};
use slipway_types::host::{HostReport, PhaseOutcome, PhaseOutput};
use slipway_types::route::EdgeReport;
use std::sync::atomic::AtomicU64;

/// What an answer is called.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Of phases, in seconds: from a layer that is there to a build that takes as long as builds may by default.
const PHASE_SECONDS: [f64; 12] = [0.01, 0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1200.0];

type Label = [(&'static str, &'static str); 1];
type PhaseLabels = [(&'static str, &'static str); 2];
type PhaseFamily = Family<PhaseLabels, Histogram, fn() -> Histogram>;
/// With a fraction.
type Seconds = Gauge<f64, AtomicU64>;

/// What is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    phases: PhaseFamily,
    statuses: Family<Label, Counter>,
    replica_ends: Counter,
    lookups: Family<Label, Counter>,
    evictions: Counter,
    evicted_bytes: Counter,
    pub(crate) heard: Heard,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            phases: Family::new_with_constructor(|| Histogram::new(PHASE_SECONDS)),
            statuses: Family::default(),
            replica_ends: Counter::default(),
            lookups: Family::default(),
            evictions: Counter::default(),
            evicted_bytes: Counter::default(),
            heard: Heard::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn host_said(&self, report: &HostReport) {
        self.heard.host();
        match report {
            HostReport::PhaseFinished { outcome: PhaseOutcome::Done(PhaseOutput::Install { reused, .. }), .. } => {
                self.lookups.get_or_create(&[("result", if *reused { "hit" } else { "miss" })]).inc();
            }
            HostReport::Swept(ended) => {
                let done = ended.outcome.as_ref().ok().filter(|outcome| !outcome.dry_run);
                let Some(outcome) = done else { return };
                self.evictions.inc_by(outcome.removed.len() as u64 + outcome.removed_left_out);
                self.evicted_bytes.inc_by(outcome.freed_bytes);
            }
            _ => {}
        }
    }

    pub(crate) fn edge_said(&self, report: &EdgeReport) {
        if matches!(report, EdgeReport::Applied { .. }) {
            self.heard.edge();
        }
    }

    pub(crate) fn deployment_said(&self, event: &DeploymentEvent) {
        match event {
            DeploymentEvent::Status { status, .. } => {
                self.statuses.get_or_create(&[("status", status.as_str())]).inc();
            }
            DeploymentEvent::PhaseFinished { phase, duration_ms, result, .. } => {
                let labels = [("phase", phase.as_str()), ("result", word(*result))];
                let seconds = std::time::Duration::from_millis(*duration_ms).as_secs_f64();
                self.phases.get_or_create(&labels).observe(seconds);
            }
            _ => {}
        }
    }

    pub(crate) fn replica_ended(&self) {
        self.replica_ends.inc();
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("phase_duration_seconds", "Phases of deployments that have ended", self.phases.clone());
        registry.register("deployment_statuses", "Deployments that came to a status", self.statuses.clone());
        registry.register(
            "replica_ends",
            "Live replicas that ended by themselves or were hung",
            self.replica_ends.clone(),
        );
        let help = "Dependency layers that an install asked for";
        registry.register("dependency_layer_lookups", help, self.lookups.clone());
        registry.register("layer_evictions", "Layers and caches that sweeps removed", self.evictions.clone());
        registry.register("layer_evicted_bytes", "What that freed", self.evicted_bytes.clone());
    }
}

fn word(result: PhaseResult) -> &'static str {
    match result {
        PhaseResult::Done => "done",
        PhaseResult::Skipped => "skipped",
        PhaseResult::Failed => "failed",
        PhaseResult::Canceled => "canceled",
    }
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let counter = Counter::<u64>::default();
    counter.inc_by(value);
    registry.register(name, help, counter);
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}

impl Shared {
    /// All of it as text.
    ///
    /// # Errors
    /// When the database can't be read.
    pub(crate) async fn metrics_text(&self) -> Result<String, StoreError> {
        let mut root = Registry::default();
        let registry = root.sub_registry_with_prefix("slipway");
        self.metrics.register(registry);
        self.queue(registry).await?;
        gauge(registry, "database_bytes", "Size of the database", self.store.size_bytes().await?);
        self.replicas(registry);
        self.layers(registry);
        edge::register(registry, &self.traffic);
        if let Some((free, all)) = crate::readiness::disk(&self.data_dir) {
            gauge(registry, "data_disk_free_bytes", "Room on the disk of the data directory", free);
            gauge(registry, "data_disk_size_bytes", "Size of that disk", all);
        }
        process(&mut root);
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &root);
        Ok(text)
    }

    async fn queue(&self, registry: &mut Registry) -> Result<(), StoreError> {
        let active = self.store.active_deployments().await?;
        let queued = active.iter().map(|row| &row.summary).filter(|one| one.status == DeploymentStatus::Queued);
        let since: Vec<_> = queued.map(|summary| summary.created_at).collect();
        let oldest = since.iter().min().map_or(0, |since| (self.now() - since).max(0));
        gauge(registry, "queued_deployments", "Deployments that wait for a build worker", since.len() as u64);
        let age = Seconds::default();
        age.set(std::time::Duration::from_millis(oldest.unsigned_abs()).as_secs_f64());
        registry.register("queue_age_seconds", "Since when the oldest of them waits", age);
        gauge(registry, "active_deployments", "Deployments that have not ended", active.len() as u64);
        Ok(())
    }

    fn replicas(&self, registry: &mut Registry) {
        let (wanted, states) = self.fleet().counts();
        gauge(registry, "replicas_wanted", "Replicas that are to run", wanted);
        let replicas = Family::<Label, Gauge>::default();
        for (state, count) in states {
            replicas.get_or_create(&[("state", state)]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        registry.register("replicas", "Replicas by state", replicas);
    }

    /// As of the host's newest inventory.
    fn layers(&self, registry: &mut Registry) {
        let cache = self.cache();
        let Some(inventory) = cache.inventory() else { return };
        gauge(registry, "layers_hot_bytes", "What layers and caches take on the disk", inventory.hot_bytes);
        gauge(registry, "layers_disk_free_bytes", "Room on the disk of the layers", inventory.free_bytes);
        let items = inventory.items.len() as u64 + inventory.items_left_out;
        gauge(registry, "layers", "Layers and caches", items);
    }
}

/// As all exporters name them.
fn process(registry: &mut Registry) {
    let fields = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let pages = fields("/proc/self/statm").split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    if let Some(pages) = pages {
        let bytes = pages * rustix::param::page_size() as u64;
        gauge(registry, "process_resident_memory_bytes", "Memory of the server", bytes);
    }
    // The name, in parentheses, may have spaces in it.
    let stat = fields("/proc/self/stat");
    let after = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: Vec<u64> = after.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
    if ticks.len() == 2 {
        let seconds = Counter::<f64, AtomicU64>::default();
        #[expect(clippy::cast_precision_loss, reason = "2^53 ticks are three million years")]
        seconds.inc_by(ticks.iter().sum::<u64>() as f64 / rustix::param::clock_ticks_per_second() as f64);
        registry.register("process_cpu_seconds", "Processor time of the server", seconds);
    }
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    gauge(registry, "process_open_fds", "Open files of the server", open);
}
