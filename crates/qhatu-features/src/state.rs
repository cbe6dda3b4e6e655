//! The fold: events in, features out, the same wherever it runs.
//!
//! What is kept does not depend on the order of events (see `cell`). One [`State`] serves the live server,
//! which hands it events one by one, and the lake, which hands it columns: both end in `Plan::apply`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use qhatu_schema::{Event, EventColumns, Item, LimaDay, NO_TEXT, Timestamp};
use serde::{Deserialize, Serialize};

use crate::cell::Cells;
use crate::declaration::{Attribute, Declarations, Entity, Feature, FeatureError, ValueType};
use crate::entity::{Named, Pairs, Shelf};
use crate::happening::{Field, Happening};
use crate::plan::{Plan, Planned, Read};

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

/// All aggregates of a shop.
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) declarations: Arc<Declarations>,
    pub(crate) plans: Arc<[Plan; 5]>,
    pub(crate) kept: Kept,
}

/// What a snapshot holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) users: Named,
    pub(crate) items: Named,
    pub(crate) shelf: Shelf,
    /// Visits by Lima day: one that goes past midnight has two parts.
    pub(crate) visits: BTreeMap<i32, Named>,
    pub(crate) pairs: Pairs,
}

impl State {
    /// Nothing has happened yet.
    pub fn new(declarations: Arc<Declarations>) -> Self {
        let plans = Arc::new(Entity::ALL.map(|entity| Plan::of(&declarations, entity)));
        Self { declarations, plans, kept: Kept::default() }
    }

    /// Takes an event. It must be new: duplicates are kept out by the log. `O(features touched)`.
    pub fn apply(&mut self, event: &Event) {
        self.kept.apply(&self.plans, &Happening::of(event), event.items.iter().map(|id| id.as_str()));
    }

    /// Takes many events; what is read afterwards is as if each had been applied.
    pub fn apply_columns(&mut self, events: &EventColumns) {
        self.apply_rows(events, 0..events.rows());
    }

    /// The same with some of them.
    pub fn apply_rows(&mut self, events: &EventColumns, rows: Range<usize>) {
        for row in rows {
            let shown = events.items.codes_of(row).iter();
            let shown = shown.map(|code| events.items.texts.get(*code as usize));
            self.kept.apply(&self.plans, &Happening::row(events, row), shown);
        }
    }

    /// Takes what the catalogue says of a product.
    pub fn set_item(&mut self, item: &Item) {
        let plan = &self.plans[Entity::Item as usize];
        let number = self.kept.items.number_of(plan, item.item_id.as_str());
        self.kept.shelf.put(number, item);
        if self.has_pairs() {
            let pairs = &mut self.kept.pairs;
            let number = pairs.items.number_of(item.item_id.as_str());
            pairs.shelf.put(number as usize, item);
        }
    }

    /// Forgets the visits that were over before `now`'s yesterday. No answer as of `now` or later changes.
    pub fn forget_visits_before(&mut self, now: Timestamp) {
        let yesterday = now.lima_day().0.saturating_sub(1);
        if self.kept.visits.first_key_value().is_some_and(|(day, _)| *day < yesterday) {
            self.kept.visits = self.kept.visits.split_off(&yesterday);
        }
    }

    /// The features of an entity at `now`: everything that was applied; windows end with now's Lima day.
    /// A pair's are asked for by [`State::pair_row`].
    pub fn row(&self, entity: Entity, key: &str, now: Timestamp) -> Row {
        self.pair_row(entity, key, "", now)
    }

    /// The features of a shopper with a product or a category at `now`.
    pub fn pair_row(&self, entity: Entity, key: &str, other: &str, now: Timestamp) -> Row {
        let parts = self.parts(entity, key, other, now.lima_day());
        let item = self.kept.items.names.get(key).map_or(usize::MAX, |number| number as usize);
        let plan = &self.plans[entity as usize];
        let mut row = Row::new();
        for feature in &plan.features {
            let value = match &feature.read {
                Read::Attribute(attribute) => self.kept.shelf.value(*attribute, item),
                Read::Expression(expression) => number(expression.value(&|name| match row.get(name) {
                    Some(Some(FeatureValue::Number(number))) => *number,
                    _ => f64::NAN,
                })),
                _ => value(plan, feature, &parts, now.lima_day()),
            };
            row.insert(feature.name.clone(), value);
        }
        row
    }

    /// The keys of an entity that anything is known of at `now`, ascending. A pair has two, joined as they
    /// stand in rows; of visits only those of `now`'s day and the day before are known.
    pub fn keys(&self, entity: Entity, now: Timestamp) -> Vec<[&str; 2]> {
        let mut keys: Vec<[&str; 2]> = match entity {
            Entity::User => all(&self.kept.users),
            Entity::Item => all(&self.kept.items),
            Entity::Session => self.visits(now.lima_day()).flat_map(all).collect(),
            Entity::UserItem | Entity::UserCategory => self.pair_keys(entity),
        };
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
        serde_json::to_vec(&(VERSION, self.declarations.features(), &self.kept)).map_err(unusable)
    }

    /// Goes on from a snapshot.
    ///
    /// # Errors
    /// Where it is damaged, of another version, or made with other features: then the log is replayed.
    pub fn restore(declarations: Arc<Declarations>, bytes: &[u8]) -> Result<Self, FeatureError> {
        let (version, features, kept): (u32, Vec<Feature>, Kept) =
            serde_json::from_slice(bytes).map_err(unusable)?;
        if version != VERSION || declarations.features() != features {
            return Err(unusable("the snapshot was made with other features or by another version"));
        }
        Ok(Self { kept, ..Self::new(declarations) })
    }

    /// The columns of events that the features ask for, by their names in the lake; event ids, times and
    /// kinds always come.
    pub fn columns_needed(&self) -> Vec<&'static str> {
        let mut needed =
            vec!["event_id", "time", "kind", "user_id", "session_id", "item_id", "quantity", "price"];
        needed.extend(["currency", "order_id", "state", "items"]);
        for field in self.plans.iter().flat_map(Plan::fields) {
            needed.extend(match field {
                Field::Query => Some("query"),
                Field::Recommendation => Some("recommendation_id"),
                Field::ModelVersion => Some("model_version"),
                _ => None,
            });
        }
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    pub(crate) fn has_pairs(&self) -> bool {
        has_pairs(&self.plans)
    }

    /// The cells that an entity's features are read from.
    pub(crate) fn parts(
        &self,
        entity: Entity,
        key: &str,
        other: &str,
        today: LimaDay,
    ) -> Vec<(&Cells, usize)> {
        let pairs = &self.kept.pairs;
        match entity {
            Entity::User => self.kept.users.part(key).into_iter().collect(),
            Entity::Item => self.kept.items.part(key).into_iter().collect(),
            Entity::Session => self.visits(today).filter_map(|visits| visits.part(key)).collect(),
            Entity::UserItem => {
                pairs.get(key, other).map(|number| (&pairs.by_item, number)).into_iter().collect()
            }
            Entity::UserCategory => match pairs.shelf.categories().get(other) {
                Some(category) => pairs.in_category(key, category),
                None => Vec::new(),
            },
        }
    }

    /// The visits of yesterday and today.
    fn visits(&self, today: LimaDay) -> impl Iterator<Item = &Named> {
        self.kept.visits.range(today.0.saturating_sub(1)..=today.0).map(|(_, visits)| visits)
    }

    fn pair_keys(&self, entity: Entity) -> Vec<[&str; 2]> {
        let pairs = &self.kept.pairs;
        let mut keys = Vec::new();
        for (user, items) in pairs.of_user.iter().enumerate() {
            let user = pairs.users.name(u32::try_from(user).unwrap_or(NO_TEXT));
            for (item, _) in items {
                let other = match entity {
                    Entity::UserItem => Some(pairs.items.name(*item)),
                    _ => pairs.shelf.category(*item as usize),
                };
                keys.extend(other.map(|other| [user, other]));
            }
        }
        keys
    }
}

impl Kept {
    fn apply<'a>(
        &mut self,
        plans: &[Plan; 5],
        event: &Happening<'a>,
        shown: impl Iterator<Item = &'a str> + Clone,
    ) {
        let [users, items, visits, ..] = plans;
        let (user, session) = (event.text(Field::User), event.text(Field::Session));
        if !user.is_empty() {
            let number = self.users.number_of(users, user);
            users.apply(&mut self.users.cells, number, event);
        }
        if !session.is_empty() && !visits.is_empty() {
            let today = self.visits.entry(event.day).or_default();
            let number = today.number_of(visits, session);
            visits.apply(&mut today.cells, number, event);
        }
        let one = Some(event.text(Field::Item)).filter(|item| !item.is_empty());
        for item in one.into_iter().chain(shown) {
            let event = event.showing(item);
            let number = self.items.number_of(items, item);
            items.apply(&mut self.items.cells, number, &event);
            if !user.is_empty() && has_pairs(plans) {
                self.pairs.apply([&plans[3], &plans[4]], [user, item], &event);
            }
        }
    }
}

impl Pairs {
    /// Takes an event of a shopper with a product.
    pub(crate) fn apply(&mut self, plans: [&Plan; 2], [user, item]: [&str; 2], event: &Happening<'_>) {
        let number = self.number_of(plans, user, item);
        plans[0].apply(&mut self.by_item, number, event);
        plans[1].apply(&mut self.by_category, number, event);
    }
}

impl Shelf {
    fn value(&self, attribute: Attribute, item: usize) -> Option<FeatureValue> {
        match attribute {
            Attribute::Category => self.category(item).map(|name| FeatureValue::Text(name.to_owned())),
            Attribute::Price => number(self.price(item)),
            Attribute::DescriptionLength => number(self.description_length(item)),
        }
    }
}

/// Version of the snapshot's layout.
const VERSION: u32 = 2;

fn unusable(fault: impl ToString) -> FeatureError {
    FeatureError::Unusable { fault: fault.to_string() }
}

pub(crate) fn has_pairs(plans: &[Plan; 5]) -> bool {
    !plans[3].is_empty() || !plans[4].is_empty()
}

fn all(named: &Named) -> Vec<[&str; 2]> {
    named.names.sorted().into_iter().map(|number| [named.names.name(number), ""]).collect()
}

/// A number as a value; none where it is empty or beyond what can be said.
fn number(value: f64) -> Option<FeatureValue> {
    value.is_finite().then_some(FeatureValue::Number(value))
}

fn value(plan: &Plan, feature: &Planned, parts: &[(&Cells, usize)], today: LimaDay) -> Option<FeatureValue> {
    match feature.value_type {
        ValueType::Number => number(plan.number(&feature.read, parts, today.0)),
        ValueType::Time => {
            let time = plan.time(&feature.read, parts, today.0)?;
            Some(FeatureValue::Time(Timestamp::from_millis(time)))
        }
        ValueType::Text => plan.text(&feature.read, parts).map(|text| FeatureValue::Text(text.to_owned())),
    }
}
