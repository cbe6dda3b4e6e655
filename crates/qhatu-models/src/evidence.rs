//! What a model is told of somebody beside all that they did: what they bought, and what they showed interest in since. One
//! function for the server and for what is learned of its answers.

use std::hash::Hash;
use std::sync::Arc;

use qhatu_schema::{EventKind, ItemIdx, UserIdx};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::journey::Journey;
use crate::recommender::History;

/// Most items of interest that are told.
const MOST_LOOKS: usize = 32;

/// The places of what somebody showed interest in, oldest first: of the steps that are views, clicks and carts the latest on each
/// item that was not bought since, nor taken out of the cart last; at most 32. Steps are in order of time: what was done, with
/// which item, and when.
pub fn looks<K: Copy + Eq + Hash>(steps: &[(EventKind, K, i64)]) -> Vec<usize> {
    let mut bought: FxHashMap<K, i64> = FxHashMap::default();
    for (_, item, time) in steps.iter().filter(|(kind, ..)| *kind == EventKind::Purchase) {
        bought.insert(*item, *time);
    }
    let mut settled = FxHashSet::default();
    let mut places = Vec::new();
    for (place, (kind, item, time)) in steps.iter().enumerate().rev() {
        let interest = matches!(
            kind,
            EventKind::View | EventKind::Click | EventKind::AddToCart | EventKind::RemoveFromCart
        );
        let bought_since = bought.get(item).is_some_and(|last| last >= time);
        if !interest || bought_since || places.len() == MOST_LOOKS || !settled.insert(*item) {
            continue;
        }
        if *kind != EventKind::RemoveFromCart {
            places.push(place);
        }
    }
    places.reverse();
    places
}

/// What was bought and what was looked at as one history, oldest first. The lists are of one length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// What.
    pub items: Vec<ItemIdx>,
    /// When, in milliseconds; never falling.
    pub times: Vec<i64>,
    /// Whether it was looked at and not bought.
    pub only_seen: Vec<bool>,
}

impl Evidence {
    /// Of purchases, at the times of their orders, and of looks; at one time a purchase stands first.
    pub fn new(
        bought: impl IntoIterator<Item = (ItemIdx, i64)>,
        looks: impl IntoIterator<Item = (ItemIdx, i64)>,
    ) -> Self {
        let bought = bought.into_iter().map(|(item, time)| (time, item, false));
        let looks = looks.into_iter().map(|(item, time)| (time, item, true));
        let mut steps: Vec<(i64, ItemIdx, bool)> = bought.chain(looks).collect();
        // Stable: what is of one time stays in its order.
        steps.sort_by_key(|(time, ..)| *time);
        let mut own = Self::default();
        steps.into_iter().for_each(|(time, item, seen)| own.push(item, time, seen));
        own
    }

    /// Adds what happened last.
    pub fn push(&mut self, item: ItemIdx, time: i64, only_seen: bool) {
        self.items.push(item);
        self.times.push(time);
        self.only_seen.push(only_seen);
    }

    /// The history of one who asks now, of whom nothing else is known.
    pub fn history(&self, now: i64) -> History<'_> {
        History { only_seen: &self.only_seen, ..History::bought(&self.items, &self.times, now) }
    }
}

/// What shoppers looked at, by their numbers: of those who ever looked at anything all that they did. An item that no model has
/// is one beyond the vocabulary, and counts among what was looked at last.
#[derive(Debug, Clone, Default)]
pub struct Looked {
    journeys: Arc<Vec<Journey>>,
    /// Where each shopper's journey stands.
    places: FxHashMap<u32, usize>,
}

impl Looked {
    /// Out of journeys, those of visits of nobody among them.
    pub fn new(journeys: Arc<Vec<Journey>>) -> Self {
        let looked = |own: &Journey| own.deeds.iter().any(|deed| deed.kind != EventKind::Purchase);
        let place = |(place, own): (usize, &Journey)| Some((own.user.filter(|_| looked(own))?.0, place));
        let places = journeys.iter().enumerate().filter_map(place).collect();
        Self { journeys, places }
    }

    /// Whether nobody looked at anything, as far as that is known.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// All that a shopper did, if they ever looked at anything.
    pub fn journey(&self, user: UserIdx) -> Option<&Journey> {
        self.places.get(&user.0).map(|place| &self.journeys[*place])
    }

    /// What a model is told of a shopper at `now`, in milliseconds: their purchases, and what they looked at before.
    pub fn evidence(
        &self,
        user: UserIdx,
        bought: impl IntoIterator<Item = (ItemIdx, i64)>,
        now: i64,
    ) -> Evidence {
        let looks = self.journey(user).map(|own| own.looks_before(now));
        Evidence::new(bought, looks.unwrap_or_default())
    }
}

impl Journey {
    /// What was looked at before `until`, in milliseconds, and not bought until then: see [`looks`].
    pub fn looks_before(&self, until: i64) -> Vec<(ItemIdx, i64)> {
        let end = self.deeds.partition_point(|deed| deed.time < until);
        let steps: Vec<(EventKind, ItemIdx, i64)> =
            self.deeds[..end].iter().map(|deed| (deed.kind, deed.item, deed.time)).collect();
        looks(&steps).into_iter().map(|place| (steps[place].1, steps[place].2)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EventKind::{AddToCart, Click, Impression, Purchase, RemoveFromCart, View};

    #[test]
    fn looks_are_the_latest_on_each_item_that_was_not_settled_since() {
        let steps = [
            (View, "a", 1),
            (View, "b", 2),
            (Click, "a", 3),
            (AddToCart, "c", 4),
            (Purchase, "b", 5),
            (RemoveFromCart, "c", 6),
            (Impression, "d", 7),
            (View, "b", 8),
            (View, "e", 9),
            (Purchase, "e", 9),
        ];
        assert_eq!(looks(&steps), [2, 7]);
        let many: Vec<_> = (0..100).map(|item| (View, item, i64::from(item))).collect();
        assert_eq!(looks(&many), (68..100).collect::<Vec<usize>>());
    }

    #[test]
    fn bought_and_seen_stand_in_order_of_time() {
        let evidence = Evidence::new([(ItemIdx(1), 5), (ItemIdx(2), 5)], [(ItemIdx(3), 4), (ItemIdx(1), 5)]);
        assert_eq!(evidence.items, [3, 1, 2, 1].map(ItemIdx));
        assert_eq!(evidence.only_seen, [true, false, false, true]);
        let history = evidence.history(9);
        assert_eq!(history.known_bought(9).collect::<Vec<_>>(), [(ItemIdx(1), 5), (ItemIdx(2), 5)]);
        assert_eq!(history.known_seen(9).collect::<Vec<_>>(), [(ItemIdx(3), 4), (ItemIdx(1), 5)]);
    }
}
