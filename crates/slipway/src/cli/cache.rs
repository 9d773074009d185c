//! `cache`: what layers and build caches take, and removing what may go.

use super::args::{CacheCommand, GlobalOptions};
use super::target::Target;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Palette};
use crate::render::{cache_lines, sweep_lines};
use slipway_types::cache::{ServiceTitle, SweepParams, SweepState, SweepView};
use slipway_types::{ProjectName, ServiceName};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// A sweep waits for builds that hold a layer, and for another server's sweep of the same directory.
const SWEEP_WAIT_MAX: Duration = Duration::from_secs(5 * 60);
/// How often its report is asked for; most take less.
const SWEEP_LOOK_INTERVAL: Duration = Duration::from_millis(150);
/// Then it is said that something is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn run(global: &GlobalOptions, command: CacheCommand) -> Result<(), Failure> {
    match command {
        CacheCommand::Ls => list(global).await,
        CacheCommand::Gc { dry_run } => sweep(global, SweepParams { dry_run, ..SweepParams::default() }).await,
        CacheCommand::Clear { of } => {
            let of = cleared(global, of)?;
            sweep(global, SweepParams { clear: true, of, ..SweepParams::default() }).await
        }
    }
}

async fn list(global: &GlobalOptions) -> Result<(), Failure> {
    let view = Client::discover(global)?.cache(global.project.as_ref(), global.service.as_ref()).await?;
    if global.json {
        return output::json(&view);
    }
    let lines = cache_lines(&view, super::listing::now(), Palette::of_stdout());
    if let Some(table) = lines.table {
        output::data(&table)?;
    }
    lines.notes.iter().for_each(|note| output::say(note));
    Ok(())
}

/// The service whose caches go; None: everybody's. A project alone is refused: more would go than was meant, or less.
fn cleared(global: &GlobalOptions, service: Option<ServiceArgument>) -> Result<Option<ServiceTitle>, Failure> {
    let (project, service) = match service {
        Some(argument) => (argument.project, Some(argument.service)),
        None => (None, global.service.clone()),
    };
    let Some(service) = service else {
        return match &global.project {
            Some(name) => Err(Failure::usage(format!("of project `{name}` which service is meant is not said"))
                .hint("name it: `slipway cache clear SERVICE`; without a project it is every service of the server")),
            None => Ok(None),
        };
    };
    let project = match project {
        Some(project) => project,
        None => Target::of_directory(global, Path::new("."))?.project,
    };
    Ok(Some(ServiceTitle { project, service }))
}

/// `web` or `shop/web`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceArgument {
    project: Option<ProjectName>,
    service: ServiceName,
}

pub(super) fn service_argument(text: &str) -> Result<ServiceArgument, String> {
    let (project, service) = match text.split_once('/') {
        Some((project, service)) => (Some(project), service),
        None => (None, text),
    };
    let project = project.map(ProjectName::parse).transpose().map_err(|error| error.to_string())?;
    Ok(ServiceArgument { project, service: ServiceName::parse(service).map_err(|error| error.to_string())? })
}

async fn sweep(global: &GlobalOptions, params: SweepParams) -> Result<(), Failure> {
    let client = Client::discover(global)?;
    let view = ended(&client, client.sweep(&params).await?).await?;
    if global.json {
        output::json(&view)?;
    }
    match view.state {
        SweepState::Done { outcome, names } if !global.json => {
            let lines = sweep_lines(&outcome, &names, params.clear, Palette::of_stdout());
            if let Some(table) = lines.table {
                output::data(&table)?;
            }
            lines.notes.iter().for_each(|note| output::say(note));
            Ok(())
        }
        SweepState::Failed { message } => Err(Failure::server(format!("the layers were not swept: {message}"))),
        SweepState::Done { .. } | SweepState::Waiting => Ok(()),
    }
}

/// Asks until the host has answered.
async fn ended(client: &Client, begun: SweepView) -> Result<SweepView, Failure> {
    let began = Instant::now();
    let mut said = false;
    let mut view = begun;
    while view.state == SweepState::Waiting {
        if began.elapsed() > SWEEP_WAIT_MAX {
            let seconds = SWEEP_WAIT_MAX.as_secs();
            return Err(Failure::server(format!("the sweep did not end within {seconds} s; it goes on"))
                .hint("`slipway cache ls` shows what there is"));
        }
        if began.elapsed() > PATIENCE && !std::mem::replace(&mut said, true) {
            output::say("the host is busy with the layers; waiting for it");
        }
        tokio::time::sleep(SWEEP_LOOK_INTERVAL).await;
        view = client.sweep_view(&view.sweep).await?;
    }
    Ok(view)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(project: Option<&str>, service: Option<&str>) -> GlobalOptions {
        let project = project.map(|name| ProjectName::parse(name).unwrap());
        let service = service.map(|name| ServiceName::parse(name).unwrap());
        GlobalOptions { data: None, url: None, token: None, project, service, json: false }
    }

    #[test]
    fn what_is_cleared_is_said() {
        let of = |global: &GlobalOptions, argument: Option<&str>| {
            let argument = argument.map(|text| service_argument(text).unwrap());
            cleared(global, argument).map(|title| title.map(|title| title.to_string())).map_err(|f| format!("{f:?}"))
        };
        assert_eq!(of(&global(None, None), None), Ok(None));
        assert_eq!(of(&global(None, None), Some("shop/web")), Ok(Some("shop/web".into())));
        assert_eq!(of(&global(Some("shop"), None), Some("web")), Ok(Some("shop/web".into())));
        assert_eq!(of(&global(Some("shop"), Some("api")), None), Ok(Some("shop/api".into())));
        assert!(of(&global(Some("shop"), None), None).unwrap_err().contains("slipway cache clear SERVICE"));
        assert!(service_argument("Shop/web").is_err() && service_argument("a/b/c").is_err());
    }
}
