//! The targets under libFuzzer: `TARGET=json fuzz corpus/json`.

#![no_main]

use std::sync::LazyLock;

use sampan_fuzz::{Target, targets};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("TARGET").unwrap_or_default();
    Target::find(&name).unwrap_or_else(|| {
        let known: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
        eprintln!("TARGET must be one of: {}", known.join(" "));
        std::process::exit(2)
    })
});

libfuzzer_sys::fuzz_target!(init: { LazyLock::force(&TARGET); }, |data: &[u8]| (TARGET.run)(data));
