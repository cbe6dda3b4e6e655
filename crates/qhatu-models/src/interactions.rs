//! What models learn from: per shopper, what they bought in order of time, in numbers.

use std::sync::Arc;

use qhatu_schema::{Department, ItemId, ItemIdx, UserIdx};
use rustc_hash::FxHashMap;

use crate::evidence::Looked;
use crate::fold::FoldPast;
use crate::item_sides::ItemSides;
use crate::journey::{Deed, Journey, Told};
use crate::shown::Shown;

/// The items a model knows, numbered from 1; 0 is padding.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vocabulary {
    items: Vec<ItemId>,
    index: FxHashMap<ItemId, ItemIdx>,
}

impl Vocabulary {
    /// Numbers items in the order given; one that is named again keeps its first number.
    pub fn new(items: impl IntoIterator<Item = ItemId>) -> Self {
        let mut vocabulary = Self::default();
        for item in items {
            if !vocabulary.index.contains_key(&item) {
                vocabulary.items.push(item.clone());
                vocabulary.index.insert(item, ItemIdx(vocabulary.items.len() as u32));
            }
        }
        vocabulary
    }

    /// The number of an item.
    pub fn idx(&self, item: &ItemId) -> Option<ItemIdx> {
        self.index.get(item).copied()
    }

    /// The item of a number; `None` for padding and for numbers beyond.
    pub fn item(&self, idx: ItemIdx) -> Option<&ItemId> {
        self.items.get((idx.0 as usize).checked_sub(1)?)
    }

    /// The items in order of their numbers, from 1.
    pub fn items(&self) -> &[ItemId] {
        &self.items
    }

    /// How many items there are, padding not counted.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// One line of an order, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Purchase {
    /// When, in milliseconds.
    pub time: i64,
    /// Who.
    pub user: u32,
    /// In which order; the same number for all lines of it, and for no other order.
    pub order: u32,
    /// What.
    pub item: ItemIdx,
}

/// What one shopper bought, oldest first. The lists are of one length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Who.
    pub user: UserIdx,
    /// What.
    pub items: Vec<ItemIdx>,
    /// When, in milliseconds; never falling.
    pub times: Vec<i64>,
    /// In which of the shopper's orders: 0, 1, 2, …; never falling.
    pub orders: Vec<u32>,
}

impl Sequence {
    /// Each item with its time, oldest first.
    pub fn steps(&self) -> impl Iterator<Item = (ItemIdx, i64)> + '_ {
        self.items.iter().copied().zip(self.times.iter().copied())
    }

    /// The places of each order, oldest first.
    pub fn baskets(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        let mut start = 0;
        self.orders.chunk_by(|a, b| a == b).map(move |basket| {
            let range = start..start + basket.len();
            start = range.end;
            range
        })
    }
}

/// What a model is fitted on.
#[derive(Debug, Clone)]
pub struct Interactions {
    /// The items.
    pub vocabulary: Arc<Vocabulary>,
    /// A sequence per shopper who bought anything, by number.
    pub sequences: Vec<Sequence>,
    /// The end of what is known, in milliseconds: everything lies strictly before.
    pub until: i64,
    /// What is said of the items, for models that take it.
    pub sides: Arc<ItemSides>,
    /// Lists that were shown, oldest first, for models that learn from clicks; those at or after `until` do not count.
    pub shown: Arc<Vec<Shown>>,
    /// All that shoppers and visits did, for models that read acts; empty where none is to be fitted. What lies at or after
    /// `until` does not count: see [`Interactions::told`].
    pub journeys: Arc<Vec<Journey>>,
    /// Where shoppers live, by their number, as far as that is known: as their records say now. Empty where no model asks.
    pub departments: Arc<Vec<Option<Department>>>,
    /// What shoppers looked at, which a model is told of beside what they bought; what lies at or after `until` does not count.
    pub looked: Arc<Looked>,
    /// The shop's features at every moment, for models that are told of them.
    pub fold: Option<Arc<dyn FoldPast>>,
}

impl Interactions {
    /// Groups purchases by shopper. Purchases at or after `until` are left out, as are those of items
    /// that the vocabulary has not. An order stands where its first line does.
    pub fn from_purchases(vocabulary: Arc<Vocabulary>, purchases: &[Purchase], until: i64) -> Self {
        let known = |purchase: &&Purchase| {
            purchase.time < until && (1..=vocabulary.len()).contains(&purchase.item.row())
        };
        let mut starts: FxHashMap<(u32, u32), i64> = FxHashMap::default();
        for purchase in purchases.iter().filter(known) {
            let start = starts.entry((purchase.user, purchase.order)).or_insert(purchase.time);
            *start = purchase.time.min(*start);
        }
        let start = |purchase: &Purchase| starts[&(purchase.user, purchase.order)];
        let mut sorted: Vec<&Purchase> = purchases.iter().filter(known).collect();
        sorted.sort_by_key(|p| (p.user, start(p), p.order, p.time, p.item));
        let by_user = sorted.chunk_by(|a, b| a.user == b.user);
        let sequences = by_user.map(|lines| sequence(lines, start)).collect();
        let (sides, shown, departments, journeys, looked) = Default::default();
        Self { vocabulary, sequences, until, sides, shown, departments, journeys, looked, fold: None }
    }

    /// The same with what is said of the items.
    #[must_use]
    pub fn with_sides(mut self, sides: Arc<ItemSides>) -> Self {
        self.sides = sides;
        self
    }

    /// The same with lists that were shown, oldest first.
    #[must_use]
    pub fn with_shown(mut self, shown: Arc<Vec<Shown>>) -> Self {
        self.shown = shown;
        self
    }

    /// The same with all that shoppers and visits did. What was done with items that the vocabulary has not is left out.
    #[must_use]
    pub fn with_journeys(mut self, journeys: Arc<Vec<Journey>>) -> Self {
        let known = |deed: &Deed<u32>| (1..=self.vocabulary.len()).contains(&deed.item.row());
        self.journeys = match journeys.iter().all(|journey| journey.deeds.iter().all(known)) {
            true => journeys,
            false => {
                let mut own = Arc::unwrap_or_clone(journeys);
                own.iter_mut().for_each(|journey| journey.deeds.retain(known));
                Arc::new(own)
            }
        };
        self
    }

    /// What trains of each journey: up to the end of the data, and each step with what was known then.
    pub fn told(&self) -> impl Iterator<Item = Told> + '_ {
        self.journeys.iter().map(|journey| journey.along_before(self.until))
    }

    /// The same with where shoppers live, by their number.
    #[must_use]
    pub fn with_departments(mut self, departments: Arc<Vec<Option<Department>>>) -> Self {
        self.departments = departments;
        self
    }

    /// The same with what shoppers looked at.
    #[must_use]
    pub fn with_looked(mut self, looked: Arc<Looked>) -> Self {
        self.looked = looked;
        self
    }

    /// The same with the shop's features at every moment.
    #[must_use]
    pub fn with_fold(mut self, fold: Option<Arc<dyn FoldPast>>) -> Self {
        self.fold = fold;
        self
    }

    /// Where a shopper lives, as far as that is known.
    pub fn department(&self, user: UserIdx) -> Option<Department> {
        self.departments.get(user.0 as usize).copied().flatten()
    }

    /// How many items the vocabulary has.
    pub fn items(&self) -> usize {
        self.vocabulary.len()
    }

    /// Other sequences of the same items; journeys and looks stay what they are.
    #[must_use]
    pub fn of_sequences(&self, sequences: Vec<Sequence>, until: i64) -> Self {
        Self {
            vocabulary: Arc::clone(&self.vocabulary),
            sequences,
            until,
            sides: Arc::clone(&self.sides),
            shown: Arc::clone(&self.shown),
            departments: Arc::clone(&self.departments),
            journeys: Arc::clone(&self.journeys),
            looked: Arc::clone(&self.looked),
            fold: self.fold.clone(),
        }
    }

    /// The same as it was known at `until`.
    #[must_use]
    pub fn before(&self, until: i64) -> Self {
        let cut = |sequence: &Sequence| {
            let end = sequence.times.partition_point(|time| *time < until);
            (end > 0).then(|| Sequence {
                user: sequence.user,
                items: sequence.items[..end].to_vec(),
                times: sequence.times[..end].to_vec(),
                orders: sequence.orders[..end].to_vec(),
            })
        };
        let sequences = self.sequences.iter().filter_map(cut).collect();
        self.of_sequences(sequences, until.min(self.until))
    }
}

fn sequence(lines: &[&Purchase], start: impl Fn(&Purchase) -> i64) -> Sequence {
    let mut own = Sequence {
        user: UserIdx(lines[0].user),
        items: Vec::with_capacity(lines.len()),
        times: Vec::with_capacity(lines.len()),
        orders: Vec::with_capacity(lines.len()),
    };
    for (number, basket) in lines.chunk_by(|a, b| a.order == b.order).enumerate() {
        for line in basket {
            own.items.push(line.item);
            own.times.push(start(line));
            own.orders.push(number as u32);
        }
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary(count: usize) -> Arc<Vocabulary> {
        let id = |number: usize| ItemId::new(format!("i{number}")).expect("not empty");
        Arc::new(Vocabulary::new((1..=count).map(id)))
    }

    fn line(user: u32, time: i64, order: u32, item: u32) -> Purchase {
        Purchase { time, user, order, item: ItemIdx(item) }
    }

    #[test]
    fn items_are_numbered_from_one_and_zero_is_nobody() {
        let vocabulary = vocabulary(2);
        assert_eq!(vocabulary.item(ItemIdx(1)).map(ItemId::as_str), Some("i1"));
        assert_eq!(vocabulary.item(ItemIdx(0)), None);
        assert_eq!(vocabulary.item(ItemIdx(3)), None);
        assert_eq!(vocabulary.idx(&ItemId::new("i2").expect("not empty")), Some(ItemIdx(2)));
    }

    #[test]
    fn lines_become_baskets_in_time_and_the_future_stays_out() {
        let lines =
            [line(1, 50, 9, 2), line(1, 10, 3, 1), line(0, 20, 4, 2), line(1, 51, 9, 1), line(1, 99, 8, 1)];
        let data = Interactions::from_purchases(vocabulary(2), &lines, 99);
        assert_eq!(data.sequences.len(), 2);
        let own = &data.sequences[1];
        assert_eq!(own.items, [ItemIdx(1), ItemIdx(2), ItemIdx(1)]);
        assert_eq!(
            (own.times.as_slice(), own.orders.as_slice()),
            ([10, 50, 50].as_slice(), [0, 1, 1].as_slice())
        );
        assert_eq!(own.baskets().collect::<Vec<_>>(), [0..1, 1..3]);
        assert_eq!(data.before(50).sequences[1].items, [ItemIdx(1)]);
    }

    #[test]
    fn items_that_nobody_numbered_stay_out() {
        let lines = [line(0, 1, 0, 0), line(0, 1, 0, 3), line(0, 1, 0, 2)];
        assert_eq!(Interactions::from_purchases(vocabulary(2), &lines, 9).sequences[0].items, [ItemIdx(2)]);
    }
}
