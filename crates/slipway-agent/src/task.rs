//! One task: its process group, its two pipes, and when it is really over.
//!
//! A task is over when its process has exited and both pipes are at their end. A grandchild may hold a pipe open for ever; so
//! after the exit the task is also over once [`DRAIN_MAX`] has passed and what was in the pipes has been read.

use crate::disk;
use crate::memory;
use crate::outbox::Outbox;
use slipway_types::agent::{AgentEvent, OUTPUT_CHUNK_BYTES_MAX, Stream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long an exited task's pipes are waited for when something else holds them open.
const DRAIN_MAX: Duration = Duration::from_millis(200);
/// How much is read after that exit: as much as a pipe can hold (`/proc/sys/fs/pipe-max-size`), twice.
const DRAIN_BYTES_MAX: u64 = 2 * 1024 * 1024;

pub(crate) struct Task {
    pub(crate) id: u32,
    pub(crate) pid: i32,
    pub(crate) started_at: Instant,
    pipes: [Option<OwnedFd>; 2],
    oom_kills_before: Option<u64>,
    disk_full: bool,
    exit: Option<Exit>,
}

struct Exit {
    code: Option<i32>,
    signal: Option<i32>,
    out_of_memory: bool,
    drain_until: Instant,
    drained_bytes: u64,
}

impl Task {
    pub(crate) fn new(id: u32, spawned: crate::spawn::Spawned, oom_kills_before: Option<u64>) -> Self {
        let pipes = [Some(spawned.stdout), Some(spawned.stderr)];
        Self { id, pid: spawned.pid, started_at: Instant::now(), pipes, oom_kills_before, disk_full: false, exit: None }
    }

    pub(crate) fn open_pipes(&self) -> impl Iterator<Item = (usize, &OwnedFd)> {
        self.pipes.iter().enumerate().filter_map(|(index, pipe)| Some((index, pipe.as_ref()?)))
    }

    /// One read, as far as the outbox has room.
    pub(crate) fn read(&mut self, index: usize, outbox: &mut Outbox) {
        let room = outbox.room();
        let Some(pipe) = self.pipes[index].as_ref().filter(|_| room > 0) else { return };
        let mut chunk = [0; OUTPUT_CHUNK_BYTES_MAX];
        match rustix::io::read(pipe, &mut chunk[..room]) {
            Ok(0) => self.pipes[index] = None,
            Ok(length) => {
                let stream = if index == 0 { Stream::Stdout } else { Stream::Stderr };
                outbox.push_output(self.id, stream, &chunk[..length]);
                // A program that fails for lack of room says so, often before it tidies up and ends.
                self.disk_full |= disk::is_full();
                if let Some(exit) = &mut self.exit {
                    exit.drained_bytes += length as u64;
                }
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => self.pipes[index] = None,
        }
    }

    pub(crate) fn has_exited(&self) -> bool {
        self.exit.is_some()
    }

    /// The process was reaped with this wait status.
    pub(crate) fn exited(&mut self, status: i32) {
        let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
        let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
        // Of a child too: a build tool outlives its worker and reports a failure of its own.
        let out_of_memory = memory::oom_kills().is_some_and(|now| Some(now) > self.oom_kills_before);
        self.disk_full |= disk::is_full();
        let drain_until = Instant::now() + DRAIN_MAX;
        self.exit = Some(Exit { code, signal, out_of_memory, drain_until, drained_bytes: 0 });
    }

    /// When [`Task::over`] has to be asked again though nothing happened.
    pub(crate) fn wake_at(&self, now: Instant) -> Option<Instant> {
        self.exit.as_ref().map(|exit| exit.drain_until).filter(|at| *at > now)
    }

    /// The last event of a task that is over.
    pub(crate) fn over(&self, now: Instant) -> Option<AgentEvent> {
        let exit = self.exit.as_ref()?;
        let given_up = || now >= exit.drain_until && (exit.drained_bytes >= DRAIN_BYTES_MAX || self.pipes_are_empty());
        (self.open_pipes().next().is_none() || given_up()).then_some(AgentEvent::Exited {
            task: self.id,
            code: exit.code,
            signal: exit.signal,
            out_of_memory: exit.out_of_memory,
            disk_full: self.disk_full,
        })
    }

    fn pipes_are_empty(&self) -> bool {
        self.open_pipes().all(|(_, pipe)| rustix::io::ioctl_fionread(pipe).is_ok_and(|bytes| bytes == 0))
    }
}
