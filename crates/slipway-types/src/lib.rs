//! The words of the system: ids, names, settings, plans, states, and the messages
//! that its parts exchange.
//!
//! Serde only: nothing here does I/O, reads a clock or draws a random number. Parts that never import
//! each other (control, host, edge, agent) talk through these types alone.

pub mod agent;
pub mod api;
pub mod cache;
pub mod deployment;
pub mod diagnosis;
pub mod error;
pub mod host;
pub mod id;
pub mod image;
pub mod log;
pub mod name;
pub mod plan;
pub mod route;
pub mod secret;
pub mod settings;
pub mod site;
pub mod source;
pub mod traffic;

pub use deployment::{DeploymentStatus, Phase, Trigger};
pub use diagnosis::{Blame, Diagnosis};
pub use error::ApiError;
pub use id::{BuildId, DeploymentId, ReleaseId, ReplicaId, RunId, ServiceId, UploadId};
pub use image::{Image, ImageStart, LayerKind, LayerRef, StartConfig, WrittenBy};
pub use name::{NameError, ProjectName, ServiceName};
pub use plan::Plan;
pub use secret::Secret;
pub use settings::{ServiceKind, ServiceSettings, SettingsPatch};
pub use source::{SourceSpec, TreeListing};

/// Milliseconds since the Unix epoch, UTC. The only instant type on any wire and in any table.
pub type TimestampMs = i64;
