//! `qhatu demo`: the whole way on a real shop's data, from an empty folder to answers over HTTP.
//!
//! Each stage finds out by itself whether it is done, so stopping and starting again goes on where it was.

use std::fs;
use std::path::{Path, PathBuf};

use qhatu_eval::{Report, text_table};
use qhatu_ingest::{StoreSink, online_retail};
use qhatu_models::{History, Reason, Recommender, Vocabulary, saved, top_k};
use qhatu_schema::{ItemIdx, Timestamp};
use qhatu_store::{Catalogue, write_atomic};
use qhatu_train::ShopData;

use crate::config::FILE;
use crate::fault::Fault;
use crate::shop::{Shop, say};
use crate::{features, ingest, init, serve, train};

/// UCI Online Retail; origin and licence in `data/online_retail/README.md`.
static ONLINE_RETAIL: &[u8] = include_bytes!("../../../data/online_retail/online_retail.parquet");

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of the demo's project.
    #[arg(long, default_value = "qhatu-demo")]
    dir: PathBuf,
    /// The port to serve on; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Seed of everything random.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Stop before serving.
    #[arg(long)]
    no_serve: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    prepare(&args.dir)?;
    let mut shop = Shop::open(&args.dir)?;
    shop.project.config.train.seed = args.seed;
    import(&shop, &args.dir)?;
    let data = shop.data()?;
    let end = Timestamp::from_millis(data.end());
    if !shop.paths.features_dir().join("session.parquet").exists() {
        features::write(&shop, end)?;
    }
    let report = learn(&shop, &data, args.seed)?;
    say(format!("\n{}", text_table(&report)));
    say_shoppers(&shop, &data)?;
    say(format!("report      {}", shop.paths.reports_dir().join("evaluation.html").display()));
    if args.no_serve {
        return Ok(());
    }
    let mut config = shop.project.config.serve.clone();
    config.port = args.port;
    serve::run_server(&shop, &args.dir, config, |address| {
        say(format!("console     http://{address}/\nAPI         http://{address}/docs\n(stop with Ctrl-C)"));
    })
}

/// Makes the project where it is not there: the usual one, with the clock of the data's past.
fn prepare(dir: &Path) -> Result<(), Fault> {
    let path = dir.join(FILE);
    if path.exists() {
        return Ok(());
    }
    let text = init::TEMPLATE
        .replace("name = \"My shop\"", "name = \"UCI Online Retail\"")
        .replace("clock = \"system\"", "clock = \"last_event\"");
    write_atomic(&path, text.as_bytes())?;
    Ok(())
}

/// Brings the data in; events that are there already count once, so a half import is simply repeated.
fn import(shop: &Shop, dir: &Path) -> Result<(), Fault> {
    let done = shop.paths.root().join("imported");
    if done.exists() {
        return Ok(());
    }
    let file = dir.join("online_retail.parquet");
    fs::write(&file, ONLINE_RETAIL).map_err(Fault::io("write", &file))?;
    let mut sink = StoreSink { log: shop.log.clone(), catalogue: shop.catalogue() };
    let mut quarantine = ingest::quarantine(shop);
    let report = ingest::import(&[file], Some(&online_retail()), &mut sink, &mut quarantine)?;
    say(&report);
    write_atomic(&done, report.to_string().as_bytes())?;
    Ok(())
}

/// Trains, unless a champion of this data and seed is there with its report.
fn learn(shop: &Shop, data: &ShopData, seed: u64) -> Result<Report, Fault> {
    let path = shop.paths.reports_dir().join("evaluation.json");
    let champion = shop.registry().alias(&shop.project.config.registry.model, "champion")?;
    if champion.is_some_and(|champion| champion.new.data_fingerprint == data.fingerprint)
        && let Some(report) =
            fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Report>(&bytes).ok())
        && report.about.get("seed") == Some(&seed.to_string())
        && report.about.get("data_fingerprint") == Some(&data.fingerprint)
    {
        return Ok(report);
    }
    let outcome = train::train(shop)?;
    train::say_outcome(&outcome);
    Ok(outcome.report)
}

/// Three shoppers with what they bought last and what they are shown.
fn say_shoppers(shop: &Shop, data: &ShopData) -> Result<(), Fault> {
    let registry = shop.registry();
    let Some(champion) = registry.alias(&shop.project.config.registry.model, "champion")? else {
        say("no model passed the gate, so the server answers with what is popular");
        return Ok(());
    };
    let artifact = registry.open(&champion)?;
    let (vocabulary, model) = saved::from_files(|name| artifact.files.get(name).map(Vec::as_slice))
        .map_err(|fault| Fault::Said(format!("the champion cannot be loaded: {fault}")))?;
    let all = data.interactions(data.end());
    // Shoppers of a quarter, the half and three quarters of the way through the list, so that they differ.
    for share in [1, 2, 3] {
        let sequence = &all.sequences[all.sequences.len() * share / 4];
        let evidence = all.looked.evidence(sequence.user, sequence.steps(), data.end());
        let history = evidence.history(data.end());
        say(format!("shopper {}", data.users[sequence.user.0 as usize]));
        let names = Names { catalogue: shop.catalogue(), vocabulary: &vocabulary };
        for item in sequence.items.iter().rev().take(3) {
            say(format!("    bought  {}", names.of(*item)));
        }
        say_list(&*model, &history, &names);
    }
    Ok(())
}

fn say_list(model: &dyn Recommender, history: &History, names: &Names) {
    let mut scores = vec![0.0; model.catalogue_size() + 1];
    model.score(history, &mut scores);
    for (place, scored) in top_k(&scores, 5, |_| false).into_iter().enumerate() {
        let why = names.reason(model.because(history, scored.item));
        say(format!("    {}.      {:42} {why}", place + 1, names.of(scored.item)));
    }
    say("");
}

struct Names<'a> {
    catalogue: Catalogue,
    vocabulary: &'a Vocabulary,
}

impl Names<'_> {
    fn of(&self, item: ItemIdx) -> String {
        let Some(id) = self.vocabulary.item(item) else { return "?".to_owned() };
        let known = self.catalogue.item(id).ok().flatten();
        known.map(|item| item.title).filter(|title| !title.is_empty()).unwrap_or_else(|| id.to_string())
    }

    fn reason(&self, reason: Reason) -> String {
        match reason {
            Reason::Popular => "many buy it".to_owned(),
            Reason::PopularRecently => "many bought it of late".to_owned(),
            Reason::PopularInDepartment { department } => {
                format!("many bought it of late in {}", department.name())
            }
            Reason::BoughtBefore { times, last } => {
                format!("bought {times} time(s), last {}", Timestamp::from_millis(last).lima_day())
            }
            Reason::LookedAt { last } => format!("looked at on {}", Timestamp::from_millis(last).lima_day()),
            Reason::SimilarTo { item } => format!("like {}", self.of(item)),
            Reason::OftenBoughtAfter { item } => format!("often bought after {}", self.of(item)),
            Reason::Sequence { item } => format!("follows from {}", self.of(item)),
            Reason::Mixed => "several signs together".to_owned(),
        }
    }
}
