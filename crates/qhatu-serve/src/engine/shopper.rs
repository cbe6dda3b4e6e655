//! What one shopper, or one visit, has done, in order of (time, event id): the order in which the
//! lake is sorted too, so that the live history and the training sequence are the same.

use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, PoisonError, RwLock};

use qhatu_models::{Deed, OrderKey, Told, looks};
use qhatu_schema::{Event, EventId, EventKind, ItemIdx, Money, OrderId};
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use super::shelf::ItemNo;

/// Views, clicks and carts kept per shopper; purchases are all kept.
const INTEREST_KEPT: usize = 256;

/// One action on one item.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Move {
    pub(crate) time: i64,
    pub(crate) event_id: EventId,
    pub(crate) item: ItemNo,
    pub(crate) kind: EventKind,
    pub(crate) refund: bool,
    pub(crate) quantity: u32,
    pub(crate) price: Option<Money>,
    pub(crate) order_id: Option<OrderId>,
}

impl Move {
    /// The move that an event makes; `None` for events that move nothing (searches, impressions,
    /// purchases that are not paid).
    pub(crate) fn of(event: &Event, item: ItemNo) -> Option<Self> {
        let counts = match event.kind {
            EventKind::Search | EventKind::Impression => false,
            EventKind::Purchase => event.is_paid() || event.is_refund(),
            _ => true,
        };
        counts.then(|| Self {
            time: event.time.millis(),
            event_id: event.event_id.clone(),
            item,
            kind: event.kind,
            refund: event.is_refund(),
            quantity: event.quantity,
            price: event.price,
            order_id: event.order_id.clone(),
        })
    }

    pub(crate) fn is_interest(&self) -> bool {
        self.kind != EventKind::Purchase
    }

    /// The order of a purchase.
    pub(crate) fn order(&self) -> OrderKey<'_> {
        OrderKey::of(self.order_id.as_ref(), self.time)
    }
}

/// How often, how many and when last an item was bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bought {
    pub(crate) times: u32,
    pub(crate) pieces: i64,
    pub(crate) last: i64,
}

/// All that is known of one shopper or visit.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Shopper {
    moves: Vec<Move>,
}

impl Shopper {
    /// All moves, oldest first.
    pub(crate) fn moves(&self) -> &[Move] {
        &self.moves
    }

    /// Adds a move at its place. The result does not depend on the order of arrival.
    pub(crate) fn add(&mut self, step: Move) {
        let key = (step.time, step.event_id.clone());
        let place = self.moves.partition_point(|known| (known.time, &known.event_id) <= (key.0, &key.1));
        let interest = step.is_interest();
        self.moves.insert(place, step);
        if interest {
            self.forget_old_interest();
        }
    }

    fn forget_old_interest(&mut self) {
        let interests = self.moves.iter().filter(|step| step.is_interest()).count();
        if interests > 2 * INTEREST_KEPT {
            let mut surplus = interests - INTEREST_KEPT;
            self.moves.retain(|step| {
                let goes = step.is_interest() && surplus > 0;
                surplus -= usize::from(goes);
                !goes
            });
        }
    }

    /// This shopper's moves and another's (a visit's) as one history; an event in both counts once.
    pub(crate) fn with(&self, other: &Self) -> Self {
        let mut joined = self.clone();
        for step in other.moves() {
            let known = joined
                .moves
                .binary_search_by(|known| (known.time, &known.event_id).cmp(&(step.time, &step.event_id)));
            if known.is_err() {
                joined.add(step.clone());
            }
        }
        joined
    }

    /// What was bought and not given back entirely.
    pub(crate) fn bought(&self) -> FxHashMap<ItemNo, Bought> {
        let mut bought: FxHashMap<ItemNo, Bought> = FxHashMap::default();
        let mut lines = FxHashSet::default();
        for step in self.moves.iter().filter(|step| !step.is_interest()) {
            let entry = bought.entry(step.item).or_insert(Bought { times: 0, pieces: 0, last: 0 });
            if step.refund {
                entry.pieces -= i64::from(step.quantity);
            } else {
                entry.pieces += i64::from(step.quantity);
                // A line that repeats within an order was bought once.
                entry.times += u32::from(lines.insert((step.order(), step.item)));
                entry.last = entry.last.max(step.time);
            }
        }
        bought.retain(|_, entry| entry.pieces > 0);
        bought
    }

    /// What a model is told, oldest first: purchases that were kept, of lines that repeat within an order the first, and the
    /// latest views, clicks and carts of items that were not bought since nor taken out of the cart.
    pub(crate) fn evidence(&self, bought: &FxHashMap<ItemNo, Bought>) -> Vec<&Move> {
        // Of purchases only those that were kept settle anything.
        let counts = |step: &&Move| step.is_interest() || (!step.refund && bought.contains_key(&step.item));
        let moves: Vec<&Move> = self.moves.iter().filter(counts).collect();
        let steps: Vec<_> = moves.iter().map(|step| (step.kind, step.item, step.time)).collect();
        let looks: FxHashSet<usize> = looks(&steps).into_iter().collect();
        let told = |(place, step): &(usize, &Move)| !step.is_interest() || looks.contains(place);
        let mut evidence: Vec<&Move> =
            moves.into_iter().enumerate().filter(told).map(|(_, step)| step).collect();
        let mut lines = FxHashSet::default();
        evidence.retain(|step| step.is_interest() || lines.insert((step.order(), step.item)));
        evidence
    }

    /// When each order began: an order stands where its first line does, as in training.
    pub(crate) fn order_starts(&self) -> FxHashMap<OrderKey<'_>, i64> {
        let mut starts = FxHashMap::default();
        for step in self.moves.iter().filter(|step| !step.is_interest() && !step.refund) {
            starts.entry(step.order()).or_insert(step.time);
        }
        starts
    }

    /// What a model that reads acts is told: every move on an item that it knows. What was given back was wanted once, as
    /// in training.
    pub(crate) fn told(&self, idx: impl Fn(ItemNo) -> Option<ItemIdx>) -> Told {
        let mut deeds: Vec<Deed<OrderKey>> = Vec::with_capacity(self.moves.len());
        for step in self.moves.iter().filter(|step| !step.refund) {
            let Some(item) = idx(step.item) else { continue };
            let (time, kind) = (step.time, step.kind);
            deeds.push(Deed { time, item, order: step.order(), kind });
        }
        Told::of(&deeds)
    }

    /// The time of the latest move.
    pub(crate) fn last(&self) -> Option<i64> {
        self.moves.last().map(|step| step.time)
    }
}

const SHARDS: usize = 64;

/// Shoppers by id in shards, each an `Arc` that a request takes with it, so that no lock is held
/// while it scores.
pub(crate) struct Shoppers<K> {
    shards: Vec<RwLock<FxHashMap<K, Arc<Shopper>>>>,
}

impl<K: Eq + Hash + Clone + Ord + std::borrow::Borrow<str>> Shoppers<K> {
    /// Nobody yet.
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect() }
    }

    fn shard(&self, id: &str) -> &RwLock<FxHashMap<K, Arc<Shopper>>> {
        // The high bits choose the shard: the low ones choose the slot within it.
        let hash = FxBuildHasher.hash_one(id) >> 40;
        &self.shards[usize::try_from(hash).unwrap_or_default() % SHARDS]
    }

    /// Adds a move to one shopper.
    pub(crate) fn add(&self, id: &K, step: Move) {
        let mut shard = self.shard(id.borrow()).write().unwrap_or_else(PoisonError::into_inner);
        match shard.get_mut(id.borrow()) {
            Some(shopper) => Arc::make_mut(shopper).add(step),
            None => {
                let mut shopper = Shopper::default();
                shopper.add(step);
                shard.insert(id.clone(), Arc::new(shopper));
            }
        }
    }

    /// One shopper as known now.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Shopper>> {
        self.shard(id).read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Puts all that is known of one, whatever was known before.
    pub(crate) fn put(&self, id: K, shopper: Arc<Shopper>) {
        self.shard(id.borrow()).write().unwrap_or_else(PoisonError::into_inner).insert(id, shopper);
    }

    /// Everybody.
    pub(crate) fn all(&self) -> Vec<(K, Arc<Shopper>)> {
        let mut all = Vec::with_capacity(self.len());
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            all.extend(shard.iter().map(|(id, shopper)| (id.clone(), Arc::clone(shopper))));
        }
        all
    }

    /// Keeps only those whose latest move is not before `time`.
    pub(crate) fn retain_since(&self, time: i64) {
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, shopper| shopper.last().is_some_and(|last| last >= time));
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// At most `limit` ids that hold `text`, with the number of their moves; `skip` ids are passed
    /// over first. The order is fixed between calls while nobody new comes.
    pub(crate) fn search(&self, text: &str, skip: usize, limit: usize) -> Vec<(K, usize)> {
        let mut found = Vec::new();
        let mut skip = skip;
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            for (id, shopper) in shard.iter() {
                let name: &str = id.borrow();
                if !name.contains(text) {
                    continue;
                }
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                found.push((id.clone(), shopper.moves().len()));
                if found.len() == limit {
                    return found;
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qhatu_schema::{PurchaseState, Timestamp, UserId};

    fn step(time: i64, item: ItemNo, kind: EventKind) -> Move {
        let mut event = Event::new(
            EventId::new(format!("{time}-{item}-{kind}")).unwrap(),
            Timestamp::from_millis(time),
            kind,
        );
        event.user_id = Some(UserId::new("u").unwrap());
        Move::of(&event, item).unwrap()
    }

    fn refund(time: i64, item: ItemNo, quantity: u32) -> Move {
        Move { refund: true, quantity, ..step(time, item, EventKind::Purchase) }
    }

    #[test]
    fn any_order_of_arrival_ends_in_the_same_history() {
        let steps = [
            step(5, 1, EventKind::View),
            step(3, 2, EventKind::Purchase),
            step(5, 0, EventKind::View),
            step(9, 2, EventKind::Purchase),
        ];
        let keys = |order: &[usize]| {
            let mut shopper = Shopper::default();
            order.iter().for_each(|&at| shopper.add(steps[at].clone()));
            shopper.moves().iter().map(|step| (step.time, step.item)).collect::<Vec<_>>()
        };
        assert_eq!(keys(&[0, 1, 2, 3]), [(3, 2), (5, 0), (5, 1), (9, 2)]);
        assert_eq!(keys(&[3, 2, 1, 0]), keys(&[0, 1, 2, 3]));
    }

    #[test]
    fn what_was_given_back_is_not_bought() {
        let mut shopper = Shopper::default();
        for step in [step(1, 7, EventKind::Purchase), step(2, 8, EventKind::Purchase), refund(3, 7, 1)] {
            shopper.add(step);
        }
        let bought = shopper.bought();
        assert_eq!(bought.keys().copied().collect::<Vec<_>>(), [8]);
        assert_eq!(shopper.evidence(&bought).iter().map(|step| step.item).collect::<Vec<_>>(), [8]);
    }

    #[test]
    fn a_model_is_told_what_still_interests() {
        let mut shopper = Shopper::default();
        for step in [
            step(1, 1, EventKind::View),
            step(2, 1, EventKind::Purchase),
            step(3, 2, EventKind::AddToCart),
            step(4, 2, EventKind::RemoveFromCart),
            step(5, 3, EventKind::View),
            step(6, 3, EventKind::AddToCart),
        ] {
            shopper.add(step);
        }
        let evidence = shopper.evidence(&shopper.bought());
        assert_eq!(evidence.iter().map(|step| (step.time, step.item)).collect::<Vec<_>>(), [(2, 1), (6, 3)]);
    }

    #[test]
    fn a_visit_joins_a_shopper_without_counting_twice() {
        let (mut user, mut visit) = (Shopper::default(), Shopper::default());
        user.add(step(1, 1, EventKind::View));
        visit.add(step(1, 1, EventKind::View));
        visit.add(step(2, 2, EventKind::View));
        assert_eq!(user.with(&visit).moves().len(), 2);
    }

    #[test]
    fn an_unpaid_purchase_moves_nothing() {
        let mut event = Event::new(EventId::new("e").unwrap(), Timestamp::EPOCH, EventKind::Purchase);
        event.state = Some(PurchaseState::Created);
        assert!(Move::of(&event, 0).is_none());
    }
}
