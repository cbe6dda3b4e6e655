//! Fine-tuning on the shop's own pairs: query and clicked product, product and next product.
//!
//! In-batch negatives ([`contrastive`]): of a batch of pairs, each first text must find its own second text among
//! all second texts, by cosine over a temperature. A second text that is the same as one's own, or belongs
//! to the same first text, is no wrong answer and is left out of that row.

use std::path::Path;

use qhatu_nn::Stream;
use qhatu_nn::operation::contrastive::{self, LeftOut};

use crate::bert::{Bert, Pass};
use crate::pooling::{Pooling, normalize, normalize_backward};
use crate::pretrain::{batch_places, described};
use crate::training::{Next, Progress, SHARDS, Shard, Training, TrainingConfig, fill_shards};
use crate::{Encoding, TextEncoder, TextError};

/// A pair of texts that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// What is asked: a query, a product.
    pub query: String,
    /// What fits: the clicked product, the next one.
    pub answer: String,
}

impl TextEncoder {
    /// Fine-tunes on pairs. Afterwards vectors are of length 1, as they were compared in training. `after` and
    /// `state` are as in [`TextEncoder::pretrain`]. `temperature` divides the cosine; 0.05 is usual.
    ///
    /// # Errors
    /// Where there are fewer than two pairs, a setting is outside its range, or the state cannot be read or
    /// written.
    pub fn finetune(
        &mut self,
        pairs: &[Pair],
        (config, temperature): (TrainingConfig, f32),
        state: Option<(&Path, u32)>,
        mut after: impl FnMut(Progress) -> Next,
    ) -> Result<(), TextError> {
        check(pairs, temperature)?;
        self.normalize = true;
        let most = config.max_length.min(self.max_length());
        let tokenized = |text: &str| self.tokenizer.encode(text, most);
        let sides = |pair: &Pair| [tokenized(&pair.query), tokenized(&pair.answer)];
        let sequences: Vec<Encoding> = pairs.iter().flat_map(sides).collect();
        let what = described(&format!("contrastive {temperature}"), &config, &sequences);
        let mut training = Training::new(&self.bert, config, pairs.len(), what)?;
        if let Some((path, _)) = state.filter(|(path, _)| path.exists()) {
            training.load(&mut self.bert, path)?;
        }
        let mut shards: Vec<Shard> = (0..SHARDS).map(|_| Shard::default()).collect();
        let (mut step, steps) = training.place();
        while step < steps {
            let batch = contrast(&sequences, batch_places(pairs.len(), config, step), temperature);
            let stream = Stream::new(config.seed).child(3).child(u64::from(step));
            let both = (self.pooling, stream);
            let loss = contrastive_step(&mut self.bert, &mut training, &mut shards, &batch, both)?;
            step += 1;
            let next = after(Progress { step, steps, loss });
            let stops = next == Next::Stop || step == steps;
            if let Some((path, every)) = state
                && (stops || step.is_multiple_of(every.max(1)))
            {
                training.save(&self.bert, path)?;
            }
            if stops {
                break;
            }
        }
        Ok(())
    }
}

fn check(pairs: &[Pair], temperature: f32) -> Result<(), TextError> {
    if !(temperature.is_finite() && temperature > 0.0) {
        let fault = "it must be above 0; 0.05 is usual".to_owned();
        return Err(TextError::Setting { setting: "temperature", value: temperature.to_string(), fault });
    }
    if pairs.len() < 2 {
        let fault = format!("{} pairs; a text needs others to be told from", pairs.len());
        return Err(TextError::file("pairs", fault));
    }
    Ok(())
}

/// A batch: all queries, then all answers, and who is left out of which row.
struct Contrast {
    sequences: Vec<Encoding>,
    left_out: LeftOut,
    temperature: f32,
}

fn contrast(sequences: &[Encoding], places: Vec<usize>, temperature: f32) -> Contrast {
    let queries: Vec<&Encoding> = places.iter().map(|place| &sequences[2 * place]).collect();
    let answers: Vec<&Encoding> = places.iter().map(|place| &sequences[2 * place + 1]).collect();
    let same = |row: usize, other: usize| answers[other] == answers[row] || queries[other] == queries[row];
    let left_out = LeftOut::of(queries.len(), same);
    let sequences = queries.into_iter().chain(answers).cloned().collect();
    Contrast { sequences, left_out, temperature }
}

fn contrastive_step(
    bert: &mut Bert,
    training: &mut Training,
    shards: &mut [Shard],
    batch: &Contrast,
    (pooling, stream): (Pooling, Stream),
) -> Result<f64, TextError> {
    let width = bert.config().hidden_size;
    fill_shards(shards, &batch.sequences, bert)?;
    let shared: &Bert = bert;
    let pass = |place: usize| Pass::Train(stream.child(place as u64));
    let found = training.each_shard(shards, |place, shard, _| {
        shared.forward(&shard.batch, pass(place), &mut shard.saved);
        pooling.forward(&shard.batch.starts, shard.saved.output(), width)
    });
    let mut vectors = found.concat();
    let (loss, d) = contrastive_loss(&mut vectors, batch, width);
    let each = shards.first().map_or(0, |shard| shard.batch.sequences()) * width;
    training.each_shard(shards, |place, shard, gradients| {
        let from = (place * each).min(d.len());
        let d_own = &d[from..(from + shard.batch.sequences() * width)];
        shard.d = pooling.backward(&shard.batch.starts, shard.saved.output(), d_own, width);
        shared.backward(&shard.batch, pass(place), &mut shard.saved, gradients, &mut shard.d);
    });
    training.step(bert);
    Ok(loss)
}

/// The mean loss, and the gradients of the vectors before they were made of length 1.
fn contrastive_loss(vectors: &mut [f32], batch: &Contrast, width: usize) -> (f64, Vec<f32>) {
    let lengths = normalize(vectors, width);
    let rows = batch.left_out.starts.len() - 1;
    let pairs = vectors.split_at(rows * width);
    let mut d = vec![0.0; vectors.len()];
    let how = (batch.temperature, &batch.left_out);
    let sum =
        contrastive::forward_backward(pairs, width, how, 1.0 / rows as f32, d.split_at_mut(rows * width));
    normalize_backward(vectors, &lengths, &mut d, width);
    (sum / rows as f64, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(id: u32) -> Encoding {
        Encoding { ids: vec![id], type_ids: vec![0] }
    }

    /// Pairs (1, 5), (2, 6), (1, 7), (3, 5).
    fn batch() -> Contrast {
        let sequences: Vec<Encoding> = [1, 5, 2, 6, 1, 7, 3, 5].into_iter().map(one).collect();
        contrast(&sequences, vec![0, 1, 2, 3], 0.5)
    }

    #[test]
    fn the_same_query_or_answer_is_no_wrong_answer() {
        let found = batch();
        assert_eq!(
            found.sequences.iter().map(|one| one.ids[0]).collect::<Vec<_>>(),
            [1, 2, 1, 3, 5, 6, 7, 5]
        );
        let LeftOut { starts, answers } = found.left_out;
        assert_eq!((starts, answers), (vec![0, 2, 2, 3, 4], vec![2, 3, 0, 0]));
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let batch = batch();
        let vectors: Vec<f32> = (0..24).map(|place| ((place * 37 % 19) as f32 - 9.0) / 6.0).collect();
        let (loss, d) = contrastive_loss(&mut vectors.clone(), &batch, 3);
        for place in 0..vectors.len() {
            let at = |step: f32| {
                let mut near = vectors.clone();
                near[place] += step;
                contrastive_loss(&mut near, &batch, 3).0
            };
            let want = (at(4e-3) - at(-4e-3)) / 8e-3;
            assert!(
                (f64::from(d[place]) - want).abs() < 2e-3 * want.abs().max(1.0),
                "{place}: {} {want}",
                d[place]
            );
        }
        // By the formula: of row 1 nobody is left out.
        let mut unit = vectors.clone();
        normalize(&mut unit, 3);
        let cosine = |a: usize, b: usize| -> f64 {
            (0..3).map(|at| f64::from(unit[a * 3 + at]) * f64::from(unit[b * 3 + at])).sum()
        };
        let row = |row: usize, others: &[usize]| {
            let all: f64 = others.iter().map(|other| (cosine(row, 4 + other) / 0.5).exp()).sum();
            all.ln() - cosine(row, 4 + row) / 0.5
        };
        let want = (row(0, &[0, 1]) + row(1, &[0, 1, 2, 3]) + row(2, &[1, 2, 3]) + row(3, &[1, 2, 3])) / 4.0;
        assert!((loss - want).abs() < 1e-5, "{loss} {want}");
    }

    #[test]
    fn one_pair_teaches_nothing() {
        let pair = Pair { query: "a".to_owned(), answer: "b".to_owned() };
        assert!(check(std::slice::from_ref(&pair), 0.05).is_err());
        assert!(check(&[pair.clone(), pair.clone()], 0.0).is_err());
        assert!(check(&[pair.clone(), pair], 0.05).is_ok());
    }
}
