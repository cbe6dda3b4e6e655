//! Text neighbours: what reads like what you bought, so that an item nobody has bought yet is found by its title.
//!
//! Each item has a vector of its title, made by a text model when this model is fitted and kept with it: answering needs
//! no text model. A history is the sum of its items' vectors, each with a weight that halves every
//! `history_half_life_days`; an item scores by the product of its own vector with that sum, or 0 where they point away
//! from each other. An item without a title scores 0. Vectors are made of length 1 first. Time of an answer:
//! O(items × width).
//!
//! Content-based filtering as in Pazzani and Billsus (The Adaptive Web, 2007, section 10.4), with sentence vectors in
//! the place of word counts.

use qhatu_nn::tensor_file::TensorFile;
use qhatu_nn::{Layout, matmul};
use qhatu_schema::ItemIdx;
use serde::{Deserialize, Serialize};

use crate::error::{ModelError, misfit};
use crate::interactions::Interactions;
pub use crate::item_sides::ItemVectors;
use crate::recommender::{self, History, Reason, Recommender, Scored, best_of, falling};

/// The name in settings and files.
pub const NAME: &str = "text_neighbours";

const VECTORS: &str = "vectors";

/// Hyper-parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Days after which a purchase of the history counts half; 0: it never fades.
    pub history_half_life_days: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { history_half_life_days: 60.0 }
    }
}

/// The fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct TextNeighbours {
    config: Config,
    items: usize,
    vectors: ItemVectors,
}

impl TextNeighbours {
    /// Keeps the vectors, made of length 1.
    ///
    /// # Errors
    /// Where they are not one for each item, or hold what is no finite number.
    pub fn fit(data: &Interactions, mut vectors: ItemVectors, config: &Config) -> Result<Self, ModelError> {
        vectors.check(NAME, data.items())?;
        vectors.normalize();
        Ok(Self { config: *config, items: data.items(), vectors })
    }

    /// Loads what [`Recommender::save`] gave.
    ///
    /// # Errors
    /// Where the file does not hold it.
    pub fn load(file: &TensorFile) -> Result<Self, ModelError> {
        let config = recommender::config(NAME, file)?;
        let values = file.f32(VECTORS)?.to_vec();
        let shape = file.tensors.get(VECTORS).map_or(&[][..], |tensor| &tensor.shape);
        let &[items, width] = shape else { return Err(misfit(NAME, "its vectors are no matrix")) };
        let vectors = ItemVectors { width, values };
        vectors.check(NAME, items)?;
        if vectors.values.iter().any(|value| value.abs() > 1.001) {
            return Err(misfit(NAME, "a vector is longer than 1"));
        }
        Ok(Self { config, items, vectors })
    }

    fn vector(&self, item: ItemIdx) -> &[f32] {
        let from = (item.row() - 1) * self.vectors.width;
        &self.vectors.values[from..from + self.vectors.width]
    }

    /// The product of each item's vector with `sum`, not below 0.
    fn against(&self, sum: &[f32], scores: &mut [f32]) {
        let width = self.vectors.width;
        let out = (&mut *scores, Layout::dense(self.items, 1));
        let vectors = (self.vectors.values.as_slice(), Layout::dense(self.items, width));
        matmul(out, 0.0, vectors, (sum, Layout::dense(width, 1)), 1.0);
        scores.iter_mut().for_each(|score| *score = score.max(0.0));
    }
}

fn product(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Recommender for TextNeighbours {
    fn name(&self) -> &'static str {
        NAME
    }

    fn catalogue_size(&self) -> usize {
        self.items
    }

    fn score(&self, history: &History, scores: &mut [f32]) {
        recommender::clear(scores, self.items);
        let mut sum = vec![0.0; self.vectors.width];
        for (item, time) in history.known(self.items) {
            let weight = recommender::faded(history.now, time, self.config.history_half_life_days);
            sum.iter_mut().zip(self.vector(item)).for_each(|(sum, value)| *sum += weight * value);
        }
        self.against(&sum, &mut scores[1..]);
    }

    fn similar_items(&self, item: ItemIdx, k: usize) -> Vec<Scored> {
        if !(1..=self.items).contains(&item.row()) {
            return Vec::new();
        }
        let mut scores = vec![0.0; self.items];
        self.against(self.vector(item), &mut scores);
        let scored = |(place, score): (usize, f32)| Scored { item: ItemIdx(place as u32 + 1), score };
        let all: Vec<Scored> = scores.into_iter().enumerate().map(scored).collect();
        let near: Vec<Scored> = all.into_iter().filter(|scored| scored.score > 0.0).collect();
        best_of(near.into_iter(), k, falling, |other| other.item == item)
    }

    fn because(&self, history: &History, item: ItemIdx) -> Reason {
        if !(1..=self.items).contains(&item.row()) {
            return Reason::Popular;
        }
        let near = history.known(self.items).map(|(other, time)| {
            let weight = recommender::faded(history.now, time, self.config.history_half_life_days);
            (other, weight * product(self.vector(other), self.vector(item)))
        });
        match near.max_by(|a, b| a.1.total_cmp(&b.1)) {
            Some((other, share)) if share > 0.0 => Reason::SimilarTo { item: other },
            _ => Reason::Popular,
        }
    }

    fn save(&self) -> TensorFile {
        let mut file = recommender::new_file(NAME, &self.config);
        file.put_f32(VECTORS, &[self.items, self.vectors.width], self.vectors.values.clone());
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interactions::{Purchase, Vocabulary};
    use qhatu_schema::ItemId;
    use std::sync::Arc;

    /// Items 1 and 2 read alike, 3 otherwise, 4 has no title; nobody bought 2.
    fn model() -> TextNeighbours {
        let names = (1..=4).map(|item| ItemId::new(format!("i{item}")).expect("not empty"));
        let lines = [1, 3, 4].map(|item| Purchase { time: 1, user: 0, order: item, item: ItemIdx(item) });
        let data = Interactions::from_purchases(Arc::new(Vocabulary::new(names)), &lines, 9);
        let values = vec![2.0, 0.0, 3.0, 1.0, -1.0, 5.0, 0.0, 0.0];
        TextNeighbours::fit(&data, ItemVectors { width: 2, values }, &Config::default()).unwrap()
    }

    #[test]
    fn an_item_that_nobody_bought_is_found_by_its_title() {
        let history = History::bought(&[ItemIdx(1)], &[1], 1);
        let mut scores = vec![0.0; 5];
        model().score(&history, &mut scores);
        assert!((scores[1] - 1.0).abs() < 1e-6 && (scores[2] - 0.9_f32.sqrt()).abs() < 1e-6);
        assert_eq!(scores[3..], [0.0, 0.0]);
        assert_eq!(model().because(&history, ItemIdx(2)), Reason::SimilarTo { item: ItemIdx(1) });
        assert_eq!(model().because(&history, ItemIdx(4)), Reason::Popular);
        let similar = model().similar_items(ItemIdx(1), 9);
        assert_eq!(similar.iter().map(|scored| scored.item).collect::<Vec<_>>(), [ItemIdx(2)]);
    }

    #[test]
    fn vectors_that_do_not_fit_the_catalogue_are_refused() {
        let data = Interactions::from_purchases(Arc::default(), &[], 0);
        let refused = |values: Vec<f32>| {
            let vectors = ItemVectors { width: 2, values };
            TextNeighbours::fit(&data, vectors, &Config::default()).err().map(|fault| fault.to_string())
        };
        assert!(refused(vec![1.0, 2.0]).is_some_and(|fault| fault.contains("0 vectors of 2")));
        assert_eq!(refused(Vec::new()), None);
    }
}
