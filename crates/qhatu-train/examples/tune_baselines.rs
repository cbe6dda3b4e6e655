//! Chooses the baselines' settings on the 28 days before the test window, so that what a model has to beat is as good as
//! it can be. Nothing from the test window on is read.
//!
//! ```text
//! cargo run --release -- demo --no-serve
//! cargo run --release -p qhatu-train --example tune_baselines -- qhatu-demo/data/lake 2011-11-12 [model]
//! ```
//!
//! The second argument is the first day of the test window. Per model the settings that were tried, the best first:
//! the product of NDCG@10 on both targets decides (a per cent more on either counts the same), for own frequency the
//! first alone, because it has nothing to say about new items. The defaults in the models' files are what stands on top
//! here, except where a file says otherwise.

use std::error::Error;
use std::io::{Write, stdout};

use qhatu_eval::{Catalogue, Settings, judge};
use qhatu_models::{
    Recommender, als, decayed_markov, ease, item_knn, own_frequency, recent_popularity, vmis_knn,
};
use qhatu_schema::LimaDay;
use qhatu_store::Lake;
use qhatu_train::{ShopData, TestSet, TrainConfig, lists};

const SETTINGS: Settings = Settings { k: 10, bootstrap_samples: 0, seed: 0 };

type Found = (String, f64, f64);
type Try = (&'static str, fn(&TestSet) -> Result<Vec<Found>, Box<dyn Error>>);

const TRIES: [Try; 7] = [
    ("recent_popularity", recent_popularities),
    ("own_frequency", own_frequencies),
    ("item_knn", item_knns),
    ("ease", eases),
    ("als", alses),
    ("decayed_markov", decayed_markovs),
    ("vmis_knn", vmis_knns),
];

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [lake, day, rest @ ..] = words.as_slice() else { return Err("give a lake and a day".into()) };
    let data = ShopData::from_lake_before(&Lake::open(lake)?, LimaDay::parse(day)?)?;
    let test = TestSet::new(&data, &TrainConfig::default())?;
    let mut out = stdout().lock();
    writeln!(out, "{}, {} shoppers", test.protocol, test.returning())?;
    for (model, run) in TRIES.iter().filter(|(model, _)| rest.is_empty() || rest[0] == *model) {
        let mut found = run(&test)?;
        let worth = |found: &Found| if *model == "own_frequency" { found.1 } else { found.1 * found.2 };
        found.sort_by(|a, b| worth(b).total_cmp(&worth(a)));
        writeln!(out, "{model}")?;
        for (settings, all, new) in found.iter().take(12) {
            writeln!(out, "  all {all:.4}  new {new:.4}  {settings}")?;
        }
        let present = found.iter().position(|(settings, ..)| settings.ends_with('*'));
        if let Some((place, (settings, all, new))) = present.map(|place| (place, &found[place])) {
            writeln!(out, "  the default stands at {}: all {all:.4}  new {new:.4}  {settings}", place + 1)?;
        }
    }
    Ok(())
}

/// NDCG@10 of a fitted model on both targets.
fn measured(
    test: &TestSet,
    model: &dyn Recommender,
    settings: String,
    default: bool,
) -> Result<Found, Box<dyn Error>> {
    let lists = lists(model.name(), model, test, SETTINGS.k)?;
    let catalogue = Catalogue { shares: &[], buyers: &[], categories: None };
    let report = judge(&[lists], &test.cases, &catalogue, &SETTINGS)?;
    let figure = |target: &str| report.models[0].targets[target]["ndcg_at_10"].mean;
    Ok((format!("{settings}{}", if default { " *" } else { "" }), figure("all"), figure("new")))
}

fn recent_popularities(test: &TestSet) -> Result<Vec<Found>, Box<dyn Error>> {
    let of = |days: f64| {
        let config = recent_popularity::Config { days };
        let model = recent_popularity::RecentPopularity::fit(&test.train, &config);
        measured(test, &model, format!("days {days}"), config == Default::default())
    };
    [3.0, 5.0, 7.0, 10.0, 14.0, 21.0, 28.0].into_iter().map(of).collect()
}

fn own_frequencies(test: &TestSet) -> Result<Vec<Found>, Box<dyn Error>> {
    let of = |half_life_days: f64| {
        let config = own_frequency::Config { half_life_days };
        let model = own_frequency::OwnFrequency::fit(&test.train, &config);
        measured(test, &model, format!("half_life_days {half_life_days}"), config == Default::default())
    };
    [0.0, 30.0, 60.0, 90.0, 120.0, 180.0, 365.0, 730.0].into_iter().map(of).collect()
}

fn item_knns(test: &TestSet) -> Result<Vec<Found>, Box<dyn Error>> {
    let mut found = Vec::new();
    for k in [3, 5, 10, 20, 50, 200] {
        for shrinkage in [0.0, 5.0, 10.0, 50.0] {
            for history_half_life_days in [0.0, 30.0, 60.0, 180.0] {
                let config = item_knn::Config { k, shrinkage, history_half_life_days };
                let model = item_knn::ItemKnn::fit(&test.train, &config);
                found.push(measured(test, &model, format!("{config:?}"), config == Default::default())?);
            }
        }
    }
    Ok(found)
}

fn eases(test: &TestSet) -> Result<Vec<Found>, Box<dyn Error>> {
    let mut found = Vec::new();
    for regularization in [30.0, 100.0, 200.0, 300.0, 600.0] {
        for history_half_life_days in [0.0, 60.0, 120.0, 180.0, 365.0] {
            let config = ease::Config { regularization, history_half_life_days };
            let model = ease::Ease::fit(&test.train, &config)?;
            found.push(measured(test, &model, format!("{config:?}"), config == Default::default())?);
        }
    }
    Ok(found)
}

fn alses(test: &TestSet) -> Result<Vec<Found>, Box<dyn Error>> {
    let mut found = Vec::new();
    for factors in [64, 128] {
        for regularization in [1.0, 10.0, 50.0] {
            for alpha in [1.0, 10.0, 40.0] {
                for history_half_life_days in [60.0, 180.0] {
                    let shape = als::Config { factors, regularization, alpha, ..Default::default() };
                    let config = als::Config { history_half_life_days, ..shape };
                    let model = als::Als::fit(&test.train, &config, 1)?;
                    found.push(measured(test, &model, format!("{config:?}"), config == Default::default())?);
                }
            }
        }
    }
    Ok(found)
}

fn decayed_markovs(test: &TestSet) -> Result<Vec<Found>, Box<dyn Error>> {
    let mut found = Vec::new();
    for window in [3, 10, 30] {
        for k in [10, 50, 500] {
            for normalization in [0.25, 0.5, 0.75, 1.0] {
                let config = decayed_markov::Config { window, k, normalization, ..Default::default() };
                let model = decayed_markov::DecayedMarkov::fit(&test.train, &config);
                found.push(measured(test, &model, format!("{config:?}"), config == Default::default())?);
            }
        }
    }
    Ok(found)
}

fn vmis_knns(test: &TestSet) -> Result<Vec<Found>, Box<dyn Error>> {
    let mut found = Vec::new();
    for (m, k) in [(200, 200), (200, 500), (500, 100), (500, 500)] {
        for max_length in [30, 100] {
            for position_decay in [0.0, 20.0] {
                for normalize in [false, true] {
                    let plain = vmis_knn::Config::default();
                    let config = vmis_knn::Config { m, k, max_length, position_decay, normalize, ..plain };
                    let model = vmis_knn::VmisKnn::fit(&test.train, &config)?;
                    found.push(measured(test, &model, format!("{config:?}"), config == plain)?);
                }
            }
        }
    }
    Ok(found)
}
