//! Sparse rows: for each item a list of others with a weight, as item-kNN and Markov models keep them.

use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::ItemIdx;

use crate::error::{ModelError, misfit};
use crate::recommender::{Scored, falling};

/// Compressed sparse rows over a catalogue; row 0 (padding) is empty.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Neighbours {
    starts: Vec<u32>,
    items: Vec<u32>,
    weights: Vec<f32>,
}

impl Neighbours {
    /// From a row per item (the first for item 1), each cut to its `keep` largest weights.
    pub(crate) fn from_rows(rows: Vec<Vec<Scored>>, keep: usize) -> Self {
        let mut own = Self { starts: vec![0, 0], items: Vec::new(), weights: Vec::new() };
        for mut row in rows {
            row.sort_unstable_by(falling);
            row.truncate(keep);
            own.items.extend(row.iter().map(|scored| scored.item.0));
            own.weights.extend(row.iter().map(|scored| scored.score));
            own.starts.push(own.items.len() as u32);
        }
        own
    }

    /// How many items there are.
    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 2
    }

    /// The row of an item, largest weight first; empty for one that is not known.
    pub(crate) fn row(&self, item: ItemIdx) -> impl Iterator<Item = Scored> + '_ {
        let place = item.row();
        let range = match (self.starts.get(place), self.starts.get(place + 1)) {
            (Some(&start), Some(&end)) => start as usize..end as usize,
            _ => 0..0,
        };
        let pairs = self.items[range.clone()].iter().zip(&self.weights[range]);
        pairs.map(|(&item, &score)| Scored { item: ItemIdx(item), score })
    }

    /// The weight from one item to another; 0 where there is none.
    pub(crate) fn weight(&self, from: ItemIdx, to: ItemIdx) -> f32 {
        self.row(from).find(|scored| scored.item == to).map_or(0.0, |scored| scored.score)
    }

    pub(crate) fn save(&self, file: &mut TensorFile) {
        file.put_u32("starts", &[self.starts.len()], self.starts.clone());
        file.put_u32("items", &[self.items.len()], self.items.clone());
        file.put_f32("weights", &[self.weights.len()], self.weights.clone());
    }

    pub(crate) fn load(model: &'static str, file: &TensorFile) -> Result<Self, ModelError> {
        let own = Self {
            starts: file.u32("starts")?.to_vec(),
            items: file.u32("items")?.to_vec(),
            weights: file.f32("weights")?.to_vec(),
        };
        let rising = own.starts.windows(2).all(|pair| pair[0] <= pair[1]);
        let ends = own.starts.first() == Some(&0) && own.starts.last() == Some(&(own.items.len() as u32));
        if own.starts.len() < 2 || !rising || !ends || own.items.len() != own.weights.len() {
            return Err(misfit(model, "its sparse rows do not fit together"));
        }
        let size = own.len() as u32;
        if own.items.iter().any(|item| !(1..=size).contains(item))
            || own.weights.iter().any(|w| !w.is_finite())
        {
            return Err(misfit(model, "an entry lies outside the catalogue or is no number"));
        }
        Ok(own)
    }
}
