//! The report for people and machines: JSON, a table for the terminal, and one self-contained page.

use std::fmt::Write;

use crate::bootstrap::Estimate;
use crate::judge::{ModelResult, Report, TARGETS};

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The report holds a number JSON cannot (not finite).
    #[error("the report cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The page's template failed.
    #[error("the report page cannot be rendered: {0}")]
    Page(#[from] minijinja::Error),
}

/// The whole report as indented JSON; keys are sorted, so equal reports give equal bytes.
pub fn to_json(report: &Report) -> Result<String, ReportError> {
    Ok(serde_json::to_string_pretty(report)?)
}

/// A table per target of at most 110 columns: NDCG, recall and hit rate with their 95 % intervals, best NDCG first.
/// Baselines bear a `*`.
pub fn text_table(report: &Report) -> String {
    let mut text = String::new();
    for target in TARGETS {
        table(&mut text, report, target);
    }
    text.push_str("* baseline. In brackets: 95 % interval.\n");
    text
}

const WIDTH: usize = 24;

fn table(text: &mut String, report: &Report, target: &str) {
    let k = report.k;
    let title = if target == "new" { "products new to the shopper" } else { "everything bought" };
    let head = [format!("NDCG@{k}"), format!("Recall@{k}"), format!("HR@{k}")];
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{title} ({target})");
    let _ = writeln!(text, "{:WIDTH$}  {:24}  {:24}  {:24}", "model", head[0], head[1], head[2]);
    for model in by_ndcg(report, target) {
        let cell = |measure: &str| shown(find(model, target, measure, k));
        let mut label: String = model.name.chars().take(WIDTH - 2).collect();
        label.push_str(if model.baseline { " *" } else { "" });
        let line =
            format!("{label:WIDTH$}  {:24}  {:24}  {:24}", cell("ndcg"), cell("recall"), cell("hit_rate"));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let of_target = report.comparisons.iter().filter(|found| found.target == target);
    // Where a baseline is the best there is nothing to hold it against.
    for comparison in of_target.take(1).filter(|found| found.model != found.best_baseline) {
        let (winner, base) = (&comparison.model, &comparison.best_baseline);
        let _ = writeln!(text, "{winner} − {base}: {}", shown(Some(&comparison.difference)));
    }
    text.push('\n');
}

fn shown(estimate: Option<&Estimate>) -> String {
    match estimate {
        Some(e) if e.n > 0 => format!("{:.4} [{:.4}, {:.4}]", e.mean, e.low, e.high),
        _ => "-".to_owned(),
    }
}

fn find<'a>(model: &'a ModelResult, target: &str, measure: &str, k: usize) -> Option<&'a Estimate> {
    model.targets.get(target)?.get(&format!("{measure}_at_{k}"))
}

fn by_ndcg<'a>(report: &'a Report, target: &str) -> Vec<&'a ModelResult> {
    let ndcg = |model: &ModelResult| find(model, target, "ndcg", report.k).map_or(0.0, |found| found.mean);
    let mut models: Vec<&ModelResult> = report.models.iter().collect();
    models.sort_by(|a, b| ndcg(b).total_cmp(&ndcg(a)));
    models
}
