//! Exponential moving average of parameters: a smoother model than the last step's (Polyak and
//! Juditsky, 1992). `a ← decay · a + (1 − decay) · w`, the decay smaller in the first steps, so that
//! the beginning is forgotten: `min(decay, (1 + t) ⁄ (10 + t))`.

/// Averages parameters over steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Ema {
    decay: f32,
    average: Vec<f32>,
}

impl Ema {
    /// Begins with these parameters.
    pub fn new(values: &[f32], decay: f32) -> Self {
        Self { decay, average: values.to_vec() }
    }

    /// Takes in the parameters after step `step`, counted from 1.
    ///
    /// # Panics
    /// Where they are not as many as at the beginning.
    pub fn update(&mut self, values: &[f32], step: u32) {
        assert_eq!(values.len(), self.average.len(), "the same parameters");
        let decay = self.decay.min((1 + step) as f32 / (10 + step) as f32);
        self.average
            .iter_mut()
            .zip(values)
            .for_each(|(average, value)| *average += (1.0 - decay) * (value - *average));
    }

    /// The average.
    pub fn values(&self) -> &[f32] {
        &self.average
    }

    /// The average, to be set when a training goes on.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.average
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_follows_and_forgets_the_beginning() {
        let mut ema = Ema::new(&[100.0, 0.0], 0.9);
        (1..=200).for_each(|step| ema.update(&[1.0, 2.0], step));
        assert!((ema.values()[0] - 1.0).abs() < 1e-4 && (ema.values()[1] - 2.0).abs() < 1e-4);
        let mut short = Ema::new(&[0.0], 0.5);
        short.update(&[1.0], 100);
        assert_eq!(short.values(), [0.5]);
    }
}
