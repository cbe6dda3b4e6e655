//! Self-attention layer: one linear map for queries, keys and values of all heads, attention over the
//! pack, and a linear map of what came of it.

use crate::layer::Linear;
use crate::operation::attention::{Attention, Pack, Saved};
use crate::operation::dropout::Dropout;
use crate::operation::linear::Widths;
use crate::parameters::{Initial, Parameters, Slot};
use crate::random::Stream;

/// Tensors `{name}.qkv` (queries, keys and values one behind another), `{name}.output`, and
/// `{name}.bias_table` (heads × buckets) where pairs have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelfAttention {
    /// Queries, keys and values.
    pub qkv: Linear,
    /// The map of the result.
    pub output: Linear,
    /// The bias of pairs.
    pub bias: Option<Slot>,
    /// How many heads.
    pub heads: usize,
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
    /// Adds its tensors: `width` columns, `heads` heads, `buckets` of pairs (0: no bias).
    pub fn new(
        parameters: &mut Parameters,
        name: &str,
        (width, heads): (usize, usize),
        buckets: usize,
        (deviation, stream): (f32, Stream),
    ) -> Self {
        let to = |outputs| Widths { inputs: width, outputs };
        let qkv = Linear::new(parameters, &format!("{name}.qkv"), to(3 * width), deviation, stream);
        let output = Linear::new(parameters, &format!("{name}.output"), to(width), deviation, stream);
        let shape = [heads, buckets];
        let bias = (buckets > 0)
            .then(|| parameters.add(format!("{name}.bias_table"), &shape, Initial::Constant(0.0), stream));
        Self { qkv, output, bias, heads }
    }

    /// `y` (resized) from `x`, both tokens × width.
    pub fn forward(
        &self,
        parameters: &[f32],
        (pack, dropout): (Pack, Option<Dropout>),
        x: &[f32],
        y: &mut Vec<f32>,
        saved: &mut SelfAttentionSaved,
    ) {
        self.qkv.forward(parameters, x, &mut saved.qkv);
        saved.mixed.resize(x.len(), 0.0);
        self.attention(parameters, pack, dropout).forward(&saved.qkv, &mut saved.mixed, &mut saved.attention);
        self.output.forward(parameters, &saved.mixed, y);
    }

    /// Adds to the gradients of its parameters; `d_x` (resized) from `d_y`. `input` is that of the
    /// forward pass with what it saved; pack and dropout are the same.
    pub fn backward(
        &self,
        (parameters, gradients): (&[f32], &mut [f32]),
        (pack, dropout): (Pack, Option<Dropout>),
        (x, saved): (&[f32], &mut SelfAttentionSaved),
        d_y: &[f32],
        d_x: &mut Vec<f32>,
    ) {
        self.output.backward(parameters, gradients, &saved.mixed, d_y, &mut saved.d_mixed);
        saved.d_qkv.resize(saved.qkv.len(), 0.0);
        let d_bias = self.bias.map(|slot| slot.of_mut(gradients));
        self.attention(parameters, pack, dropout).backward(
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
        dropout: Option<Dropout>,
    ) -> Attention<'a> {
        Attention {
            pack,
            heads: self.heads,
            head_size: self.qkv.widths.inputs / self.heads.max(1),
            bias: self.bias.map(|slot| slot.of(parameters)),
            dropout,
        }
    }
}
