//! A run: one attempt at making a model, whatever came of it.

use std::collections::BTreeMap;

use qhatu_schema::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is known of a run when it begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewRun {
    /// The kind of model: `"ease"`, `"sasrec"`, ….
    pub kind: String,
    /// Its hyper-parameters.
    pub config: Value,
    /// The seed of everything random.
    pub seed: u64,
    /// Says which data it was: the same data, the same fingerprint.
    pub data_fingerprint: String,
    /// Version of the program, with the commit where it is known.
    pub code_version: String,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Begun; also what an interrupted run looks like.
    Running,
    /// Ended well.
    Finished,
    /// Ended with an error.
    Failed,
}

/// A run as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// A ULID: sorts by time.
    pub id: String,
    /// What it began with.
    #[serde(flatten)]
    pub new: NewRun,
    /// Where it stands.
    pub status: RunStatus,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// What was measured, as `target.metric`: `"all.ndcg_at_10"`.
    pub metrics: BTreeMap<String, f64>,
    /// Why it failed.
    pub fault: Option<String>,
}
