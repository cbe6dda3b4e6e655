//! What somebody did, event by event, and what of it a model is told: one function for training and for the server, so
//! that what is learned is what is asked.
//!
//! * A view, a click, an item put into the cart and a line of a paid order are steps, in the order of time.
//! * What was taken out of the cart was never put there; what was bought meanwhile stays bought, and what was given back too,
//!   for it was wanted once.
//! * A view or a cart that repeats the step before it is none, nor is a line that repeats within its order.
//!
//! So a history grows at its end, but for carts that are taken away. What trains steps along it keeps those
//! ([`Told::along`]): they stood there at the time, and no step may know what came later.

use std::hash::Hash;

use qhatu_schema::{EventKind, ItemIdx, LimaDay, OrderId, Timestamp, UserIdx};
use rustc_hash::FxHashSet;

use crate::act::Act;

/// One event on one item, by a model's numbers. `O` names the order of a purchase: the same for all of its lines, and for
/// no other order of the same shopper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deed<O> {
    /// When, in milliseconds.
    pub time: i64,
    /// On what.
    pub item: ItemIdx,
    /// Which order; only a purchase's matters.
    pub order: O,
    /// What kind of event. Of purchases only those that are paid.
    pub kind: EventKind,
}

/// An order as its events name it: those without an id are one Lima day of a shopper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OrderKey<'a> {
    /// By its id.
    Id(&'a str),
    /// By the day.
    Day(LimaDay),
}

impl<'a> OrderKey<'a> {
    /// The order of an event of this time, in milliseconds.
    pub fn of(order: Option<&'a OrderId>, time: i64) -> Self {
        let day = || Self::Day(Timestamp::from_millis(time).lima_day());
        order.map_or_else(day, |order| Self::Id(order.as_str()))
    }
}

/// Everything that one shopper did, or one visit of whom nobody knows, in order of (time, event id). 24 bytes an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journey {
    /// Who, where it is a shopper who has a number: who bought anything, or was shown a list.
    pub user: Option<UserIdx>,
    /// What, oldest first.
    pub deeds: Vec<Deed<u32>>,
}

impl Journey {
    /// What trains before `until`, in milliseconds: see [`Told::along`].
    pub fn along_before(&self, until: i64) -> Told {
        let end = self.deeds.partition_point(|deed| deed.time < until);
        Told::along(&self.deeds[..end])
    }

    /// What a model would have been told just before `until`, in milliseconds.
    pub fn told_before(&self, until: i64) -> Told {
        let end = self.deeds.partition_point(|deed| deed.time < until);
        Told::of(&self.deeds[..end])
    }
}

/// What a model is told of what somebody did, oldest first. The lists are of one length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// On what.
    pub items: Vec<ItemIdx>,
    /// When, in milliseconds; never falling where those of the deeds do not.
    pub times: Vec<i64>,
    /// What was done with it.
    pub acts: Vec<Act>,
}

impl Told {
    /// Of deeds, oldest first.
    pub fn of<O: Copy + Eq + Hash>(deeds: &[Deed<O>]) -> Self {
        Self::chosen(deeds.iter().zip(staying(deeds)).filter(|(_, stays)| *stays).map(|(deed, _)| deed))
    }

    /// The same with what was taken out of the cart in its place: what was told at each moment on the way, as far as one list
    /// can say it.
    pub fn along<O: Copy + Eq + Hash>(deeds: &[Deed<O>]) -> Self {
        Self::chosen(deeds.iter())
    }

    fn chosen<'a, O: Copy + Eq + Hash + 'a>(deeds: impl Iterator<Item = &'a Deed<O>>) -> Self {
        let mut own = Self::default();
        let mut lines = FxHashSet::default();
        for deed in deeds {
            let Some(act) = Act::of(deed.kind) else { continue };
            let repeats = match act {
                Act::Bought => !lines.insert((deed.order, deed.item)),
                act => own.ends_with(deed.item, act),
            };
            if !repeats {
                own.push(deed.item, deed.time, act);
            }
        }
        own
    }

    /// Adds a step.
    pub fn push(&mut self, item: ItemIdx, time: i64, act: Act) {
        self.items.push(item);
        self.times.push(time);
        self.acts.push(act);
    }

    /// Whether this was done last.
    pub fn ends_with(&self, item: ItemIdx, act: Act) -> bool {
        self.items.last() == Some(&item) && self.acts.last() == Some(&act)
    }

    /// Whether an item was put into the cart and not bought since.
    pub fn in_cart(&self, item: ItemIdx) -> bool {
        let mut own = self.items.iter().zip(&self.acts).rev().filter(|(other, _)| **other == item);
        own.find_map(|(_, act)| (*act != Act::Viewed).then_some(*act == Act::Carted)).unwrap_or(false)
    }

    /// What was bought, and when.
    pub fn bought(&self) -> impl Iterator<Item = (ItemIdx, i64)> + '_ {
        let steps = self.items.iter().copied().zip(self.times.iter().copied()).zip(&self.acts);
        steps.filter(|(_, act)| **act == Act::Bought).map(|(step, _)| step)
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The lines of the first order from a place on: purchases of one time, one after another.
    pub(crate) fn basket_from(&self, start: usize) -> Option<std::ops::Range<usize>> {
        let first = start + self.acts[start..].iter().position(|act| *act == Act::Bought)?;
        let lines = self.acts[first..].iter().zip(&self.times[first..]);
        let own = lines.take_while(|(act, time)| **act == Act::Bought && **time == self.times[first]);
        Some(first..first + own.count())
    }
}

/// Whether each deed was not undone by a later one.
fn staying<O>(deeds: &[Deed<O>]) -> Vec<bool> {
    let mut taken_out = FxHashSet::default();
    let mut stays: Vec<bool> = deeds
        .iter()
        .rev()
        .map(|deed| match deed.kind {
            EventKind::RemoveFromCart => {
                taken_out.insert(deed.item);
                false
            }
            EventKind::AddToCart => !taken_out.contains(&deed.item),
            EventKind::Purchase => {
                taken_out.remove(&deed.item);
                true
            }
            _ => true,
        })
        .collect();
    stays.reverse();
    stays
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANA: &str = "v1 v1 c1 v1 v2 c2 v2 r2 c3 p1@7 p1@7 p3@7 p1@8 c1 r1 v1";

    /// `p1@7`: item 1 was bought in order 7; each a minute after the one before.
    fn deeds(text: &str) -> Vec<Deed<u32>> {
        let deed = |(minute, word): (i64, &str)| {
            let kind = match &word[..1] {
                "v" => EventKind::View,
                "c" => EventKind::AddToCart,
                "r" => EventKind::RemoveFromCart,
                "s" => EventKind::Search,
                _ => EventKind::Purchase,
            };
            let (item, order) = word[1..].split_once('@').unwrap_or((&word[1..], "0"));
            let number = |text: &str| text.parse::<u32>().expect("a number");
            Deed { time: minute * 60_000, item: ItemIdx(number(item)), order: number(order), kind }
        };
        (0..).zip(text.split_whitespace()).map(deed).collect()
    }

    fn said(told: &Told) -> String {
        let steps = told.items.iter().zip(&told.acts);
        let words: Vec<String> = steps
            .map(|(item, act)| {
                let letter = match act {
                    Act::Viewed => 'v',
                    Act::Carted => 'c',
                    Act::Bought => 'p',
                };
                format!("{letter}{}", item.0)
            })
            .collect();
        words.join(" ")
    }

    #[test]
    fn repeats_and_what_was_taken_out_of_the_cart_are_not_told() {
        let told = Told::of(&deeds(ANA));
        assert_eq!(said(&told), "v1 c1 v1 v2 c3 p1 p3 p1 v1");
        assert_eq!(told.times[5..7], [9 * 60_000, 11 * 60_000]);
        assert_eq!(said(&Told::of(&deeds("s1 v1 s2"))), "v1");
    }

    #[test]
    fn no_step_on_the_way_knows_that_a_cart_was_emptied_later() {
        let all = deeds(ANA);
        let along = Told::along(&all);
        assert_eq!(said(&along), "v1 c1 v1 v2 c2 v2 c3 p1 p3 p1 c1 v1");
        for end in 0..all.len() {
            let then = Told::along(&all[..end]);
            assert_eq!(then.items, along.items[..then.len()]);
            assert_eq!(then.acts, along.acts[..then.len()]);
        }
    }

    #[test]
    fn what_was_known_at_a_moment_knows_nothing_of_what_came_then() {
        let journey = Journey { user: None, deeds: deeds(ANA) };
        // The cart that is emptied later stands there until it is.
        assert_eq!(said(&journey.told_before(7 * 60_000)), "v1 c1 v1 v2 c2 v2");
        assert_eq!(said(&journey.told_before(8 * 60_000)), "v1 c1 v1 v2");
        assert!(journey.told_before(0).is_empty());
    }

    #[test]
    fn the_cart_holds_what_was_not_bought_since() {
        let told = Told::of(&deeds("c1 c2 v1 p2@1 v2"));
        assert_eq!([1, 2, 3].map(|item| told.in_cart(ItemIdx(item))), [true, false, false]);
        assert!(told.ends_with(ItemIdx(2), Act::Viewed));
    }

    #[test]
    fn a_basket_is_what_is_bought_at_once() {
        let mut told = Told::of(&deeds("v1 p1@1 p2@1 p3@2"));
        told.times[2] = told.times[1];
        assert_eq!(told.basket_from(0), Some(1..3));
        assert_eq!(told.basket_from(2), Some(2..3));
        assert_eq!(told.basket_from(4), None);
    }
}
