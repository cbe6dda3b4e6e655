//! The gate: who may become champion.
//!
//! A candidate must beat the champion on the gate's metric, measured under one protocol; where there
//! is no champion yet, the baseline that the gate names (recent popularity). With a paired interval
//! of the difference the whole interval must lie above zero unless [`Gate::require_significant`] is
//! off. The decision says its reason in a sentence that is kept with the alias.

use serde::{Deserialize, Serialize};

/// What a candidate must show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gate {
    /// The figure that decides, as `target.metric`.
    pub metric: String,
    /// What the first champion must beat.
    pub baseline: String,
    /// Whether the difference must be clear of chance (its 95 % interval above zero).
    pub require_significant: bool,
    /// Whether the same figure is enough: for the same settings, fitted again on newer data.
    pub or_equal: bool,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            metric: "all.ndcg_at_10".to_owned(),
            baseline: "recent_popularity".to_owned(),
            require_significant: false,
            or_equal: false,
        }
    }
}

/// What was measured of the candidate and of what it must beat, under one protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The candidate's figure.
    pub candidate: f64,
    /// Who it is held against: `"champion v3 (ease)"`, `"recent_popularity"`.
    pub against: String,
    /// Their figure.
    pub reference: f64,
    /// Low and high end of the paired 95 % interval of candidate − reference, where there is one.
    pub interval: Option<(f64, f64)>,
    /// The version that was champion when this was measured, if there was one. Where another has become champion
    /// meanwhile the evidence is of no use any more, and nothing is promoted.
    pub champion: Option<u64>,
}

/// What the gate decided, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether the candidate is promoted.
    pub promoted: bool,
    /// In a sentence.
    pub reason: String,
}

impl Gate {
    /// Decides. A figure that is not a number never passes.
    pub fn decide(&self, evidence: &Evidence) -> Decision {
        let Evidence { candidate, against, reference, interval, .. } = evidence;
        let figures = format!(
            "{} {candidate:.4} against {reference:.4} of {against}{}",
            self.metric,
            interval.map(|(low, high)| format!(", difference {low:+.4} to {high:+.4}")).unwrap_or_default(),
        );
        let better = candidate > reference;
        let clear = !self.require_significant || interval.is_some_and(|(low, _)| low > 0.0);
        if self.or_equal && candidate == reference {
            return Decision { promoted: true, reason: format!("not worse: {figures}") };
        }
        match (better, clear) {
            (true, true) => Decision { promoted: true, reason: format!("better: {figures}") },
            (true, false) => {
                Decision { promoted: false, reason: format!("better, but not clear of chance: {figures}") }
            }
            (false, _) => Decision { promoted: false, reason: format!("not better: {figures}") },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(candidate: f64, interval: Option<(f64, f64)>) -> Evidence {
        Evidence {
            candidate,
            against: "champion v1 (ease)".into(),
            reference: 0.3,
            interval,
            champion: Some(1),
        }
    }

    #[test]
    fn only_what_is_better_passes_and_the_reason_has_the_figures() {
        let gate = Gate::default();
        let yes = gate.decide(&evidence(0.31, None));
        assert!(yes.promoted, "{}", yes.reason);
        assert!(yes.reason.contains("0.3100 against 0.3000 of champion v1 (ease)"), "{}", yes.reason);
        assert!(!gate.decide(&evidence(0.3, None)).promoted);
        assert!(!gate.decide(&evidence(f64::NAN, None)).promoted);
    }

    #[test]
    fn the_same_figure_passes_only_where_it_is_enough() {
        let gate = Gate { or_equal: true, require_significant: true, ..Gate::default() };
        let equal = gate.decide(&evidence(0.3, Some((0.0, 0.0))));
        assert!(equal.promoted && equal.reason.starts_with("not worse"), "{}", equal.reason);
        assert!(!gate.decide(&evidence(0.29, None)).promoted);
        assert!(!gate.decide(&evidence(0.31, None)).promoted, "a better one must be clear of chance");
    }

    #[test]
    fn a_strict_gate_asks_for_a_difference_clear_of_chance() {
        let gate = Gate { require_significant: true, ..Gate::default() };
        assert!(gate.decide(&evidence(0.31, Some((0.001, 0.02)))).promoted);
        let unclear = gate.decide(&evidence(0.31, Some((-0.001, 0.02))));
        assert!(!unclear.promoted && unclear.reason.contains("chance"), "{}", unclear.reason);
        assert!(!gate.decide(&evidence(0.31, None)).promoted);
    }
}
