//! `cargo +nightly fuzz run client`: see [`postern_fuzz::client`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| postern_fuzz::client(data));
