//! What reads the tokens: transformer blocks or recurrent cells, forward and backward over a pack.

use qhatu_nn::layer::{Block, BlockConfig, BlockSaved, NormPlace, Recurrent, RecurrentConfig};
use qhatu_nn::operation::activation::Activation;
use qhatu_nn::operation::attention::Pack;
use qhatu_nn::operation::dropout::Dropout;
use qhatu_nn::operation::recurrent::{self, Steps};
use qhatu_nn::{Parameters, Stream};

use super::example::BUCKETS;
use super::network::{DEVIATION, EPSILON};
use super::settings::{self, Settings};

/// Layers, one above another.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Encoder {
    Attention(Vec<Block>),
    Recurrent(Vec<Recurrent>, f32),
}

/// What the backward pass needs, and room to work; kept from step to step.
#[derive(Debug, Default)]
pub(super) struct Saved {
    /// What goes into each layer, and what comes out of the last one.
    pub(super) states: Vec<Vec<f32>>,
    blocks: Vec<BlockSaved>,
    cells: Vec<recurrent::Saved>,
    steps: Steps,
    d_below: Vec<f32>,
}

impl Encoder {
    /// Adds the tensors: `blocks.N…` or `cells.N…`.
    pub(super) fn new(parameters: &mut Parameters, settings: &Settings, stream: Stream) -> Self {
        match settings.encoder {
            settings::Encoder::Attention { layers, heads, intermediate_size, dropout, .. } => {
                let config = BlockConfig {
                    hidden_size: settings.hidden_size,
                    num_attention_heads: heads,
                    intermediate_size,
                    hidden_act: Activation::Gelu,
                    layer_norm_eps: EPSILON,
                    initializer_range: DEVIATION,
                    norm: NormPlace::Before,
                    relative_attention_num_buckets: BUCKETS,
                    hidden_dropout_prob: settings.hidden_dropout_prob,
                    attention_probs_dropout_prob: dropout,
                };
                let block = |number| Block::new(parameters, &format!("blocks.{number}"), config, stream);
                Self::Attention((0..layers).map(block).collect())
            }
            settings::Encoder::Recurrent { cell, layers } => {
                let width = settings.hidden_size;
                // As wide as PyTorch's uniform numbers of ±1 ⁄ √width.
                let initializer_range = (1.0 / (3.0 * width as f32)).sqrt();
                let config =
                    RecurrentConfig { cell, input_size: width, hidden_size: width, initializer_range };
                let layer = |number| Recurrent::new(parameters, &format!("cells.{number}"), config, stream);
                Self::Recurrent((0..layers).map(layer).collect(), settings.hidden_dropout_prob)
            }
        }
    }

    fn layers(&self) -> usize {
        match self {
            Self::Attention(blocks) => blocks.len(),
            Self::Recurrent(cells, _) => cells.len(),
        }
    }

    /// The states behind the last layer, from what stands in `saved.states[0]`.
    pub(super) fn forward<'s>(
        &self,
        parameters: &[f32],
        (pack, training): (Pack, Option<Stream>),
        saved: &'s mut Saved,
    ) -> &'s [f32] {
        let layers = self.layers();
        saved.states.resize_with(layers + 1, Vec::new);
        match self {
            Self::Attention(blocks) => {
                saved.blocks.resize_with(layers, BlockSaved::default);
                for (number, block) in blocks.iter().enumerate() {
                    let (before, behind) = saved.states.split_at_mut(number + 1);
                    let context = (pack, training.map(|stream| stream.child(number as u64)));
                    let kept = &mut saved.blocks[number];
                    block.forward(parameters, context, &before[number], &mut behind[0], kept);
                }
            }
            Self::Recurrent(cells, rate) => {
                saved.cells.resize_with(layers, recurrent::Saved::default);
                saved.steps = Steps::new(pack.starts);
                for (number, cell) in cells.iter().enumerate() {
                    let (before, behind) = saved.states.split_at_mut(number + 1);
                    let kept = &mut saved.cells[number];
                    cell.forward(parameters, &saved.steps, &before[number], &mut behind[0], kept);
                    if let Some(dropout) = dropout(*rate, training, number) {
                        dropout.apply(&mut behind[0]);
                    }
                }
            }
        }
        &saved.states[layers]
    }

    /// Adds to the gradients of the parameters; `d`, the gradient of the last states, becomes that of the first.
    pub(super) fn backward(
        &self,
        (parameters, gradients): (&[f32], &mut [f32]),
        (pack, training): (Pack, Option<Stream>),
        d: &mut Vec<f32>,
        saved: &mut Saved,
    ) {
        match self {
            Self::Attention(blocks) => {
                for (number, block) in blocks.iter().enumerate().rev() {
                    let context = (pack, training.map(|stream| stream.child(number as u64)));
                    let kept = &mut saved.blocks[number];
                    block.backward((parameters, gradients), context, &saved.states[number], d, kept);
                }
            }
            Self::Recurrent(cells, rate) => {
                for (number, cell) in cells.iter().enumerate().rev() {
                    if let Some(dropout) = dropout(*rate, training, number) {
                        dropout.apply(d);
                    }
                    let kept = &mut saved.cells[number];
                    cell.backward((parameters, gradients), &saved.steps, d, &mut saved.d_below, kept);
                    std::mem::swap(d, &mut saved.d_below);
                }
            }
        }
    }
}

/// Dropout of what a recurrent layer gives.
fn dropout(rate: f32, training: Option<Stream>, number: usize) -> Option<Dropout> {
    Dropout::of(rate, training.map(|stream| stream.child(number as u64)))
}
