//! See `slipway_tree::fuzzing::archive`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slipway_tree::fuzzing::archive(data));
