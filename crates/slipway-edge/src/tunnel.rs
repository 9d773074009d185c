//! An upgraded connection: bytes both ways until both sides have ended, counted as one request in flight.

use crate::backend::{Permit, Sender};
use crate::connection::Client;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::pin::pin;
use std::sync::Arc;

/// Joins both sides. When one ends its direction the other goes on (half-close).
pub(crate) async fn run(client: Arc<Client>, down: OnUpgrade, up: OnUpgrade, sender: Sender, permit: Permit) {
    let target = permit.backend().target.clone();
    let both = async { tokio::try_join!(down, up) };
    // Both heads have been read: what is left is writing one of them to the client.
    let (down, up) = match tokio::time::timeout(client.worker.limits.stall_timeout, both).await {
        Ok(Ok(sides)) => sides,
        Ok(Err(error)) => return tracing::debug!(target = ?target.at, %error, "an upgrade did not come about"),
        Err(_) => return tracing::debug!(target = ?target.at, "an upgrade took too long"),
    };
    drop(sender);
    let (mut down, mut up) = (TokioIo::new(down), TokioIo::new(up));
    let mut copying = pin!(tokio::io::copy_bidirectional(&mut down, &mut up));
    let idle_max = client.worker.limits.upgraded_idle_timeout;
    loop {
        match tokio::time::timeout(idle_max, copying.as_mut()).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => return tracing::debug!(target = ?target.at, %error, "an upgraded connection broke"),
            Err(_) if client.activity.still_for() >= idle_max => {
                return tracing::debug!(target = ?target.at, "an upgraded connection was idle");
            }
            Err(_) => {}
        }
    }
}
