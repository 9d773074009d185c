//! `logs`: of the running service, or with `--build` of the newest deployment's phases.

use super::args::{GlobalOptions, LogsOptions};
use super::{Session, follow, listing};
use crate::client::Lines;
use crate::failure::Failure;
use crate::output::{self, Palette, printable};
use crate::render::clock;
use slipway_types::api::{DeploymentEvent, LogLine};

/// Ctrl-C ends it as any other program; there is nothing to clean up.
pub(super) async fn print(global: &GlobalOptions, options: &LogsOptions) -> Result<(), Failure> {
    let session = Session::here(global)?;
    if options.build {
        return phases(global, &session, options.follow).await;
    }
    let since = options.since.map(|since| since.instant(listing::now()));
    let mut lines = session.client.logs(session.path(), options.follow, since).await?;
    let palette = Palette::of_stdout();
    while let Some(line) = lines.next().await? {
        match serde_json::from_str::<LogLine>(&line) {
            _ if global.json => output::data(&line)?,
            Ok(entry) => output::data(&shown(&entry, palette))?,
            // A newer server's: not lost, only not pretty.
            Err(_) => output::data(&printable(&line))?,
        }
    }
    Ok(())
}

fn shown(entry: &LogLine, palette: Palette) -> String {
    let prefix = palette.dim(&format!("{} {}", clock(entry.at), entry.replica));
    format!("{prefix} {}", printable(&entry.line))
}

async fn phases(global: &GlobalOptions, session: &Session, follow: bool) -> Result<(), Failure> {
    let service = session.client.service(session.path()).await?;
    let newest = service.newest.or(service.live).ok_or_else(|| {
        Failure::usage(format!("{} has no deployment", session.target)).hint("`slipway up` makes one")
    })?;
    let lines = session.client.deployment_events(&newest.deployment, follow).await?;
    phase_lines(global, lines).await
}

async fn phase_lines(global: &GlobalOptions, mut lines: Lines) -> Result<(), Failure> {
    let palette = Palette::of_stdout();
    while let Some(received) = follow::next(&mut lines).await? {
        let Some(DeploymentEvent::Log { phase, line, .. }) = &received.event else {
            continue;
        };
        if global.json {
            output::data(&received.line)?;
        } else {
            output::data(&format!("{} {}", palette.dim(&format!("[{phase}]")), printable(line)))?;
        }
    }
    Ok(())
}
