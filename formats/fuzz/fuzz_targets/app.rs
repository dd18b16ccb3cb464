//! `friscy_formats::fuzz::app` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| friscy_formats::fuzz::app(bytes));
