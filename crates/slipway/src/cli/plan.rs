//! `plan`: what would be decided about a directory. Nothing is sent and nothing of it runs.

use super::args::GlobalOptions;
use crate::archive::Tree;
use crate::client::ClientError;
use crate::failure::{Exit, Failure};
use crate::output::{self, Palette, printable};
use crate::render::diagnosis_lines;
use slipway_types::{Diagnosis, SettingsPatch};
use std::path::Path;
use std::process::ExitCode;

/// Exit code 1 and the diagnosis when there is no plan.
///
/// # Errors
/// When the directory can't be read or could not be uploaded either.
pub(super) fn print(global: &GlobalOptions, dir: &Path) -> Result<ExitCode, Failure> {
    let tree = Tree::list(dir).map_err(ClientError::from)?;
    let listing = tree.listing(slipway_build::WANTED_FILES).map_err(ClientError::from)?;
    // What `service set` stored is with a server; a plan of the directory alone does without.
    match slipway_build::decide(&listing, &SettingsPatch::default()) {
        Ok(decision) if global.json => output::json(&decision.plan)?,
        Ok(decision) => {
            slipway_build::explain(&decision.plan).iter().try_for_each(|line| output::data(&printable(line)))?;
        }
        Err(diagnosis) => return refuse(global, &diagnosis),
    }
    Ok(ExitCode::SUCCESS)
}

fn refuse(global: &GlobalOptions, diagnosis: &Diagnosis) -> Result<ExitCode, Failure> {
    if global.json {
        output::json(&serde_json::json!({ "diagnosis": diagnosis }))?;
    } else {
        diagnosis_lines(diagnosis, Palette::of_stderr()).iter().for_each(|line| output::say(line));
    }
    Ok(Exit::DeploymentFailed.into())
}
