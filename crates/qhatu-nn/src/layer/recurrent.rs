//! [`crate::operation::recurrent`] (GRU: Cho et al., 2014; LSTM: Hochreiter & Schmidhuber, 1997) with its parameters.

use crate::operation::linear::Widths;
use crate::operation::recurrent::{self, Cell, Saved, Steps, Weights};
use crate::parameters::{Initial, Parameters, Slot};
use crate::random::Stream;

/// Shape and first weights of a [`Recurrent`] layer; names as PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecurrentConfig {
    /// Which cell.
    pub cell: Cell,
    /// Columns of the input.
    pub input_size: usize,
    /// Columns of the state.
    pub hidden_size: usize,
    /// Deviation of the first weights.
    pub initializer_range: f32,
}

/// A GRU or LSTM of one layer; tensors `{name}.weight_ih`, `{name}.weight_hh`, `{name}.bias_ih` and
/// `{name}.bias_hh`, as PyTorch names and lays them out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recurrent {
    /// Which cell.
    pub cell: Cell,
    /// Width of the input and of the state.
    pub widths: Widths,
    /// Where its tensors lie.
    pub weights: Weights<Slot>,
}

impl Recurrent {
    /// Adds its tensors: weights normal, biases 0.
    pub fn new(parameters: &mut Parameters, name: &str, config: RecurrentConfig, stream: Stream) -> Self {
        let RecurrentConfig { cell, input_size: inputs, hidden_size: outputs, initializer_range } = config;
        let rows = cell.gates() * outputs;
        let mut add = |part: &str, shape: &[usize], initial| {
            parameters.add(format!("{name}.{part}"), shape, initial, stream)
        };
        let normal = Initial::Normal(initializer_range);
        let zero = Initial::Constant(0.0);
        let weights = Weights {
            input: add("weight_ih", &[rows, inputs], normal),
            hidden: add("weight_hh", &[rows, outputs], normal),
            input_bias: add("bias_ih", &[rows], zero),
            hidden_bias: add("bias_hh", &[rows], zero),
        };
        Self { cell, widths: Widths { inputs, outputs }, weights }
    }

    /// `y` (resized), the state behind each token, from `x`; rows in the order of the pack.
    pub fn forward(&self, parameters: &[f32], steps: &Steps, x: &[f32], y: &mut Vec<f32>, saved: &mut Saved) {
        y.resize(steps.tokens() * self.widths.outputs, 0.0);
        self.operation(parameters, steps).forward(x, y, saved);
    }

    /// Adds to the gradients of its parameters; `d_x` (resized) from `d_y`. What `saved` holds is used up.
    pub fn backward(
        &self,
        (parameters, gradients): (&[f32], &mut [f32]),
        steps: &Steps,
        d_y: &[f32],
        d_x: &mut Vec<f32>,
        saved: &mut Saved,
    ) {
        d_x.resize(steps.tokens() * self.widths.inputs, 0.0);
        let Weights { input, hidden, input_bias, hidden_bias } = self.weights;
        let slots = [input, hidden, input_bias, hidden_bias];
        let [input, hidden, input_bias, hidden_bias] = Slot::all_of_mut(slots, gradients);
        let into = Weights { input, hidden, input_bias, hidden_bias };
        self.operation(parameters, steps).backward(d_y, d_x, into, saved);
    }

    fn operation<'a>(&self, parameters: &'a [f32], steps: &'a Steps) -> recurrent::Recurrent<'a> {
        let weights = Weights {
            input: self.weights.input.of(parameters),
            hidden: self.weights.hidden.of(parameters),
            input_bias: self.weights.input_bias.of(parameters),
            hidden_bias: self.weights.hidden_bias.of(parameters),
        };
        recurrent::Recurrent { cell: self.cell, widths: self.widths, weights, steps }
    }
}
