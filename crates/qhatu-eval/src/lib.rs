//! How good is it: measures, intervals, the verdict and the report.
//!
//! Plain numbers in (lists of item indices, what shoppers bought next), plain numbers out. This crate knows no model and
//! no shop; whoever has both calls [`judge()`] and shows the [`Report`].

pub mod bootstrap;
pub mod classification;
pub mod judge;
mod label;
pub mod metrics;
pub mod off_policy;
mod page;
pub mod report;
mod slice;
mod title;

pub use bootstrap::Estimate;
pub use classification::{Classification, ClassificationError, Cost, OverFolds, threshold_by_cost};
pub use judge::{
    Case, Catalogue, Comparison, JudgeError, Lists, ModelResult, Report, Settings, Slice, judge,
    paired_difference,
};
pub use off_policy::{Foretold, Impression, OffPolicy, OffPolicyError, OffPolicySettings, off_policy};
pub use page::html;
pub use report::{ReportError, text_table, to_json};
pub use title::{PieceReading, TitleReading};
