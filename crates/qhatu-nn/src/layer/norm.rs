//! [`crate::operation::layer_norm`] (Ba et al., 2016) with its parameters.

use crate::operation::layer_norm::{self, Moments};
use crate::parameters::{Initial, Parameters, Slot};
use crate::random::Stream;

/// Shape of a [`LayerNorm`]; names as in published `config.json` files.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerNormConfig {
    /// Columns.
    pub hidden_size: usize,
    /// ε, added to the variance.
    pub layer_norm_eps: f32,
}

/// Layer norm; tensors `{name}.weight` (gain, 1 at first) and `{name}.bias` (0 at first).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerNorm {
    /// Gain.
    pub weight: Slot,
    /// Bias.
    pub bias: Slot,
    /// Columns.
    pub width: usize,
    /// ε.
    pub epsilon: f32,
}

/// What the backward pass needs beside the input.
#[derive(Debug, Clone, Default)]
pub struct LayerNormSaved {
    moments: Vec<Moments>,
}

impl LayerNorm {
    /// Adds its tensors.
    pub fn new(parameters: &mut Parameters, name: &str, config: LayerNormConfig) -> Self {
        let LayerNormConfig { hidden_size: width, layer_norm_eps: epsilon } = config;
        let mut add = |part: &str, number: f32| {
            parameters.add(format!("{name}.{part}"), &[width], Initial::Constant(number), Stream::new(0))
        };
        Self { weight: add("weight", 1.0), bias: add("bias", 0.0), width, epsilon }
    }

    /// `y` (resized) from `x`, both rows × width.
    pub fn forward(&self, parameters: &[f32], x: &[f32], y: &mut Vec<f32>, saved: &mut LayerNormSaved) {
        y.resize(x.len(), 0.0);
        saved.moments.resize(x.len() / self.width.max(1), [0.0; 2]);
        let weights = [self.weight.of(parameters), self.bias.of(parameters)];
        layer_norm::forward(x, weights, y, &mut saved.moments, self.epsilon);
    }

    /// Adds to the gradients of its parameters; `d_x` (resized) from `d_y`. `input` is that of the
    /// forward pass with what it saved.
    pub fn backward(
        &self,
        parameters: &[f32],
        gradients: &mut [f32],
        input: (&[f32], &LayerNormSaved),
        d_y: &[f32],
        d_x: &mut Vec<f32>,
    ) {
        d_x.resize(d_y.len(), 0.0);
        let d_weights = Slot::all_of_mut([self.weight, self.bias], gradients);
        let (x, saved) = input;
        layer_norm::backward((x, &saved.moments), self.weight.of(parameters), d_y, d_x, d_weights);
    }
}
