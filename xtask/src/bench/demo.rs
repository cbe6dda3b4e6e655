//! The demo as a benchmark: how long it takes, and how good what it makes is, over three seeds.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::import::binary;
use super::{Row, Spread, seconds};
use crate::process;

const SEEDS: [u64; 3] = [1, 2, 3];
/// The figures to beat on Online Retail, last 28 days: the best baseline of each target.
const GOALS: [(&str, f64); 2] = [("all", 0.37), ("new", 0.12)];

/// A finished demo project, made where there is none yet.
pub(crate) fn project(root: &Path) -> Result<PathBuf, String> {
    let folder = root.join("target/bench/demo");
    make(root, &folder, 42)?;
    Ok(folder)
}

/// Shoppers of the demo: its data's customer numbers, of which nearly all are known.
pub(crate) fn users() -> Vec<String> {
    (12_346..18_288).step_by(6).map(|number| number.to_string()).collect()
}

/// Seconds of the whole demo from the built binary, and its peak memory.
pub(crate) fn time(root: &Path) -> Result<Vec<Row>, String> {
    let folder = root.join("target/bench/demo-timed");
    drop(std::fs::remove_dir_all(&folder));
    let took = seconds(|| make(root, &folder, 42))?;
    Ok(vec![Row {
        what: "`qhatu demo --no-serve` in an empty folder".to_owned(),
        unit: "s".to_owned(),
        ours: Spread::of(&[took]),
        peer: None,
        ratio: None,
        goal: "≤ 300 s".to_owned(),
        reached: Some(took <= 300.0),
    }])
}

/// NDCG@10 of every model on both targets, three seeds, the best baseline as the peer.
pub(crate) fn quality(root: &Path) -> Result<Vec<Row>, String> {
    let mut reports = Vec::new();
    for seed in SEEDS {
        let folder = root.join(format!("target/bench/quality-{seed}"));
        make(root, &folder, seed)?;
        let path = folder.join("data/reports/evaluation.json");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let report: Value =
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        reports.push(report);
    }
    let models: Vec<String> = reports[0]["models"]
        .as_array()
        .ok_or("the report lists no models")?
        .iter()
        .filter_map(|model| model["name"].as_str().map(str::to_owned))
        .collect();
    let mut rows = Vec::new();
    for (target, goal) in GOALS {
        for model in &models {
            let values: Vec<f64> =
                reports.iter().filter_map(|report| figure(report, model, target)).collect();
            let ours = Spread::of(&values);
            let judged = model == "blend" || model == "sasrec";
            rows.push(Row {
                what: format!("{model}, {target}, NDCG@10"),
                unit: "NDCG@10".to_owned(),
                ours,
                peer: None,
                ratio: None,
                goal: if judged { format!("≥ {goal}") } else { "baseline".to_owned() },
                reached: judged.then_some(ours.median >= goal),
            });
        }
    }
    Ok(rows)
}

fn figure(report: &Value, model: &str, target: &str) -> Option<f64> {
    let models = report["models"].as_array()?;
    let found = models.iter().find(|entry| entry["name"] == model)?;
    found["targets"][target]["ndcg_at_10"]["mean"].as_f64()
}

pub(crate) fn make(root: &Path, folder: &Path, seed: u64) -> Result<(), String> {
    let (qhatu, dir, seed) = (binary(root), folder.to_string_lossy().into_owned(), seed.to_string());
    let args = ["demo", "--no-serve", "--dir", &dir, "--seed", &seed];
    process::read(root, &qhatu.to_string_lossy(), &args).map(drop)
}
