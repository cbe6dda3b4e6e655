//! Items that nobody bought before, found by their titles: a small BERT taught by product → next product, BM25,
//! popularity, and what the items' own orders would tell, on UCI Online Retail; three seeds (see `crates/qhatu-text/examples/cold_items.rs`).

use std::path::Path;

use serde::Deserialize;

use super::{Row, Spread};
use crate::{process, tools};

/// What the example answers for a seed; the figures are over the whole catalogue, and among cold items.
#[derive(Deserialize)]
struct Line {
    cases: usize,
    items: usize,
    cold: usize,
    title_model: [f64; 2],
    bm25: [f64; 2],
    popularity: [f64; 2],
    known: [f64; 2],
}

pub(crate) fn run(root: &Path) -> Result<Vec<Row>, String> {
    let build = ["build", "--release", "--locked", "-p", "qhatu-text", "--example", "cold_items"];
    process::run(root, "cargo", &build)?;
    let own = super::binary(root).with_file_name("examples").join("cold_items");
    let python = tools::python(root)?.to_string_lossy().into_owned();
    let folder = root.join("target/bench/cold");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let lines = folder.join("lines.tsv").to_string_lossy().into_owned();
    process::run(root, &python, &["benches/peers/cold_lines.py", &lines])?;
    let text = process::read(root, &own.to_string_lossy(), &[&lines])?;
    let found = text.lines().map(serde_json::from_str).collect::<Result<Vec<Line>, _>>();
    let found = found.map_err(|error| format!("{text:?} are no figures: {error}"))?;
    Ok([(0, "all items"), (1, "cold items alone")]
        .into_iter()
        .flat_map(|place| rows(&found, place))
        .collect())
}

/// Ours against BM25 and popularity, in one of the two ways of ranking.
fn rows(found: &[Line], (place, ranked): (usize, &str)) -> Vec<Row> {
    let of = |figure: fn(&Line) -> [f64; 2]| {
        Spread::of(&found.iter().map(|line| figure(line)[place]).collect::<Vec<_>>())
    };
    let own = of(|line| line.title_model);
    let Some(first) = found.first() else { return Vec::new() };
    let Line { cases, items, cold, .. } = first;
    let row = |(name, goal, peer): (&str, Option<f64>, Spread)| {
        let ratio = (peer.median > 0.0).then(|| own.median / peer.median);
        let goal = goal.filter(|_| place == 0);
        Row {
            what: format!(
                "cold items by title, ranking {ranked} ({cases} cases, {cold} of {items} items cold)"
            ),
            unit: "recall@20".to_owned(),
            ours: own,
            peer: Some((name.to_owned(), peer)),
            ratio,
            goal: goal.map_or("reported".to_owned(), |goal| format!("≥ {goal:.0} ×")),
            reached: goal.zip(ratio).map(|(goal, ratio)| ratio >= goal),
        }
    };
    let known = "counts of who stood near whom, by one who knows the cold items' own orders of a year";
    let peers = [
        ("BM25", Some(3.0), of(|line| line.bm25)),
        ("popularity", None, of(|line| line.popularity)),
        (known, None, of(|line| line.known)),
    ];
    peers.map(row).into()
}
