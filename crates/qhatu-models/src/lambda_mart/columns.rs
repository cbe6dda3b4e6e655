//! Candidates of a history, and what is known of each: a row a candidate.

use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::ItemIdx;
use rustc_hash::FxHashMap;

use super::NAME;
use crate::DAY_MS;
use crate::error::{ModelError, misfit};
use crate::interactions::Interactions;
use crate::recommender::{History, Recommender, faded, top_k};

/// A model whose candidates are sorted.
pub(super) type Part = Box<dyn Recommender>;

/// Columns of each part: its score, what share of its best score that is, its rank.
const OF_PART: usize = 3;
/// Columns of the history and the item, behind those of the parts.
const OWN: usize = 9;
/// Most items of a history that are candidates because they stand there.
const MOST_OWN: usize = 100;
/// Days after which a sale counts half in what sells lately.
const HALF_LIFE_DAYS: f64 = 7.0;
/// What is added to a rank before ranks are fused.
const FUSED: f32 = 60.0;

/// Columns of a row.
pub(super) fn width(parts: usize) -> usize {
    parts * OF_PART + OWN
}

/// How each item sells: in all, and lately; from padding on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Items {
    sold: Vec<f32>,
    lately: Vec<f32>,
    most: f32,
}

impl Items {
    pub(super) fn fit(data: &Interactions) -> Self {
        let (mut sold, mut lately) = (vec![0.0; data.items() + 1], vec![0.0; data.items() + 1]);
        let times = data.sequences.iter().filter_map(|sequence| sequence.times.last());
        let end = times.max().copied().unwrap_or_default();
        for sequence in &data.sequences {
            for (item, time) in sequence.items.iter().zip(&sequence.times) {
                sold[item.row()] += 1.0;
                lately[item.row()] += faded(end, *time, HALF_LIFE_DAYS);
            }
        }
        Self::new(sold, lately)
    }

    fn new(sold: Vec<f32>, lately: Vec<f32>) -> Self {
        let most = sold.iter().copied().fold(0.0, f32::max);
        Self { sold, lately, most }
    }

    pub(super) fn len(&self) -> usize {
        self.sold.len() - 1
    }

    /// Sales beside those of all items' best, below 1; 0 for what never sold.
    pub(super) fn share(&self, item: ItemIdx) -> f32 {
        self.sold[item.row()] / (self.most + 1.0)
    }

    pub(super) fn save(&self, file: &mut TensorFile) {
        file.put_f32("items.sold", &[self.sold.len()], self.sold.clone());
        file.put_f32("items.lately", &[self.lately.len()], self.lately.clone());
    }

    pub(super) fn load(file: &TensorFile) -> Result<Self, ModelError> {
        let (sold, lately) = (file.f32("items.sold")?, file.f32("items.lately")?);
        let is_count = |number: &f32| number.is_finite() && *number >= 0.0;
        if sold.is_empty() || sold.len() != lately.len() || !sold.iter().chain(lately).all(is_count) {
            return Err(misfit(NAME, "its items' sales are no counts"));
        }
        Ok(Self::new(sold.to_vec(), lately.to_vec()))
    }
}

/// An item in a history.
struct Own {
    times: u32,
    /// Moments since it was last bought, counted back from the end.
    back: u32,
    last: i64,
}

/// The candidates with a row each; in the order of their indices.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) items: Vec<ItemIdx>,
    pub(super) rows: Vec<f32>,
    width: usize,
}

impl Candidates {
    /// The `retrieve` best items of each part, and those of the history.
    pub(super) fn new(history: &History, parts: &[Part], items: &Items, retrieve: usize) -> Self {
        Self::chosen(history, parts, items, (retrieve, None))
    }

    /// The items that were shown, distinct and known, with the ranks that they have among the `retrieve` best of each part.
    pub(super) fn of_shown(
        history: &History,
        parts: &[Part],
        items: &Items,
        (retrieve, shown): (usize, &[ItemIdx]),
    ) -> Self {
        Self::chosen(history, parts, items, (retrieve, Some(shown)))
    }

    fn chosen(
        history: &History,
        parts: &[Part],
        items: &Items,
        (retrieve, only): (usize, Option<&[ItemIdx]>),
    ) -> Self {
        let mut scores = vec![0.0; parts.len() * (items.len() + 1)];
        let mut found: Vec<ItemIdx> = Vec::new();
        let mut ranks: Vec<FxHashMap<ItemIdx, f32>> = Vec::with_capacity(parts.len());
        let mut bounds = Vec::with_capacity(parts.len());
        for (part, scores) in parts.iter().zip(scores.chunks_mut(items.len() + 1)) {
            part.score(history, scores);
            // What a part knows nothing of stands lowest.
            let floor = scores[1..].iter().copied().fold(f32::INFINITY, f32::min);
            let best = top_k(scores, retrieve, |item| scores[item.row()] <= floor);
            bounds.push((floor, best.first().map_or(floor, |scored| scored.score)));
            found.extend(best.iter().map(|scored| scored.item));
            ranks.push(best.iter().zip(1_u32..).map(|(scored, rank)| (scored.item, rank as f32)).collect());
        }
        let shopper = Shopper::new(history, items.len());
        match only {
            Some(shown) => shown.clone_into(&mut found),
            None => found.extend(shopper.latest(MOST_OWN)),
        }
        found.sort_unstable();
        found.dedup();
        let mut rows = Vec::with_capacity(found.len() * width(parts.len()));
        for &item in &found {
            for ((scores, ranks), bounds) in scores.chunks(items.len() + 1).zip(&ranks).zip(&bounds) {
                let score = scores[item.row()];
                rows.extend([score, share(score, *bounds), ranks.get(&item).copied().unwrap_or(f32::NAN)]);
            }
            rows.extend(shopper.columns(item));
            rows.extend([items.sold[item.row()], items.lately[item.row()]]);
        }
        Self { items: found, rows, width: width(parts.len()) }
    }

    /// The rows as columns.
    pub(super) fn columns(&self) -> Vec<Vec<f64>> {
        columns(&self.rows, self.width)
    }

    /// The sum of each candidate's reciprocal ranks.
    pub(super) fn fused_ranks(&self, parts: usize) -> Vec<f32> {
        let reciprocal = |rank: f32| if rank.is_nan() { 0.0 } else { 1.0 / (FUSED + rank) };
        let fused = |row: &[f32]| (0..parts).map(|part| reciprocal(row[part * OF_PART + 2])).sum();
        self.rows.chunks_exact(self.width.max(1)).map(fused).collect()
    }

    /// The part in whose list an item stands highest.
    pub(super) fn best_part(&self, item: ItemIdx, parts: usize) -> Option<usize> {
        let place = self.items.binary_search(&item).ok()?;
        let rank = |part: &usize| self.rows[place * self.width + part * OF_PART + 2];
        (0..parts).filter(|part| !rank(part).is_nan()).min_by(|a, b| rank(a).total_cmp(&rank(b)))
    }
}

/// Rows side by side as columns.
pub(super) fn columns(rows: &[f32], width: usize) -> Vec<Vec<f64>> {
    let column =
        |place: usize| rows.iter().skip(place).step_by(width).map(|value| f64::from(*value)).collect();
    (0..width).map(column).collect()
}

/// What a score is beside the best: a share, and of logarithms, which lie below zero, a ratio of what they stand for;
/// missing where a part says the same of all items.
fn share(score: f32, (floor, best): (f32, f32)) -> f32 {
    if best <= floor {
        return f32::NAN;
    }
    if best > 0.0 { score / best } else { (score - best).exp() }
}

/// A history, summed up. What was bought at one time is one moment.
struct Shopper {
    own: FxHashMap<ItemIdx, Own>,
    now: i64,
    moments: u32,
    latest: i64,
}

impl Shopper {
    fn new(history: &History, catalogue_size: usize) -> Self {
        let mut own: FxHashMap<ItemIdx, Own> = FxHashMap::default();
        let (mut moments, mut current) = (0_u32, None);
        for (item, time) in history.known(catalogue_size).rev() {
            moments += u32::from(current != Some(time));
            current = Some(time);
            own.entry(item).or_insert(Own { times: 0, back: moments, last: time }).times += 1;
        }
        let latest = history.known(catalogue_size).next_back().map_or(history.now, |(_, time)| time);
        Self { own, now: history.now, moments, latest }
    }

    /// The items bought last.
    fn latest(&self, most: usize) -> impl Iterator<Item = ItemIdx> {
        let mut own: Vec<(u32, ItemIdx)> = self.own.iter().map(|(&item, own)| (own.back, item)).collect();
        own.sort_unstable();
        own.into_iter().take(most).map(|(_, item)| item)
    }

    /// How often it was bought, how many moments and days ago, how much of the history that is; then of the history: its
    /// moments, its items, and days since the last.
    fn columns(&self, item: ItemIdx) -> [f32; OWN - 2] {
        let (moments, items) = (self.moments as f32, self.own.len() as f32);
        let idle = days(self.latest, self.now);
        match self.own.get(&item) {
            None => [0.0, f32::NAN, f32::NAN, 0.0, moments, items, idle],
            Some(own) => {
                let times = own.times as f32;
                [times, own.back as f32, days(own.last, self.now), times / moments, moments, items, idle]
            }
        }
    }
}

/// Days from one time to another, never below 0.
fn days(from: i64, to: i64) -> f32 {
    (to.saturating_sub(from).max(0) as f64 / DAY_MS) as f32
}
