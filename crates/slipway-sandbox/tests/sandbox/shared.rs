//! What leaves a sandbox as it was: one boot serves all of it. A check that fails is named, and the rest goes on in a new sandbox.

mod isolation;
mod limits;
mod network;
mod tasks;

use crate::drivers::Place;
use crate::machine::{Machine, holds, was_booted_ahead};
use slipway_sandbox::{NetworkConfig, Sandbox, WarmConfig};
use std::pin::Pin;

/// A machine and a sandbox of it, as the checks get them.
pub(crate) struct Here<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) has_own_kernel: bool,
}

type Check = for<'a> fn(&'a Here<'a>) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

macro_rules! checks {
    ($($file:ident::$check:ident),+ $(,)?) => {
        [$((stringify!($check), (|here| Box::pin($file::$check(here))) as Check)),+]
    };
}

pub(crate) async fn what_a_sandbox_does(place: Place) {
    hold_all(place, WarmConfig::OFF, &all()).await;
}

/// Every container; of a machine what depends on what it was given late.
pub(crate) async fn what_a_sandbox_does_that_was_booted_ahead(place: Place) {
    let of_machines = checks![
        tasks::the_clock_is_the_host_s_and_runs_as_fast,
        tasks::the_certificate_bundle_is_where_its_variables_say,
        isolation::the_file_system_is_made_of_these_mounts,
        network::the_host_is_closed_and_the_sandbox_is_open_to_it,
        limits::runtimes_find_their_limits,
        limits::out_of_memory_is_told_even_of_a_child,
        limits::a_full_disk_is_an_error_to_the_task_and_told,
    ];
    let checks = if place.driver.has_own_kernel { of_machines.to_vec() } else { all() };
    hold_all(place, WarmConfig { idle: Some(1), ..WarmConfig::STANDARD }, &checks).await;
}

fn all() -> Vec<(&'static str, Check)> {
    let checks = checks![
        tasks::a_task_runs_as_the_app_user_and_its_output_and_exit_code_come_back,
        tasks::a_signal_is_no_exit_code,
        tasks::a_task_has_the_environment_that_it_was_given_and_no_other,
        tasks::what_cannot_start_is_said,
        tasks::a_signal_reaches_the_whole_group_of_a_task,
        tasks::a_signal_to_nobody_is_refused,
        tasks::tasks_run_beside_each_other,
        tasks::a_child_that_holds_the_output_does_not_hold_up_the_exit,
        tasks::orphans_are_reaped,
        tasks::the_clock_is_the_host_s_and_runs_as_fast,
        tasks::the_certificate_bundle_is_where_its_variables_say,
        isolation::the_file_system_is_made_of_these_mounts,
        isolation::no_privileges_and_no_way_to_new_ones,
        isolation::not_even_root_inside_can_mount_or_make_namespaces,
        isolation::the_app_sees_its_own_processes_and_cannot_reach_the_agent,
        network::the_host_is_closed_and_the_sandbox_is_open_to_it,
        network::private_ranges_are_refused_at_once_and_there_is_no_ipv6,
        network::a_private_network_is_open_when_it_is_allowed,
        network::a_forged_source_address_goes_nowhere,
        network::names_are_resolved_where_the_host_can,
        limits::runtimes_find_their_limits,
        limits::out_of_memory_is_told_even_of_a_child,
        limits::processes_are_limited,
        limits::a_full_disk_is_an_error_to_the_task_and_told,
        limits::all_output_arrives_in_order_however_much,
        limits::a_task_waits_for_a_reader_while_a_supervisor_is_connected,
    ];
    checks.to_vec()
}

async fn hold_all(place: Place, warm: WarmConfig, checks: &[(&'static str, Check)]) {
    let is_warm = warm != WarmConfig::OFF;
    let machine = place
        .machine_with(|config| {
            config.warm = warm;
            config.ca_bundle = Some("/etc/hostname".into());
            config.network = NetworkConfig { allow: network::allowed(config), ..config.network.clone() };
        })
        .await;
    if is_warm {
        machine.warm_up().await;
    }
    let begun = std::time::Instant::now();
    let mut sandbox = machine.boot("shared").await;
    eprintln!("boot: {:.2?}", begun.elapsed());
    assert_eq!(was_booted_ahead(&machine.config, "shared"), is_warm);
    let mut failed = Vec::new();
    for &(name, check) in checks {
        let here = Here { machine: &machine, sandbox: &sandbox, has_own_kernel: place.driver.has_own_kernel };
        if !holds(name, check(&here)).await {
            failed.push(name);
            sandbox.stop(std::time::Duration::ZERO).await.unwrap();
            machine.sandboxes.prepared().await;
            sandbox = machine.boot(&format!("shared-{}", failed.len())).await;
        }
    }
    let begun = std::time::Instant::now();
    machine.end(&[&sandbox]).await;
    eprintln!("end: {:.2?}", begun.elapsed());
    assert_eq!(failed, Vec::<&str>::new());
}
