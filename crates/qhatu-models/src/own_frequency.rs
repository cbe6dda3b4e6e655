//! Own frequency ("buy again"): what the shopper bought most often, lately counting more.
//!
//! Score of an item: Σ over its purchases of `2^(−age / half-life)`, and its popularity of late (at most 1), halved:
//! it decides between equal counts, which is most of what there is to decide, and orders what was never bought. In shops where people come back it is the baseline that is hardest to
//! beat on everything bought, and of no use for what is new to the shopper.
//!
//! Defaults: nothing fades, .322 on everything bought; a half-life of 180 days .319, of 60 days .302; equal counts by what
//! was bought last instead of by what sells, .290 (UCI Online Retail, NDCG@10 of the 28 days from 2011-10-15; all but the
//! last by `examples/tune_baselines.rs` of `qhatu-train`).

use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::ItemIdx;
use serde::{Deserialize, Serialize};

use crate::error::{ModelError, misfit};
use crate::interactions::Interactions;
use crate::popularity;
use crate::recent_popularity::{self, RecentPopularity};
use crate::recommender::{self, History, Reason, Recommender, Scored, bought_before};

/// The name in settings and files.
pub const NAME: &str = "own_frequency";

/// Hyper-parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Days after which a purchase counts half; 0: it never fades.
    pub half_life_days: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { half_life_days: 0.0 }
    }
}

/// The fitted model: nothing but the popularity behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnFrequency {
    config: Config,
    scores: Vec<f32>,
    behind: RecentPopularity,
}

/// What the popularity counts, in purchases: never as much as one that has not faded.
const BEHIND: f32 = 0.5;

impl OwnFrequency {
    /// Learns the popularity that fills the rest of the list.
    pub fn fit(data: &Interactions, config: &Config) -> Self {
        let behind = RecentPopularity::fit(data, &recent_popularity::Config::default());
        Self::with(*config, behind)
    }

    fn with(config: Config, behind: RecentPopularity) -> Self {
        let mut scores = vec![0.0; behind.catalogue_size() + 1];
        behind.score(&History::bought(&[], &[], 0), &mut scores);
        scores.iter_mut().for_each(|score| *score *= BEHIND);
        Self { config, scores, behind }
    }

    /// Loads what [`Recommender::save`] gave.
    ///
    /// # Errors
    /// Where the file does not hold it.
    pub fn load(file: &TensorFile) -> Result<Self, ModelError> {
        let config: Config = recommender::config(NAME, file)?;
        if config.half_life_days.is_nan() || config.half_life_days < 0.0 {
            return Err(misfit(NAME, "its half-life is below zero"));
        }
        popularity::load_scores(NAME, file)?;
        let mut inner = recommender::new_file(recent_popularity::NAME, &recent_popularity::Config::default());
        inner.tensors.clone_from(&file.tensors);
        Ok(Self::with(config, RecentPopularity::load(&inner)?))
    }
}

impl Recommender for OwnFrequency {
    fn name(&self) -> &'static str {
        NAME
    }

    fn catalogue_size(&self) -> usize {
        self.scores.len() - 1
    }

    fn score(&self, history: &History, scores: &mut [f32]) {
        scores.copy_from_slice(&self.scores);
        for (item, time) in history.known_bought(self.catalogue_size()) {
            scores[item.row()] += recommender::faded(history.now, time, self.config.half_life_days);
        }
    }

    fn similar_items(&self, item: ItemIdx, k: usize) -> Vec<Scored> {
        self.behind.similar_items(item, k)
    }

    fn because(&self, history: &History, item: ItemIdx) -> Reason {
        bought_before(history, item).unwrap_or(Reason::PopularRecently)
    }

    fn save(&self) -> TensorFile {
        let mut file = self.behind.save();
        file.settings = recommender::new_file(NAME, &self.config).settings;
        file
    }
}
