//! Deployments of a repository whose branch moves: which commit is deployed, in which context, and what is ignored.

use crate::world::{WEB, World};
use serde_json::json;
use slipway_types::api::{DeploymentView, RedeployView};
use slipway_types::host::{CommandSpec, PhaseWork};
use slipway_types::{DeploymentStatus, SourceSpec, Trigger};

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const C: &str = "cccccccccccccccccccccccccccccccccccccccc";

/// The branch is now at `commit` and is deployed.
async fn push(world: &World, branch: &str, commit: &str) -> DeploymentView {
    world.fake.script(|script| script.commit = Some(commit.to_owned()));
    let source = json!({"source": {"from": "git", "url": "https://example.com/shop.git", "reference": branch}});
    ended(world, &format!("{WEB}/deployments"), source).await
}

async fn redeploy(world: &World, rebuild: bool) -> DeploymentView {
    ended(world, &format!("{WEB}/redeploy"), json!({"rebuild": rebuild})).await
}

async fn ended(world: &World, path: &str, body: serde_json::Value) -> DeploymentView {
    let answer = world.client.post(path, body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let view: DeploymentView = answer.json();
    world.client.follow(view.deployment.as_str()).await;
    world.deployment(&view).await
}

/// What the worker was told to fetch of the repository. None: it fetched nothing.
fn fetched(world: &World, view: &DeploymentView) -> Option<String> {
    works(world, view).into_iter().find_map(|work| match work {
        PhaseWork::Source { source: SourceSpec::Git(git), .. } => git.reference,
        _ => None,
    })
}

fn ignore(world: &World, view: &DeploymentView) -> Option<CommandSpec> {
    works(world, view).into_iter().find_map(|work| match work {
        PhaseWork::Environment { ignore, .. } => ignore.map(|ignore| *ignore),
        _ => None,
    })
}

fn build_command(world: &World, view: &DeploymentView) -> Option<String> {
    works(world, view).into_iter().find_map(|work| match work {
        PhaseWork::Build { command, .. } => Some(command.command),
        _ => None,
    })
}

fn works(world: &World, view: &DeploymentView) -> Vec<PhaseWork> {
    let own = |(deployment, work): &(_, PhaseWork)| (*deployment == view.deployment).then(|| work.clone());
    world.fake.seen(|seen| seen.work.iter().filter_map(own).collect())
}

fn live(view: &DeploymentView) -> (DeploymentStatus, &str) {
    (view.status, &view.source)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redeploy_after_a_rollback_is_of_the_commit_rolled_back_to() {
    let world = World::new().await;
    world.fake.script(|script| script.manifest = Some("[build]\nignore = \"./unchanged\"\n".to_owned()));
    push(&world, "main", A).await;
    push(&world, "main", B).await;
    let back = ended(&world, &format!("{WEB}/rollback"), json!({})).await;
    assert_eq!(live(&back), (DeploymentStatus::Live, A));

    world.fake.script(|script| script.commit = Some(C.to_owned()));
    let view: RedeployView = world.client.get(&format!("{WEB}/redeploy")).await.json();
    assert!(!view.rebuilds, "{}", view.because);
    let again = redeploy(&world, false).await;
    assert_eq!((live(&again), fetched(&world, &again)), ((DeploymentStatus::Live, A), None), "the image is there");
    let again = redeploy(&world, true).await;
    assert_eq!((live(&again), fetched(&world, &again).as_deref()), ((DeploymentStatus::Live, A), Some(A)));

    ended(&world, &format!("{WEB}/rollback"), json!({"release": 2})).await;
    let next = push(&world, "main", C).await;
    let env = ignore(&world, &next).unwrap().env;
    assert_eq!((env["CACHED_COMMIT_REF"].expose(), env["COMMIT_REF"].expose()), (B, C), "compared with what is live");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ignored_push_does_not_stand_in_the_way_of_a_redeploy() {
    let world = World::new().await;
    world.fake.script(|script| {
        script.manifest = Some("[build]\nignore = \"./unchanged\"\n".to_owned());
        script.ignores = true;
    });
    let first = push(&world, "main", A).await;
    assert_eq!(live(&first), (DeploymentStatus::Live, A), "nothing is live yet: nothing is ignored");
    for rebuild in [false, true] {
        let ignored = push(&world, "main", B).await;
        assert_eq!(live(&ignored), (DeploymentStatus::Canceled, B));
        let again = redeploy(&world, rebuild).await;
        assert_eq!((live(&again), again.trigger), ((DeploymentStatus::Live, A), Trigger::Redeploy));
        assert_eq!(fetched(&world, &again).as_deref(), rebuild.then_some(A));
        assert!(ignore(&world, &again).is_none(), "whoever redeploys wants it deployed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redeploy_of_a_branch_keeps_its_commit_and_its_context() {
    let world = World::new().await;
    let toml = "[build]\ncommand = \"npm run prod\"\n[context.branch-deploy]\ncommand = \"npm run preview\"\n";
    world.fake.script(|script| script.netlify = Some(toml.to_owned()));
    let branch = push(&world, "feat/x", A).await;
    assert_eq!(build_command(&world, &branch).as_deref(), Some("npm run preview"));
    world.fake.script(|script| script.commit = Some(B.to_owned()));
    // The second one is of a source that was itself a redeploy.
    for _ in 0..2 {
        let again = redeploy(&world, true).await;
        assert_eq!((live(&again), fetched(&world, &again).as_deref()), ((DeploymentStatus::Live, A), Some(A)));
        assert_eq!(build_command(&world, &again).as_deref(), Some("npm run preview"));
    }
    let main = push(&world, "main", A).await;
    assert_eq!(build_command(&world, &main).as_deref(), Some("npm run prod"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ignore_command_has_little_time_whatever_a_build_has() {
    let world = World::new().await;
    world.fake.script(|script| {
        script.manifest = Some("[build]\nignore = \"./unchanged\"\ntimeout = \"1h\"\n".to_owned());
    });
    push(&world, "main", A).await;
    let next = push(&world, "main", B).await;
    assert_eq!(ignore(&world, &next).unwrap().timeout.0, slipway_pipeline::IGNORE_TIMEOUT_MS);
}
