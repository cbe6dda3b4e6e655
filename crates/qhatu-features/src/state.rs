//! The fold: events in, features out, the same wherever it runs.
//!
//! What is kept of each feature does not depend on the order of events: sums of whole numbers (money in
//! micros), sums by Lima day where there is a window, earliest and latest times, sets of orders.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use qhatu_schema::{Event, EventKind, Item, Money, Timestamp};
use rustc_hash::{FxHashMap, FxHashSet, FxHasher};
use serde::{Deserialize, Serialize};

use crate::declaration::{Aggregate, Attribute, Declarations, Entity, Feature, FeatureError};

const DAY_MS: f64 = 86_400_000.0;

/// A feature's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FeatureValue {
    /// A number.
    Number(f64),
    /// A point in time.
    Time(Timestamp),
    /// A text.
    Text(String),
}

/// Values by name; `None` where there is nothing to say.
pub type Row = BTreeMap<String, Option<FeatureValue>>;

/// What is kept for one feature of one entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Cell {
    Sum(i64),
    Days(BTreeMap<i32, i64>),
    Times { first: i64, last: i64 },
    Orders { orders: FxHashSet<u64>, first: i64, last: i64 },
}

/// All aggregates of a shop.
#[derive(Debug, Clone)]
pub struct State {
    declarations: Arc<Declarations>,
    kept: Kept,
}

/// What a snapshot holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Kept {
    users: FxHashMap<String, Vec<Option<Cell>>>,
    items: FxHashMap<String, Vec<Option<Cell>>>,
    sessions: FxHashMap<String, Vec<Option<Cell>>>,
    attributes: FxHashMap<String, Attributes>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Attributes {
    category: Option<String>,
    price: Option<f64>,
    description_length: f64,
}

impl State {
    /// Nothing has happened yet.
    pub fn new(declarations: Arc<Declarations>) -> Self {
        Self { declarations, kept: Kept::default() }
    }

    /// Takes an event. It must be new: duplicates are kept out by the log. `O(features touched)`.
    pub fn apply(&mut self, event: &Event) {
        let declarations = Arc::clone(&self.declarations);
        if let Some(user) = &event.user_id {
            update(&declarations, Entity::User, &mut self.kept.users, user.as_str(), event);
        }
        if let Some(session) = &event.session_id {
            update(&declarations, Entity::Session, &mut self.kept.sessions, session.as_str(), event);
        }
        for item in event.item_id.iter().chain(&event.items) {
            update(&declarations, Entity::Item, &mut self.kept.items, item.as_str(), event);
        }
    }

    /// Takes what the catalogue says of a product.
    pub fn set_item(&mut self, item: &Item) {
        let attributes = Attributes {
            category: item.category.clone(),
            price: item.price.map(Money::units),
            description_length: item.description.chars().count() as f64,
        };
        self.kept.attributes.insert(item.item_id.as_str().to_owned(), attributes);
    }

    /// The features of an entity at `now`: everything that was applied; windows end with now's Lima day.
    pub fn row(&self, entity: Entity, key: &str, now: Timestamp) -> Row {
        let cells = self.cells(entity).get(key).map_or(&[][..], Vec::as_slice);
        let mut row = Row::new();
        for (place, (feature, expression)) in self.declarations.of(entity).enumerate() {
            let value = match (expression, feature.attribute, feature.aggregate) {
                (Some(expression), ..) => {
                    let of = |name: &str| match row.get(name) {
                        Some(Some(FeatureValue::Number(number))) => Some(*number),
                        _ => None,
                    };
                    expression.value(&of).map(FeatureValue::Number)
                }
                (None, Some(attribute), _) => self.attribute(key, attribute),
                (None, None, Some(aggregate)) => {
                    read(feature, aggregate, cells.get(place).and_then(Option::as_ref), now)
                }
                (None, None, None) => None,
            };
            row.insert(feature.name.clone(), value);
        }
        row
    }

    /// The keys of an entity that anything is known of, ascending.
    pub fn keys(&self, entity: Entity) -> Vec<&str> {
        let mut keys: Vec<&str> = self.cells(entity).keys().map(String::as_str).collect();
        if entity == Entity::Item {
            keys.extend(self.kept.attributes.keys().map(String::as_str));
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The declarations it follows.
    pub fn declarations(&self) -> &Declarations {
        &self.declarations
    }

    /// The state as bytes, to go on from later with the events after it.
    ///
    /// # Errors
    /// None in truth; the encoder's passes through.
    pub fn snapshot(&self) -> Result<Vec<u8>, FeatureError> {
        let features: Vec<&str> = self.declarations.features().iter().map(|f| f.name.as_str()).collect();
        serde_json::to_vec(&(VERSION, features, &self.kept)).map_err(unusable)
    }

    /// Goes on from a snapshot.
    ///
    /// # Errors
    /// Where it is damaged, of another version, or made with other features: then the log is replayed.
    pub fn restore(declarations: Arc<Declarations>, bytes: &[u8]) -> Result<Self, FeatureError> {
        let (version, features, kept): (u32, Vec<String>, Kept) =
            serde_json::from_slice(bytes).map_err(unusable)?;
        let same = declarations.features().iter().map(|f| &f.name).eq(&features);
        if version != VERSION || !same {
            return Err(unusable("the snapshot was made with other features or by another version"));
        }
        Ok(Self { declarations, kept })
    }

    fn cells(&self, entity: Entity) -> &FxHashMap<String, Vec<Option<Cell>>> {
        match entity {
            Entity::User => &self.kept.users,
            Entity::Item => &self.kept.items,
            Entity::Session => &self.kept.sessions,
        }
    }

    fn attribute(&self, key: &str, attribute: Attribute) -> Option<FeatureValue> {
        let known = self.kept.attributes.get(key)?;
        match attribute {
            Attribute::Category => known.category.clone().map(FeatureValue::Text),
            Attribute::Price => known.price.map(FeatureValue::Number),
            Attribute::DescriptionLength => Some(FeatureValue::Number(known.description_length)),
        }
    }
}

/// Version of the snapshot's layout.
const VERSION: u32 = 1;

fn unusable(fault: impl ToString) -> FeatureError {
    FeatureError::Unusable { fault: fault.to_string() }
}

fn update(
    declarations: &Declarations,
    entity: Entity,
    entities: &mut FxHashMap<String, Vec<Option<Cell>>>,
    key: &str,
    event: &Event,
) {
    // +1 for what happened, −1 for what is given back, 0 for orders not paid.
    let sign = match (event.kind, event.is_paid(), event.is_refund()) {
        (EventKind::Purchase, true, _) => 1,
        (EventKind::Purchase, _, true) => -1,
        (EventKind::Purchase, ..) => return,
        _ => 1,
    };
    for (place, (feature, _)) in declarations.of(entity).enumerate() {
        let Some(aggregate) = feature.aggregate.filter(|_| feature.events.contains(&event.kind)) else {
            continue;
        };
        if !entities.contains_key(key) {
            entities.insert(key.to_owned(), Vec::new());
        }
        let Some(cells) = entities.get_mut(key) else { continue };
        if cells.len() <= place {
            cells.resize(place + 1, None);
        }
        add(&mut cells[place], feature, aggregate, event, sign);
    }
}

fn add(cell: &mut Option<Cell>, feature: &Feature, aggregate: Aggregate, event: &Event, sign: i64) {
    let time = event.time.millis();
    match aggregate {
        Aggregate::Count | Aggregate::Amount => {
            let step = match aggregate {
                Aggregate::Count => sign,
                _ => {
                    sign * event
                        .price
                        .map_or(0, |price| price.micros.saturating_mul(i64::from(event.quantity)))
                }
            };
            match (feature.window_days, cell.get_or_insert_with(|| empty_sum(feature))) {
                (Some(_), Cell::Days(days)) => *days.entry(event.time.lima_day().0).or_default() += step,
                (_, Cell::Sum(sum)) => *sum += step,
                _ => {}
            }
        }
        _ if sign < 0 => {}
        Aggregate::First | Aggregate::Last | Aggregate::DaysSinceLast => {
            if let Cell::Times { first, last } = cell.get_or_insert(Cell::Times { first: time, last: time }) {
                (*first, *last) = (time.min(*first), time.max(*last));
            }
        }
        Aggregate::DistinctOrders | Aggregate::MeanGapDays => {
            let empty = Cell::Orders { orders: FxHashSet::default(), first: time, last: time };
            if let Cell::Orders { orders, first, last } = cell.get_or_insert(empty) {
                orders.insert(order(event));
                (*first, *last) = (time.min(*first), time.max(*last));
            }
        }
    }
}

fn empty_sum(feature: &Feature) -> Cell {
    match feature.window_days {
        Some(_) => Cell::Days(BTreeMap::new()),
        None => Cell::Sum(0),
    }
}

/// The order as a number: its id, or the Lima day where it has none.
fn order(event: &Event) -> u64 {
    let mut hasher = FxHasher::default();
    match &event.order_id {
        Some(order) => order.as_str().hash(&mut hasher),
        None => event.time.lima_day().0.hash(&mut hasher),
    }
    hasher.finish()
}

fn read(
    feature: &Feature,
    aggregate: Aggregate,
    cell: Option<&Cell>,
    now: Timestamp,
) -> Option<FeatureValue> {
    let unit = if aggregate == Aggregate::Amount { 1e6 } else { 1.0 };
    let number = match (aggregate, cell) {
        (Aggregate::Count | Aggregate::Amount, None) => 0.0,
        (Aggregate::Count | Aggregate::Amount, Some(Cell::Sum(sum))) => *sum as f64 / unit,
        (Aggregate::Count | Aggregate::Amount, Some(Cell::Days(days))) => {
            let today = now.lima_day().0;
            let window = feature.window_days.and_then(|days| i32::try_from(days).ok()).unwrap_or(i32::MAX);
            let from = today.saturating_sub(window - 1);
            days.range(from..=today).map(|(_, sum)| sum).sum::<i64>() as f64 / unit
        }
        (Aggregate::DistinctOrders, cell) => match cell {
            Some(Cell::Orders { orders, .. }) => orders.len() as f64,
            _ => 0.0,
        },
        (Aggregate::First, Some(Cell::Times { first, .. })) => {
            return Some(FeatureValue::Time(Timestamp::from_millis(*first)));
        }
        (Aggregate::Last, Some(Cell::Times { last, .. })) => {
            return Some(FeatureValue::Time(Timestamp::from_millis(*last)));
        }
        (Aggregate::DaysSinceLast, Some(Cell::Times { last, .. })) => {
            f64::from(now.lima_day().0 - Timestamp::from_millis(*last).lima_day().0)
        }
        (Aggregate::MeanGapDays, Some(Cell::Orders { orders, first, last })) if orders.len() > 1 => {
            (last - first) as f64 / DAY_MS / (orders.len() - 1) as f64
        }
        _ => return None,
    };
    Some(FeatureValue::Number(number))
}
