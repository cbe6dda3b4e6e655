//! Times training steps for `cargo xtask bench steps`: whole steps of `sasrec` on full sequences, and of a GRU or LSTM layer.
//!
//! Reads lines `KIND LENGTH ITEMS REPETITIONS` and answers with the milliseconds each repetition took; see
//! `benches/peers/sasrec_step.py` for what is done. A step of `sasrec` is one of its training, with everything that belongs to it:
//! the batch is put together, gradients are clipped, the moving average is kept.

#![expect(clippy::print_stdout, reason = "the figures are this program's answer")]

use std::error::Error;
use std::io::stdin;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use qhatu_models::sequence::{Context, Progress};
use qhatu_models::{Interactions, ModelError, Purchase, Vocabulary, sasrec};
use qhatu_nn::layer::{Recurrent, RecurrentConfig};
use qhatu_nn::operation::recurrent::{Cell, Saved, Steps};
use qhatu_nn::{AdamW, AdamWConfig, Parameters, Stream};
use qhatu_schema::{ItemId, ItemIdx};

const WIDTH: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    for line in stdin().lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        let kind = words.next().unwrap_or_default();
        let numbers = words.map(str::parse).collect::<Result<Vec<usize>, _>>()?;
        let [length, items, repetitions] = numbers[..] else { return Err("three numbers are needed".into()) };
        let took = match kind {
            "sasrec" => sasrec(length, items, repetitions)?,
            "gru" => recurrent(Cell::Gru, length, repetitions),
            "lstm" => recurrent(Cell::Lstm, length, repetitions),
            kind => return Err(format!("no {kind:?} here").into()),
        };
        let took: Vec<String> = took.iter().map(|ms| format!("{ms:.4}")).collect();
        println!("{}", took.join(" "));
    }
    Ok(())
}

/// 128 sequences of `length`, each epoch one step; the first step is not timed.
fn sasrec(length: usize, items: usize, repetitions: usize) -> Result<Vec<f64>, Box<dyn Error>> {
    let names = (1..=items).map(|item| ItemId::new(item.to_string())).collect::<Result<Vec<_>, _>>()?;
    let random = Stream::new(1);
    let lines: Vec<Purchase> = (0..128 * length)
        .map(|place| Purchase {
            time: (place % length) as i64,
            user: (place / length) as u32,
            order: place as u32,
            item: ItemIdx(1 + random.below(place as u64, items) as u32),
        })
        .collect();
    let until = sasrec::Config::papers().validation_days as i64 * 86_400_000 + length as i64;
    let data = Interactions::from_purchases(Arc::new(Vocabulary::new(names)), &lines, until);
    let config = sasrec::Config {
        max_length: length,
        batch_size: 128,
        intermediate_size: WIDTH,
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        ..sasrec::Config::papers()
    };
    let (mut took, mut last) = (Vec::new(), None::<Instant>);
    let progress = &mut |_: &Progress| {
        if let Some(last) = last {
            took.push(last.elapsed().as_secs_f64() * 1e3);
        }
        last = Some(Instant::now());
        if took.len() < repetitions { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let epochs = repetitions as u32 + 2;
    let config = sasrec::Config { epochs, ..config };
    match sasrec::SasRec::fit_with(&data, &config, 1, &mut Context { checkpoint: None, progress }) {
        Ok(_) | Err(ModelError::Cancelled { .. }) => Ok(took),
        Err(other) => Err(other.into()),
    }
}

/// One half of the batch, on its thread.
#[derive(Default)]
struct Half {
    gradients: Vec<f32>,
    out: Vec<f32>,
    d_x: Vec<f32>,
    saved: Saved,
}

/// 64 sequences of `length` through one layer and back, and a step of AdamW.
fn recurrent(cell: Cell, length: usize, repetitions: usize) -> Vec<f64> {
    let mut parameters = Parameters::default();
    let config = RecurrentConfig { cell, input_size: WIDTH, hidden_size: WIDTH, initializer_range: 0.07 };
    let layer = Recurrent::new(&mut parameters, "cell", config, Stream::new(1));
    let mut optimizer = AdamW::new(&parameters, AdamWConfig::default());
    let starts: Vec<usize> = (0..=32).map(|sequence| sequence * length).collect();
    let steps = Steps::new(&starts);
    let (mut x, mut d) = (vec![0.0; 32 * length * WIDTH], vec![0.0; 32 * length * WIDTH]);
    Stream::new(2).fill_normal(&mut x, 1.0);
    Stream::new(3).fill_normal(&mut d, 1.0);
    let mut halves = [Half::default(), Half::default()];
    let work = |half: &mut Half, parameters: &[f32]| {
        half.gradients.clear();
        half.gradients.resize(parameters.len(), 0.0);
        layer.forward(parameters, &steps, &x, &mut half.out, &mut half.saved);
        let both = (parameters, half.gradients.as_mut_slice());
        layer.backward(both, &steps, &d, &mut half.d_x, &mut half.saved);
    };
    let mut took = Vec::new();
    for _ in 0..repetitions {
        let begun = Instant::now();
        let [one, other] = &mut halves;
        let values = parameters.values();
        rayon::join(|| work(one, values), || work(other, values));
        one.gradients.iter_mut().zip(&other.gradients).for_each(|(sum, gradient)| *sum += gradient);
        optimizer.step(&mut parameters, &halves[0].gradients, 1e-3, 1.0);
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    took
}
