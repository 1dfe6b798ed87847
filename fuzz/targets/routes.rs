//! Fuzzes routes files; what must hold is `worker::fuzzing::check_routes`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| worker::fuzzing::check_routes(data));
