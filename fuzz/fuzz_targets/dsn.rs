//! `cargo +nightly fuzz run dsn`: see [`postern_fuzz::dsn`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| postern_fuzz::dsn(data));
