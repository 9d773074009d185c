//! Watches a deployment until its outcome is known.
//!
//! A connection that breaks (the server restarts) is taken up again: the stream tells past events first, so what was
//! shown already is counted and skipped. The outcome is never skipped.

use super::args::FollowOptions;
use crate::client::{Client, ClientError, Lines};
use crate::failure::{Exit, Failure};
use crate::render::{Listener, Progress, Received};
use slipway_types::DeploymentId;
use slipway_types::api::{DeploymentEvent, DeploymentView};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// A server that restarts is back within a second or two.
const RECONNECT_WAIT_MAX: Duration = Duration::from_secs(30);
const RECONNECT_INTERVAL: Duration = Duration::from_millis(500);

/// Shows `deployment` to its end, or only that it began with `--detach`.
///
/// # Errors
/// When the stream is lost for good. What the deployment did is no error but the exit code.
pub(super) async fn follow(
    client: &Client,
    deployment: DeploymentView,
    options: FollowOptions,
    progress: &mut dyn Progress,
) -> Result<ExitCode, Failure> {
    progress.created(&deployment);
    if options.detach {
        progress.outcome(&deploying(&deployment))?;
        return Ok(ExitCode::SUCCESS);
    }
    let watched = tokio::select! {
        watched = until_outcome(client, &deployment.deployment, progress) => watched.map(Some),
        _ = tokio::signal::ctrl_c() => Ok(None),
    };
    progress.close();
    match watched {
        Ok(Some(code)) => Ok(code),
        Ok(None) => interrupted(&deployment, progress),
        Err(failure) if failure.exit == Exit::OutputClosed => Err(failure),
        Err(failure) => {
            // As far as is known it goes on: the last line of `--json` says so, the exit code that it is unknown.
            progress.outcome(&deploying(&deployment))?;
            Err(failure)
        }
    }
}

/// Tells of `deployment` to its end.
///
/// # Errors
/// When the stream is lost for good, and of the listener. What the deployment did is no error but the exit code.
pub(super) async fn until_outcome(
    client: &Client,
    deployment: &DeploymentId,
    listener: &mut dyn Listener,
) -> Result<ExitCode, Failure> {
    Watch { client, deployment, shown: 0, listener }.until_outcome().await
}

fn interrupted(deployment: &DeploymentView, progress: &mut dyn Progress) -> Result<ExitCode, Failure> {
    let id = &deployment.deployment;
    progress.note(&format!("the deployment goes on; `slipway cancel {id}` ends it"));
    progress.outcome(&deploying(deployment))?;
    Ok(Exit::Interrupted.into())
}

fn deploying(deployment: &DeploymentView) -> DeploymentEvent {
    DeploymentEvent::Deploying { at: deployment.created_at, deployment: Box::new(deployment.clone()) }
}

struct Watch<'a> {
    client: &'a Client,
    deployment: &'a DeploymentId,
    /// Events of the stream that were shown.
    shown: usize,
    listener: &'a mut dyn Listener,
}

impl Watch<'_> {
    async fn until_outcome(&mut self) -> Result<ExitCode, Failure> {
        let mut give_up_at = None;
        loop {
            let (shown_before, error) = match self.connection().await {
                Ok(outcome) => return outcome,
                Err(broken) => broken,
            };
            if self.shown > shown_before {
                give_up_at = None;
            }
            let deadline = *give_up_at.get_or_insert_with(|| Instant::now() + RECONNECT_WAIT_MAX);
            if Instant::now() >= deadline {
                return Err(error.map_or_else(|| ended_early(self.deployment), Failure::from));
            }
            if let Some(error) = error
                && !error.is_passing()
            {
                return Err(self.final_failure(error));
            }
            tokio::time::sleep(RECONNECT_INTERVAL).await;
        }
    }

    /// A deployment that is not known any more was known when it was followed: its service was destroyed.
    fn final_failure(&self, error: ClientError) -> Failure {
        match &error {
            ClientError::Refused(refusal) if refusal.code == "deployment-unknown" => {
                Failure::new(Exit::DeploymentFailed, format!("{} is gone: its service was destroyed", self.deployment))
            }
            _ => error.into(),
        }
    }

    /// Reads one connection. The outer error says that it ended before the outcome: how many events had been shown
    /// before it, and why, unless the server simply closed it.
    async fn connection(&mut self) -> Result<Result<ExitCode, Failure>, (usize, Option<ClientError>)> {
        let before = self.shown;
        let broken = |error| (before, Some(error));
        let mut lines = self.client.deployment_events(self.deployment, true).await.map_err(broken)?;
        let mut index = 0;
        while let Some(received) = next(&mut lines).await.map_err(broken)? {
            if let Some(code) = outcome(&received) {
                let shown = match &received.event {
                    Some(event) => self.listener.outcome(event),
                    None => Ok(()),
                };
                return Ok(shown.map(|()| code));
            }
            index += 1;
            if index > self.shown {
                self.shown = index;
                if let Err(failure) = self.listener.event(&received) {
                    return Ok(Err(failure));
                }
            }
        }
        Err((before, None))
    }
}

fn ended_early(deployment: &DeploymentId) -> Failure {
    Failure::server(format!("the server ended the stream of {deployment} before its outcome"))
        .hint("`slipway ps` and `slipway events` say what became of it")
}

fn outcome(received: &Received) -> Option<ExitCode> {
    match received.event {
        Some(DeploymentEvent::Deployed { .. }) => Some(ExitCode::SUCCESS),
        Some(DeploymentEvent::Failed { .. }) => Some(Exit::DeploymentFailed.into()),
        _ => None,
    }
}

/// The next event. A line that is no JSON object is a broken server's, and is dropped.
pub(super) async fn next(lines: &mut Lines) -> Result<Option<Received>, ClientError> {
    while let Some(line) = lines.next().await? {
        if let Ok(value) = serde_json::from_str::<serde_json::Value>(&line)
            && value.is_object()
        {
            return Ok(Some(Received { event: serde_json::from_value(value).ok(), line }));
        }
    }
    Ok(None)
}
