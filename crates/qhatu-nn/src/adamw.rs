//! AdamW: Adam with weight decay apart from the gradient (Loshchilov and Hutter, "Decoupled Weight Decay
//! Regularization", ICLR 2019).
//!
//! `m ← β₁ m + (1 − β₁) g`, `v ← β₂ v + (1 − β₂) g²`,
//! `w ← w (1 − η λ) − η m̂ ⁄ (√v̂ + ε)` with `m̂ = m ⁄ (1 − β₁ᵗ)`, `v̂ = v ⁄ (1 − β₂ᵗ)`.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::kernel::step::{Adam, adam};
use crate::parameters::Parameters;
use crate::tensor_file::{TensorFile, TensorFileError};

/// Numbers that a thread moves at a time; each by itself, so that threads change nothing.
const BLOCK: usize = 1 << 16;

/// Hyper-parameters; the learning rate comes with each step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWConfig {
    /// β₁.
    pub beta1: f32,
    /// β₂.
    pub beta2: f32,
    /// ε.
    pub epsilon: f32,
    /// λ; for tensors of two dimensions or more.
    pub weight_decay: f32,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 }
    }
}

/// The optimizer and its state.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    config: AdamWConfig,
    steps: u32,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl AdamW {
    /// Before the first step.
    pub fn new(parameters: &Parameters, config: AdamWConfig) -> Self {
        let zeros = vec![0.0; parameters.len()];
        Self { config, steps: 0, first: zeros.clone(), second: zeros }
    }

    /// Steps that were made.
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// One step along `gradients`, each first multiplied by `scale` (see [`crate::clip`]).
    ///
    /// # Panics
    /// Where there are not as many gradients as parameters.
    pub fn step(&mut self, parameters: &mut Parameters, gradients: &[f32], learning_rate: f32, scale: f32) {
        assert_eq!(gradients.len(), parameters.len(), "a gradient for each parameter");
        self.steps += 1;
        let AdamWConfig { beta1, beta2, epsilon, weight_decay } = self.config;
        let left = |beta: f32| 1.0 - f64::from(beta).powf(f64::from(self.steps));
        let ranges: Vec<_> = parameters.decays().collect();
        for (range, decays) in ranges {
            let keep = if decays { 1.0 - learning_rate * weight_decay } else { 1.0 };
            let by = Adam {
                beta1,
                beta2,
                rate: (f64::from(learning_rate) / left(beta1)) as f32,
                second: (1.0 / left(beta2).sqrt()) as f32,
                epsilon,
                keep,
                scale,
            };
            let moments = [&mut self.first[range.clone()], &mut self.second[range.clone()]];
            move_all(&mut parameters.values_mut()[range.clone()], &gradients[range], moments, by);
        }
    }

    /// Puts the state into a file, so that training can go on as if it had not stopped.
    pub fn save(&self, parameters: &Parameters, file: &mut TensorFile) {
        parameters.put(file, FIRST, &self.first);
        parameters.put(file, SECOND, &self.second);
        file.put_u32(STEPS, &[1], vec![self.steps]);
    }

    /// Takes the state out of a file.
    ///
    /// # Errors
    /// Where the file does not hold it for these parameters.
    pub fn load(&mut self, parameters: &Parameters, file: &TensorFile) -> Result<(), TensorFileError> {
        parameters.take(file, FIRST, &mut self.first)?;
        parameters.take(file, SECOND, &mut self.second)?;
        let missing = || TensorFileError::Missing { name: STEPS.to_owned(), fault: "is empty".to_owned() };
        self.steps = *file.u32(STEPS)?.first().ok_or_else(missing)?;
        Ok(())
    }
}

/// [`adam`] on all threads; what is one block is not worth waking them.
fn move_all(values: &mut [f32], gradients: &[f32], [first, second]: [&mut [f32]; 2], by: Adam) {
    if values.len() <= BLOCK {
        return adam(values, gradients, [first, second], by);
    }
    let moments = first.par_chunks_mut(BLOCK).zip(second.par_chunks_mut(BLOCK));
    let blocks = values.par_chunks_mut(BLOCK).zip(gradients.par_chunks(BLOCK)).zip(moments);
    blocks.for_each(|((values, gradients), (m, v))| adam(values, gradients, [m, v], by));
}

const FIRST: &str = "adamw.first/";
const SECOND: &str = "adamw.second/";
const STEPS: &str = "adamw.steps";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Initial;
    use crate::random::Stream;

    /// Two steps by the formula, in f64.
    #[test]
    fn steps_follow_the_formula_and_vectors_do_not_decay() {
        let mut parameters = Parameters::default();
        parameters.add("w", &[1, 1], Initial::Constant(2.0), Stream::new(0));
        parameters.add("b", &[1], Initial::Constant(2.0), Stream::new(0));
        let config = AdamWConfig { weight_decay: 0.1, ..AdamWConfig::default() };
        let mut optimizer = AdamW::new(&parameters, config);
        let (mut m, mut v, mut w, mut b) = (0.0_f64, 0.0_f64, 2.0_f64, 2.0_f64);
        for (t, gradient) in [(1, 0.5_f64), (2, -0.2)] {
            optimizer.step(&mut parameters, &[gradient as f32, gradient as f32], 0.01, 1.0);
            m = 0.9 * m + 0.1 * gradient;
            v = 0.999 * v + 0.001 * gradient * gradient;
            let (m_hat, v_hat) = (m / (1.0 - 0.9_f64.powi(t)), v / (1.0 - 0.999_f64.powi(t)));
            w = w * (1.0 - 0.01 * 0.1) - 0.01 * m_hat / (v_hat.sqrt() + 1e-8);
            b -= 0.01 * m_hat / (v_hat.sqrt() + 1e-8);
            assert!((f64::from(parameters.values()[0]) - w).abs() < 1e-6);
            assert!((f64::from(parameters.values()[1]) - b).abs() < 1e-6);
        }
    }

    #[test]
    fn blocks_side_by_side_move_as_one() {
        let count = 2 * BLOCK + 5;
        let gradients: Vec<f32> = (0..count).map(|place| (place as f32).sin()).collect();
        let rows = [count, 1];
        let mut whole = Parameters::default();
        whole.add("w", &rows, Initial::Normal(1.0), Stream::new(3));
        let mut values = whole.values().to_vec();
        let mut optimizer = AdamW::new(&whole, AdamWConfig::default());
        optimizer.step(&mut whole, &gradients, 0.01, 0.5);
        let (mut first, mut second) = (vec![0.0; count], vec![0.0; count]);
        let AdamWConfig { beta1, beta2, epsilon, weight_decay } = AdamWConfig::default();
        let left = |beta: f32| 1.0 - f64::from(beta);
        let (rate, second_by) =
            ((f64::from(0.01_f32) / left(beta1)) as f32, (1.0 / left(beta2).sqrt()) as f32);
        let keep = 1.0 - 0.01 * weight_decay;
        let by = Adam { beta1, beta2, rate, second: second_by, epsilon, keep, scale: 0.5 };
        adam(&mut values, &gradients, [&mut first, &mut second], by);
        assert!(values == whole.values());
    }

    #[test]
    fn a_state_that_was_kept_goes_on_to_the_bit() {
        let mut parameters = Parameters::default();
        parameters.add("w", &[3, 2], Initial::Normal(1.0), Stream::new(0));
        let mut optimizer = AdamW::new(&parameters, AdamWConfig::default());
        let gradients = [0.1, -0.2, 0.3, 0.0, 5.0, -1.0];
        optimizer.step(&mut parameters, &gradients, 0.01, 0.7);
        let mut file = TensorFile::default();
        parameters.save(&mut file);
        optimizer.save(&parameters, &mut file);
        let file = TensorFile::from_bytes(&file.to_bytes().unwrap()).unwrap();
        let mut other = parameters.clone();
        let mut resumed = AdamW::new(&other, AdamWConfig::default());
        other.load(&file).unwrap();
        resumed.load(&other, &file).unwrap();
        assert_eq!(resumed, optimizer);
        optimizer.step(&mut parameters, &gradients, 0.01, 1.0);
        resumed.step(&mut other, &gradients, 0.01, 1.0);
        assert_eq!(other, parameters);
    }
}
