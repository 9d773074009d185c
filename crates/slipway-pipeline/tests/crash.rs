//! A release that crashes soon after it went live.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panic")]

use slipway_pipeline::{Action, Deployment, DeploymentState as S, Event, LiveDeployment, Shape, step};
use slipway_types::settings::DurationMs;
use slipway_types::{DeploymentId, DeploymentStatus, Phase, ServiceKind, Trigger};

const NOW: i64 = 100_000;

fn live(state: S) -> Deployment {
    let (deployment, sequence) = (DeploymentId::parse("this").unwrap(), 5);
    let rollback_window = Some(DurationMs(1000));
    Deployment {
        live: Some(LiveDeployment { deployment: deployment.clone(), sequence }),
        deployment,
        sequence,
        trigger: Trigger::Source,
        shape: Shape { rollback_window, ..Shape::unplanned(ServiceKind::Web) },
        version: 0,
        route_generation: 7,
        state,
    }
}

fn walk(mut deployment: Deployment, events: &[Event]) -> (Deployment, Vec<Action>) {
    let mut actions = Vec::new();
    for event in events {
        let transition = step(NOW, &deployment, event);
        deployment.state = transition.next;
        actions.extend(transition.actions);
    }
    (deployment, actions)
}

#[test]
fn what_crashes_within_its_window_fails_once_something_newer_is_live() {
    let crash = Event::ReplicaCrashed { code: "out-of-memory".into() };
    for (since, expected) in [(NOW, true), (NOW - 999, true), (NOW - 1000, false)] {
        let start = live(S::Live { since, crashed: None });
        let (after, actions) = walk(start, std::slice::from_ref(&crash));
        assert_eq!((after.state.status(), after.state.crashed().is_some()), (DeploymentStatus::Live, expected));
        assert_eq!(actions.len(), usize::from(expected), "{actions:?}");
    }
    let former = DeploymentId::parse("older").unwrap();
    let start = live(S::Draining { since: NOW - 5000, former, crashed: None });
    let events = [crash.clone(), crash, Event::Drained, Event::CleanedUp, Event::NewerLive { sequence: 6 }];
    let (end, actions) = walk(start, &events);
    assert_eq!(end.state, S::Failed { at: NOW, phase: Phase::Route, code: "out-of-memory".into() });
    let diagnosed = |action: &&Action| matches!(action, Action::Diagnose { .. });
    assert_eq!(actions.iter().filter(diagnosed).count(), 1);
    assert!(actions.contains(&Action::StopFormerReplicas) && !actions.contains(&Action::StopReplicas), "{actions:?}");
}
