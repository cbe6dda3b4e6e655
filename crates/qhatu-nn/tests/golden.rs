//! Every operation and a whole transformer block against PyTorch's numbers, gradients included.
//!
//! `tests/golden/golden.safetensors` was written by `tests/golden/make.py`, which says with which version.

#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

use std::fs;
use std::path::Path;

use qhatu_nn::layer::{Block, BlockConfig, BlockSaved, NormPlace, Recurrent, RecurrentConfig};
use qhatu_nn::operation::activation::Activation;
use qhatu_nn::operation::attention::{Attention, Mask, Pack, Pairs, Saved};
use qhatu_nn::operation::binary::Binary;
use qhatu_nn::operation::contrastive::{self, LeftOut};
use qhatu_nn::operation::cross_entropy::{CrossEntropy, Gradients, IGNORE, Sparse, Targets};
use qhatu_nn::operation::linear::Widths;
use qhatu_nn::operation::recurrent::{self, Cell, Steps};
use qhatu_nn::operation::sampled::{self, Kind, Sampled, Work};
use qhatu_nn::operation::{embedding, layer_norm, linear};
use qhatu_nn::tensor_file::TensorFile;
use qhatu_nn::{AdamW, AdamWConfig, Initial, Parameters, Stream, clip};

struct Golden(TensorFile);

impl Golden {
    fn open() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/golden.safetensors");
        Self(TensorFile::from_bytes(&fs::read(path).unwrap()).unwrap())
    }

    fn get(&self, name: &str) -> &[f32] {
        self.0.f32(name).unwrap()
    }

    #[track_caller]
    fn is(&self, name: &str, found: &[f32], tolerance: f32) {
        let want = self.get(name);
        assert_eq!(found.len(), want.len(), "{name}");
        for (place, (found, want)) in found.iter().zip(want).enumerate() {
            let gap = (found - want).abs();
            assert!(gap <= tolerance * want.abs().max(1.0), "{name}, place {place}: {found}, PyTorch {want}");
        }
    }
}

const STARTS: &[usize] = &[0, 1, 5, 12];

#[test]
fn linear_and_embedding() {
    let golden = Golden::open();
    let widths = Widths { inputs: 7, outputs: 3 };
    let [x, w, b, d] = ["x", "w", "b", "d_output"].map(|name| golden.get(&format!("linear.{name}")));
    let mut y = vec![0.0; 15];
    linear::forward(x, w, Some(b), &mut y, widths);
    golden.is("linear.output", &y, 1e-6);
    let (mut d_x, mut d_w, mut d_b) = (vec![0.0; 35], vec![0.0; 21], vec![0.0; 3]);
    linear::backward_input(d, w, &mut d_x, widths);
    linear::backward_weights(x, d, &mut d_w, Some(&mut d_b), widths);
    golden.is("linear.d_x", &d_x, 1e-6);
    golden.is("linear.d_w", &d_w, 1e-6);
    golden.is("linear.d_b", &d_b, 1e-6);
    let (ids, mut out, mut d_table) = ([3, 0, 3, 5], vec![0.0; 16], vec![0.0; 24]);
    embedding::forward(golden.get("embedding.table"), &ids, &mut out, 4);
    golden.is("embedding.output", &out, 0.0);
    embedding::backward(golden.get("embedding.d_output"), &ids, &mut d_table, 4);
    golden.is("embedding.d_table", &d_table, 1e-6);
}

#[test]
fn norm_and_activations() {
    let golden = Golden::open();
    let [x, w, b, d] = ["x", "w", "b", "d_output"].map(|name| golden.get(&format!("layer_norm.{name}")));
    let (mut y, mut moments) = (vec![0.0; 96], vec![[0.0; 2]; 4]);
    layer_norm::forward(x, [w, b], &mut y, &mut moments, 1e-5);
    golden.is("layer_norm.output", &y, 1e-6);
    let (mut d_x, mut d_w, mut d_b) = (vec![0.0; 96], vec![0.0; 24], vec![0.0; 24]);
    layer_norm::backward((x, &moments), w, d, &mut d_x, [&mut d_w, &mut d_b]);
    golden.is("layer_norm.d_x", &d_x, 2e-6);
    golden.is("layer_norm.d_w", &d_w, 2e-6);
    golden.is("layer_norm.d_b", &d_b, 2e-6);
    for (name, activation) in
        [("gelu", Activation::Gelu), ("gelu_tanh", Activation::GeluTanh), ("relu", Activation::Relu)]
    {
        let x = golden.get(&format!("{name}.x"));
        let mut y = vec![0.0; x.len()];
        activation.forward(x, &mut y);
        golden.is(&format!("{name}.output"), &y, 1e-6);
        let mut d = golden.get(&format!("{name}.d_output")).to_vec();
        activation.backward(x, &mut d);
        golden.is(&format!("{name}.d_x"), &d, 2e-6);
    }
}

#[test]
fn attention() {
    let golden = Golden::open();
    let packs = [("causal", Pack::causal(STARTS)), ("bidirectional", Pack::bidirectional(STARTS))];
    for (name, pack) in packs {
        let get = |part: &str| golden.get(&format!("attention_{name}.{part}"));
        let attention = Attention { pack, heads: 2, head_size: 4, bias: None, dropout: None };
        let (mut out, mut saved, mut d_qkv) = (vec![0.0; 96], Saved::default(), vec![0.0; 288]);
        attention.forward(get("qkv"), &mut out, &mut saved);
        golden.is(&format!("attention_{name}.output"), &out, 1e-6);
        attention.backward(get("qkv"), get("d_output"), &mut d_qkv, &mut saved, None);
        golden.is(&format!("attention_{name}.d_qkv"), &d_qkv, 2e-6);
    }
}

/// When each of the twelve tokens was, and how many tokens of its sequence it sees; as in `make.py`.
const TIMES: [u32; 12] = [5, 0, 1, 1, 9, 2, 2, 3, 7, 8, 15, 40];
const SEEN: [u32; 12] = [1, 2, 2, 3, 4, 2, 2, 3, 5, 5, 6, 7];

/// The bucket of each pair of tokens, by the numbers of both in the pack.
fn buckets(of: impl Fn(usize, usize) -> usize) -> Vec<u8> {
    let mut found = Vec::new();
    for sequence in STARTS.windows(2) {
        for row in sequence[0]..sequence[1] {
            found.extend((sequence[0]..sequence[1]).map(|key| of(row, key) as u8));
        }
    }
    found
}

#[test]
fn attention_with_a_bias_or_a_number_of_tokens_seen() {
    let golden = Golden::open();
    let by_distance = buckets(|row, key| row.abs_diff(key).min(3) + if key > row { 4 } else { 0 });
    let apart = |row: usize, key: usize| TIMES[row].abs_diff(TIMES[key]);
    let by_time =
        buckets(|row, key| [1, 4, 16].into_iter().filter(|bound| apart(row, key) >= *bound).count());
    let pack = |mask, pairs| Pack { starts: STARTS, mask, pairs };
    for (name, pack) in [
        ("distance", pack(Mask::Bidirectional, Some(Pairs { bucket: &by_distance, buckets: 8 }))),
        ("time", pack(Mask::Causal, Some(Pairs { bucket: &by_time, buckets: 4 }))),
        ("visible", pack(Mask::Visible(&SEEN), None)),
    ] {
        let get = |part: &str| golden.get(&format!("attention_{name}.{part}"));
        let bias = pack.pairs.map(|_| get("table"));
        let attention = Attention { pack, heads: 2, head_size: 4, bias, dropout: None };
        let (mut out, mut saved, mut d_qkv) = (vec![0.0; 96], Saved::default(), vec![0.0; 288]);
        attention.forward(get("qkv"), &mut out, &mut saved);
        golden.is(&format!("attention_{name}.output"), &out, 1e-6);
        let mut d_table = vec![0.0; bias.map_or(0, <[f32]>::len)];
        let into = bias.map(|_| d_table.as_mut_slice());
        attention.backward(get("qkv"), get("d_output"), &mut d_qkv, &mut saved, into);
        golden.is(&format!("attention_{name}.d_qkv"), &d_qkv, 2e-6);
        if bias.is_some() {
            golden.is(&format!("attention_{name}.d_table"), &d_table, 5e-6);
        }
    }
}

#[test]
fn cross_entropy() {
    let golden = Golden::open();
    let [x, w, b] = ["x", "w", "b"].map(|name| golden.get(&format!("cross_entropy.{name}")));
    let targets = Targets::Class(&[0, 8, IGNORE, 3, 3, 7]);
    let loss = CrossEntropy { weights: w, bias: Some(b), width: 5, targets, offsets: None };
    let (mut d_x, mut d_w, mut d_b) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; b.len()]);
    let mut gradients =
        Gradients { scale: 1.0, x: &mut d_x, weights: &mut d_w, bias: Some(&mut d_b), offsets: None };
    let found = loss.forward_backward(x, &mut gradients, &mut Vec::new());
    golden.is("cross_entropy.output", &[found as f32], 1e-6);
    golden.is("cross_entropy.d_x", &d_x, 2e-6);
    golden.is("cross_entropy.d_w", &d_w, 2e-6);
    golden.is("cross_entropy.d_b", &d_b, 2e-6);
}

#[test]
fn recurrent_cells() {
    let golden = Golden::open();
    let steps = Steps::new(STARTS);
    for (name, cell) in [("gru", Cell::Gru), ("lstm", Cell::Lstm)] {
        let get = |part: &str| golden.get(&format!("{name}.{part}"));
        let mut parameters = Parameters::default();
        let config = RecurrentConfig { cell, input_size: 5, hidden_size: 18, initializer_range: 0.1 };
        let layer = Recurrent::new(&mut parameters, "cell", config, Stream::new(1));
        let slots: Vec<_> = parameters
            .tensors()
            .map(|(ours, _, slot)| (ours.trim_start_matches("cell.").to_owned(), slot))
            .collect();
        for (theirs, slot) in &slots {
            slot.of_mut(parameters.values_mut()).copy_from_slice(get(theirs));
        }
        let (mut y, mut d_x, mut saved) = (Vec::new(), Vec::new(), recurrent::Saved::default());
        layer.forward(parameters.values(), &steps, get("x"), &mut y, &mut saved);
        golden.is(&format!("{name}.output"), &y, 2e-6);
        let mut gradients = vec![0.0; parameters.len()];
        let both = (parameters.values(), gradients.as_mut_slice());
        layer.backward(both, &steps, get("d_output"), &mut d_x, &mut saved);
        golden.is(&format!("{name}.d_x"), &d_x, 5e-6);
        for (theirs, slot) in &slots {
            golden.is(&format!("{name}.d_{theirs}"), slot.of(&gradients), 1e-5);
        }
    }
}

#[test]
fn losses_against_negatives() {
    let golden = Golden::open();
    let targets = Sparse { starts: &[0, 1, 2, 3, 4], classes: &[0, 8, 3, 7], values: &[1.0; 4] };
    for (name, kind) in [
        ("sampled_softmax", Kind::Softmax { corrected: false }),
        ("sampled_softmax_corrected", Kind::Softmax { corrected: true }),
        ("bce", Kind::Binary { beta: 1.0 }),
        ("gbce", Kind::Binary { beta: 0.4 }),
    ] {
        let [x, w, b] = ["x", "w", "b"].map(|part| golden.get(&format!("{name}.{part}")));
        let negatives = &[2, 8, 0, 5, 5];
        let loss = Sampled { weights: w, bias: Some(b), width: 5, targets, negatives, kind };
        let (mut d_x, mut d_w, mut d_b) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; b.len()]);
        let mut into =
            sampled::Gradients { scale: 1.0, x: &mut d_x, weights: &mut d_w, bias: Some(&mut d_b) };
        let found = loss.forward_backward(x, &mut into, &mut Work::default());
        golden.is(&format!("{name}.output"), &[found as f32], 2e-6);
        golden.is(&format!("{name}.d_x"), &d_x, 2e-6);
        golden.is(&format!("{name}.d_w"), &d_w, 2e-6);
        golden.is(&format!("{name}.d_b"), &d_b, 2e-6);
    }
}

#[test]
fn losses_of_pairs_and_labels() {
    let golden = Golden::open();
    let labels = [true, false, false, true, false, true];
    for (name, loss) in [
        ("weighted_bce", Binary { positive: 3.0, ..Binary::default() }),
        ("focal", Binary { negative: 0.75, positive: 0.25, gamma: 2.0 }),
    ] {
        let mut d = [0.0; 6];
        let found = loss.forward_backward(golden.get(&format!("{name}.z")), &labels, 1.0, &mut d);
        golden.is(&format!("{name}.output"), &[found as f32], 1e-6);
        golden.is(&format!("{name}.d_z"), &d, 1e-6);
    }
    let pairs = (golden.get("contrastive.q"), golden.get("contrastive.a"));
    let left_out = LeftOut::of(4, |row, other| row + other == 2 && row != other);
    let (mut d_q, mut d_a) = (vec![0.0; 20], vec![0.0; 20]);
    let into = (d_q.as_mut_slice(), d_a.as_mut_slice());
    let found = contrastive::forward_backward(pairs, 5, (0.5, &left_out), 1.0, into);
    golden.is("contrastive.output", &[found as f32], 2e-6);
    golden.is("contrastive.d_q", &d_q, 5e-6);
    golden.is("contrastive.d_a", &d_a, 5e-6);
}

/// Names of torch.nn.TransformerEncoderLayer and ours.
const NAMES: [(&str, &str); 12] = [
    ("self_attn_in_proj_weight", "block.attention.qkv.weight"),
    ("self_attn_in_proj_bias", "block.attention.qkv.bias"),
    ("self_attn_out_proj_weight", "block.attention.output.weight"),
    ("self_attn_out_proj_bias", "block.attention.output.bias"),
    ("linear1_weight", "block.feed_forward.up.weight"),
    ("linear1_bias", "block.feed_forward.up.bias"),
    ("linear2_weight", "block.feed_forward.down.weight"),
    ("linear2_bias", "block.feed_forward.down.bias"),
    ("norm1_weight", "block.attention_norm.weight"),
    ("norm1_bias", "block.attention_norm.bias"),
    ("norm2_weight", "block.feed_forward_norm.weight"),
    ("norm2_bias", "block.feed_forward_norm.bias"),
];

#[test]
fn a_transformer_block() {
    let golden = Golden::open();
    for (name, norm) in [("block_before", NormPlace::Before), ("block_behind", NormPlace::Behind)] {
        let config = BlockConfig {
            hidden_size: 8,
            num_attention_heads: 2,
            intermediate_size: 12,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-5,
            initializer_range: 0.02,
            norm,
            relative_attention_num_buckets: 0,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
        };
        let mut parameters = Parameters::default();
        let block = Block::new(&mut parameters, "block", config, Stream::new(1));
        let slots: Vec<_> = NAMES
            .iter()
            .map(|(theirs, ours)| {
                let found = parameters.tensors().find(|(name, ..)| name == ours).unwrap();
                (format!("{name}.{theirs}"), format!("{name}.d_{theirs}"), found.2)
            })
            .collect();
        assert_eq!(slots.len(), parameters.tensors().count());
        for (theirs, _, slot) in &slots {
            slot.of_mut(parameters.values_mut()).copy_from_slice(golden.get(theirs));
        }
        let x = golden.get(&format!("{name}.x"));
        let context = (Pack::causal(STARTS), None);
        let (mut y, mut saved) = (Vec::new(), BlockSaved::default());
        block.forward(parameters.values(), context, x, &mut y, &mut saved);
        golden.is(&format!("{name}.output"), &y, 5e-6);
        let mut d = golden.get(&format!("{name}.d_output")).to_vec();
        let mut gradients = vec![0.0; parameters.len()];
        block.backward((parameters.values(), &mut gradients), context, x, &mut d, &mut saved);
        golden.is(&format!("{name}.d_x"), &d, 1e-5);
        slots.iter().for_each(|(_, theirs, slot)| golden.is(theirs, slot.of(&gradients), 1e-5));
    }
}

#[test]
fn adamw_with_clipping() {
    let golden = Golden::open();
    let mut parameters = Parameters::default();
    let w = parameters.add("w", &[3, 4], Initial::Constant(0.0), Stream::new(0));
    let b = parameters.add("b", &[4], Initial::Constant(0.0), Stream::new(0));
    w.of_mut(parameters.values_mut()).copy_from_slice(golden.get("adamw.w"));
    b.of_mut(parameters.values_mut()).copy_from_slice(golden.get("adamw.b"));
    let config = AdamWConfig { beta1: 0.9, beta2: 0.98, epsilon: 1e-8, weight_decay: 0.1 };
    let mut optimizer = AdamW::new(&parameters, config);
    for step in 0..3 {
        let [d_w, d_b] = ["w", "b"].map(|name| golden.get(&format!("adamw.d_{name}{step}")));
        let gradients = [d_w, d_b].concat();
        let scale = clip::scale(clip::global_norm(&gradients), 1.0);
        optimizer.step(&mut parameters, &gradients, 0.05, scale);
    }
    golden.is("adamw.w_after", w.of(parameters.values()), 2e-6);
    golden.is("adamw.b_after", b.of(parameters.values()), 2e-6);
}
