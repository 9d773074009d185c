//! What the server itself costs: queue wait, resident memory, a listing over a long history.

use super::{median, percentile, row, slipway};
use anyhow::{Context, Result};
use slipway_pipeline::Event;
use slipway_store::{Change, NewDeployment, Store};
use slipway_testing::{App, TestServer};
use slipway_types::{DeploymentId, ProjectName, ServiceId, ServiceName, SourceSpec, Trigger, UploadId};
use std::time::Instant;

const DEPLOYMENTS: usize = 20;
const SERVICES: usize = 10;
const LISTINGS: usize = 20;
/// Deployments stored before the listing is timed.
const HISTORY: u32 = 10_000;

pub(crate) fn queue_wait_and_memory() -> Result<()> {
    let server = TestServer::start(&slipway()?.to_string_lossy());
    let apps: Vec<App> = (0..SERVICES).map(|n| App::node(&format!("bench{n}"), "v1")).collect();
    let mut waits = Vec::new();
    for deployment in 0..DEPLOYMENTS {
        let run = server.run_in(apps[deployment % SERVICES].path(), &["up", "--json"]).expect_code(0);
        let events = run.events();
        let at = |kind: &str| events.iter().find(|event| event["event"] == kind).and_then(|event| event["at"].as_f64());
        waits.push(at("phase_started").context("first phase")? - at("status").context("first status")?);
    }
    let figure = format!("P50 {:.0} ms, P95 {:.0} ms", median(&waits), percentile(&waits, 0.95));
    row("queue wait, a worker idle", &figure, "P50 ≤ 50 ms");
    let resident = resident_mebibytes(server.pid())?;
    row(&format!("idle server with {SERVICES} services"), &format!("{resident:.0} MB resident"), "≤ 60 MB");
    Ok(())
}

pub(crate) fn listing() -> Result<()> {
    let mut server = TestServer::start(&slipway()?.to_string_lossy());
    let app = App::node("history", "v1");
    let _ = server.run_in(app.path(), &["up", "--json"]).expect_code(0);
    server.stop_process();
    fill_history(&server)?;
    server.start_process();
    let times: Vec<f64> = (0..LISTINGS)
        .map(|_| {
            let start = Instant::now();
            let _ = server.run(&["ps"]).expect_code(0);
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    let figure = format!("{:.0} ms, P95 {:.0} ms", median(&times), percentile(&times, 0.95));
    row(&format!("`slipway ps` with {HISTORY} deployments stored"), &figure, "≤ 50 ms");
    Ok(())
}

/// Stores a long history of one service through the store's own transactions; all but the last are superseded, the last canceled.
pub(super) fn fill_history(server: &TestServer) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = Store::open(&server.data().join("slipway.db")).await?;
        let service = ServiceId::parse("svc-archive")?;
        store.ensure_service(1, &ProjectName::parse("archive")?, &ServiceName::parse("web")?, &service).await?;
        for number in 1..=HISTORY {
            let deployment = DeploymentId::parse(format!("dpl-archive-{number}"))?;
            let new = NewDeployment {
                deployment: deployment.clone(),
                service: service.clone(),
                trigger: Trigger::Source,
                source: SourceSpec::Upload { upload: UploadId::parse("up-archive")? },
                source_label: "up-archive".to_owned(),
                message: None,
                release: None,
                reuse: None,
            };
            store.create_deployment(i64::from(number), &new).await?;
            if number == HISTORY {
                let now = i64::from(number) + 1;
                store.apply(now, &deployment, &Event::CancelRequested, &Change::default()).await?;
            }
        }
        store.close().await;
        Ok(())
    })
}

pub(super) fn resident_mebibytes(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes / 1024.0)
}
