//! What does a model see? Features, declared, and the one fold that computes them everywhere.
//!
//! ```text
//! Declarations ── what each feature is (default.toml, a shop's features.toml)
//! State        ── the fold: apply(&Event) updates every aggregate it touches, row(entity, key, now) reads,
//!                 rows(columns) reads before each event, table(entity, now) reads them all,
//!                 numbers(reading, …) reads chosen ones for many products of one shopper
//! Preparation  ── imputing, encoding and scaling (encoder), fitted on training rows alone, kept with the model
//! ```
//!
//! Every aggregate is commutative: the state after a set of events does not depend on the order in which
//! they arrived, so live, late, replayed and shuffled events end in the same state.

mod catalogue;
mod cell;
mod check;
mod condition;
mod declaration;
pub mod encoder;
mod entity;
mod expression;
mod happening;
mod plan;
mod preparation;
mod reading;
mod rows;
mod state;

pub use catalogue::CatalogueEntry;
pub use condition::Condition;
pub use declaration::{Aggregate, Attribute, Declarations, Entity, Feature, FeatureError, Of, ValueType};
pub use preparation::{Preparation, PreparationError, Recipe};
pub use reading::{Asking, Reading};
pub use state::{FeatureValue, Row, State};
