//! Diagnoses of failures that the machine itself finds. All others come with the event.

use slipway_types::{Blame, Diagnosis, Phase};

/// The server stopped, or its worker was lost, while the pre-deploy command ran.
pub const INTERRUPTED_PRE_DEPLOY: &str = "interrupted-pre-deploy";
/// A phase on a worker did not end within its time and its margin.
pub const PHASE_TIMED_OUT: &str = "phase-timed-out";
/// The replicas did not all become ready within their time and its margin.
pub const START_TIMED_OUT: &str = "start-timed-out";

/// The diagnosis of a code that [`crate::step`] gives by itself; None for any other code.
pub fn own_diagnosis(code: &str, phase: Phase) -> Option<Diagnosis> {
    let place = format!("phase {phase}");
    match code {
        INTERRUPTED_PRE_DEPLOY => Some(
            Diagnosis::new(code, Blame::Platform, "the pre-deploy command was interrupted")
                .at(place)
                .because("the server stopped or lost its build worker while the command ran, so it is not known whether it completed; it is not run twice by itself")
                .hint("check what the command has changed, then run `slipway redeploy`"),
        ),
        PHASE_TIMED_OUT => Some(
            Diagnosis::new(code, Blame::Host, format!("the {phase} phase did not end in time"))
                .at(place)
                .because("the build worker neither finished nor reported a failure")
                .hint("see the server's log for the worker's last words")
                .hint("run `slipway redeploy`"),
        ),
        START_TIMED_OUT => Some(
            Diagnosis::new(code, Blame::Host, "the replicas did not become ready in time")
                .at(place)
                .because("the host reported neither readiness nor a failure of every replica")
                .hint("see the server's log for what the host did last")
                .hint("run `slipway redeploy`"),
        ),
        _ => None,
    }
}
