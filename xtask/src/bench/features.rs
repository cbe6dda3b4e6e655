//! Features: `qhatu features --rows` over a generated log against DuckDB's window functions making the
//! same rows from the same Parquet files, both on two processors, checked equal on a sample.
//!
//! The peer's time and memory grow so that the two meet on a part of the goal's 20 million events; ours
//! goes over the whole as well.

use std::path::{Path, PathBuf};

use super::import::binary;
use super::timed::{Measured, timed};
use super::{Row, Spread};
use crate::{process, tools};

/// Events on which ours and the peer meet.
const MEETING_EVENTS: usize = 2_000_000;
/// Events of the goal.
const ALL_EVENTS: usize = 20_000_000;
const ROUNDS: usize = 2;
/// A moment after every event of the log.
const AS_OF: &str = "2012-12-31";
/// MiB that the goal allows.
const MEMORY_GOAL: f64 = 2048.0;

struct Bench<'a> {
    root: &'a Path,
    python: String,
    folder: PathBuf,
}

pub(crate) fn run(root: &Path) -> Result<Vec<Row>, String> {
    let python = tools::python(root)?.to_string_lossy().into_owned();
    let bench = Bench { root, python, folder: root.join("target/bench/features") };
    let base = bench.base()?;
    let meeting = bench.shop("meeting", &base, MEETING_EVENTS)?;
    let (mut ours, mut peers): (Vec<Measured>, Vec<Measured>) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(bench.ours(&meeting)?);
        peers.push(bench.peer(&meeting)?);
    }
    bench.check(&meeting)?;
    let whole = bench.shop("whole", &base, ALL_EVENTS)?;
    let (seconds, memory) = bench.ours(&whole)?;
    bench.rows(&meeting, &ours, &peers).map(|mut rows| {
        rows.push(alone("the same over the whole log", &whole.about, "s", seconds, "reported", None));
        let reached = Some(memory <= MEMORY_GOAL);
        rows.push(alone("peak memory of that", &whole.about, "MiB", memory, "≤ 2,048 MiB", reached));
        rows
    })
}

/// A project with a generated lake.
struct Shop {
    dir: String,
    about: String,
}

impl Bench<'_> {
    /// A project with the demo's data imported and compacted: what the log is made from.
    fn base(&self) -> Result<String, String> {
        let dir = self.folder.join("base");
        let data = dir.join("data").to_string_lossy().into_owned();
        if dir.join("data/features/user.parquet").exists() {
            return Ok(data);
        }
        drop(std::fs::remove_dir_all(&dir));
        std::fs::create_dir_all(&self.folder).map_err(|error| error.to_string())?;
        let csv = self.folder.join("online_retail.csv").to_string_lossy().into_owned();
        process::run(self.root, &self.python, &["benches/peers/online_retail_csv.py", &csv])?;
        let dir = dir.to_string_lossy().into_owned();
        self.qhatu(&["init", &dir])?;
        self.qhatu(&["ingest", "--dir", &dir, "--mapping", "online_retail", &csv])?;
        self.qhatu(&["features", "--dir", &dir])?;
        Ok(data)
    }

    /// A project whose lake is a generated log of about so many events, with the catalogue of the base.
    fn shop(&self, name: &str, base: &str, events: usize) -> Result<Shop, String> {
        let dir = self.folder.join(name);
        let text = dir.to_string_lossy().into_owned();
        let counted = dir.join("events");
        if !counted.exists() {
            drop(std::fs::remove_dir_all(&dir));
            self.qhatu(&["init", &text])?;
            let (events, data) = (events.to_string(), format!("{text}/data"));
            copy_catalogue(self.root, base, &data)?;
            let made = process::read(
                self.root,
                &self.python,
                &["benches/peers/features_log.py", base, &data, &events],
            )?;
            std::fs::write(&counted, made.trim()).map_err(|error| error.to_string())?;
        }
        let events = std::fs::read_to_string(&counted).map_err(|error| error.to_string())?;
        let millions = events.parse::<f64>().map_err(|error| error.to_string())? / 1e6;
        Ok(Shop { dir: text, about: format!("{millions:.1}M events") })
    }

    fn qhatu(&self, args: &[&str]) -> Result<(), String> {
        process::read(self.root, &binary(self.root).to_string_lossy(), args).map(drop)
    }

    fn ours(&self, shop: &Shop) -> Result<Measured, String> {
        let binary = binary(self.root).to_string_lossy().into_owned();
        timed(
            self.root,
            &self.python,
            "-",
            &[&binary, "features", "--rows", "--as-of", AS_OF, "--dir", &shop.dir],
        )
    }

    fn peer(&self, shop: &Shop) -> Result<Measured, String> {
        let (data, rows) = (format!("{}/data", shop.dir), format!("{}/duckdb.parquet", shop.dir));
        timed(self.root, &self.python, "-", &[&self.python, "benches/peers/features_duckdb.py", &data, &rows])
    }

    /// Rows of both agree on every fiftieth event, and in number.
    fn check(&self, shop: &Shop) -> Result<(), String> {
        let (data, rows) = (format!("{}/data", shop.dir), format!("{}/duckdb.parquet", shop.dir));
        let ours = format!("{data}/features/rows.parquet");
        process::run(self.root, &self.python, &["benches/peers/features_duckdb.py", &data, &rows, &ours])
    }

    fn rows(&self, shop: &Shop, ours: &[Measured], peers: &[Measured]) -> Result<Vec<Row>, String> {
        let version = "import duckdb; print(duckdb.__version__, end='')";
        let name = format!("DuckDB {}", process::read(self.root, &self.python, &["-c", version])?);
        let spread = |runs: &[Measured], of: fn(&Measured) -> f64| {
            Spread::of(&runs.iter().map(of).collect::<Vec<_>>())
        };
        let row = |what: &str, unit: &str, of: fn(&Measured) -> f64, goal: &str, is_goal: bool| {
            let (ours, peer) = (spread(ours, of), spread(peers, of));
            let ratio = peer.median / ours.median;
            Row {
                what: format!("{what}, {}", shop.about),
                unit: unit.to_owned(),
                ours,
                peer: Some((name.clone(), peer)),
                ratio: Some(ratio),
                goal: goal.to_owned(),
                reached: is_goal.then_some(ratio >= 1.0),
            }
        };
        Ok(vec![
            row("all built-in features before each event", "s", |run| run.0, "≥ 1 × DuckDB", true),
            row("peak memory of that", "MiB", |run| run.1, "reported", false),
        ])
    }
}

/// Products of one project for another.
pub(crate) fn copy_catalogue(root: &Path, from: &str, to: &str) -> Result<(), String> {
    std::fs::create_dir_all(to).map_err(|error| format!("{to}: {error}"))?;
    process::run(root, "cp", &["-r", &format!("{from}/metadata"), &format!("{to}/metadata")])
}

fn alone(what: &str, about: &str, unit: &str, figure: f64, goal: &str, reached: Option<bool>) -> Row {
    Row {
        what: format!("{what}, {about}"),
        unit: unit.to_owned(),
        ours: Spread::of(&[figure]),
        peer: None,
        ratio: None,
        goal: goal.to_owned(),
        reached,
    }
}
