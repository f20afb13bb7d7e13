//! `cargo +nightly fuzz run tls_offer`: see [`postern_fuzz::tls_offer`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| postern_fuzz::tls_offer(data));
