//! Fuzzes services' answers; what must hold is `worker::fuzzing::check_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| worker::fuzzing::check_answer(data));
