//! The demo as a benchmark: how long it takes, and how good what it makes is, over three seeds.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::import::binary;
use super::timed::timed;
use super::{Row, Spread};
use crate::{process, tools};

/// The tables that the demo printed when it was last timed.
pub(crate) const TABLES: &str = "benches/results/demo.txt";
const SEEDS: [u64; 3] = [1, 2, 3];
/// The figures to reach on Online Retail, last 28 days, by target.
const GOALS: [(&str, f64); 2] = [("all", 0.37), ("new", 0.12)];
/// What is known of every list, without `_at_10`.
const MEASURES: [&str; 8] = ["ndcg", "recall", "hit_rate", "mrr", "map", "coverage", "diversity", "novelty"];

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

/// Seconds and peak memory of the whole demo from the built binary. The tables it prints are kept as the README
/// shows them, which `cargo xtask tidy` checks.
pub(crate) fn time(root: &Path) -> Result<Vec<Row>, String> {
    let folder = root.join("target/bench/demo-timed");
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let python = tools::python(root)?.to_string_lossy().into_owned();
    let printed = root.join("target/bench/demo-timed.txt").to_string_lossy().into_owned();
    let (qhatu, dir) = (binary(root), folder.to_string_lossy().into_owned());
    let command = [&*qhatu.to_string_lossy(), "demo", "--no-serve", "--dir", &dir];
    let (took, memory) = timed(root, &python, &printed, &command)?;
    keep_tables(root, &printed)?;
    let row = |what: &str, unit: &str, figure: f64, goal: f64| Row {
        what: what.to_owned(),
        unit: unit.to_owned(),
        ours: Spread::of(&[figure]),
        peer: None,
        ratio: None,
        goal: format!("≤ {goal} {unit}"),
        reached: Some(figure <= goal),
    };
    Ok(vec![
        row("`qhatu demo --no-serve` in an empty folder", "s", took, 300.0),
        row("peak memory of that", "MiB", memory, 2048.0),
    ])
}

/// From what the demo printed, the tables of models, without blanks at the ends of lines.
fn keep_tables(root: &Path, printed: &str) -> Result<(), String> {
    let text = std::fs::read_to_string(printed).map_err(|error| format!("{printed}: {error}"))?;
    let lines = text.lines().skip_while(|line| !line.starts_with("everything bought"));
    let mut tables = String::new();
    for line in lines {
        tables.push_str(line.trim_end());
        tables.push('\n');
        if line.starts_with("* baseline") {
            return std::fs::write(root.join(TABLES), tables).map_err(|error| format!("{TABLES}: {error}"));
        }
    }
    Err("the demo printed no tables of models".to_owned())
}

/// NDCG@10 of every model on both targets over three seeds, and of each model that is no baseline the paired difference
/// to the best baseline with its 95 % interval; all measures and the slices of the first seed besides. One import serves
/// all seeds, and what has no seed is fitted once.
pub(crate) fn quality(root: &Path) -> Result<Vec<Row>, String> {
    let folder = project(root)?;
    let mut reports = Vec::new();
    for seed in SEEDS {
        eprintln!("== seed {seed}");
        reports.push(evaluate(root, &folder, seed)?);
    }
    let mut rows = Vec::new();
    for (target, goal) in GOALS {
        let models = by_ndcg(&reports, target);
        rows.extend(models.iter().map(|model| model_row(&reports, model, target, goal)));
        rows.extend(models.iter().flat_map(|model| difference_rows(&reports, model, target)));
    }
    for (target, _) in GOALS {
        rows.extend(measure_rows(&reports[0], target));
        rows.extend(slice_rows(&reports[0], target));
    }
    Ok(rows)
}

fn evaluate(root: &Path, folder: &Path, seed: u64) -> Result<Value, String> {
    let (qhatu, dir, seed) = (binary(root), folder.to_string_lossy().into_owned(), seed.to_string());
    let args = ["evaluate", "--json", "--dir", &dir, "--seed", &seed];
    let printed = process::read(root, &qhatu.to_string_lossy(), &args)?;
    serde_json::from_str(&printed).map_err(|error| format!("the report of seed {seed}: {error}"))
}

/// Names of the models, the best median first.
fn by_ndcg(reports: &[Value], target: &str) -> Vec<String> {
    let models = reports[0]["models"].as_array().into_iter().flatten();
    let mut names: Vec<String> =
        models.filter_map(|model| model["name"].as_str().map(str::to_owned)).collect();
    let median = |name: &String| ndcg(reports, name, target).median;
    names.sort_by(|a, b| median(b).total_cmp(&median(a)));
    names
}

fn ndcg(reports: &[Value], model: &str, target: &str) -> Spread {
    let figures = reports.iter().filter_map(|report| figure(report, model, target, "ndcg")?["mean"].as_f64());
    Spread::of(&figures.collect::<Vec<f64>>())
}

fn figure<'a>(report: &'a Value, model: &str, target: &str, measure: &str) -> Option<&'a Value> {
    let found = report["models"].as_array()?.iter().find(|entry| entry["name"] == model)?;
    found["targets"][target].get(format!("{measure}_at_10"))
}

fn is_baseline(report: &Value, model: &str) -> bool {
    let models = report["models"].as_array().into_iter().flatten();
    models.into_iter().any(|entry| entry["name"] == model && entry["baseline"] == true)
}

fn model_row(reports: &[Value], model: &str, target: &str, goal: f64) -> Row {
    let ours = ndcg(reports, model, target);
    let learned = !is_baseline(&reports[0], model);
    Row {
        what: format!("{model}, {target}"),
        unit: "NDCG@10".to_owned(),
        ours,
        peer: None,
        ratio: None,
        goal: if learned { format!("≥ {goal}") } else { "baseline".to_owned() },
        reached: learned.then_some(ours.median >= goal),
    }
}

/// Mean of the difference over the seeds, and the lowest lower end of its intervals, which decides.
fn difference_rows(reports: &[Value], model: &str, target: &str) -> Option<Row> {
    let found = |report: &Value| {
        let mut all = report["comparisons"].as_array()?.iter();
        all.find(|c| c["model"] == model && c["target"] == target && c["metric"] == "ndcg_at_10").cloned()
    };
    let comparisons: Vec<Value> = reports.iter().filter_map(found).collect();
    let end = |name: &str| {
        let ends = comparisons.iter().filter_map(|c| c["difference"][name].as_f64());
        Spread::of(&ends.collect::<Vec<f64>>())
    };
    let baseline = comparisons.first()?["best_baseline"].as_str()?;
    let (low, high) = (end("low").min, end("high").max);
    Some(Row {
        what: format!(
            "{model} less {baseline}, {target}, paired; 95 % intervals within {low:+.4} to {high:+.4}"
        ),
        unit: "NDCG@10".to_owned(),
        ours: end("mean"),
        peer: None,
        ratio: None,
        goal: "every interval above 0".to_owned(),
        reached: Some(low > 0.0),
    })
}

/// Every measure of every model, one seed: the figure with its interval in place of smallest and largest run.
fn measure_rows(report: &Value, target: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for model in by_ndcg(std::slice::from_ref(report), target) {
        for measure in MEASURES {
            let Some(estimate) = figure(report, &model, target, measure) else { continue };
            rows.extend(estimate_row(format!("{model}, {target}, {measure}@10, 95 % interval"), estimate));
        }
    }
    rows
}

/// The best model, and the best baseline, on every slice.
fn slice_rows(report: &Value, target: &str) -> Vec<Row> {
    let decides = |c: &&Value| c["target"] == target && c["metric"] == "ndcg_at_10";
    let Some(first) = report["comparisons"].as_array().into_iter().flatten().find(decides) else {
        return Vec::new();
    };
    let mut rows = Vec::new();
    for slice in report["slices"].as_array().into_iter().flatten().filter(|s| s["target"] == target) {
        for model in [&first["model"], &first["best_baseline"]].into_iter().filter_map(Value::as_str) {
            let (by, group) = (slice["by"].as_str().unwrap_or_default(), slice["group"].as_str());
            let what = format!("{model}, {target}, NDCG@10, {by}: {}", group.unwrap_or_default());
            rows.extend(estimate_row(what + ", 95 % interval", &slice["models"][model]));
        }
    }
    rows
}

fn estimate_row(what: String, estimate: &Value) -> Option<Row> {
    let of = |end: &str| estimate[end].as_f64();
    let ours = Spread { min: of("low")?, median: of("mean")?, max: of("high")?, runs: 1 };
    let unit = "".to_owned();
    Some(Row { what, unit, ours, peer: None, ratio: None, goal: "reported".to_owned(), reached: None })
}

pub(crate) fn make(root: &Path, folder: &Path, seed: u64) -> Result<(), String> {
    let (qhatu, dir, seed) = (binary(root), folder.to_string_lossy().into_owned(), seed.to_string());
    let args = ["demo", "--no-serve", "--dir", &dir, "--seed", &seed];
    process::read(root, &qhatu.to_string_lossy(), &args).map(drop)
}
