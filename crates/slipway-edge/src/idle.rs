//! When a deployment that may sleep had no request for long enough. A request counts from its pick of a target to its last
//! byte, an upgraded connection to its end. There is no look at it in between: the next one is due when the time could be over.

use crate::gate::Gate;
use slipway_types::route::{RouteTable, Sleep};
use slipway_types::{DeploymentId, ReplicaId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Below what settings allow: a table that says less must not keep the edge busy.
const AFTER_MIN: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(crate) struct IdleWatch {
    watched: HashMap<DeploymentId, Watched>,
}

#[derive(Debug)]
struct Watched {
    after: Duration,
    gates: Vec<Arc<Gate>>,
    look_at: Instant,
}

impl IdleWatch {
    /// Watches what `table` says, from now on; what was watched before goes on.
    pub(crate) fn follow(&mut self, now: Instant, table: &RouteTable, gates: &HashMap<ReplicaId, Arc<Gate>>) {
        let mut former = std::mem::take(&mut self.watched);
        for route in &table.routes {
            let (Some(Sleep::After { idle }), Some(deployment)) = (route.sleep, &route.deployment) else { continue };
            let own: Vec<_> = route.targets.iter().filter_map(|target| gates.get(&target.replica).cloned()).collect();
            if own.is_empty() || self.watched.contains_key(deployment) {
                continue;
            }
            let after = idle.as_duration().max(AFTER_MIN);
            let former = former.remove(deployment).filter(|former| former.after == after);
            let look_at = former.map_or(now + after, |former| former.look_at);
            self.watched.insert(deployment.clone(), Watched { after, gates: own, look_at });
        }
    }

    /// When to look next.
    pub(crate) fn look_at(&self) -> Option<Instant> {
        self.watched.values().map(|watched| watched.look_at).min()
    }

    /// Those that are idle. One that stays so is named again after the same time.
    pub(crate) fn look(&mut self, now: Instant) -> Vec<DeploymentId> {
        let mut idle = Vec::new();
        for (deployment, watched) in self.watched.iter_mut().filter(|(_, watched)| watched.look_at <= now) {
            let since = watched.gates.iter().map(|gate| gate.idle_since()).try_fold(None, |newest, since| {
                // None as soon as one of them is busy.
                since.map(|since| newest.max(Some(since)))
            });
            watched.look_at = match since.flatten() {
                Some(since) if since + watched.after > now => since + watched.after,
                Some(_) => {
                    idle.push(deployment.clone());
                    now + watched.after
                }
                None => now + watched.after,
            };
        }
        idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_types::route::{Endpoint, Route, Target};
    use slipway_types::settings::DurationMs;
    use slipway_types::{ProjectName, ServiceName};
    use tokio::sync::Notify;

    const AFTER: Duration = Duration::from_secs(60);

    fn gate() -> Arc<Gate> {
        Arc::new(Gate::new(Arc::new(Notify::new())))
    }

    fn table(replicas: &[&str]) -> RouteTable {
        let target = |name: &&str| Target {
            replica: ReplicaId::parse(*name).unwrap(),
            at: Endpoint::Address(([127, 0, 0, 1], 1).into()),
        };
        let route = |host: &str| Route {
            host: host.to_owned(),
            project: ProjectName::parse("shop").unwrap(),
            service: ServiceName::parse("web").unwrap(),
            deployment: Some(DeploymentId::parse("dpl-1").unwrap()),
            rules: Arc::default(),
            targets: replicas.iter().map(target).collect(),
            unavailable_because: None,
            sleep: Some(Sleep::After { idle: DurationMs::seconds(60) }),
        };
        RouteTable { generation: 1, routes: vec![route("a"), route("b")] }
    }

    fn gates(named: &[(&str, &Arc<Gate>)]) -> HashMap<ReplicaId, Arc<Gate>> {
        named.iter().map(|(name, gate)| (ReplicaId::parse(*name).unwrap(), Arc::clone(gate))).collect()
    }

    #[test]
    fn idle_is_the_time_since_the_last_request_of_any_replica() {
        let (one, two) = (gate(), gate());
        let mut watch = IdleWatch::default();
        let began = Instant::now();
        watch.follow(began, &table(&["r1", "r2"]), &gates(&[("r1", &one), ("r2", &two)]));
        assert_eq!(watch.look_at(), Some(began + AFTER));
        // A request that is still there keeps it awake for as long as it takes.
        assert!(two.try_enter());
        assert_eq!(watch.look(began + AFTER), []);
        assert_eq!(watch.look(began + 2 * AFTER), []);
        two.leave();
        let left = two.idle_since().unwrap();
        assert!(one.idle_since().unwrap() <= left);
        // As if the request had ended after the last look.
        let now = left + AFTER - Duration::from_millis(1);
        watch.watched.values_mut().for_each(|watched| watched.look_at = now);
        assert_eq!(watch.look(now), []);
        assert_eq!(watch.look_at(), Some(left + AFTER));
        assert_eq!(watch.look(left + AFTER).len(), 1, "two routes, one deployment");
        assert_eq!(watch.look(left + AFTER), [], "not again at once");
        assert_eq!(watch.look(left + 2 * AFTER).len(), 1);
    }

    #[test]
    fn a_new_table_does_not_begin_the_time_anew() {
        let gate = gate();
        let mut watch = IdleWatch::default();
        let began = Instant::now();
        watch.follow(began, &table(&["r1"]), &gates(&[("r1", &gate)]));
        watch.follow(began + AFTER / 2, &table(&["r1"]), &gates(&[("r1", &gate)]));
        assert_eq!(watch.look_at(), Some(began + AFTER));
        watch.follow(began + AFTER / 2, &table(&[]), &gates(&[]));
        assert_eq!(watch.look_at(), None, "what has no target is not idle");
    }
}
