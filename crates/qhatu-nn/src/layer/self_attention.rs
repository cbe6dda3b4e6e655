//! Self-attention layer: one linear map for queries, keys and values of all heads, attention over the
//! pack, and a linear map of what came of it (Vaswani et al., 2017, section 3.2).

use crate::layer::{Linear, LinearConfig};
use crate::operation::attention::{Attention, Pack, Saved};
use crate::operation::dropout::Dropout;
use crate::parameters::{Initial, Parameters, Slot};
use crate::random::Stream;

/// Shape, first weights and dropout of a [`SelfAttention`] layer; names as in published `config.json` files.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SelfAttentionConfig {
    /// Columns.
    pub hidden_size: usize,
    /// Heads; must divide `hidden_size`.
    pub num_attention_heads: usize,
    /// Dropout of the probabilities.
    pub attention_probs_dropout_prob: f32,
    /// Buckets of the bias of pairs (Raffel et al., 2020, section 2.1); 0 for none.
    pub relative_attention_num_buckets: usize,
    /// Deviation of the first weights.
    pub initializer_range: f32,
}

/// Tensors `{name}.qkv` (queries, keys and values one behind another), `{name}.output`, and
/// `{name}.bias_table` (heads × buckets) where pairs have a bias.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SelfAttention {
    /// Queries, keys and values.
    pub qkv: Linear,
    /// The map of the result.
    pub output: Linear,
    /// The bias of pairs.
    pub bias: Option<Slot>,
    /// How many heads.
    pub heads: usize,
    /// Dropout of the probabilities.
    dropout: f32,
}

/// What the backward pass needs, and room to work.
#[derive(Debug, Clone, Default)]
pub struct SelfAttentionSaved {
    qkv: Vec<f32>,
    mixed: Vec<f32>,
    attention: Saved,
    d_qkv: Vec<f32>,
    d_mixed: Vec<f32>,
}

impl SelfAttentionSaved {
    /// What the last forward pass looked at: see [`Saved::probabilities`].
    pub fn probabilities(&self) -> &[f32] {
        self.attention.probabilities()
    }
}

impl SelfAttention {
    /// Adds its tensors.
    pub fn new(parameters: &mut Parameters, name: &str, config: SelfAttentionConfig, stream: Stream) -> Self {
        let SelfAttentionConfig { hidden_size, num_attention_heads: heads, initializer_range, .. } = config;
        let mut linear = |part: &str, out_features| {
            let config = LinearConfig { in_features: hidden_size, out_features, initializer_range };
            Linear::new(parameters, &format!("{name}.{part}"), config, stream)
        };
        let (qkv, output) = (linear("qkv", 3 * hidden_size), linear("output", hidden_size));
        let buckets = config.relative_attention_num_buckets;
        let shape = [heads, buckets];
        let bias = (buckets > 0)
            .then(|| parameters.add(format!("{name}.bias_table"), &shape, Initial::Constant(0.0), stream));
        Self { qkv, output, bias, heads, dropout: config.attention_probs_dropout_prob }
    }

    /// `y` (resized) from `x`, both tokens × width. `training` gives the random numbers of dropout; without it
    /// nothing is dropped.
    pub fn forward(
        &self,
        parameters: &[f32],
        (pack, training): (Pack, Option<Stream>),
        x: &[f32],
        y: &mut Vec<f32>,
        saved: &mut SelfAttentionSaved,
    ) {
        self.qkv.forward(parameters, x, &mut saved.qkv);
        saved.mixed.resize(x.len(), 0.0);
        self.attention(parameters, pack, training).forward(
            &saved.qkv,
            &mut saved.mixed,
            &mut saved.attention,
        );
        self.output.forward(parameters, &saved.mixed, y);
    }

    /// Adds to the gradients of its parameters; `d_x` (resized) from `d_y`. `input` is that of the
    /// forward pass with what it saved; pack and `training` are the same.
    pub fn backward(
        &self,
        (parameters, gradients): (&[f32], &mut [f32]),
        (pack, training): (Pack, Option<Stream>),
        (x, saved): (&[f32], &mut SelfAttentionSaved),
        d_y: &[f32],
        d_x: &mut Vec<f32>,
    ) {
        self.output.backward(parameters, gradients, &saved.mixed, d_y, &mut saved.d_mixed);
        saved.d_qkv.resize(saved.qkv.len(), 0.0);
        let d_bias = self.bias.map(|slot| slot.of_mut(gradients));
        self.attention(parameters, pack, training).backward(
            &saved.qkv,
            &saved.d_mixed,
            &mut saved.d_qkv,
            &mut saved.attention,
            d_bias,
        );
        self.qkv.backward(parameters, gradients, x, &saved.d_qkv, d_x);
    }

    fn attention<'a>(
        &self,
        parameters: &'a [f32],
        pack: Pack<'a>,
        training: Option<Stream>,
    ) -> Attention<'a> {
        Attention {
            pack,
            heads: self.heads,
            head_size: self.qkv.widths.inputs / self.heads.max(1),
            bias: self.bias.map(|slot| slot.of(parameters)),
            dropout: Dropout::of(self.dropout, training),
        }
    }
}
