//! Trees on UCI Online Shoppers: quality on the same folds, time to fit the rows 50 times over, time to score a row,
//! and LambdaRank on the candidates of UCI Online Retail's orders and on made-up groups; ours, LightGBM, XGBoost and scikit-learn, two threads each, asked in turn in one run.

use std::path::Path;

use super::asked::Asked;
use super::{Row, Spread, mean};
use crate::{process, tools};

const SEEDS: [u64; 3] = [1, 2, 3];
const FITS: usize = 3;
const TIMES: usize = 50;
const ROWS: usize = 20_000;
const FIGURES: [&str; 6] = ["ROC-AUC", "PR-AUC", "log-loss", "F1", "Brier", "ECE"];
/// Of these the lower is the better.
const LOSSES: [&str; 3] = ["log-loss", "Brier", "ECE"];

/// A kind of model, on which columns, and the peers that it is held to.
struct Quality {
    kind: &'static str,
    columns: &'static str,
    /// The kind that peers are asked for.
    of_peers: &'static str,
    peers: &'static [&'static str],
}

const ALL: &[&str] = &["lightgbm", "xgboost", "sklearn"];
const QUALITIES: [Quality; 7] = [
    Quality { kind: "boosting", columns: "all", of_peers: "boosting", peers: ALL },
    Quality { kind: "boosting", columns: "no_page_values", of_peers: "boosting", peers: ALL },
    Quality { kind: "forest", columns: "all", of_peers: "forest", peers: &["sklearn"] },
    Quality { kind: "logistic", columns: "all", of_peers: "logistic", peers: &["sklearn"] },
    Quality { kind: "attention", columns: "all", of_peers: "boosting", peers: &["lightgbm"] },
    Quality { kind: "ensemble", columns: "all", of_peers: "boosting", peers: &["lightgbm"] },
    Quality { kind: "ensemble", columns: "no_page_values", of_peers: "boosting", peers: &["lightgbm"] },
];
/// What the best kind must reach, and whether without `PageValues` too.
const GOALS: [(&str, f64, bool); 3] =
    [("ROC-AUC", 0.93, false), ("PR-AUC", 0.75, false), ("ECE", 0.02, true)];

/// Graded rows in groups, as the programs call them and as the table does.
const RANKED: [(&str, &str); 2] = [
    ("orders", "LambdaRank on the candidates of orders, UCI Online Retail's last 28 days: NDCG@10"),
    ("made_up", "LambdaRank on made-up groups of unequal level: NDCG@10"),
];
/// Where figures are compared.
const FOLDS: &str = "mean over five folds, three seeds";

struct Peer {
    kind: &'static str,
    name: String,
    asked: Asked,
}

pub(crate) fn run(root: &Path) -> Result<Vec<Row>, String> {
    let build = ["build", "--release", "--locked", "-p", "qhatu-train", "--example", "trees_bench"];
    process::run(root, "cargo", &build)?;
    let program = super::binary(root).with_file_name("examples").join("trees_bench");
    let folder = root.join("target/bench/trees").to_string_lossy().into_owned();
    let shoppers = "data/online_shoppers/online_shoppers.parquet";
    let invoices = "data/online_retail/online_retail.parquet";
    let mut ours = Asked::start(root, &program.to_string_lossy(), &[shoppers, invoices, &folder])?;
    // It has written what the peers read when it says its name.
    ours.line()?;
    let python = tools::peer_python(root, "trees")?.to_string_lossy().into_owned();
    let mut peers = Vec::new();
    for kind in ["lightgbm", "xgboost", "sklearn"] {
        let mut asked = Asked::start(root, &python, &["benches/peers/trees.py", kind, &folder])?;
        peers.push(Peer { kind, name: asked.line()?, asked });
    }
    let mut rows = Vec::new();
    for of in &QUALITIES {
        rows.extend(quality(&mut ours, &mut peers, of)?);
    }
    rows.extend(speed(&mut ours, &mut peers)?);
    for (set, what) in RANKED {
        rows.extend(rank(&mut ours, &mut peers, set, what)?);
    }
    Ok(rows)
}

fn quality(ours: &mut Asked, peers: &mut [Peer], of: &Quality) -> Result<Vec<Row>, String> {
    let Quality { kind, columns, of_peers, .. } = of;
    let mut own = Vec::new();
    let mut theirs: Vec<(String, Vec<Vec<f64>>)> = Vec::new();
    for seed in SEEDS {
        let question = format!("quality {kind} {seed} {columns}");
        own.push(ours.ask(&question)?);
        for peer in peers.iter_mut().filter(|peer| of.peers.contains(&peer.kind)) {
            let found = peer.asked.ask(&format!("quality {of_peers} {seed} {columns}"))?;
            match theirs.iter_mut().find(|(name, _)| *name == peer.name) {
                Some((_, all)) => all.push(found),
                None => theirs.push((peer.name.clone(), vec![found])),
            }
        }
    }
    let mut rows = Vec::new();
    for (name, found) in &theirs {
        for (place, figure) in FIGURES.iter().enumerate() {
            let at = |all: &[Vec<f64>]| all.iter().map(|figures| figures[place]).collect::<Vec<f64>>();
            let (own, peer) = (at(&own), at(found));
            // Behind its means a peer says by how much each deviates over the folds.
            let deviation = mean(&found.iter().map(|all| all[FIGURES.len() + place]).collect::<Vec<_>>());
            let without = if *columns == "all" { "" } else { " without PageValues" };
            let (goal, reached) = verdict(of, figure, (mean(&own), mean(&peer)), deviation);
            rows.push(Row {
                what: format!("{kind}{without}: {figure}"),
                unit: FOLDS.to_owned(),
                ours: Spread::of(&own),
                peer: Some((format!("{name}, {of_peers}"), Spread::of(&peer))),
                ratio: None,
                goal,
                reached: Some(reached),
            });
        }
    }
    Ok(rows)
}

/// What a figure is to reach, in words, and whether its mean does.
fn verdict(of: &Quality, figure: &str, (own, peer): (f64, f64), deviation: f64) -> (String, bool) {
    let is_loss = LOSSES.contains(&figure);
    let is_set = |goal: &&(&str, f64, bool)| {
        goal.0 == figure && of.kind == "ensemble" && (of.columns == "all" || goal.2)
    };
    match GOALS.iter().find(is_set) {
        Some((_, most, _)) if is_loss => (format!("≤ {most}, mean of the seeds"), own <= *most),
        Some((_, least, _)) => (format!("≥ {least}, mean of the seeds"), own >= *least),
        None => (near(deviation), if is_loss { own - peer } else { peer - own } <= deviation),
    }
}

fn near(deviation: f64) -> String {
    format!("at most the peer's deviation over folds behind, {deviation:.4}")
}

fn speed(ours: &mut Asked, peers: &mut [Peer]) -> Result<Vec<Row>, String> {
    let (mut fits, mut scores) = (vec![Vec::new(); 1 + peers.len()], vec![Vec::new(); 3]);
    for _ in 0..FITS {
        let question = format!("fit {TIMES}");
        fits[0].extend(ours.ask(&question)?);
        for (peer, found) in peers.iter_mut().zip(&mut fits[1..]) {
            found.extend(peer.asked.ask(&question)?);
        }
        let question = format!("row {ROWS}");
        scores[0].extend(ours.ask(&question)?);
        // scikit-learn has no way to score a row that it would want to be measured by.
        for (peer, found) in peers.iter_mut().zip(&mut scores[1..]) {
            found.extend(peer.asked.ask(&question)?);
        }
    }
    let mut rows = Vec::new();
    for (what, unit, found, goals) in [
        (format!("fit 200 trees to the rows × {TIMES}"), "s", &fits, [Some(0.7), None, None]),
        ("score a row, one at a time".to_owned(), "µs", &scores, [Some(1.0), None, None]),
    ] {
        for ((peer, theirs), goal) in peers.iter().zip(&found[1..]).zip(goals) {
            let (own, theirs) = (Spread::of(&found[0]), Spread::of(theirs));
            let ratio = theirs.median / own.median;
            rows.push(Row {
                what: what.clone(),
                unit: unit.to_owned(),
                ours: own,
                peer: Some((peer.name.clone(), theirs)),
                ratio: Some(ratio),
                goal: goal.map_or("reported".to_owned(), |goal| format!("≥ {goal:.1} ×")),
                reached: goal.map(|goal| ratio >= goal),
            });
        }
    }
    Ok(rows)
}

fn rank(ours: &mut Asked, peers: &mut [Peer], set: &str, what: &str) -> Result<Vec<Row>, String> {
    // Ours are a mean and a deviation by LambdaRank, and both of the same trees row by row, which are a peer too.
    let (mut own, mut by_rows, mut theirs) = (Vec::new(), Vec::new(), vec![Vec::new(); 2]);
    for seed in SEEDS {
        let question = format!("rank {set} {seed}");
        let found = ours.ask(&question)?;
        own.push(found[0]);
        by_rows.push(found[2..].to_vec());
        // scikit-learn does not rank.
        for (peer, found) in peers.iter_mut().zip(&mut theirs) {
            found.push(peer.asked.ask(&question)?);
        }
    }
    let names = peers.iter().map(|peer| format!("{} by its LambdaRank", peer.name));
    let against = names.zip(theirs).chain([("the same trees, row by row".to_owned(), by_rows)]);
    let row = |(name, theirs): (String, Vec<Vec<f64>>)| {
        let at = |place: usize| theirs.iter().map(|found| found[place]).collect::<Vec<f64>>();
        let (peer, deviation) = (at(0), mean(&at(1)));
        Row {
            what: what.to_owned(),
            unit: FOLDS.to_owned(),
            ours: Spread::of(&own),
            reached: Some(mean(&own) >= mean(&peer) - deviation),
            peer: Some((name, Spread::of(&peer))),
            ratio: None,
            goal: near(deviation),
        }
    };
    Ok(against.map(row).collect())
}
