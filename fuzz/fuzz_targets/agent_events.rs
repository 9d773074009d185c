//! See `slipway_sandbox::fuzzing::agent_events`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slipway_sandbox::fuzzing::agent_events(data));
