//! Measures the blend on UCI Online Retail, next to its strongest rivals.
//!
//! ```text
//! gzip -dc ../shared/data/online_retail/online_retail.csv.gz |
//!     cargo run --release -p qhatu-models --example online_retail_blend [first day of the 28 tested]
//! ```
//!
//! Without an argument the validation window, 2011-10-15; the test window is 2011-11-12. NDCG@10 over
//! the whole catalogue, mean over shoppers with a history and something relevant, for everything
//! bought and for what the shopper never bought before (there what they bought is taken out); with
//! 95 % bootstrap intervals over shoppers, and paired ones of the difference to each rival; and how well the blend's
//! probabilities are calibrated.

use std::error::Error;
use std::io::{Write, stdout};
use std::time::Instant;

use qhatu_models::{Interactions, Recommender, blend, ease, own_frequency, recent_popularity};
use qhatu_schema::Timestamp;

use self::online_retail::{calibration, future, judge, read, report};

mod online_retail;

fn main() -> Result<(), Box<dyn Error>> {
    let day = std::env::args().nth(1).unwrap_or_else(|| "2011-10-15".to_owned());
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
    for seed in 1..=3 {
        let begun = Instant::now();
        let model = blend::Blend::fit(&data, &blend::Config::default(), seed)?;
        let fitted = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let judged = judge(&model, &data, &future);
        let per_shopper = begun.elapsed().as_secs_f64() * 1e3 / judged[0].len() as f64;
        writeln!(out, "blend, seed {seed}: fitted in {fitted:.1} s, {per_shopper:.2} ms a shopper")?;
        report(&mut out, "blend", &judged, None)?;
        let [error, foretold, bought] = calibration(&model, &data, &future);
        writeln!(out, "{:>30}  ECE {error:.4}, foretold {foretold:.4}, bought {bought:.4}", "")?;
        for (name, rival) in &rivals {
            report(&mut out, &format!("blend less {name}"), &judged, Some(rival))?;
        }
    }
    Ok(())
}
