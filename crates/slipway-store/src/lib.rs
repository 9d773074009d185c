//! The only SQL of the system: schema, migrations, queries. SQLite now; the statements are written so that PostgreSQL
//! takes them too.
//!
//! - [`Store::open`]. Every method is one transaction; ids and `now` come from the caller.
//! - Progress: [`Store::create_deployment`], [`Store::claim_build`] (an idle worker's next deployment) and
//!   [`Store::apply`] (one event to one deployment) load, let `slipway_pipeline` decide, and write state, phases,
//!   events, diagnosis and live pointer together. Each answers with what is left to do ([`Applied::actions`]) and what
//!   to tell who watches ([`Applied::news`]).
//! - The queue: `waits` (why, and in which order), `builds` (what runs), `queue_length`.
//! - Services: `ensure_service`, `service`, `service_named`, `overviews`, `merge_settings`, `put_settings`, `put_env`,
//!   `env`, `destroy`.
//! - Deployments: `deployment`, `deployments_of`, `deployments`, `active_deployments`, `serving_deployments`, `newest_built`,
//!   `newest_not_ignored`, `phases`.
//! - Releases: `create_release`, `release`, `releases`, `rollback_release`; `retained`: the layers that must stay.
//! - `fall_asleep`, `wake`: whether what is live of a service sleeps. `roster`, `put_roster`: which replicas of it run.
//!   `change_variables`: which variables they are to have.
//!   `take_back`: a crash soon after it went live, with the deployment that brings back what was live before.
//! - The rest: `put_replicas`, `remove_replicas`, `replicas_of`, `replicas`, `add_event`, `events`, `event_page`, `doorbell`, `put_upload`,
//!   `upload`, `put_token`, `token`, `next_generation`, `generation`.
//! - [`copy_database`], [`check_database`]: for backups, beside a server that runs.
//!
//! Guarantees: a state change, its event rows, its phase rows and the live pointer are committed together or not at
//! all; a commit survives a crash of the process and a loss of power; a git credential is never written.

mod apply;
mod built;
mod copy;
mod counter;
mod database;
mod decode;
mod deployment;
mod env;
mod error;
mod event;
mod health;
mod overview;
mod phase;
mod queue;
mod release;
mod replica;
mod retention;
mod row;
mod service;
mod sleep;
mod supervision;
mod token;
mod upload;
mod variables;

pub use apply::{Applied, Change, Planned};
pub use built::{BuiltRow, Reuse};
pub use copy::{check_database, copy_database, newest_schema};
pub use counter::Generation;
pub use database::{Moment, Store, Trouble};
pub use deployment::{Before, NewDeployment};
pub use error::StoreError;
pub use event::{EventFilter, EventPage, OfReplica};
pub use overview::ServiceOverview;
pub use phase::PhaseRow;
pub use queue::{Claimed, QueueRules};
pub use release::{NewRelease, ReleaseRow, RollbackChoice};
pub use replica::{ReplicaRow, ReplicaStatus};
pub use retention::Retained;
pub use row::{DeploymentRow, DeploymentSummary};
pub use service::{Destroyed, ServiceRow};
pub use supervision::RosterChange;
pub use token::TokenRow;
pub use upload::UploadRow;
pub use variables::VariablesChange;
