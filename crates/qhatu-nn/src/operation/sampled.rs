//! Losses of a positive against shared negatives: sampled softmax, BCE and gBCE. A step costs as many
//! products as there are negatives, not as many as there are classes.
//!
//! All rows of a call share the negatives, drawn uniformly with replacement ([`uniform`]): their vectors are
//! gathered once, and logits and gradients are matrix products as in [`super::cross_entropy`]. A negative
//! that is one of the row's own targets does not count in that row.
//!
//! With `s⁺` the logit of a target and `s` those of n negatives, for each target of weight `w`:
//! * [`Kind::Softmax`]: `L = w (ln (e^s⁺ + Σ e^(s − ln q)) − s⁺)` with `q` how often a negative is expected to
//!   be drawn, `n ⁄ classes` where all are equally likely: so that the sum is that over all classes on
//!   average. The target is there for sure, so that its own logit stays as it is (Bengio and Senécal, 2008;
//!   Khrylchenko et al., "Correcting the LogQ Correction", RecSys 2025). Without the correction `q` is 1.
//! * [`Kind::Binary`]: `L = w (−β ln σ(s⁺) − Σ ln (1 − σ(s)))`. β = 1 is BCE; gBCE (Petrov and Macdonald,
//!   "gSASRec", RecSys 2023) takes out the overconfidence that sampling brings: [`calibrated_beta`].

use crate::kernel::{Layout, matmul, softmax, unary};
use crate::operation::cross_entropy::{BLOCK, Sparse};
use crate::random::Stream;

/// Which loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Sampled softmax, with or without the correction of sampling.
    Softmax {
        /// Whether negatives count as often as there are classes.
        corrected: bool,
    },
    /// Binary cross-entropy.
    Binary {
        /// The power of the positive's probability.
        beta: f32,
    },
}

/// gBCE's β = α (t (1 − 1⁄α) + 1⁄α), α = negatives ⁄ (classes − 1): at t = 0 it is 1 (BCE), at t = 1 it is α, with
/// which the predicted probabilities are those of the whole catalogue.
pub fn calibrated_beta(negatives: usize, classes: usize, t: f32) -> f32 {
    let alpha = (negatives as f32 / classes.saturating_sub(1).max(1) as f32).min(1.0);
    t * (alpha - 1.0) + 1.0
}

/// `count` classes of `0..classes`, each as likely as any other, with replacement; none of no classes.
pub fn uniform(stream: Stream, count: usize, classes: usize) -> Vec<u32> {
    let count = if classes == 0 { 0 } else { count };
    (0..count).map(|place| stream.below(place as u64, classes) as u32).collect()
}

/// The loss of rows `x` against classes.
#[derive(Debug, Clone, Copy)]
pub struct Sampled<'a> {
    /// Classes × width.
    pub weights: &'a [f32],
    /// A number for each class.
    pub bias: Option<&'a [f32]>,
    /// Columns of `x`.
    pub width: usize,
    /// Classes and weights that each row should say.
    pub targets: Sparse<'a>,
    /// The negatives of all rows.
    pub negatives: &'a [u32],
    /// Which loss.
    pub kind: Kind,
}

/// Where gradients go.
#[derive(Debug)]
pub struct Gradients<'a> {
    /// What all of them are multiplied by: 1 ⁄ number of targets for a mean.
    pub scale: f32,
    /// Of the rows; overwritten.
    pub x: &'a mut [f32],
    /// Of the weights of all classes; added to.
    pub weights: &'a mut [f32],
    /// Of the bias; added to.
    pub bias: Option<&'a mut [f32]>,
}

/// Room to work, kept by the caller.
#[derive(Debug, Clone, Default)]
pub struct Work {
    gathered: Vec<f32>,
    d_gathered: Vec<f32>,
    bias: Vec<f32>,
    logits: Vec<f32>,
}

impl Sampled<'_> {
    /// The sum of the rows' losses, and all gradients.
    ///
    /// # Shapes
    /// `x` rows × width. Memory: negatives × (2 · width + 128) numbers beside the gradients.
    pub fn forward_backward(&self, x: &[f32], gradients: &mut Gradients, work: &mut Work) -> f64 {
        let (width, count) = (self.width, self.negatives.len());
        let rows = x.len() / width.max(1);
        assert!(rows * width == x.len() && self.targets.starts.len() == rows + 1, "targets for each row");
        assert_eq!(x.len(), gradients.x.len(), "a gradient for each number");
        assert_eq!(self.weights.len(), gradients.weights.len(), "a gradient for each weight");
        self.gather(work);
        gradients.x.fill(0.0);
        let mut sum = 0.0;
        for first in (0..rows).step_by(BLOCK) {
            let rows = BLOCK.min(rows - first);
            let x_layout = Layout::dense(rows, width);
            let x_block = &x[first * width..][..rows * width];
            work.logits.resize(BLOCK * count, 0.0);
            let logits = &mut work.logits[..rows * count];
            logits.chunks_exact_mut(count.max(1)).for_each(|row| row.copy_from_slice(&work.bias));
            let negatives = (work.gathered.as_slice(), Layout::dense(count, width));
            let layout = Layout::dense(rows, count);
            matmul((logits, layout), 1.0, (x_block, x_layout), (negatives.0, negatives.1.transposed()), 1.0);
            for row in 0..rows {
                let logits = &mut work.logits[row * count..][..count];
                sum += self.row(first + row, x, logits, gradients);
            }
            let d_logits = (&work.logits[..rows * count], layout);
            let d_x = &mut gradients.x[first * width..][..rows * width];
            matmul((d_x, x_layout), 1.0, d_logits, negatives, 1.0);
            let d_gathered = (work.d_gathered.as_mut_slice(), Layout::dense(count, width));
            matmul(d_gathered, 1.0, (d_logits.0, layout.transposed()), (x_block, x_layout), 1.0);
            if let Some(d_bias) = gradients.bias.as_deref_mut() {
                for row in d_logits.0.chunks_exact(count.max(1)) {
                    self.negatives.iter().zip(row).for_each(|(class, d)| d_bias[*class as usize] += d);
                }
            }
        }
        for (class, d) in self.negatives.iter().zip(work.d_gathered.chunks_exact(width.max(1))) {
            let to = &mut gradients.weights[*class as usize * width..][..width];
            to.iter_mut().zip(d).for_each(|(sum, d)| *sum += d);
        }
        sum
    }

    /// The negatives' vectors, and their biases with the correction.
    fn gather(&self, work: &mut Work) {
        let width = self.width;
        let classes = self.weights.len() / width.max(1);
        work.gathered.clear();
        let rows = self.negatives.iter().map(|class| &self.weights[*class as usize * width..][..width]);
        rows.for_each(|row| work.gathered.extend_from_slice(row));
        work.d_gathered.clear();
        work.d_gathered.resize(work.gathered.len(), 0.0);
        let expected = match self.kind {
            Kind::Softmax { corrected: true } => self.negatives.len() as f32 / classes.max(1) as f32,
            _ => 1.0,
        };
        let bias = |class: u32| self.bias.map_or(0.0, |bias| bias[class as usize]);
        work.bias.clear();
        work.bias.extend(self.negatives.iter().map(|class| bias(*class) - expected.ln()));
    }

    /// The loss of a row; its negatives' logits become their gradients, and those of its targets are added.
    fn row(&self, row: usize, x: &[f32], logits: &mut [f32], gradients: &mut Gradients) -> f64 {
        let range = self.targets.starts[row]..self.targets.starts[row + 1];
        let (classes, values) = (&self.targets.classes[range.clone()], &self.targets.values[range]);
        let x = &x[row * self.width..][..self.width];
        for (logit, class) in logits.iter_mut().zip(self.negatives) {
            if classes.contains(class) {
                *logit = f32::NEG_INFINITY;
            }
        }
        let weight: f32 = values.iter().sum();
        let mut spread = Spread::new(self.kind, logits, weight);
        for (class, value) in classes.iter().zip(values) {
            let of_class = *class as usize * self.width;
            let own = &self.weights[of_class..][..self.width];
            let dot: f32 = own.iter().zip(x).map(|(w, x)| w * x).sum();
            let logit = dot + self.bias.map_or(0.0, |bias| bias[*class as usize]);
            let d = spread.target(logit, *value) * gradients.scale;
            let to = &mut gradients.weights[of_class..][..self.width];
            to.iter_mut().zip(x).for_each(|(sum, x)| *sum += d * x);
            let d_x = &mut gradients.x[row * self.width..][..self.width];
            d_x.iter_mut().zip(own).for_each(|(sum, w)| *sum += d * w);
            if let Some(d_bias) = gradients.bias.as_deref_mut() {
                d_bias[*class as usize] += d;
            }
        }
        spread.finish(logits, gradients.scale)
    }
}

/// What the negatives of a row come to, while its targets are gone through.
struct Spread {
    kind: Kind,
    /// Largest logit of the negatives, and the sum of e^(logit − top).
    top: f32,
    sum: f64,
    weight: f32,
    /// Softmax: Σ w ⁄ whole, with what the negatives' e^(logit − top) are multiplied.
    factor: f64,
    loss: f64,
}

impl Spread {
    /// Softmax: logits become e^(logit − top). Binary: they become σ.
    fn new(kind: Kind, logits: &mut [f32], weight: f32) -> Self {
        let mut own = Self { kind, top: f32::NEG_INFINITY, sum: 0.0, weight, factor: 0.0, loss: 0.0 };
        match kind {
            Kind::Softmax { .. } => (own.top, own.sum) = powers(logits),
            Kind::Binary { .. } => own.loss = f64::from(weight) * f64::from(unary::sigmoid(logits)),
        }
        own
    }

    /// Takes in a target; the gradient of its logit.
    fn target(&mut self, logit: f32, weight: f32) -> f32 {
        let (s, w) = (f64::from(logit), f64::from(weight));
        match self.kind {
            Kind::Softmax { .. } => {
                let top = f64::from(self.top);
                let high = top.max(s);
                let own = (s - high).exp();
                let others = if self.sum > 0.0 { self.sum * (top - high).exp() } else { 0.0 };
                let whole = own + others;
                self.loss += w * (high + whole.ln() - s);
                if self.sum > 0.0 {
                    self.factor += w * (top - high).exp() / whole;
                }
                (w * (own / whole - 1.0)) as f32
            }
            Kind::Binary { beta } => {
                let beta = f64::from(beta);
                self.loss += w * beta * softplus(-s);
                (-w * beta / (1.0 + s.exp())) as f32
            }
        }
    }

    /// The row's loss; what [`Spread::new`] left in `logits` becomes their gradients.
    fn finish(self, logits: &mut [f32], scale: f32) -> f64 {
        let factor = match self.kind {
            Kind::Softmax { .. } => self.factor as f32 * scale,
            Kind::Binary { .. } => self.weight * scale,
        };
        logits.iter_mut().for_each(|logit| *logit *= factor);
        self.loss
    }
}

/// ln (1 + eˣ).
pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Logits become e^(logit − top), of which the largest and the sum are returned. Those that are −∞ become 0.
fn powers(logits: &mut [f32]) -> (f32, f64) {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if top == f32::NEG_INFINITY {
        logits.fill(0.0);
        return (top, 0.0);
    }
    (top, f64::from(softmax::exponents(logits, top)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Numbers, differs, wide};
    use crate::kernel::tests::numbers;

    const WIDTH: usize = 3;
    const CLASSES: usize = 7;
    /// Class 4 twice; class 1 is a target of the first row.
    const NEGATIVES: &[u32] = &[1, 4, 0, 4];
    const TARGETS: Sparse = Sparse { starts: &[0, 2, 2, 3], classes: &[1, 6, 3], values: &[0.5, 1.5, 2.0] };

    /// Inputs: x, weights, bias.
    fn reference(kind: Kind, given: &Numbers, scale: f64) -> f64 {
        let logit = |row: usize, class: u32| {
            let class = class as usize;
            let dot: f64 = (0..WIDTH).map(|i| given[0][row * WIDTH + i] * given[1][class * WIDTH + i]).sum();
            dot + given[2][class]
        };
        let mut sum = 0.0;
        for row in 0..3 {
            let range = TARGETS.starts[row]..TARGETS.starts[row + 1];
            let own = &TARGETS.classes[range.clone()];
            let others: Vec<f64> = NEGATIVES
                .iter()
                .filter(|class| !own.contains(class))
                .map(|class| logit(row, *class))
                .collect();
            for (class, weight) in own.iter().zip(&TARGETS.values[range]) {
                let s = logit(row, *class);
                let loss = match kind {
                    Kind::Softmax { corrected } => {
                        let times = if corrected { CLASSES as f64 / NEGATIVES.len() as f64 } else { 1.0 };
                        (s.exp() + others.iter().map(|s| times * s.exp()).sum::<f64>()).ln() - s
                    }
                    Kind::Binary { beta } => {
                        let positive = (1.0 + (-s).exp()).ln() * f64::from(beta);
                        positive + others.iter().map(|s| (1.0 + s.exp()).ln()).sum::<f64>()
                    }
                };
                sum += f64::from(*weight) * loss;
            }
        }
        sum * scale
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let [x, weights, bias] =
            [(3 * WIDTH, 1), (CLASSES * WIDTH, 2), (CLASSES, 3)].map(|(count, seed)| numbers(count, seed));
        let kinds = [
            Kind::Softmax { corrected: false },
            Kind::Softmax { corrected: true },
            Kind::Binary { beta: 1.0 },
            Kind::Binary { beta: 0.3 },
        ];
        for kind in kinds {
            let loss = Sampled {
                weights: &weights,
                bias: Some(&bias),
                width: WIDTH,
                targets: TARGETS,
                negatives: NEGATIVES,
                kind,
            };
            let (mut d_x, mut d_w, mut d_b) =
                (vec![7.0; x.len()], vec![0.0; weights.len()], vec![0.0; bias.len()]);
            let mut into = Gradients { scale: 0.5, x: &mut d_x, weights: &mut d_w, bias: Some(&mut d_b) };
            let found = loss.forward_backward(&x, &mut into, &mut Work::default());
            let inputs: [&[f32]; 3] = [&x, &weights, &bias];
            let want = reference(kind, &wide(&inputs), 1.0);
            assert!((found - want).abs() < 1e-5 * want.max(1.0), "{kind:?}: {found} is not {want}");
            let slope = |given: &Numbers| reference(kind, given, 0.5);
            assert_eq!(differs(&inputs, &[&d_x, &d_w, &d_b], slope), None, "{kind:?}");
        }
    }

    #[test]
    fn with_all_classes_as_negatives_it_is_the_full_softmax() {
        let rows = BLOCK + 2;
        let [x, weights] = [(rows * 2, 1), (5 * 2, 2)].map(|(count, seed)| numbers(count, seed));
        let classes: Vec<u32> = (0..rows as u32).map(|row| row % 5).collect();
        let (starts, values): (Vec<usize>, Vec<f32>) = ((0..=rows).collect(), vec![1.0; rows]);
        let targets = Sparse { starts: &starts, classes: &classes, values: &values };
        let kind = Kind::Softmax { corrected: true };
        let negatives = [0, 1, 2, 3, 4];
        let loss = Sampled { weights: &weights, bias: None, width: 2, targets, negatives: &negatives, kind };
        let (mut d_x, mut d_w) = (vec![0.0; x.len()], vec![0.0; weights.len()]);
        let mut into = Gradients { scale: 1.0, x: &mut d_x, weights: &mut d_w, bias: None };
        let found = loss.forward_backward(&x, &mut into, &mut Work::default());
        use crate::operation::cross_entropy::{CrossEntropy, Targets};
        let targets = Targets::Class(&classes);
        let whole = CrossEntropy { weights: &weights, bias: None, width: 2, targets, offsets: None };
        let want = whole.loss(&x, &mut Vec::new());
        assert!((found - want).abs() < 1e-4 * want, "{found} is not {want}");
    }

    #[test]
    fn beta_is_between_bce_and_the_share_that_was_drawn() {
        assert_eq!(calibrated_beta(256, 3416, 0.0), 1.0);
        assert!((calibrated_beta(256, 3417, 1.0) - 256.0 / 3416.0).abs() < 1e-6);
        let half = calibrated_beta(256, 3417, 0.5);
        assert!((half - 0.5 * (1.0 + 256.0 / 3416.0)).abs() < 1e-6);
        assert_eq!(calibrated_beta(5, 1, 1.0), 1.0);
    }

    #[test]
    fn negatives_are_of_all_classes() {
        let drawn = uniform(Stream::new(1), 4000, 4);
        for class in 0..4 {
            let count = drawn.iter().filter(|one| **one == class).count();
            assert!((900..1100).contains(&count), "{count}");
        }
        assert!(uniform(Stream::new(1), 9, 0).is_empty());
    }
}
