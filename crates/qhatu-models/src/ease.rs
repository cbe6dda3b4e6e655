//! EASE: the linear model of items on items with a closed form. (Steck, WWW 2019, arXiv:1905.03375.)
//!
//! With `X` the shoppers × items matrix of what was bought (0 or 1), `P = (XᵀX + λI)⁻¹`, the weights are
//! `B = I − P diag(P)⁻¹`: zero on the diagonal, so that no item explains itself. Score: the history's
//! row of `X` times `B`. Departure: with `history_half_life_days` a row fades with age when scoring.
//!
//! Defaults: λ 200, half-life 60 days, .251 / .095; unfaded .240 / .093; λ 100 to 600 within .008 on either (UCI Online
//! Retail, NDCG@10 on all / new of the 28 days from 2011-10-15, by `examples/tune_baselines.rs` of `qhatu-train`).

use qhatu_nn::linalg;
use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::ItemIdx;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::error::{ModelError, misfit};
use crate::interactions::Interactions;
use crate::item_knn::{distinct, shoppers};
use crate::recommender::{self, History, Reason, Recommender, Scored, top_k};

/// The name in settings and files.
pub const NAME: &str = "ease";
/// Beyond this many items the dense matrix no longer fits a small machine.
const ITEMS_MAX: usize = 20_000;

/// Hyper-parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// λ: how strongly weights are drawn to zero.
    pub regularization: f32,
    /// Days after which a purchase of the history counts half; 0: it never fades.
    pub history_half_life_days: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { regularization: 200.0, history_half_life_days: 60.0 }
    }
}

/// The fitted model: a dense matrix, items × items.
#[derive(Debug, Clone, PartialEq)]
pub struct Ease {
    config: Config,
    items: usize,
    /// Row per source item, column per target; row 0 is item 1.
    weights: Vec<f32>,
}

impl Ease {
    /// Solves for the weights. Memory: two matrices of items² floats.
    ///
    /// # Errors
    /// For a catalogue beyond what the dense matrix allows, and for λ that is not above zero.
    pub fn fit(data: &Interactions, config: &Config) -> Result<Self, ModelError> {
        let items = data.items();
        if items > ITEMS_MAX {
            return Err(ModelError::TooManyItems { model: NAME, limit: ITEMS_MAX, items });
        }
        if config.regularization.is_nan() || config.regularization <= 0.0 {
            return Err(ModelError::Setting {
                model: NAME,
                key: "regularization",
                value: config.regularization.to_string(),
                hint: "a number above zero, such as 200",
            });
        }
        let mut weights = gram(data, items);
        (0..items).for_each(|item| weights[item * items + item] += config.regularization);
        linalg::invert(&mut weights, items)?;
        let diagonal: Vec<f32> = (0..items).map(|item| weights[item * items + item]).collect();
        weights.par_chunks_mut(items.max(1)).enumerate().for_each(|(row, entries)| {
            entries.iter_mut().zip(&diagonal).for_each(|(entry, diagonal)| *entry = -*entry / diagonal);
            entries[row] = 0.0;
        });
        Ok(Self { config: *config, items, weights })
    }

    /// Loads what [`Recommender::save`] gave.
    ///
    /// # Errors
    /// Where the file does not hold it.
    pub fn load(file: &TensorFile) -> Result<Self, ModelError> {
        let weights = file.f32("weights")?.to_vec();
        let items = weights.len().isqrt();
        if items * items != weights.len() || weights.iter().any(|weight| !weight.is_finite()) {
            return Err(misfit(NAME, "its weights are no square matrix of numbers"));
        }
        Ok(Self { config: recommender::config(NAME, file)?, items, weights })
    }

    fn row(&self, item: ItemIdx) -> &[f32] {
        let place = item.row() - 1;
        &self.weights[place * self.items..(place + 1) * self.items]
    }

    /// The distinct items of a history with the weight of each one's last purchase.
    fn weighed(&self, history: &History) -> Vec<(ItemIdx, f32)> {
        let mut last: FxHashMap<ItemIdx, i64> = FxHashMap::default();
        for (item, time) in history.known(self.items) {
            let kept = last.entry(item).or_insert(time);
            *kept = time.max(*kept);
        }
        let weight = |time| recommender::faded(history.now, time, self.config.history_half_life_days);
        let mut weighed: Vec<_> = last.into_iter().map(|(item, time)| (item, weight(time))).collect();
        weighed.sort_unstable_by_key(|(item, _)| *item);
        weighed
    }
}

impl Recommender for Ease {
    fn name(&self) -> &'static str {
        NAME
    }

    fn catalogue_size(&self) -> usize {
        self.items
    }

    fn score(&self, history: &History, scores: &mut [f32]) {
        recommender::clear(scores, self.items);
        let weighed = self.weighed(history);
        for (block, scores) in scores[1..].chunks_mut(BLOCK).enumerate() {
            let width = scores.len();
            let row = |at: usize| {
                let (item, weight) = weighed[at];
                (&self.row(item)[block * BLOCK..][..width], weight)
            };
            add_rows(scores, weighed.len(), row);
        }
    }

    fn similar_items(&self, item: ItemIdx, k: usize) -> Vec<Scored> {
        if !(1..=self.items).contains(&item.row()) {
            return Vec::new();
        }
        let mut scores = vec![f32::NEG_INFINITY; self.items + 1];
        scores[1..].copy_from_slice(self.row(item));
        top_k(&scores, k, |other| other == item)
    }

    fn because(&self, history: &History, item: ItemIdx) -> Reason {
        self.because_each(history, &[item])[0]
    }

    fn because_each(&self, history: &History, items: &[ItemIdx]) -> Vec<Reason> {
        let weighed = self.weighed(history);
        let mut strongest: Vec<Option<(ItemIdx, f32)>> = vec![None; items.len()];
        for (other, weight) in weighed {
            let row = self.row(other);
            for (kept, item) in strongest.iter_mut().zip(items) {
                let Some(entry) = item.row().checked_sub(1).and_then(|place| row.get(place)) else {
                    continue;
                };
                let share = weight * entry;
                // Of equal ones the item of higher number.
                if kept.is_none_or(|(_, most)| share.total_cmp(&most).is_ge()) {
                    *kept = Some((other, share));
                }
            }
        }
        let reason = |strongest| match strongest {
            Some((item, share)) if share > 0.0 => Reason::SimilarTo { item },
            _ => Reason::Popular,
        };
        strongest.into_iter().map(reason).collect()
    }

    fn save(&self) -> TensorFile {
        let mut file = recommender::new_file(NAME, &self.config);
        file.put_f32("weights", &[self.items, self.items], self.weights.clone());
        file
    }
}

/// Scores that are summed up at a time: few enough to stay in the first cache.
const BLOCK: usize = 4096;

/// Adds `count` weighted rows to `scores`, in their order, four in one pass: each score is read and written
/// once for four rows, and is the same to the bit as when they are added one by one.
fn add_rows<'a>(scores: &mut [f32], count: usize, row: impl Fn(usize) -> (&'a [f32], f32)) {
    let fours = count / 4 * 4;
    for at in (0..fours).step_by(4) {
        let [(a, wa), (b, wb), (c, wc), (d, wd)] = [row(at), row(at + 1), row(at + 2), row(at + 3)];
        let entries = a.iter().zip(b).zip(c.iter().zip(d));
        for (score, ((a, b), (c, d))) in scores.iter_mut().zip(entries) {
            *score = *score + wa * a + wb * b + wc * c + wd * d;
        }
    }
    for at in fours..count {
        let (entries, weight) = row(at);
        scores.iter_mut().zip(entries).for_each(|(score, entry)| *score += weight * entry);
    }
}

/// `XᵀX`: how many shoppers bought both.
fn gram(data: &Interactions, items: usize) -> Vec<f32> {
    let baskets: Vec<Vec<u32>> = data.sequences.iter().map(|s| distinct(&s.items)).collect();
    let shoppers = shoppers(&baskets, items);
    let mut gram = vec![0.0_f32; items * items];
    gram.par_chunks_mut(items.max(1)).enumerate().for_each(|(row, entries)| {
        for &shopper in &shoppers[row + 1] {
            baskets[shopper as usize].iter().for_each(|&other| entries[other as usize - 1] += 1.0);
        }
    });
    gram
}
