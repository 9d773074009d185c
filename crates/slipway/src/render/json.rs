//! `--json`: a deployment's stream as it came, one object a line, on standard output. The last line is exactly one of
//! `deployed`, `failed` and `deploying`, with `status`, `url` and `diagnosis` beside the nested deployment.

use super::{Listener, Progress, Received, UploadFacts};
use crate::failure::Failure;
use crate::output;
use serde_json::{Value, json};
use slipway_types::api::{DeploymentEvent, DeploymentView};

#[derive(Debug)]
pub(crate) struct Json;

impl Listener for Json {
    fn event(&mut self, received: &Received) -> Result<(), Failure> {
        output::data(&received.line)
    }

    fn outcome(&mut self, event: &DeploymentEvent) -> Result<(), Failure> {
        output::data(&last_line(event).to_string())
    }
}

impl Progress for Json {
    fn uploading(&mut self, _: u64) {}

    fn uploaded(&mut self, _: UploadFacts) {}

    fn created(&mut self, _: &DeploymentView) {}

    fn note(&mut self, text: &str) {
        output::say(text);
    }

    fn close(&mut self) {}
}

fn last_line(event: &DeploymentEvent) -> Value {
    let mut line = json!(event);
    for key in ["status", "url", "diagnosis"] {
        let value = line["deployment"].get(key).cloned().unwrap_or(Value::Null);
        line[key] = value;
    }
    line
}
