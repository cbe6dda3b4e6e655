//! Recent popularity: what most shoppers bought in the last days. Follows seasons and fashions, and is
//! what a cold shopper gets.
//!
//! Defaults: 14 days, .115 / .076; 7 days .110 / .070, 28 days .112 / .069 (UCI Online Retail, NDCG@10 on all / new of
//! the 28 days from 2011-10-15, by `examples/tune_baselines.rs` of `qhatu-train`).

use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::ItemIdx;
use serde::{Deserialize, Serialize};

use crate::DAY_MS;
use crate::error::ModelError;
use crate::interactions::Interactions;
use crate::popularity::{load_scores, shoppers_per_item};
use crate::recommender::{self, History, Reason, Recommender, Scored, top_k};

/// The name in settings and files.
pub const NAME: &str = "recent_popularity";

/// Hyper-parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Days that count, back from the end of the data.
    pub days: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { days: 14.0 }
    }
}

/// The fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct RecentPopularity {
    config: Config,
    scores: Vec<f32>,
}

impl RecentPopularity {
    /// Counts shoppers per item in the last days; what sold only before comes after, by its count.
    pub fn fit(data: &Interactions, config: &Config) -> Self {
        let from = data.until.saturating_sub((config.days * DAY_MS) as i64);
        let mut scores = shoppers_per_item(data, from);
        let ever = shoppers_per_item(data, i64::MIN);
        // Far below the smallest step of the recent counts, so it only orders their ties.
        let step = 1e-3 / (data.sequences.len().max(1) as f32);
        scores.iter_mut().zip(ever).skip(1).for_each(|(score, ever)| *score += step * ever);
        Self { config: *config, scores }
    }

    /// Loads what [`Recommender::save`] gave.
    ///
    /// # Errors
    /// Where the file does not hold it.
    pub fn load(file: &TensorFile) -> Result<Self, ModelError> {
        Ok(Self { config: recommender::config(NAME, file)?, scores: load_scores(NAME, file)? })
    }
}

impl Recommender for RecentPopularity {
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
        Reason::PopularRecently
    }

    fn save(&self) -> TensorFile {
        let mut file = recommender::new_file(NAME, &self.config);
        file.put_f32("scores", &[self.scores.len()], self.scores.clone());
        file
    }
}
