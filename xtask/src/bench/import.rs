//! File import: `qhatu ingest` on Online Retail as CSV against pandas doing the same cleaning, in turns.
//! Of ours the whole process counts; of pandas' the work alone, as the script tells it, so that the time
//! that Python needs to start flatters nobody.

use std::path::{Path, PathBuf};

use super::{Row, Spread, seconds};
use crate::{process, tools};

const ROUNDS: usize = 5;

pub(crate) fn run(root: &Path) -> Result<Vec<Row>, String> {
    let python = tools::python(root)?.to_string_lossy().into_owned();
    let folder = root.join("target/bench/import");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let csv = folder.join("online_retail.csv").to_string_lossy().into_owned();
    process::run(root, &python, &["benches/peers/online_retail_csv.py", &csv])?;
    let version = process::read(root, &python, &["-c", "import pandas; print(pandas.__version__, end='')"])?;
    let (mut checked, mut stored, mut peer, mut arrow) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        peer.push(pandas(root, &python, &[&csv])?);
        arrow.push(pandas(root, &python, &[&csv, "pyarrow"])?);
        checked.push(seconds(|| ingest(root, &folder, &csv, &["--check"]))?);
        stored.push(seconds(|| ingest(root, &folder, &csv, &[]))?);
    }
    let (ours, peer) = (Spread::of(&checked), Spread::of(&peer));
    let ratio = peer.median / ours.median;
    let (stored, arrow) = (Spread::of(&stored), Spread::of(&arrow));
    let name = format!("pandas {version}");
    Ok(vec![
        Row {
            what: "read and clean 541,909 lines (`ingest --check`; whole process against work alone)"
                .to_owned(),
            unit: "s".to_owned(),
            ours,
            peer: Some((name.clone(), peer)),
            ratio: Some(ratio),
            goal: "≥ 3 × faster".to_owned(),
            reached: Some(ratio >= 3.0),
        },
        Row {
            what: "the same, against pandas' fastest way of reading".to_owned(),
            unit: "s".to_owned(),
            ours,
            peer: Some((format!("{name} with engine=\"pyarrow\""), arrow)),
            ratio: Some(arrow.median / ours.median),
            goal: "reported".to_owned(),
            reached: None,
        },
        Row {
            what: "the same, and every event durable in the log".to_owned(),
            unit: "s".to_owned(),
            ours: stored,
            peer: Some((format!("{name}, which stores nothing"), peer)),
            ratio: Some(peer.median / stored.median),
            goal: "reported".to_owned(),
            reached: None,
        },
    ])
}

/// The seconds that the peer says its work took.
fn pandas(root: &Path, python: &str, words: &[&str]) -> Result<f64, String> {
    let args = [&["benches/peers/import_pandas.py"], words].concat();
    let printed = process::read(root, python, &args)?;
    let last = printed.split_whitespace().last().and_then(|word| word.parse().ok());
    last.ok_or_else(|| format!("the peer printed no seconds: {printed}"))
}

fn ingest(root: &Path, folder: &Path, csv: &str, flags: &[&str]) -> Result<(), String> {
    let project = folder.join("shop");
    drop(std::fs::remove_dir_all(&project));
    let qhatu = binary(root).to_string_lossy().into_owned();
    let dir = project.to_string_lossy().into_owned();
    process::read(root, &qhatu, &["init", &dir])?;
    let mut args = vec!["ingest", "--dir", &dir, "--mapping", "online_retail"];
    args.extend(flags);
    args.push(csv);
    process::read(root, &qhatu, &args).map(drop)
}

/// The release build that the benchmarks measure.
pub(crate) fn binary(root: &Path) -> PathBuf {
    target(root).join("release/qhatu")
}

/// Where cargo builds.
pub(crate) fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}
