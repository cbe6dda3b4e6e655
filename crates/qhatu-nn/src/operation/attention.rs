//! Multi-head attention over packed sequences: they lie one behind another without padding, and each
//! token sees tokens of its own sequence only (Vaswani et al., 2017; packing: Krell et al., 2021).
//!
//! Per sequence and head: `S = Q Kᵀ ⁄ √h + bias`, `P = softmax S` over what a token sees, `O = P V`.
//! Backward: `dV = Pᵀ dO`, `dP = dO Vᵀ`, `dS = P ∘ (dP − rowsum(P ∘ dP))`, `dQ = dS K ⁄ √h`,
//! `dK = dSᵀ Q ⁄ √h`, `dbias = Σ dS`.
//!
//! A token sees the first `n` tokens of its sequence, with `n` given by [`Mask`]: all of them
//! (bidirectional), those up to itself (causal), or a number per token, so that the items of one basket
//! see each other and all earlier ones. Work goes by blocks of rows, up to the last token that any row
//! of a block sees: half of a long causal matrix is never computed.
//!
//! The bias is a table heads × buckets, with a bucket for each pair of tokens: by distance, or by the
//! time between two events (Raffel et al., 2020; time: Li et al., "TiSASRec", 2020).

use crate::kernel::softmax::{softmax, softmax_backward};
use crate::kernel::{Layout, matmul};
use crate::operation::dropout::Dropout;

/// Rows that are computed together.
const BLOCK: usize = 64;

/// What a token sees of its own sequence.
#[derive(Debug, Clone, Copy)]
pub enum Mask<'a> {
    /// Everything.
    Bidirectional,
    /// Everything up to itself.
    Causal,
    /// For each token of the pack, how many tokens from its sequence's beginning.
    Visible(&'a [u32]),
}

/// Bucket of each pair of tokens, for a bias.
#[derive(Debug, Clone, Copy)]
pub struct Pairs<'a> {
    /// For each sequence of length n, n × n buckets (row: who looks, column: what is seen), one
    /// sequence behind another.
    pub bucket: &'a [u8],
    /// How many buckets there are.
    pub buckets: usize,
}

/// Sequences one behind another, and what their tokens see.
#[derive(Debug, Clone, Copy)]
pub struct Pack<'a> {
    /// Where each sequence begins, and at last the number of tokens: 0, …, tokens.
    pub starts: &'a [usize],
    /// What a token sees.
    pub mask: Mask<'a>,
    /// Buckets of the bias; absent without one.
    pub pairs: Option<Pairs<'a>>,
}

impl<'a> Pack<'a> {
    /// Sequences of which every token sees all of its own.
    pub fn bidirectional(starts: &'a [usize]) -> Self {
        Self { starts, mask: Mask::Bidirectional, pairs: None }
    }

    /// Sequences of which every token sees itself and what came before.
    pub fn causal(starts: &'a [usize]) -> Self {
        Self { starts, mask: Mask::Causal, pairs: None }
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// Entries of all attention matrices of one head.
    fn pair_count(&self) -> usize {
        self.starts.windows(2).map(|pair| (pair[1] - pair[0]) * (pair[1] - pair[0])).sum()
    }

    fn seen(&self, start: usize, length: usize, place: usize) -> usize {
        match self.mask {
            Mask::Bidirectional => length,
            Mask::Causal => place + 1,
            Mask::Visible(seen) => (seen[start + place] as usize).min(length),
        }
    }
}

/// Attention of so many heads over a pack.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// The sequences.
    pub pack: Pack<'a>,
    /// How many heads.
    pub heads: usize,
    /// Width of a head.
    pub head_size: usize,
    /// Table of the bias, heads × buckets; used where the pack has pairs.
    pub bias: Option<&'a [f32]>,
    /// Dropout of the probabilities.
    pub dropout: Option<Dropout>,
}

/// What the backward pass needs, and room to work; kept from step to step.
#[derive(Debug, Default, Clone)]
pub struct Saved {
    probabilities: Vec<f32>,
    dropped: Vec<f32>,
    d_scores: Vec<f32>,
}

impl Saved {
    /// The probabilities of the last forward pass: per sequence of length n and head n × n, row after
    /// row. Entries that a token does not see are 0 or, where nobody near it sees them, left over.
    pub fn probabilities(&self) -> &[f32] {
        &self.probabilities
    }
}

/// A block of rows of one head of one sequence.
#[derive(Debug, Clone, Copy)]
struct Block {
    /// First token of the sequence, and how many.
    start: usize,
    length: usize,
    /// First row within the sequence, rows and keys.
    first: usize,
    rows: usize,
    keys: usize,
    head: usize,
    /// Where the sequence's matrices begin: of all heads together, and of pairs.
    matrices: usize,
    pairs: usize,
    /// Running number, for dropout.
    number: u64,
}

impl Block {
    /// Where the block's probabilities lie.
    fn probabilities(self) -> Layout {
        let offset = self.matrices + (self.head * self.length + self.first) * self.length;
        Layout { rows: self.rows, columns: self.keys, offset, row_stride: self.length, column_stride: 1 }
    }

    fn dense(self) -> Layout {
        Layout::dense(self.rows, self.keys)
    }
}

impl Attention<'_> {
    fn width(&self) -> usize {
        self.heads * self.head_size
    }

    /// `out` from queries, keys and values.
    ///
    /// # Shapes
    /// `qkv` tokens × 3 · heads · head size: first the queries of all heads, then keys, then values;
    /// `out` tokens × heads · head size.
    pub fn forward(&self, qkv: &[f32], out: &mut [f32], saved: &mut Saved) {
        self.check(qkv, out);
        saved.probabilities.resize(self.pack.pair_count() * self.heads, 0.0);
        self.each_block(|block| {
            let layout = block.probabilities();
            let scores = (saved.probabilities.as_mut_slice(), layout);
            matmul(
                scores,
                0.0,
                (qkv, self.rows_of(block, 0)),
                (qkv, self.keys_of(block, 1).transposed()),
                self.scale(),
            );
            self.normalize(block, &mut saved.probabilities);
            let out_layout = self.out_of(block);
            let values = (qkv, self.keys_of(block, 2));
            match self.dropout {
                None => matmul((out, out_layout), 0.0, (&saved.probabilities, layout), values, 1.0),
                Some(dropout) => {
                    drop_block(&saved.probabilities, block, dropout, &mut saved.dropped);
                    matmul((out, out_layout), 0.0, (&saved.dropped, block.dense()), values, 1.0);
                }
            }
        });
    }

    /// `d_qkv` from `d_out`; adds to the gradient of the bias.
    ///
    /// # Shapes
    /// As in [`Attention::forward`], `saved` is that of the forward pass; `d_bias` heads × buckets.
    pub fn backward(
        &self,
        qkv: &[f32],
        d_out: &[f32],
        d_qkv: &mut [f32],
        saved: &mut Saved,
        mut d_bias: Option<&mut [f32]>,
    ) {
        self.check(qkv, d_out);
        assert_eq!(qkv.len(), d_qkv.len(), "a gradient for each number");
        d_qkv.fill(0.0);
        let Saved { probabilities, dropped, d_scores } = saved;
        self.each_block(|block| {
            let dense = block.dense();
            let d_rows = (d_out, self.out_of(block));
            d_scores.resize(block.rows * block.keys, 0.0);
            matmul((d_scores, dense), 0.0, d_rows, (qkv, self.keys_of(block, 2).transposed()), 1.0);
            let values = (&mut *d_qkv, self.keys_of(block, 2));
            match self.dropout {
                None => matmul(values, 1.0, (probabilities, block.probabilities().transposed()), d_rows, 1.0),
                Some(dropout) => {
                    drop_block(probabilities, block, dropout, dropped);
                    matmul(values, 1.0, (dropped, dense.transposed()), d_rows, 1.0);
                    dropout.child(block.number).apply(d_scores);
                }
            }
            for (row, d) in d_scores.chunks_exact_mut(block.keys.max(1)).enumerate() {
                let from = block.probabilities().offset + row * block.length;
                softmax_backward(&probabilities[from..from + block.keys], d, 1.0);
            }
            if let (Some(d_bias), Some(pairs)) = (d_bias.as_deref_mut(), self.pack.pairs) {
                add_to_bias(block, pairs, d_scores, d_bias);
            }
            let scores = (d_scores.as_slice(), dense);
            matmul((d_qkv, self.rows_of(block, 0)), 0.0, scores, (qkv, self.keys_of(block, 1)), self.scale());
            let transposed = (d_scores.as_slice(), dense.transposed());
            matmul(
                (d_qkv, self.keys_of(block, 1)),
                1.0,
                transposed,
                (qkv, self.rows_of(block, 0)),
                self.scale(),
            );
        });
    }

    fn check(&self, qkv: &[f32], out: &[f32]) {
        let tokens = self.pack.tokens();
        assert!(self.pack.starts.first().is_none_or(|first| *first == 0), "the first sequence begins at 0");
        assert_eq!(out.len(), tokens * self.width(), "a row for each token");
        assert_eq!(qkv.len(), 3 * out.len(), "query, key and value of each token");
        if let Mask::Visible(seen) = self.pack.mask {
            assert_eq!(seen.len(), tokens, "what each token sees");
        }
        if let (Some(pairs), Some(bias)) = (self.pack.pairs, self.bias) {
            assert_eq!(pairs.bucket.len(), self.pack.pair_count(), "a bucket for each pair");
            assert_eq!(bias.len(), self.heads * pairs.buckets, "a bias for each bucket and head");
        }
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_size as f32).sqrt()
    }

    /// Goes through the blocks in a fixed order.
    fn each_block(&self, mut work: impl FnMut(Block)) {
        let (mut pairs, mut number) = (0, 0);
        for sequence in self.pack.starts.windows(2) {
            let (start, length) = (sequence[0], sequence[1] - sequence[0]);
            for head in 0..self.heads {
                for first in (0..length).step_by(BLOCK) {
                    let rows = BLOCK.min(length - first);
                    let seen = (first..first + rows).map(|place| self.pack.seen(start, length, place));
                    let keys = seen.max().unwrap_or(0);
                    let matrices = pairs * self.heads;
                    work(Block { start, length, first, rows, keys, head, matrices, pairs, number });
                    number += 1;
                }
            }
            pairs += length * length;
        }
    }

    /// Bias and softmax over what each row sees; 0 beyond.
    fn normalize(&self, block: Block, probabilities: &mut [f32]) {
        let offset = block.probabilities().offset;
        for row in 0..block.rows {
            let place = block.first + row;
            let seen = self.pack.seen(block.start, block.length, place);
            let scores = &mut probabilities[offset + row * block.length..][..block.keys];
            if let (Some(bias), Some(pairs)) = (self.bias, self.pack.pairs) {
                let table = &bias[block.head * pairs.buckets..][..pairs.buckets];
                let buckets = &pairs.bucket[block.pairs + place * block.length..][..seen];
                scores
                    .iter_mut()
                    .zip(buckets)
                    .for_each(|(score, bucket)| *score += table[usize::from(*bucket)]);
            }
            let (seen, beyond) = scores.split_at_mut(seen);
            if !seen.is_empty() {
                softmax(seen);
            }
            beyond.fill(0.0);
        }
    }

    /// The block's rows of queries (0), keys (1) or values (2) in `qkv`.
    fn rows_of(&self, block: Block, which: usize) -> Layout {
        self.part(block.start + block.first, block.rows, block.head, which)
    }

    /// All that the block sees of queries (0), keys (1) or values (2) in `qkv`.
    fn keys_of(&self, block: Block, which: usize) -> Layout {
        self.part(block.start, block.keys, block.head, which)
    }

    fn part(&self, first: usize, rows: usize, head: usize, which: usize) -> Layout {
        let width = self.width();
        Layout {
            rows,
            columns: self.head_size,
            offset: first * 3 * width + which * width + head * self.head_size,
            row_stride: 3 * width,
            column_stride: 1,
        }
    }

    fn out_of(&self, block: Block) -> Layout {
        let offset = (block.start + block.first) * self.width() + block.head * self.head_size;
        Layout {
            rows: block.rows,
            columns: self.head_size,
            offset,
            row_stride: self.width(),
            column_stride: 1,
        }
    }
}

/// The block's probabilities, dense and with dropout.
fn drop_block(probabilities: &[f32], block: Block, dropout: Dropout, out: &mut Vec<f32>) {
    out.clear();
    let offset = block.probabilities().offset;
    for row in 0..block.rows {
        out.extend_from_slice(&probabilities[offset + row * block.length..][..block.keys]);
    }
    dropout.child(block.number).apply(out);
}

fn add_to_bias(block: Block, pairs: Pairs, d_scores: &[f32], d_bias: &mut [f32]) {
    let table = &mut d_bias[block.head * pairs.buckets..][..pairs.buckets];
    for (row, d) in d_scores.chunks_exact(block.keys.max(1)).enumerate() {
        let buckets = &pairs.bucket[block.pairs + (block.first + row) * block.length..][..block.keys];
        buckets.iter().zip(d).for_each(|(bucket, d)| table[usize::from(*bucket)] += d);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Numbers, differs, wide};
    use crate::kernel::tests::numbers;
    use crate::random::Stream;

    /// The sum of products of the output with `d_out`, by the formula, in f64.
    fn reference(attention: &Attention, given: &Numbers, d_out: &[f32]) -> f64 {
        let (width, h) = (attention.width(), attention.head_size);
        let (mut sum, mut pairs) = (0.0, 0);
        for sequence in attention.pack.starts.windows(2) {
            let (start, length) = (sequence[0], sequence[1] - sequence[0]);
            for head in 0..attention.heads {
                let at = |token: usize, which: usize, place: usize| {
                    given[0][(start + token) * 3 * width + which * width + head * h + place]
                };
                for row in 0..length {
                    let seen = attention.pack.seen(start, length, row);
                    let score = |key: usize| {
                        let dot: f64 = (0..h).map(|place| at(row, 0, place) * at(key, 1, place)).sum();
                        let bias = attention.pack.pairs.map_or(0.0, |own| {
                            given[1][head * own.buckets + usize::from(own.bucket[pairs + row * length + key])]
                        });
                        (dot / (h as f64).sqrt() + bias).exp()
                    };
                    let scores: Vec<f64> = (0..seen).map(score).collect();
                    let whole: f64 = scores.iter().sum();
                    for place in 0..h {
                        let out: f64 = (0..seen).map(|key| scores[key] / whole * at(key, 2, place)).sum();
                        sum += out * f64::from(d_out[(start + row) * width + head * h + place]);
                    }
                }
            }
            pairs += length * length;
        }
        sum
    }

    fn check(attention: &Attention) {
        let tokens = attention.pack.tokens();
        let [qkv, d_out] =
            [(3, 1), (1, 2)].map(|(times, seed)| numbers(times * tokens * attention.width(), seed));
        let bias = attention.bias.unwrap_or(&[]).to_vec();
        let mut saved = Saved::default();
        let mut out = vec![0.0; d_out.len()];
        attention.forward(&qkv, &mut out, &mut saved);
        let found: f64 = out.iter().zip(&d_out).map(|(out, d)| f64::from(*out) * f64::from(*d)).sum();
        let want = reference(attention, &wide(&[&qkv, &bias]), &d_out);
        assert!((found - want).abs() < 1e-4 * want.abs().max(1.0), "{found} is not {want}");
        let (mut d_qkv, mut d_bias) = (vec![7.0; qkv.len()], vec![0.0; bias.len()]);
        let d_table = attention.bias.map(|_| d_bias.as_mut_slice());
        attention.backward(&qkv, &d_out, &mut d_qkv, &mut saved, d_table);
        let loss = |given: &Numbers| reference(attention, given, &d_out);
        assert_eq!(differs(&[&qkv, &bias], &[&d_qkv, &d_bias], loss), None);
    }

    const STARTS: &[usize] = &[0, 1, 4, 4, 9];

    fn plain(pack: Pack) -> Attention {
        Attention { pack, heads: 2, head_size: 3, bias: None, dropout: None }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        check(&plain(Pack::causal(STARTS)));
        check(&plain(Pack::bidirectional(STARTS)));
        check(&plain(Pack::causal(&[0])));
        let seen = [1, 2, 2, 3, 1, 3, 3, 4, 5];
        check(&plain(Pack { starts: STARTS, mask: Mask::Visible(&seen), pairs: None }));
    }

    #[test]
    fn a_bias_by_pairs_has_its_gradient() {
        let bucket: Vec<u8> = (0..35).map(|pair| pair * 7 % 4).collect();
        let table = numbers(8, 3);
        let pairs = Some(Pairs { bucket: &bucket, buckets: 4 });
        let pack = Pack { starts: STARTS, mask: Mask::Causal, pairs };
        check(&Attention { bias: Some(&table), ..plain(pack) });
    }

    #[test]
    fn long_sequences_go_by_blocks() {
        let starts = [0, 70, 71];
        for pack in [Pack::causal(&starts), Pack::bidirectional(&starts)] {
            let attention = Attention { pack, heads: 1, head_size: 2, bias: None, dropout: None };
            let [qkv, d_out] = [(6, 1), (2, 2)].map(|(times, seed)| numbers(times * 71, seed));
            let (mut out, mut saved) = (vec![0.0; 142], Saved::default());
            attention.forward(&qkv, &mut out, &mut saved);
            let mut d_qkv = vec![0.0; qkv.len()];
            attention.backward(&qkv, &d_out, &mut d_qkv, &mut saved, None);
            for place in [0, 5, 2 + 6 * 30, 6 * 65 + 4, 6 * 70, 6 * 70 + 5] {
                let mut near = wide(&[&qkv, &[]]);
                near[0][place] += 1e-4;
                let above = reference(&attention, &near, &d_out);
                near[0][place] -= 2e-4;
                let want = (above - reference(&attention, &near, &d_out)) / 2e-4;
                assert!((f64::from(d_qkv[place]) - want).abs() < 1e-4, "{place}: {} {want}", d_qkv[place]);
            }
        }
    }

    /// Dropout is linear in the probabilities: without noise the gradient follows the same mask. Finite
    /// differences of the operation itself, for the reference knows no masks.
    #[test]
    fn with_dropout_the_gradient_follows_the_mask() {
        let dropout = Some(Dropout { rate: 0.4, stream: Stream::new(3) });
        let attention = Attention { dropout, ..plain(Pack::causal(STARTS)) };
        let [qkv, d_out] = [(18, 1), (6, 2)].map(|(times, seed)| numbers(times * 9, seed));
        let loss = |qkv: &[f32]| {
            let mut out = vec![0.0; d_out.len()];
            attention.forward(qkv, &mut out, &mut Saved::default());
            out.iter().zip(&d_out).map(|(out, d)| f64::from(*out) * f64::from(*d)).sum::<f64>()
        };
        let (mut out, mut saved, mut d_qkv) =
            (vec![0.0; d_out.len()], Saved::default(), vec![0.0; qkv.len()]);
        attention.forward(&qkv, &mut out, &mut saved);
        attention.backward(&qkv, &d_out, &mut d_qkv, &mut saved, None);
        for place in 0..qkv.len() {
            let mut near = qkv.clone();
            near[place] += 1e-2;
            let above = loss(&near);
            near[place] = qkv[place] - 1e-2;
            let want = (above - loss(&near)) / 2e-2;
            assert!((f64::from(d_qkv[place]) - want).abs() < 2e-3, "{place}: {} {want}", d_qkv[place]);
        }
    }
}
