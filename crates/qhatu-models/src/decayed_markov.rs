//! Decayed Markov: what is bought after what, nearer counting more.
//!
//! Within a shopper's sequence each pair (earlier, later) at most `window` apart adds `1 / gap` to the
//! weight from the one to the other, where the gap counts orders, not lines: what stands in one basket
//! has no order (a sequence of single items gives the classical model). Rows are divided by the
//! earlier item's count to the power of `normalization`. Score: Σ over the last `window` orders of
//! the history, each again with `1 / gap`. (First-order chains: Rendle et al., WWW 2010.)
//!
//! Sequential rules (Kamehkhosh et al., TempRec 2017) are window 10, history window 1 and normalization 0: only the last
//! item asks, and rules that skip items count less.
//!
//! Defaults: window 3, normalization 0.25, .158 / .044; window 10 and normalization 0.5 .150 / .043. Ten followers instead
//! of 500 gave .161 / .046, within chance, and would cut lists of similar items short (UCI Online Retail, NDCG@10 on all /
//! new of the 28 days from 2011-10-15, by `examples/tune_baselines.rs` of `qhatu-train`).

use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::ItemIdx;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::interactions::Interactions;
use crate::neighbours::Neighbours;
use crate::recommender::{self, History, Reason, Recommender, Scored};

/// The name in settings and files.
pub const NAME: &str = "decayed_markov";

/// Hyper-parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How many orders back a purchase reaches.
    pub window: usize,
    /// How many of the history's last orders ask for followers; 0: as many as `window`.
    pub history_window: usize,
    /// Followers that are kept of each item.
    pub k: usize,
    /// 0: raw counts; 1: frequencies.
    pub normalization: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self { window: 3, history_window: 0, k: 500, normalization: 0.25 }
    }
}

/// The fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct DecayedMarkov {
    config: Config,
    followers: Neighbours,
}

impl DecayedMarkov {
    /// Counts pairs.
    pub fn fit(data: &Interactions, config: &Config) -> Self {
        let mut rows: Vec<FxHashMap<u32, f32>> = vec![FxHashMap::default(); data.items()];
        let mut counts = vec![0.0_f32; data.items()];
        for sequence in &data.sequences {
            sequence.items.iter().for_each(|item| counts[item.row() - 1] += 1.0);
            let baskets: Vec<_> = sequence.baskets().collect();
            for (place, later) in baskets.iter().enumerate() {
                for (gap, earlier) in (1..=config.window).zip(baskets[..place].iter().rev()) {
                    for from in &sequence.items[earlier.clone()] {
                        let row = &mut rows[from.row() - 1];
                        for to in &sequence.items[later.clone()] {
                            *row.entry(to.0).or_default() += 1.0 / gap as f32;
                        }
                    }
                }
            }
        }
        let finish = |(row, count): (FxHashMap<u32, f32>, f32)| {
            let divisor = count.max(1.0).powf(config.normalization);
            row.into_iter()
                .map(|(to, weight)| Scored { item: ItemIdx(to), score: weight / divisor })
                .collect()
        };
        let rows = rows.into_iter().zip(counts).map(finish).collect();
        Self { config: *config, followers: Neighbours::from_rows(rows, config.k) }
    }

    /// Loads what [`Recommender::save`] gave.
    ///
    /// # Errors
    /// Where the file does not hold it.
    pub fn load(file: &TensorFile) -> Result<Self, ModelError> {
        Ok(Self { config: recommender::config(NAME, file)?, followers: Neighbours::load(NAME, file)? })
    }

    /// What is bought after an item, with its weight, largest first.
    pub(crate) fn after(&self, item: ItemIdx) -> impl Iterator<Item = Scored> + '_ {
        self.followers.row(item)
    }

    /// The items of the last orders with their gap from the end; lines of one moment are one order.
    fn recent<'a>(&self, history: &'a History<'a>) -> impl Iterator<Item = (ItemIdx, f32)> + 'a {
        let mut gap = 0;
        let mut last = None;
        let counted = history.known(self.catalogue_size()).rev().map(move |(item, time)| {
            if last != Some(time) {
                gap += 1;
                last = Some(time);
            }
            (item, gap)
        });
        let window = match self.config.history_window {
            0 => self.config.window,
            window => window,
        };
        counted.take_while(move |(_, gap)| *gap <= window).map(|(item, gap)| (item, 1.0 / gap as f32))
    }
}

impl Recommender for DecayedMarkov {
    fn name(&self) -> &'static str {
        NAME
    }

    fn catalogue_size(&self) -> usize {
        self.followers.len()
    }

    fn score(&self, history: &History, scores: &mut [f32]) {
        recommender::clear(scores, self.catalogue_size());
        for (item, weight) in self.recent(history) {
            self.followers.row(item).for_each(|next| scores[next.item.row()] += weight * next.score);
        }
    }

    fn similar_items(&self, item: ItemIdx, k: usize) -> Vec<Scored> {
        self.followers.row(item).filter(|next| next.item != item).take(k).collect()
    }

    fn because(&self, history: &History, item: ItemIdx) -> Reason {
        let from =
            self.recent(history).map(|(other, weight)| (other, weight * self.followers.weight(other, item)));
        match from.max_by(|a, b| a.1.total_cmp(&b.1)) {
            Some((other, weight)) if weight > 0.0 => Reason::OftenBoughtAfter { item: other },
            _ => Reason::Popular,
        }
    }

    fn save(&self) -> TensorFile {
        let mut file = recommender::new_file(NAME, &self.config);
        self.followers.save(&mut file);
        file
    }
}
