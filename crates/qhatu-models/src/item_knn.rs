//! Item-kNN: who bought what you bought also bought this.
//!
//! Similarity of two items: shoppers of both / (√(shoppers of one · shoppers of the other) + shrinkage);
//! the shrinkage keeps chance meetings of rare items small. Score: Σ over the purchases of the history, of which each
//! votes for its item's `k` neighbours with a weight that halves every `history_half_life_days`. (Sarwar et al., WWW
//! 2001; shrinkage: Bell and Koren, ICDM 2007.) Departure: for [`Recommender::similar_items`] 100 neighbours of each
//! item are kept, however few vote.
//!
//! Defaults: `k` 3, shrinkage 50, half-life 60 days, .221 / .085. Few neighbours matter most: `k` 5 with shrinkage 10 gives
//! .210 / .087, and 200 neighbours without fading, each item once, .159 / .060 in a prototype (UCI Online Retail, NDCG@10 on all / new of the 28 days from
//! 2011-10-15, by `examples/tune_baselines.rs` of `qhatu-train`).

use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::ItemIdx;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::interactions::Interactions;
use crate::neighbours::Neighbours;
use crate::recommender::{self, History, Reason, Recommender, Scored};

/// The name in settings and files.
pub const NAME: &str = "item_knn";

/// Hyper-parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Neighbours of each item that are voted for.
    pub k: usize,
    /// Added to the denominator.
    pub shrinkage: f32,
    /// Days after which a purchase of the history counts half; 0: it never fades.
    pub history_half_life_days: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { k: 3, shrinkage: 50.0, history_half_life_days: 60.0 }
    }
}

/// Neighbours that are kept at least.
const KEPT: usize = 100;

/// The fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemKnn {
    config: Config,
    neighbours: Neighbours,
}

impl ItemKnn {
    /// Counts meetings of items. Time: Σ over shoppers of (items bought)², in parallel over items.
    pub fn fit(data: &Interactions, config: &Config) -> Self {
        let baskets: Vec<Vec<u32>> = data.sequences.iter().map(|s| distinct(&s.items)).collect();
        let shoppers = shoppers(&baskets, data.items());
        let row = |item: usize| similar(item, &baskets, &shoppers, config);
        let rows = (1..=data.items()).into_par_iter().map(row).collect();
        Self { config: *config, neighbours: Neighbours::from_rows(rows, config.k.max(KEPT)) }
    }

    /// Loads what [`Recommender::save`] gave.
    ///
    /// # Errors
    /// Where the file does not hold it.
    pub fn load(file: &TensorFile) -> Result<Self, ModelError> {
        Ok(Self { config: recommender::config(NAME, file)?, neighbours: Neighbours::load(NAME, file)? })
    }
}

impl ItemKnn {
    /// The neighbours that a purchase of `item` votes for.
    fn voted(&self, item: ItemIdx) -> impl Iterator<Item = Scored> + '_ {
        self.neighbours.row(item).take(self.config.k)
    }
}

impl Recommender for ItemKnn {
    fn name(&self) -> &'static str {
        NAME
    }

    fn catalogue_size(&self) -> usize {
        self.neighbours.len()
    }

    fn score(&self, history: &History, scores: &mut [f32]) {
        recommender::clear(scores, self.catalogue_size());
        for (item, time) in history.known(self.catalogue_size()) {
            let weight = recommender::faded(history.now, time, self.config.history_half_life_days);
            self.voted(item).for_each(|near| scores[near.item.row()] += weight * near.score);
        }
    }

    fn similar_items(&self, item: ItemIdx, k: usize) -> Vec<Scored> {
        self.neighbours.row(item).take(k).collect()
    }

    fn because(&self, history: &History, item: ItemIdx) -> Reason {
        let near = history.known(self.catalogue_size()).map(|(other, _)| {
            let voted = self.voted(other).find(|near| near.item == item);
            (other, voted.map_or(0.0, |near| near.score))
        });
        match near.max_by(|a, b| a.1.total_cmp(&b.1)) {
            Some((other, weight)) if weight > 0.0 => Reason::SimilarTo { item: other },
            _ => Reason::Popular,
        }
    }

    fn save(&self) -> TensorFile {
        let mut file = recommender::new_file(NAME, &self.config);
        self.neighbours.save(&mut file);
        file
    }
}

/// The distinct items of a list, ascending.
pub(crate) fn distinct(items: &[ItemIdx]) -> Vec<u32> {
    let mut own: Vec<u32> = items.iter().map(|item| item.0).collect();
    own.sort_unstable();
    own.dedup();
    own
}

/// The baskets that hold each item; by item, padding included.
pub(crate) fn shoppers(baskets: &[Vec<u32>], items: usize) -> Vec<Vec<u32>> {
    let mut shoppers = vec![Vec::new(); items + 1];
    for (number, basket) in baskets.iter().enumerate() {
        basket.iter().for_each(|&item| shoppers[item as usize].push(number as u32));
    }
    shoppers
}

fn similar(item: usize, baskets: &[Vec<u32>], shoppers: &[Vec<u32>], config: &Config) -> Vec<Scored> {
    let mut meetings = vec![0_u32; shoppers.len()];
    let mut met = Vec::new();
    for &shopper in &shoppers[item] {
        for &other in &baskets[shopper as usize] {
            if meetings[other as usize] == 0 {
                met.push(other);
            }
            meetings[other as usize] += 1;
        }
    }
    let own = shoppers[item].len() as f32;
    let weigh = |other: u32| {
        let theirs = shoppers[other as usize].len() as f32;
        let score = meetings[other as usize] as f32 / ((own * theirs).sqrt() + config.shrinkage);
        Scored { item: ItemIdx(other), score }
    };
    met.into_iter().filter(|&other| other as usize != item).map(weigh).collect()
}
