//! The build queue: which deployment an idle worker takes, and why the others wait.
//!
//! In this order: what had a worker already; production before previews, but a preview that waited for [`PREVIEW_WAIT_MAX`] is as
//! urgent; the project with the fewest builds; the project whose turn was longest ago; the oldest. So a project gets no more by
//! asking more often, and nobody starves.
//!
//! Whoever is first and does not fit into what is left of the memory is waited for: smaller builds never pass it. A service
//! has one build at a time, so that two migrations of it never run at once; who waits for that is passed.

use crate::Shape;
use slipway_types::settings::{ByteSize, ServiceSettings};
use slipway_types::{DeploymentId, ProjectName, ServiceId, TimestampMs};
use std::collections::BTreeMap;
use std::time::Duration;

/// A preview that waited for so long is as urgent as production. As long as a large build takes.
pub const PREVIEW_WAIT_MAX: Duration = Duration::from_secs(10 * 60);

/// A deployment that waits for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub deployment: DeploymentId,
    pub service: ServiceId,
    pub project: ProjectName,
    /// Of the branch that its owner calls the main one, and not a preview of another.
    pub production: bool,
    pub sequence: u64,
    pub created_at: TimestampMs,
    /// It had a worker before: it goes first.
    pub resuming: bool,
    /// As far as it is known before the source is.
    pub memory_bytes: u64,
}

/// What a build holds that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub deployment: DeploymentId,
    pub service: ServiceId,
    pub project: ProjectName,
    pub memory_bytes: u64,
}

/// All builds that run, and what they may take together.
#[derive(Debug, Clone, Copy)]
pub struct Builds<'q> {
    pub running: &'q [Held],
    pub memory_max_bytes: u64,
}

impl Builds<'_> {
    pub fn held_bytes(&self) -> u64 {
        self.running.iter().map(|held| held.memory_bytes).fold(0, u64::saturating_add)
    }

    /// Whether one more of that size may begin. One that is too large for all of it begins alone; that it is too large, its
    /// source decides.
    fn has_room(&self, memory_bytes: u64) -> bool {
        self.running.is_empty() || self.held_bytes().saturating_add(memory_bytes) <= self.memory_max_bytes
    }
}

/// When the projects had their last turn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turns {
    last: u64,
    of: BTreeMap<ProjectName, u64>,
}

/// Projects that are remembered. One that is forgotten counts as the one that waits longest.
const PROJECTS_MAX: usize = 1000;

impl Turns {
    /// The project was given a worker.
    pub fn take(&mut self, project: &ProjectName) {
        self.last += 1;
        self.of.insert(project.clone(), self.last);
        if self.of.len() > PROJECTS_MAX {
            let oldest = self.of.iter().min_by_key(|(_, turn)| **turn).map(|(project, _)| project.clone());
            oldest.map(|project| self.of.remove(&project));
        }
    }
}

/// Why a deployment waits, and where it stands. The first is number 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    pub deployment: DeploymentId,
    pub position: u32,
    pub waits_for: WaitsFor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitsFor {
    /// All workers build.
    Worker { builds: usize },
    /// Another deployment of the service is being built.
    Service,
    /// It does not fit beside the builds that run.
    Memory { builds: usize, held_bytes: u64, memory_max_bytes: u64, wanted_bytes: u64 },
    /// Another one that is first waits for memory.
    Turn,
}

/// What a deployment waits for, in words.
impl std::fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Worker { builds: 0 } => f.write_str("waits for a build worker"),
            Self::Worker { builds } => write!(f, "waits for a build worker: {}", running(*builds)),
            Self::Service => f.write_str("waits for the end of another build of the service"),
            Self::Memory { builds, held_bytes, memory_max_bytes, wanted_bytes } => {
                let (held, max) = (ByteSize(*held_bytes), ByteSize(*memory_max_bytes));
                let held =
                    format!("{builds} {} {held} of {max}", if *builds == 1 { "build holds" } else { "builds hold" });
                write!(f, "waits for memory: {held}, and it needs {}", ByteSize(*wanted_bytes))
            }
            Self::Turn => f.write_str("waits for its turn: a deployment before it waits for memory"),
        }
    }
}

fn running(builds: usize) -> String {
    if builds == 1 { "1 build runs".to_owned() } else { format!("{builds} builds run") }
}

/// All that waits, and all that the choice depends on.
#[derive(Debug, Clone, Copy)]
pub struct Queue<'q> {
    pub now: TimestampMs,
    pub waiting: &'q [Candidate],
    pub builds: Builds<'q>,
    pub turns: &'q Turns,
}

impl<'q> Queue<'q> {
    /// What an idle worker takes. None: nothing that waits may begin now.
    pub fn next(&self) -> Option<&'q Candidate> {
        let ahead = self.ahead();
        let may_begin = self.waiting.iter().filter(|one| !self.is_built(&one.service));
        may_begin.min_by_key(|one| ahead.rank(self, one)).filter(|first| self.builds.has_room(first.memory_bytes))
    }

    /// Why each waits, in the order in which they would be taken if each took a worker and kept it. `idle`: a worker is.
    pub fn waits(&self, idle: bool) -> Vec<Wait> {
        let mut ahead = self.ahead();
        let mut left: Vec<&Candidate> = self.waiting.iter().collect();
        let mut waits = Vec::new();
        let mut is_first = true;
        while let Some(at) = (0..left.len()).min_by_key(|at| ahead.rank(self, left[*at])) {
            let one = left.swap_remove(at);
            ahead.take(&one.project);
            let waits_for = self.waits_for(one, idle, is_first);
            is_first &= waits_for == WaitsFor::Service;
            let position = u32::try_from(waits.len() + 1).unwrap_or(u32::MAX);
            waits.push(Wait { deployment: one.deployment.clone(), position, waits_for });
        }
        waits
    }

    fn waits_for(&self, one: &Candidate, idle: bool, is_first: bool) -> WaitsFor {
        let builds = self.builds.running.len();
        if self.is_built(&one.service) {
            WaitsFor::Service
        } else if !self.builds.has_room(one.memory_bytes) {
            WaitsFor::Memory {
                builds,
                held_bytes: self.builds.held_bytes(),
                memory_max_bytes: self.builds.memory_max_bytes,
                wanted_bytes: one.memory_bytes,
            }
        } else if idle && !is_first {
            WaitsFor::Turn
        } else {
            WaitsFor::Worker { builds }
        }
    }

    fn is_built(&self, service: &ServiceId) -> bool {
        self.builds.running.iter().any(|held| held.service == *service)
    }

    fn ahead(&self) -> Ahead {
        let mut builds = BTreeMap::<ProjectName, u32>::new();
        for held in self.builds.running {
            *builds.entry(held.project.clone()).or_default() += 1;
        }
        // A project that is new goes behind nobody and before nobody, however many of them come.
        let known = self.waiting.iter().filter_map(|one| self.turns.of.get(&one.project));
        Ahead { builds, unknown: known.min().copied().unwrap_or(0), turns: self.turns.clone() }
    }

    fn is_urgent(&self, one: &Candidate) -> bool {
        let waited_ms = self.now.saturating_sub(one.created_at).max(0).unsigned_abs();
        one.production || u128::from(waited_ms) >= PREVIEW_WAIT_MAX.as_millis()
    }
}

/// What each project has, and when its turn was.
struct Ahead {
    builds: BTreeMap<ProjectName, u32>,
    turns: Turns,
    unknown: u64,
}

impl Ahead {
    fn rank(&self, queue: &Queue<'_>, one: &Candidate) -> (bool, bool, u32, u64, TimestampMs, u64) {
        let builds = self.builds.get(&one.project).copied().unwrap_or(0);
        let turn = self.turns.of.get(&one.project).copied().unwrap_or(self.unknown);
        (!one.resuming, !queue.is_urgent(one), builds, turn, one.created_at, one.sequence)
    }

    fn take(&mut self, project: &ProjectName) {
        *self.builds.entry(project.clone()).or_default() += 1;
        self.turns.take(project);
    }
}

/// What a deployment may take of the memory for builds: the largest of what its phases run with.
pub fn memory_of(settings: &ServiceSettings, shape: &Shape) -> ByteSize {
    let build = if shape.reuses_image { 0 } else { settings.build.memory.0 };
    let pre_deploy = if shape.pre_deploy { settings.run.memory.0 } else { 0 };
    ByteSize(build.max(pre_deploy))
}

#[cfg(test)]
mod tests;
