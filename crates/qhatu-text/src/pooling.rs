//! From the vectors of a text's tokens to one vector of the text.
//!
//! The choices of sentence-transformers' `1_Pooling` (Reimers and Gurevych, Sentence-BERT, 2019): the mean of
//! all tokens, `[CLS]` and `[SEP]` among them, the first token's, or the largest number of each column;
//! then length 1 where `modules.json` asks for it.

use serde::{Deserialize, Serialize};

/// Which vector stands for a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The mean over the tokens.
    #[default]
    Mean,
    /// The first token's.
    Cls,
    /// The largest of each column.
    Max,
}

/// Vectors below this length are not made longer (as in PyTorch's `normalize`).
const SHORTEST: f32 = 1e-12;

impl Pooling {
    /// One vector per sequence: sequences × width from tokens × width.
    pub fn forward(self, starts: &[usize], hidden: &[f32], width: usize) -> Vec<f32> {
        let mut pooled = Vec::with_capacity(starts.len().saturating_sub(1) * width);
        for pair in starts.windows(2) {
            let rows = &hidden[pair[0] * width..pair[1] * width];
            let from = pooled.len();
            pooled.extend_from_slice(&rows[..width]);
            let own = &mut pooled[from..];
            for row in rows.chunks_exact(width).skip(1) {
                match self {
                    Self::Mean => own.iter_mut().zip(row).for_each(|(sum, value)| *sum += value),
                    Self::Max => own.iter_mut().zip(row).for_each(|(most, value)| *most = most.max(*value)),
                    Self::Cls => break,
                }
            }
            if self == Self::Mean {
                let share = 1.0 / (pair[1] - pair[0]) as f32;
                own.iter_mut().for_each(|sum| *sum *= share);
            }
        }
        pooled
    }

    /// The gradient of the tokens' vectors from that of the sequences'; of equal largest, the first gets it.
    pub fn backward(self, starts: &[usize], hidden: &[f32], d_pooled: &[f32], width: usize) -> Vec<f32> {
        let mut d = vec![0.0; hidden.len()];
        for (pair, d_own) in starts.windows(2).zip(d_pooled.chunks_exact(width)) {
            let range = pair[0] * width..pair[1] * width;
            let (rows, d_rows) = (&hidden[range.clone()], &mut d[range]);
            match self {
                Self::Cls => d_rows[..width].copy_from_slice(d_own),
                Self::Mean => {
                    let share = 1.0 / (pair[1] - pair[0]) as f32;
                    for row in d_rows.chunks_exact_mut(width) {
                        row.iter_mut().zip(d_own).for_each(|(d, own)| *d = own * share);
                    }
                }
                Self::Max => {
                    for (column, d_own) in d_own.iter().enumerate() {
                        let places = (column..rows.len()).step_by(width);
                        let most =
                            places.reduce(|most, place| if rows[place] > rows[most] { place } else { most });
                        d_rows[most.unwrap_or(column)] = *d_own;
                    }
                }
            }
        }
        d
    }
}

/// Makes each vector one of length 1; their lengths before.
pub(crate) fn normalize(vectors: &mut [f32], width: usize) -> Vec<f32> {
    let one = |vector: &mut [f32]| {
        let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt().max(SHORTEST);
        vector.iter_mut().for_each(|value| *value /= length);
        length
    };
    vectors.chunks_exact_mut(width).map(one).collect()
}

/// `d` becomes the gradient before [`normalize`]: `(d − v (v · d)) ⁄ length`.
pub(crate) fn normalize_backward(vectors: &[f32], lengths: &[f32], d: &mut [f32], width: usize) {
    for ((v, length), d) in vectors.chunks_exact(width).zip(lengths).zip(d.chunks_exact_mut(width)) {
        let along: f32 = v.iter().zip(&*d).map(|(v, d)| v * d).sum();
        d.iter_mut().zip(v).for_each(|(d, v)| *d = (*d - v * along) / length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTS: &[usize] = &[0, 1, 3];
    const HIDDEN: &[f32] = &[1.0, 2.0, 3.0, -4.0, 5.0, 6.0];

    #[test]
    fn each_pooling_gives_its_own() {
        assert_eq!(Pooling::Mean.forward(STARTS, HIDDEN, 2), [1.0, 2.0, 4.0, 1.0]);
        assert_eq!(Pooling::Cls.forward(STARTS, HIDDEN, 2), [1.0, 2.0, 3.0, -4.0]);
        assert_eq!(Pooling::Max.forward(STARTS, HIDDEN, 2), [1.0, 2.0, 5.0, 6.0]);
    }

    /// The sum of products with fixed numbers, against central differences.
    #[test]
    fn gradients_are_those_of_finite_differences() {
        let d_pooled = [0.5, -1.0, 2.0, 0.25];
        for pooling in [Pooling::Mean, Pooling::Cls, Pooling::Max] {
            let loss = |hidden: &[f32]| {
                let mut pooled = pooling.forward(STARTS, hidden, 2);
                normalize(&mut pooled, 2);
                pooled.iter().zip(d_pooled).map(|(v, d)| f64::from(v * d)).sum::<f64>()
            };
            let mut pooled = pooling.forward(STARTS, HIDDEN, 2);
            let lengths = normalize(&mut pooled, 2);
            let mut d = d_pooled.to_vec();
            normalize_backward(&pooled, &lengths, &mut d, 2);
            let found = pooling.backward(STARTS, HIDDEN, &d, 2);
            for place in 0..HIDDEN.len() {
                let mut near = HIDDEN.to_vec();
                near[place] += 1e-2;
                let above = loss(&near);
                near[place] -= 2e-2;
                let want = (above - loss(&near)) / 2e-2;
                assert!((f64::from(found[place]) - want).abs() < 1e-3, "{pooling:?} {place}: {want}");
            }
        }
    }

    #[test]
    fn nothing_stays_nothing() {
        let mut zero = [0.0, 0.0];
        normalize(&mut zero, 2);
        assert_eq!(zero, [0.0, 0.0]);
    }
}
