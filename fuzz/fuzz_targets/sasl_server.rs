//! `cargo +nightly fuzz run sasl_server`: see [`postern_fuzz::sasl_server`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| postern_fuzz::sasl_server(data));
