//! `cargo xtask bench NAME`: ours against a peer, interleaved in one run on the same data, printed
//! with the spread and kept as JSON in `benches/results/`, from which `docs/reference/benchmarks.md`
//! is made. A benchmark never fails a test run: a ratio below its goal is written down, not hidden.
//!
//! NAME may be a group too: `quality`, `speed`, or `all`. Of a group, one that cannot run here (a data set that may be
//! read but not kept is not there, a peer cannot be installed) is named in the end, and the others are run.

mod als;
mod asked;
mod beauty;
mod bert;
mod cold;
mod demo;
mod engines;
mod features;
mod http;
mod import;
mod knn;
mod load;
mod neural;
mod page;
mod sasrec;
mod scan;
mod server;
mod sessions;
mod steps;
mod swap;
mod timed;
mod trees;

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub(crate) use self::demo::TABLES;
pub(crate) use self::features::copy_catalogue;
pub(crate) use self::import::{binary, target};
pub(crate) use self::server::Server;
use crate::process;

/// A benchmark.
struct Bench {
    name: &'static str,
    /// What it measures.
    about: &'static str,
    group: Group,
    run: fn(&Path) -> Result<Vec<Row>, String>,
}

/// The groups that are run by one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    /// How well models say what comes.
    Quality,
    /// How fast something is.
    Speed,
    /// Both of them.
    Both,
    /// What only a decision was made by.
    Neither,
}

impl Group {
    fn is_in(self, name: &str) -> bool {
        match name {
            "all" => true,
            "quality" => matches!(self, Self::Quality | Self::Both),
            "speed" => matches!(self, Self::Speed | Self::Both),
            _ => false,
        }
    }
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "online_retail",
        about: "the demo's models on its time split, three seeds",
        group: Group::Quality,
        run: demo::quality,
    },
    Bench {
        name: "sasrec",
        about: "SASRec on MovieLens-1M by leave-one-out, against RecTools",
        group: Group::Both,
        run: sasrec::run,
    },
    Bench {
        name: "beauty",
        about: "SASRec with and without titles on Amazon Beauty by leave-one-out, against decayed Markov",
        group: Group::Quality,
        run: beauty::run,
    },
    Bench {
        name: "augmentation",
        about: "what changing histories in training brings to users of few events, on Amazon Beauty",
        group: Group::Neither,
        run: beauty::augmentation,
    },
    Bench {
        name: "cold",
        about: "items that nobody bought before, found by their titles, against BM25 and popularity",
        group: Group::Quality,
        run: cold::run,
    },
    Bench {
        name: "sessions",
        about: "Retailrocket's sessions: neighbours, rules and own items, against the papers' formulas on NumPy",
        group: Group::Quality,
        run: sessions::run,
    },
    Bench {
        name: "trees",
        about: "trees on Online Shoppers, and on orders of Online Retail to be ranked, against LightGBM, XGBoost and scikit-learn, same folds",
        group: Group::Both,
        run: trees::run,
    },
    Bench {
        name: "als",
        about: "ALS on the demo's time split, against implicit: quality and time to fit, three seeds",
        group: Group::Both,
        run: als::run,
    },
    Bench {
        name: "bert",
        about: "BERT of MiniLM-L6's shape: encoding and a step of fine-tuning, against PyTorch and ONNX Runtime",
        group: Group::Speed,
        run: bert::run,
    },
    Bench {
        name: "steps",
        about: "training steps of SASRec, GRU and LSTM, against PyTorch",
        group: Group::Speed,
        run: steps::run,
    },
    Bench {
        name: "scan",
        about: "exact search of the best items by inner product, against FAISS's flat index",
        group: Group::Speed,
        run: scan::run,
    },
    Bench {
        name: "import",
        about: "file import, Online Retail CSV, against pandas",
        group: Group::Speed,
        run: import::run,
    },
    Bench {
        name: "features",
        about: "features before each event of a log, against DuckDB",
        group: Group::Speed,
        run: features::run,
    },
    Bench {
        name: "ingest",
        about: "durable ingest over HTTP, batches of 500 and of 1",
        group: Group::Speed,
        run: http::ingest,
    },
    Bench {
        name: "latency",
        about: "recommendations over HTTP at 1,000 requests a second, events arriving meanwhile",
        group: Group::Speed,
        run: http::latency,
    },
    Bench {
        name: "neural",
        about: "recommendations of sasrec over 100,000 items over HTTP at 1,000 requests a second, events arriving meanwhile",
        group: Group::Speed,
        run: neural::run,
    },
    Bench {
        name: "knn",
        about: "session-kNN: the kernel against the published algorithm, and over HTTP",
        group: Group::Speed,
        run: knn::run,
    },
    Bench {
        name: "swap",
        about: "a model swap under 500 requests a second",
        group: Group::Speed,
        run: swap::run,
    },
    Bench {
        name: "demo",
        about: "the demo from the built binary to printed recommendations",
        group: Group::Speed,
        run: demo::time,
    },
    Bench {
        name: "engines",
        about: "embedded engines for the event log, in turns, behind the same group commit",
        group: Group::Neither,
        run: engines::run,
    },
];

/// One figure of ours, with the peer's beside it where there is one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// Its unit.
    pub(crate) unit: String,
    /// Ours.
    pub(crate) ours: Spread,
    /// The peer's name with version, and its figure.
    pub(crate) peer: Option<(String, Spread)>,
    /// How many times better ours is, from the medians.
    pub(crate) ratio: Option<f64>,
    /// What is to be reached, in words.
    pub(crate) goal: String,
    /// Whether it is.
    pub(crate) reached: Option<bool>,
}

/// Smallest, middle and largest of several runs.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
    pub(crate) runs: usize,
}

impl Spread {
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        Self {
            min: at(0),
            median: at(sorted.len() / 2),
            max: at(sorted.len().saturating_sub(1)),
            runs: sorted.len(),
        }
    }
}

/// A benchmark's outcome as it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) date: String,
    pub(crate) machine: String,
    pub(crate) commit: String,
    pub(crate) rows: Vec<Row>,
}

/// Runs the named benchmark, or those of a group.
pub(crate) fn run(root: &Path, name: &str) -> Result<(), String> {
    if name == "page" {
        return page::write(root);
    }
    let chosen: Vec<&Bench> =
        BENCHES.iter().filter(|bench| bench.name == name || bench.group.is_in(name)).collect();
    if chosen.is_empty() {
        let names: Vec<String> =
            BENCHES.iter().map(|bench| format!("  {:14} {}", bench.name, bench.about)).collect();
        return Err(format!(
            "there is no benchmark {name:?}; there are the groups quality, speed and all, and\n{}",
            names.join("\n")
        ));
    }
    if chosen.iter().any(|bench| bench.name != "engines") {
        process::run(root, "cargo", &["build", "--release", "--locked", "-p", "qhatu"])?;
    }
    // What stands here now is measured, whatever is committed meanwhile, and results that are kept change nothing.
    let commit = commit(root)?;
    let failed: Vec<String> = chosen
        .iter()
        .filter_map(|bench| {
            let fault = run_one(root, bench, &commit).err()?;
            eprintln!("== bench {}: {fault}", bench.name);
            Some(format!("{}: {fault}", bench.name))
        })
        .collect();
    page::write(root)?;
    if failed.is_empty() { Ok(()) } else { Err(format!("not run to the end: {}", failed.join("; "))) }
}

fn run_one(root: &Path, bench: &Bench, commit: &str) -> Result<(), String> {
    eprintln!("== bench {}: {}", bench.name, bench.about);
    let rows = (bench.run)(root)?;
    print_rows(&rows);
    keep(root, bench, commit.to_owned(), rows)
}

/// The commit that stands here, with `-dirty` behind it where files were changed since.
fn commit(root: &Path) -> Result<String, String> {
    let said = process::read(root, "git", &["describe", "--always", "--dirty", "--exclude", "*"])?;
    Ok(said.trim().to_owned())
}

#[expect(clippy::print_stdout, reason = "the figures are this program's answer")]
fn print_rows(rows: &[Row]) {
    for row in rows {
        let Spread { min, median, max, runs } = row.ours;
        println!("{}: {median:.4} {} (min {min:.4}, max {max:.4}, {runs} runs)", row.what, row.unit);
        if let Some((name, peer)) = &row.peer {
            println!("    {name}: {:.4} (min {:.4}, max {:.4})", peer.median, peer.min, peer.max);
        }
        if let Some(ratio) = row.ratio {
            println!("    ratio {ratio:.2}");
        }
        let verdict = match row.reached {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "no goal",
        };
        println!("    goal: {} ({verdict})", row.goal);
    }
}

fn keep(root: &Path, bench: &Bench, commit: String, rows: Vec<Row>) -> Result<(), String> {
    let outcome = Outcome {
        name: bench.name.to_owned(),
        about: bench.about.to_owned(),
        date: process::read(root, "date", &["-u", "+%Y-%m-%d"])?.trim().to_owned(),
        machine: machine(),
        commit,
        rows,
    };
    let folder = root.join("benches/results");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let text = serde_json::to_string_pretty(&outcome).map_err(|error| error.to_string())?;
    let path = folder.join(format!("{}.json", bench.name));
    std::fs::write(&path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))
}

/// Processor and number of cores, as Linux tells it.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name").and_then(|rest| rest.split_once(": ")))
        .map_or("an unnamed processor", |(_, name)| name);
    format!("{cores} cores of {model}")
}

/// The mean; of nothing 0.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Seconds that `work` takes.
pub(crate) fn seconds(work: impl FnOnce() -> Result<(), String>) -> Result<f64, String> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}
