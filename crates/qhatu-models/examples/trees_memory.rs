//! How much memory trees take to fit beside their columns, held against what the documentation says.
//!
//! ```sh
//! cargo run --release -p qhatu-models --example trees_memory boosting 1000000 20
//! cargo run --release -p qhatu-models --example trees_memory forest 200000 20
//! ```
//!
//! Rows of random numbers with a label that two of them tell most of; the peak is the kernel's (`VmHWM`), so one kind a
//! run. Linux only.

use std::error::Error;
use std::io::{Write, stdout};

use qhatu_models::Stream;
use qhatu_models::trees::{
    BoostingConfig, Columns, ForestConfig, Lesson, Objective, Target, fit_boosting, fit_forest,
};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [kind, rows, features] = words.as_slice() else { return Err("boosting|forest ROWS FEATURES".into()) };
    let (rows, features): (usize, usize) = (rows.parse()?, features.parse()?);
    let stream = Stream::new(1);
    let number = |row: usize, feature: usize| (stream.child(feature as u64).at(row as u64) >> 40) as f64;
    let columns: Vec<Vec<f64>> =
        (0..features).map(|feature| (0..rows).map(|row| number(row, feature)).collect()).collect();
    let noise = |row: usize| number(row, features) * 0.5;
    let most = (1_u64 << 24) as f64;
    let label = |row: usize| f32::from(u8::from(number(row, 0) + number(row, 1) + noise(row) > 1.25 * most));
    let labels: Vec<f32> = (0..rows).map(label).collect();
    let (columns, target) = (Columns::numbers(&columns), Target::new(&labels));
    let before = peak()?;
    let trees = match kind.as_str() {
        "boosting" => {
            let lesson = Lesson { columns, target, objective: Objective::Logistic, validation: None };
            fit_boosting(&lesson, &BoostingConfig::default(), 1)?.trees
        }
        "forest" => fit_forest(columns, &target, &ForestConfig::default(), 1)?,
        kind => return Err(format!("{kind:?} is neither boosting nor forest").into()),
    };
    let taken = peak()? - before;
    let (threads, nodes) = (rayon::current_num_threads(), trees.nodes());
    let bound = match kind.as_str() {
        "boosting" => {
            let counted = features * 4096 * rows.div_ceil(1 << 16);
            rows * (2 * features + 28 + 4 * threads) + 31 * features * 256 * 24 + counted + 24 * nodes
        }
        // Joining makes room for nodes as they come, up to twice.
        _ => rows * (2 * features + 28 * threads) + nodes * (2 * 24 + 112 * 4 * threads / trees.trees()),
    };
    writeln!(
        stdout(),
        "{kind}: {rows} rows of {features} features, {threads} threads, {nodes} nodes: {:.1} MB taken, {:.1} MB said",
        taken as f64 / 1e6,
        bound as f64 / 1e6
    )?;
    Ok(())
}

/// The most memory that this process ever had, in bytes.
fn peak() -> Result<usize, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    let kilobytes = line.split_whitespace().nth(1).ok_or("no VmHWM")?;
    Ok(kilobytes.parse::<usize>()? * 1024)
}
