//! What the models learn from: the lake's purchases as (shopper, item, time, order), numbered; lists that were shown; and,
//! where a model reads acts, all that shoppers and visits did.
//!
//! Only paid purchases teach: a refund takes away from features, but that something was wanted once
//! is still true. Shoppers are known ones; an order without an id is one Lima day of a shopper. A line
//! that repeats within an order counts once.

use std::collections::BTreeMap;
use std::sync::Arc;

use qhatu_models::{
    FoldPast, Interactions, ItemLabels, ItemSides, ItemVectors, Journey, Looked, Purchase, Shown, Vocabulary,
    category_path, price_bands,
};
use qhatu_schema::{Department, Event, ItemId, ItemIdx, LimaDay, User, UserId};
use qhatu_store::Lake;
use rustc_hash::{FxHashMap, FxHashSet};
use sha2::{Digest, Sha256};

use crate::error::TrainError;
use crate::fold::{FoldInputs, LakeFold};
use crate::journeys::{Journeys, JourneysBuilder};
use crate::lists::{Lists, ListsBuilder};
use crate::numbers::Numbers;

/// What the catalogue says of an item, as far as it does.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ItemSide {
    /// A vector of its text; empty where there is none.
    pub vector: Vec<f32>,
    /// Its category as a path: see [`category_path`].
    pub category: Option<String>,
    /// Its price, in one currency for all items.
    pub price: Option<f64>,
}

/// What is read of a lake beside its purchases.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Only what lies before this day began.
    pub before: Option<LimaDay>,
    /// All that shoppers and visits did, for models that read acts: see [`TrainConfig::wants`](crate::TrainConfig::wants).
    pub acts: bool,
    /// The shop's features at every moment, for models that are told of them: see
    /// [`TrainConfig::wants`](crate::TrainConfig::wants).
    pub fold: Option<FoldInputs>,
}

/// All purchases of a shop.
#[derive(Debug, Clone)]
pub struct ShopData {
    /// The items that were ever bought, numbered from 1; where acts are read, those that were only looked at behind them.
    pub vocabulary: Arc<Vocabulary>,
    /// The shoppers, by number: those who bought anything, and behind them others who were shown a list.
    pub users: Arc<Vec<UserId>>,
    /// By time, then shopper, order and item.
    pub purchases: Vec<Purchase>,
    /// SHA-256 over all purchases in order, what was shown and clicked, and what was added: the same data, the same
    /// fingerprint.
    pub fingerprint: String,
    /// What is said of the items, where a model takes it.
    pub sides: Arc<ItemSides>,
    /// Lists that were shown, by these numbers, oldest first.
    pub shown: Arc<Vec<Shown>>,
    /// Where shoppers live, by number, where a model takes it; empty where that is known of none.
    pub departments: Arc<Vec<Option<Department>>>,
    /// All that shoppers and visits did, by these numbers; empty where acts are not read.
    pub journeys: Arc<Vec<Journey>>,
    /// What shoppers looked at, by these numbers.
    pub looked: Arc<Looked>,
    lists: Arc<Lists>,
    looks: Arc<Journeys>,
    /// Where features are read.
    fold: Option<(Lake, FoldInputs)>,
}

impl ShopData {
    /// Reads all purchases of the lake.
    ///
    /// # Errors
    /// When the lake cannot be read, or holds no purchase of a known shopper.
    pub fn from_lake(lake: &Lake) -> Result<Self, TrainError> {
        Self::read(lake, Wanted::default())
    }

    /// Reads the lake as it was when `day` began: what came later is not even among the items.
    ///
    /// # Errors
    /// When the lake cannot be read, or holds no purchase of a known shopper before that day.
    pub fn from_lake_before(lake: &Lake, day: LimaDay) -> Result<Self, TrainError> {
        Self::read(lake, Wanted { before: Some(day), ..Wanted::default() })
    }

    /// Reads what is wanted.
    ///
    /// # Errors
    /// When the lake cannot be read, or holds no purchase of a known shopper.
    pub fn read(lake: &Lake, wanted: Wanted) -> Result<Self, TrainError> {
        let before = wanted.before.map_or(i64::MAX, |day| day.start().millis());
        let mut builder = Builder::new(wanted.acts);
        builder.events = wanted.fold.as_ref().map(|inputs| {
            let mut hash = Sha256::new();
            inputs.hash(&mut hash);
            hash
        });
        lake.scan(None, None, &mut |events: &[Event]| {
            events.iter().filter(|event| event.time.millis() < before).for_each(|event| builder.add(event));
            Ok(())
        })?;
        let data = builder.finish()?;
        Ok(Self { fold: wanted.fold.map(|inputs| (lake.clone(), inputs)), ..data })
    }

    /// The same from events at hand.
    ///
    /// # Errors
    /// When there is no purchase of a known shopper among them.
    pub fn from_events(events: &[Event]) -> Result<Self, TrainError> {
        let mut builder = Builder::default();
        events.iter().for_each(|event| builder.add(event));
        builder.finish()
    }

    /// The same with all that shoppers and visits did.
    ///
    /// # Errors
    /// As [`ShopData::from_events`].
    pub fn from_events_with_acts(events: &[Event]) -> Result<Self, TrainError> {
        let mut sorted: Vec<&Event> = events.iter().collect();
        // As the lake has them.
        sorted.sort_by(|a, b| (a.time, &a.event_id).cmp(&(b.time, &b.event_id)));
        let mut builder = Builder::new(true);
        sorted.into_iter().for_each(|event| builder.add(event));
        builder.finish()
    }

    /// Adds what is said of the items. Those that nobody bought yet are numbered behind the others, so that they can be
    /// recommended. A vector of another length than the first is left out; prices are put into `bands` of equally many
    /// items.
    #[must_use]
    pub fn with_item_sides(mut self, said: &BTreeMap<ItemId, ItemSide>, bands: usize) -> Self {
        let cold = said.keys().filter(|item| self.vocabulary.idx(item).is_none()).cloned();
        let items: Vec<ItemId> = self.vocabulary.items().iter().cloned().chain(cold).collect();
        let nothing = ItemSide::default();
        let sides: Vec<&ItemSide> = items.iter().map(|item| said.get(item).unwrap_or(&nothing)).collect();
        let mut hash = Sha256::new();
        hash.update(&self.fingerprint);
        hash.update((bands as u64).to_le_bytes());
        for (item, side) in items.iter().zip(&sides) {
            for text in [item.as_str(), side.category.as_deref().unwrap_or_default()] {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
            hash.update(side.price.unwrap_or(-1.0).to_le_bytes());
            side.vector.iter().for_each(|value| hash.update(value.to_le_bytes()));
        }
        self.fingerprint = hex(&hash.finalize());
        self.vocabulary = Arc::new(Vocabulary::new(items));
        self.sides = Arc::new(item_sides(&sides, bands));
        self.numbered()
    }

    /// Adds where shoppers live, by their records. Records that say nothing of a buyer change nothing.
    #[must_use]
    pub fn with_departments(mut self, records: &[User]) -> Self {
        let known: FxHashMap<&UserId, Department> =
            records.iter().filter_map(|user| Some((&user.user_id, user.department()?))).collect();
        let departments: Vec<_> = self.users.iter().map(|user| known.get(user).copied()).collect();
        if departments.iter().all(Option::is_none) {
            return self;
        }
        let mut hash = Sha256::new();
        hash.update(&self.fingerprint);
        hash.update("departments");
        departments.iter().for_each(|department| hash.update([department.map_or(0, Department::number)]));
        self.fingerprint = hex(&hash.finalize());
        self.departments = Arc::new(departments);
        self
    }

    /// Lists and looks by the present numbers of items and shoppers.
    fn numbered(mut self) -> Self {
        if !(self.lists.is_empty() && self.looks.is_empty()) {
            let numbers: FxHashMap<&UserId, u32> = self.users.iter().zip(0..).collect();
            let number = |user: &UserId| numbers.get(user).copied();
            self.shown = Arc::new(self.lists.numbered(&self.vocabulary, number));
            self.looked = Arc::new(self.looks.looked(&self.vocabulary, number));
        }
        self
    }

    /// What is known at `until` (ms): purchases strictly before.
    pub fn interactions(&self, until: i64) -> Interactions {
        let end = self.purchases.partition_point(|purchase| purchase.time < until);
        let data = Interactions::from_purchases(Arc::clone(&self.vocabulary), &self.purchases[..end], until);
        let data = data.with_sides(Arc::clone(&self.sides)).with_shown(Arc::clone(&self.shown));
        let data = data.with_looked(Arc::clone(&self.looked)).with_fold(self.fold(&self.vocabulary));
        data.with_departments(Arc::clone(&self.departments)).with_journeys(Arc::clone(&self.journeys))
    }

    /// The shop's features at every moment, items by the numbers of a vocabulary; none where features are not read.
    pub(crate) fn fold(&self, vocabulary: &Arc<Vocabulary>) -> Option<Arc<dyn FoldPast>> {
        let (lake, inputs) = self.fold.clone()?;
        let (users, vocabulary) = (Arc::clone(&self.users), Arc::clone(vocabulary));
        Some(Arc::new(LakeFold { lake, inputs, users, vocabulary }))
    }

    /// Other purchases and journeys by the same numbers.
    pub(crate) fn of_purchases(&self, purchases: Vec<Purchase>, journeys: Arc<Vec<Journey>>) -> Self {
        Self { purchases, journeys, ..self.clone() }
    }

    /// One past the time of the last purchase, in milliseconds.
    pub fn end(&self) -> i64 {
        self.purchases.last().map_or(0, |purchase| purchase.time + 1)
    }
}

/// A part is there where something is known of any item.
fn item_sides(sides: &[&ItemSide], bands: usize) -> ItemSides {
    let width = sides.iter().map(|side| side.vector.len()).find(|length| *length > 0);
    let vector = |side: &&ItemSide, width| match side.vector.len() == width {
        true => side.vector.clone(),
        false => vec![0.0; width],
    };
    let text = width.map(|width| {
        let values = sides.iter().flat_map(|side| vector(side, width)).collect();
        ItemVectors { width, values }
    });
    let path = |side: &&ItemSide| side.category.as_deref().map(category_path).unwrap_or_default();
    let categories = ItemLabels::new(&sides.iter().map(path).collect::<Vec<_>>());
    let bands = price_bands(&sides.iter().map(|side| side.price).collect::<Vec<_>>(), bands);
    let some = |labels: ItemLabels| (labels.count() > 0).then_some(labels);
    ItemSides { text, categories: some(categories), price_bands: some(bands) }
}

/// A purchase with its names.
struct Line {
    time: i64,
    user: UserId,
    order: String,
    item: ItemId,
}

#[derive(Default)]
struct Builder {
    lines: Vec<Line>,
    lists: ListsBuilder,
    looks: JourneysBuilder,
    /// Where acts are read.
    journeys: Option<JourneysBuilder>,
    /// Where features are read: the fingerprint of all events, for any of them may count.
    events: Option<Sha256>,
}

impl Builder {
    fn new(acts: bool) -> Self {
        Self { journeys: acts.then(JourneysBuilder::default), ..Self::default() }
    }

    fn add(&mut self, event: &Event) {
        self.lists.add(event);
        self.looks.add_look(event);
        if let Some(hash) = &mut self.events {
            // Texts and numbers, which JSON always takes.
            hash.update(serde_json::to_vec(event).unwrap_or_default());
        }
        if let Some(journeys) = &mut self.journeys {
            journeys.add(event);
        }
        let (Some(user), Some(item)) = (&event.user_id, &event.item_id) else { return };
        if !event.is_paid() {
            return;
        }
        let order = match &event.order_id {
            Some(order) => order.as_str().to_owned(),
            None => format!("day {}", event.time.lima_day()),
        };
        self.lines.push(Line { time: event.time.millis(), user: user.clone(), order, item: item.clone() });
    }

    fn finish(mut self) -> Result<ShopData, TrainError> {
        if self.lines.is_empty() {
            return Err(TrainError::NoPurchases);
        }
        let key = |line: &Line| (line.time, line.user.clone(), line.order.clone(), line.item.clone());
        self.lines.sort_by_cached_key(key);
        if !self.looks.is_empty() {
            self.lines.iter().for_each(|line| self.looks.add_bought(&line.user, &line.item, line.time));
        }
        let looks = self.looks.finish();
        let mut seen = FxHashSet::default();
        self.lines.retain(|line| seen.insert((line.user.clone(), line.order.clone(), line.item.clone())));
        let lists = self.lists.finish();
        let journeys = self.journeys.map(JourneysBuilder::finish);
        let mut hash = hash(&self.lines, &lists);
        if !looks.is_empty() {
            hash.update(b"looks");
            looks.hash(&mut hash);
        }
        if let Some(events) = self.events {
            hash.update(events.finalize());
        }
        let mut items: Vec<ItemId> = self.lines.iter().map(|line| line.item.clone()).collect();
        items.sort();
        items.dedup();
        if let Some(journeys) = &journeys {
            journeys.hash(&mut hash);
            items.extend(journeys.items_beside(&items));
        }
        let vocabulary = Arc::new(Vocabulary::new(items));
        let mut users = Numbers::default();
        let mut orders = Numbers::default();
        let mut purchases = Vec::with_capacity(self.lines.len());
        for line in self.lines {
            let order = orders.of((line.user.clone(), line.order));
            let Some(item) = vocabulary.idx(&line.item) else { continue };
            purchases.push(Purchase { user: users.of(line.user), item, time: line.time, order });
        }
        // Behind the buyers those who were shown a list: of them too it is known what they did.
        for user in lists.users() {
            users.of(user.clone());
        }
        let number = |user: &UserId| users.index.get(user).copied();
        let numbers = |items: &[ItemId]| {
            items.iter().map(|item| vocabulary.idx(item).unwrap_or(ItemIdx::PADDING)).collect()
        };
        let journeys = journeys.map(|journeys| journeys.numbered(numbers, number));
        let data = ShopData {
            vocabulary,
            users: Arc::new(users.names),
            purchases,
            fingerprint: hex(&hash.finalize()),
            journeys: Arc::new(journeys.unwrap_or_default()),
            sides: Arc::default(),
            shown: Arc::default(),
            departments: Arc::default(),
            looked: Arc::default(),
            lists: Arc::new(lists),
            looks: Arc::new(looks),
            fold: None,
        };
        Ok(data.numbered())
    }
}

fn hash(lines: &[Line], lists: &Lists) -> Sha256 {
    let mut hash = Sha256::new();
    for line in lines {
        hash.update(line.time.to_le_bytes());
        for text in [line.user.as_str(), &line.order, line.item.as_str()] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
    }
    lists.hash(&mut hash);
    hash
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
