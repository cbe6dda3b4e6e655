//! `qhatu propensity fit`: learn, judge, keep.

use std::path::{Path, PathBuf};

use qhatu_eval::{Classification, Cost, OverFolds};
use qhatu_features::Recipe;
use qhatu_ingest::read_table_file;
use qhatu_models::calibration::Method;
use qhatu_models::propensity::Kind;
use qhatu_serve::Foretold;
use qhatu_train::TrainError;
use qhatu_train::propensity::{
    Balance, Examples, PropensityConfig, PropensityReport, Windows, recipes, shopper_examples, train,
};
use serde::de::DeserializeOwned;

use super::stored::{self, Place};
use super::text::{self, TextArgs};
use crate::fault::Fault;
use crate::progress::Stage;
use crate::shop::{Shop, say, say_json};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The table: CSV (plain, .gz or .zst) or Parquet, a row a session or shopper.
    #[arg(required_unless_present = "shoppers")]
    table: Option<PathBuf>,
    /// The column that says who bought: 1 and 0, true and false, yes and no.
    #[arg(long, required_unless_present = "shoppers", conflicts_with = "shoppers")]
    target: Option<String>,
    /// Instead of a table: will a shopper of the shop project (--dir) buy within so many days?
    #[arg(long, value_name = "DAYS", conflicts_with = "table", requires = "dir")]
    shoppers: Option<u32>,
    /// With --shoppers: so many windows of the past teach and judge, one after another.
    #[arg(long, default_value_t = 6, requires = "shoppers")]
    windows: u32,
    /// The folder to write the model to.
    #[arg(long, required_unless_present = "dir")]
    out: Option<PathBuf>,
    /// The shop project whose registry takes the model, as a version of `propensity`.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Make the model champion whatever the gate says, as where a column that tells the answer was left out.
    #[arg(long, requires = "dir")]
    past_gate: bool,
    /// What classifies: boosting, forest, logistic, attention or ensemble.
    #[arg(long, default_value = "boosting", value_parser = word::<Kind>)]
    model: Kind,
    /// Columns not to learn from, with commas between.
    #[arg(long, value_delimiter = ',')]
    leave_out: Vec<String>,
    /// Columns of numbers that only name something, with commas between.
    #[arg(long, value_delimiter = ',', conflicts_with = "shoppers")]
    categories: Vec<String>,
    #[command(flatten)]
    text: TextArgs,
    /// How a column is prepared, as COLUMN=number, mean, standard, min_max, label or one_hot.
    #[arg(long, value_name = "COLUMN=RECIPE", value_parser = recipe)]
    recipe: Vec<(String, Recipe)>,
    /// Folds that judge.
    #[arg(long, default_value_t = 5, conflicts_with = "shoppers")]
    folds: usize,
    /// Seed of everything random.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Where buyers are rare: none, weights or over_sample.
    #[arg(long, default_value = "none", value_parser = word::<Balance>)]
    balance: Balance,
    /// How scores become probabilities: none, platt or isotonic.
    #[arg(long, default_value = "isotonic", value_parser = word::<Method>)]
    calibration: Method,
    /// Cost of an offer made in vain.
    #[arg(long, default_value_t = 1.0)]
    cost_false_positive: f64,
    /// Cost of a buyer not looked after.
    #[arg(long, default_value_t = 1.0)]
    cost_false_negative: f64,
    /// Boosting rounds, or trees of the forest.
    #[arg(long)]
    trees: Option<usize>,
    /// Times that attention sees each row.
    #[arg(long)]
    epochs: Option<u32>,
    /// Of attention: how much less the rows that it foretells well count in training (focal loss); 0: all count alike.
    #[arg(long)]
    focal_gamma: Option<f32>,
    /// Answer as JSON.
    #[arg(long)]
    json: bool,
}

/// A word that a configuration would take.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|fault| fault.to_string())
}

fn recipe(text: &str) -> Result<(String, Recipe), String> {
    let (column, name) = text.rsplit_once('=').ok_or("expected COLUMN=RECIPE")?;
    Ok((column.to_owned(), word(name)?))
}

impl Args {
    fn config(&self) -> PropensityConfig {
        let mut config = PropensityConfig {
            seed: self.seed,
            folds: self.folds,
            balance: self.balance,
            calibration: self.calibration,
            text_width: self.text.text_width,
            cost: Cost { false_positive: self.cost_false_positive, false_negative: self.cost_false_negative },
            ..PropensityConfig::default()
        };
        config.model.kind = self.model;
        if let Some(trees) = self.trees {
            (config.model.boosting.rounds, config.model.forest.trees) = (trees, trees);
        }
        if let Some(gamma) = self.focal_gamma {
            config.model.attention.focal_gamma = gamma;
        }
        if let Some(epochs) = self.epochs {
            config.model.attention.epochs = epochs;
        }
        config
    }
}

/// The rows to learn from, and what they are called.
fn examples(args: &Args) -> Result<Examples, Fault> {
    let Some(table) = &args.table else {
        let shop = Shop::open(args.dir.as_deref().unwrap_or(Path::new(".")))?;
        let windows = Windows { horizon: args.shoppers.unwrap_or_default(), count: args.windows };
        let known = (shop.declarations()?, shop.catalogue().items()?);
        let examples = shopper_examples(&shop.lake()?, (known.0, &known.1), windows)?;
        let unknown = args.leave_out.iter().find(|name| examples.table.column(name).is_none());
        if let Some(name) = unknown {
            return Err(Fault::Said(format!("--leave-out {name}: shoppers have no such feature")));
        }
        return Ok(examples);
    };
    let rows = read_table_file(table, &args.categories)?;
    let target = args.target.as_deref().unwrap_or_default();
    let texts = match &args.text.text_model {
        Some(folder) => {
            check_texts(args, target)?;
            text::read(&args.text.columns, folder, &rows)?
        }
        None => Vec::new(),
    };
    let examples = Examples::new(rows, target, &[])?;
    let known =
        || examples.table.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(name) = args.leave_out.iter().find(|name| examples.table.column(name).is_none()) {
        return Err(TrainError::NoColumn { name: name.clone(), known: known() }.into());
    }
    Ok(Examples { texts, ..examples })
}

/// How each column is prepared that is learned from as it stands: not those left out, nor those read as texts. They stay in
/// the table, for a champion that is held against this model may take them.
fn prepared(args: &Args, examples: &Examples) -> Result<Vec<(String, Recipe)>, Fault> {
    let out = |name: &String| args.leave_out.contains(name) || args.text.columns.contains(name);
    let unknown = |(name, _): &&(String, Recipe)| examples.table.column(name).is_none() || out(name);
    if let Some((name, _)) = args.recipe.iter().find(unknown) {
        return Err(Fault::Said(format!("--recipe {name}=…: there is no such column to learn from")));
    }
    let mut recipes = recipes(&examples.table, args.model, &args.recipe);
    recipes.retain(|(name, _)| !out(name));
    Ok(recipes)
}

/// A column that is read as a text is nothing else.
fn check_texts(args: &Args, target: &str) -> Result<(), Fault> {
    for name in &args.text.columns {
        let other = [
            (name == target, "--target"),
            (args.leave_out.contains(name), "--leave-out"),
            (args.categories.contains(name), "--categories"),
            (args.recipe.iter().any(|(column, _)| column == name), "--recipe"),
        ];
        if let Some((_, flag)) = other.iter().find(|(holds, _)| *holds) {
            return Err(Fault::Said(format!(
                "--text {name}: the column is named by {flag} too; name it once"
            )));
        }
    }
    Ok(())
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    let examples = examples(args)?;
    let recipes = prepared(args, &examples)?;
    let stage = Stage::begin("fit", 0);
    let what = match args.shoppers {
        Some(days) => format!("{} rows, {} windows of {days} days", examples.labels.len(), args.windows),
        None => format!("{} rows, {} folds", examples.labels.len(), args.folds),
    };
    stage.say(&what);
    let trained = train(&examples, &recipes, &args.config())?;
    stage.end(&what);
    let foretold = match args.shoppers {
        Some(days) => Foretold::Shoppers { days },
        None => Foretold::Column { target: args.target.clone().unwrap_or_default() },
    };
    let place = Place { out: args.out.as_deref(), dir: args.dir.as_deref() };
    let kept = stored::keep(&place, &trained, (&examples, &foretold), args.past_gate)?;
    if args.json {
        return say_json(&trained.report);
    }
    say(text(&trained.report));
    kept.iter().for_each(say);
    Ok(())
}

/// The figures as a table, the counts, and what the model leans on.
fn text(report: &PropensityReport) -> String {
    let mut lines =
        vec![format!("{:12} {:>8}   over {} folds or windows", "figure", "mean", report.folds.len())];
    let names = ["roc_auc", "pr_auc", "log_loss", "brier", "ece", "accuracy", "precision", "recall", "f1"];
    for name in names {
        if let Some(OverFolds { mean, deviation }) = report.over_folds.get(name) {
            lines.push(format!("{name:12} {mean:8.4} ± {deviation:.4}"));
        }
    }
    let Classification { confusion: counts, rows, positives, .. } = &report.pooled;
    lines.push(String::new());
    lines.push(format!("{positives} of {rows} rows are a yes; at each fold's threshold of least cost:"));
    lines.push(format!("{:16} {:>10} {:>10}", "", "told yes", "told no"));
    lines.push(format!("{:16} {:>10} {:>10}", "was yes", counts.true_positive, counts.false_negative));
    lines.push(format!("{:16} {:>10} {:>10}", "was no", counts.false_positive, counts.true_negative));
    if !report.importance.is_empty() {
        lines.push(String::new());
        lines.push("ROC-AUC lost when a column is shuffled:".to_owned());
        let leading = report.importance.iter().take(10);
        lines.extend(leading.map(|(name, lost)| format!("{name:24} {lost:+.4}")));
    }
    lines.join("\n")
}
