//! Tells the bench of instruction counts which compiler made it, and for which processor: counts of another are not
//! comparable.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name| env::var(name).unwrap_or_default();
    let version = Command::new(variable("RUSTC")).arg("--version").output();
    let version = version.map_or_else(|_| "rustc".to_owned(), |output| String::from_utf8_lossy(&output.stdout).into());
    let (target, features) = (variable("TARGET"), variable("CARGO_CFG_TARGET_FEATURE"));
    println!("cargo::rustc-env=COMPILER={} for {target} with {features}", version.trim());
}
