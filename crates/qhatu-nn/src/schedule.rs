//! The learning rate over a training: it rises in a straight line while warming up, then stays, or falls
//! in a line (Devlin et al., 2019) or along half a cosine (Loshchilov and Hutter, 2017).

use serde::{Deserialize, Serialize};

/// How the rate falls after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Not at all.
    #[default]
    Constant,
    /// In a straight line to the floor.
    Linear,
    /// Along half a cosine to the floor.
    Cosine,
}

/// A learning rate for each step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The highest rate.
    pub peak: f32,
    /// The lowest rate of the fall, as a share of the peak.
    pub floor: f32,
    /// Steps until the peak is reached.
    pub warm_up: u32,
    /// Steps in all; later ones have the last one's rate.
    pub total: u32,
    /// How it falls.
    pub decay: Decay,
}

impl Schedule {
    /// The rate of a step, counted from 0.
    pub fn rate(&self, step: u32) -> f32 {
        if step < self.warm_up {
            return self.peak * (step + 1) as f32 / self.warm_up as f32;
        }
        let fall = self.total.saturating_sub(self.warm_up).max(1);
        let done = ((step - self.warm_up) as f32 / fall as f32).min(1.0);
        let left = match self.decay {
            Decay::Constant => 1.0,
            Decay::Linear => 1.0 - done,
            Decay::Cosine => 0.5 * (1.0 + (std::f32::consts::PI * done).cos()),
        };
        self.peak * (self.floor + (1.0 - self.floor) * left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_and_falls() {
        let schedule = Schedule { peak: 1.0, floor: 0.1, warm_up: 4, total: 14, decay: Decay::Linear };
        let rates = [0, 3, 4, 9, 14, 99].map(|step| schedule.rate(step));
        let want = [0.25, 1.0, 1.0, 0.55, 0.1, 0.1];
        assert!(rates.iter().zip(want).all(|(rate, want)| (rate - want).abs() < 1e-6), "{rates:?}");
        assert!((Schedule { decay: Decay::Cosine, ..schedule }.rate(9) - 0.55).abs() < 1e-6);
        assert_eq!(Schedule { decay: Decay::Constant, ..schedule }.rate(50), 1.0);
        assert_eq!(Schedule { warm_up: 0, total: 0, ..schedule }.rate(0), 1.0);
    }
}
