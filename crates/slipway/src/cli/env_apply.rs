//! Changed variables for what is live: what that took, and how long.

use super::args::{FollowOptions, GlobalOptions, WaitOptions};
use super::supervise::{Verdict, look_at_restart, wait};
use super::{Session, deploy};
use crate::failure::{Exit, Failure};
use crate::output;
use slipway_types::api::{EnvAction, EnvApplyView, EnvView, ServiceView};
use std::process::ExitCode;
use tokio::time::Instant;

/// Names that a line lists; the rest is counted.
const NAMED_MAX: usize = 5;

/// `changed`: all variables, when some were just set.
pub(super) async fn run(
    session: &Session,
    global: &GlobalOptions,
    changed: Option<Vec<EnvView>>,
    detach: bool,
) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let applied = session.client.apply_variables(session.path()).await?;
    let name = session.target.to_string();
    if let EnvAction::NeedsBuild { because } = &applied.action {
        output::say(&format!("a new build is needed, and begins: {}", output::printable(because)));
        return deploy::redeploy(global, false, FollowOptions { detach }).await;
    }
    if global.json {
        let variables = changed.unwrap_or(session.client.variables(session.path()).await?);
        output::json(&serde_json::json!({ "variables": variables, "applied": applied }))?;
    }
    let quiet = GlobalOptions { json: false, ..global.clone() };
    let code = match &applied.action {
        EnvAction::Nothing { because } => {
            output::say(&format!("the variables of {name} are stored; {}", output::printable(because)));
            ExitCode::SUCCESS
        }
        EnvAction::NextStart { .. } => {
            output::say(&format!("{}: {name} begins with them when it starts again", listed(&applied.variables)));
            ExitCode::SUCCESS
        }
        EnvAction::NeedsBuild { .. } => ExitCode::SUCCESS,
        EnvAction::Restarting { replicas, .. } | EnvAction::Reloading { replicas, .. } => {
            output::say(&begun(&applied, *replicas));
            let service = session.client.service(session.path()).await?;
            let options = WaitOptions { detach };
            let mut told = 0;
            let look = |service: &ServiceView| look(service, &applied, *replicas, began, &mut told);
            wait(&quiet, session, service, options, look).await?
        }
    };
    if let Some(deployment) = &applied.under_way {
        output::say(&format!(
            "note: deployment {deployment} began before the change and comes with the former values; \
             `slipway env apply` once it is live brings these"
        ));
    }
    Ok(code)
}

fn begun(applied: &EnvApplyView, replicas: u32) -> String {
    let names = listed(&applied.variables);
    match applied.action {
        EnvAction::Reloading { .. } => format!("{names}: {}", these(replicas)),
        _ => format!("{names}: rolling restart of {}", count(replicas)),
    }
}

/// Whoever could not be told is restarted; then there is no word of a reload any more.
fn look(
    service: &ServiceView,
    applied: &EnvApplyView,
    replicas: u32,
    began: Instant,
    told: &mut u32,
) -> Option<Verdict> {
    let seconds = began.elapsed().as_secs_f64();
    let restarted = || format!("rolling restart of {}, done in {seconds:.1} s", count(replicas));
    let is_reload = matches!(applied.action, EnvAction::Reloading { .. });
    let Some(reload) = service.reload.as_ref().filter(|_| is_reload) else {
        return match &service.restart {
            Some(restart) => {
                look_at_restart(restart, told, restarted).map(|verdict| match verdict {
                    Verdict::Failed(failure) => Verdict::Failed(failure.hint(
                        "the new values are stored, and count from the next deployment or `slipway env apply` on",
                    )),
                    done @ Verdict::Done(_) => done,
                })
            }
            // A server that came back has nothing left to do.
            None => Some(Verdict::Done(restarted())),
        };
    };
    if let Some(why) = &reload.failed {
        let failure = Failure::new(Exit::DeploymentFailed, format!("a replica did not take the new values: {why}"));
        return Some(Verdict::Failed(
            failure
                .hint("it starts again, with the new values; `slipway events` says more")
                .hint("without `run.reload` replicas are replaced one by one when a variable changes"),
        ));
    }
    reload.is_over().then(|| Verdict::Done(format!("{} the new values, done in {seconds:.1} s", having(replicas))))
}

fn count(replicas: u32) -> String {
    format!("{replicas} replica{}", if replicas == 1 { "" } else { "s" })
}

fn having(replicas: u32) -> String {
    format!("{} {}", count(replicas), if replicas == 1 { "has" } else { "have" })
}

fn these(replicas: u32) -> String {
    let told = if replicas == 1 { "is told while it runs" } else { "are told while they run" };
    format!("{} {told}", count(replicas))
}

fn listed(names: &[String]) -> String {
    let named = names.iter().take(NAMED_MAX).map(|name| output::printable(name)).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED_MAX) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
