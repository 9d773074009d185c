//! One command in a sandbox of its own, to its end.

use super::{PhaseContext, PhaseEnd, with_causes};
use crate::line::LineSplitter;
use crate::process::LineSink;
use crate::tree::{APP_GID, APP_UID};
use slipway_sandbox::{CacheSpec, Events, Sandbox, SandboxEvent, SandboxSpec, WritableSpec};
use slipway_types::LayerRef;
use slipway_types::agent::{Stream, TaskSpec};
use slipway_types::host::{Env, Evidence, ExitFacts};
use slipway_types::settings::{DurationMs, ResourceLimits};
use std::path::PathBuf;
use std::time::Duration;

/// The only task of a sandbox.
pub(crate) const TASK: u32 = 1;
/// Node.js programs open thousands of files; the kernel's usual hard limit is 2^20.
pub(crate) const OPEN_FILES_MAX: u64 = 65_536;

/// What runs where.
#[derive(Debug)]
pub(super) struct SandboxCommand<'c> {
    pub(super) layers: &'c [LayerRef],
    /// The writable image in the scratch directory, made when it is not there; kept when the command succeeded. Who does not want
    /// to begin from what is in it removes it before.
    pub(super) image: PathBuf,
    pub(super) cache: Option<CacheSpec>,
    pub(super) command: &'c str,
    pub(super) cwd: String,
    pub(super) env: Env,
    pub(super) limits: ResourceLimits,
    pub(super) timeout: DurationMs,
}

/// How a task ended.
struct TaskEnd {
    exit: ExitFacts,
    disk_full: bool,
}

impl PhaseContext<'_> {
    /// The place of an image that a command writes. A leftover of an attempt before would let this one begin from something else
    /// than its layers.
    pub(super) async fn empty_image(&self, name: &str) -> PathBuf {
        let image = self.scratch.join(name);
        let _ = tokio::fs::remove_file(&image).await;
        image
    }

    /// Runs the command; on success the written image is complete and unmounted.
    pub(super) async fn run_in_sandbox(&self, command: SandboxCommand<'_>) -> Result<(), PhaseEnd> {
        let sandbox = self.boot(&command).await?;
        let timeout = command.timeout;
        let end = tokio::select! {
            () = self.cancel.cancelled() => Err(PhaseEnd::Canceled),
            end = tokio::time::timeout(timeout.as_duration(), self.follow(&sandbox, &command)) => {
                end.unwrap_or_else(|_| Err(timed_out(timeout)))
            }
        };
        // Whatever still runs in it is no part of the result.
        let stopped = sandbox.stop(Duration::ZERO).await;
        let end = end?;
        stopped.map_err(|error| sandbox_failed(&error))?;
        if end.exit.code == Some(0) && !end.exit.out_of_memory {
            return Ok(());
        }
        // A command may survive the loss of a child to the memory limit: only its own word counts then.
        if end.exit.code == Some(0) {
            self.log.say("a process was killed because the memory limit was reached; the command went on").await;
            return Ok(());
        }
        let evidence = Evidence { exit: Some(end.exit), disk_full: end.disk_full, ..Evidence::default() };
        Err(PhaseEnd::Failed(Box::new(evidence)))
    }

    async fn boot(&self, command: &SandboxCommand<'_>) -> Result<Sandbox, PhaseEnd> {
        let store = &self.host.store;
        self.bring_back_all(command.layers).await?;
        let spec = SandboxSpec {
            id: self.host.build_sandbox_id(&self.spec.deployment),
            layers: command.layers.iter().map(|layer| store.path(layer)).collect(),
            writable: WritableSpec::kept(command.image.clone(), command.limits.disk.0),
            cache: command.cache.clone(),
            limits: command.limits,
            hostname: format!("{}-build", self.spec.service),
        };
        let booted = self.host.sandboxes.boot(spec.clone()).await;
        let (Err(error), Some(cache)) = (&booted, &command.cache) else {
            return booted.map_err(|error| sandbox_failed(&error));
        };
        // Losing a cache costs time, never a deployment.
        self.log.say(format!("the build cache is not usable and begins afresh ({error})")).await;
        let _ = tokio::fs::remove_file(&cache.image).await;
        let _ = tokio::fs::remove_file(&command.image).await;
        self.host.sandboxes.boot(spec).await.map_err(|error| sandbox_failed(&error))
    }

    async fn follow(&self, sandbox: &Sandbox, command: &SandboxCommand<'_>) -> Result<TaskEnd, PhaseEnd> {
        let task = TaskSpec {
            task: TASK,
            argv: ["/bin/sh", "-c", command.command].map(str::to_owned).into(),
            env: command.env.clone(),
            cwd: command.cwd.clone(),
            uid: APP_UID,
            gid: APP_GID,
            open_files_max: OPEN_FILES_MAX,
        };
        let mut events = sandbox.events();
        sandbox.start_task(task).await.map_err(|error| sandbox_failed(&error))?;
        self.until_exit(&mut events).await
    }

    async fn until_exit(&self, events: &mut Events) -> Result<TaskEnd, PhaseEnd> {
        let (mut stdout, mut stderr) = (LineSplitter::default(), LineSplitter::default());
        while let Some(event) = events.next().await {
            match event {
                SandboxEvent::Output { stream, bytes, .. } => {
                    let splitter = if stream == Stream::Stdout { &mut stdout } else { &mut stderr };
                    for line in splitter.push(&bytes) {
                        self.log.line(stream, line).await;
                    }
                }
                SandboxEvent::Exited { facts, disk_full, .. } => {
                    for (stream, splitter) in [(Stream::Stdout, &mut stdout), (Stream::Stderr, &mut stderr)] {
                        if let Some(line) = splitter.finish() {
                            self.log.line(stream, line).await;
                        }
                    }
                    return Ok(TaskEnd { exit: facts, disk_full });
                }
                SandboxEvent::StartFailed { message, .. } | SandboxEvent::Refused { message } => {
                    return Err(PhaseEnd::host_error(
                        "sandbox-failed",
                        format!("the command did not start: {message}"),
                    ));
                }
                SandboxEvent::Gone { reason } => {
                    return Err(PhaseEnd::host_error("sandbox-failed", format!("the sandbox ended: {reason}")));
                }
                SandboxEvent::Started { .. } | SandboxEvent::Listening { .. } | SandboxEvent::Dropped { .. } => {}
            }
        }
        Err(PhaseEnd::host_error("sandbox-failed", "the sandbox ended without a word"))
    }
}

fn timed_out(after: DurationMs) -> PhaseEnd {
    PhaseEnd::Failed(Box::new(Evidence { timed_out_after: Some(after.0), ..Evidence::default() }))
}

fn sandbox_failed(error: &slipway_sandbox::SandboxError) -> PhaseEnd {
    PhaseEnd::host_error("sandbox-failed", with_causes(error))
}
