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
//! 95 % bootstrap intervals over shoppers, and paired ones of the difference to each rival.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};
use std::sync::Arc;
use std::time::Instant;

use qhatu_models::{
    History, Interactions, Purchase, Recommender, Vocabulary, blend, ease, own_frequency, recent_popularity,
    top_k,
};
use qhatu_schema::{ItemId, ItemIdx, Timestamp};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

const K: usize = 10;
const WINDOW_MS: i64 = 28 * 86_400_000;
const TARGETS: [&str; 2] = ["all", "new"];

/// Per target and shopper: NDCG@10, and nothing where there is nothing relevant.
type Judged = [Vec<Option<f64>>; 2];

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
        for (name, rival) in &rivals {
            report(&mut out, &format!("blend less {name}"), &judged, Some(rival))?;
        }
    }
    Ok(())
}

/// The purchases of known shoppers: no cancellation, no code that is no product, a price above 0; each
/// item once an invoice. The description may hold commas, so fields are counted from both ends.
fn read() -> Result<(Arc<Vocabulary>, Vec<Purchase>), Box<dyn Error>> {
    let mut rows = BTreeSet::new();
    for line in stdin().lock().lines().skip(1) {
        let line = line?;
        let front: Vec<&str> = line.splitn(3, ',').collect();
        let back: Vec<&str> = line.rsplitn(6, ',').collect();
        let (&[invoice, code, _], &[_, shopper, price, time, ..]) = (&front[..], &back[..]) else { continue };
        let product = code.starts_with(|first: char| first.is_ascii_digit());
        if shopper.is_empty() || invoice.starts_with('C') || !product || price.parse::<f64>()? <= 0.0 {
            continue;
        }
        let time = Timestamp::parse(&format!("{}Z", time.replace(' ', "T")))?.millis();
        rows.insert((invoice.to_owned(), code.to_owned(), shopper.to_owned(), time));
    }
    let codes: BTreeSet<&str> = rows.iter().map(|row| row.1.as_str()).collect();
    let ids = codes.into_iter().map(ItemId::new).collect::<Result<Vec<_>, _>>()?;
    let vocabulary = Arc::new(Vocabulary::new(ids));
    let (mut shoppers, mut orders) = (HashMap::new(), HashMap::new());
    let mut lines = BTreeMap::new();
    for (invoice, code, shopper, time) in &rows {
        let next = shoppers.len() as u32;
        let user = *shoppers.entry(shopper).or_insert(next);
        let next = orders.len() as u32;
        let order = *orders.entry(invoice).or_insert(next);
        let item = vocabulary.idx(&ItemId::new(code.as_str())?).unwrap_or(ItemIdx::PADDING);
        lines.entry((user, order, item)).or_insert(Purchase { time: *time, user, order, item });
    }
    Ok((vocabulary, lines.into_values().collect()))
}

/// What each shopper buys in the window.
fn future(purchases: &[Purchase], start: i64) -> HashMap<u32, BTreeSet<ItemIdx>> {
    let mut future: HashMap<u32, BTreeSet<ItemIdx>> = HashMap::new();
    for purchase in purchases.iter().filter(|p| (start..start + WINDOW_MS).contains(&p.time)) {
        future.entry(purchase.user).or_default().insert(purchase.item);
    }
    future
}

fn judge(model: &dyn Recommender, data: &Interactions, future: &HashMap<u32, BTreeSet<ItemIdx>>) -> Judged {
    let mut judged = Judged::default();
    let mut scores = vec![0.0; model.catalogue_size() + 1];
    for sequence in &data.sequences {
        let Some(bought) = future.get(&sequence.user.0) else { continue };
        let known: BTreeSet<ItemIdx> = sequence.items.iter().copied().collect();
        model
            .score(&History { items: &sequence.items, times: &sequence.times, now: data.until }, &mut scores);
        judged[0].push(ndcg(&scores, bought, |_| false));
        judged[1].push(ndcg(&scores, &(bought - &known), |item| known.contains(&item)));
    }
    judged
}

/// Binary gains; the ideal list holds as many relevant items as fit in ten places.
fn ndcg(scores: &[f32], relevant: &BTreeSet<ItemIdx>, exclude: impl Fn(ItemIdx) -> bool) -> Option<f64> {
    let discount = |place: usize| 1.0 / (place as f64 + 2.0).log2();
    let list = top_k(scores, K, exclude).into_iter().enumerate();
    let gained: f64 =
        list.filter(|(_, s)| relevant.contains(&s.item)).map(|(place, _)| discount(place)).sum();
    let ideal: f64 = (0..relevant.len().min(K)).map(discount).sum();
    (!relevant.is_empty()).then(|| gained / ideal)
}

fn report(out: &mut impl Write, name: &str, judged: &Judged, rival: Option<&Judged>) -> std::io::Result<()> {
    write!(out, "{name:>30}")?;
    for (target, place) in TARGETS.iter().zip(0..) {
        let own = judged[place].iter().enumerate().filter_map(|(shopper, value)| {
            let rival = rival.map_or(Some(0.0), |rival| rival[place][shopper]);
            Some((*value)? - rival?)
        });
        let own: Vec<f64> = own.collect();
        let [low, mean, high] = interval(&own);
        write!(out, "  {target} {mean:.4} [{low:.4}, {high:.4}] n {}", own.len())?;
    }
    writeln!(out)
}

/// Mean and 95 % bootstrap interval of 2,000 samples.
fn interval(values: &[f64]) -> [f64; 3] {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let count = values.len().max(1);
    let mut draw = || values[(random.next_u64() % count as u64) as usize];
    let mut means: Vec<f64> =
        (0..2000).map(|_| (0..count).map(|_| draw()).sum::<f64>() / count as f64).collect();
    means.sort_by(f64::total_cmp);
    [means[50], values.iter().sum::<f64>() / count as f64, means[1949]]
}
