//! What can happen to a deployment.

use slipway_types::Phase;

/// Something that happened. Any event may come in any state, late or twice: what does not fit changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// An idle worker took the deployment.
    WorkerClaimed { worker: u32 },
    /// A phase on the worker ended well. `skipped`: no command ran (dependencies unchanged, or no build command).
    PhaseDone { phase: Phase, attempt: u64, skipped: bool },
    /// A phase (source to health) ended badly; `code` is the diagnosis's. No attempt: the fault is not a worker's.
    PhaseFailed { phase: Phase, attempt: Option<u64>, code: String },
    /// The source is known now, and its build needs more memory than is left beside the builds that run.
    MemoryWanted { attempt: u64 },
    /// Nothing was heard of the worker for [`crate::LEASE`]: it has the deployment no more, whatever it still does.
    LeaseExpired { attempt: u64 },
    /// The sandboxes of all replicas run; from now on it is health that is waited for.
    ReplicasStarted,
    /// All replicas are healthy and stable.
    ReplicasReady,
    /// A replica will not become ready; `code` is the diagnosis's.
    ReplicaFailed { code: String },
    /// A replica that had been ready ended by itself, or showed no life; `code` is the diagnosis's. There is something to go
    /// back to.
    ReplicaCrashed { code: String },
    /// Every new request is routed by this generation of the route table or a later one.
    Routed { generation: u64 },
    /// Nothing is in flight any more to replicas of the service's other deployments.
    Drained,
    /// Scratch is removed.
    CleanedUp,
    /// The phase's [`crate::deadline`] passed.
    TimedOut { phase: Phase },
    /// A person wants it to end, or the service's own ignore command says that there is nothing to deploy.
    CancelRequested,
    /// A newer deployment of the service was created. Ends what is not yet live, leaves what is.
    NewerCreated { sequence: u64 },
    /// A newer deployment of the service is live.
    NewerLive { sequence: u64 },
    /// The server came back, or the worker was lost: nothing that was asked for is being done. `scratch_kept`: the
    /// outputs of the phases before are still at hand; without them the worker's phases begin again.
    Restarted { scratch_kept: bool },
}
