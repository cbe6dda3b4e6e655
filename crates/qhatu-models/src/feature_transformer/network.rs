//! Tokens of the features, transformer blocks, and the reading token's last state as one logit; forward and backward.

use qhatu_nn::layer::{
    Block, BlockConfig, BlockSaved, LayerNorm, LayerNormConfig, LayerNormSaved, Linear, LinearConfig,
    NormPlace,
};
use qhatu_nn::operation::activation::Activation;
use qhatu_nn::operation::attention::Pack;
use qhatu_nn::operation::dropout::Dropout;
use qhatu_nn::{Initial, Parameters, Slot, Stream};

use super::Config;
use super::tokens::{Tokenizer, Tokens};

const EPSILON: f32 = 1e-5;

/// Where the parameters are.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Network {
    table: Slot,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
    /// Tokens of a row.
    tokens: usize,
    width: usize,
    dropout: f32,
}

/// What a pass needs, kept from step to step.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// The rows.
    pub(super) tokens: Tokens,
    /// One a row.
    pub(super) logits: Vec<f32>,
    /// The loss's gradient of each.
    pub(super) d_logits: Vec<f32>,
    /// Gradients of all parameters.
    pub(super) gradients: Vec<f32>,
    /// Gradients of the tokens' vectors, after the backward pass.
    pub(super) d: Vec<f32>,
    starts: Vec<usize>,
    /// What goes into each block, and what comes out of the last one.
    states: Vec<Vec<f32>>,
    saved: Vec<BlockSaved>,
    read: Vec<f32>,
    normed: Vec<f32>,
    norm: LayerNormSaved,
    d_normed: Vec<f32>,
    d_read: Vec<f32>,
}

impl Space {
    /// Forgets the rows.
    pub(super) fn clear(&mut self) {
        self.tokens.clear();
    }
}

impl Network {
    /// The network of a configuration and its first parameters.
    pub(super) fn new(config: &Config, tokenizer: &Tokenizer, stream: Stream) -> (Self, Parameters) {
        let mut parameters = Parameters::default();
        let width = config.hidden_size;
        let deviation = (1.0 / width as f32).sqrt();
        let shape = [tokenizer.rows(), width];
        let table = parameters.add("tokens.weight", &shape, Initial::Normal(deviation), stream);
        let block = BlockConfig {
            hidden_size: width,
            num_attention_heads: config.num_attention_heads,
            intermediate_size: config.intermediate_size,
            hidden_act: Activation::Gelu,
            layer_norm_eps: EPSILON,
            initializer_range: deviation,
            norm: NormPlace::Before,
            relative_attention_num_buckets: 0,
            hidden_dropout_prob: config.hidden_dropout_prob,
            attention_probs_dropout_prob: config.attention_probs_dropout_prob,
        };
        let mut add = |number| Block::new(&mut parameters, &format!("blocks.{number}"), block, stream);
        let blocks = (0..config.num_hidden_layers).map(&mut add).collect();
        let norm = LayerNormConfig { hidden_size: width, layer_norm_eps: EPSILON };
        let norm = LayerNorm::new(&mut parameters, "norm", norm);
        let head = LinearConfig { in_features: width, out_features: 1, initializer_range: deviation };
        let head = Linear::new(&mut parameters, "head", head, stream);
        let tokens = tokenizer.tokens() + 1;
        let dropout = config.hidden_dropout_prob;
        (Self { table, blocks, norm, head, tokens, width, dropout }, parameters)
    }

    /// The logit of each row of `space.tokens`, into `space.logits`.
    pub(super) fn forward(&self, parameters: &[f32], training: Option<Stream>, space: &mut Space) {
        let Space { tokens, logits, starts, states, saved, read, normed, norm, .. } = space;
        starts.clear();
        starts.extend((0..=tokens.len()).step_by(self.tokens));
        states.resize_with(self.blocks.len() + 1, Vec::new);
        saved.resize_with(self.blocks.len(), BlockSaved::default);
        tokens.forward(self.table.of(parameters), &mut states[0], self.width);
        if let Some(dropout) = self.input_dropout(training) {
            dropout.apply(&mut states[0]);
        }
        let pack = Pack::bidirectional(starts);
        for (number, block) in self.blocks.iter().enumerate() {
            let (before, behind) = states.split_at_mut(number + 1);
            let context = (pack, training.map(|stream| stream.child(number as u64)));
            block.forward(parameters, context, &before[number], &mut behind[0], &mut saved[number]);
        }
        read.clear();
        let rows = states[self.blocks.len()].chunks_exact(self.tokens * self.width);
        rows.for_each(|row| read.extend_from_slice(&row[..self.width]));
        self.norm.forward(parameters, read, normed, norm);
        self.head.forward(parameters, normed, logits);
    }

    /// Adds to `space.gradients` what `space.d_logits` mean for the parameters; leaves the tokens' own in `space.d`.
    pub(super) fn backward(&self, parameters: &[f32], training: Option<Stream>, space: &mut Space) {
        let Space { tokens, d_logits, gradients, d, starts, states, saved, read, normed, norm, .. } = space;
        let (d_normed, d_read) = (&mut space.d_normed, &mut space.d_read);
        self.head.backward(parameters, gradients, normed, d_logits, d_normed);
        self.norm.backward(parameters, gradients, (read, norm), d_normed, d_read);
        d.clear();
        d.resize(tokens.len() * self.width, 0.0);
        for (row, from) in d.chunks_exact_mut(self.tokens * self.width).zip(d_read.chunks_exact(self.width)) {
            row[..self.width].copy_from_slice(from);
        }
        let pack = Pack::bidirectional(starts);
        for (number, block) in self.blocks.iter().enumerate().rev() {
            let context = (pack, training.map(|stream| stream.child(number as u64)));
            block.backward((parameters, gradients), context, &states[number], d, &mut saved[number]);
        }
        if let Some(dropout) = self.input_dropout(training) {
            dropout.apply(d);
        }
        tokens.backward(d, self.table.of_mut(gradients), self.width);
    }

    fn input_dropout(&self, training: Option<Stream>) -> Option<Dropout> {
        Dropout::of(self.dropout, training.map(|stream| stream.child(u64::MAX)))
    }

    /// The tokens' vectors as they go into the first block.
    pub(super) fn inputs<'s>(&self, space: &'s Space) -> &'s [f32] {
        &space.states[0]
    }
}
