//! A model version, and the aliases that point to versions.

use std::collections::BTreeMap;

use qhatu_schema::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is known of a version when it is registered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewVersion {
    /// The kind of model in the files: `"blend"`, `"ease"`, ….
    pub kind: String,
    /// Its hyper-parameters.
    pub config: Value,
    /// The run that made it.
    pub run_id: String,
    /// The data it was made from.
    pub data_fingerprint: String,
    /// The program that made it.
    pub code_version: String,
    /// How it was judged (split, window, data): only figures of one protocol may be compared.
    pub protocol: String,
    /// Its figures, as `target.metric`: `"all.ndcg_at_10"`.
    pub metrics: BTreeMap<String, f64>,
    /// The figures of the baselines in the same judgement, by baseline.
    pub baselines: BTreeMap<String, BTreeMap<String, f64>>,
}

/// A version as it is kept; immutable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelVersion {
    /// The model's name in the registry.
    pub model: String,
    /// 1, 2, 3, … in order of registration.
    pub version: u64,
    /// When it was registered.
    pub created: Timestamp,
    /// What it is.
    #[serde(flatten)]
    pub new: NewVersion,
}

/// An alias and how it came to point where it does; the last move is the one that holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alias {
    /// `"champion"`, `"challenger"`, ….
    pub name: String,
    /// All moves, oldest first.
    pub moves: Vec<AliasMove>,
}

/// One move of an alias.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AliasMove {
    /// To this version.
    pub version: u64,
    /// When.
    pub at: Timestamp,
    /// Why: the gate's words, or those of who rolled back.
    pub reason: String,
    /// Whether it went back to an earlier version.
    pub rollback: bool,
}

impl Alias {
    /// The version that the alias points to now.
    pub fn version(&self) -> Option<u64> {
        self.moves.last().map(|step| step.version)
    }

    /// The version to return to: what stood before the present one, rollbacks undone. A version
    /// that was rolled back is not returned to.
    pub fn earlier(&self) -> Option<u64> {
        let mut stack: Vec<u64> = Vec::new();
        for step in &self.moves {
            if step.rollback {
                stack.pop();
            } else if stack.last() != Some(&step.version) {
                stack.push(step.version);
            }
        }
        stack.iter().rev().nth(1).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(moves: &[(u64, bool)]) -> Alias {
        let step = |&(version, rollback)| AliasMove {
            version,
            at: Timestamp::from_millis(0),
            reason: String::new(),
            rollback,
        };
        Alias { name: "champion".into(), moves: moves.iter().map(step).collect() }
    }

    #[test]
    fn rolling_back_twice_goes_two_steps_back_and_not_to_and_fro() {
        assert_eq!(alias(&[]).earlier(), None);
        assert_eq!(alias(&[(1, false)]).earlier(), None);
        assert_eq!(alias(&[(1, false), (2, false), (3, false)]).earlier(), Some(2));
        assert_eq!(alias(&[(1, false), (2, false), (3, false), (2, true)]).earlier(), Some(1));
        assert_eq!(alias(&[(1, false), (2, false), (1, true), (4, false)]).earlier(), Some(1));
        assert_eq!(alias(&[(1, false), (1, false)]).earlier(), None);
    }
}
