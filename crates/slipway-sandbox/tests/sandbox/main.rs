//! Sandboxes as they are: real containers and virtual machines, mounts, namespaces and rules. Runs as root.
//!
//! One set of checks for every driver: what a sandbox does must not depend on what it is made of. A driver's own matters stand
//! in a file of its name.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]
#![allow(clippy::print_stderr, reason = "a skip is loud, and a failed test shows how far it came")]

mod drivers;
mod firecracker;
mod hostile;
mod images;
mod life;
mod machine;
mod oci;
mod probe;
mod qemu;
mod restart;
mod shared;
mod warm;

/// Each check, with a number of its own, as a test of each driver.
macro_rules! suite {
    ($($driver:ident)+) => {
        $(mod $driver {
            suite!(@tests $driver
                1 shared::what_a_sandbox_does,
                2 life::a_boot_that_fails_leaves_nothing,
                3 life::stop_kills_what_ignores_sigterm_and_needs_no_reader,
                4 life::processor_time_is_limited,
                5 images::a_kept_image_is_a_layer_and_lower_layers_stay_as_they_were,
                6 images::a_cache_outlives_its_sandbox,
                7 restart::a_sandbox_outlives_the_server_and_its_output_goes_on,
                8 restart::what_is_written_without_a_supervisor_is_held_within_a_bound,
                9 restart::a_killed_shim_takes_everything_with_it,
                10 restart::what_a_dead_shim_left_is_removed_at_the_next_start,
                11 restart::a_sandbox_whose_first_process_dies_is_gone,
                12 hostile::an_agent_that_speaks_no_protocol_does_not_boot,
                13 hostile::an_agent_that_says_nothing_does_not_boot,
                14 hostile::an_agent_that_lies_ends_its_sandbox,
                15 hostile::a_line_without_end_ends_its_sandbox,
                16 hostile::a_flood_is_held_within_a_bound_and_stops_nobody,
                17 hostile::an_agent_that_ignores_a_stop_is_killed,
                18 shared::what_a_sandbox_does_that_was_booted_ahead,
                19 warm::one_that_was_booted_ahead_has_its_layers_images_and_address,
                20 warm::one_that_stands_ready_is_used_once,
                21 warm::one_that_died_costs_nothing_but_time,
                22 warm::what_a_killed_server_had_ready_is_removed_at_the_next_start,
            );
        })+
    };
    (@tests $driver:ident $($number:literal $file:ident::$check:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $check() {
            if let Some(place) = crate::drivers::Place::find(crate::drivers::$driver(), $number) {
                crate::$file::$check(place).await;
            }
        })+
    };
}

/// The tests of the suite, by driver.
mod on {
    suite!(oci qemu firecracker);
}
