//! `cargo xtask tidy`: the rules of the house that the compiler does not know.
//!
//! * Arrows: a crate uses only those of ours that [`ARROWS`] allows (ARCHITECTURE.md, code map).
//! * Heads: every Rust file opens with `//!`, saying what it is for.
//! * Budgets: the packages a crate drags in stay below a number that is raised only on purpose.
//! * Owners: a package of others is named by one crate of ours ([`owner`]).
//! * Locks: the lock files of the workspaces beside this one fit ([`lock`]).
//! * The README's tables are those that the demo printed when it was last timed.
//! * Licences: each package's licence is one that Apache-2.0 may be combined with ([`licence`]).

mod licence;
mod lock;
mod owner;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bench::TABLES;
use crate::process;

/// Crate, the crates of ours that it may use, and how many packages it may need in all (without
/// those for its tests).
const ARROWS: &[(&str, &[&str], usize)] = &[
    ("qhatu-schema", &[], 20),
    ("qhatu-store", &["qhatu-schema"], 100),
    ("qhatu-ingest", &["qhatu-schema", "qhatu-store"], 115),
    ("qhatu-features", &["qhatu-schema"], 35),
    ("qhatu-nn", &[], 80),
    ("qhatu-text", &["qhatu-nn"], 90),
    ("qhatu-models", &["qhatu-schema", "qhatu-nn"], 90),
    ("qhatu-eval", &[], 35),
    ("qhatu-registry", &["qhatu-schema", "qhatu-store"], 115),
    (
        "qhatu-train",
        &["qhatu-schema", "qhatu-store", "qhatu-features", "qhatu-models", "qhatu-eval", "qhatu-registry"],
        170,
    ),
    (
        "qhatu-serve",
        &["qhatu-schema", "qhatu-store", "qhatu-ingest", "qhatu-features", "qhatu-models", "qhatu-registry"],
        220,
    ),
    (
        "qhatu",
        &[
            "qhatu-schema",
            "qhatu-store",
            "qhatu-ingest",
            "qhatu-features",
            "qhatu-models",
            "qhatu-eval",
            "qhatu-train",
            "qhatu-registry",
            "qhatu-serve",
            "qhatu-text",
        ],
        290,
    ),
    ("xtask", &[], 20),
];

/// Checks all rules; the error lists every breach.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let metadata = process::read(root, "cargo", &["metadata", "--format-version=1", "--locked"])?;
    let metadata: Value =
        serde_json::from_str(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let mut faults = arrow_faults(&metadata);
    faults.extend(budget_faults(&metadata));
    faults.extend(owner::faults(&metadata));
    faults.extend(licence::faults(&metadata));
    faults.extend(lock::faults(root));
    faults.extend(head_faults(root)?);
    faults.extend(readme_fault(root)?);
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

fn own_packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().into_iter().flatten().filter(|package| package["source"].is_null())
}

fn arrow_faults(metadata: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for package in own_packages(metadata) {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed, _)) = ARROWS.iter().find(|(known, ..)| *known == name) else {
            faults
                .push(format!("{name}: not in the table of xtask/src/tidy.rs: say which crates it may use"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let target = dependency["name"].as_str().unwrap_or_default();
            let is_ours = ARROWS.iter().any(|(known, ..)| *known == target);
            let for_tests = dependency["kind"].as_str() == Some("dev");
            if is_ours && !for_tests && !allowed.contains(&target) {
                faults.push(format!("{name} uses {target}, which its row does not allow"));
            }
        }
    }
    faults
}

fn budget_faults(metadata: &Value) -> Vec<String> {
    let uses = normal_dependencies(metadata);
    let mut faults = Vec::new();
    for package in own_packages(metadata) {
        let name = package["name"].as_str().unwrap_or_default();
        let id = package["id"].as_str().unwrap_or_default();
        let needed = reachable(&uses, id).len();
        if let Some((_, _, budget)) = ARROWS.iter().find(|(known, ..)| *known == name)
            && needed > *budget
        {
            faults.push(format!("{name} needs {needed} packages; its budget is {budget}"));
        }
    }
    faults
}

fn normal_dependencies(metadata: &Value) -> BTreeMap<&str, Vec<&str>> {
    let is_normal = |dependency: &&Value| {
        dependency["dep_kinds"].as_array().into_iter().flatten().any(|kind| kind["kind"].is_null())
    };
    let nodes = metadata["resolve"]["nodes"].as_array().into_iter().flatten();
    nodes
        .filter_map(|node| {
            let targets = node["deps"].as_array()?.iter().filter(is_normal).filter_map(|d| d["pkg"].as_str());
            Some((node["id"].as_str()?, targets.collect()))
        })
        .collect()
}

fn reachable<'a>(uses: &BTreeMap<&'a str, Vec<&'a str>>, start: &str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&str> = uses.get(start).cloned().unwrap_or_default();
    while let Some(next) = open.pop() {
        if seen.insert(next) {
            open.extend(uses.get(next).into_iter().flatten());
        }
    }
    seen
}

fn head_faults(root: &Path) -> Result<Vec<String>, String> {
    let mut faults = Vec::new();
    for file in rust_files(root)? {
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        if !text.starts_with("//!") {
            faults.push(format!("{}: opens without //! saying what it is for", file.display()));
        }
    }
    Ok(faults)
}

fn readme_fault(root: &Path) -> Result<Option<String>, String> {
    let read =
        |name: &str| std::fs::read_to_string(root.join(name)).map_err(|error| format!("{name}: {error}"));
    let shown = read("README.md")?.contains(&read(TABLES)?);
    Ok((!shown)
        .then(|| format!("README.md shows other tables than {TABLES}, which `cargo xtask bench demo` keeps")))
}

fn rust_files(root: &Path) -> Result<Vec<PathBuf>, String> {
    let listed =
        process::read(root, "git", &["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"])?;
    Ok(listed.lines().map(|line| root.join(line)).filter(|path| path.exists()).collect())
}
