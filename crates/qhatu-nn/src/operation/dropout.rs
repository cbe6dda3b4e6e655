//! Dropout, inverted: a share of the numbers becomes 0, the rest is divided by what remains, so that
//! nothing changes when it is left out (Srivastava et al., JMLR 2014).
//!
//! Which ones is a function of stream and place. So there is no mask to keep: the backward pass is the
//! same call on the gradient.

use crate::kernel::step;
use crate::random::Stream;

/// Dropout of a rate, with the random numbers of a stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Share that is dropped, 0 to below 1.
    pub rate: f32,
    /// Where the random numbers come from; another one for each layer, step and part.
    pub stream: Stream,
}

impl Dropout {
    /// Dropout while training; nothing without random numbers, or of a rate of 0.
    pub fn of(rate: f32, training: Option<Stream>) -> Option<Self> {
        training.filter(|_| rate > 0.0).map(|stream| Self { rate, stream })
    }

    /// Drops in place: `x` in the forward pass, its gradient in the backward pass.
    pub fn apply(self, values: &mut [f32]) {
        if self.rate > 0.0 {
            let rate = self.rate.min(0.999);
            let threshold = (f64::from(rate) * (1u64 << 32) as f64) as u32;
            step::dropout(values, self.stream.words(), threshold, 1.0 / (1.0 - rate));
        }
    }

    /// The same rate, with the stream of a number within this one.
    #[must_use]
    pub fn child(self, number: u64) -> Self {
        Self { stream: self.stream.child(number), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forward_and_backward_drop_the_same_places_and_the_mean_stays() {
        let dropout = Dropout { rate: 0.3, stream: Stream::new(4) };
        let (mut x, mut d) = (vec![1.0; 50_000], vec![2.0; 50_000]);
        dropout.apply(&mut x);
        dropout.apply(&mut d);
        assert!(x.iter().zip(&d).all(|(x, d)| 2.0 * x == *d));
        let mean = x.iter().sum::<f32>() / 5e4;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        let before = x.clone();
        Dropout { rate: 0.0, ..dropout }.apply(&mut x);
        assert_eq!(x, before);
        let mut other = vec![1.0; 50_000];
        dropout.child(1).apply(&mut other);
        assert_ne!(other, before);
    }
}
