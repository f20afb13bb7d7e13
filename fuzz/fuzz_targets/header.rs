//! `cargo +nightly fuzz run header`: see [`postern_fuzz::header`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| postern_fuzz::header(data));
