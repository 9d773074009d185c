//! The edge's numbers, as of the moment of the question.

use super::{Label, counter, gauge};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use slipway_types::traffic::{HEAD_BOUNDS_MS, Traffic};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Asks an edge for what it has counted. The default has never counted anything.
#[derive(Clone, Default)]
pub struct TrafficReader(Option<Arc<dyn Fn() -> Traffic + Send + Sync>>);

impl TrafficReader {
    pub fn new(read: impl Fn() -> Traffic + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(read)))
    }

    fn read(&self) -> Traffic {
        self.0.as_ref().map_or_else(Traffic::default, |read| read())
    }
}

impl fmt::Debug for TrafficReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrafficReader")
    }
}

pub(super) fn register(registry: &mut Registry, traffic: &TrafficReader) {
    let traffic = traffic.read();
    let registry = registry.sub_registry_with_prefix("edge");
    counter(registry, "connections_accepted", "Connections of clients", traffic.connections_accepted);
    gauge(registry, "connections_open", "Connections of clients that are open", traffic.connections_open);
    gauge(registry, "requests_open", "Requests whose answer is not at its end", traffic.requests_open);
    let answers = Family::<Label, Counter>::default();
    for (class, count) in CLASSES.into_iter().zip(traffic.answers) {
        answers.get_or_create(&[("class", class)]).inc_by(count);
    }
    registry.register("answers", "Answers by class of their status", answers);
    let refusals = Family::<[(&'static str, String); 1], Counter>::default();
    for (code, count) in &traffic.refusals {
        refusals.get_or_create(&[("code", code.clone())]).inc_by(*count);
    }
    registry.register("refusals", "Answers of the edge's own, by their code", refusals);
    registry.register_collector(Box::new(Heads { counts: traffic.heads, us: traffic.heads_us }));
}

/// A histogram that was counted elsewhere.
#[derive(Debug)]
struct Heads {
    counts: [u64; HEAD_BOUNDS_MS.len() + 1],
    us: u64,
}

impl Collector for Heads {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let bounds = HEAD_BOUNDS_MS.map(|bound| Duration::from_millis(bound).as_secs_f64());
        let buckets: Vec<_> = bounds.into_iter().chain([f64::INFINITY]).zip(self.counts).collect();
        let help = "From the head of a request to the head of its answer";
        let mut metric = encoder.encode_descriptor("answer_head_seconds", help, None, MetricType::Histogram)?;
        let sum = Duration::from_micros(self.us).as_secs_f64();
        metric.encode_histogram::<NoLabelSet>(sum, self.counts.iter().sum(), &buckets, None)
    }
}
