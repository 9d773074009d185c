//! A replica whose service wants it is told of other variables while it runs: they are in a file, and its process gets a signal.
//!
//! One that starts has those of its start in the file, and is told of others once it is ready: before that its app may not listen
//! to the signal yet, which would end it.

use super::Replica;
use super::output::Observed;
use crate::phase::command::TASK;
use crate::phase::with_causes;
use crate::tree::{APP_GID, APP_UID};
use slipway_sandbox::{Sandbox, SandboxError};
use slipway_types::agent::{TaskSignal, VALUES_PATH, ValuesSpec};
use slipway_types::host::{Env, HostReport};
use slipway_types::settings::ReloadMode;
use std::time::Duration;

/// On all machines that Slipway runs on.
const SIGUSR1: i32 = 10;
/// An agent answers at once, unless its sandbox is about to end.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// An app that does not handle the signal has ended by then, and says so by its end.
const END_TIME_MAX: Duration = Duration::from_millis(500);

/// What a replica's app is to have now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Variables {
    pub(crate) env: Env,
    pub(crate) revision: u64,
}

impl Replica {
    pub(super) fn is_told(&self) -> bool {
        self.spec.reload == ReloadMode::Signal && self.spec.image.process().is_some()
    }

    /// Before its app starts.
    pub(super) async fn write_first(&self, sandbox: &Sandbox, variables: &Variables) -> Result<(), SandboxError> {
        if !self.is_told() {
            return Ok(());
        }
        sandbox.write_values(spec(variables, None)).await
    }

    /// Tells the app of each change. `began_with`: the revision that it has. Never returns.
    pub(super) async fn keep_told(&self, sandbox: &Sandbox, observed: &Observed, began_with: Option<u64>) {
        let (mut wanted, mut is_ready) = (self.variables.clone(), self.ready_since.subscribe());
        let mut has = began_with;
        while self.is_told() && is_ready.wait_for(Option::is_some).await.is_ok() {
            let variables = wanted.borrow_and_update().clone();
            let trouble = match has == Some(variables.revision) {
                true => None,
                false => self.tell(sandbox, observed, &variables).await,
            };
            has = Some(variables.revision);
            let replica = self.spec.replica.clone();
            if let Some(trouble) = &trouble {
                tracing::warn!(%replica, trouble, "the app could not be told of its new variables");
            }
            let report = HostReport::ValuesTaken { replica, revision: variables.revision, trouble };
            let _ = self.reports.send(report).await;
            if wanted.changed().await.is_err() {
                break;
            }
        }
        std::future::pending().await
    }

    /// Why it could not be told.
    async fn tell(&self, sandbox: &Sandbox, observed: &Observed, variables: &Variables) -> Option<String> {
        let mut answers = observed.values_written();
        observed.note_signal();
        let signal = Some(TaskSignal { task: TASK, signal: SIGUSR1 });
        if let Err(error) = sandbox.write_values(spec(variables, signal)).await {
            return Some(with_causes(&error));
        }
        let answer = answers.wait_for(|(revision, _)| *revision == Some(variables.revision));
        let trouble = match tokio::time::timeout(ANSWER_TIME_MAX, answer).await {
            Ok(Ok(answer)) => answer.1.clone(),
            Ok(Err(_)) | Err(_) => Some("the agent did not answer".to_owned()),
        };
        if trouble.is_none() {
            tokio::time::sleep(END_TIME_MAX).await;
        }
        trouble
    }
}

fn spec(variables: &Variables, signal: Option<TaskSignal>) -> ValuesSpec {
    ValuesSpec {
        revision: variables.revision,
        path: VALUES_PATH.to_owned(),
        values: variables.env.clone(),
        uid: APP_UID,
        gid: APP_GID,
        signal,
    }
}
