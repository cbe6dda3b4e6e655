//! The report as one self-contained page for people who run a shop: Spanish first, English by a button,
//! charts as inline SVG, nothing fetched from elsewhere.

use minijinja::value::{Serde, Value};
use minijinja::{Environment, context};
use serde::Serialize;

use crate::bootstrap::Estimate;
use crate::judge::{ModelResult, Report, Slice, TARGETS};
use crate::label::{self, Label};
use crate::report::ReportError;
use crate::title::Picture;

/// The page.
///
/// # Errors
/// Where the template fails, which its tests rule out.
pub fn html(report: &Report) -> Result<String, ReportError> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::Html);
    environment.add_template("page", include_str!("page.html"))?;
    let targets: Vec<Target> = TARGETS.iter().map(|target| Target::of(report, target)).collect();
    let about: Vec<(Label, &String)> =
        report.about.iter().map(|(key, value)| (label::about(key), value)).collect();
    let titles: Vec<Picture> = report.titles.iter().map(Picture::of).collect();
    let page = environment.get_template("page")?;
    let shop = report.about.get("shop");
    Ok(page.render(context! {
        targets => Value::from(Serde(&targets)),
        titles => Value::from(Serde(&titles)),
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
    /// Shoppers of ten who find something, for winner, best baseline and popularity.
    of_ten: Vec<OfTen>,
    models: Vec<Bar>,
    height: usize,
    cuts: Vec<Cut>,
    rows: Vec<Row>,
}

/// The winner against the best baseline.
#[derive(Debug, Serialize)]
struct Verdict {
    winner: Label,
    baseline: Label,
    /// `better`, `worse` or `unclear`.
    outcome: &'static str,
    difference: String,
    /// Times the popularity's figure.
    times_popularity: Option<String>,
    /// Shares of the catalogue that anyone is shown, in per cent: winner and baseline.
    coverage: (String, String),
}

/// Ten squares, each filled so far, in the SVG's units.
#[derive(Debug, Serialize)]
struct OfTen {
    name: Label,
    wins: bool,
    figure: String,
    squares: Vec<(usize, String)>,
}

/// A bar with its whisker; places in the SVG's units.
#[derive(Debug, Serialize)]
struct Bar {
    name: Label,
    baseline: bool,
    y: usize,
    width: String,
    low: String,
    high: String,
    figure: String,
}

/// One way of cutting shoppers or products into groups.
#[derive(Debug, Serialize)]
struct Cut {
    by: String,
    groups: Vec<Group>,
}

/// A group and the bars of the winner and the best baseline: name, width in per cent, figure.
#[derive(Debug, Serialize)]
struct Group {
    name: Label,
    shoppers: usize,
    items: usize,
    bars: Vec<(Label, String, String)>,
}

/// A line of the table.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    label: Label,
    baseline: bool,
    figures: Vec<String>,
}

/// Metrics of the table, without `_at_k`.
const METRICS: [&str; 8] = ["ndcg", "recall", "hit_rate", "mrr", "map", "coverage", "diversity", "novelty"];
/// Units that the longest bar takes.
const BAR: f64 = 360.0;
/// Units from a bar to the next.
const STEP: usize = 30;
/// Units of a square and its gap.
const SQUARE: f64 = 22.0;
const SQUARE_STEP: usize = 27;

/// One target of a report, to look figures up in.
struct View<'a> {
    report: &'a Report,
    target: &'static str,
}

impl View<'_> {
    fn figure(&self, model: &str, metric: &str) -> Option<Estimate> {
        let model = self.report.models.iter().find(|found| found.name == model)?;
        model.targets.get(self.target)?.get(&format!("{metric}_at_{}", self.report.k)).copied()
    }

    fn mean(&self, model: &str, metric: &str) -> f64 {
        self.figure(model, metric).unwrap_or_default().mean
    }

    /// Best NDCG first.
    fn models(&self) -> Vec<&ModelResult> {
        let mut order: Vec<&ModelResult> = self.report.models.iter().collect();
        order.sort_by(|a, b| self.mean(&b.name, "ndcg").total_cmp(&self.mean(&a.name, "ndcg")));
        order
    }
}

impl Target {
    fn of(report: &Report, target: &'static str) -> Self {
        let view = View { report, target };
        let models = view.models();
        let decides = |c: &&crate::judge::Comparison| c.target == target && c.metric.starts_with("ndcg");
        let decisive = report.comparisons.iter().find(decides);
        let pair = decisive.map(|found| (found.model.as_str(), found.best_baseline.as_str()));
        Self {
            key: target,
            verdict: decisive.map(|found| verdict(&view, found)),
            of_ten: pair.map(|pair| of_ten(&view, pair)).unwrap_or_default(),
            height: models.len() * STEP + 4,
            cuts: pair.map(|pair| cuts(&view, pair)).unwrap_or_default(),
            rows: models.iter().map(|model| row(&view, model)).collect(),
            models: bars(&view, &models),
        }
    }
}

fn bars(view: &View, models: &[&ModelResult]) -> Vec<Bar> {
    let ndcg = |model: &ModelResult| view.figure(&model.name, "ndcg").unwrap_or_default();
    let largest = models.iter().map(|model| ndcg(model).high).fold(1e-9, f64::max);
    let scaled = |value: f64| format!("{:.1}", value.max(0.0) / largest * BAR);
    let bar = |(place, model): (usize, &&ModelResult)| {
        let Estimate { mean, low, high, .. } = ndcg(model);
        Bar {
            name: label::model(&model.name),
            baseline: model.baseline,
            y: place * STEP,
            width: scaled(mean),
            low: scaled(low),
            high: scaled(high),
            figure: format!("{mean:.3}"),
        }
    };
    models.iter().enumerate().map(bar).collect()
}

fn row(view: &View, model: &ModelResult) -> Row {
    let cell = |metric: &&str| match view.figure(&model.name, metric) {
        Some(Estimate { mean, low, high, n }) if n > 0 => format!("{mean:.4} [{low:.4}, {high:.4}]"),
        _ => "–".to_owned(),
    };
    Row {
        name: model.name.clone(),
        label: label::model(&model.name),
        baseline: model.baseline,
        figures: METRICS.iter().map(cell).collect(),
    }
}

fn verdict(view: &View, decisive: &crate::judge::Comparison) -> Verdict {
    let (winner, baseline) = (decisive.model.as_str(), decisive.best_baseline.as_str());
    let popularity = view.mean("popularity", "ndcg");
    let percent = |name: &str| format!("{:.0}", view.mean(name, "coverage") * 100.0);
    let Estimate { mean, low, high, .. } = decisive.difference;
    Verdict {
        winner: label::model(winner),
        baseline: label::model(baseline),
        outcome: match (decisive.is_better(), decisive.is_worse()) {
            (true, _) => "better",
            (_, true) => "worse",
            _ => "unclear",
        },
        difference: format!("{mean:+.4} [{low:+.4}, {high:+.4}]"),
        times_popularity: (popularity > 0.0)
            .then(|| format!("{:.1}", view.mean(winner, "ndcg") / popularity)),
        coverage: (percent(winner), percent(baseline)),
    }
}

fn of_ten(view: &View, (winner, baseline): (&str, &str)) -> Vec<OfTen> {
    let mut names = vec![winner, baseline, "popularity"];
    names.dedup();
    names.retain(|name| view.figure(name, "hit_rate").is_some());
    let row = |name: &&str| {
        let ten = view.mean(name, "hit_rate") * 10.0;
        let filled = |place: usize| format!("{:.1}", (ten - place as f64).clamp(0.0, 1.0) * SQUARE);
        OfTen {
            name: label::model(name),
            wins: *name == winner,
            figure: format!("{ten:.1}"),
            squares: (0..10).map(|place| (place * SQUARE_STEP, filled(place))).collect(),
        }
    };
    names.iter().map(row).collect()
}

/// The slices by what they are cut by, in the report's order.
fn cuts(view: &View, pair: (&str, &str)) -> Vec<Cut> {
    let own: Vec<&Slice> = view.report.slices.iter().filter(|slice| slice.target == view.target).collect();
    let by = own.chunk_by(|a, b| a.by == b.by);
    by.map(|slices| Cut { by: slices[0].by.clone(), groups: groups(slices, pair) }).collect()
}

fn groups(slices: &[&Slice], (winner, baseline): (&str, &str)) -> Vec<Group> {
    let of = |slice: &Slice, name: &str| slice.models.get(name).copied().unwrap_or_default();
    let figures = slices.iter().flat_map(|slice| [winner, baseline].map(|name| of(slice, name).mean));
    let largest = figures.fold(1e-9, f64::max);
    let group = |slice: &&Slice| {
        let bar = |name: &str| {
            let mean = of(slice, name).mean;
            let width = format!("{:.1}", mean.max(0.0) / largest * 100.0);
            (label::model(name), width, format!("{mean:.3}"))
        };
        Group {
            name: label::group(&slice.group),
            shoppers: slice.models.values().map(|estimate| estimate.n).max().unwrap_or(0),
            items: slice.items,
            bars: [winner, baseline].map(bar).into(),
        }
    };
    slices.iter().map(group).collect()
}
