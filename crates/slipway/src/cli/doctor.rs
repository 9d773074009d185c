//! `doctor`: is a server there, and can this machine run one?

use super::args::GlobalOptions;
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::output::{self, Palette};
use crate::server;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) name: String,
    pub(crate) ok: bool,
    /// Without it a server does not run here.
    pub(crate) needed: bool,
    /// What was found, in one sentence.
    pub(crate) found: String,
    /// What to do when it is not well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

/// Exit code 3 when something is not well.
pub(super) async fn run(global: &GlobalOptions, config: Option<PathBuf>) -> Result<ExitCode, Failure> {
    let mut checks = vec![server_check(global).await];
    checks.extend(server::checks(global, config).await?);
    let well = checks.iter().all(|check| check.ok || !check.needed);
    if global.json {
        output::json(&checks)?;
    } else {
        let palette = Palette::of_stdout();
        for check in &checks {
            output::data(&shown(check, palette))?;
        }
    }
    Ok(if well { ExitCode::SUCCESS } else { Exit::Server.into() })
}

fn shown(check: &Check, palette: Palette) -> String {
    let mark = match (check.ok, check.needed) {
        (true, _) => palette.green("✓"),
        (false, true) => palette.red("✗"),
        (false, false) => palette.dim("–"),
    };
    let hint = check.hint.as_ref().map(|hint| format!("\n  {} {hint}", palette.cyan("hint:"))).unwrap_or_default();
    format!("{mark} {:<18} {}{hint}", check.name, check.found)
}

async fn server_check(global: &GlobalOptions) -> Check {
    let name = "server".to_owned();
    let asked = match Client::discover(global) {
        Ok(client) => client.server().await.map(|view| (client.url().to_owned(), view)),
        Err(error) => Err(error),
    };
    match asked {
        Ok((url, view)) => {
            let found = format!(
                "version {} at {url}; services at *.{}:{} in sandboxes of the {} driver",
                view.version, view.domain, view.edge_port, view.driver
            );
            Check { name, ok: true, needed: true, found, hint: None }
        }
        Err(error) => {
            let hint = Some("start one by `slipway server`".to_owned());
            Check { name, ok: false, needed: true, found: error.to_string(), hint }
        }
    }
}
