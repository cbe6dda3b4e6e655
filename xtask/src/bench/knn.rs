//! Session-kNN: what one query costs, on Retailrocket's sessions where they are there and on the demo's,
//! against the published algorithm written on NumPy and, where `QHATU_SERENADE` names a build of it, the
//! authors' own; and how many requests a second a server answers whose champion it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::load::{self, Load};
use super::server::Server;
use super::{Row, Spread, demo};
use crate::{process, tools};

const ROUNDS: usize = 3;
/// The settings of all three, so that they do the same work.
const SETTINGS: [(&str, &str); 3] = [("m", "500"), ("k", "100"), ("max_length", "30")];
/// The same as the example reads them.
const PAPERS: &str = r#"{"m":500,"k":100,"max_length":30}"#;
/// NumPy answers every so-manieth prefix only: it takes its time.
const PEER_EVERY: &str = "8";

pub(crate) fn run(root: &Path) -> Result<Vec<Row>, String> {
    let example = example(root)?;
    let mut rows = Vec::new();
    for data in ["retailrocket", "online_retail"] {
        match sessions(root, data) {
            Ok(folder) => rows.extend(kernel(root, &example, data, &folder)?),
            Err(why) => eprintln!("skipped: {data}: {why}"),
        }
    }
    rows.extend(over_http(root)?);
    Ok(rows)
}

/// The program that measures models on sessions.
pub(super) fn example(root: &Path) -> Result<PathBuf, String> {
    let args = ["build", "--release", "--locked", "-p", "qhatu-models", "--example", "sessions"];
    process::run(root, "cargo", &args)?;
    Ok(super::binary(root).with_file_name("examples").join("sessions"))
}

/// A folder with the data's sessions as text.
pub(super) fn sessions(root: &Path, data: &str) -> Result<PathBuf, String> {
    let folder = root.join("target/bench/sessions").join(data);
    if !folder.join("test.tsv").exists() {
        let shared = root.join("../shared/data");
        if data == "retailrocket" && !shared.join(data).exists() {
            return Err(format!("{} is not there", shared.join(data).display()));
        }
        let python = tools::python(root)?.to_string_lossy().into_owned();
        let (shared, out) = (shared.to_string_lossy(), folder.to_string_lossy());
        process::read(root, &python, &["benches/peers/session_files.py", data, &shared, &out])?;
    }
    Ok(folder)
}

/// Percentiles of a program that prints them as JSON.
#[derive(Default)]
pub(super) struct Percentiles {
    pub(super) p50: Vec<f64>,
    pub(super) p90: Vec<f64>,
    pub(super) p99: Vec<f64>,
}

impl Percentiles {
    pub(super) fn add(&mut self, said: &Value) -> Result<(), String> {
        for (name, kept) in [("p50", &mut self.p50), ("p90", &mut self.p90), ("p99", &mut self.p99)] {
            kept.push(said[name].as_f64().ok_or_else(|| format!("{said} has no {name}"))?);
        }
        Ok(())
    }
}

fn kernel(root: &Path, example: &Path, data: &str, folder: &Path) -> Result<Vec<Row>, String> {
    let python = tools::python(root)?.to_string_lossy().into_owned();
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (train, test) = (file("train.txt"), file("test.tsv"));
    let (mut ours, mut numpy, mut serenade) = <(Percentiles, Percentiles, Percentiles)>::default();
    let (mut version, theirs) = (String::new(), program_of_serenade());
    for _ in 0..ROUNDS {
        ours.add(&json(root, &example.to_string_lossy(), &[&train, &test, "vmis_knn", PAPERS])?)?;
        let said = json(root, &python, &["benches/peers/vmis_knn_numpy.py", &train, &test, PEER_EVERY])?;
        version = format!("the paper's algorithm on NumPy {}", said["numpy"].as_str().unwrap_or("?"));
        numpy.add(&said)?;
        if let Some(program) = &theirs {
            serenade.add(&json(root, program, &[&train, &test])?)?;
        }
    }
    let mut rows = against(data, &ours, (&version, &numpy));
    if theirs.is_some() {
        rows.extend(against(data, &ours, ("Serenade 0.3.1, its own kernel", &serenade)));
    }
    Ok(rows)
}

/// A program that takes TRAIN and TEST and prints percentiles, around a build of Serenade.
fn program_of_serenade() -> Option<String> {
    std::env::var("QHATU_SERENADE").ok().filter(|program| !program.is_empty())
}

pub(super) fn against(data: &str, ours: &Percentiles, (name, peer): (&str, &Percentiles)) -> Vec<Row> {
    let row = |percentile: &str, ours: &[f64], peer: &[f64]| {
        let (ours, peer) = (Spread::of(ours), Spread::of(peer));
        let judged = percentile == "p99";
        Row {
            what: format!("one query on one thread, {data}, {percentile}"),
            unit: "ms".to_owned(),
            ours,
            peer: Some((name.to_owned(), peer)),
            ratio: Some(peer.median / ours.median),
            goal: if judged { "≤ 1 ms".to_owned() } else { "reported".to_owned() },
            reached: judged.then_some(ours.median <= 1.0),
        }
    };
    vec![row("p50", &ours.p50, &peer.p50), row("p90", &ours.p90, &peer.p90), row("p99", &ours.p99, &peer.p99)]
}

/// What a program prints in its last line, as JSON.
pub(super) fn json(root: &Path, program: &str, args: &[&str]) -> Result<Value, String> {
    let text = process::read(root, program, args)?;
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).map_err(|error| format!("{program} printed {line:?}: {error}"))
}

/// A finished demo project that trained `models` and made the last of them champion.
pub(crate) fn project(root: &Path, name: &str, models: &str) -> Result<PathBuf, String> {
    let folder = root.join("target/bench").join(name);
    if !folder.join("qhatu.toml").exists() {
        let (qhatu, dir) = (super::binary(root), folder.to_string_lossy().into_owned());
        process::read(root, &qhatu.to_string_lossy(), &["init", &dir])?;
        configure(&folder, models)?;
    }
    demo::make(root, &folder, 42)?;
    Ok(folder)
}

/// Sets the clock of the past and the models to train.
pub(crate) fn configure(folder: &Path, models: &str) -> Result<(), String> {
    let path = folder.join("qhatu.toml");
    let said = |error: std::io::Error| format!("{}: {error}", path.display());
    let text = std::fs::read_to_string(&path).map_err(said)?;
    let (before, rest) = text.split_once("\nmodels = [").ok_or("qhatu.toml names no models")?;
    let (_, after) = rest.split_once(']').ok_or("qhatu.toml's models do not end")?;
    let after = after.replace("clock = \"system\"", "clock = \"last_event\"");
    let (head, section) = after.split_once("[train.vmis_knn]").ok_or("qhatu.toml sets no vmis_knn")?;
    let section = SETTINGS.iter().fold(section.to_owned(), |text, (key, value)| set(&text, key, value));
    let text = format!("{before}\nmodels = [{models}]{head}[train.vmis_knn]{section}");
    std::fs::write(&path, text).map_err(said)
}

/// Sets the first line of a key.
fn set(text: &str, key: &str, value: &str) -> String {
    let begin = text.find(&format!("\n{key} = ")).map_or(text.len(), |at| at + 1);
    let end = text[begin..].find('\n').map_or(text.len(), |length| begin + length);
    format!("{}{key} = {value}{}", &text[..begin], &text[end..])
}

fn over_http(root: &Path) -> Result<Vec<Row>, String> {
    let project = project(root, "knn", r#""recent_popularity", "vmis_knn""#)?;
    let server = Server::start(root, &project)?;
    let ask = |user: &String| load::get(&format!("/v1/recommendations?user_id={user}&k=21"));
    let requests: Arc<Vec<Vec<u8>>> = Arc::new(demo::users().iter().map(ask).collect());
    let (_, body) = server.ask(&requests[0]).ok_or("the server does not answer")?;
    let (mut rates, mut p90, mut p99) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let full = Load {
            address: server.address,
            requests: Arc::clone(&requests),
            rate: 0.0,
            connections: 8,
            duration: Duration::from_secs(8),
        };
        rates.push(answered(&full)?.rate());
        let outcome = answered(&Load { rate: 1000.0, connections: 16, ..full })?;
        p90.push(outcome.percentile(0.9));
        p99.push(outcome.percentile(0.99));
    }
    let size = body.len();
    let rates = Spread::of(&rates);
    let mut rows = vec![Row {
        what: format!(
            "lists of 21 over HTTP, m 500, k 100, 30 items, 8 connections, each asking again at once ({size} bytes)"
        ),
        unit: "requests/s".to_owned(),
        reached: Some(rates.median >= 5000.0),
        ours: rates,
        peer: None,
        ratio: None,
        goal: "≥ 5,000".to_owned(),
    }];
    for (name, values, limit) in [("p90", p90, Some(7.0)), ("p99", p99, None)] {
        let ours = Spread::of(&values);
        rows.push(Row {
            what: format!("{name} at 1,000 requests/s, open loop"),
            unit: "ms".to_owned(),
            ours,
            peer: None,
            ratio: None,
            goal: limit.map_or("reported".to_owned(), |limit| format!("< {limit} ms (Serenade's paper)")),
            reached: limit.map(|limit| ours.median < limit),
        });
    }
    Ok(rows)
}

fn answered(load: &Load) -> Result<load::Outcome, String> {
    let outcome = load::run(load);
    match outcome.failed {
        0 => Ok(outcome),
        failed => Err(format!("{failed} requests failed")),
    }
}
