//! Feed-forward layer: `y = f(x W₁ᵀ + b₁) W₂ᵀ + b₂` with `f` an activation, number by number (Vaswani et al.,
//! 2017, section 3.3).

use crate::layer::{Linear, LinearConfig};
use crate::operation::activation::Activation;
use crate::parameters::Parameters;
use crate::random::Stream;

/// Shape and first weights of a [`FeedForward`] layer; names as in published `config.json` files.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FeedForwardConfig {
    /// Columns.
    pub hidden_size: usize,
    /// Columns between the two maps.
    pub intermediate_size: usize,
    /// What stands between them.
    pub hidden_act: Activation,
    /// Deviation of the first weights.
    pub initializer_range: f32,
}

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
    /// Adds its tensors.
    pub fn new(parameters: &mut Parameters, name: &str, config: FeedForwardConfig, stream: Stream) -> Self {
        let FeedForwardConfig { hidden_size, intermediate_size, hidden_act, initializer_range } = config;
        let mut linear = |part: &str, in_features, out_features| {
            let config = LinearConfig { in_features, out_features, initializer_range };
            Linear::new(parameters, &format!("{name}.{part}"), config, stream)
        };
        Self {
            up: linear("up", hidden_size, intermediate_size),
            down: linear("down", intermediate_size, hidden_size),
            activation: hidden_act,
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
