//! How does the lake become a judged artifact? Read the purchases, set a test aside, fit the models on
//! the rest, judge them, register the winner, and put it before the gate.

mod config;
mod data;
mod error;
mod evidence;
mod fit;
mod judged;
mod pipeline;
mod split;

pub use config::{LEARNED, MODELS, OPTIONAL, Split, TextNeighboursConfig, TrainConfig};
pub use data::ShopData;
pub use error::TrainError;
pub use judged::lists;
pub use pipeline::{Outcome, Place, Step, evaluate, train};
pub use qhatu_models::sasrec;
pub use qhatu_models::text_neighbours::ItemVectors;
pub use split::{Asked, TestSet};
