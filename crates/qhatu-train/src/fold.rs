//! The shop's features at every moment of the past: the lake, replayed through the fold that the server runs.
//!
//! In memory are the state and one day of events, however long the lake is. What the catalogue says of a product is what it
//! says now, and so is the category by which a shopper's dealings are summed up.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use qhatu_features::{Asking, Declarations, Reading, State, ValueType};
use qhatu_models::{FoldAsked, FoldColumn, FoldMoment, FoldNow, FoldPast, ModelError, Vocabulary};
use qhatu_schema::{EventColumns, Item, ItemIdx, Timestamp, UserId, UserIdx};
use qhatu_store::{Lake, StoreError};
use sha2::{Digest, Sha256};

/// Stands for the features of shoppers and products.
const ALL: &str = "all";

/// What the fold needs beside the events.
#[derive(Clone)]
pub struct FoldInputs {
    /// What features there are.
    pub declarations: Arc<Declarations>,
    /// The catalogue.
    pub items: Arc<Vec<Item>>,
}

impl fmt::Debug for FoldInputs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (features, items) = (self.declarations.features().len(), self.items.len());
        write!(formatter, "{features} features of {items} items")
    }
}

impl FoldInputs {
    /// Adds what features depend on, beside the events, to the fingerprint of a shop's data.
    pub(crate) fn hash(&self, hash: &mut Sha256) {
        hash.update(b"fold");
        let mut text = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        for feature in self.declarations.features() {
            text(&feature.name);
            text(&feature.aliases.join(" "));
            text(&self.declarations.definition(&feature.name).unwrap_or_default());
        }
        for item in self.items.iter() {
            text(item.item_id.as_str());
            text(item.category.as_deref().unwrap_or_default());
            let price = item.price.map_or(i64::MIN, |price| price.micros);
            text(&format!("{price} {}", item.description.chars().count()));
        }
    }
}

/// A lake as a fold; users and items by the numbers of a shop's data.
#[derive(Debug)]
pub(crate) struct LakeFold {
    pub(crate) lake: Lake,
    pub(crate) inputs: FoldInputs,
    pub(crate) users: Arc<Vec<UserId>>,
    pub(crate) vocabulary: Arc<Vocabulary>,
}

/// Why the lake is read no further.
enum End {
    Store(StoreError),
    /// Everybody was answered.
    Done,
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn ended(outcome: Result<(), End>) -> Result<(), ModelError> {
    match outcome {
        Ok(()) | Err(End::Done) => Ok(()),
        Err(End::Store(error)) => Err(ModelError::Fold { fault: error.to_string() }),
    }
}

/// The events of one moment, if there are any.
struct Moment<'a> {
    events: &'a EventColumns,
    rows: Range<usize>,
}

impl Moment<'_> {
    /// The visit in which a shopper did something at this moment.
    fn session_of(&self, user: &str) -> String {
        let own = self.rows.clone().filter(|row| !user.is_empty() && self.events.user_id.get(*row) == user);
        own.map(|row| self.events.session_id.get(row)).find(|id| !id.is_empty()).unwrap_or("").to_owned()
    }
}

/// The fold as it was for one who asked.
struct Then<'a> {
    state: &'a State,
    reading: &'a Reading,
    vocabulary: &'a Vocabulary,
    user: &'a str,
    session: String,
    time: i64,
}

impl fmt::Debug for Then<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the fold for {:?} at {}", self.user, Timestamp::from_millis(self.time))
    }
}

impl FoldNow for Then<'_> {
    fn rows(&self, items: &[ItemIdx]) -> Vec<f32> {
        let asking = Asking { user: self.user, session: &self.session };
        let ids = items.iter().map(|item| self.vocabulary.item(*item).map_or("", |id| id.as_str()));
        self.state.numbers(self.reading, asking, ids, Timestamp::from_millis(self.time))
    }
}

impl LakeFold {
    fn user(&self, user: Option<UserIdx>) -> &str {
        user.and_then(|user| self.users.get(user.row())).map_or("", |id| id.as_str())
    }

    /// Shows the state just before each of these moments, which rise.
    fn go_through(
        &self,
        moments: &[i64],
        show: &mut dyn FnMut(i64, &State, &Moment<'_>),
    ) -> Result<(), ModelError> {
        let mut state = State::new(Arc::clone(&self.inputs.declarations));
        self.inputs.items.iter().for_each(|item| state.set_item(item));
        let mut ahead = moments.iter().copied().peekable();
        let wanted = state.columns_needed();
        let outcome = self.lake.scan_columns(&wanted, &mut |events: EventColumns| {
            let Some((first, last)) = events.time.first().zip(events.time.last()) else { return Ok(()) };
            state.forget_visits_before(Timestamp::from_millis(*first));
            let mut row = 0;
            while let Some(moment) = ahead.next_if(|moment| moment <= last) {
                let until = events.time.partition_point(|time| *time < moment);
                state.apply_rows(&events, row..until);
                row = until;
                let rows = until..events.time.partition_point(|time| *time <= moment);
                show(moment, &state, &Moment { events: &events, rows });
            }
            if ahead.peek().is_none() {
                return Err(End::Done);
            }
            state.apply_rows(&events, row..events.rows());
            Ok(())
        });
        ended(outcome)?;
        let nothing = EventColumns::default();
        ahead.for_each(|moment| show(moment, &state, &Moment { events: &nothing, rows: 0..0 }));
        Ok(())
    }
}

impl FoldPast for LakeFold {
    fn columns(&self, names: &[String]) -> Result<Vec<FoldColumn>, ModelError> {
        let declarations = &self.inputs.declarations;
        let fault = |fault: String| ModelError::Fold { fault };
        let named = || -> Result<Vec<_>, ModelError> {
            let find = |name: &String| declarations.find(name).map_err(|error| fault(error.to_string()));
            names.iter().map(find).collect()
        };
        let features = match names {
            [name] if name == ALL => declarations.of_shoppers_and_products().collect(),
            _ => named()?,
        };
        let column = |feature: &qhatu_features::Feature| {
            if feature.value_type() == ValueType::Text {
                return Err(fault(format!("{} is a text, and a column holds numbers", feature.name)));
            }
            let definition =
                declarations.definition(&feature.name).map_err(|error| fault(error.to_string()))?;
            Ok(FoldColumn { name: feature.name.clone(), definition })
        };
        features.into_iter().map(column).collect()
    }

    fn replay(
        &self,
        columns: &[FoldColumn],
        asked: &[FoldAsked],
        show: &mut dyn FnMut(&FoldMoment<'_>),
    ) -> Result<(), ModelError> {
        let defined = columns.iter().map(|column| (column.name.as_str(), column.definition.as_str()));
        let reading = Reading::of_defined(&self.inputs.declarations, defined);
        let mut order: Vec<usize> = (0..asked.len()).collect();
        order.sort_by_key(|place| asked[*place].time);
        let mut moments: Vec<i64> = order.iter().map(|place| asked[*place].time).collect();
        moments.dedup();
        let mut groups = order.chunk_by(|a, b| asked[*a].time == asked[*b].time);
        self.go_through(&moments, &mut |time, state, moment| {
            let group = groups.next().unwrap_or_default();
            let then = |place: &usize| {
                let user = self.user(asked[*place].user);
                let session = moment.session_of(user);
                (*place, Then { state, reading: &reading, vocabulary: &self.vocabulary, user, session, time })
            };
            let group: Vec<(usize, Then<'_>)> = group.iter().map(then).collect();
            let group: Vec<(usize, &dyn FoldNow)> =
                group.iter().map(|(place, then)| (*place, then as &dyn FoldNow)).collect();
            show(&group);
        })
    }
}
