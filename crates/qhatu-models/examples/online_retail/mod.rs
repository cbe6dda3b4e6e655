//! What the examples on UCI Online Retail share: reading the CSV, and judging on a window of 28 days.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::error::Error;
use std::io::{BufRead, Write, stdin};
use std::sync::Arc;

use qhatu_models::{History, Interactions, Purchase, Recommender, Vocabulary, top_k};
use qhatu_schema::{ItemId, ItemIdx, Timestamp};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

const K: usize = 10;
const WINDOW_MS: i64 = 28 * 86_400_000;
/// Everything bought, and what is new to the shopper; and both for shoppers of few orders.
const TARGETS: [&str; 4] = ["all", "new", "all, few orders", "new, few orders"];
const FEW_ORDERS: u32 = 3;

/// Per target and shopper: NDCG@10, and nothing where there is nothing relevant.
pub(crate) type Judged = [Vec<Option<f64>>; 4];

/// The purchases of known shoppers: no cancellation, no code that is no product, a price above 0; each
/// item once an invoice. The description may hold commas, so fields are counted from both ends.
pub(crate) fn read() -> Result<(Arc<Vocabulary>, Vec<Purchase>), Box<dyn Error>> {
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
pub(crate) fn future(purchases: &[Purchase], start: i64) -> HashMap<u32, BTreeSet<ItemIdx>> {
    let mut future: HashMap<u32, BTreeSet<ItemIdx>> = HashMap::new();
    for purchase in purchases.iter().filter(|p| (start..start + WINDOW_MS).contains(&p.time)) {
        future.entry(purchase.user).or_default().insert(purchase.item);
    }
    future
}

pub(crate) fn judge(
    model: &dyn Recommender,
    data: &Interactions,
    future: &HashMap<u32, BTreeSet<ItemIdx>>,
) -> Judged {
    let mut judged = Judged::default();
    let mut scores = vec![0.0; model.catalogue_size() + 1];
    for sequence in &data.sequences {
        let Some(bought) = future.get(&sequence.user.0) else { continue };
        let known: BTreeSet<ItemIdx> = sequence.items.iter().copied().collect();
        model.score(&History::bought(&sequence.items, &sequence.times, data.until), &mut scores);
        let all = ndcg(&scores, bought, |_| false);
        let new = ndcg(&scores, &(bought - &known), |item| known.contains(&item));
        let few = sequence.orders.last().is_some_and(|last| *last < FEW_ORDERS);
        let figures = [all, new, all.filter(|_| few), new.filter(|_| few)];
        judged.iter_mut().zip(figures).for_each(|(judged, figure)| judged.push(figure));
    }
    judged
}

/// How well probabilities of the hundred best items of each shopper with a history who orders in the window are what they
/// say, bought then or not: the expected calibration error over ten equally wide bins, the mean
/// probability, and the share that was bought.
#[allow(dead_code, reason = "of the examples only one foretells probabilities")]
pub(crate) fn calibration(
    model: &dyn Recommender,
    data: &Interactions,
    future: &HashMap<u32, BTreeSet<ItemIdx>>,
) -> [f64; 3] {
    let mut bins = [(0.0, 0.0, 0.0); 10];
    for sequence in &data.sequences {
        let history = History::bought(&sequence.items, &sequence.times, data.until);
        let Some(bought) = future.get(&sequence.user.0) else { continue };
        for scored in model.recommend(&history, 100, &|_| false) {
            let probability = f64::from(scored.score).clamp(0.0, 1.0);
            let bin = &mut bins[((probability * 10.0) as usize).min(9)];
            let label = f64::from(u8::from(bought.contains(&scored.item)));
            *bin = (bin.0 + probability, bin.1 + label, bin.2 + 1.0);
        }
    }
    let rows: f64 = bins.iter().map(|bin| bin.2).sum();
    let error = bins.iter().map(|bin| (bin.0 - bin.1).abs()).sum::<f64>() / rows;
    let mean = |of: fn(&(f64, f64, f64)) -> f64| bins.iter().map(of).sum::<f64>() / rows;
    [error, mean(|bin| bin.0), mean(|bin| bin.1)]
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

pub(crate) fn report(
    out: &mut impl Write,
    name: &str,
    judged: &Judged,
    rival: Option<&Judged>,
) -> std::io::Result<()> {
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
