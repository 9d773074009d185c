//! See `slipway_agent::fuzzing::agent_commands`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slipway_agent::fuzzing::agent_commands(data));
