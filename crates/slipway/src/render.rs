//! A deployment as it is watched: one drawn-over line per phase on a terminal, plain lines in a pipe, or JSON.

mod cache;
mod diagnosis;
mod json;
mod live;
mod phase;
mod plain;
mod quantity;
mod table;

pub(crate) use cache::{cache_lines, sweep_lines};
pub(crate) use diagnosis::diagnosis_lines;
pub(crate) use json::Json;
pub(crate) use live::Live;
pub(crate) use plain::Plain;
pub(crate) use quantity::{age, bytes, clock};
pub(crate) use table::Table;

use crate::failure::Failure;
use crate::output;
use slipway_types::api::{DeploymentEvent, DeploymentView};

/// Said of a deployment that was not made for whoever follows it.
const JOINED: &str = "a deployment of the same source with the same settings is on its way already: following that one (`--force` makes another)";

/// One line of a deployment's stream.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// As it came.
    pub(crate) line: String,
    /// None: a newer server's event, which this client does not know.
    pub(crate) event: Option<DeploymentEvent>,
}

/// What an upload consists of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UploadFacts {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Compressed.
    pub(crate) sent_bytes: u64,
    pub(crate) duration_ms: u64,
}

/// Who is told of a deployment's stream.
pub(crate) trait Listener: Send {
    /// Every event but the last.
    fn event(&mut self, received: &Received) -> Result<(), Failure>;
    /// The last event: deployed, failed or deploying.
    fn outcome(&mut self, event: &DeploymentEvent) -> Result<(), Failure>;
}

/// How a deployment is shown. Progress goes to standard error, data to standard output.
pub(crate) trait Progress: Listener {
    /// So many compressed bytes are on their way.
    fn uploading(&mut self, sent_bytes: u64);
    fn uploaded(&mut self, facts: UploadFacts);
    fn created(&mut self, deployment: &DeploymentView);
    /// Something to know that is no event.
    fn note(&mut self, text: &str);
    /// Leaves the terminal as it was found.
    fn close(&mut self);
}

/// The way that fits `--json` and what standard error is.
pub(crate) fn progress(json: bool) -> Box<dyn Progress> {
    if json {
        Box::new(Json)
    } else if output::is_live() {
        Box::new(Live::new())
    } else {
        Box::new(Plain)
    }
}
