//! Measures the attention model on UCI Online Retail, next to its strongest rivals.
//!
//! ```text
//! gzip -dc ../shared/data/online_retail/online_retail.csv.gz |
//!     cargo run --release -p qhatu-models --example online_retail_sasrec [first day of the 28 tested]
//!     [settings as JSON, such as '{"hidden_size":32}'] [number of seeds]
//! ```
//!
//! Protocol and output as in `online_retail_blend`.

use std::error::Error;
use std::io::{Write, stdout};
use std::ops::ControlFlow;
use std::time::Instant;

use qhatu_models::{Interactions, Recommender, ease, own_frequency, recent_popularity, sasrec};
use qhatu_schema::Timestamp;

use self::online_retail::{future, judge, read, report};

mod online_retail;

fn main() -> Result<(), Box<dyn Error>> {
    let argument =
        |place: usize, default: &str| std::env::args().nth(place).unwrap_or_else(|| default.to_owned());
    let day = argument(1, "2011-10-15");
    let config: sasrec::Config = serde_json::from_str(&argument(2, "{}"))?;
    let seeds: u64 = argument(3, "1").parse()?;
    let start = Timestamp::parse(&format!("{day}T00:00:00Z"))?.millis();
    let (vocabulary, purchases) = read()?;
    let data = Interactions::from_purchases(vocabulary, &purchases, start);
    let future = future(&purchases, start);
    let mut out = stdout().lock();
    writeln!(out, "{} purchases, {} items, test from {day}", purchases.len(), data.items())?;

    let ease = ease::Ease::fit(&data, &ease::Config { regularization: 300.0, ..Default::default() })?;
    let own = own_frequency::OwnFrequency::fit(&data, &own_frequency::Config::default());
    let recent = recent_popularity::RecentPopularity::fit(&data, &recent_popularity::Config::default());
    let rivals: [&dyn Recommender; 3] = [&own, &ease, &recent];
    let rivals = rivals.map(|model| (model.name(), judge(model, &data, &future)));
    for (name, judged) in &rivals {
        report(&mut out, name, judged, None)?;
    }
    for seed in 1..=seeds {
        let begun = Instant::now();
        let progress = &mut |now: &sasrec::Progress| {
            if now.step == now.steps {
                let (kind, epoch) = (if now.refit { "refit" } else { "epoch" }, now.epoch + 1);
                let before = now.validation.unwrap_or(f64::NAN);
                let at = begun.elapsed().as_secs_f64();
                let line = writeln!(
                    out,
                    "{at:7.1} s {kind} {epoch} loss {:.4}, validation before {before:.4}, {:.0} s left",
                    now.loss,
                    now.left.as_secs_f64()
                );
                drop(line);
            }
            ControlFlow::Continue(())
        };
        let mut context = sasrec::Context { checkpoint: None, progress };
        let model = sasrec::SasRec::fit_with(&data, &config, seed, &mut context)?;
        let fitted = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let judged = judge(&model, &data, &future);
        let per_shopper = begun.elapsed().as_secs_f64() * 1e3 / judged[0].len() as f64;
        writeln!(out, "sasrec, seed {seed}: fitted in {fitted:.1} s, {per_shopper:.2} ms a shopper")?;
        report(&mut out, "sasrec", &judged, None)?;
        for (name, rival) in &rivals {
            report(&mut out, &format!("sasrec less {name}"), &judged, Some(rival))?;
        }
    }
    Ok(())
}
