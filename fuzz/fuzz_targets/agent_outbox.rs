//! See `slipway_agent::fuzzing::agent_outbox`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slipway_agent::fuzzing::agent_outbox(data));
