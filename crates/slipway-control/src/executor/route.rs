//! The route table: a pure function of what is live and which replicas are ready, and the bookkeeping of what the
//! edge has said about it.

use super::fleet::Fleet;
use slipway_types::route::{Route, RouteTable, Target};
use slipway_types::{DeploymentId, ProjectName, ReplicaId, ServiceId, ServiceKind, ServiceName};
use std::collections::{BTreeMap, BTreeSet};

/// A service as routing sees it.
#[derive(Debug, Clone)]
pub(crate) struct Routed {
    pub(crate) project: ProjectName,
    pub(crate) service: ServiceName,
    pub(crate) kind: ServiceKind,
    pub(crate) live: Option<DeploymentId>,
}

/// `<service>-<project>.<domain>`
pub(crate) fn service_host(project: &ProjectName, service: &ServiceName, domain: &str) -> String {
    format!("{service}-{project}.{domain}")
}

/// `<deployment>.<domain>`
pub(crate) fn deployment_host(deployment: &DeploymentId, domain: &str) -> String {
    format!("{deployment}.{domain}")
}

/// All routes: one for each web service, one for each of its deployments that has replicas.
pub(crate) fn routes(services: &BTreeMap<ServiceId, Routed>, fleet: &Fleet, domain: &str) -> Vec<Route> {
    let web = |service: &&Routed| service.kind.is_routed();
    let mut routes: Vec<_> =
        services.values().filter(web).map(|service| service_route(service, fleet, domain)).collect();
    for (deployment, service) in fleet.serving() {
        let Some(service) = services.get(service).filter(web) else { continue };
        let targets = targets(fleet, deployment);
        let because = targets.is_empty().then(|| why_not(fleet, deployment, "this deployment has no ready replica"));
        routes.push(Route {
            host: deployment_host(deployment, domain),
            project: service.project.clone(),
            service: service.service.clone(),
            deployment: Some(deployment.clone()),
            rules: fleet.rules(deployment),
            targets,
            unavailable_because: because,
            sleep: fleet.route_sleep(deployment),
        });
    }
    routes
}

fn service_route(service: &Routed, fleet: &Fleet, domain: &str) -> Route {
    let targets = service.live.as_ref().map(|live| targets(fleet, live)).unwrap_or_default();
    let because = match (&service.live, targets.is_empty()) {
        (_, false) => None,
        (None, true) => Some("no deployment of it has gone live yet".to_owned()),
        (Some(live), true) => Some(why_not(fleet, live, "no replica of it is ready at the moment")),
    };
    Route {
        host: service_host(&service.project, &service.service, domain),
        project: service.project.clone(),
        service: service.service.clone(),
        deployment: service.live.clone(),
        rules: service.live.as_ref().map(|live| fleet.rules(live)).unwrap_or_default(),
        targets,
        unavailable_because: because,
        sleep: service.live.as_ref().and_then(|live| fleet.route_sleep(live)),
    }
}

fn why_not(fleet: &Fleet, deployment: &DeploymentId, usual: &str) -> String {
    let why = match () {
        () if fleet.is_stopped(deployment) => "it was stopped",
        () if fleet.failed_to_wake(deployment) => "it was asleep and could not start",
        () => usual,
    };
    why.to_owned()
}

fn targets(fleet: &Fleet, deployment: &DeploymentId) -> Vec<Target> {
    fleet.ready(deployment).into_iter().map(|(replica, at)| Target { replica, at }).collect()
}

/// What was given to the edge, and for which replicas it may still have a request in flight.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) table: RouteTable,
    /// Replicas that are a target, or were one of a table that the edge may have seen and did not say to have no request since.
    maybe_in_flight: BTreeSet<ReplicaId>,
}

impl Given {
    pub(crate) fn give(&mut self, table: RouteTable) {
        self.maybe_in_flight.extend(targets_of(&table));
        self.table = table;
    }

    /// All that the edge knows of is in this, where it is about the newest table.
    pub(crate) fn applied(&mut self, generation: u64, closing: Vec<ReplicaId>) {
        if generation == self.table.generation {
            self.maybe_in_flight = targets_of(&self.table).chain(closing).collect();
        }
    }

    /// A report about a replica that is a target again is about an earlier time.
    pub(crate) fn drained(&mut self, replica: &ReplicaId) {
        if !targets_of(&self.table).any(|target| target == *replica) {
            self.maybe_in_flight.remove(replica);
        }
    }

    pub(crate) fn is_drained(&self, replica: &ReplicaId) -> bool {
        !self.maybe_in_flight.contains(replica)
    }

    /// The replica is gone: nothing can be in flight to it.
    pub(crate) fn forget(&mut self, replica: &ReplicaId) {
        self.maybe_in_flight.remove(replica);
    }
}

fn targets_of(table: &RouteTable) -> impl Iterator<Item = ReplicaId> + '_ {
    table.routes.iter().flat_map(|route| route.targets.iter().map(|target| target.replica.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(generation: u64, replicas: &[&str]) -> RouteTable {
        let target = |name: &&str| Target {
            replica: ReplicaId::parse(*name).unwrap(),
            at: slipway_types::route::Endpoint::Address(([127, 0, 0, 1], 1).into()),
        };
        let route = Route {
            host: "a".to_owned(),
            project: ProjectName::parse("shop").unwrap(),
            service: ServiceName::parse("web").unwrap(),
            deployment: None,
            rules: Default::default(),
            targets: replicas.iter().map(target).collect(),
            unavailable_because: None,
            sleep: None,
        };
        RouteTable { generation, routes: vec![route] }
    }

    /// Nobody would ever have said that it is drained, and its release would never have slept.
    #[test]
    fn what_only_an_unseen_table_names_has_no_request() {
        let [one, two] = ["r-1", "r-2"].map(|name| ReplicaId::parse(name).unwrap());
        let mut given = Given::default();
        given.give(table(1, &["r-1"]));
        given.give(table(2, &["r-1", "r-2"]));
        given.give(table(3, &[]));
        given.applied(1, Vec::new());
        assert!(!given.is_drained(&one) && !given.is_drained(&two), "a word about an older table says nothing of it");
        given.applied(3, vec![one.clone()]);
        assert!(!given.is_drained(&one) && given.is_drained(&two));
        given.drained(&one);
        assert!(given.is_drained(&one));
    }
}
