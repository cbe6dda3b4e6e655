//! A linear map for many forward passes with the same weights: laid out once, in 32-bit floats or in whole numbers.

use std::ops::Range;

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
        Self::part(linear, parameters, 0..linear.widths.outputs, precision)
    }

    /// Lays out a layer's weights for some of its outputs.
    pub(super) fn part(
        linear: &Linear,
        parameters: &[f32],
        outputs: Range<usize>,
        precision: Precision,
    ) -> Self {
        let (inputs, bias) = (linear.widths.inputs, linear.bias.of(parameters)[outputs.clone()].to_vec());
        let weights = &linear.weight.of(parameters)[outputs.start * inputs..outputs.end * inputs];
        let weights = match precision {
            Precision::F32 => Weights::F32(Panels::new(weights, inputs, outputs.len())),
            Precision::Int8 => Weights::Int8(Int8Panels::new(weights, inputs, outputs.len())),
        };
        Self { weights, bias, inputs }
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
