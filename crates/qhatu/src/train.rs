//! `qhatu train`: fit, judge, register, gate.

use std::path::PathBuf;

use qhatu_eval::{Report, text_table};
use qhatu_store::write_atomic;
use qhatu_train::{Found, Outcome, Progress, Step, TrainConfig};

use crate::fault::Fault;
use crate::progress::Stage;
use crate::shop::{CODE_VERSION, Shop, say};
use crate::title;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shop project.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Seed of everything random; over that of qhatu.toml.
    #[arg(long)]
    seed: Option<u64>,
    /// The models to fit, separated by commas; over those of qhatu.toml.
    #[arg(long, value_delimiter = ',')]
    models: Option<Vec<String>>,
    /// First look for better settings of each model on the days before the test window ([train.search]), then train
    /// with what was found. A search that was stopped goes on.
    #[arg(long)]
    search: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    let mut shop = Shop::open(&args.dir)?;
    let config = &mut shop.project.config.train;
    config.seed = args.seed.unwrap_or(config.seed);
    config.models = args.models.clone().unwrap_or_else(|| config.models.clone());
    if args.search {
        shop.searched = qhatu_train::searched(&shop.project.config.train)?;
        shop.project.config.train = search(&shop)?;
        shop.searched.clear();
    }
    let outcome = train(&shop)?;
    say(text_table(&outcome.report));
    say_outcome(&outcome);
    say(format!("report: {}", shop.paths.reports_dir().join("evaluation.html").display()));
    Ok(())
}

/// Searches settings, writes what was tried, and says what was found as it would stand in `qhatu.toml`.
fn search(shop: &Shop) -> Result<TrainConfig, Fault> {
    let data = shop.data()?;
    let mut stages = Stages::default();
    let config = &shop.project.config.train;
    let (chosen, found) =
        qhatu_train::search(&data, config, &shop.place(), &shop.registry(), &mut |step| stages.show(step))?;
    stages.end();
    let said = |fault: serde_json::Error| Fault::Said(fault.to_string());
    let path = shop.paths.reports_dir().join("search.json");
    write_atomic(&path, serde_json::to_string_pretty(&found).map_err(said)?.as_bytes())?;
    found.iter().try_for_each(say_found)?;
    say(format!("all trials: {}\n", path.display()));
    Ok(chosen)
}

fn say_found(found: &Found) -> Result<(), Fault> {
    let Some(best) = found.best() else {
        say(format!("# {}: no trial was judged in the minutes of [train.search]", found.model));
        return Ok(());
    };
    let present = found.trials.iter().position(|trial| trial.settings == found.present);
    let place = present.map_or_else(String::new, |place| match (place, &found.trials[place]) {
        (0, _) => "; these are the settings at hand".to_owned(),
        (place, trial) => format!(
            "; the settings at hand came to place {} with {:.4} from {:.0} % of the shoppers",
            place + 1,
            trial.figure,
            100.0 * trial.share
        ),
    });
    let cut = if found.cut_short { "; the minutes were up before all were judged" } else { "" };
    say(format!(
        "# {} of {} trials, {}: {} {:.4} from {:.0} % of the shoppers{place}{cut}",
        found.model,
        found.trials.len(),
        found.validation,
        found.metric,
        best.figure,
        100.0 * best.share
    ));
    let mut section = toml::Table::new();
    let settings = toml::Value::try_from(&best.settings).map_err(|fault| Fault::Said(fault.to_string()))?;
    section.insert(found.model.clone(), settings);
    let mut whole = toml::Table::new();
    whole.insert("train".to_owned(), toml::Value::Table(section));
    say(toml::to_string(&whole).map_err(|fault| Fault::Said(fault.to_string()))?);
    Ok(())
}

/// Trains and writes the report.
pub(crate) fn train(shop: &Shop) -> Result<Outcome, Fault> {
    let data = shop.data()?;
    let mut stages = Stages::default();
    let config = &shop.project.config.train;
    let mut outcome =
        qhatu_train::train(&data, config, &shop.place(), &shop.registry(), &mut |step| stages.show(step))?;
    stages.end();
    // The model is registered: what cannot be read for the picture must not cost its report.
    match title::readings(shop, &data) {
        Ok(titles) => outcome.report.titles = titles,
        Err(fault) => tracing::warn!(%fault, "the report shows no titles"),
    }
    write_report(shop, &outcome.report, "evaluation")?;
    Ok(outcome)
}

/// Writes the report as JSON and as a page, whose path it gives.
pub(crate) fn write_report(shop: &Shop, report: &Report, name: &str) -> Result<PathBuf, Fault> {
    let mut report = report.clone();
    report.about.insert("shop".to_owned(), shop.project.config.shop.name.clone());
    report.about.insert("code_version".to_owned(), CODE_VERSION.to_owned());
    let said = |fault: qhatu_eval::ReportError| Fault::Said(fault.to_string());
    let folder = shop.paths.reports_dir();
    let json = qhatu_eval::to_json(&report).map_err(said)?;
    write_atomic(&folder.join(format!("{name}.json")), json.as_bytes())?;
    let page = folder.join(format!("{name}.html"));
    write_atomic(&page, qhatu_eval::html(&report).map_err(said)?.as_bytes())?;
    Ok(page)
}

pub(crate) fn say_outcome(outcome: &Outcome) {
    let verb = if outcome.decision.promoted { "promoted to champion" } else { "not promoted" };
    let version = &outcome.version;
    say(format!(
        "{} {} ({}) is {verb}; {}",
        version.model, version.version, version.new.kind, outcome.decision.reason
    ));
}

/// Shows the steps of a training, a stage each.
#[derive(Default)]
pub(crate) struct Stages {
    now: Option<(Stage, String)>,
}

impl Stages {
    pub(crate) fn show(&mut self, step: Step) {
        if let Step::Epoch(_, now) = &step {
            return self.show_epoch(now);
        }
        self.end();
        let (name, what) = match step {
            Step::Trial { model, number, of, share } => {
                let share = (100.0 * share).round();
                ("search", format!("{model}, {share} % of the shoppers ({} of {of})", number + 1))
            }
            Step::Fit(model, number, of) => ("fit", format!("{model} ({} of {of})", number + 1)),
            Step::Epoch(model, _) => ("fit", model),
            Step::Judge => ("judge", "all models on the test window".to_owned()),
            Step::Refit(model) => ("refit", format!("{model} on all data, and register")),
        };
        let stage = Stage::begin(name, 0);
        stage.say(&what);
        self.now = Some((stage, what));
    }

    fn show_epoch(&mut self, now: &Progress) {
        let Some((stage, what)) = &self.now else { return };
        let steps = now.steps as u64;
        stage.at(u64::from(now.epoch) * steps + now.step as u64, u64::from(now.epochs) * steps);
        let pass = if now.refit { "on all data, epoch" } else { "epoch" };
        let found = now.validation.map(|ndcg| format!(", validation {ndcg:.3}")).unwrap_or_default();
        stage.say(&format!(
            "{what}: {pass} {} of at most {}, loss {:.3}{found}, {} s left at most",
            now.epoch + 1,
            now.epochs,
            now.loss,
            now.left.as_secs()
        ));
    }

    pub(crate) fn end(&mut self) {
        if let Some((stage, what)) = self.now.take() {
            stage.end(&what);
        }
    }
}
