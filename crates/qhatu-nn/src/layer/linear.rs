//! [`crate::operation::linear`] with its parameters.

use crate::operation::linear::{self, Widths};
use crate::parameters::{Initial, Parameters, Slot};
use crate::random::Stream;

/// Shape and first weights of a [`Linear`] layer; names as PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearConfig {
    /// Columns of `x`.
    pub in_features: usize,
    /// Columns of `y`.
    pub out_features: usize,
    /// Deviation of the first weights.
    pub initializer_range: f32,
}

/// `y = x Wᵀ + b`; tensors `{name}.weight` (outputs × inputs) and `{name}.bias`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linear {
    /// W.
    pub weight: Slot,
    /// b.
    pub bias: Slot,
    /// Width of `x` and of `y`.
    pub widths: Widths,
}

impl Linear {
    /// Adds its tensors: weights normal, bias 0.
    pub fn new(parameters: &mut Parameters, name: &str, config: LinearConfig, stream: Stream) -> Self {
        let LinearConfig { in_features: inputs, out_features: outputs, initializer_range } = config;
        let shape = [outputs, inputs];
        let normal = Initial::Normal(initializer_range);
        let weight = parameters.add(format!("{name}.weight"), &shape, normal, stream);
        let bias = parameters.add(format!("{name}.bias"), &[outputs], Initial::Constant(0.0), stream);
        Self { weight, bias, widths: Widths { inputs, outputs } }
    }

    /// `y` (resized to rows × outputs) from `x` (rows × inputs).
    pub fn forward(&self, parameters: &[f32], x: &[f32], y: &mut Vec<f32>) {
        y.resize(x.len() / self.widths.inputs.max(1) * self.widths.outputs, 0.0);
        linear::forward(x, self.weight.of(parameters), Some(self.bias.of(parameters)), y, self.widths);
    }

    /// Adds to the gradients of its parameters; `d_x` (resized) from `d_y`.
    pub fn backward(
        &self,
        parameters: &[f32],
        gradients: &mut [f32],
        x: &[f32],
        d_y: &[f32],
        d_x: &mut Vec<f32>,
    ) {
        let [d_weight, d_bias] = Slot::all_of_mut([self.weight, self.bias], gradients);
        linear::backward_weights(x, d_y, d_weight, Some(d_bias), self.widths);
        d_x.resize(x.len(), 0.0);
        linear::backward_input(d_y, self.weight.of(parameters), d_x, self.widths);
    }
}
