//! BERT of MiniLM-L6's shape: encoding against PyTorch and ONNX Runtime, in f32 and in whole numbers, and a step of
//! fine-tuning against PyTorch; two threads each, asked in turn in one run.

use std::path::Path;

use super::asked::Asked;
use super::{Row, Spread};
use crate::{process, scenario, tools};

/// Sequences, tokens of each, repetitions a round.
type Shape = (usize, usize, usize);
const SHAPES: &[Shape] = &[(32, 32, 3), (8, 128, 3), (1, 16, 20)];
const STEP: &[Shape] = &[(16, 32, 4)];
const ROUNDS: usize = 6;

/// What we are asked for, what it is, in which shapes, and the peers' names for it with what is to be reached.
type Part = (&'static str, &'static str, &'static [Shape], &'static [(&'static str, f64)]);
const PARTS: [Part; 3] = [
    ("f32", "encode", SHAPES, &[("torch", 1.2), ("onnx", 1.0)]),
    ("int8", "encode in int8", SHAPES, &[("onnx_int8", 0.8)]),
    ("step", "fine-tuning step", STEP, &[("torch_step", 1.5)]),
];

pub(crate) fn run(root: &Path) -> Result<Vec<Row>, String> {
    let build = ["build", "--release", "--locked", "-p", "qhatu-text", "--example", "bert_speed"];
    process::run(root, "cargo", &build)?;
    let own = super::binary(root).with_file_name("examples").join("bert_speed");
    let python = tools::peer_python(root, "bert")?.to_string_lossy().into_owned();
    scenario::text_models_exported(root, &python)?;
    let mut ours = Asked::start(root, &own.to_string_lossy(), &[])?;
    let mut rows = Vec::new();
    for (kind, what, shapes, peers) in PARTS {
        let mut asked = Vec::new();
        for (peer, goal) in peers {
            let mut program = Asked::start(root, &python, &["benches/peers/bert_encode.py", peer])?;
            asked.push((program.line()?, *goal, program));
        }
        for shape in shapes {
            rows.extend(compare(&mut ours, &mut asked, (kind, what), *shape)?);
        }
    }
    Ok(rows)
}

fn compare(
    ours: &mut Asked,
    peers: &mut [(String, f64, Asked)],
    (kind, what): (&str, &str),
    shape: Shape,
) -> Result<Vec<Row>, String> {
    let line = format!("{} {} {}", shape.0, shape.1, shape.2);
    let mut own = Vec::new();
    let mut theirs = vec![Vec::new(); peers.len()];
    for round in 0..=ROUNDS {
        let mut found = vec![ours.ask(format!("{kind} {line}").trim())?];
        for (_, _, peer) in peers.iter_mut() {
            found.push(peer.ask(&line)?);
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
            what: format!("{what} {} × {} tokens", shape.0, shape.1),
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
