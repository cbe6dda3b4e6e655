//! Embedded engines for the event log, each behind the same group commit: benches/log_engines, a package
//! outside the workspace so that what is compared never enters the product. docs/adr/0001 reads from it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Row, Spread, seconds};
use crate::process;

/// Ours first; then those it is measured against.
const ENGINES: [&str; 4] = ["sqlite", "fjall", "redb", "segment"];
const MANIFEST: &str = "benches/log_engines/Cargo.toml";
const ROUNDS: usize = 3;
const EVENTS: &str = "1000000";
/// What is counted of throughput: batch, writers, words.
const LOADS: [(&str, &str, &str); 3] = [
    ("1", "1", "durable events, one by one, 1 writer"),
    ("1", "64", "durable events, one by one, 64 writers"),
    ("500", "4", "durable events, batches of 500, 4 writers"),
];

/// What was measured, by words and engine.
type Measured = BTreeMap<(&'static str, &'static str), Vec<f64>>;

pub(crate) fn run(root: &Path) -> Result<Vec<Row>, String> {
    let folder = root.join("target/bench/log_engines");
    drop(std::fs::remove_dir_all(&folder));
    let mut measured = Measured::new();
    weigh(root, &folder, &mut measured)?;
    for _ in 0..ROUNDS {
        for (batch, writers, what) in LOADS {
            for engine in ENGINES {
                let dir = folder.join("store");
                let args = ["throughput", engine, &dir.to_string_lossy(), batch, writers, "2"];
                let found = ask(root, &program(&folder, engine), &args)?;
                std::fs::remove_dir_all(&dir).map_err(|error| error.to_string())?;
                measured.entry((what, engine)).or_default().push(figure(&found, "per_second")?);
            }
        }
    }
    for engine in ENGINES {
        kill_and_recover(root, &folder, engine, &mut measured)?;
    }
    Ok(rows(&measured))
}

/// The program that was built with one engine, in `folder`.
fn program(folder: &Path, engine: &str) -> PathBuf {
    folder.join(engine).join("release/log_engines")
}

/// Packages and seconds of a clean build that an engine adds to a program with none but our own.
fn weigh(root: &Path, folder: &Path, measured: &mut Measured) -> Result<(), String> {
    let mut alone = (0, 0.0);
    for engine in ["segment", "sqlite", "fjall", "redb"] {
        let feature = if engine == "segment" { "" } else { engine };
        process::run(root, "cargo", &["fetch", "--quiet", "--locked", "--manifest-path", MANIFEST])?;
        let took = seconds(|| build(root, &folder.join(engine), feature))?;
        let tree = ["tree", "--locked", "--manifest-path", MANIFEST, "--no-default-features", "--features"];
        let shape = [feature, "--prefix", "none", "--no-dedupe", "--edges", "normal,build"];
        let listed = process::read(root, "cargo", &[&tree[..], &shape[..]].concat())?;
        let packages = listed.lines().collect::<std::collections::BTreeSet<_>>().len();
        if engine == "segment" {
            alone = (packages, took);
        }
        let added = (packages.saturating_sub(alone.0) as f64, (took - alone.1).max(0.0));
        measured.entry(("packages it brings in", engine)).or_default().push(added.0);
        measured.entry(("seconds it adds to a clean release build", engine)).or_default().push(added.1);
    }
    Ok(())
}

fn build(root: &Path, target: &Path, features: &str) -> Result<(), String> {
    let target_dir = target.to_string_lossy();
    let args = ["build", "--release", "--quiet", "--locked", "--manifest-path", MANIFEST];
    let shape = ["--no-default-features", "--features", features, "--target-dir", &target_dir];
    process::run(root, "cargo", &[&args[..], &shape[..]].concat())
}

/// Fills an engine, kills it in the middle of a write, and lets another process open what is left.
fn kill_and_recover(
    root: &Path,
    folder: &Path,
    engine: &'static str,
    measured: &mut Measured,
) -> Result<(), String> {
    let (program, dir) = (program(folder, engine), folder.join("store"));
    let store = dir.to_string_lossy();
    let mut child = Command::new(&program)
        .args(["fill", engine, &store, EVENTS])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    let stdout = child.stdout.take().expect("the pipe asked for above");
    let mut line = String::new();
    let told = BufReader::new(stdout).read_line(&mut line);
    drop(child.kill());
    drop(child.wait());
    told.map_err(|error| error.to_string())?;
    let filled = parse(&line)?;
    let found = ask(root, &program, &["recover", engine, &store, EVENTS])?;
    std::fs::remove_dir_all(&dir).map_err(|error| error.to_string())?;
    let mut keep = |what, value| measured.entry((what, engine)).or_default().push(value);
    let million = figure(&found, "events")? / 1e6;
    keep("writing 1,000,000 events in batches of 500, 2 writers", figure(&filled, "seconds")?);
    keep("kill -9 then: opened, and right about a known id", figure(&found, "open_seconds")?);
    keep("events read back by offset", figure(&found, "read_per_second")?);
    keep("known ids refused, of 1,000,000, in random order", figure(&found, "lookups_per_second")?);
    keep("space on disk of 1,000,000 events", figure(&found, "bytes")? / 1e6 / million);
    Ok(())
}

fn ask(root: &Path, program: &Path, args: &[&str]) -> Result<Value, String> {
    parse(&process::read(root, &program.to_string_lossy(), args)?)
}

fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("log_engines printed {text:?}: {error}"))
}

fn figure(found: &Value, name: &str) -> Result<f64, String> {
    found[name].as_f64().ok_or_else(|| format!("log_engines says no {name}: {found}"))
}

/// A row per measure and peer; units with a "/s" are better when higher.
fn rows(measured: &Measured) -> Vec<Row> {
    let whats = [
        (LOADS[0].2, "events/s"),
        (LOADS[1].2, "events/s"),
        (LOADS[2].2, "events/s"),
        ("writing 1,000,000 events in batches of 500, 2 writers", "s"),
        ("kill -9 then: opened, and right about a known id", "s"),
        ("events read back by offset", "events/s"),
        ("known ids refused, of 1,000,000, in random order", "ids/s"),
        ("space on disk of 1,000,000 events", "MB"),
        ("packages it brings in", ""),
        ("seconds it adds to a clean release build", "s"),
    ];
    let mut rows = Vec::new();
    for (what, unit) in whats {
        let of = |engine| measured.get(&(what, engine)).map(|values| Spread::of(values));
        let Some(ours) = of(ENGINES[0]) else { continue };
        for peer in &ENGINES[1..] {
            let Some(spread) = of(*peer) else { continue };
            let higher_is_better = unit.ends_with("/s");
            let (better, worse) = if higher_is_better { (ours, spread) } else { (spread, ours) };
            rows.push(Row {
                what: what.to_owned(),
                unit: unit.to_owned(),
                ours,
                peer: Some(((*peer).to_owned(), spread)),
                ratio: (worse.median > 0.0).then(|| better.median / worse.median),
                goal: "reported; ours is SQLite".to_owned(),
                reached: None,
            });
        }
    }
    rows
}
