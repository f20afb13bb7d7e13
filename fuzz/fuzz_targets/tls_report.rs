//! `cargo +nightly fuzz run tls_report`: see [`postern_fuzz::tls_report`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| postern_fuzz::tls_report(data));
