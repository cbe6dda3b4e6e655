//! Why a text has the vector it has: which tokens its attention followed, and which of them make it like
//! another text.
//!
//! * **Rollout**: attention multiplied through the blocks, each mixed by halves with the way around it (Abnar
//!   and Zuidema, Quantifying Attention Flow in Transformers, 2020); the share of each token in the vector.
//! * **Attribution**: the cosine with another text's vector, its gradient with respect to what the first block
//!   gets of each token, times that: how much the token adds to the likeness, in first order. Below zero,
//!   the token makes the texts less alike. What the first block gets is the embedding behind its layer
//!   norm: before it, gradient times input is always 0, since a norm does not see a vector's length.

use qhatu_nn::{Layout, matmul};

use crate::pooling::{normalize, normalize_backward};
use crate::{Batch, BertSaved, Pass, Pooling, TextEncoder, TextError};

/// What is known of a text's vector.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The tokens as the model read them.
    pub tokens: Vec<String>,
    /// Each token's share in the vector; they sum to 1.
    pub rollout: Vec<f32>,
    /// For each block, who looks (rows) at whom (columns), the mean of the heads; each row sums to 1.
    pub attention: Vec<Vec<f32>>,
    /// The cosine with the other text, where there is one.
    pub similarity: Option<f32>,
    /// What each token adds to it; empty without another text.
    pub attribution: Vec<f32>,
}

impl TextEncoder {
    /// Explains a text's vector, and its likeness to `other` where there is one. Memory: the attention
    /// of all blocks and, with another text, as many numbers as the model has weights.
    ///
    /// # Errors
    /// As [`TextEncoder::encode`].
    pub fn explain(&self, text: &str, other: Option<&str>) -> Result<Explanation, TextError> {
        let sequence = self.tokenized(text);
        let batch = Batch::new([&sequence], self.bert.config())?;
        let mut saved = BertSaved::default();
        self.bert.forward(&batch, Pass::Keep, &mut saved);
        let token = |id: &u32| self.tokenizer.vocabulary().token(*id).unwrap_or_default().to_owned();
        let heads = self.bert.config().num_attention_heads;
        let length = sequence.ids.len();
        let of_heads =
            |block: &qhatu_nn::layer::BlockSaved| mean_of(block.attention.probabilities(), heads, length);
        let attention: Vec<Vec<f32>> = saved.blocks.iter().map(of_heads).collect();
        let rollout = rollout(&attention, length, self.pooling);
        let mut explanation = Explanation {
            tokens: sequence.ids.iter().map(token).collect(),
            rollout,
            attention,
            similarity: None,
            attribution: Vec::new(),
        };
        if let Some(other) = other {
            let mut other = self.encode(&[other])?;
            normalize(&mut other, self.width());
            let (similarity, attribution) = self.attribute(&batch, &mut saved, &other);
            explanation.similarity = Some(similarity);
            explanation.attribution = attribution;
        }
        Ok(explanation)
    }

    /// The cosine with a vector of length 1, and each token's gradient times input.
    fn attribute(&self, batch: &Batch, saved: &mut BertSaved, other: &[f32]) -> (f32, Vec<f32>) {
        let width = self.width();
        let mut own = self.pooling.forward(&batch.starts, saved.output(), width);
        let lengths = normalize(&mut own, width);
        let similarity = dot(&own, other);
        let mut d_own = other.to_vec();
        normalize_backward(&own, &lengths, &mut d_own, width);
        let mut d = self.pooling.backward(&batch.starts, saved.output(), &d_own, width);
        let mut gradients = vec![0.0; self.bert.parameters().len()];
        self.bert.backward(batch, Pass::Keep, saved, &mut gradients, &mut d);
        let rows = d.chunks_exact(width).zip(saved.hidden[0].chunks_exact(width));
        (similarity, rows.map(|(d, x)| dot(d, x)).collect())
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The mean of the heads' matrices.
fn mean_of(probabilities: &[f32], heads: usize, length: usize) -> Vec<f32> {
    let mut mean = vec![0.0; length * length];
    for head in probabilities.chunks_exact((length * length).max(1)) {
        mean.iter_mut().zip(head).for_each(|(mean, value)| *mean += value / heads as f32);
    }
    mean
}

fn rollout(attention: &[Vec<f32>], length: usize, pooling: Pooling) -> Vec<f32> {
    let layout = Layout::dense(length, length);
    let mut rolled: Vec<f32> =
        (0..length * length).map(|at| f32::from(u8::from(at % (length + 1) == 0))).collect();
    let mut next = vec![0.0; length * length];
    for block in attention {
        next.copy_from_slice(&rolled);
        matmul((&mut next, layout), 0.5, (block, layout), (&rolled, layout), 0.5);
        std::mem::swap(&mut rolled, &mut next);
    }
    match pooling {
        Pooling::Cls => rolled[..length].to_vec(),
        Pooling::Mean | Pooling::Max => {
            let column =
                |token: usize| rolled.iter().skip(token).step_by(length).sum::<f32>() / length as f32;
            (0..length).map(column).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qhatu_nn::layer::BlockSaved;
    use qhatu_nn::operation::attention::Pack;

    #[test]
    fn attention_that_stays_at_home_leaves_each_token_its_share() {
        let at_home = vec![1.0, 0.0, 0.0, 1.0];
        assert_eq!(rollout(&[at_home.clone(), at_home], 2, Pooling::Mean), [0.5, 0.5]);
    }

    #[test]
    fn attention_to_one_token_rolls_towards_it() {
        let to_first = vec![1.0, 0.0, 1.0, 0.0];
        assert_eq!(rollout(&[to_first.clone(), to_first], 2, Pooling::Mean), [0.875, 0.125]);
    }

    /// What the first block gets of a token, made longer by a share, changes the cosine by that share of the
    /// attribution.
    #[test]
    fn attribution_is_the_change_of_the_likeness() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny_bert");
        let encoder = TextEncoder::read(&folder).unwrap();
        let (text, other) = ("a b c D", "x y z");
        let found = encoder.explain(text, Some(other)).unwrap();
        let mut goal = encoder.encode(&[other]).unwrap();
        let width = encoder.width();
        normalize(&mut goal, width);
        let batch = Batch::new([&encoder.tokenized(text)], encoder.bert.config()).unwrap();
        let mut saved = BertSaved::default();
        encoder.bert.forward(&batch, Pass::Keep, &mut saved);
        let pack = Pack::bidirectional(&batch.starts);
        for (place, want) in found.attribution.iter().enumerate() {
            let likeness = |share: f32| {
                let mut x = saved.hidden[0].clone();
                x[place * width..][..width].iter_mut().for_each(|value| *value *= 1.0 + share);
                for block in &encoder.bert.blocks {
                    let mut y = Vec::new();
                    let parameters = encoder.bert.parameters().values();
                    block.forward(parameters, (pack, None), &x, &mut y, &mut BlockSaved::default());
                    x = y;
                }
                let mut own = encoder.pooling.forward(&batch.starts, &x, width);
                normalize(&mut own, width);
                dot(&own, &goal)
            };
            let change = (likeness(1e-2) - likeness(-1e-2)) / 2e-2;
            assert!((change - want).abs() < 1e-3 * want.abs().max(0.1), "{place}: {change} {want}");
        }
        let most = found.attribution.iter().fold(0.0, |most: f32, value| most.max(value.abs()));
        assert!(most > 0.01, "{:?}", found.attribution);
    }

    #[test]
    fn heads_are_averaged() {
        assert_eq!(mean_of(&[1.0, 0.0, 0.5, 0.5, 0.0, 1.0, 0.5, 0.5], 2, 2), [0.5, 0.5, 0.5, 0.5]);
    }
}
