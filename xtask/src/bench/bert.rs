//! BERT encoding, MiniLM-L6's shape: ours against PyTorch and ONNX Runtime in f32, two threads each, asked in
//! turn in one run.

use std::path::Path;

use super::asked::Asked;
use super::{Row, Spread};
use crate::{process, tools};

/// Sequences, tokens of each, repetitions a round.
const SHAPES: [(usize, usize, usize); 3] = [(32, 32, 3), (8, 128, 3), (1, 16, 20)];
const ROUNDS: usize = 6;

pub(crate) fn run(root: &Path) -> Result<Vec<Row>, String> {
    let build = ["build", "--release", "--locked", "-p", "qhatu-text", "--example", "bert_speed"];
    process::run(root, "cargo", &build)?;
    let own = super::binary(root).with_file_name("examples").join("bert_speed");
    let python = tools::peer_python(root, "bert")?.to_string_lossy().into_owned();
    let mut ours = Asked::start(root, &own.to_string_lossy(), &[])?;
    let mut peers = Vec::new();
    for (kind, goal) in [("torch", 1.2), ("onnx", 1.0)] {
        let mut peer = Asked::start(root, &python, &["benches/peers/bert_encode.py", kind])?;
        peers.push((peer.line()?, goal, peer));
    }
    let mut rows = Vec::new();
    for shape in SHAPES {
        rows.extend(compare(&mut ours, &mut peers, shape)?);
    }
    Ok(rows)
}

fn compare(
    ours: &mut Asked,
    peers: &mut [(String, f64, Asked)],
    shape: (usize, usize, usize),
) -> Result<Vec<Row>, String> {
    let mut own = Vec::new();
    let mut theirs = vec![Vec::new(); peers.len()];
    let question = format!("{} {} {}", shape.0, shape.1, shape.2);
    for round in 0..=ROUNDS {
        let mut found = vec![ours.ask(&question)?];
        for (_, _, peer) in peers.iter_mut() {
            found.push(peer.ask(&question)?);
        }
        // The first round warms up.
        if round > 0 {
            own.append(&mut found[0]);
            theirs.iter_mut().zip(&mut found[1..]).for_each(|(all, some)| all.append(some));
        }
    }
    let own = Spread::of(&own);
    let row = |((name, goal, _), theirs): (&(String, f64, Asked), &Vec<f64>)| {
        let peer = Spread::of(theirs);
        let ratio = peer.median / own.median;
        Row {
            what: format!("encode {} × {} tokens", shape.0, shape.1),
            unit: "ms".to_owned(),
            ours: own,
            peer: Some((name.clone(), peer)),
            ratio: Some(ratio),
            goal: format!("≥ {goal:.1} ×"),
            reached: Some(ratio >= *goal),
        }
    };
    Ok(peers.iter().zip(&theirs).map(row).collect())
}
