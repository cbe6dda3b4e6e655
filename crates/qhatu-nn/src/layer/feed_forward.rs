//! Feed-forward layer: `y = f(x W₁ᵀ + b₁) W₂ᵀ + b₂` with `f` an activation, number by number.

use crate::layer::Linear;
use crate::operation::activation::Activation;
use crate::operation::linear::Widths;
use crate::parameters::Parameters;
use crate::random::Stream;

/// Two linear maps, tensors `{name}.up` and `{name}.down`, with an activation between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedForward {
    /// To the inner width.
    pub up: Linear,
    /// And back.
    pub down: Linear,
    /// What stands between.
    pub activation: Activation,
}

/// What the backward pass needs, and room to work.
#[derive(Debug, Clone, Default)]
pub struct FeedForwardSaved {
    before: Vec<f32>,
    after: Vec<f32>,
    d_inner: Vec<f32>,
}

impl FeedForward {
    /// Adds its tensors, `widths` those of input and inner layer.
    pub fn new(
        parameters: &mut Parameters,
        name: &str,
        widths: Widths,
        activation: Activation,
        (deviation, stream): (f32, Stream),
    ) -> Self {
        let back = Widths { inputs: widths.outputs, outputs: widths.inputs };
        Self {
            up: Linear::new(parameters, &format!("{name}.up"), widths, deviation, stream),
            down: Linear::new(parameters, &format!("{name}.down"), back, deviation, stream),
            activation,
        }
    }

    /// `y` (resized) from `x`, both rows × width.
    pub fn forward(&self, parameters: &[f32], x: &[f32], y: &mut Vec<f32>, saved: &mut FeedForwardSaved) {
        self.up.forward(parameters, x, &mut saved.before);
        saved.after.resize(saved.before.len(), 0.0);
        self.activation.forward(&saved.before, &mut saved.after);
        self.down.forward(parameters, &saved.after, y);
    }

    /// Adds to the gradients of its parameters; `d_x` (resized) from `d_y`. `input` is that of the
    /// forward pass with what it saved.
    pub fn backward(
        &self,
        parameters: &[f32],
        gradients: &mut [f32],
        (x, saved): (&[f32], &mut FeedForwardSaved),
        d_y: &[f32],
        d_x: &mut Vec<f32>,
    ) {
        self.down.backward(parameters, gradients, &saved.after, d_y, &mut saved.d_inner);
        self.activation.backward(&saved.before, &mut saved.d_inner);
        self.up.backward(parameters, gradients, x, &saved.d_inner, d_x);
    }
}
