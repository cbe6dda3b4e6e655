//! A transformer block for many forward passes with the same weights and no backward one: what serves and encodes.
//!
//! The same numbers as [`Block`] without dropout, up to the order of sums (in whole numbers: up to rounding).

use crate::kernel::Team;
use crate::layer::block::{NormPlace, add};
use crate::layer::{Block, LayerNorm, LayerNormSaved, PackedLinear, PackedLinearRoom, Precision};
use crate::operation::activation::Activation;
use crate::operation::attention::{Attention, Pack, Saved};

/// Numbers that a thread puts through the activation at a time.
const SOME: usize = 4_096;

/// A block whose weights are laid out for its products. Norms, and a bias of pairs, stay with the parameters.
#[derive(Debug, Clone)]
pub struct PackedBlock {
    qkv: PackedLinear,
    output: PackedLinear,
    up: PackedLinear,
    down: PackedLinear,
    block: Block,
}

/// Room to work, kept from call to call.
#[derive(Debug, Clone, Default)]
pub struct PackedBlockRoom {
    qkv: Vec<f32>,
    mixed: Vec<f32>,
    sum: Vec<f32>,
    normed: Vec<f32>,
    inner: Vec<f32>,
    attention: Saved,
    norm: LayerNormSaved,
    linear: PackedLinearRoom,
}

impl PackedBlock {
    /// Lays out a block's weights.
    pub fn new(block: &Block, parameters: &[f32], precision: Precision) -> Self {
        let packed = |linear| PackedLinear::new(linear, parameters, precision);
        Self {
            qkv: packed(&block.attention.qkv),
            output: packed(&block.attention.output),
            up: packed(&block.feed_forward.up),
            down: packed(&block.feed_forward.down),
            block: *block,
        }
    }

    /// `x` (tokens × hidden size) becomes what the block gives, by a team, which changes nothing in it.
    /// `parameters` are those that the weights were laid out from.
    pub fn forward(
        &self,
        parameters: &[f32],
        pack: Pack,
        x: &mut Vec<f32>,
        team: &Team,
        room: &mut PackedBlockRoom,
    ) {
        let block = &self.block;
        match block.norm_place() {
            NormPlace::Before => {
                norm(&block.attention_norm, parameters, x, &mut room.normed, &mut room.norm);
                let normed = std::mem::take(&mut room.normed);
                self.attend(parameters, pack, &normed, team, room);
                room.normed = normed;
                add(x, &room.sum);
                norm(&block.feed_forward_norm, parameters, x, &mut room.normed, &mut room.norm);
                self.feed(team, room);
                add(x, &room.sum);
            }
            NormPlace::Behind => {
                self.attend(parameters, pack, x, team, room);
                add(&mut room.sum, x);
                norm(&block.attention_norm, parameters, &room.sum, &mut room.normed, &mut room.norm);
                self.feed(team, room);
                add(&mut room.sum, &room.normed);
                norm(&block.feed_forward_norm, parameters, &room.sum, x, &mut room.norm);
            }
        }
    }

    /// `room.sum` from `x`.
    fn attend(&self, parameters: &[f32], pack: Pack, x: &[f32], team: &Team, room: &mut PackedBlockRoom) {
        self.qkv.forward(x, &mut room.qkv, team, &mut room.linear);
        room.mixed.resize(x.len(), 0.0);
        let layer = &self.block.attention;
        let attention = Attention {
            pack,
            heads: layer.heads,
            head_size: layer.qkv.widths.inputs / layer.heads.max(1),
            bias: layer.bias.map(|slot| slot.of(parameters)),
            dropout: None,
        };
        attention.forward(&room.qkv, &mut room.mixed, &mut room.attention);
        self.output.forward(&room.mixed, &mut room.sum, team, &mut room.linear);
    }

    /// `room.sum` from `room.normed`.
    fn feed(&self, team: &Team, room: &mut PackedBlockRoom) {
        self.up.forward(&room.normed, &mut room.inner, team, &mut room.linear);
        let activation = self.block.feed_forward.activation;
        team.each_chunk(&mut room.inner, SOME, &|some| activate(activation, some));
        self.down.forward(&room.inner, &mut room.sum, team, &mut room.linear);
    }
}

fn norm(layer: &LayerNorm, parameters: &[f32], x: &[f32], y: &mut Vec<f32>, saved: &mut LayerNormSaved) {
    layer.forward(parameters, x, y, saved);
}

/// `x ← f(x)`.
fn activate(activation: Activation, x: &mut [f32]) {
    let mut before = [0.0; 256];
    for some in x.chunks_mut(before.len()) {
        let before = &mut before[..some.len()];
        before.copy_from_slice(some);
        activation.forward(before, some);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::tests::numbers;
    use crate::layer::{BlockConfig, BlockSaved};
    use crate::parameters::Parameters;
    use crate::random::Stream;

    #[test]
    fn the_same_numbers_as_the_block() {
        let (width, starts) = (24, [0, 1, 8, 19]);
        for place in [NormPlace::Before, NormPlace::Behind] {
            let config = BlockConfig {
                hidden_size: width,
                num_attention_heads: 3,
                intermediate_size: 50,
                hidden_act: Activation::Gelu,
                layer_norm_eps: 1e-12,
                initializer_range: 0.2,
                norm: place,
                relative_attention_num_buckets: 0,
                hidden_dropout_prob: 0.5,
                attention_probs_dropout_prob: 0.5,
            };
            let mut parameters = Parameters::default();
            let block = Block::new(&mut parameters, "block", config, Stream::new(1));
            let parameters = parameters.values();
            let pack = Pack::bidirectional(&starts);
            let x = numbers(19 * width, 3);
            let (mut want, mut saved) = (Vec::new(), BlockSaved::default());
            block.forward(parameters, (pack, None), &x, &mut want, &mut saved);
            for (precision, tolerance) in [(Precision::F32, 1e-5), (Precision::Int8, 0.08)] {
                let packed = PackedBlock::new(&block, parameters, precision);
                let run = |threads: usize| {
                    let mut y = x.clone();
                    let mut room = PackedBlockRoom::default();
                    Team::with(threads, |team| packed.forward(parameters, pack, &mut y, team, &mut room));
                    y
                };
                let found = run(1);
                let gap = found.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(gap < tolerance, "{place:?} {precision:?}: {gap}");
                assert_eq!(run(3), found, "threads change nothing");
            }
        }
    }
}
