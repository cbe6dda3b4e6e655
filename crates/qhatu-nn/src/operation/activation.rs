//! Activations: GELU, `x Φ(x)` (Hendrycks and Gimpel, 2016), exactly or by their tanh formula, ReLU and
//! tanh.

use serde::{Deserialize, Serialize};

use crate::kernel::unary;

/// Which function; the names are those of published `config.json` files (`hidden_act`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Activation {
    /// `x Φ(x)`.
    #[default]
    #[serde(rename = "gelu")]
    Gelu,
    /// `½ x (1 + tanh(√(2⁄π) (x + 0.044715 x³)))`.
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh")]
    GeluTanh,
    /// `max(x, 0)`.
    #[serde(rename = "relu")]
    Relu,
    /// `tanh x`; BERT's pooler.
    #[serde(rename = "tanh")]
    Tanh,
}

impl Activation {
    /// `y ← f(x)`, number by number.
    pub fn forward(self, x: &[f32], y: &mut [f32]) {
        match self {
            Self::Gelu => unary::gelu(x, y),
            Self::GeluTanh => unary::gelu_tanh(x, y),
            Self::Relu => x.iter().zip(y).for_each(|(x, y)| *y = x.max(0.0)),
            Self::Tanh => {
                y.copy_from_slice(x);
                unary::tanh(y);
            }
        }
    }

    /// `d ← d · f′(x)`: the gradient of the input in the place of the output's.
    pub fn backward(self, x: &[f32], d: &mut [f32]) {
        match self {
            Self::Gelu => unary::gelu_backward(x, d),
            Self::GeluTanh => unary::gelu_tanh_backward(x, d),
            Self::Relu => x.iter().zip(d).for_each(|(x, d)| *d = if *x > 0.0 { *d } else { 0.0 }),
            Self::Tanh => unary::tanh_backward(x, d),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GELU's two forms are tested in the kernel.
    #[test]
    fn relu_cuts_below_zero() {
        let x = [-1.0, 0.0, 2.0];
        let mut y = [9.0; 3];
        Activation::Relu.forward(&x, &mut y);
        assert_eq!(y, [0.0, 0.0, 2.0]);
        let mut d = [5.0; 3];
        Activation::Relu.backward(&x, &mut d);
        assert_eq!(d, [0.0, 0.0, 5.0]);
    }

    #[test]
    fn tanh_falls_flat_far_out() {
        let x = [-20.0, 0.0, 0.5];
        let (mut y, mut d) = ([9.0; 3], [2.0; 3]);
        Activation::Tanh.forward(&x, &mut y);
        Activation::Tanh.backward(&x, &mut d);
        let (want_y, want_d) = ([-1.0, 0.0, 0.462_117_2], [0.0, 2.0, 1.572_895_5]);
        let near =
            |found: [f32; 3], want: [f32; 3]| found.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(y, want_y) && near(d, want_d), "{y:?} {d:?}");
    }
}
