//! What the API and the executor both use.

use crate::api::ServicePath;
use crate::cache::CacheState;
use crate::executor::Waits;
use crate::executor::fleet::Fleet;
use crate::log::Logs;
use crate::metrics::{Metrics, TrafficReader};
use crate::outside::Outside;
use crate::readiness::LastLook;
use crate::refusal::Refusal;
use crate::seal::MasterKey;
use crate::source::Credentials;
use crate::upload::Uploads;
use crate::variable::{Variables, VariablesError};
use crate::view;
use slipway_store::{DeploymentSummary, ServiceRow, Store, StoreError};
use slipway_types::api::{DeploymentView, ServerView};
use slipway_types::{DeploymentId, ServiceId, TimestampMs};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Letters of ids: without vowels there are no words, without `l` and `1` no doubts.
const ID_LETTERS: &[u8; 32] = b"23456789abcdfghjkmnpqrstvwxyz0eu";
/// 16 letters of 5 bits each.
const ID_RANDOM_BYTES: usize = 16;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) outside: Box<dyn Outside>,
    pub(crate) server: ServerView,
    pub(crate) drain_timeout: Duration,
    pub(crate) store: Store,
    pub(crate) key: MasterKey,
    pub(crate) credentials: Credentials,
    pub(crate) logs: Arc<Logs>,
    pub(crate) uploads: Uploads,
    /// Written by the executor, read by listings. Held for the length of a look, never across a wait.
    pub(crate) fleet: Mutex<Fleet>,
    /// What the host has of layers. Held like the fleet.
    pub(crate) cache: Mutex<CacheState>,
    /// Of each service: whose layers stay.
    pub(crate) keep_releases: u32,
    /// For all builds together.
    pub(crate) build_memory_max_bytes: u64,
    /// Deployments that may wait for a worker.
    pub(crate) queue_max: u32,
    /// Written by the executor, read by listings. Held like the fleet.
    pub(crate) waits: Mutex<Waits>,
    /// Settings and variables are read, changed and written back, and services made: one change at a time.
    pub(crate) editing: tokio::sync::Mutex<()>,
    pub(crate) data_dir: PathBuf,
    pub(crate) metrics: Metrics,
    pub(crate) traffic: TrafficReader,
    pub(crate) last_look: LastLook,
}

impl Shared {
    /// The only clock of control.
    pub(crate) fn now(&self) -> TimestampMs {
        self.outside.now()
    }

    /// A new id that nobody can guess: a deployment's is a host name.
    pub(crate) fn random_id(&self, kind: &str) -> Result<String, Refusal> {
        let mut bytes = [0; ID_RANDOM_BYTES];
        self.outside.fill(&mut bytes).map_err(|error| Refusal::internal("there are no random bytes", &error))?;
        let letters = bytes.map(|byte| char::from(ID_LETTERS[usize::from(byte % 32)]));
        Ok(format!("{kind}-{}", String::from_iter(letters)))
    }

    pub(crate) fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn cache(&self) -> MutexGuard<'_, CacheState> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As the API answers it.
    pub(crate) fn view(&self, summary: DeploymentSummary) -> DeploymentView {
        let waiting = self.waits().get(&summary.deployment).cloned();
        DeploymentView { waiting, ..view::deployment(&self.server, summary) }
    }

    pub(crate) async fn deployment_view(&self, deployment: &DeploymentId) -> Result<DeploymentView, Refusal> {
        match self.store.deployment(deployment).await {
            Ok(row) => Ok(self.view(row.summary)),
            Err(StoreError::Missing { .. }) => Err(deployment_unknown(deployment)),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn variables(&self, service: &ServiceId, revision: u64) -> Result<Variables, VariablesError> {
        match self.store.env(service, revision).await? {
            Some(sealed) => Variables::unseal(&self.key, service, revision, &sealed),
            None => Ok(Variables::default()),
        }
    }

    /// The service of that name; made when there is none, unless its host name is another's. The caller holds
    /// [`Shared::editing`].
    pub(crate) async fn ensure_service(&self, path: &ServicePath) -> Result<ServiceRow, Refusal> {
        let ServicePath { project, service } = path;
        if let Some(row) = self.store.service_named(project, service).await? {
            return Ok(row);
        }
        // `a-b` of project `c` and `a` of project `b-c` would both be `a-b-c`.
        let label = format!("{service}-{project}");
        for other in self.store.overviews().await? {
            let ServiceRow { project, service, .. } = other.service;
            if format!("{service}-{project}") == label {
                let message = format!("service `{service}` of project `{project}` has the host name `{label}` already");
                return Err(Refusal::conflict("host-name-taken", message));
            }
        }
        let id = ServiceId::parse(self.random_id("svc")?)
            .map_err(|error| Refusal::internal("a new id is not an id", &error))?;
        Ok(self.store.ensure_service(self.now(), project, service, &id).await?)
    }
}

pub(crate) fn deployment_unknown(deployment: &DeploymentId) -> Refusal {
    Refusal::not_found("deployment-unknown", format!("there is no deployment `{deployment}`"))
}
