//! The report as one self-contained page for people who run a shop: Spanish first, English by a button,
//! charts as inline SVG, nothing fetched from elsewhere.

use minijinja::value::{Serde, Value};
use minijinja::{Environment, context};
use serde::Serialize;

use crate::bootstrap::Estimate;
use crate::judge::{Report, TARGETS};
use crate::report::ReportError;

/// The page.
///
/// # Errors
/// Where the template fails, which its tests rule out.
pub fn html(report: &Report) -> Result<String, ReportError> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::Html);
    environment.add_template("page", include_str!("page.html"))?;
    let targets: Vec<Target> = TARGETS.iter().map(|target| Target::of(report, target)).collect();
    let about: Vec<(&String, &String)> = report.about.iter().collect();
    let page = environment.get_template("page")?;
    let shop = report.about.get("shop");
    Ok(page.render(context! {
        targets => Value::from(Serde(&targets)),
        about => Value::from(Serde(&about)),
        shop => Value::from(Serde(shop)),
        k => Value::from(Serde(report.k)),
    })?)
}

/// What the page shows of one target.
#[derive(Debug, Serialize)]
struct Target {
    key: &'static str,
    verdict: Option<Verdict>,
    models: Vec<Model>,
    height: usize,
    groups: Vec<Group>,
    rows: Vec<Row>,
}

/// The winner against the best baseline.
#[derive(Debug, Serialize)]
struct Verdict {
    winner: String,
    baseline: String,
    /// `better`, `worse` or `unclear`.
    outcome: &'static str,
    difference: String,
    /// How many shoppers of ten find something in the list: winner and baseline.
    of_ten: (String, String),
    /// Times the popularity's figure.
    times_popularity: Option<String>,
}

/// A bar with its whisker; places in the SVG's units.
#[derive(Debug, Serialize)]
struct Model {
    name: String,
    baseline: bool,
    y: usize,
    width: String,
    low: String,
    high: String,
    figure: String,
}

/// A slice: a group of shoppers and the bars of the winner and the best baseline.
#[derive(Debug, Serialize)]
struct Group {
    name: String,
    shoppers: usize,
    bars: Vec<(String, String, String)>,
}

/// A line of the table.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    baseline: bool,
    figures: Vec<String>,
}

/// Metrics of the table, without `_at_k`.
const METRICS: [&str; 8] = ["ndcg", "recall", "hit_rate", "mrr", "map", "coverage", "diversity", "novelty"];
/// Units that the longest bar takes.
const BAR: f64 = 420.0;
/// Units from a bar to the next.
const STEP: usize = 30;

impl Target {
    fn of(report: &Report, key: &'static str) -> Self {
        let figure = |name: &str, metric: &str| {
            let model = report.models.iter().find(|model| model.name == name)?;
            model.targets.get(key)?.get(&format!("{metric}_at_{}", report.k)).copied()
        };
        let ndcg = |name: &str| figure(name, "ndcg").unwrap_or_default();
        let mut order: Vec<_> = report.models.iter().collect();
        order.sort_by(|a, b| ndcg(&b.name).mean.total_cmp(&ndcg(&a.name).mean));
        let largest = order.iter().map(|model| ndcg(&model.name).high).fold(1e-9, f64::max);
        let scaled = |value: f64| format!("{:.1}", value.max(0.0) / largest * BAR);
        let bar = |(place, model): (usize, &&crate::judge::ModelResult)| {
            let Estimate { mean, low, high, .. } = ndcg(&model.name);
            Model {
                name: model.name.clone(),
                baseline: model.baseline,
                y: place * STEP,
                width: scaled(mean),
                low: scaled(low),
                high: scaled(high),
                figure: format!("{mean:.3}"),
            }
        };
        let row = |model: &&crate::judge::ModelResult| Row {
            name: model.name.clone(),
            baseline: model.baseline,
            figures: METRICS.iter().map(|metric| cell(figure(&model.name, metric))).collect(),
        };
        let verdict = verdict(report, key, &figure);
        Self {
            key,
            groups: groups(report, key, verdict.as_ref()),
            models: order.iter().enumerate().map(bar).collect(),
            height: order.len() * STEP + 4,
            rows: order.iter().map(row).collect(),
            verdict,
        }
    }
}

fn cell(estimate: Option<Estimate>) -> String {
    estimate.map_or("–".to_owned(), |estimate| {
        format!("{:.4} [{:.4}, {:.4}]", estimate.mean, estimate.low, estimate.high)
    })
}

fn verdict(report: &Report, key: &str, figure: &dyn Fn(&str, &str) -> Option<Estimate>) -> Option<Verdict> {
    let decides = |c: &&crate::judge::Comparison| c.target == key && c.metric.starts_with("ndcg");
    let comparison = report.comparisons.iter().find(decides)?;
    let of_ten = |name: &str| format!("{:.1}", figure(name, "hit_rate").unwrap_or_default().mean * 10.0);
    let mean = |name: &str| figure(name, "ndcg").map(|estimate| estimate.mean);
    let popularity = mean("popularity").filter(|mean| *mean > 0.0);
    let times = popularity.zip(mean(&comparison.winner)).map(|(other, own)| format!("{:.1}", own / other));
    let Estimate { mean: difference, low, high, .. } = comparison.difference;
    Some(Verdict {
        winner: comparison.winner.clone(),
        baseline: comparison.best_baseline.clone(),
        outcome: match (comparison.is_better(), comparison.is_worse()) {
            (true, _) => "better",
            (_, true) => "worse",
            _ => "unclear",
        },
        difference: format!("{difference:+.4} [{low:+.4}, {high:+.4}]"),
        of_ten: (of_ten(&comparison.winner), of_ten(&comparison.best_baseline)),
        times_popularity: times,
    })
}

fn groups(report: &Report, key: &str, verdict: Option<&Verdict>) -> Vec<Group> {
    let Some(verdict) = verdict else { return Vec::new() };
    let own = report.slices.iter().filter(|slice| slice.target == key);
    let largest = own.clone().flat_map(|slice| slice.models.values()).map(|e| e.mean).fold(1e-9, f64::max);
    let group = |slice: &crate::judge::Slice| {
        let bar = |name: &String| {
            let estimate = slice.models.get(name).copied().unwrap_or_default();
            let width = format!("{:.1}", estimate.mean.max(0.0) / largest * 100.0);
            (name.clone(), width, format!("{:.3}", estimate.mean))
        };
        let shoppers = slice.models.values().map(|estimate| estimate.n).max().unwrap_or(0);
        Group {
            name: slice.group.clone(),
            shoppers,
            bars: [&verdict.winner, &verdict.baseline].map(bar).into(),
        }
    };
    own.map(group).collect()
}
