//! What does a model see? Features, declared, and the one fold that computes them everywhere.
//!
//! ```text
//! Declarations ── what each feature is (default.toml, a shop's features.toml)
//! State        ── the fold: apply(&Event) updates every aggregate it touches, row(entity, key, now) reads
//! table        ── the same fold over the lake: features as of a time, and rows before each event
//! encoder      ── imputing, encoding and scaling, fitted on training rows alone
//! ```
//!
//! Every aggregate is commutative: the state after a set of events does not depend on the order in which
//! they arrived, so live, late, replayed and shuffled events end in the same state.

mod declaration;
pub mod encoder;
mod expression;
mod state;
mod table;

pub use declaration::{Aggregate, Attribute, CatalogueEntry, Declarations, Entity, Feature, FeatureError};
pub use state::{FeatureValue, Row, State};
pub use table::{point_in_time_rows, table_as_of};
