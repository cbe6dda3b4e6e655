//! Binary cross-entropy of logits, weighted by class and, as focal loss, by how hard a row is.
//!
//! With `p = σ(z)`, and `p_t` equal to `p` where the label is 1 and to `1 − p` where it is 0:
//! `L = w_y (1 − p_t)^γ (−ln p_t)`. γ = 0 is plain (weighted) cross-entropy; γ = 2 is usual for focal loss (Lin et al.,
//! "Focal Loss for Dense Object Detection", ICCV 2017), whose α is the weight of the positive class and 1 − α
//! that of the negative one.
//!
//! Gradient: `∂L ⁄ ∂z = ∓ w_y (1 − p_t)^γ (γ p_t (−ln p_t) + 1 − p_t)`, − where the label is 1.

use crate::operation::sampled::softplus;

/// The loss's settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Binary {
    /// Weight of rows with label 0.
    pub negative: f32,
    /// Weight of rows with label 1.
    pub positive: f32,
    /// γ, from 0.
    pub gamma: f32,
}

impl Default for Binary {
    fn default() -> Self {
        Self { negative: 1.0, positive: 1.0, gamma: 0.0 }
    }
}

impl Binary {
    /// Weights with which both classes count alike: rows ⁄ (2 · rows of the class), as scikit-learn's
    /// `class_weight="balanced"`; 1 for a class without rows.
    pub fn balanced(labels: &[bool]) -> Self {
        let positives = labels.iter().filter(|label| **label).count();
        let of = |count: usize| if count == 0 { 1.0 } else { labels.len() as f32 / (2 * count) as f32 };
        Self { negative: of(labels.len() - positives), positive: of(positives), gamma: 0.0 }
    }

    /// The sum of the losses; `d_logits` is overwritten with their gradients times `scale`.
    ///
    /// # Panics
    /// Where the lists are not of one length.
    pub fn forward_backward(&self, logits: &[f32], labels: &[bool], scale: f32, d_logits: &mut [f32]) -> f64 {
        assert!(logits.len() == labels.len() && logits.len() == d_logits.len(), "a label for each logit");
        let gamma = f64::from(self.gamma);
        let mut sum = 0.0;
        for ((z, label), d) in logits.iter().zip(labels).zip(d_logits) {
            let (sign, weight) = if *label { (1.0, self.positive) } else { (-1.0, self.negative) };
            let weight = f64::from(weight);
            let surprise = softplus(-sign * f64::from(*z));
            let (hit, miss) = ((-surprise).exp(), 1.0 / (1.0 + (sign * f64::from(*z)).exp()));
            let focus = miss.powf(gamma);
            sum += weight * focus * surprise;
            let slope = -sign * weight * focus * (gamma * hit * surprise + miss);
            *d = (slope * f64::from(scale)) as f32;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Numbers, differs, wide};
    use crate::kernel::tests::numbers;

    const LABELS: &[bool] = &[true, false, false, true, false];

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let logits: Vec<f32> = numbers(5, 1).iter().map(|z| 3.0 * z).collect();
        for loss in [
            Binary::default(),
            Binary { negative: 0.25, positive: 0.75, gamma: 2.0 },
            Binary { gamma: 0.5, ..Binary::balanced(LABELS) },
        ] {
            let reference = |given: &Numbers| -> f64 {
                let each = given[0].iter().zip(LABELS).map(|(z, label)| {
                    let p = 1.0 / (1.0 + (-z).exp());
                    let (p, weight) = if *label { (p, loss.positive) } else { (1.0 - p, loss.negative) };
                    -f64::from(weight) * (1.0 - p).powf(f64::from(loss.gamma)) * p.ln()
                });
                0.5 * each.sum::<f64>()
            };
            let mut d = vec![9.0; 5];
            let found = loss.forward_backward(&logits, LABELS, 0.5, &mut d);
            let want = 2.0 * reference(&wide(&[&logits]));
            assert!((found - want).abs() < 1e-9, "{found} is not {want}");
            assert_eq!(differs(&[&logits], &[&d], reference), None, "{loss:?}");
        }
    }

    #[test]
    fn far_out_it_stays_a_number() {
        let mut d = [0.0; 4];
        let loss = Binary { gamma: 2.0, ..Binary::default() };
        let labels = [true, true, false, false];
        let sum = loss.forward_backward(&[1e4, -1e4, 1e4, -1e4], &labels, 1.0, &mut d);
        assert!((sum - 2e4).abs() < 1e-6 && d == [0.0, -1.0, 1.0, 0.0], "{sum} {d:?}");
    }

    #[test]
    fn balanced_weights_make_both_classes_count_alike() {
        let found = Binary::balanced(&[true, false, false, false]);
        assert_eq!((found.positive, found.negative), (2.0, 4.0 / 6.0));
        assert_eq!(Binary::balanced(&[true]), Binary { positive: 0.5, negative: 1.0, gamma: 0.0 });
    }
}
