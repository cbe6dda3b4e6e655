//! When each item sold, so that what had sold until a moment can be counted at that moment: a row that asks in the past sees
//! nothing of what came later. Times are those of the data to the millisecond; memory: 12 bytes for each purchase.

use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::ItemIdx;

use super::NAME;
use crate::DAY_MS;
use crate::error::{ModelError, misfit};
use crate::interactions::Interactions;
use crate::recommender::faded;

/// Days after which a sale counts half in what sells lately.
const HALF_LIFE_DAYS: f64 = 7.0;

/// Columns of what an item sold until a moment: purchases in all, those that fade, those of the last 7 and 28 days.
pub(super) const SOLD: [&str; 4] =
    ["item_purchases", "item_decayed_7_days", "item_purchases_7_days", "item_purchases_28_days"];

/// The sales of each item, padding's (none) first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sales {
    /// Where each item's begin, and at last how many there are.
    starts: Vec<u32>,
    /// Never falling within an item.
    times: Vec<i64>,
    /// At each sale the item's sales so far, faded to its time.
    decayed: Vec<f32>,
    /// What lies before is known; of a later moment it is what there is.
    until: i64,
    most: f32,
}

impl Sales {
    pub(super) fn fit(data: &Interactions) -> Self {
        let purchases = data.sequences.iter().flat_map(|own| own.items.iter().zip(&own.times));
        let mut all: Vec<(u32, i64)> = purchases.map(|(item, time)| (item.0, *time)).collect();
        all.sort_unstable();
        let ends = (0..=data.items() as u32).map(|item| all.partition_point(|sale| sale.0 <= item) as u32);
        let starts = [0].into_iter().chain(ends).collect();
        Self::new(starts, all.into_iter().map(|(_, time)| time).collect(), data.until)
    }

    fn new(starts: Vec<u32>, times: Vec<i64>, until: i64) -> Self {
        let mut own = Self { starts, decayed: Vec::with_capacity(times.len()), times, until, most: 0.0 };
        for item in 0..=own.items() {
            let times = &own.times[own.range(item)];
            let mut before: Option<(i64, f32)> = None;
            for time in times {
                let kept = before.map_or(0.0, |(last, sum)| sum * faded(*time, last, HALF_LIFE_DAYS));
                before = Some((*time, kept + 1.0));
                own.decayed.push(kept + 1.0);
            }
            own.most = own.most.max(times.len() as f32);
        }
        own
    }

    /// How many items there are, padding not counted.
    pub(super) fn items(&self) -> usize {
        self.starts.len() - 2
    }

    fn range(&self, item: usize) -> std::ops::Range<usize> {
        self.starts[item] as usize..self.starts[item + 1] as usize
    }

    /// All sales beside those of all items' best, below 1; 0 for what never sold.
    pub(super) fn share(&self, item: ItemIdx) -> f32 {
        self.range(item.row()).len() as f32 / (self.most + 1.0)
    }

    /// The moment up to which sales are known of one who asks at `now`.
    pub(super) fn moment(&self, now: i64) -> i64 {
        now.min(self.until)
    }

    /// [`SOLD`] strictly before a moment. Two searches in the item's sales for each window.
    pub(super) fn before(&self, item: ItemIdx, moment: i64) -> [f32; SOLD.len()] {
        let range = self.range(item.row());
        let (times, decayed) = (&self.times[range.clone()], &self.decayed[range]);
        let until = |time: i64| times.partition_point(|sale| *sale < time);
        let all = until(moment);
        let within = |days: f64| (all - until(moment.saturating_sub((days * DAY_MS) as i64))) as f32;
        let lately = match all {
            0 => 0.0,
            all => decayed[all - 1] * faded(moment, times[all - 1], HALF_LIFE_DAYS),
        };
        [all as f32, lately, within(7.0), within(28.0)]
    }

    pub(super) fn save(&self, file: &mut TensorFile) {
        file.put_u32("items.starts", &[self.starts.len()], self.starts.clone());
        file.put_i64("items.times", &[self.times.len()], self.times.clone());
        file.put_i64("items.until", &[1], vec![self.until]);
    }

    pub(super) fn load(file: &TensorFile) -> Result<Self, ModelError> {
        let starts = file.u32("items.starts")?.to_vec();
        let (times, until) = (file.i64("items.times")?.to_vec(), file.i64("items.until")?);
        let ends = starts.first() == Some(&0) && starts.last() == Some(&(times.len() as u32));
        let rising = starts.windows(2).all(|pair| pair[0] <= pair[1]);
        let &[until] = until else { return Err(misfit(NAME, "it does not say until when sales are known")) };
        if starts.len() < 2 || !ends || !rising {
            return Err(misfit(NAME, "its items' sales do not fit together"));
        }
        let of = |pair: &[u32]| &times[pair[0] as usize..pair[1] as usize];
        if !starts.windows(2).all(|pair| of(pair).is_sorted()) || times.iter().any(|time| *time >= until) {
            return Err(misfit(NAME, "its items' sales are not in order of time, or after its end"));
        }
        Ok(Self::new(starts, times, until))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use qhatu_schema::ItemId;

    use super::*;
    use crate::interactions::{Purchase, Vocabulary};

    const DAY: i64 = 86_400_000;

    fn sales(lines: &[(u32, i64)], until: i64) -> Sales {
        let line = |(user, &(item, day)): (u32, &(u32, i64))| Purchase {
            time: day * DAY,
            user,
            order: user,
            item: ItemIdx(item),
        };
        let lines: Vec<Purchase> = (0..).zip(lines).map(line).collect();
        let names = (1..=3).map(|number| ItemId::new(format!("i{number}")).expect("not empty"));
        Sales::fit(&Interactions::from_purchases(Arc::new(Vocabulary::new(names)), &lines, until * DAY))
    }

    #[test]
    fn what_had_sold_is_counted_at_the_moment() {
        let lines = [(1, 93), (1, 60), (1, 86), (3, 99), (1, 99)];
        let all = sales(&lines, 100);
        let before = |item, day| all.before(ItemIdx(item), day * DAY);
        assert_eq!(before(1, 60), [0.0; 4]);
        assert_eq!(before(2, 100), [0.0; 4]);
        assert_eq!(before(3, 100)[2..], [1.0, 1.0]);
        let [sold, lately, week, month] = before(1, 93);
        assert_eq!((sold, week, month), (2.0, 1.0, 1.0));
        let want = 0.5 + 2.0_f32.powf(-33.0 / 7.0);
        assert!((lately - want).abs() < 1e-6, "{lately} {want}");
        assert_eq!(before(1, 100)[..1], [4.0]);
        assert_eq!(before(1, 100)[2..], [2.0, 3.0]);
        assert_eq!(all.moment(500 * DAY), 100 * DAY);
        assert_eq!(all.share(ItemIdx(1)), 0.8);
    }

    #[test]
    fn the_past_is_the_same_whatever_came_later() {
        let lines: Vec<(u32, i64)> = (0..200).map(|n| (1 + (n * n % 7) as u32 % 3, n * 13 % 90)).collect();
        let all = sales(&lines, 100);
        for day in [0, 1, 7, 29, 45, 89] {
            let known: Vec<(u32, i64)> = lines.iter().copied().filter(|(_, at)| *at < day).collect();
            let then = sales(&known, day);
            for item in 1..=3 {
                let (now, past) =
                    (all.before(ItemIdx(item), day * DAY), then.before(ItemIdx(item), day * DAY));
                assert_eq!(now, past, "item {item}, day {day}");
            }
        }
    }

    #[test]
    fn files_of_sales_that_cannot_be_are_refused() {
        let mut file = TensorFile::default();
        sales(&[(1, 5), (1, 9), (2, 7)], 10).save(&mut file);
        assert_eq!(Sales::load(&file).unwrap(), sales(&[(1, 5), (1, 9), (2, 7)], 10));
        let refused = |change: &dyn Fn(&mut TensorFile)| {
            let mut file = file.clone();
            change(&mut file);
            assert!(Sales::load(&file).is_err());
        };
        refused(&|file| file.put_i64("items.until", &[1], vec![9 * DAY]));
        refused(&|file| file.put_i64("items.until", &[0], vec![]));
        refused(&|file| file.put_i64("items.times", &[3], vec![9, 5, 7]));
        refused(&|file| file.put_u32("items.starts", &[5], vec![0, 0, 3, 2, 3]));
        refused(&|file| file.put_u32("items.starts", &[1], vec![0]));
        refused(&|file| file.put_u32("items.starts", &[5], vec![0, 0, 1, 2, 2]));
    }
}
