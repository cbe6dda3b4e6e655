//! Popularity: what most shoppers bought, for everyone the same.
//!
//! Score: number of distinct shoppers, divided by the largest such number. The baseline that every
//! model must beat.

use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::ItemIdx;
use serde::{Deserialize, Serialize};

use crate::error::{ModelError, misfit};
use crate::interactions::Interactions;
use crate::recommender::{self, History, Reason, Recommender, Scored, top_k};

/// The name in settings and files.
pub const NAME: &str = "popularity";

/// Nothing to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}

/// The fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct Popularity {
    scores: Vec<f32>,
}

impl Popularity {
    /// Counts shoppers per item.
    pub fn fit(data: &Interactions, _config: &Config) -> Self {
        Self { scores: shoppers_per_item(data, i64::MIN) }
    }

    /// Loads what [`Recommender::save`] gave.
    ///
    /// # Errors
    /// Where the file does not hold it.
    pub fn load(file: &TensorFile) -> Result<Self, ModelError> {
        let _: Config = recommender::config(NAME, file)?;
        Ok(Self { scores: load_scores(NAME, file)? })
    }
}

impl Recommender for Popularity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn catalogue_size(&self) -> usize {
        self.scores.len() - 1
    }

    fn score(&self, _history: &History, scores: &mut [f32]) {
        scores.copy_from_slice(&self.scores);
    }

    fn similar_items(&self, item: ItemIdx, k: usize) -> Vec<Scored> {
        top_k(&self.scores, k, |other| other == item)
    }

    fn because(&self, _history: &History, _item: ItemIdx) -> Reason {
        Reason::Popular
    }

    fn save(&self) -> TensorFile {
        let mut file = recommender::new_file(NAME, &Config {});
        file.put_f32("scores", &[self.scores.len()], self.scores.clone());
        file
    }
}

/// Distinct shoppers of each item from `from` on, divided by the largest number; padding −∞.
pub(crate) fn shoppers_per_item(data: &Interactions, from: i64) -> Vec<f32> {
    let mut counts = vec![0.0_f32; data.items() + 1];
    let mut last_seen = vec![u32::MAX; data.items() + 1];
    for (number, sequence) in data.sequences.iter().enumerate() {
        let start = sequence.times.partition_point(|time| *time < from);
        for item in &sequence.items[start..] {
            if last_seen[item.row()] != number as u32 {
                last_seen[item.row()] = number as u32;
                counts[item.row()] += 1.0;
            }
        }
    }
    let largest = counts.iter().copied().fold(1.0, f32::max);
    counts.iter_mut().for_each(|count| *count /= largest);
    counts[0] = f32::NEG_INFINITY;
    counts
}

/// A tensor of one score per item, checked.
pub(crate) fn load_scores(model: &'static str, file: &TensorFile) -> Result<Vec<f32>, ModelError> {
    let scores = file.f32("scores")?.to_vec();
    match scores.split_first() {
        Some((&f32::NEG_INFINITY, rest)) if rest.iter().all(|score| score.is_finite()) => Ok(scores),
        _ => Err(misfit(model, "its scores are not numbers behind a padding of −∞")),
    }
}
