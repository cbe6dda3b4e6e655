//! The live state: the fold over the log as it stands now. Applying an event touches only what the
//! event is about; reading takes an `Arc` or copies numbers, so no lock outlives a look.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use qhatu_features::{Declarations, Entity, Row, State};
use qhatu_schema::{DenseTable, Department, Event, Item, ItemId, SessionId, Timestamp, User, UserId};
use rustc_hash::FxHashMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::order::{Orders, Together};
use super::popularity::Popularity;
use super::recommend::Price;
use super::shelf::{ItemNo, Names, Shelf};
use super::shopper::{Move, Shopper, Shoppers};

/// How long a visit is remembered after its latest event.
const VISIT_KEPT_MS: i64 = 30 * 86_400_000;

/// All that is known now.
pub(crate) struct Live {
    pub(crate) names: Arc<RwLock<Names>>,
    pub(crate) users: Shoppers<UserId>,
    pub(crate) sessions: Shoppers<SessionId>,
    pub(crate) popularity: Popularity,
    shelf: RwLock<Arc<Shelf>>,
    /// Of the shoppers whose record says where they live.
    departments: RwLock<FxHashMap<UserId, Department>>,
    pub(super) orders: RwLock<Orders>,
    pub(super) features: RwLock<State>,
    pub(super) last_time: AtomicI64,
}

/// One action of a shopper as answered.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct MoveView {
    /// The event that told of it.
    pub event_id: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// `view`, `click`, `add_to_cart`, `remove_from_cart`, `purchase` or `refund`.
    pub kind: &'static str,
    /// On what.
    #[schema(value_type = String)]
    pub item_id: ItemId,
    /// Its name, empty where the catalogue has none.
    pub title: String,
    /// How many.
    pub quantity: u32,
    /// What one piece cost then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Of which order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
}

impl Live {
    /// Before the first event.
    pub(crate) fn new(declarations: Arc<Declarations>, half_life_days: f64) -> Self {
        Self {
            names: Arc::default(),
            users: Shoppers::new(),
            sessions: Shoppers::new(),
            popularity: Popularity::new(half_life_days),
            shelf: RwLock::default(),
            departments: RwLock::default(),
            orders: RwLock::default(),
            features: RwLock::new(State::new(declarations)),
            last_time: AtomicI64::new(0),
        }
    }

    /// Applies events that the log took as new. What comes of them does not depend on how they are cut
    /// into calls: a snapshot and the tail end in the same state as the whole log.
    pub(crate) fn apply_all<'a>(&self, events: impl Iterator<Item = &'a Event> + Clone) {
        let before = self.last_time();
        events.clone().for_each(|event| self.apply(event));
        let mut features = self.features.write().unwrap_or_else(PoisonError::into_inner);
        events.for_each(|event| features.apply(event));
        features.forget_visits_before(Timestamp::from_millis(before));
    }

    fn apply(&self, event: &Event) {
        let before = self.last_time.fetch_max(event.time.millis(), Ordering::Relaxed);
        self.forget_old_visits(before);
        let Some(item) = event.item_id.as_ref().map(|id| self.intern(id)) else { return };
        self.popularity.add(event, item);
        if event.is_paid() {
            self.orders.write().unwrap_or_else(PoisonError::into_inner).add(event, item);
        }
        let Some(step) = Move::of(event, item) else { return };
        match (&event.user_id, &event.session_id) {
            (Some(user), Some(session)) => {
                self.users.add(user, step.clone());
                self.sessions.add(session, step);
            }
            (Some(user), None) => self.users.add(user, step),
            (None, Some(session)) => self.sessions.add(session, step),
            (None, None) => {}
        }
    }

    /// At the first event of a day, visits that have long ended are forgotten.
    fn forget_old_visits(&self, before: i64) {
        let now = self.last_time();
        if Timestamp::from_millis(before).lima_day() < Timestamp::from_millis(now).lima_day() {
            self.sessions.retain_since(now.saturating_sub(VISIT_KEPT_MS));
        }
    }

    fn intern(&self, id: &ItemId) -> ItemNo {
        if let Some(known) = self.number(id.as_str()) {
            return known;
        }
        self.names.write().unwrap_or_else(PoisonError::into_inner).intern(id)
    }

    fn number(&self, id: &str) -> Option<ItemNo> {
        self.names.read().unwrap_or_else(PoisonError::into_inner).get(id)
    }

    /// The numbers of those ids that were ever mentioned.
    pub(crate) fn numbers<'a>(&self, ids: impl Iterator<Item = &'a ItemId>) -> Vec<ItemNo> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        ids.filter_map(|id| names.get(id.as_str())).collect()
    }

    /// The id behind a number.
    pub(crate) fn item_id(&self, number: ItemNo) -> ItemId {
        self.names.read().unwrap_or_else(PoisonError::into_inner).id(number).clone()
    }

    /// The ids behind numbers.
    pub(super) fn item_ids(&self, numbers: impl Iterator<Item = Option<ItemNo>>) -> Vec<Option<ItemId>> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        numbers.map(|number| number.map(|number| names.id(number).clone())).collect()
    }

    /// The catalogue as it stands.
    pub(crate) fn shelf(&self) -> Arc<Shelf> {
        Arc::clone(&self.shelf.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// An item's record.
    pub(crate) fn item(&self, id: &str) -> Option<Arc<Item>> {
        self.shelf().item(self.number(id)?).cloned()
    }

    /// Puts or replaces items.
    pub(crate) fn put_items(&self, items: Vec<Item>) {
        let mut features = self.features.write().unwrap_or_else(PoisonError::into_inner);
        items.iter().for_each(|item| features.set_item(item));
        drop(features);
        let mut shelf = self.shelf.write().unwrap_or_else(PoisonError::into_inner);
        let next = Arc::make_mut(&mut shelf);
        for item in items {
            next.put(self.intern(&item.item_id), item);
        }
    }

    /// Takes an item off the shelf.
    pub(crate) fn remove_item(&self, id: &ItemId) {
        if let Some(number) = self.number(id.as_str()) {
            Arc::make_mut(&mut self.shelf.write().unwrap_or_else(PoisonError::into_inner)).remove(number);
        }
    }

    /// Takes from shoppers' records where they live.
    pub(crate) fn put_users(&self, users: &[User]) {
        let mut departments = self.departments.write().unwrap_or_else(PoisonError::into_inner);
        for user in users {
            match user.department() {
                Some(department) => departments.insert(user.user_id.clone(), department),
                None => departments.remove(&user.user_id),
            };
        }
    }

    /// Forgets where a shopper lives.
    pub(crate) fn remove_user(&self, id: &UserId) {
        self.departments.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Where a shopper lives, where their record says so.
    pub(crate) fn department(&self, id: &UserId) -> Option<Department> {
        self.departments.read().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }

    /// What goes with an item in orders.
    pub(crate) fn together(&self, item: ItemNo) -> Vec<Together> {
        self.orders.read().unwrap_or_else(PoisonError::into_inner).together(item)
    }

    /// What is known of a shopper, of a visit, or of both as one.
    pub(crate) fn shopper(&self, user: Option<&UserId>, session: Option<&SessionId>) -> Arc<Shopper> {
        let user = user.and_then(|id| self.users.get(id.as_str()));
        let session = session.and_then(|id| self.sessions.get(id.as_str()));
        match (user, session) {
            (Some(user), Some(session)) => Arc::new(user.with(&session)),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => Arc::default(),
        }
    }

    /// The time of the latest event, in milliseconds; 0 before the first.
    pub(crate) fn last_time(&self) -> i64 {
        self.last_time.load(Ordering::Relaxed)
    }

    /// The features of an entity as they stand at `now`.
    pub(crate) fn features(&self, entity: Entity, key: &str, now: Timestamp) -> Row {
        self.features.read().unwrap_or_else(PoisonError::into_inner).row(entity, key, now)
    }

    /// The same as a table of one row; `None` where nothing is known of the entity.
    pub(crate) fn features_row(&self, entity: Entity, key: &str, now: Timestamp) -> Option<DenseTable> {
        self.features.read().unwrap_or_else(PoisonError::into_inner).table_row(entity, key, now)
    }

    /// A shopper's latest moves, newest first.
    pub(crate) fn history(&self, shopper: &Shopper, limit: usize) -> Vec<MoveView> {
        let shelf = self.shelf();
        let view = |step: &Move| MoveView {
            event_id: step.event_id.to_string(),
            time: Timestamp::from_millis(step.time),
            kind: if step.refund { "refund" } else { step.kind.as_str() },
            item_id: self.item_id(step.item),
            title: shelf.item(step.item).map(|item| item.title.clone()).unwrap_or_default(),
            quantity: step.quantity,
            price: step.price.map(Price::from),
            order_id: step.order_id.as_ref().map(ToString::to_string),
        };
        shopper.moves().iter().rev().take(limit).map(view).collect()
    }
}
