//! One decision: load, step, store, log, do.

use super::{Active, Executor, Happening};
use crate::executor::fleet::replica_id;
use crate::view;
use slipway_pipeline::{Action, DeploymentState, Event, PhaseChange, Transition, deadline, step};
use slipway_store::StoreError;
use slipway_types::host::{HostCommand, PhaseSpec, ReplicaSpec};
use slipway_types::route::RouteTable;
use slipway_types::settings::DurationMs;
use slipway_types::{Blame, DeploymentId, Diagnosis, Phase, ServiceKind, TimestampMs};

/// How often a decision is made afresh because the row had changed meanwhile. Only this task changes states, so even
/// one such case is a surprise.
const ATTEMPTS_MAX: u32 = 5;
