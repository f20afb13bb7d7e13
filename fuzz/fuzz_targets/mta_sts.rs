//! `cargo +nightly fuzz run mta_sts`: see [`postern_fuzz::mta_sts`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| postern_fuzz::mta_sts(data));
