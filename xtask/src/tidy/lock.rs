//! The workspaces beside this one (the fuzz targets, the engines that the log was compared with) keep lock
//! files of their own, which must follow when a crate of ours needs something new.

use std::path::Path;

use crate::process;

const BESIDE: &[&str] = &["fuzz/Cargo.toml", "benches/log_engines/Cargo.toml"];

/// A line for each lock file that no longer fits.
pub(super) fn faults(root: &Path) -> Vec<String> {
    let stale = |manifest: &&&str| {
        let words = ["metadata", "--format-version=1", "--locked", "--manifest-path", **manifest];
        process::read(root, "cargo", &words).is_err()
    };
    let told = |manifest: &&str| {
        format!(
            "the lock file beside {manifest} is stale: cargo metadata --manifest-path {manifest} mends it"
        )
    };
    BESIDE.iter().filter(stale).map(told).collect()
}
