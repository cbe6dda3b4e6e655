//! The last transformer block of a model that is asked for one token of one sequence: the last one, which sees all.
//!
//! Keys and values of all tokens are needed, and nothing else of any but the last. The same numbers as [`Block`] gives
//! that token without dropout, up to the order of sums.

use crate::kernel::softmax::softmax;
use crate::kernel::{Layout, Team, matmul};
use crate::layer::block::{NormPlace, add};
use crate::layer::{Block, FeedForwardSaved, LayerNormSaved, PackedLinear, PackedLinearRoom, Precision};
use crate::operation::attention::Pairs;
use crate::operation::linear::backward_input;

/// A block with its weights for keys and values laid out apart from those for queries.
#[derive(Debug, Clone)]
pub struct LastBlock {
    query: PackedLinear,
    keys_values: PackedLinear,
    block: Block,
}

/// Room to work, kept from call to call, and what was looked at.
#[derive(Debug, Clone, Default)]
pub struct LastBlockRoom {
    normed: Vec<f32>,
    query: Vec<f32>,
    keys_values: Vec<f32>,
    /// Heads × tokens.
    probabilities: Vec<f32>,
    mixed: Vec<f32>,
    /// The last token behind attention.
    into_norm: Vec<f32>,
    last: Vec<f32>,
    norms: [LayerNormSaved; 2],
    feed_forward: FeedForwardSaved,
    linear: PackedLinearRoom,
    d: [Vec<f32>; 3],
}

impl LastBlock {
    /// Lays out a block's weights; nothing for one whose norms stand behind the sums.
    pub fn new(block: &Block, parameters: &[f32]) -> Option<Self> {
        let (qkv, width) = (&block.attention.qkv, block.attention.qkv.widths.inputs);
        let part = |outputs| PackedLinear::part(qkv, parameters, outputs, Precision::F32);
        let own = Self { query: part(0..width), keys_values: part(width..3 * width), block: *block };
        (block.norm_place() == NormPlace::Before).then_some(own)
    }

    fn width(&self) -> usize {
        self.block.attention.qkv.widths.inputs
    }

    /// Part (0 keys, 1 values) of a head in `keys_values`, tokens × head size.
    fn of_head(&self, tokens: usize, head: usize, part: usize) -> Layout {
        let (width, size) = (self.width(), self.width() / self.block.attention.heads);
        let offset = part * width + head * size;
        Layout { rows: tokens, columns: size, offset, row_stride: 2 * width, column_stride: 1 }
    }

    /// `y` (resized to the hidden size), what the block gives the last token, from `x` (tokens × hidden size). `pairs` are
    /// those of the one sequence. `parameters` are those that the weights were laid out from.
    ///
    /// # Panics
    /// Without a token.
    pub fn forward(
        &self,
        parameters: &[f32],
        pairs: Option<Pairs>,
        x: &[f32],
        y: &mut Vec<f32>,
        room: &mut LastBlockRoom,
    ) {
        let (width, block) = (self.width(), &self.block);
        block.attention_norm.forward(parameters, x, &mut room.normed, &mut room.norms[0]);
        let team = Team::alone();
        let last = &room.normed[x.len() - width..];
        self.query.forward(last, &mut room.query, &team, &mut room.linear);
        self.keys_values.forward(&room.normed, &mut room.keys_values, &team, &mut room.linear);
        self.attend(parameters, pairs, x.len() / width, room);
        block.attention.output.forward(parameters, &room.mixed, &mut room.into_norm);
        add(&mut room.into_norm, &x[x.len() - width..]);
        block.feed_forward_norm.forward(parameters, &room.into_norm, &mut room.last, &mut room.norms[1]);
        block.feed_forward.forward(parameters, &room.last, y, &mut room.feed_forward);
        add(y, &room.into_norm);
    }

    /// `room.mixed` from query, keys and values.
    fn attend(&self, parameters: &[f32], pairs: Option<Pairs>, tokens: usize, room: &mut LastBlockRoom) {
        let attention = &self.block.attention;
        let size = self.width() / attention.heads;
        room.probabilities.resize(attention.heads * tokens, 0.0);
        room.mixed.resize(self.width(), 0.0);
        let scale = 1.0 / (size as f32).sqrt();
        let row = Layout::dense(1, tokens);
        for head in 0..attention.heads {
            let probabilities = &mut room.probabilities[head * tokens..][..tokens];
            let query = (&room.query[head * size..][..size], Layout::dense(1, size));
            let keys = (&room.keys_values[..], self.of_head(tokens, head, 0).transposed());
            matmul((probabilities, row), 0.0, query, keys, scale);
            if let (Some(bias), Some(pairs)) = (attention.bias, pairs) {
                let table = &bias.of(parameters)[head * pairs.buckets..][..pairs.buckets];
                let buckets = &pairs.bucket[pairs.bucket.len() - tokens..];
                let biased = probabilities.iter_mut().zip(buckets);
                biased.for_each(|(score, bucket)| *score += table[usize::from(*bucket)]);
            }
            softmax(probabilities);
            let out = (&mut room.mixed[head * size..][..size], Layout::dense(1, size));
            let values = (&room.keys_values[..], self.of_head(tokens, head, 1));
            matmul(out, 0.0, (probabilities, row), values, 1.0);
        }
    }

    /// For each token what attention took from it in the last forward pass, times the gradient `d_y` of what the block
    /// gave: how much it said for what the gradient is of, with what was looked at held. `gradients`, as long as the
    /// parameters, is written to and means nothing.
    pub fn said(
        &self,
        parameters: &[f32],
        gradients: &mut [f32],
        d_y: &[f32],
        room: &mut LastBlockRoom,
    ) -> Vec<f32> {
        let block = &self.block;
        let [d_inner, d_sum, d_mixed] = &mut room.d;
        let input = (room.last.as_slice(), &mut room.feed_forward);
        block.feed_forward.backward(parameters, gradients, input, d_y, d_inner);
        let input = (room.into_norm.as_slice(), &room.norms[1]);
        block.feed_forward_norm.backward(parameters, gradients, input, d_inner, d_sum);
        add(d_sum, d_y);
        d_mixed.resize(self.width(), 0.0);
        let output = &block.attention.output;
        backward_input(d_sum, output.weight.of(parameters), d_mixed, output.widths);
        let (heads, size) = (block.attention.heads, self.width() / block.attention.heads);
        let tokens = room.probabilities.len() / heads;
        let mut said = vec![0.0; tokens];
        let mut of_head = vec![0.0; tokens];
        for head in 0..heads {
            let values = (&room.keys_values[..], self.of_head(tokens, head, 1));
            let d = (&d_mixed[head * size..][..size], Layout::dense(size, 1));
            matmul((&mut of_head, Layout::dense(tokens, 1)), 0.0, values, d, 1.0);
            let looked = &room.probabilities[head * tokens..][..tokens];
            let all = said.iter_mut().zip(&of_head).zip(looked);
            all.for_each(|((said, value), looked)| *said += looked * value);
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::tests::numbers;
    use crate::layer::{BlockConfig, BlockSaved};
    use crate::operation::activation::Activation;
    use crate::operation::attention::Pack;
    use crate::parameters::Parameters;
    use crate::random::Stream;

    const WIDTH: usize = 24;

    fn block(norm: NormPlace) -> (Parameters, Block) {
        let config = BlockConfig {
            hidden_size: WIDTH,
            num_attention_heads: 3,
            intermediate_size: 50,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-12,
            initializer_range: 0.2,
            norm,
            relative_attention_num_buckets: 4,
            hidden_dropout_prob: 0.5,
            attention_probs_dropout_prob: 0.5,
        };
        let mut parameters = Parameters::default();
        let block = Block::new(&mut parameters, "block", config, Stream::new(1));
        let bias = block.attention.bias.unwrap();
        bias.of_mut(parameters.values_mut()).copy_from_slice(&numbers(12, 4));
        (parameters, block)
    }

    #[test]
    fn the_same_numbers_as_the_block_gives_the_last_token() {
        let (parameters, block) = block(NormPlace::Before);
        let last = LastBlock::new(&block, parameters.values()).unwrap();
        let mut room = LastBlockRoom::default();
        for tokens in [1, 2, 19, 70] {
            let bucket: Vec<u8> = (0..tokens * tokens).map(|pair| (pair % 7 % 4) as u8).collect();
            let pairs = Some(Pairs { bucket: &bucket, buckets: 4 });
            let starts = [0, tokens];
            let x = numbers(tokens * WIDTH, 3);
            let (mut want, mut saved) = (Vec::new(), BlockSaved::default());
            let pack = Pack { pairs, ..Pack::causal(&starts) };
            block.forward(parameters.values(), (pack, None), &x, &mut want, &mut saved);
            let mut y = Vec::new();
            last.forward(parameters.values(), pairs, &x, &mut y, &mut room);
            let want = &want[(tokens - 1) * WIDTH..];
            let gap = y.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(gap < 1e-5, "{tokens}: {gap}");
        }
        assert!(LastBlock::new(&self::block(NormPlace::Behind).1, &[0.0; 20_000]).is_none());
    }

    /// What a token said is how the gradient's product changes when its values alone grow a little.
    #[test]
    fn what_tokens_said_is_the_slope_of_what_was_taken_from_them() {
        let (parameters, block) = block(NormPlace::Before);
        let last = LastBlock::new(&block, parameters.values()).unwrap();
        let (x, d) = (numbers(5 * WIDTH, 3), numbers(WIDTH, 5));
        let (mut room, mut y) = (LastBlockRoom::default(), Vec::new());
        last.forward(parameters.values(), None, &x, &mut y, &mut room);
        let said = last.said(parameters.values(), &mut vec![0.0; parameters.len()], &d, &mut room);
        let behind = |room: &mut LastBlockRoom| {
            let mut y = Vec::new();
            block.attention.output.forward(parameters.values(), &room.mixed, &mut room.into_norm);
            add(&mut room.into_norm, &x[4 * WIDTH..]);
            let norm = &block.feed_forward_norm;
            norm.forward(parameters.values(), &room.into_norm, &mut room.last, &mut room.norms[1]);
            block.feed_forward.forward(parameters.values(), &room.last, &mut y, &mut room.feed_forward);
            add(&mut y, &room.into_norm);
            y.iter().zip(&d).map(|(y, d)| f64::from(*y) * f64::from(*d)).sum::<f64>()
        };
        for (token, said) in said.iter().enumerate() {
            let at = |step: f32| {
                let mut room = room.clone();
                room.keys_values[token * 2 * WIDTH + WIDTH..][..WIDTH]
                    .iter_mut()
                    .for_each(|v| *v *= 1.0 + step);
                // The probabilities stay; only what is mixed of the values is computed again.
                for head in 0..3 {
                    let looked = &room.probabilities[head * 5..][..5];
                    let values = (&room.keys_values[..], last.of_head(5, head, 1));
                    let out = (&mut room.mixed[head * 8..][..8], Layout::dense(1, 8));
                    matmul(out, 0.0, (looked, Layout::dense(1, 5)), values, 1.0);
                }
                behind(&mut room)
            };
            let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
            assert!(
                (slope - f64::from(*said)).abs() < 2e-3 * slope.abs().max(1.0),
                "{token}: {said} {slope}"
            );
        }
    }
}
