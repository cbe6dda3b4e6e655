//! A linear map for many forward passes with the same weights: laid out once, in 32-bit floats or in whole numbers.

use crate::kernel::Team;
use crate::kernel::int8::{Int8Panels, Int8Rows};
use crate::kernel::packed::Panels;
use crate::layer::Linear;

/// The numbers that a packed layer multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// Weights of 8 bits with a scale for each output, inputs of 8 with a scale for each row: the same answer on
    /// every processor. A quarter of the memory with VNNI, half of it without.
    Int8,
}

#[derive(Debug, Clone)]
enum Weights {
    F32(Panels),
    Int8(Int8Panels),
}

/// `y = x Wᵀ + b` with weights laid out for it.
#[derive(Debug, Clone)]
pub struct PackedLinear {
    weights: Weights,
    bias: Vec<f32>,
    inputs: usize,
}

/// Room to work, kept from call to call.
#[derive(Debug, Clone, Default)]
pub struct PackedLinearRoom {
    rows: Int8Rows,
}

impl PackedLinear {
    /// Lays out a layer's weights.
    pub fn new(linear: &Linear, parameters: &[f32], precision: Precision) -> Self {
        let (inputs, outputs) = (linear.widths.inputs, linear.widths.outputs);
        let weights = linear.weight.of(parameters);
        let weights = match precision {
            Precision::F32 => Weights::F32(Panels::new(weights, inputs, outputs)),
            Precision::Int8 => Weights::Int8(Int8Panels::new(weights, inputs, outputs)),
        };
        Self { weights, bias: linear.bias.of(parameters).to_vec(), inputs }
    }

    /// `y` (resized to rows × outputs) from `x` (rows × inputs), by a team; the result depends on neither it nor
    /// the other rows.
    pub fn forward(&self, x: &[f32], y: &mut Vec<f32>, team: &Team, room: &mut PackedLinearRoom) {
        y.resize(x.len() / self.inputs.max(1) * self.bias.len(), 0.0);
        match &self.weights {
            Weights::F32(panels) => panels.multiply(x, &self.bias, y, team),
            Weights::Int8(panels) => panels.multiply(x, &self.bias, y, (team, &mut room.rows)),
        }
    }
}
