//! An event as the fold sees it, whether it came as an [`Event`] or as a row of [`EventColumns`].

use qhatu_schema::time::{DAY_MS, LIMA_BEHIND_UTC_MS};
use qhatu_schema::{Event, EventColumns, EventKind, NO_INT, PurchaseState, Timestamp};

/// A text of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    User,
    Session,
    Item,
    Order,
    Currency,
    Query,
    Recommendation,
    ModelVersion,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    Event(&'a Event),
    Row(&'a EventColumns, usize),
}

/// What the aggregates ask of an event.
#[derive(Clone, Copy)]
pub(crate) struct Happening<'a> {
    /// Milliseconds since the epoch.
    pub(crate) time: i64,
    /// The Lima day.
    pub(crate) day: i32,
    pub(crate) kind: EventKind,
    /// Of purchases.
    pub(crate) state: Option<PurchaseState>,
    pub(crate) quantity: u32,
    /// Of one piece, in micros.
    pub(crate) price: Option<i64>,
    /// Of the products shown, the one that is meant.
    shown: Option<&'a str>,
    source: Source<'a>,
}

impl<'a> Happening<'a> {
    pub(crate) fn of(event: &'a Event) -> Self {
        Self {
            time: event.time.millis(),
            day: event.time.lima_day().0,
            kind: event.kind,
            state: event.purchase_state(),
            quantity: event.quantity,
            price: event.price.map(|price| price.micros),
            shown: None,
            source: Source::Event(event),
        }
    }

    pub(crate) fn row(events: &'a EventColumns, row: usize) -> Self {
        let (time, kind, price) = (events.time[row], events.kind[row], events.price[row]);
        Self {
            time,
            day: Timestamp::from_millis(time).lima_day().0,
            kind,
            state: (kind == EventKind::Purchase).then(|| events.state[row].unwrap_or_default()),
            quantity: events.quantity[row],
            price: (price != NO_INT).then_some(price),
            shown: None,
            source: Source::Row(events, row),
        }
    }

    /// The same, of one of the products shown.
    pub(crate) fn showing(self, item: &'a str) -> Self {
        Self { shown: Some(item), ..self }
    }

    /// Price × quantity in micros.
    pub(crate) fn amount(&self) -> i64 {
        self.price.map_or(0, |price| price.saturating_mul(i64::from(self.quantity)))
    }

    pub(crate) fn lima_hour(&self) -> i64 {
        (self.time - LIMA_BEHIND_UTC_MS).rem_euclid(DAY_MS) / 3_600_000
    }

    pub(crate) fn event_id(&self) -> &'a str {
        match self.source {
            Source::Event(event) => event.event_id.as_str(),
            Source::Row(events, row) => events.event_id.get(row),
        }
    }

    /// A text; the empty one where the event does not say.
    pub(crate) fn text(&self, field: Field) -> &'a str {
        match (self.source, field) {
            (_, Field::Item) if self.shown.is_some() => self.shown.unwrap_or(""),
            (Source::Event(event), field) => text_of(event, field).unwrap_or(""),
            (Source::Row(events, row), field) => {
                let column = match field {
                    Field::User => &events.user_id,
                    Field::Session => &events.session_id,
                    Field::Item => &events.item_id,
                    Field::Order => &events.order_id,
                    Field::Currency => &events.currency,
                    Field::Query => &events.query,
                    Field::Recommendation => &events.recommendation_id,
                    Field::ModelVersion => &events.model_version,
                };
                column.get(row)
            }
        }
    }
}

fn text_of(event: &Event, field: Field) -> Option<&str> {
    match field {
        Field::User => event.user_id.as_ref().map(|id| id.as_str()),
        Field::Session => event.session_id.as_ref().map(|id| id.as_str()),
        Field::Item => event.item_id.as_ref().map(|id| id.as_str()),
        Field::Order => event.order_id.as_ref().map(|id| id.as_str()),
        Field::Currency => event.price.as_ref().map(|price| price.currency.as_str()),
        Field::Query => event.query.as_deref(),
        Field::Recommendation => event.recommendation_id.as_ref().map(|id| id.as_str()),
        Field::ModelVersion => event.model_version.as_deref(),
    }
}
