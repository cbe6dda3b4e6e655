//! Training steps: SASRec on full sequences of three shapes, a GRU and an LSTM layer, ours against PyTorch on two threads
//! each, in turns in one run. PyTorch's allocator is told to keep its pages, without which it spends half of SASRec asking
//! for them.

use std::path::Path;

use super::asked::Asked;
use super::{Row, Spread};
use crate::{process, tools};

/// Kind, length, items, repetitions a round, and what is to be reached.
const SHAPES: [(&str, usize, usize, usize, f64); 5] = [
    ("sasrec", 50, 3416, 3, 1.5),
    ("sasrec", 200, 3416, 2, 1.5),
    ("sasrec", 50, 12101, 2, 1.5),
    ("lstm", 50, 0, 20, 1.0),
    ("gru", 50, 0, 20, 1.0),
];
const ROUNDS: usize = 5;

pub(crate) fn run(root: &Path) -> Result<Vec<Row>, String> {
    let build = ["build", "--release", "--locked", "-p", "qhatu-models", "--example", "step_speed"];
    process::run(root, "cargo", &build)?;
    let own = super::binary(root).with_file_name("examples").join("step_speed");
    let python = tools::peer_python(root, "sasrec")?.to_string_lossy().into_owned();
    let mut ours = Asked::start(root, &own.to_string_lossy(), &[])?;
    let mut peer = Asked::start(root, &python, &["benches/peers/sasrec_step.py"])?;
    let version = peer.line()?;
    let mut rows = Vec::new();
    for (kind, length, items, repetitions, goal) in SHAPES {
        let question = format!("{kind} {length} {items} {repetitions}");
        let (mut own, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let (us, them) = (ours.ask(&question)?, peer.ask(&question)?);
            // The first round warms up.
            if round > 0 {
                own.extend(us);
                theirs.extend(them);
            }
        }
        let (own, theirs) = (Spread::of(&own), Spread::of(&theirs));
        let ratio = theirs.median / own.median;
        let what = match kind {
            "sasrec" => format!("SASRec step, 128 sequences of {length}, {items} items"),
            kind => format!("{} step, 64 sequences of {length}, hidden 64", kind.to_uppercase()),
        };
        rows.push(Row {
            what,
            unit: "ms".to_owned(),
            ours: own,
            peer: Some((version.clone(), theirs)),
            ratio: Some(ratio),
            goal: format!("≥ {goal:.1} ×"),
            reached: Some(ratio >= goal),
        });
    }
    Ok(rows)
}
