//! Fuzzes raw updates; what must hold is `shared::fuzzing::check_peek`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shared::fuzzing::check_peek(data));
