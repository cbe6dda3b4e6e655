//! What sells: the fallback under every list, kept live and independent of any trained model.
//!
//! Each event adds a weight that halves every `half_life`. Halving is the same for all items, so the
//! order does not depend on when one looks, and a sum per item against a fixed origin is enough: no
//! windows, no expiry, and any order of arrival ends in the same sums (up to rounding).

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use qhatu_schema::{Event, EventKind};
use serde::{Deserialize, Serialize};

use super::shelf::ItemNo;

const DAY_MS: f64 = 86_400_000.0;
/// Half-lives between the origin and the newest event beyond which the sums are rescaled.
const RESCALE: f64 = 256.0;
/// A shorter sort is done for every request that comes after a change.
const LONG_SORT: Duration = Duration::from_millis(2);

#[derive(Default, Clone, Copy, Serialize, Deserialize)]
struct Sums {
    recent: f64,
    all: f64,
}

/// What was counted; belongs to one half-life.
#[derive(Default, Clone, Serialize, Deserialize)]
pub(crate) struct Counts {
    origin: Option<f64>,
    sums: Vec<Sums>,
    changes: u64,
}

struct Ranked {
    items: Arc<Vec<ItemNo>>,
    changes: u64,
    made: Instant,
    cost: Duration,
}

/// Live popularity of all items.
pub(crate) struct Popularity {
    half_life_ms: f64,
    counts: RwLock<Counts>,
    ranked: Mutex<Option<Ranked>>,
}

impl Popularity {
    /// Nothing sold yet.
    pub(crate) fn new(half_life_days: f64) -> Self {
        Self { half_life_ms: half_life_days * DAY_MS, counts: RwLock::default(), ranked: Mutex::new(None) }
    }

    /// Counts one event on `item`: a purchase in full, a cart a third, a click or view a tenth, a
    /// refund against.
    pub(crate) fn add(&self, event: &Event, item: ItemNo) {
        let weight = match event.kind {
            EventKind::Purchase if event.is_paid() => 1.0,
            EventKind::Purchase if event.is_refund() => -1.0,
            EventKind::AddToCart => 0.3,
            EventKind::RemoveFromCart => -0.3,
            EventKind::View | EventKind::Click => 0.1,
            _ => return,
        };
        #[expect(clippy::cast_precision_loss, reason = "milliseconds until the year 9999 fit in 53 bits")]
        let age = event.time.millis() as f64 / self.half_life_ms;
        let mut counts = self.counts.write().unwrap_or_else(PoisonError::into_inner);
        counts.add(item, weight, age);
    }

    /// What was counted so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes on from what was counted before, with the same half-life.
    pub(crate) fn go_on_from(&self, counts: Counts) {
        *self.counts.write().unwrap_or_else(PoisonError::into_inner) = counts;
        *self.ranked.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// All items that ever counted, best first; ties by what sold over all time, then lower number.
    /// A sort that takes long is put off while sorting would take more than a twentieth of the time.
    pub(crate) fn ranked(&self) -> Arc<Vec<ItemNo>> {
        let mut ranked = self.ranked.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = self.counts.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*ranked
            && (known.changes == counts.changes
                || (known.cost > LONG_SORT && known.made.elapsed() < 20 * known.cost))
        {
            return Arc::clone(&known.items);
        }
        let begun = Instant::now();
        let (sums, changes) = (counts.sums.clone(), counts.changes);
        drop(counts);
        let items = Arc::new(rank(&sums));
        *ranked =
            Some(Ranked { items: Arc::clone(&items), changes, made: Instant::now(), cost: begun.elapsed() });
        items
    }
}

impl Counts {
    fn add(&mut self, item: ItemNo, weight: f64, age: f64) {
        let origin = *self.origin.get_or_insert(age);
        if age - origin > RESCALE {
            let factor = (origin - age).exp2();
            self.sums.iter_mut().for_each(|sums| sums.recent *= factor);
            self.origin = Some(age);
        }
        let row = item as usize;
        if self.sums.len() <= row {
            self.sums.resize(row + 1, Sums::default());
        }
        self.sums[row].recent += weight * (age - self.origin.unwrap_or(age)).exp2();
        self.sums[row].all += weight;
        self.changes += 1;
    }
}

fn rank(sums: &[Sums]) -> Vec<ItemNo> {
    let mut items: Vec<ItemNo> =
        (0..).zip(sums).filter(|(_, sums)| sums.all > 0.0).map(|(item, _)| item).collect();
    items.sort_unstable_by(|&a, &b| {
        let (left, right) = (sums[a as usize], sums[b as usize]);
        right.recent.total_cmp(&left.recent).then(right.all.total_cmp(&left.all)).then(a.cmp(&b))
    });
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use qhatu_schema::{EventId, PurchaseState, Timestamp};

    fn purchase(day: i64) -> Event {
        let time = Timestamp::from_millis(day * 86_400_000);
        Event::new(EventId::new("e").unwrap(), time, EventKind::Purchase)
    }

    #[test]
    fn what_sells_now_beats_what_sold_long_ago() {
        let popularity = Popularity::new(7.0);
        (0..20).for_each(|_| popularity.add(&purchase(100), 0));
        popularity.add(&purchase(150), 1);
        popularity.add(&purchase(150), 1);
        popularity.add(&purchase(151), 2);
        assert_eq!(*popularity.ranked(), [1, 2, 0]);
        // Years later than anything before: the sums are rescaled and the order still holds.
        popularity.add(&purchase(9_000), 3);
        assert_eq!(popularity.ranked()[0], 3);
    }

    #[test]
    fn what_is_given_back_does_not_count() {
        let popularity = Popularity::new(7.0);
        popularity.add(&purchase(1), 0);
        let refund = Event { state: Some(PurchaseState::Refunded), ..purchase(1) };
        popularity.add(&refund, 0);
        assert!(popularity.ranked().is_empty());
    }
}
