//! What is kept of each entity: whole numbers side by side, and beside them what needs more room.
//!
//! Nothing here depends on the order in which events came: sums of whole numbers (money in micros), sums
//! by Lima day, earliest and latest times, sets, and the value at the earliest or latest time, of several
//! at one time that of the smallest or largest event id.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Before the first: what the earliest time starts from.
pub(crate) const NO_FIRST: i64 = i64::MAX;
/// Before the first: what the latest time starts from.
pub(crate) const NO_LAST: i64 = i64::MIN;

/// How much of each sort an entity has.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Layout {
    /// What each whole number starts from.
    pub(crate) slots: Vec<i64>,
    pub(crate) days: usize,
    pub(crate) daily: usize,
    pub(crate) sets: usize,
    pub(crate) kept: usize,
}

/// Those of all entities of a kind, by the entity's number.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cells {
    pub(crate) slots: Vec<i64>,
    pub(crate) days: Vec<DaySums>,
    pub(crate) daily: Vec<BTreeMap<i32, Day>>,
    pub(crate) sets: Vec<BTreeSet<u64>>,
    pub(crate) kept: Vec<Option<Value>>,
}

impl Cells {
    /// Room for one more entity.
    pub(crate) fn add_entity(&mut self, layout: &Layout) {
        self.slots.extend_from_slice(&layout.slots);
        self.days.resize_with(self.days.len() + layout.days, DaySums::default);
        self.daily.resize_with(self.daily.len() + layout.daily, BTreeMap::new);
        self.sets.resize_with(self.sets.len() + layout.sets, BTreeSet::new);
        self.kept.resize_with(self.kept.len() + layout.kept, || None);
    }
}

/// Sums by Lima day, each with all before it, so that a window is one subtraction.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DaySums(Vec<(i32, i64)>);

impl DaySums {
    /// `O(1)` for the latest day, `O(days after it)` for a late event.
    pub(crate) fn add(&mut self, day: i32, step: i64) {
        match self.0.last_mut() {
            Some((last, sum)) if *last == day => *sum = sum.wrapping_add(step),
            Some((last, sum)) if *last < day => {
                let sum = sum.wrapping_add(step);
                self.0.push((day, sum));
            }
            None => self.0.push((day, step)),
            Some(_) => {
                let place = self.0.partition_point(|(other, _)| *other < day);
                if self.0[place].0 != day {
                    let before = place.checked_sub(1).map_or(0, |place| self.0[place].1);
                    self.0.insert(place, (day, before));
                }
                self.0[place..].iter_mut().for_each(|(_, sum)| *sum = sum.wrapping_add(step));
            }
        }
    }

    fn until(&self, day: i32) -> i64 {
        match self.0.last() {
            Some((last, sum)) if *last <= day => *sum,
            _ => {
                let place = self.0.partition_point(|(other, _)| *other <= day);
                place.checked_sub(1).map_or(0, |place| self.0[place].1)
            }
        }
    }

    /// The sum of the days `from` to `to`, both included.
    pub(crate) fn between(&self, from: i32, to: i32) -> i64 {
        let before = match self.0.first() {
            Some((first, _)) if *first < from => self.until(from.saturating_sub(1)),
            _ => 0,
        };
        self.until(to).wrapping_sub(before)
    }

    /// The days `from` to `to` with the sum of each.
    pub(crate) fn each(&self, from: i32, to: i32) -> impl Iterator<Item = (i32, i64)> {
        let start = self.0.partition_point(|(day, _)| *day < from);
        let end = self.0.partition_point(|(day, _)| *day <= to);
        (start..end.max(start)).map(|place| {
            let before = place.checked_sub(1).map_or(0, |place| self.0[place].1);
            (self.0[place].0, self.0[place].1.wrapping_sub(before))
        })
    }
}

/// What is kept of one day where the window asks for more than a sum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Day {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) set: BTreeSet<u64>,
}

impl Default for Day {
    fn default() -> Self {
        Self { first: NO_FIRST, last: NO_LAST, set: BTreeSet::new() }
    }
}

impl Day {
    /// Takes another's in.
    pub(crate) fn join(&mut self, other: &Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.set.extend(&other.set);
    }
}

/// The text or number of the first or last event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Value {
    pub(crate) time: i64,
    pub(crate) event_id: String,
    pub(crate) text: String,
    pub(crate) micros: i64,
}

/// A text as a number that is the same on every machine and in every version: eight bytes at a time,
/// multiplied to 128 bits and folded (the step of wyhash). Two texts of one entity meet with
/// probability 2⁻⁶⁴.
pub(crate) fn text_key(text: &str) -> u64 {
    let mut key = SEED ^ text.len() as u64;
    for piece in text.as_bytes().chunks(8) {
        let mut word = [0; 8];
        word[..piece.len()].copy_from_slice(piece);
        key = fold(key ^ u64::from_le_bytes(word), FACTOR);
    }
    fold(key ^ SEED, FACTOR)
}

/// A Lima day as such a number, other than any text's.
pub(crate) fn day_key(day: i32) -> u64 {
    fold(u64::from(day.unsigned_abs()) ^ (u64::from(day < 0) << 63) ^ !SEED, FACTOR)
}

const SEED: u64 = 0x9E37_79B9_7F4A_7C15;
const FACTOR: u64 = 0xD6E8_FEB8_6659_FD93;

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_of_texts_are_kept_in_snapshots_and_may_not_change() {
        assert_eq!(text_key("536365"), 0xE131_D830_A4D0_3B16);
        assert_ne!(text_key("a"), text_key("a\0"));
        assert_ne!(text_key("12345678"), text_key("123456789"));
    }

    proptest! {
        /// Windows of the running sums = the plain sums of the days, in whatever order they came.
        #[test]
        fn a_window_is_the_sum_of_its_days(steps in prop::collection::vec((-5..40_i32, -3..9_i64), 0..50), from in -9..45_i32, length in 0..30_i32) {
            let mut sums = DaySums::default();
            steps.iter().for_each(|(day, step)| sums.add(*day, *step));
            let to = from + length;
            let within = |day: i32| (from..=to).contains(&day);
            let plain: i64 = steps.iter().filter(|(day, _)| within(*day)).map(|(_, step)| step).sum();
            prop_assert_eq!(sums.between(from, to), plain);
            prop_assert_eq!(sums.each(from, to).map(|(_, sum)| sum).sum::<i64>(), plain);
            prop_assert!(sums.each(from, to).all(|(day, _)| within(day)));
        }
    }
}
