//! Fuzzes AMQP headers, and records on disk; what must hold is `shared::fuzzing::check_envelope`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shared::fuzzing::check_envelope(data));
