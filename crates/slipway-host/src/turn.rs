//! One worker at a time works on a deployment, whose scratch has but one name. Control gives a deployment to another worker once
//! nothing is heard of the first; should that one live after all, the other waits until it has let go.

use slipway_types::DeploymentId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedMutexGuard;

/// Of all workers of a host. As many as they have deployments.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<DeploymentId, Arc<tokio::sync::Mutex<()>>>>);

/// Ends when it is dropped.
pub(crate) type Turn = OwnedMutexGuard<()>;

impl Turns {
    pub(crate) async fn take(&self, deployment: &DeploymentId) -> Turn {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody has or wants the others any more.
            turns.retain(|other, turn| other == deployment || Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(deployment.clone()).or_default())
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    #[tokio::test]
    async fn the_second_waits_until_the_first_has_let_go() {
        let turns = Turns::default();
        let (one, other) = (DeploymentId::parse("one").unwrap(), DeploymentId::parse("other").unwrap());
        let first = turns.take(&one).await;
        drop(turns.take(&other).await);
        let mut second = pin!(turns.take(&one));
        tokio::select! {
            biased;
            _ = &mut second => panic!("both have it"),
            () = std::future::ready(()) => {}
        }
        drop(first);
        drop(second.await);
    }
}
