//! What the ranker sees of a shopper and an item. One function makes the rows for training, for
//! evaluation and for serving, so there is no second meaning to drift apart.
//!
//! Three kinds of columns: the shopper's own purchases of the item (counts, counts decayed at three
//! half-lives, time since the last, that time against the usual gap, share of the baskets since the
//! first), the item (how much it is bought, how much of that by new buyers, trend, how many buyers
//! come back), and the shopper (baskets, their size, time since the last); between them
//! stands the collaborative score. What does not exist is missing (NaN), not zero.

use qhatu_schema::ItemIdx;
use rustc_hash::FxHashMap;

use crate::DAY_MS;
use crate::interactions::Interactions;
use crate::recommender::{History, top_k};

/// The columns of a row, in their order. A stored ranker names them and refuses others. Where shoppers of the data looked at
/// products, [`LOOKS`] stands behind them.
pub(super) const COLUMNS: [&str; 18] = [
    "own_count",
    "own_decayed_14_days",
    "own_decayed_30_days",
    "own_decayed_120_days",
    "own_days_since_last",
    "own_days_since_last_by_mean_gap",
    "own_share_of_baskets_since_first",
    "similarity",
    "item_decayed_7_days",
    "item_sold_28_days",
    "item_new_buyers_7_days",
    "item_new_buyers_28_days",
    "item_trend",
    "item_repeat_rate",
    "item_buyers",
    "user_basket_size",
    "user_days_since_last",
    "user_baskets",
];

/// How many days ago the shopper looked at the item last, if they did not buy it since.
pub(super) const LOOKS: &str = "own_days_since_look";

pub(super) const ITEM_COLUMNS: usize = 7;
/// Most of a shopper's own items that are candidates, so that the largest buyer costs no more time.
const MOST_OWN: usize = 300;
const HALF_LIVES_DAYS: [f32; 3] = [14.0, 30.0, 120.0];

/// What is known of the items at the end of the data: one row of columns per item, padding's
/// included, and the items that any shopper may be offered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Items {
    columns: Vec<[f32; ITEM_COLUMNS]>,
    offered: Vec<ItemIdx>,
}

/// The items worth ranking for one shopper, with one row of columns each.
pub(super) struct Candidates {
    pub(super) items: Vec<ItemIdx>,
    pub(super) rows: Vec<f32>,
}

/// What candidates are looked for by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Retrieval {
    /// How many similar items are candidates.
    pub(super) similar: usize,
    /// Whether what was looked at has a column.
    pub(super) looks: bool,
}

impl Retrieval {
    /// The names of a row's columns.
    pub(super) fn columns(self) -> Vec<&'static str> {
        COLUMNS.into_iter().chain(self.looks.then_some(LOOKS)).collect()
    }

    /// How many there are.
    pub(super) fn width(self) -> usize {
        COLUMNS.len() + usize::from(self.looks)
    }
}

impl Items {
    /// Counts purchases up to the end of `interactions`. `offered` items of most sales lately, and as
    /// many of most new buyers lately, are offered to everybody.
    pub(super) fn fit(interactions: &Interactions, offered: usize) -> Self {
        let mut counts = vec![Counts::default(); interactions.items() + 1];
        for sequence in &interactions.sequences {
            let mut own: FxHashMap<ItemIdx, (u32, f32)> = FxHashMap::default();
            for (&item, &time) in sequence.items.iter().zip(&sequence.times) {
                let age = days(time, interactions.until);
                counts[item.row()].add_sale(age);
                let own = own.entry(item).or_insert((0, age));
                *own = (own.0 + 1, own.1.max(age));
            }
            own.into_iter().for_each(|(item, (times, age))| counts[item.row()].add_buyer(times, age));
        }
        Self::from_columns(counts.iter().map(Counts::columns).collect(), offered)
    }

    /// The items with the given columns, as [`Items::columns`] gave them.
    pub(super) fn from_columns(columns: Vec<[f32; ITEM_COLUMNS]>, offered: usize) -> Self {
        let best = |column: usize| {
            let mut scores: Vec<f32> = columns.iter().map(|row| row[column]).collect();
            if let Some(padding) = scores.first_mut() {
                *padding = f32::NEG_INFINITY;
            }
            top_k(&scores, offered, |item| columns[item.row()][column] <= 0.0)
        };
        let mut offered: Vec<ItemIdx> = best(0).iter().chain(&best(2)).map(|scored| scored.item).collect();
        offered.sort_unstable();
        offered.dedup();
        Self { columns, offered }
    }

    /// The columns of all items, one after the other.
    pub(super) fn columns(&self) -> &[[f32; ITEM_COLUMNS]] {
        &self.columns
    }

    /// Sales of the last four weeks, for items that are no candidates.
    pub(super) fn sold_lately(&self, item: ItemIdx) -> f32 {
        self.columns[item.row()][1]
    }

    /// The candidates of a shopper: what they bought (of very many items those bought most and last), what they looked at, the
    /// items of highest similarity, and what is offered to everybody; in the order of their indices. `similarity` has a
    /// score per item.
    pub(super) fn candidates(
        &self,
        history: &History,
        similarity: &[f32],
        retrieval: Retrieval,
    ) -> Candidates {
        let shopper = Shopper::new(history, self.columns.len() - 1);
        let similar = top_k(similarity, retrieval.similar, |item| similarity[item.row()] <= 0.0);
        let mut items: Vec<ItemIdx> = similar.iter().map(|scored| scored.item).collect();
        items.extend(shopper.dearest(MOST_OWN));
        items.extend(shopper.looks.keys());
        items.extend(&self.offered);
        items.sort_unstable();
        items.dedup();
        let mut rows = Vec::with_capacity(items.len() * retrieval.width());
        for &item in &items {
            rows.extend(shopper.own_columns(item));
            rows.push(similarity[item.row()]);
            rows.extend(self.columns[item.row()]);
            rows.extend(shopper.columns);
            rows.extend(retrieval.looks.then(|| shopper.days_since_look(item)));
        }
        Candidates { items, rows }
    }
}

/// Days from one time to another, never below 0.
fn days(from: i64, to: i64) -> f32 {
    (to.saturating_sub(from).max(0) as f64 / DAY_MS) as f32
}

/// What is counted of one item.
#[derive(Debug, Clone, Default)]
struct Counts {
    decayed: f32,
    sold_28: f32,
    sold_90: f32,
    new_7: f32,
    new_28: f32,
    buyers: f32,
    repeaters: f32,
}

impl Counts {
    fn add_sale(&mut self, age: f32) {
        self.decayed += (-age / 7.0).exp2();
        self.sold_28 += f32::from(u8::from(age < 28.0));
        self.sold_90 += f32::from(u8::from(age < 90.0));
    }

    /// A buyer who bought so many times, the first time so many days ago.
    fn add_buyer(&mut self, times: u32, age: f32) {
        self.buyers += 1.0;
        self.repeaters += f32::from(u8::from(times > 1));
        self.new_7 += f32::from(u8::from(age < 7.0));
        self.new_28 += f32::from(u8::from(age < 28.0));
    }

    /// Trend and repeat rate are drawn towards 1 and .15, more so the less is known.
    fn columns(&self) -> [f32; ITEM_COLUMNS] {
        [
            self.decayed,
            self.sold_28,
            self.new_7,
            self.new_28,
            (self.sold_28 + 1.0) / (self.sold_90 * (28.0 / 90.0) + 1.0),
            (self.repeaters + 3.0) / (self.buyers + 20.0),
            self.buyers,
        ]
    }
}

/// A shopper's purchases of one item.
#[derive(Debug, Clone)]
struct Own {
    count: u32,
    decayed: [f32; 3],
    first: i64,
    last: i64,
    first_basket: u32,
}

/// A shopper's history, summed up. A basket is what was bought at one time.
struct Shopper {
    now: i64,
    baskets: u32,
    own: FxHashMap<ItemIdx, Own>,
    /// When they looked at an item last that they did not buy since.
    looks: FxHashMap<ItemIdx, i64>,
    columns: [f32; 3],
}

impl Shopper {
    fn new(history: &History, catalogue_size: usize) -> Self {
        let mut own: FxHashMap<ItemIdx, Own> = FxHashMap::default();
        let (mut lines, mut baskets, mut latest) = (0, 0, i64::MIN);
        for (item, time) in history.known_bought(catalogue_size) {
            if lines == 0 || time != latest {
                baskets += 1;
            }
            (lines, latest) = (lines + 1, time);
            let own = own.entry(item).or_insert(Own {
                count: 0,
                decayed: [0.0; 3],
                first: time,
                last: time,
                first_basket: baskets,
            });
            own.count += 1;
            own.last = time;
            let age = days(time, history.now);
            own.decayed.iter_mut().zip(HALF_LIVES_DAYS).for_each(|(sum, half)| *sum += (-age / half).exp2());
        }
        let columns = match baskets {
            0 => [f32::NAN, f32::NAN, 0.0],
            _ => [lines as f32 / baskets as f32, days(latest, history.now), baskets as f32],
        };
        let looks = history.known_seen(catalogue_size).collect();
        Self { now: history.now, baskets, own, looks, columns }
    }

    /// The `most` items of highest count at the longest half-life.
    fn dearest(&self, most: usize) -> impl Iterator<Item = ItemIdx> {
        let mut own: Vec<(f32, ItemIdx)> =
            self.own.iter().map(|(&item, own)| (own.decayed[2], item)).collect();
        own.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        own.into_iter().take(most).map(|(_, item)| item)
    }

    fn days_since_look(&self, item: ItemIdx) -> f32 {
        self.looks.get(&item).map_or(f32::NAN, |time| days(*time, self.now))
    }

    fn own_columns(&self, item: ItemIdx) -> [f32; 7] {
        let Some(own) = self.own.get(&item) else {
            return [0.0, 0.0, 0.0, 0.0, f32::NAN, f32::NAN, 0.0];
        };
        let count = own.count as f32;
        let since = days(own.last, self.now);
        let gap = days(own.first, own.last) / (count - 1.0); // NaN for a single purchase: 0 / 0
        let share = count / (self.baskets - own.first_basket + 1) as f32;
        let [short, middle, long] = own.decayed;
        [count, short, middle, long, since, if gap.is_nan() { gap } else { since / gap.max(1.0) }, share]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = DAY_MS as i64;

    fn retrieval(similar: usize) -> Retrieval {
        Retrieval { similar, looks: false }
    }

    fn close(got: &[f32], want: &[f32]) {
        assert_eq!(got.len(), want.len());
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() < 1e-4 || (got.is_nan() && want.is_nan()), "{got} is not {want}");
        }
    }

    #[test]
    fn own_columns_are_what_they_say() {
        let items = [1, 2, 1, 1].map(ItemIdx);
        let times = [0, 0, 20 * DAY, 40 * DAY];
        let shopper = Shopper::new(&History::bought(&items, &times, 70 * DAY), 9);
        let half = |half: f32| (-70.0 / half).exp2() + (-50.0 / half).exp2() + (-30.0 / half).exp2();
        close(&shopper.own_columns(ItemIdx(1)), &[3.0, half(14.0), half(30.0), half(120.0), 30.0, 1.5, 1.0]);
        let once = (-70.0f32 / 14.0).exp2();
        close(&shopper.own_columns(ItemIdx(2))[..2], &[1.0, once]);
        close(&shopper.own_columns(ItemIdx(2))[4..], &[70.0, f32::NAN, 1.0 / 3.0]);
        close(&shopper.own_columns(ItemIdx(9)), &[0.0, 0.0, 0.0, 0.0, f32::NAN, f32::NAN, 0.0]);
        close(&shopper.columns, &[4.0 / 3.0, 30.0, 3.0]);
    }

    #[test]
    fn item_columns_tell_sales_from_new_buyers() {
        let mut counts = Counts::default();
        [0.0, 7.0, 40.0].into_iter().for_each(|age| counts.add_sale(age));
        counts.add_buyer(2, 40.0);
        counts.add_buyer(1, 7.0);
        let decayed = 1.0 + 0.5 + (-40.0f32 / 7.0).exp2();
        let trend = 3.0 / (3.0 * 28.0 / 90.0 + 1.0);
        close(&counts.columns(), &[decayed, 2.0, 0.0, 1.0, trend, 4.0 / 22.0, 2.0]);
    }

    #[test]
    fn candidates_are_own_similar_and_offered_items_once_each() {
        let columns = (0..7).map(|item| [item as f32, 0.0, 0.0, 0.0, 1.0, 0.1, 1.0]).collect();
        let items = Items::from_columns(columns, 1);
        let history = History::bought(&[ItemIdx(2)], &[0], DAY);
        let similarity = [f32::NEG_INFINITY, 0.0, 0.1, 0.9, 0.8, 0.0, 0.0];
        let candidates = items.candidates(&history, &similarity, retrieval(2));
        assert_eq!(candidates.items, [2, 3, 4, 6].map(ItemIdx));
        assert_eq!(candidates.rows.len(), 4 * COLUMNS.len());
        let own: Vec<f32> = candidates.rows.chunks(COLUMNS.len()).map(|row| row[0]).collect();
        assert_eq!(own, [1.0, 0.0, 0.0, 0.0]);
        let similar: Vec<f32> = candidates.rows.chunks(COLUMNS.len()).map(|row| row[7]).collect();
        assert_eq!(similar, [0.1, 0.9, 0.8, 0.0]);
    }

    #[test]
    fn of_very_many_own_items_the_last_are_candidates() {
        let bought: Vec<ItemIdx> = (1..=1000).map(ItemIdx).collect();
        let times: Vec<i64> = (0..1000).map(|day| day * DAY).collect();
        let items = Items::from_columns(vec![[0.0; ITEM_COLUMNS]; 1001], 1);
        let history = History::bought(&bought, &times, 1000 * DAY);
        let candidates = items.candidates(&history, &[0.0; 1001], retrieval(10));
        assert_eq!(candidates.items, bought[1000 - MOST_OWN..]);
    }

    #[test]
    fn an_empty_history_gives_missing_values_not_errors() {
        let shopper = Shopper::new(&History::bought(&[], &[], 0), 9);
        close(&shopper.columns, &[f32::NAN, f32::NAN, 0.0]);
    }
}
