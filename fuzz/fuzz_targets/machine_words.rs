//! See `slipway_sandbox::fuzzing::machine_words`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slipway_sandbox::fuzzing::machine_words(data));
