//! Every code of the catalogue is provoked: by a case here, by a test elsewhere, or there is a reason why not.

use crate::{bundler, database, framework, install, lockfile, native, other_manager, program, python, run, source};
use slipway_build::CATALOGUE;
use std::collections::BTreeSet;
use std::path::Path;

const CONTROL_QUEUE: &str = "crates/slipway-control/tests/control/queue.rs";
const E2E_CACHE: &str = "crates/slipway/tests/e2e/cache.rs";
const HOST_MACHINES: &str = "crates/slipway-host/tests/host/machines.rs";
const HOST_CUSTODIAN: &str = "crates/slipway-host/tests/host/custodian.rs";
const E2E_FAILURE: &str = "crates/slipway/tests/e2e/failure.rs";
const E2E_RUN_FAILURE: &str = "crates/slipway/tests/e2e/run_failure.rs";
const E2E_GIT: &str = "crates/slipway/tests/e2e/git.rs";
const HOST_PHASES: &str = "crates/slipway-host/tests/host/phases.rs";
const HOST_SITES: &str = "crates/slipway-host/tests/host/sites.rs";
const HOST_GIT: &str = "crates/slipway-host/src/git/tests.rs";
const HOST_TOOLCHAINS: &str = "crates/slipway-host/src/toolchain/tests.rs";

/// Code, file and name of the test that provokes it with the real thing.
const ELSEWHERE: [(&str, &str, &str); 27] = [
    ("build-memory-over-budget", CONTROL_QUEUE, "builds_have_a_budget_of_memory"),
    ("disk-nearly-full", E2E_CACHE, "a_disk_that_is_nearly_full_stops_builds_and_nothing_else"),
    ("release-gone", HOST_CUSTODIAN, "a_replica_whose_layers_are_gone_says_so"),
    ("driver-changed", HOST_MACHINES, "a_release_of_machines_is_refused_by_containers"),
    ("git-unreachable", E2E_GIT, "refused_credentials_are_said"),
    ("git-reference-missing", E2E_GIT, "a_branch_a_tag_and_a_commit_deploy_and_a_missing_one_is_said"),
    ("git-authentication", E2E_GIT, "refused_credentials_are_said"),
    ("git-failed", HOST_GIT, "other_transports_are_refused"),
    ("invalid-slipway-toml", E2E_GIT, "broken_slipway_toml"),
    ("upload-missing", HOST_PHASES, "sources_that_cannot_be_had_are_told_apart"),
    ("site-too-large", "crates/slipway-host/src/site/tests.rs", "rules_are_bounded_and_a_later_build_replaces"),
    ("no-package-json", E2E_FAILURE, "no_package_json"),
    ("invalid-package-json", E2E_FAILURE, "broken_package_json"),
    ("invalid-node-version", E2E_FAILURE, "invalid_node_version"),
    ("version-unavailable", E2E_FAILURE, "wrong_node_version"),
    ("toolchain-unavailable", HOST_TOOLCHAINS, "a_site_that_does_not_answer_is_named"),
    ("out-of-memory", E2E_FAILURE, "build_out_of_memory"),
    ("disk-full", E2E_FAILURE, "build_disk_full"),
    ("timed-out", E2E_FAILURE, "build_time_out"),
    ("pre-deploy-failed", E2E_FAILURE, "migration_fails"),
    ("listens-on-loopback", E2E_RUN_FAILURE, "app_listens_on_loopback"),
    ("listens-on-wrong-port", E2E_RUN_FAILURE, "app_listens_on_the_wrong_port"),
    ("listens-on-nothing", E2E_RUN_FAILURE, "app_listens_on_nothing"),
    ("health-path-status", E2E_RUN_FAILURE, "health_path_answers_404"),
    ("health-timeout", E2E_RUN_FAILURE, "health_times_out"),
    ("layer-failed", HOST_SITES, "a_site_that_cannot_be_published_or_mounted_says_why"),
    ("command-not-found", E2E_FAILURE, "build_command_not_found"),
];

/// Not provoked, and why. What their tools print is in the tests of `slipway-build`.
const NOT_PROVOKED: [(&str, &str); 12] = [
    (
        "settings-invalid",
        "the CLI and the API refuse such a value before it is stored; the decision itself is tested in slipway-build",
    ),
    ("upload-unusable", "control checks an archive before it keeps it: one that the host refuses can't be uploaded"),
    ("budget-exceeded", "Angular's tools are 400 MB for one line of text"),
    ("watch-limit", "the limit is the whole machine's: to reach it would disturb whatever else runs"),
    ("sandbox-failed", "needs a machine whose kernel or OCI runtime is broken"),
    ("host-disk-full", "needs a full disk of the machine"),
    ("host-error", "stands for codes of a newer host"),
    ("internal", "needs a database that fails"),
    ("phase-timed-out", "needs a host that is silent for longer than any time-out"),
    ("start-timed-out", "needs a host that is silent for longer than any time-out"),
    ("unknown-failure", "needs a failure without evidence, which would be a fault of ours"),
    (
        "interrupted-pre-deploy",
        "needs a server that stops at the right instant; the simulation of the pipeline does it",
    ),
];

#[test]
fn every_code() {
    let groups = [
        bundler::CASES,
        database::CASES,
        database::REAL_CASES,
        framework::CASES,
        install::CASES,
        lockfile::CASES,
        native::CASES,
        other_manager::CASES,
        program::CASES,
        python::CASES,
        run::CASES,
        source::CASES,
    ];
    let mut covered: BTreeSet<&str> = groups.iter().flat_map(|cases| cases.iter().map(|case| case.code)).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (code, file, test) in ELSEWHERE {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        assert!(
            text.contains(&format!("\"{code}\"")) && text.contains(&format!("fn {test}")),
            "{file} has no {test} for {code}"
        );
        covered.insert(code);
    }
    for (code, reason) in NOT_PROVOKED {
        assert!(!covered.contains(code), "{code} is provoked: it needs no reason ({reason})");
        covered.insert(code);
    }
    let listed: BTreeSet<&str> = CATALOGUE.iter().map(|entry| entry.code).collect();
    assert_eq!(covered, listed);
}
