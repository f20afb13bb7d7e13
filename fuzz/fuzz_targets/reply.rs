//! `cargo +nightly fuzz run reply`: see [`postern_fuzz::reply`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| postern_fuzz::reply(data));
