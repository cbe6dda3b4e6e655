//! What a request remembers of the sessions and items it meets.

use std::cell::RefCell;
use std::cmp::Ordering;

use qhatu_schema::ItemIdx;

use crate::recommender::{Scored, best_of};

/// A session that votes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Neighbour {
    pub(super) session: u32,
    pub(super) similarity: f32,
    /// The place in the query of the latest item that it shares.
    pub(super) latest: u32,
}

impl Neighbour {
    /// More similar first, ties to the more recent session.
    fn order(a: &Self, b: &Self) -> Ordering {
        b.similarity.total_cmp(&a.similarity).then(b.session.cmp(&a.session))
    }
}

/// What is known of a session while a query is answered; of an earlier query where the epoch is another.
#[derive(Clone, Copy, Default)]
struct Seen {
    epoch: u32,
    similarity: f32,
    latest: u32,
}

/// The sum of an item's votes in the query of that epoch.
#[derive(Clone, Copy, Default)]
struct Votes {
    epoch: u32,
    sum: f32,
}

/// An item's place in the list and in the query of that epoch.
#[derive(Clone, Copy, Default)]
pub(super) struct Mark {
    epoch: u32,
    pub(super) listed: Option<u32>,
    pub(super) asked: Option<u32>,
}

/// A place for every session and item, kept by each thread between queries. Beginning a query makes all of
/// them stale at once, so that its cost is that of the sessions it meets, with no hashing.
#[derive(Default)]
pub(super) struct Scratch {
    epoch: u32,
    seen: Vec<Seen>,
    met: Vec<u32>,
    votes: Vec<Votes>,
    voted: Vec<u32>,
    marks: Vec<Mark>,
}

thread_local! {
    pub(super) static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    pub(super) fn begin(&mut self, sessions: usize, items: usize) {
        self.met.clear();
        self.voted.clear();
        if self.seen.len() < sessions {
            self.seen.resize(sessions, Seen::default());
        }
        if self.votes.len() <= items {
            self.votes.resize(items + 1, Votes::default());
            self.marks.resize(items + 1, Mark::default());
        }
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            // Once in 2³² queries the numbers begin anew, and nothing may look as if it were of this one.
            self.seen.fill(Seen::default());
            self.votes.fill(Votes::default());
            self.marks.fill(Mark::default());
            self.epoch = 1;
        }
    }

    pub(super) fn vote(&mut self, (item, vote): (u32, f32)) {
        let votes = &mut self.votes[item as usize];
        if votes.epoch != self.epoch {
            *votes = Votes { epoch: self.epoch, sum: 0.0 };
            self.voted.push(item);
        }
        votes.sum += vote;
    }

    /// The items that have votes, with their sums.
    pub(super) fn voted(&self) -> impl ExactSizeIterator<Item = Scored> + '_ {
        let score = |&item: &u32| Scored { item: ItemIdx(item), score: self.votes[item as usize].sum };
        self.voted.iter().map(score)
    }

    /// Marks an item; one that the catalogue has not is left alone.
    pub(super) fn mark(&mut self, item: ItemIdx, set: impl FnOnce(&mut Mark)) {
        let Some(mark) = self.marks.get_mut(item.row()) else { return };
        if mark.epoch != self.epoch {
            *mark = Mark { epoch: self.epoch, ..Mark::default() };
        }
        set(mark);
    }

    pub(super) fn marked(&self, item: u32) -> Mark {
        let mark = self.marks[item as usize];
        if mark.epoch == self.epoch { mark } else { Mark::default() }
    }

    /// Adds the sessions of the query item at `place`. The first shared item met is the latest: the query goes
    /// backwards in time.
    pub(super) fn add(&mut self, sessions: &[u32], place: u32, weight: f32) {
        let Self { epoch, seen, met, .. } = self;
        for &session in sessions {
            let seen = &mut seen[session as usize];
            if seen.epoch != *epoch {
                *seen = Seen { epoch: *epoch, similarity: 0.0, latest: place };
                met.push(session);
            }
            seen.similarity += weight;
        }
    }

    /// Divides each similarity by the square root of what is said of its session.
    pub(super) fn divide(&mut self, by: impl Fn(usize) -> f32) {
        for &session in &self.met {
            self.seen[session as usize].similarity /= by(session as usize).sqrt();
        }
    }

    /// Lets each similarity fall by `exp(−days ⁄ λ)` with its session's age. Ages count from the youngest session met:
    /// that is the same list, and nothing falls to 0 where all are old.
    pub(super) fn fade(&mut self, ages: &[f32], decay: f32) {
        let youngest = self.met.iter().map(|&session| ages[session as usize]).fold(f32::INFINITY, f32::min);
        for &session in &self.met {
            let age = ages[session as usize] - youngest;
            self.seen[session as usize].similarity *= (-age / decay).exp();
        }
    }

    /// The `k` most similar sessions met, best first.
    pub(super) fn best(&self, k: usize) -> Vec<Neighbour> {
        let met = self.met.iter().map(|&session| {
            let Seen { similarity, latest, .. } = self.seen[session as usize];
            Neighbour { session, similarity, latest }
        });
        best_of(met, k, Neighbour::order, |_| false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_begin_anew_remember_nothing() {
        let mut scratch = Scratch { epoch: u32::MAX - 1, ..Scratch::default() };
        for _ in 0..3 {
            scratch.begin(4, 4);
            scratch.add(&[1, 3], 0, 0.5);
            let found: Vec<_> =
                scratch.best(9).iter().map(|found| (found.session, found.similarity)).collect();
            assert_eq!(found, [(3, 0.5), (1, 0.5)]);
        }
    }
}
