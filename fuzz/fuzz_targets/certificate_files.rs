//! `cargo +nightly fuzz run certificate_files`: see [`postern_fuzz::certificate_files`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| postern_fuzz::certificate_files(data));
