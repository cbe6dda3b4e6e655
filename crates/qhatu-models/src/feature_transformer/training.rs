//! Epochs over shuffled rows. A batch is cut into parts whose gradients are added in order, so that the same seed gives
//! the same bits on any number of threads.

use qhatu_nn::operation::binary::Binary;
use qhatu_nn::{AdamW, AdamWConfig, Decay, Ema, Parameters, Schedule, Stream, clip};
use rayon::prelude::*;

use super::network::{Network, Space};
use super::tokens::Tokenizer;
use super::{Config, NAME};
use crate::error::ModelError;
use crate::trees::{Columns, Target};

/// Parts of a batch.
const PARTS: usize = 4;
const MAX_GRAD_NORM: f32 = 1.0;
/// Share of all steps in which the rate rises, one in so many.
const WARM_UP: u32 = 20;

/// The averaged parameters after the last epoch.
pub(super) fn train(
    (network, mut parameters): (&Network, Parameters),
    tokenizer: &Tokenizer,
    (columns, target): (Columns, &Target),
    config: &Config,
    stream: Stream,
) -> Result<Parameters, ModelError> {
    let rows = columns.rows();
    let batches = rows.div_ceil(config.batch_size) as u32;
    let total = batches.saturating_mul(config.epochs);
    let schedule = Schedule {
        peak: config.learning_rate,
        floor: 0.0,
        warm_up: total / WARM_UP,
        total,
        decay: Decay::Cosine,
    };
    let settings = AdamWConfig { weight_decay: config.weight_decay, ..AdamWConfig::default() };
    let mut optimizer = AdamW::new(&parameters, settings);
    let mut average = Ema::new(parameters.values(), config.ema_decay);
    let mut trainer = Trainer { network, tokenizer, columns, target, config, spaces: Vec::new() };
    trainer.spaces.resize_with(PARTS, Space::default);
    for epoch in 0..config.epochs {
        let stream = stream.child(u64::from(epoch));
        let order = stream.shuffled(rows);
        for (step, batch) in order.chunks(config.batch_size).enumerate() {
            let loss = trainer.step(parameters.values(), batch, stream.child(step as u64));
            if !loss.is_finite() {
                return Err(ModelError::Diverged { model: NAME, epoch: epoch + 1 });
            }
            let gradients = &trainer.spaces[0].gradients;
            let scale = clip::scale(clip::global_norm(gradients), MAX_GRAD_NORM);
            optimizer.step(&mut parameters, gradients, schedule.rate(optimizer.steps()), scale);
            average.update(parameters.values(), optimizer.steps());
        }
    }
    parameters.values_mut().copy_from_slice(average.values());
    Ok(parameters)
}

struct Trainer<'a> {
    network: &'a Network,
    tokenizer: &'a Tokenizer,
    columns: Columns<'a>,
    target: &'a Target<'a>,
    config: &'a Config,
    spaces: Vec<Space>,
}

impl Trainer<'_> {
    fn weight(&self, row: usize) -> f32 {
        self.target.weights.get(row).copied().unwrap_or(1.0)
    }

    /// The mean loss of a batch; its gradients are then in the first space.
    fn step(&mut self, parameters: &[f32], batch: &[usize], stream: Stream) -> f64 {
        let total: f32 = batch.iter().map(|row| self.weight(*row)).sum();
        if total <= 0.0 {
            self.spaces[0].gradients = vec![0.0; parameters.len()];
            return 0.0;
        }
        let mut spaces = std::mem::take(&mut self.spaces);
        let size = batch.len().div_ceil(PARTS).max(1);
        let parts = spaces.par_iter_mut().enumerate();
        let losses: Vec<f64> = parts
            .map(|(part, space)| {
                let rows = batch.chunks(size).nth(part).unwrap_or_default();
                self.part(parameters, rows, (stream.child(part as u64), 1.0 / total), space)
            })
            .collect();
        let (first, others) = spaces.split_at_mut(1);
        for other in others {
            first[0].gradients.iter_mut().zip(&other.gradients).for_each(|(sum, d)| *sum += d);
        }
        self.spaces = spaces;
        losses.iter().sum::<f64>() / f64::from(total)
    }

    /// The sum of the losses of some rows; their gradients times `scale` are in `space`.
    fn part(
        &self,
        parameters: &[f32],
        rows: &[usize],
        (stream, scale): (Stream, f32),
        space: &mut Space,
    ) -> f64 {
        space.gradients.clear();
        space.gradients.resize(parameters.len(), 0.0);
        if rows.is_empty() {
            return 0.0;
        }
        space.clear();
        rows.iter().for_each(|row| {
            self.tokenizer.encode(|feature| self.columns.values[feature][*row], &mut space.tokens);
        });
        self.network.forward(parameters, Some(stream), space);
        let Space { logits, d_logits, .. } = space;
        d_logits.resize(rows.len(), 0.0);
        let mut sum = 0.0;
        for (place, row) in rows.iter().enumerate() {
            let weight = self.weight(*row);
            let loss = Binary { negative: weight, positive: weight, gamma: self.config.focal_gamma };
            let label = [self.target.labels[*row] > 0.5];
            let (z, d) = (&logits[place..=place], &mut d_logits[place..=place]);
            sum += loss.forward_backward(z, &label, scale, d);
        }
        self.network.backward(parameters, Some(stream), space);
        sum
    }
}
