//! `cargo +nightly fuzz run sasl_client`: see [`postern_fuzz::sasl_client`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| postern_fuzz::sasl_client(data));
