//! [`crate::operation::embedding`] with its table.

use crate::operation::embedding;
use crate::parameters::{Initial, Parameters, Slot};
use crate::random::Stream;

/// Shape and first weights of an [`Embedding`]; names as PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EmbeddingConfig {
    /// Rows of the table (`vocab_size`, `max_position_embeddings`, `type_vocab_size` of a published `config.json`).
    pub num_embeddings: usize,
    /// Columns (`hidden_size`).
    pub embedding_dim: usize,
    /// Deviation of the first weights.
    pub initializer_range: f32,
}

/// A vector for each number; tensor `{name}.weight` (numbers × width).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Embedding {
    /// The table.
    pub weight: Slot,
    /// Columns.
    pub width: usize,
}

impl Embedding {
    /// Adds its tensor, normal.
    pub fn new(parameters: &mut Parameters, name: &str, config: EmbeddingConfig, stream: Stream) -> Self {
        let EmbeddingConfig { num_embeddings, embedding_dim: width, initializer_range } = config;
        let normal = Initial::Normal(initializer_range);
        let weight = parameters.add(format!("{name}.weight"), &[num_embeddings, width], normal, stream);
        Self { weight, width }
    }

    /// `y` (resized to ids × width): the vector of each id.
    ///
    /// # Panics
    /// For an id beyond the table.
    pub fn forward(&self, parameters: &[f32], ids: &[u32], y: &mut Vec<f32>) {
        y.resize(ids.len() * self.width, 0.0);
        embedding::forward(self.weight.of(parameters), ids, y, self.width);
    }

    /// Adds the vector of each id to `y` (ids × width).
    ///
    /// # Panics
    /// For an id beyond the table.
    pub fn add(&self, parameters: &[f32], ids: &[u32], y: &mut [f32]) {
        embedding::add(self.weight.of(parameters), ids, y, self.width);
    }

    /// Adds to the gradient of the table, from `d_y` (ids × width).
    ///
    /// # Panics
    /// For an id beyond the table.
    pub fn backward(&self, gradients: &mut [f32], ids: &[u32], d_y: &[f32]) {
        embedding::backward(d_y, ids, self.weight.of_mut(gradients), self.width);
    }
}
