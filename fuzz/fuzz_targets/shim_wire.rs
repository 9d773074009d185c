//! See `slipway_sandbox::fuzzing::shim_wire`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| slipway_sandbox::fuzzing::shim_wire(data));
