//! Exact search of the best items by inner product: our 8-bit scan with f32 re-scoring against FAISS's flat index,
//! two threads each, in turns.

use std::path::Path;

use serde_json::Value;

use super::knn::json;
use super::{Row, Spread};
use crate::{process, tools};

const ROUNDS: usize = 5;
/// Rows, width, k, queries of a round.
const SHAPES: [[&str; 4]; 2] = [["100000", "64", "20", "500"], ["1000000", "64", "20", "100"]];
/// A million items are to be searched within so many milliseconds at the median.
const GOAL_MS: f64 = 6.0;

pub(crate) fn run(root: &Path) -> Result<Vec<Row>, String> {
    let build = ["build", "--release", "--locked", "-p", "qhatu-nn", "--example", "inner_product_speed"];
    process::run(root, "cargo", &build)?;
    let own = super::binary(root).with_file_name("examples").join("inner_product_speed");
    let python = tools::peer_python(root, "scan")?.to_string_lossy().into_owned();
    let mut rows = Vec::new();
    for shape in SHAPES {
        let mut peers = vec!["benches/peers/inner_product_faiss.py"];
        peers.extend(shape);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(json(root, &own.to_string_lossy(), &shape)?);
            theirs.push(json(root, &python, &peers)?);
        }
        for percentile in ["p50", "p99"] {
            rows.push(row(shape, percentile, &ours, &theirs));
        }
    }
    Ok(rows)
}

fn row(shape: [&str; 4], percentile: &str, ours: &[Value], theirs: &[Value]) -> Row {
    let spread = |said: &[Value]| {
        Spread::of(&said.iter().filter_map(|said| said[percentile].as_f64()).collect::<Vec<_>>())
    };
    let (ours, peer) = (spread(ours), spread(theirs));
    let judged = shape[0] == "1000000" && percentile == "p50";
    let name = theirs.first().and_then(|said| said["name"].as_str()).unwrap_or("FAISS");
    Row {
        what: format!("the best {} of {} items of {} numbers, {percentile}", shape[2], shape[0], shape[1]),
        unit: "ms".to_owned(),
        ours,
        peer: Some((name.to_owned(), peer)),
        ratio: Some(peer.median / ours.median),
        goal: if judged { format!("≤ {GOAL_MS} ms") } else { "reported".to_owned() },
        reached: judged.then_some(ours.median <= GOAL_MS),
    }
}
