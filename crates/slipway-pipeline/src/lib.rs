//! Decisions of a deployment: a pure state machine. No I/O, no clock, no randomness.
//!
//! - [`begin`]`(now, trigger, shape)` is the first state of a deployment, [`step`]`(now, &Deployment, &Event)` every later
//!   one. Both answer with a [`Transition`]: the next state, what to do, and which phases started, finished or were
//!   skipped.
//! - [`DeploymentState`] is what is stored; [`DeploymentState::status`] and [`DeploymentState::phase`] are what people
//!   see.
//! - [`Deployment`] is the state with the facts that a decision needs: sequence, trigger, [`Shape`], what is live.
//! - [`BuildInputs`] says whether an image that is there can stand for a build.
//! - [`setting_effect`] says what has to happen before another value of a setting counts.
//! - [`Roster`] says which replicas of a live deployment run.
//! - [`deadline`] says when to send [`Event::TimedOut`]; [`Queue`] which deployment an idle worker takes, and
//!   why the others wait;
//!   [`rollback_target`] which release a rollback means; [`own_diagnosis`] the diagnoses of codes that the machine
//!   itself gives.
//!
//! Guarantees, each held by `tests/model.rs` over every reachable state:
//! an older deployment never goes live over a newer one; nothing settled comes back; what is live stays so until something
//! newer is; before the route phase nothing
//! that is live is touched; a worker is released exactly once; replicas of a deployment that ends before it is live are
//! stopped.

mod action;
mod choice;
mod deadline;
mod event;
mod inputs;
mod own_diagnosis;
mod queue;
mod roster;
mod state;
mod step;
mod trigger;
mod way;

pub use action::{Action, PhaseChange, Transition};
pub use choice::{PastRelease, RollbackRefusal, rollback_target};
pub use deadline::{Deadline, IGNORE_TIMEOUT_MS, LEASE, deadline};
pub use event::Event;
pub use inputs::BuildInputs;
pub use own_diagnosis::{INTERRUPTED_PRE_DEPLOY, PHASE_TIMED_OUT, START_TIMED_OUT, own_diagnosis};
pub use queue::{Builds, Candidate, Held, PREVIEW_WAIT_MAX, Queue, Turns, Wait, WaitsFor, memory_of};
pub use roster::Roster;
pub use state::{Deployment, DeploymentState, LiveDeployment, Shape};
pub use step::{begin, step};
pub use trigger::{Effect, SETTING_EFFECTS, setting_effect};
