//! `restart`, `scale`, `stop`, `start`: other replicas of what is live, without a deployment.

use super::Session;
use super::args::{GlobalOptions, WaitOptions};
use crate::failure::{Exit, Failure};
use crate::output;
use slipway_types::ServiceName;
use slipway_types::api::{RestartView, ServiceView, SleepView};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks at the service: a start takes longer than a few of them.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// All replicas that a service may have, each with all the time that it may take to start.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// `3` or `web=3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WantedScale {
    service: Option<ServiceName>,
    replicas: u32,
}

pub(super) fn wanted_scale(text: &str) -> Result<WantedScale, String> {
    let (service, number) = match text.split_once('=') {
        Some((service, number)) => (Some(ServiceName::parse(service).map_err(|error| error.to_string())?), number),
        None => (None, text),
    };
    let replicas = number.parse().map_err(|_| "a number of replicas is written like `3` or `web=3`".to_owned())?;
    Ok(WantedScale { service, replicas })
}

/// How a wait ends.
pub(super) enum Verdict {
    /// What to say.
    Done(String),
    Failed(Failure),
}

pub(super) async fn restart(global: &GlobalOptions, options: WaitOptions) -> Result<ExitCode, Failure> {
    let session = Session::here(global)?;
    let service = session.client.restart(session.path()).await?;
    let name = session.target.to_string();
    if service.sleep == Some(SleepView::Asleep) {
        return end(global, &service, &format!("{name} sleeps: its next request starts it afresh"));
    }
    let mut told = 0;
    wait(global, &session, service, options, |service| {
        let Some(restart) = &service.restart else { return Some(Verdict::Done(format!("{name} is restarted"))) };
        look_at_restart(restart, &mut told, || format!("{name} is restarted"))
    })
    .await
}

/// How far a restart is; `told`: how many replaced replicas were spoken of.
pub(super) fn look_at_restart(restart: &RestartView, told: &mut u32, done: impl FnOnce() -> String) -> Option<Verdict> {
    if let Some(diagnosis) = &restart.failed {
        let failure =
            Failure::new(Exit::DeploymentFailed, format!("a new replica did not become ready: {}", diagnosis.what));
        let failure = diagnosis.hints.iter().fold(failure, Failure::hint);
        return Some(Verdict::Failed(failure.hint("the other replicas run on as before")));
    }
    if restart.replaced > *told {
        *told = restart.replaced;
        output::say(&format!("{told} of {} replicas are replaced", restart.of));
    }
    restart.is_over().then(|| Verdict::Done(done()))
}

pub(super) async fn scale(
    global: &GlobalOptions,
    wanted: WantedScale,
    options: WaitOptions,
) -> Result<ExitCode, Failure> {
    let service = wanted.service.or_else(|| global.service.clone());
    let session = Session::here(&GlobalOptions { service, ..global.clone() })?;
    let service = session.client.scale(session.path(), wanted.replicas).await?;
    let target = session.target.to_string();
    if service.stopped {
        let line = format!("{target} is stopped; `slipway start` starts {} replicas", wanted.replicas);
        return end(global, &service, &line);
    }
    if service.sleep == Some(SleepView::Asleep) {
        return end(global, &service, &format!("{target} sleeps; it wakes with {} replicas", wanted.replicas));
    }
    wait(global, &session, service, options, |service| all_ready(service, &target)).await
}

pub(super) async fn stop(global: &GlobalOptions) -> Result<(), Failure> {
    let session = Session::here(global)?;
    let service = session.client.stop(session.path()).await?;
    let line = format!("{} is stopped; `slipway start` starts it, and so does a deployment", session.target);
    end(global, &service, &line).map(drop)
}

pub(super) async fn start(global: &GlobalOptions, options: WaitOptions) -> Result<ExitCode, Failure> {
    let session = Session::here(global)?;
    let service = session.client.start(session.path()).await?;
    let target = session.target.to_string();
    if service.sleep == Some(SleepView::Asleep) {
        return end(global, &service, &format!("{target} sleeps: its next request wakes it"));
    }
    wait(global, &session, service, options, |service| all_ready(service, &target)).await
}

/// Whether as many as are wanted serve, and no others.
fn all_ready(service: &ServiceView, target: &str) -> Option<Verdict> {
    let (wanted, live) = (service.replicas_wanted, service.live.as_ref()?);
    let of_live = || service.replicas.iter().filter(|replica| replica.deployment == live.deployment);
    if let Some(looping) = of_live().find(|replica| replica.state == "crash-looping") {
        let what = looping.trouble.as_ref().map(|trouble| trouble.what.clone()).unwrap_or_default();
        let failure =
            Failure::new(Exit::DeploymentFailed, format!("{} crashes again and again: {what}", looping.replica));
        return Some(Verdict::Failed(failure.hint("`slipway logs` shows what it printed; its start is tried again")));
    }
    let ready = of_live().filter(|replica| replica.state == "ready").count();
    let all = ready == wanted as usize && of_live().count() == ready;
    let plural = if wanted == 1 { "" } else { "s" };
    all.then(|| Verdict::Done(format!("{target} runs with {wanted} replica{plural}")))
}

/// Looks at the service until `look` has a verdict. What was asked for is stored: it goes on without who waits for it.
pub(super) async fn wait(
    global: &GlobalOptions,
    session: &Session,
    mut service: ServiceView,
    options: WaitOptions,
    mut look: impl FnMut(&ServiceView) -> Option<Verdict>,
) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    loop {
        match look(&service) {
            Some(Verdict::Done(line)) => return end(global, &service, &line),
            Some(Verdict::Failed(failure)) => {
                if global.json {
                    output::json(&service)?;
                }
                return Err(failure);
            }
            None if options.detach => {
                return end(global, &service, "it is under way; `slipway ps` shows how far it is");
            }
            None if began.elapsed() > WAIT_MAX => {
                return Err(
                    Failure::server("the replicas are not ready after an hour").hint("`slipway events` says more")
                );
            }
            None => {}
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            _ = tokio::signal::ctrl_c() => {
                output::say("it goes on; `slipway ps` shows how far it is");
                return Ok(Exit::Interrupted.into());
            }
        }
        service = session.client.service(session.path()).await?;
    }
}

fn end(global: &GlobalOptions, service: &ServiceView, line: &str) -> Result<ExitCode, Failure> {
    if global.json {
        output::json(service)?;
    } else {
        output::say(line);
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_may_name_its_service() {
        assert_eq!(wanted_scale("3"), Ok(WantedScale { service: None, replicas: 3 }));
        let service = Some(ServiceName::parse("worker").unwrap());
        assert_eq!(wanted_scale("worker=0"), Ok(WantedScale { service, replicas: 0 }));
        for bad in ["", "x", "web=", "=3", "web=-1", "Web=2"] {
            assert!(wanted_scale(bad).is_err(), "{bad}");
        }
    }
}
