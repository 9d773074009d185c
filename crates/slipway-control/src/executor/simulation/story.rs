//! Worlds in which a thing happens that once went wrong, and those in which one thing goes wrong at each place where it can.

use super::nature::Fails;
use super::past;
use super::people::{Settings, put_variable};
use super::random::Random;
use super::source;
use super::world::{Scope, World};
use crate::executor::{Command, Order};
use crate::outside::Outside;
use slipway_types::DeploymentStatus;
use slipway_types::host::HostCommand;
use tokio::sync::oneshot;

/// More than a deployment has moments with its database.
const MOMENTS_MAX: u32 = 400;

/// With a service that was deployed twice.
async fn world(settings: Settings, seed: u64) -> World {
    let dir = tempfile::tempdir_in(past::memory()).unwrap();
    let number = Settings::ALL.iter().position(|other| *other == settings).unwrap();
    let store = past::copy(dir.path(), number).await;
    let mut world = World::bare(seed, Random::new(seed), dir, store);
    world.start();
    world
}

async fn deploy(world: &mut World) {
    let service = world.store.overviews().await.unwrap().remove(0).service;
    let (reply, _) = oneshot::channel();
    world.want(Command::Deploy { service, source: source::spec(), message: None, force: true, reply });
}

async fn newest(world: &World) -> DeploymentStatus {
    world.store.deployments(None, 1).await.unwrap().remove(0).status
}

/// Lives through a deployment for each number of moments after which `trouble` comes, until it comes too late.
fn at_each_moment(every: usize, trouble: impl Fn(&World, u32)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for moments in (0..MOMENTS_MAX).step_by(every) {
        let is_late = runtime.block_on(async {
            let mut world = Box::pin(world(Settings::Rich, u64::from(moments))).await;
            Box::pin(world.come_to_rest()).await.unwrap();
            deploy(&mut world).await;
            trouble(&world, moments);
            let outcome = Box::pin(world.come_to_rest()).await;
            assert_eq!(outcome, Ok(()), "after {moments} moments");
            let is_late = world.disk.is_still();
            world.close().await;
            is_late
        });
        if is_late {
            assert!(moments > 20, "a deployment has more moments than {moments}");
            return;
        }
    }
    panic!("a deployment has more than {MOMENTS_MAX} moments");
}

#[test]
fn a_deployment_ends_whenever_the_server_is_killed() {
    at_each_moment(2, |world, moments| world.disk.kill_in(Some(moments)));
}

#[test]
fn a_deployment_ends_whichever_write_fails() {
    at_each_moment(4, |world, moments| world.disk.fail(Fails::OneWrite, moments));
}

#[test]
fn a_deployment_ends_whichever_read_fails() {
    at_each_moment(4, |world, moments| world.disk.fail(Fails::OneRead, moments));
}

/// It was given to a worker while the word that the server had restarted still waited for the disk; that came late, and gave it
/// to a second worker.
#[tokio::test(flavor = "current_thread")]
async fn a_restart_that_could_not_be_stored_takes_a_deployment_from_no_worker() {
    let mut world = Box::pin(world(Settings::Plain, 1)).await;
    deploy(&mut world).await;
    world.settle().await.unwrap();
    assert_eq!(newest(&world).await, DeploymentStatus::Queued);
    world.down();
    world.disk.fail(Fails::Writes, 0);
    world.start();
    world.settle().await.unwrap();
    world.disk.fail(Fails::Never, 0);
    Box::pin(world.come_to_rest()).await.unwrap();
    assert_eq!(newest(&world).await, DeploymentStatus::Live);
    world.close().await;
}

/// A host that lives on refused every set of a server whose clock had been set back.
#[tokio::test(flavor = "current_thread")]
async fn the_sets_of_a_restarted_server_are_newer_whatever_its_clock_says() {
    let mut world = Box::pin(world(Settings::Plain, 1)).await;
    Box::pin(world.come_to_rest()).await.unwrap();
    let mut generations = Vec::new();
    for hours in 1..=2 {
        let server = world.server.as_mut().unwrap();
        server.executor.send_replicas();
        let sent = server.executor.outbox.iter().map(|command| match command {
            HostCommand::Replicas(set) => set.generation,
            other => panic!("{other:?}"),
        });
        generations.extend(sent);
        world.scope = Scope::Control;
        world.down();
        let before = world.clock.now();
        world.clock.set_wrong_by(-3_600_000 * hours);
        assert!(world.clock.now() < before);
        world.start();
        Box::pin(world.come_to_rest()).await.unwrap();
    }
    assert!(generations[0] < generations[1], "{generations:?}");
    world.close().await;
}

/// The replacement that a first change had begun was taken for as new as can be, and kept the variables that it began with.
#[tokio::test(flavor = "current_thread")]
async fn a_second_change_of_variables_reaches_the_replica_that_the_first_one_began() {
    let mut world = Box::pin(world(Settings::TwoReplicas, 1)).await;
    Box::pin(world.come_to_rest()).await.unwrap();
    let service = world.store.overviews().await.unwrap().remove(0).service;
    for value in ["first value", "second value"] {
        let key = &world.server.as_ref().unwrap().executor.shared.key;
        put_variable(&world.store, key, &service.service_id, value).await.unwrap();
        let (reply, _) = oneshot::channel();
        world.want(Command::ApplyVariables { service: service.clone(), reply });
        until_a_third_starts(&mut world).await;
    }
    assert_eq!(Box::pin(world.come_to_rest()).await, Ok(()));
    world.close().await;
}

/// With what there is: it boots, and begins with the variables that it is given.
async fn until_a_third_starts(world: &mut World) {
    while world.host.running().len() < 3 {
        world.settle().await.unwrap();
        world.host.take().transpose().unwrap();
    }
    for (_, doing) in world.host.doings(false) {
        world.host.go_on(&doing);
    }
}

/// The number of replicas became another while a restart waited for a new one; that went, and nothing made the restart go on.
#[tokio::test(flavor = "current_thread")]
async fn a_restart_goes_on_when_the_replica_that_it_waits_for_is_too_many() {
    let mut world = Box::pin(world(Settings::TwoReplicas, 1)).await;
    Box::pin(world.come_to_rest()).await.unwrap();
    let service = world.store.overviews().await.unwrap().remove(0).service;
    let order = |order| Command::Supervise { service: service.clone(), order, reply: oneshot::channel().0 };
    world.want(order(Order::Restart));
    until_a_third_starts(&mut world).await;
    world.want(order(Order::Scale(1)));
    assert_eq!(Box::pin(world.come_to_rest()).await, Ok(()));
    world.close().await;
}

/// A worker that an earlier run had given a deployment was released from it, when that ended before the restart could be stored. It
/// had claimed already and claimed once more, and was given the same phase twice.
#[tokio::test(flavor = "current_thread")]
async fn a_worker_of_an_earlier_run_is_not_released() {
    // It was seen where the second order came before the first was done.
    for seed in 0..10 {
        let mut world = Box::pin(world(Settings::Plain, seed)).await;
        Box::pin(world.come_to_rest()).await.unwrap();
        deploy(&mut world).await;
        while newest(&world).await != DeploymentStatus::Building {
            world.settle().await.unwrap();
        }
        world.down();
        world.disk.fail(Fails::Writes, 0);
        world.start();
        world.settle().await.unwrap();
        while world.host.report().is_some() {
            world.settle().await.unwrap();
        }
        world.disk.fail(Fails::Never, 0);
        deploy(&mut world).await;
        world.settle().await.unwrap();
        while world.host.take().transpose().unwrap().is_some() {}
        // What could not be stored is tried again, and only then the second claim is heard.
        world.clock.pass(60_000);
        world.host.report();
        assert_eq!(Box::pin(world.come_to_rest()).await, Ok(()), "seed {seed}");
        world.close().await;
    }
}
