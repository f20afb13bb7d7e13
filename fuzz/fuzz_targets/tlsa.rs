//! `cargo +nightly fuzz run tlsa`: see [`postern_fuzz::tlsa`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| postern_fuzz::tlsa(data));
