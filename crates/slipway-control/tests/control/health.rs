//! Whether the server can work, and its numbers.

use crate::client::{Answer, PATIENCE};
use crate::world::{WEB, World};
use http::{Method, header};
use serde_json::{Value, json};
use slipway_types::Phase;
use slipway_types::cache::{CacheInventory, SweepEnded, SweepOutcome};
use slipway_types::host::HostReport;

async fn without_token(world: &World, path: &str) -> Answer {
    let mut request = world.client.request(Method::GET, path, "");
    request.headers_mut().remove(header::AUTHORIZATION);
    world.client.send(request).await
}

/// The value of one series.
async fn number(world: &World, series: &str) -> Option<f64> {
    let text = world.client.get("/metrics").await.text();
    let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
}

async fn until(world: &World, series: &str, wanted: impl Fn(f64) -> bool) {
    let looking = async {
        while !number(world, series).await.is_some_and(&wanted) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("`{series}` to be as wanted"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_ready_once_all_of_its_parts_are_and_says_which_is_not() {
    let world = World::new().await;
    assert_eq!(without_token(&world, "/healthz").await.status, 200);
    let looking = async {
        loop {
            let answer = without_token(&world, "/readyz").await;
            let said: Value = answer.json();
            if answer.status == 200 {
                return said;
            }
            assert_eq!((answer.status.as_u16(), &said["ready"]), (503, &json!(false)));
            assert!(!said["not_ready"].as_array().unwrap().is_empty());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let said = tokio::time::timeout(PATIENCE, looking).await.expect("a server that is ready");
    assert_eq!(said, json!({"ready": true, "not_ready": []}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_for_who_has_the_token_and_name_no_service() {
    let world = World::new().await;
    assert_eq!(without_token(&world, "/metrics").await.status, 401);
    let view = world.deploy_to_end().await;
    world.until(&view, |view| view.phase == Some(Phase::CleanUp)).await;
    until(&world, "slipway_deployment_statuses_total{status=\"live\"}", |count| count == 1.0).await;
    until(&world, "slipway_phase_duration_seconds_count{phase=\"build\",result=\"done\"}", |count| count == 1.0).await;
    until(&world, "slipway_dependency_layer_lookups_total{result=\"miss\"}", |count| count == 1.0).await;
    until(&world, "slipway_replicas{state=\"ready\"}", |count| count == 1.0).await;
    until(&world, "slipway_replicas_wanted", |count| count == 1.0).await;
    until(&world, "slipway_active_deployments", |count| count == 0.0).await;
    until(&world, "slipway_database_bytes", |bytes| bytes > 4096.0).await;
    until(&world, "slipway_data_disk_free_bytes", |bytes| bytes > 0.0).await;
    until(&world, "process_resident_memory_bytes", |bytes| bytes > 1e6).await;
    until(&world, "process_cpu_seconds_total", |seconds| seconds >= 0.0).await;

    world.fake.script(|script| script.hold = Some(Phase::Build));
    for _ in 0..2 {
        let answer = world.client.post(&format!("{WEB}/redeploy"), json!({"rebuild": true})).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    until(&world, "slipway_active_deployments", |count| count >= 1.0).await;
    world.fake.report(HostReport::Inventory(Box::new(CacheInventory { hot_bytes: 77, ..Default::default() }))).await;
    until(&world, "slipway_layers_hot_bytes", |bytes| bytes == 77.0).await;
    let outcome = Ok(SweepOutcome { removed_left_out: 3, freed_bytes: 9, ..Default::default() });
    world.fake.report(HostReport::Swept(SweepEnded { sweep: "swp-1".to_owned(), outcome })).await;
    until(&world, "slipway_layer_evictions_total", |count| count == 3.0).await;

    for (series, value) in [
        ("connections_accepted_total", 9.0),
        ("connections_open", 4.0),
        ("requests_open", 1.0),
        ("answers_total{class=\"4xx\"}", 2.0),
        ("refusals_total{code=\"no-such-host\"}", 2.0),
        ("answer_head_seconds_bucket{le=\"0.01\"}", 4.0),
        ("answer_head_seconds_bucket{le=\"+Inf\"}", 5.0),
        ("answer_head_seconds_sum", 40.007),
    ] {
        assert_eq!(number(&world, &format!("slipway_edge_{series}")).await, Some(value), "{series}");
    }
    let text = world.client.get("/metrics").await.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    for named in ["shop", "web", view.deployment.as_str()] {
        assert!(!text.contains(named), "`{named}` is in the numbers");
    }
}
