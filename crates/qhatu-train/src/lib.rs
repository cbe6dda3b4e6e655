//! How does the lake become a judged artifact? Read the purchases, set a test aside, fit the models on
//! the rest, judge them, register the winner, and put it before the gate.

mod config;
mod data;
mod error;
mod evidence;
mod fit;
mod fold;
mod journeys;
mod judged;
mod lists;
mod numbers;
mod pipeline;
pub mod propensity;
mod search;
mod split;
mod text_pairs;
mod texts;
mod wants;

pub use config::{
    ItemSidesConfig, LEARNED, MODELS, ON_DEMAND, OPTIONAL, Split, TextNeighboursConfig, TrainConfig,
};
pub use data::{ItemSide, ShopData, Wanted};
pub use error::TrainError;
pub use fold::FoldInputs;
pub use judged::lists;
pub use pipeline::{Outcome, Place, Step, evaluate, train};
pub use qhatu_models::sequence::Progress;
pub use search::{Found, Grid, SearchConfig, Trial, search, searched};
pub use split::{Asked, TestSet};
pub use text_pairs::{Looked, PairKind, TextPairs};
pub use texts::ShopTexts;
pub use wants::Wants;
