//! Which propensity model scores: a new version becomes champion where its ROC-AUC, on rows that no fold's model saw, is
//! not below the champion's on the same rows and folds.
//!
//! A champion of the same data and protocol has its figures already. One of other data is judged again: its settings are
//! fitted on these rows, fold by fold, for the champion itself may have learned from some of them. So the same settings
//! fitted on newer rows come to the same figure, and pass. A version that foretells something else, another column or a purchase within
//! other days, takes no champion's place unless it is sent past the gate.

use qhatu_features::Recipe;
use qhatu_registry::{Decision, Evidence, Gate, ModelVersion, Registry};
use qhatu_schema::Timestamp;
use qhatu_train::propensity::{Examples, PropensityConfig, PropensityReport, Trained, judge};
use serde::Deserialize;
use serde_json::Value;

use super::stored::{MODEL, REPORT_FILE};
use crate::fault::Fault;

/// The alias of the version that scores.
pub(super) const CHAMPION: &str = "champion";
/// The figure that decides.
const METRIC: &str = "folds.roc_auc";
/// Student's factor of a 95 % interval for so many folds, from two on.
const STUDENT: [f64; 9] = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26];

/// What a version keeps of how it was fitted.
#[derive(Debug, Deserialize)]
struct Settings {
    config: PropensityConfig,
    recipes: Vec<(String, Recipe)>,
    /// Versions of before there were texts have none.
    #[serde(default)]
    texts: Texts,
    /// What it foretells; versions of before it was kept say nothing.
    #[serde(default)]
    target: String,
}

#[derive(Debug, Default, Deserialize)]
struct Texts {
    columns: Vec<String>,
    model: String,
}

/// Which way a version goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// Through the gate.
    Gate {
        /// Whether its figure must be clear of the champion's.
        require_significant: bool,
    },
    /// Past it.
    PastGate,
}

/// Promotes a version if the gate lets it, or it is to go past the gate; says which, and why.
pub(super) fn ask(
    registry: &Registry,
    version: &ModelVersion,
    candidate: (&Trained, &Examples),
    way: Way,
) -> Result<String, Fault> {
    let decision = match way {
        Way::PastGate => {
            let reason = "past the gate, as was asked for".to_owned();
            registry.point(version, CHAMPION, &reason, Timestamp::now())?;
            Decision { promoted: true, reason }
        }
        Way::Gate { require_significant } => decide(registry, version, candidate, require_significant)?,
    };
    let verb = if decision.promoted { "promoted to champion" } else { "not promoted" };
    let hint = if decision.promoted { "" } else { "; --past-gate promotes it all the same" };
    Ok(format!("{MODEL} {} is {verb}; {}{hint}", version.version, decision.reason))
}

fn decide(
    registry: &Registry,
    version: &ModelVersion,
    (trained, examples): (&Trained, &Examples),
    require_significant: bool,
) -> Result<Decision, Fault> {
    let gate = Gate {
        metric: METRIC.to_owned(),
        baseline: "chance".to_owned(),
        require_significant: false,
        or_equal: false,
    };
    let own = folds(&trained.report);
    let Some(champion) = registry.alias(MODEL, CHAMPION)? else {
        let against = gate.baseline.clone();
        let evidence =
            Evidence { candidate: mean(&own), against, reference: 0.5, interval: None, champion: None };
        return Ok(registry.promote(version, &gate, &evidence, Timestamp::now())?);
    };
    if let Some(reason) = other_target(version, &champion) {
        return Ok(Decision { promoted: false, reason });
    }
    let theirs = match champion_folds(registry, (version, &champion), (trained, examples))? {
        Ok(theirs) => theirs,
        Err(reason) => return Ok(Decision { promoted: false, reason }),
    };
    let evidence = Evidence {
        candidate: mean(&own),
        against: format!("champion v{} ({})", champion.version, champion.new.kind),
        reference: mean(&theirs),
        interval: interval(&own, &theirs),
        champion: Some(champion.version),
    };
    let gate = Gate { require_significant, or_equal: true, ..gate };
    Ok(registry.promote(version, &gate, &evidence, Timestamp::now())?)
}

/// Why a version that foretells something else than the champion does not take its place: whoever reads the scores would be
/// told another thing.
fn other_target(version: &ModelVersion, champion: &ModelVersion) -> Option<String> {
    let target = |version: &ModelVersion| {
        let settings = serde_json::from_value::<Settings>(version.new.config.clone());
        settings.map(|settings| settings.target).unwrap_or_default()
    };
    let (own, theirs) = (target(version), target(champion));
    let differ = !theirs.is_empty() && own != theirs;
    differ.then(|| format!("champion v{} foretells {theirs:?}, this version {own:?}", champion.version))
}

/// The champion's ROC-AUC on each fold of the candidate's rows, or why there is none.
fn champion_folds(
    registry: &Registry,
    (version, champion): (&ModelVersion, &ModelVersion),
    (trained, examples): (&Trained, &Examples),
) -> Result<Result<Vec<f64>, String>, Fault> {
    let data = |version: &ModelVersion| (version.new.data_fingerprint.clone(), version.new.protocol.clone());
    if data(version) == data(champion) {
        let artifact = registry.open(champion)?;
        let report = artifact.files.get(REPORT_FILE).map(Vec::as_slice).unwrap_or_default();
        if let Ok(report) = serde_json::from_slice::<PropensityReport>(report) {
            return Ok(Ok(folds(&report)));
        }
    }
    let cannot =
        |fault: String| format!("champion v{} cannot be judged on these rows: {fault}", champion.version);
    Ok(match again(&champion.new.config, trained, examples) {
        Ok(report) => Ok(folds(&report)),
        Err(fault) => Err(cannot(fault)),
    })
}

/// Judges a version's settings on the candidate's rows and folds.
fn again(config: &Value, trained: &Trained, examples: &Examples) -> Result<PropensityReport, String> {
    let Settings { config, recipes, texts, .. } =
        serde_json::from_value(config.clone()).map_err(|fault| fault.to_string())?;
    let examples = examples.with_texts(&texts.columns).map_err(|fault| fault.to_string())?;
    if examples.texts.iter().any(|column| column.vectors.model != texts.model) {
        return Err("it reads texts by another text model".to_owned());
    }
    let asked = &trained.report.config;
    let config = PropensityConfig { seed: asked.seed, folds: asked.folds, ..config };
    judge(&examples, &recipes, &config).map_err(|fault| fault.to_string())
}

/// ROC-AUC of each fold.
fn folds(report: &PropensityReport) -> Vec<f64> {
    report.folds.iter().map(|fold| fold.figures.roc_auc).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The 95 % interval of the mean difference over folds (Student's t; folds share rows that teach, so it is a rough one).
fn interval(own: &[f64], theirs: &[f64]) -> Option<(f64, f64)> {
    if own.len() != theirs.len() || own.len() < 2 {
        return None;
    }
    let differences: Vec<f64> = own.iter().zip(theirs).map(|(own, theirs)| own - theirs).collect();
    let (middle, count) = (mean(&differences), differences.len() as f64);
    let spread =
        differences.iter().map(|difference| (difference - middle).powi(2)).sum::<f64>() / (count - 1.0);
    let factor = STUDENT.get(differences.len() - 2).copied().unwrap_or(STUDENT[STUDENT.len() - 1]);
    let half = factor * (spread / count).sqrt();
    Some((middle - half, middle + half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_of_the_folds_differences() {
        let (low, high) = interval(&[0.9, 0.8, 0.7], &[0.8, 0.8, 0.6]).unwrap();
        // Differences .1, 0, .1: mean .0667, deviation .0577, a third of the root of three times 4.30 to each side.
        assert!((low + 0.0767).abs() < 1e-3 && (high - 0.2100).abs() < 1e-3, "{low} {high}");
        assert_eq!(interval(&[0.9, 0.8], &[0.8]), None);
        assert_eq!(interval(&[0.5, 0.6], &[0.5, 0.6]), Some((0.0, 0.0)));
    }
}
