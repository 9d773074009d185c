//! See `slipway_sandbox::fuzzing::agent_greeting`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slipway_sandbox::fuzzing::agent_greeting(data));
