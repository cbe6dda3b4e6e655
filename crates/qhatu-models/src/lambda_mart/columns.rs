//! Candidates of a history, and what is known of each: a row a candidate.

use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::ItemIdx;
use rustc_hash::FxHashMap;

use super::sales::{SOLD, Sales};
use super::{Config, NAME};
use crate::DAY_MS;
use crate::error::{ModelError, misfit};
use crate::fold::{FoldColumn, FoldNow};
use crate::interactions::Interactions;
use crate::item_sides::ItemLabels;
use crate::recommender::{History, Recommender, top_k};

/// A model whose candidates are sorted.
pub(super) type Part = Box<dyn Recommender>;

/// Columns of each part: its score, what share of its best score that is, its rank.
const OF_PART: [&str; 3] = ["score", "share", "rank"];
/// Columns of the history, behind those of the parts: how often the item was bought, how many moments and days ago, how much
/// of the history that is; of the history its moments, items, purchases, days since the last and the first, days from one
/// moment to the next; of the item's category how much of the history it is and days since the last; bands of price above
/// those of the history.
const OF_HISTORY: [&str; 13] = [
    "own_purchases",
    "own_moments_back",
    "own_days_since_last",
    "own_share_of_moments",
    "user_moments",
    "user_items",
    "user_purchases",
    "user_days_since_last",
    "user_days_since_first",
    "user_mean_gap_days",
    "own_share_of_category",
    "own_days_since_category",
    "price_bands_above_own",
];
/// Most items that are candidates because they were bought.
const MOST_OWN: usize = 100;
/// What is added to a rank before ranks are fused.
const FUSED: f32 = 60.0;

/// Columns of a row, those of the fold apart.
pub(super) fn width(parts: usize) -> usize {
    parts * OF_PART.len() + OF_HISTORY.len() + SOLD.len()
}

/// The names of all columns; those of the fold are last.
pub(super) fn names(parts: &[String], fold: &[FoldColumn]) -> Vec<String> {
    let of_parts = parts.iter().flat_map(|part| OF_PART.map(|column| format!("{part}_{column}")));
    let own = OF_HISTORY.iter().chain(&SOLD).map(ToString::to_string);
    of_parts.chain(own).chain(fold.iter().map(|column| format!("fold.{}", column.name))).collect()
}

/// What is known of each item: its sales, and, where they are read, its category and band of price.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Items {
    pub(super) sales: Sales,
    categories: Side,
    price_bands: Side,
}

/// A label of each item from padding on, counted from 1; 0 where it has none. Empty where labels are not read.
#[derive(Debug, Clone, PartialEq, Default)]
struct Side(Vec<u32>);

impl Side {
    /// The last of each item's labels: of a category and all wider ones the narrowest.
    fn new(labels: Option<&ItemLabels>) -> Self {
        let last = |labels: &ItemLabels, item| labels.of(item).last().map_or(0, |label| label + 1);
        Self(labels.map_or(Vec::new(), |labels| {
            [0].into_iter().chain((0..labels.items()).map(|item| last(labels, item))).collect()
        }))
    }

    fn of(&self, item: ItemIdx) -> Option<u32> {
        self.0.get(item.row()).copied().filter(|label| *label > 0)
    }
}

impl Items {
    pub(super) fn fit(data: &Interactions, config: &Config) -> Self {
        let categories = Side::new(data.sides.categories.as_ref().filter(|_| config.category));
        let price_bands = Side::new(data.sides.price_bands.as_ref().filter(|_| config.price_band));
        Self { sales: Sales::fit(data), categories, price_bands }
    }

    pub(super) fn len(&self) -> usize {
        self.sales.items()
    }

    pub(super) fn save(&self, file: &mut TensorFile) {
        self.sales.save(file);
        for (name, Side(labels)) in [(CATEGORIES, &self.categories), (PRICE_BANDS, &self.price_bands)] {
            file.put_u32(name, &[labels.len()], labels.clone());
        }
    }

    pub(super) fn load(file: &TensorFile) -> Result<Self, ModelError> {
        let sales = Sales::load(file)?;
        let side = |name| -> Result<Side, ModelError> {
            match file.u32(name)? {
                labels if labels.is_empty() || labels.len() == sales.items() + 1 => Ok(Side(labels.to_vec())),
                labels => {
                    Err(misfit(NAME, format!("{name} has {} of {} items", labels.len(), sales.items())))
                }
            }
        };
        let (categories, price_bands) = (side(CATEGORIES)?, side(PRICE_BANDS)?);
        Ok(Self { sales, categories, price_bands })
    }
}

const CATEGORIES: &str = "items.categories";
const PRICE_BANDS: &str = "items.price_bands";

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
        let shopper = Shopper::new(history, items);
        let moment = items.sales.moment(history.now);
        match only {
            Some(shown) => shown.clone_into(&mut found),
            None => {
                found.extend(shopper.latest(MOST_OWN));
                found.extend(history.known_seen(items.len()).map(|(item, _)| item));
            }
        }
        found.sort_unstable();
        found.dedup();
        let mut rows = Vec::with_capacity(found.len() * width(parts.len()));
        for &item in &found {
            for ((scores, ranks), bounds) in scores.chunks(items.len() + 1).zip(&ranks).zip(&bounds) {
                let score = scores[item.row()];
                rows.extend([score, share(score, *bounds), ranks.get(&item).copied().unwrap_or(f32::NAN)]);
            }
            rows.extend(shopper.columns(item, items));
            rows.extend(items.sales.before(item, moment));
        }
        Self { items: found, rows, width: width(parts.len()) }
    }

    /// The same with the numbers that the fold says of each; missing where nobody tells.
    pub(super) fn with_fold(self, columns: usize, fold: Option<&dyn FoldNow>) -> Self {
        if columns == 0 {
            return self;
        }
        let said = fold.map(|fold| fold.rows(&self.items)).unwrap_or_default();
        let mut rows = Vec::with_capacity(self.rows.len() + columns * self.items.len());
        for (place, row) in self.rows.chunks_exact(self.width).enumerate() {
            rows.extend_from_slice(row);
            let told = said.get(place * columns..(place + 1) * columns);
            rows.resize(rows.len() + columns, f32::NAN);
            let own = rows.len() - columns;
            told.into_iter().for_each(|told| rows[own..].copy_from_slice(told));
        }
        Self { items: self.items, rows, width: self.width + columns }
    }

    /// The row of a candidate.
    pub(super) fn row(&self, item: ItemIdx) -> Option<&[f32]> {
        let place = self.items.binary_search(&item).ok()?;
        self.rows.chunks_exact(self.width).nth(place)
    }

    /// The rows as columns.
    pub(super) fn columns(&self) -> Vec<Vec<f64>> {
        columns(&self.rows, self.width)
    }

    /// The sum of each candidate's reciprocal ranks.
    pub(super) fn fused_ranks(&self, parts: usize) -> Vec<f32> {
        let reciprocal = |rank: f32| if rank.is_nan() { 0.0 } else { 1.0 / (FUSED + rank) };
        let fused = |row: &[f32]| (0..parts).map(|part| reciprocal(row[part * OF_PART.len() + 2])).sum();
        self.rows.chunks_exact(self.width.max(1)).map(fused).collect()
    }

    /// The part in whose list an item stands highest.
    pub(super) fn best_part(&self, item: ItemIdx, parts: usize) -> Option<usize> {
        let place = self.items.binary_search(&item).ok()?;
        let rank = |part: &usize| self.rows[place * self.width + part * OF_PART.len() + 2];
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
    /// Purchases of each category, and when the last was.
    categories: FxHashMap<u32, (u32, i64)>,
    /// The mean band of price.
    price_band: f32,
    now: i64,
    moments: u32,
    purchases: u32,
    first: i64,
    latest: i64,
}

impl Shopper {
    fn new(history: &History, items: &Items) -> Self {
        let known = || history.known_bought(items.len());
        let mut own: FxHashMap<ItemIdx, Own> = FxHashMap::default();
        let mut categories: FxHashMap<u32, (u32, i64)> = FxHashMap::default();
        let (mut bands, mut priced) = (0.0, 0.0);
        let (mut moments, mut purchases, mut current) = (0_u32, 0, None);
        for (item, time) in known().rev() {
            moments += u32::from(current != Some(time));
            purchases += 1;
            current = Some(time);
            own.entry(item).or_insert(Own { times: 0, back: moments, last: time }).times += 1;
            if let Some(category) = items.categories.of(item) {
                categories.entry(category).or_insert((0, time)).0 += 1;
            }
            if let Some(band) = items.price_bands.of(item) {
                (bands, priced) = (bands + band as f32, priced + 1.0);
            }
        }
        let latest = known().next_back().map_or(history.now, |(_, time)| time);
        let first = known().next().map_or(history.now, |(_, time)| time);
        let price_band = if priced > 0.0 { bands / priced } else { f32::NAN };
        Self { own, categories, price_band, now: history.now, moments, purchases, first, latest }
    }

    /// The items bought last.
    fn latest(&self, most: usize) -> impl Iterator<Item = ItemIdx> {
        let mut own: Vec<(u32, ItemIdx)> = self.own.iter().map(|(&item, own)| (own.back, item)).collect();
        own.sort_unstable();
        own.into_iter().take(most).map(|(_, item)| item)
    }

    /// [`OF_HISTORY`]; what is not known is missing.
    fn columns(&self, item: ItemIdx, items: &Items) -> [f32; OF_HISTORY.len()] {
        let [times, back, ago, share] = match self.own.get(&item) {
            None => [0.0, f32::NAN, f32::NAN, 0.0],
            Some(own) => {
                let times = own.times as f32;
                [times, own.back as f32, days(own.last, self.now), times / self.moments as f32]
            }
        };
        let gaps = self.moments.saturating_sub(1);
        let gap = if gaps > 0 { days(self.first, self.latest) / gaps as f32 } else { f32::NAN };
        let of_category = items.categories.of(item).map(|category| self.categories.get(&category));
        let [in_category, since_category] = match of_category {
            None => [f32::NAN; 2],
            Some(None) => [0.0, f32::NAN],
            Some(Some((times, last))) => [*times as f32 / self.purchases as f32, days(*last, self.now)],
        };
        let above = items.price_bands.of(item).map_or(f32::NAN, |band| band as f32 - self.price_band);
        [
            times,
            back,
            ago,
            share,
            self.moments as f32,
            self.own.len() as f32,
            self.purchases as f32,
            days(self.latest, self.now),
            days(self.first, self.now),
            gap,
            in_category,
            since_category,
            above,
        ]
    }
}

/// Days from one time to another, never below 0.
fn days(from: i64, to: i64) -> f32 {
    (to.saturating_sub(from).max(0) as f64 / DAY_MS) as f32
}
