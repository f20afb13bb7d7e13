//! `cargo +nightly fuzz run server`: see [`postern_fuzz::server`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| postern_fuzz::server(data));
