//! What pre-training and fine-tuning have in common on the command line.

use std::path::PathBuf;

use qhatu_text::{Next, Progress, TrainingConfig};

use crate::progress::Stage;

/// Settings of a training.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Times that every text is seen.
    #[arg(long, default_value_t = 1)]
    epochs: u32,
    /// Texts of a step.
    #[arg(long, default_value_t = 32)]
    batch_size: usize,
    /// Longest text in tokens.
    #[arg(long, default_value_t = 64)]
    max_length: usize,
    /// What all random numbers come from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The training's state is kept here; called again, it goes on from there to the same result.
    #[arg(long)]
    pub(crate) state: Option<PathBuf>,
    /// Steps between two states.
    #[arg(long, default_value_t = 200)]
    pub(crate) every: u32,
}

impl Settings {
    pub(crate) fn config(&self, learning_rate: f32) -> TrainingConfig {
        TrainingConfig {
            epochs: self.epochs,
            batch_size: self.batch_size,
            max_length: self.max_length,
            seed: self.seed,
            learning_rate,
            ..TrainingConfig::default()
        }
    }
}

/// Shows each step, and keeps the mean loss of the last hundred or so.
pub(crate) struct Watch {
    stage: Stage,
    pub(crate) loss: f64,
}

impl Watch {
    pub(crate) fn begin(name: &str) -> Self {
        Self { stage: Stage::begin(name, 0), loss: f64::NAN }
    }

    pub(crate) fn see(&mut self, progress: Progress) -> Next {
        let before = if self.loss.is_nan() { progress.loss } else { self.loss };
        self.loss = before + (progress.loss - before) / f64::from(progress.step.clamp(1, 100));
        self.stage.at(u64::from(progress.step), u64::from(progress.steps));
        self.stage.say(&format!("loss {:.4}", self.loss));
        Next::Continue
    }

    pub(crate) fn end(self) {
        let outcome = format!("loss {:.4}", self.loss);
        self.stage.end(&outcome);
    }
}
