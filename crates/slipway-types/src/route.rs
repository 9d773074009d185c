//! What the edge is told: the whole route table with its generation.

use crate::settings::DurationMs;
use crate::site::SiteRules;
use crate::{DeploymentId, ProjectName, ReplicaId, ServiceName};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// The whole desired state of an edge. A table with an older generation than the present one is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    pub generation: u64,
    pub routes: Vec<Route>,
}

/// A host name and who answers for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Lower case, without port: `web-shop.localhost`.
    pub host: String,
    pub project: ProjectName,
    pub service: ServiceName,
    /// The deployment whose replicas these are. None: the service has nothing live.
    pub deployment: Option<DeploymentId>,
    /// Redirects and headers of what is live.
    pub rules: Arc<SiteRules>,
    /// Ready replicas. Empty: the edge answers 503 and says which service and why.
    pub targets: Vec<Target>,
    /// One sentence for the 503 page when there are no targets.
    pub unavailable_because: Option<String>,
    /// None: its deployment never sleeps.
    #[serde(default)]
    pub sleep: Option<Sleep>,
}

/// Whether the deployment of a route sleeps, and when it may. Every route of one deployment says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "sleep")]
pub enum Sleep {
    /// Awake. [`EdgeReport::Idle`] is due whenever its targets had no request for that long.
    After { idle: DurationMs },
    /// A request waits for a target, at most that long, and [`EdgeReport::WakeWanted`] is due.
    Asleep { wait_max: DurationMs },
    /// A request waits for a target, at most that long; a wake is under way, or another start.
    Waking { wait_max: DurationMs },
    /// Its owner has stopped it: no request waits, and none wakes it.
    Stopped,
}

impl Sleep {
    /// How long a request waits for a target. None: it does not.
    pub fn wait_max(self) -> Option<DurationMs> {
        match self {
            Sleep::After { .. } | Sleep::Stopped => None,
            Sleep::Asleep { wait_max } | Sleep::Waking { wait_max } => Some(wait_max),
        }
    }
}

/// One ready replica.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    pub replica: ReplicaId,
    pub at: Endpoint,
}

/// Where a replica answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// Its process listens here.
    Address(SocketAddr),
    /// A mounted site: the directory with its manifest.
    Site(PathBuf),
}

/// What an edge reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "report")]
pub enum EdgeReport {
    /// Every new request is routed by this generation or a later one. `closing`: replicas that are no target of it and
    /// still have requests. All others have none, also those that were targets only of tables that the edge never saw.
    Applied { generation: u64, closing: Vec<ReplicaId> },
    /// No request is in flight any more to this replica, which is no target of the present table.
    Drained { replica: ReplicaId },
    /// No request is at the deployment nor was there one for the time that [`Sleep::After`] names. Said again after each such
    /// time.
    Idle { deployment: DeploymentId },
    /// A request waits for the deployment, which sleeps. Said once, and again for a later request when nothing came of it.
    WakeWanted { deployment: DeploymentId },
}
