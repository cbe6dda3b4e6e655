//! A package of others is named by one crate of ours, so that it can be replaced in one place. Light
//! ones that are part of how every crate is written may stand anywhere.

use std::collections::BTreeMap;

use serde_json::Value;

use super::own_packages;

/// What several crates may name: small, or the workspace's own idiom.
const SHARED: &[&str] = &[
    "libc",
    "rand_xoshiro",
    "rayon",
    "rustc-hash",
    "serde",
    "serde_json",
    "sha2",
    "thiserror",
    "tokio",
    "toml",
    "tracing",
    "ulid",
];

/// A line for each package that more than one crate names without being shared.
pub(super) fn faults(metadata: &Value) -> Vec<String> {
    let mut named: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in own_packages(metadata) {
        let name = package["name"].as_str().unwrap_or_default();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            if dependency["kind"].is_null() && dependency["path"].is_null() {
                named.entry(dependency["name"].as_str().unwrap_or_default()).or_default().push(name);
            }
        }
    }
    named.retain(|package, users| users.len() > 1 && !SHARED.contains(package));
    named
        .into_iter()
        .map(|(package, users)| {
            format!("{package} is named by {}: let one of them offer it", users.join(", "))
        })
        .collect()
}
