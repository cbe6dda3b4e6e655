//! Many events side by side, a column per field: what the lake hands to the fold. Says the same as a
//! list of [`Event`]s, without a record for each of them.

use std::sync::Arc;

use crate::dense::{Labels, NO_INT, NO_TEXT, Texts};
use crate::{Event, EventKind, PurchaseState};

/// Lists of texts that repeat: those of row `r` are `codes[ends[r - 1]..ends[r]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lists {
    /// Where each row's list ends in `codes`.
    pub ends: Vec<usize>,
    /// The numbers of the texts, lists one behind the other.
    pub codes: Vec<u32>,
    /// The text of each number.
    pub texts: Arc<Texts>,
}

impl Lists {
    /// The numbers in a row's list.
    pub fn codes_of(&self, row: usize) -> &[u32] {
        let Some(end) = self.ends.get(row) else { return &[] };
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.codes[start..*end]
    }
}

/// Events by column. Every column has a value or a gap for each row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EventColumns {
    /// Identities.
    pub event_id: Texts,
    /// Milliseconds since the epoch.
    pub time: Vec<i64>,
    /// What happened.
    pub kind: Vec<EventKind>,
    /// Of purchases.
    pub state: Vec<Option<PurchaseState>>,
    /// Shoppers.
    pub user_id: Labels,
    /// Visits.
    pub session_id: Labels,
    /// Products.
    pub item_id: Labels,
    /// Orders.
    pub order_id: Labels,
    /// Pieces.
    pub quantity: Vec<u32>,
    /// Price of a piece in micros; [`NO_INT`] where nothing is said.
    pub price: Vec<i64>,
    /// Its currency.
    pub currency: Labels,
    /// What was searched for.
    pub query: Labels,
    /// What was shown.
    pub items: Lists,
    /// The served list.
    pub recommendation_id: Labels,
    /// What made the list.
    pub model_version: Labels,
}

impl EventColumns {
    /// Number of events.
    pub fn rows(&self) -> usize {
        self.time.len()
    }

    /// The columns of some events, in their order.
    pub fn from_events(events: &[Event]) -> Self {
        let labels = |of: fn(&Event) -> Option<&str>| events.iter().map(|e| of(e).unwrap_or("")).collect();
        let mut items = Lists::default();
        let shown: Labels = events.iter().flat_map(|event| &event.items).map(|id| id.as_str()).collect();
        let mut end = 0;
        for event in events {
            end += event.items.len();
            items.ends.push(end);
        }
        (items.codes, items.texts) = (shown.codes, shown.texts);
        Self {
            event_id: events.iter().map(|event| event.event_id.as_str()).collect(),
            time: events.iter().map(|event| event.time.millis()).collect(),
            kind: events.iter().map(|event| event.kind).collect(),
            state: events.iter().map(|event| event.state).collect(),
            user_id: labels(|event| event.user_id.as_ref().map(|id| id.as_str())),
            session_id: labels(|event| event.session_id.as_ref().map(|id| id.as_str())),
            item_id: labels(|event| event.item_id.as_ref().map(|id| id.as_str())),
            order_id: labels(|event| event.order_id.as_ref().map(|id| id.as_str())),
            quantity: events.iter().map(|event| event.quantity).collect(),
            price: events.iter().map(|event| event.price.map_or(NO_INT, |price| price.micros)).collect(),
            currency: labels(|event| event.price.as_ref().map(|price| price.currency.as_str())),
            query: labels(|event| event.query.as_deref()),
            items,
            recommendation_id: labels(|event| event.recommendation_id.as_ref().map(|id| id.as_str())),
            model_version: labels(|event| event.model_version.as_deref()),
        }
    }

    /// Puts the events of `other` behind its own.
    pub fn extend(&mut self, other: &Self) {
        self.event_id.extend(&other.event_id);
        self.time.extend_from_slice(&other.time);
        self.kind.extend_from_slice(&other.kind);
        self.state.extend_from_slice(&other.state);
        self.quantity.extend_from_slice(&other.quantity);
        self.price.extend_from_slice(&other.price);
        for (own, more) in self.labels_mut().into_iter().zip(other.labels()) {
            own.extend(more);
        }
        let shift = self.items.codes.len();
        self.items.ends.extend(other.items.ends.iter().map(|end| end + shift));
        let mut shown = Labels { codes: std::mem::take(&mut self.items.codes), texts: Arc::default() };
        std::mem::swap(&mut shown.texts, &mut self.items.texts);
        shown.extend(&Labels { codes: other.items.codes.clone(), texts: Arc::clone(&other.items.texts) });
        (self.items.codes, self.items.texts) = (shown.codes, shown.texts);
    }

    /// The same events by time and then id.
    #[must_use]
    pub fn sorted(self) -> Self {
        let key = |row: usize| (self.time[row], self.event_id.get(row));
        if (1..self.rows()).all(|row| key(row - 1) <= key(row)) {
            return self;
        }
        let mut order: Vec<usize> = (0..self.rows()).collect();
        order.sort_by(|a, b| key(*a).cmp(&key(*b)));
        self.in_order(&order)
    }

    /// Only the events before a moment, where they are sorted by time.
    #[must_use]
    pub fn before(self, time: i64) -> Self {
        let rows = self.time.partition_point(|at| *at < time);
        if rows == self.rows() { self } else { self.in_order(&(0..rows).collect::<Vec<_>>()) }
    }

    fn in_order(&self, order: &[usize]) -> Self {
        let labels = |labels: &Labels| Labels {
            codes: order.iter().map(|row| labels.codes.get(*row).copied().unwrap_or(NO_TEXT)).collect(),
            texts: Arc::clone(&labels.texts),
        };
        let mut items = Lists { texts: Arc::clone(&self.items.texts), ..Lists::default() };
        for row in order {
            items.codes.extend_from_slice(self.items.codes_of(*row));
            items.ends.push(items.codes.len());
        }
        Self {
            event_id: order.iter().map(|row| self.event_id.get(*row)).collect(),
            time: order.iter().map(|row| self.time[*row]).collect(),
            kind: order.iter().map(|row| self.kind[*row]).collect(),
            state: order.iter().map(|row| self.state[*row]).collect(),
            user_id: labels(&self.user_id),
            session_id: labels(&self.session_id),
            item_id: labels(&self.item_id),
            order_id: labels(&self.order_id),
            quantity: order.iter().map(|row| self.quantity[*row]).collect(),
            price: order.iter().map(|row| self.price[*row]).collect(),
            currency: labels(&self.currency),
            query: labels(&self.query),
            items,
            recommendation_id: labels(&self.recommendation_id),
            model_version: labels(&self.model_version),
        }
    }

    fn labels(&self) -> [&Labels; 8] {
        [
            &self.user_id,
            &self.session_id,
            &self.item_id,
            &self.order_id,
            &self.currency,
            &self.query,
            &self.recommendation_id,
            &self.model_version,
        ]
    }

    fn labels_mut(&mut self) -> [&mut Labels; 8] {
        [
            &mut self.user_id,
            &mut self.session_id,
            &mut self.item_id,
            &mut self.order_id,
            &mut self.currency,
            &mut self.query,
            &mut self.recommendation_id,
            &mut self.model_version,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventId, ItemId, Timestamp, UserId};

    fn event(id: &str, time: i64, items: &[&str]) -> Event {
        let mut event =
            Event::new(EventId::new(id).unwrap(), Timestamp::from_millis(time), EventKind::Impression);
        event.user_id = UserId::new(format!("u{id}")).ok();
        event.items = items.iter().map(|id| ItemId::new(id).unwrap()).collect();
        event
    }

    #[test]
    fn joining_and_sorting_give_the_columns_of_the_sorted_events() {
        let events = [event("b", 5, &["x", "y"]), event("a", 5, &[]), event("c", 1, &["y"])];
        let mut columns = EventColumns::from_events(&events[..1]);
        columns.extend(&EventColumns::from_events(&events[1..]));
        let sorted = columns.sorted();
        assert_eq!(sorted.event_id.iter().collect::<Vec<_>>(), ["c", "a", "b"]);
        assert_eq!((0..3).map(|row| sorted.user_id.get(row)).collect::<Vec<_>>(), ["uc", "ua", "ub"]);
        let shown = |row| -> Vec<&str> {
            sorted.items.codes_of(row).iter().map(|code| sorted.items.texts.get(*code as usize)).collect()
        };
        assert_eq!((shown(0), shown(1), shown(2)), (vec!["y"], vec![], vec!["x", "y"]));
        assert_eq!(sorted.clone().before(5).rows(), 1);
        assert_eq!(sorted.before(6).rows(), 3);
    }
}
