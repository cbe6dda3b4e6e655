//! ALS on UCI Online Retail, the demo's split (the last 28 days): ours and implicit's AlternatingLeastSquares, two threads each,
//! asked in turn in one run, three seeds; lists of both over the whole catalogue, judged by the same code on the same cases.
//!
//! With the same settings both minimize the same function of the same numbers: confidence `1 + α r`, `r` the purchases of a
//! shopper and item, faded by 60 days, three steps of conjugate gradients for a row in an iteration. What differs: where factors
//! begin (ours normal numbers of deviation 0.1, implicit's even ones up to 0.01), and that fitting of ours begins with
//! sequences of purchases and ends with the index that lists come from, implicit's begins with a matrix of confidences. Since a
//! shop's purchases do not fade by themselves for whoever calls implicit, it also stands there with plain counts and
//! settings of its own, chosen on the 28 days before the test.

use std::path::Path;

use super::asked::Asked;
use super::{Row, Spread, knn, mean};
use crate::{process, tools};

const SEEDS: [u64; 3] = [1, 2, 3];
/// Our defaults, in implicit's names.
const SAME: &str =
    r#"{"faded":true,"alpha":2,"factors":128,"regularization":20,"iterations":15,"solved":true}"#;
/// What implicit did best with on the 28 days before, of plain counts: NDCG@10 .287 on all and .094 on new ones, of 39 settings
/// with 64 to 256 factors, λ 1 to 50 and α 0.5 to 40.
const OWN: &str =
    r#"{"faded":false,"alpha":2,"factors":256,"regularization":30,"iterations":15,"solved":true}"#;
/// How far NDCG@10 of the same function may lie behind.
const TOLERANCE: f64 = 0.005;

/// Seconds, NDCG@10 on all and on new purchases; a list of each over the seeds.
type Figures = [Vec<f64>; 3];

pub(crate) fn run(root: &Path) -> Result<Vec<Row>, String> {
    let build = ["build", "--release", "--locked", "-p", "qhatu-train", "--example", "als_bench"];
    process::run(root, "cargo", &build)?;
    let program = super::binary(root).with_file_name("examples").join("als_bench");
    let lake = knn::project(root, "als", r#""recent_popularity""#)?.join("data/lake");
    let folder = root.join("target/bench/als/peer").to_string_lossy().into_owned();
    let mut ours = Asked::start(root, &program.to_string_lossy(), &[&lake.to_string_lossy(), &folder])?;
    // It has written what the peer reads when it says its name.
    ours.line()?;
    let python = tools::peer_python(root, "als")?.to_string_lossy().into_owned();
    let mut peer = Asked::start(root, &python, &["benches/peers/als_implicit.py", &folder])?;
    let name = peer.line()?;
    // What is touched for the first time is not measured.
    ours.ask("fit 0")?;
    peer.ask(&format!("0 {SAME}"))?;
    let (mut own, mut same, mut tuned) = <(Figures, Figures, Figures)>::default();
    for seed in SEEDS {
        add(&mut own, ours.ask(&format!("fit {seed}"))?);
        for (settings, found) in [(SAME, &mut same), (OWN, &mut tuned)] {
            let mut figures = peer.ask(&format!("{seed} {settings}"))?;
            figures.extend(ours.ask("judge")?);
            add(found, figures);
        }
    }
    Ok(rows(&name, &own, &same, &tuned))
}

fn add(kept: &mut Figures, found: Vec<f64>) {
    kept.iter_mut().zip(found).for_each(|(kept, figure)| kept.push(figure));
}

fn rows(name: &str, own: &Figures, same: &Figures, tuned: &Figures) -> Vec<Row> {
    let row = |what: &str, place: usize, peer: &str, theirs: &Figures| Row {
        what: what.to_owned(),
        unit: if place == 0 { "s".to_owned() } else { "NDCG@10".to_owned() },
        ours: Spread::of(&own[place]),
        peer: Some((format!("{name}, {peer}"), Spread::of(&theirs[place]))),
        ratio: None,
        goal: String::new(),
        reached: None,
    };
    let mut rows = Vec::new();
    for (place, target) in [(1, "all"), (2, "new")] {
        let (ours, near, best) = (mean(&own[place]), mean(&same[place]), mean(&tuned[place]));
        rows.push(Row {
            goal: format!("at most {TOLERANCE} behind, means of the seeds"),
            reached: Some(ours >= near - TOLERANCE),
            ..row(&format!("als, {target}"), place, "the same settings and faded purchases", same)
        });
        rows.push(Row {
            goal: "not behind, means of the seeds".to_owned(),
            reached: Some(ours >= best),
            ..row(&format!("als, {target}"), place, "plain counts and settings of its own", tuned)
        });
    }
    let ratio = Spread::of(&same[0]).median / Spread::of(&own[0]).median;
    rows.push(Row {
        ratio: Some(ratio),
        goal: "≥ 1.0 ×".to_owned(),
        reached: Some(ratio >= 1.0),
        ..row("als, fitting with the same settings", 0, "the same settings and faded purchases", same)
    });
    rows
}
