//! One task: its process group, its two pipes, and when it is really over.
//!
//! A task is over when its process has exited and both pipes are at their end. A grandchild may hold a pipe open for ever; so
//! after the exit the task is also over once [`DRAIN_MAX`] has passed and what was in the pipes has been read.
//!
//! A task whose output has a rate never waits for its reader: what the outbox has no room for is dropped and counted, oldest first,
//! so that what it wrote last, before it crashed for example, is there.

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
/// How long the last words of a task that wrote too fast wait for room. Credit comes every tenth of a second.
const HELD_MAX: Duration = Duration::from_secs(5);
const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

pub(crate) struct Task {
    pub(crate) id: u32,
    pub(crate) pid: i32,
    pub(crate) started_at: Instant,
    pipes: [Option<OwnedFd>; 2],
    oom_kills_before: Option<u64>,
    disk_full: bool,
    exit: Option<Exit>,
    /// Of each pipe, where the task's output has a rate.
    skipped: Option<[Skipped; 2]>,
}

/// Output that had no room.
#[derive(Debug, Default)]
struct Skipped {
    /// Dropped since the host was last told.
    bytes: u64,
    lines: u64,
    /// The newest, which still hopes for room.
    held: Vec<u8>,
}

impl Skipped {
    fn drop_held(&mut self) {
        self.bytes += self.held.len() as u64;
        self.lines += self.held.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.held.clear();
    }

    fn told(&mut self, task: u32, stream: Stream) -> Option<AgentEvent> {
        let (bytes, lines) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.lines));
        (bytes > 0).then_some(AgentEvent::Dropped { task, stream, bytes, lines })
    }
}

struct Exit {
    code: Option<i32>,
    signal: Option<i32>,
    out_of_memory: bool,
    drain_until: Instant,
    held_until: Instant,
    drained_bytes: u64,
}

impl Task {
    /// `drops`: its output has a rate.
    pub(crate) fn new(id: u32, spawned: crate::spawn::Spawned, oom_kills_before: Option<u64>, drops: bool) -> Self {
        Self {
            id,
            pid: spawned.pid,
            started_at: Instant::now(),
            pipes: [Some(spawned.stdout), Some(spawned.stderr)],
            oom_kills_before,
            disk_full: false,
            exit: None,
            skipped: drops.then(Default::default),
        }
    }

    /// Whether it is read although there is no room.
    pub(crate) fn drops(&self) -> bool {
        self.skipped.is_some()
    }

    pub(crate) fn open_pipes(&self) -> impl Iterator<Item = (usize, &OwnedFd)> {
        self.pipes.iter().enumerate().filter_map(|(index, pipe)| Some((index, pipe.as_ref()?)))
    }

    /// One read, as far as the outbox has room.
    pub(crate) fn read(&mut self, index: usize, outbox: &mut Outbox) {
        let room = outbox.room();
        if self.skipped.as_ref().is_some_and(|skipped| room == 0 || !skipped[index].held.is_empty()) {
            return self.skip(index);
        }
        let Some(pipe) = self.pipes[index].as_ref().filter(|_| room > 0) else { return };
        let mut chunk = [0; OUTPUT_CHUNK_BYTES_MAX];
        match rustix::io::read(pipe, &mut chunk[..room]) {
            Ok(0) => self.pipes[index] = None,
            Ok(length) => {
                outbox.push_output(self.id, STREAMS[index], &chunk[..length]);
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

    /// One read without room for it: what was held until now is dropped.
    fn skip(&mut self, index: usize) {
        let (Some(skipped), Some(pipe)) = (&mut self.skipped, &self.pipes[index]) else { return };
        let mut chunk = [0; OUTPUT_CHUNK_BYTES_MAX];
        match rustix::io::read(pipe, &mut chunk) {
            Ok(0) => self.pipes[index] = None,
            Ok(length) => {
                let skipped = &mut skipped[index];
                if skipped.held.len() + length > OUTPUT_CHUNK_BYTES_MAX {
                    skipped.drop_held();
                }
                skipped.held.extend_from_slice(&chunk[..length]);
                self.disk_full |= disk::is_full();
                if let Some(exit) = &mut self.exit {
                    exit.drained_bytes += length as u64;
                }
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => self.pipes[index] = None,
        }
    }

    /// Sends what is held once there is room, and what was dropped before it.
    pub(crate) fn send_held(&mut self, now: Instant, outbox: &mut Outbox) {
        let gives_up = self.exit.as_ref().is_some_and(|exit| now >= exit.held_until);
        let Some(skipped) = &mut self.skipped else { return };
        for (stream, skipped) in STREAMS.into_iter().zip(skipped) {
            if skipped.held.is_empty() {
                continue;
            }
            if outbox.room() >= skipped.held.len() {
                skipped.told(self.id, stream).into_iter().for_each(|event| outbox.push_event(event));
                outbox.push_output(self.id, stream, &skipped.held);
                skipped.held.clear();
            } else if gives_up {
                skipped.drop_held();
                skipped.told(self.id, stream).into_iter().for_each(|event| outbox.push_event(event));
            }
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
        let (drain_until, held_until) = (Instant::now() + DRAIN_MAX, Instant::now() + HELD_MAX);
        self.exit = Some(Exit { code, signal, out_of_memory, drain_until, held_until, drained_bytes: 0 });
    }

    /// When [`Task::over`] has to be asked again though nothing happened.
    pub(crate) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let exit = self.exit.as_ref()?;
        [exit.drain_until, exit.held_until].into_iter().find(|at| *at > now)
    }

    /// The last event of a task that is over.
    pub(crate) fn over(&self, now: Instant) -> Option<AgentEvent> {
        let exit = self.exit.as_ref()?;
        if self.skipped.iter().flatten().any(|skipped| !skipped.held.is_empty()) {
            return None;
        }
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
