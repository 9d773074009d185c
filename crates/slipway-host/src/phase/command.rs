//! One command in a sandbox of its own, to its end.

use super::archive::{Asked, Incoming};
use super::{PhaseContext, PhaseEnd, with_causes};
use crate::line::LineSplitter;
use crate::pace::Pace;
use crate::process::LineSink;
use crate::tree::{APP_GID, APP_UID};
use slipway_sandbox::{CacheSpec, Events, STOPPED, Sandbox, SandboxEvent, SandboxSpec, WritableSpec};
use slipway_tree::archive::{ArchiveError, Bounds};
use slipway_tree::site::DEPTH_MAX;
use slipway_types::LayerRef;
use slipway_types::agent::{ArchiveOf, Stream, TaskSpec, Tidy};
use slipway_types::host::{Env, Evidence, ExitFacts};
use slipway_types::settings::{DurationMs, ResourceLimits};
use std::collections::BTreeMap;
use std::io;
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
    /// Whether the written tree is to become a layer, and so holds nothing but the app and its home directory in the end.
    pub(super) becomes_layer: bool,
    /// The image holds the tree of an earlier install, for a machine to make ready.
    pub(super) older_tree: bool,
    /// Files of the app that are looked at when the command succeeded.
    pub(super) look_at: Vec<String>,
}

/// What stays of a tree that becomes a layer.
const KEPT: [&str; 2] = ["app", "home"];
/// Caches of package managers below the home directory: large, and never read again.
const CACHES: [&str; 8] = [
    "home/app/.npm",
    "home/app/.cache/yarn",
    "home/app/.local/share/pnpm/store",
    "home/app/.cache/pnpm",
    "home/app/.bun/install/cache",
    "home/app/.cache/pip",
    "home/app/.cache/uv",
    "home/app/.cache/pypoetry",
];
/// Of the files that are looked at: lockfiles.
const LOOK_BYTES_MAX: u64 = 256 << 20;
const LOOK_TIME_MAX: Duration = Duration::from_secs(60);

/// Digests of the files that were looked at and are there.
pub(super) type Looked = BTreeMap<String, blake3::Hash>;

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
    pub(super) async fn run_in_sandbox(&self, command: SandboxCommand<'_>) -> Result<Looked, PhaseEnd> {
        let sandbox = self.boot(&command).await?;
        let mut events = sandbox.events();
        let timeout = command.timeout;
        let end = tokio::select! {
            () = self.cancel.cancelled() => Err(PhaseEnd::Canceled),
            end = tokio::time::timeout(timeout.as_duration(), self.follow(&sandbox, &mut events, &command)) => {
                end.unwrap_or_else(|_| Err(timed_out(timeout)))
            }
        };
        let looked = match &end {
            Ok(end) if end.exit.code == Some(0) => self.look(&sandbox, &mut events, &command.look_at).await,
            _ => Ok(Looked::new()),
        };
        // Whatever still runs in it is no part of the result.
        let stopped = sandbox.stop(Duration::ZERO).await;
        let end = end?;
        stopped.map_err(|error| sandbox_failed(&error))?;
        if end.exit.code != Some(0) {
            let evidence = Evidence { exit: Some(end.exit), disk_full: end.disk_full, ..Evidence::default() };
            return Err(PhaseEnd::Failed(Box::new(evidence)));
        }
        // A command may survive the loss of a child to the memory limit: only its own word counts then.
        if end.exit.out_of_memory {
            self.log.say("a process was killed because the memory limit was reached; the command went on").await;
        }
        in_order(&mut events).await?;
        looked
    }

    async fn look(&self, sandbox: &Sandbox, events: &mut Events, files: &[String]) -> Result<Looked, PhaseEnd> {
        if files.is_empty() {
            return Ok(Looked::new());
        }
        let bounds = Bounds {
            files_max: files.len() as u64,
            bytes_max: LOOK_BYTES_MAX,
            paths_bytes_max: files.iter().map(|file| file.len() as u64).sum(),
            depth_max: DEPTH_MAX,
        };
        let of = ArchiveOf::Files { paths: files.to_vec() };
        let asked = Asked { of, bounds, within: LOOK_TIME_MAX };
        let (looked, report) = self.ask(sandbox, events, asked, digests).await?;
        match (report.trouble, looked) {
            (Some(trouble), _) => Err(PhaseEnd::host_error("layer-failed", trouble.message)),
            (None, looked) => looked.map_err(|error: ArchiveError| {
                PhaseEnd::host_error("sandbox-failed", format!("cannot read what the command wrote: {error}"))
            }),
        }
    }

    async fn boot(&self, command: &SandboxCommand<'_>) -> Result<Sandbox, PhaseEnd> {
        let store = &self.host.store;
        self.bring_back_all(command.layers).await?;
        let spec = SandboxSpec {
            id: self.host.build_sandbox_id(&self.spec.deployment),
            layers: command.layers.iter().map(|layer| store.path(layer)).collect(),
            writable: WritableSpec {
                tidy: command.becomes_layer.then(tidy),
                older_tree: command.older_tree,
                ..WritableSpec::kept(command.image.clone(), command.limits.disk.0)
            },
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

    async fn follow(
        &self,
        sandbox: &Sandbox,
        events: &mut Events,
        command: &SandboxCommand<'_>,
    ) -> Result<TaskEnd, PhaseEnd> {
        let task = TaskSpec {
            task: TASK,
            argv: ["/bin/sh", "-c", command.command].map(str::to_owned).into(),
            env: command.env.clone(),
            cwd: command.cwd.clone(),
            uid: APP_UID,
            gid: APP_GID,
            open_files_max: OPEN_FILES_MAX,
            output_rate: None,
        };
        sandbox.start_task(task).await.map_err(|error| sandbox_failed(&error))?;
        self.until_exit(events).await
    }

    async fn until_exit(&self, events: &mut Events) -> Result<TaskEnd, PhaseEnd> {
        let (mut stdout, mut stderr) = (LineSplitter::default(), LineSplitter::default());
        let mut pace = Pace::begin();
        while let Some(event) = events.next().await {
            match event {
                SandboxEvent::Output { stream, bytes, .. } => {
                    pace.take(&bytes).await;
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
                // Of apps alone.
                SandboxEvent::ValuesWritten { .. } => {}
                SandboxEvent::StartFailed { message, .. } | SandboxEvent::Refused { message } => {
                    return Err(PhaseEnd::host_error(
                        "sandbox-failed",
                        format!("the command did not start: {message}"),
                    ));
                }
                SandboxEvent::Gone { reason } => {
                    return Err(PhaseEnd::host_error("sandbox-failed", format!("the sandbox ended: {reason}")));
                }
                SandboxEvent::Started { .. }
                | SandboxEvent::Listening { .. }
                | SandboxEvent::Dropped { .. }
                | SandboxEvent::Skipped { .. } => {}
            }
        }
        Err(PhaseEnd::host_error("sandbox-failed", "the sandbox ended without a word"))
    }
}

fn tidy() -> Tidy {
    Tidy { keep: KEPT.map(str::to_owned).into(), remove: CACHES.map(str::to_owned).into() }
}

fn digests(incoming: Incoming) -> Result<Looked, ArchiveError> {
    let mut looked = Looked::new();
    incoming.read(|path, _, content| {
        let mut hasher = blake3::Hasher::new();
        io::copy(content, &mut hasher).map_err(ArchiveError::Read)?;
        looked.insert(path.to_owned(), hasher.finalize());
        Ok::<_, ArchiveError>(())
    })?;
    Ok(looked)
}

/// A sandbox that ended otherwise than by being stopped may have left an image that is not whole.
async fn in_order(events: &mut Events) -> Result<(), PhaseEnd> {
    while let Some(event) = events.next().await {
        match event {
            SandboxEvent::Gone { reason } if reason == STOPPED => break,
            SandboxEvent::Gone { reason } => {
                let message = format!("what the command wrote is not kept: {reason}");
                return Err(PhaseEnd::host_error("sandbox-failed", message));
            }
            _ => {}
        }
    }
    Ok(())
}

fn timed_out(after: DurationMs) -> PhaseEnd {
    PhaseEnd::Failed(Box::new(Evidence { timed_out_after: Some(after.0), ..Evidence::default() }))
}

fn sandbox_failed(error: &slipway_sandbox::SandboxError) -> PhaseEnd {
    PhaseEnd::host_error("sandbox-failed", with_causes(error))
}
