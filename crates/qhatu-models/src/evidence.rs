//! What a model is told of somebody beside all that they did: what they bought, and what they showed interest in since. One
//! function for the server and for what is learned of its answers.

use std::hash::Hash;

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

/// What shoppers looked at, by their numbers, and visits of whom nobody knows, by theirs: of those who ever looked at anything all
/// that they did. An item that no model has is one beyond the vocabulary, and counts among what was looked at last.
#[derive(Debug, Clone, Default)]
pub struct Looked {
    journeys: Vec<Journey>,
    /// Where each shopper's journey stands.
    places: FxHashMap<u32, usize>,
    /// When anybody looked at anything for the first time.
    first: Option<i64>,
}

impl Looked {
    /// Out of journeys; a visit's number is its place among them.
    pub fn new(journeys: Vec<Journey>) -> Self {
        let place = |(place, own): (usize, &Journey)| Some((own.user?.0, place));
        let places = journeys.iter().enumerate().filter_map(place).collect();
        let looks =
            journeys.iter().flat_map(|own| &own.deeds).filter(|deed| deed.kind != EventKind::Purchase);
        let first = looks.map(|deed| deed.time).min();
        Self { journeys, places, first }
    }

    /// Whether anybody looked at anything before `until`, in milliseconds, as far as that is known.
    pub fn any_before(&self, until: i64) -> bool {
        self.first.is_some_and(|first| first < until)
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

    /// What it is told of a visit; nothing of one that is not among these.
    pub fn evidence_of_visit(&self, visit: u32, now: i64) -> Evidence {
        let Some(journey) = self.journeys.get(visit as usize) else { return Evidence::default() };
        Evidence::new(journey.bought_before(now), journey.looks_before(now))
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

    /// What was bought before `until`, at the times of the orders; a line that repeats in its order counts once.
    fn bought_before(&self, until: i64) -> Vec<(ItemIdx, i64)> {
        let mut starts: FxHashMap<u32, i64> = FxHashMap::default();
        let mut lines = FxHashSet::default();
        let bought = self.deeds.iter().filter(|deed| deed.kind == EventKind::Purchase && deed.time < until);
        bought
            .map(|deed| (deed, *starts.entry(deed.order).or_insert(deed.time)))
            .filter(|(deed, _)| lines.insert((deed.order, deed.item)))
            .map(|(deed, start)| (deed.item, start))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journey::Deed;
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
    fn a_visit_is_told_by_its_number_and_nothing_of_what_came_later() {
        let deed = |time, item, order, kind| Deed { time, item: ItemIdx(item), order, kind };
        let deeds = vec![
            deed(1, 1, 0, View),
            deed(2, 2, 0, AddToCart),
            deed(3, 2, 7, Purchase),
            deed(4, 3, 7, Purchase),
            deed(5, 2, 7, Purchase),
            deed(9, 4, 0, View),
        ];
        let looked = Looked::new(vec![
            Journey { user: Some(UserIdx(3)), deeds: vec![deed(2, 5, 0, View)] },
            Journey { user: None, deeds },
        ]);
        let visit = looked.evidence_of_visit(1, 9);
        assert_eq!(visit.items, [1, 2, 3].map(ItemIdx));
        assert_eq!((visit.times, visit.only_seen), (vec![1, 3, 3], vec![true, false, false]));
        assert_eq!(looked.evidence_of_visit(2, 9), Evidence::default());
        assert_eq!(looked.evidence(UserIdx(3), [], 3).items, [ItemIdx(5)]);
        assert_eq!(looked.evidence(UserIdx(1), [], 9), Evidence::default());
        assert!(looked.any_before(2) && !looked.any_before(1));
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
