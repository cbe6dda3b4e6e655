//! A transformer block: self-attention and feed-forward, each with a way around it (Vaswani et al.,
//! 2017).
//!
//! Layer norm stands behind the sum (`x ← norm(x + f(x))`, as in BERT) or before the layer
//! (`x ← x + f(norm(x))`, as in SASRec and GPT-2), by [`NormPlace`].

use crate::layer::{
    FeedForward, FeedForwardConfig, FeedForwardSaved, LayerNorm, LayerNormConfig, LayerNormSaved,
    SelfAttention, SelfAttentionConfig, SelfAttentionSaved,
};
use crate::operation::activation::Activation;
use crate::operation::attention::Pack;
use crate::operation::dropout::Dropout;
use crate::parameters::Parameters;
use crate::random::Stream;

/// Where layer norm stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormPlace {
    /// Before each layer.
    Before,
    /// Behind each sum.
    Behind,
}

/// A block's shape; names as in published `config.json` files.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockConfig {
    /// Columns.
    pub hidden_size: usize,
    /// Heads; must divide `hidden_size`.
    pub num_attention_heads: usize,
    /// Inner width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Its activation.
    pub hidden_act: Activation,
    /// ε of the layer norms.
    pub layer_norm_eps: f32,
    /// Deviation of the first weights.
    pub initializer_range: f32,
    /// Where layer norm stands.
    pub norm: NormPlace,
    /// Buckets of the bias of pairs; 0 for none.
    pub relative_attention_num_buckets: usize,
    /// Dropout of what each layer gives.
    pub hidden_dropout_prob: f32,
    /// Dropout of the attention's probabilities.
    pub attention_probs_dropout_prob: f32,
}

impl BlockConfig {
    fn attention(&self) -> SelfAttentionConfig {
        SelfAttentionConfig {
            hidden_size: self.hidden_size,
            num_attention_heads: self.num_attention_heads,
            attention_probs_dropout_prob: self.attention_probs_dropout_prob,
            relative_attention_num_buckets: self.relative_attention_num_buckets,
            initializer_range: self.initializer_range,
        }
    }

    fn feed_forward(&self) -> FeedForwardConfig {
        FeedForwardConfig {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            hidden_act: self.hidden_act,
            initializer_range: self.initializer_range,
        }
    }

    fn layer_norm(&self) -> LayerNormConfig {
        LayerNormConfig { hidden_size: self.hidden_size, layer_norm_eps: self.layer_norm_eps }
    }
}

/// A block; tensors `{name}.attention…`, `{name}.attention_norm`, `{name}.feed_forward…` and
/// `{name}.feed_forward_norm`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Self-attention.
    pub attention: SelfAttention,
    /// Its layer norm.
    pub attention_norm: LayerNorm,
    /// The feed-forward layer.
    pub feed_forward: FeedForward,
    /// Its layer norm.
    pub feed_forward_norm: LayerNorm,
    config: BlockConfig,
}

/// What the backward pass needs, and room to work; kept from step to step.
#[derive(Debug, Clone, Default)]
pub struct BlockSaved {
    /// The attention's, for who wants to see what was looked at.
    pub attention: SelfAttentionSaved,
    feed_forward: FeedForwardSaved,
    norms: [LayerNormSaved; 2],
    /// What goes into each norm, what comes out, and what each layer gives.
    into_norm: [Vec<f32>; 2],
    normed: [Vec<f32>; 2],
    given: Vec<f32>,
    d_inner: Vec<f32>,
    d_other: Vec<f32>,
}

impl Block {
    /// Adds its tensors.
    pub fn new(parameters: &mut Parameters, name: &str, config: BlockConfig, stream: Stream) -> Self {
        let named = |part: &str| format!("{name}.{part}");
        let (attention, feed_forward, norm) =
            (config.attention(), config.feed_forward(), config.layer_norm());
        Self {
            attention: SelfAttention::new(parameters, &named("attention"), attention, stream),
            attention_norm: LayerNorm::new(parameters, &named("attention_norm"), norm),
            feed_forward: FeedForward::new(parameters, &named("feed_forward"), feed_forward, stream),
            feed_forward_norm: LayerNorm::new(parameters, &named("feed_forward_norm"), norm),
            config,
        }
    }

    /// `y` (resized) from `x`, both tokens × hidden size. `training` gives the random numbers of dropout;
    /// without it nothing is dropped.
    pub fn forward(
        &self,
        parameters: &[f32],
        (pack, training): (Pack, Option<Stream>),
        x: &[f32],
        y: &mut Vec<f32>,
        saved: &mut BlockSaved,
    ) {
        let [first, second] = self.dropouts(training);
        let BlockSaved { attention, feed_forward, norms: [norm, other_norm], .. } = saved;
        let ([into, other_into], [normed, other_normed]) = (&mut saved.into_norm, &mut saved.normed);
        let given = &mut saved.given;
        match self.config.norm {
            NormPlace::Before => {
                self.attention_norm.forward(parameters, x, normed, norm);
                self.attention.forward(parameters, (pack, looking(training)), normed, other_into, attention);
                drop_and_add(other_into, x, first);
                self.feed_forward_norm.forward(parameters, other_into, other_normed, other_norm);
                self.feed_forward.forward(parameters, other_normed, y, feed_forward);
                drop_and_add(y, other_into, second);
            }
            NormPlace::Behind => {
                self.attention.forward(parameters, (pack, looking(training)), x, into, attention);
                drop_and_add(into, x, first);
                self.attention_norm.forward(parameters, into, given, norm);
                self.feed_forward.forward(parameters, given, other_into, feed_forward);
                drop_and_add(other_into, given, second);
                self.feed_forward_norm.forward(parameters, other_into, y, other_norm);
            }
        }
    }

    /// Adds to the gradients of its parameters; `d` becomes the gradient of `x` from that of `y`. Pack,
    /// `training` and `x` are those of the forward pass.
    pub fn backward(
        &self,
        (parameters, gradients): (&[f32], &mut [f32]),
        (pack, training): (Pack, Option<Stream>),
        x: &[f32],
        d: &mut Vec<f32>,
        saved: &mut BlockSaved,
    ) {
        match self.config.norm {
            NormPlace::Before => self.backward_before((parameters, gradients), (pack, training), x, d, saved),
            NormPlace::Behind => self.backward_behind((parameters, gradients), (pack, training), x, d, saved),
        }
    }

    fn backward_before(
        &self,
        (parameters, gradients): (&[f32], &mut [f32]),
        (pack, training): (Pack, Option<Stream>),
        x: &[f32],
        d: &mut [f32],
        saved: &mut BlockSaved,
    ) {
        let [first, second] = self.dropouts(training);
        let BlockSaved { attention, feed_forward, norms, into_norm, normed, given, d_inner, d_other } = saved;
        copy_and_drop(d, second, given);
        let input = (normed[1].as_slice(), feed_forward);
        self.feed_forward.backward(parameters, gradients, input, given, d_inner);
        let input = (into_norm[1].as_slice(), &norms[1]);
        self.feed_forward_norm.backward(parameters, gradients, input, d_inner, d_other);
        add(d, d_other);
        copy_and_drop(d, first, given);
        let input = (normed[0].as_slice(), attention);
        self.attention.backward((parameters, gradients), (pack, looking(training)), input, given, d_inner);
        self.attention_norm.backward(parameters, gradients, (x, &norms[0]), d_inner, d_other);
        add(d, d_other);
    }

    fn backward_behind(
        &self,
        (parameters, gradients): (&[f32], &mut [f32]),
        (pack, training): (Pack, Option<Stream>),
        x: &[f32],
        d: &mut Vec<f32>,
        saved: &mut BlockSaved,
    ) {
        let [first, second] = self.dropouts(training);
        let BlockSaved { attention, feed_forward, norms, into_norm, normed, given, d_inner, d_other } = saved;
        let input = (into_norm[1].as_slice(), &norms[1]);
        self.feed_forward_norm.backward(parameters, gradients, input, d, d_other);
        copy_and_drop(d_other, second, &mut normed[0]);
        let input = (given.as_slice(), feed_forward);
        self.feed_forward.backward(parameters, gradients, input, &normed[0], d_inner);
        add(d_other, d_inner);
        let input = (into_norm[0].as_slice(), &norms[0]);
        self.attention_norm.backward(parameters, gradients, input, d_other, d);
        copy_and_drop(d, first, &mut normed[0]);
        let input = (x, attention);
        self.attention.backward(
            (parameters, gradients),
            (pack, looking(training)),
            input,
            &normed[0],
            d_inner,
        );
        add(d, d_inner);
    }

    /// Where layer norm stands.
    pub(crate) fn norm_place(&self) -> NormPlace {
        self.config.norm
    }

    /// Dropout of what attention gives, and of what the feed-forward layer gives.
    fn dropouts(&self, training: Option<Stream>) -> [Option<Dropout>; 2] {
        let of = |number| {
            Dropout::of(self.config.hidden_dropout_prob, training.map(|stream| stream.child(number)))
        };
        [of(1), of(2)]
    }
}

/// Where attention has its random numbers from.
fn looking(training: Option<Stream>) -> Option<Stream> {
    training.map(|stream| stream.child(0))
}

pub(super) fn add(to: &mut [f32], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

/// Dropout of `values`, then the way around is added.
fn drop_and_add(values: &mut [f32], around: &[f32], dropout: Option<Dropout>) {
    if let Some(dropout) = dropout {
        dropout.apply(values);
    }
    add(values, around);
}

/// `to` becomes the gradient before dropout.
fn copy_and_drop(from: &[f32], dropout: Option<Dropout>, to: &mut Vec<f32>) {
    to.clear();
    to.extend_from_slice(from);
    if let Some(dropout) = dropout {
        dropout.apply(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::tests::numbers;
    use crate::operation::attention::{Mask, Pairs};

    const WIDTH: usize = 6;
    const STARTS: &[usize] = &[0, 1, 5];

    fn config(norm: NormPlace, dropout: f32) -> BlockConfig {
        BlockConfig {
            hidden_size: WIDTH,
            num_attention_heads: 2,
            intermediate_size: 10,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-5,
            initializer_range: 0.4,
            norm,
            relative_attention_num_buckets: 3,
            hidden_dropout_prob: dropout,
            attention_probs_dropout_prob: dropout,
        }
    }

    /// Every parameter and input against central differences of the forward pass: f32, so the steps are
    /// large and the tolerance is wide; the operations themselves are checked in f64.
    #[test]
    fn gradients_are_those_of_finite_differences_with_and_without_dropout() {
        let bucket: Vec<u8> = (0..17).map(|pair| pair % 3).collect();
        let pairs = Some(Pairs { bucket: &bucket, buckets: 3 });
        let pack = Pack { starts: STARTS, mask: Mask::Causal, pairs };
        for norm in [NormPlace::Before, NormPlace::Behind] {
            for dropout in [0.0, 0.3] {
                check(&config(norm, dropout), pack, Some(Stream::new(5)));
            }
        }
    }

    fn check(config: &BlockConfig, pack: Pack, training: Option<Stream>) {
        let mut parameters = Parameters::default();
        let block = Block::new(&mut parameters, "block", *config, Stream::new(1));
        let x = numbers(5 * WIDTH, 1);
        let d_y = numbers(5 * WIDTH, 2);
        let loss = |parameters: &[f32], x: &[f32]| {
            let (mut y, mut saved) = (Vec::new(), BlockSaved::default());
            block.forward(parameters, (pack, training), x, &mut y, &mut saved);
            y.iter().zip(&d_y).map(|(y, d)| f64::from(*y) * f64::from(*d)).sum::<f64>()
        };
        let (mut y, mut saved, mut d) = (Vec::new(), BlockSaved::default(), d_y.clone());
        let mut gradients = vec![0.0; parameters.len()];
        block.forward(parameters.values(), (pack, training), &x, &mut y, &mut saved);
        block.backward((parameters.values(), &mut gradients), (pack, training), &x, &mut d, &mut saved);
        let near = |numbers: &[f32], place: usize, step: f32| {
            let mut near = numbers.to_vec();
            near[place] += step;
            near
        };
        let h = 4e-3;
        for (place, found) in gradients.iter().enumerate() {
            let at = |step: f32| loss(&near(parameters.values(), place, step), &x);
            let want = (at(h) - at(-h)) / f64::from(2.0 * h);
            let gap = (f64::from(*found) - want).abs();
            assert!(gap < 4e-3 * want.abs().max(1.0), "{config:?} parameter {place}: {} {want}", found);
        }
        for (place, found) in d.iter().enumerate() {
            let at = |step: f32| loss(parameters.values(), &near(&x, place, step));
            let want = (at(h) - at(-h)) / f64::from(2.0 * h);
            assert!(
                (f64::from(*found) - want).abs() < 4e-3 * want.abs().max(1.0),
                "input {place}: {} {want}",
                found
            );
        }
    }
}
