//! `cargo +nightly fuzz run content`: see [`postern_fuzz::content`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| postern_fuzz::content(data));
