//! `cargo +nightly fuzz run signing_request`: see [`postern_fuzz::signing_request`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| postern_fuzz::signing_request(data));
