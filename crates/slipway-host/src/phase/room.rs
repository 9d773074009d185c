//! Before anything is built: is there room on the disk? A build that fills it would break what runs.

use super::{PhaseContext, PhaseEnd};
use crate::blocking;
use crate::room::Shortage;

impl PhaseContext<'_> {
    pub(super) async fn check_room(&self) -> Result<(), PhaseEnd> {
        let Some(shortage) = self.shortage().await? else { return Ok(()) };
        self.log.say(format!("{shortage}; removing layers that nothing needs")).await;
        tokio::select! {
            () = self.cancel.cancelled() => return Err(PhaseEnd::Canceled),
            () = self.host.custodian.make_room() => {}
        }
        match self.shortage().await? {
            None => Ok(()),
            Some(shortage) => {
                let message = format!("{shortage}; what could be removed is gone already");
                Err(PhaseEnd::host_error("disk-nearly-full", message))
            }
        }
    }

    async fn shortage(&self) -> Result<Option<Shortage>, PhaseEnd> {
        let host = std::sync::Arc::clone(self.host);
        Ok(blocking(move || host.shortage()).await?)
    }
}
