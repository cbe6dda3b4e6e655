//! All that shoppers and visits did, out of a lake's views, clicks, carts and purchases: for models that read acts, and of those
//! who looked at anything for all models.
//!
//! An event with a user belongs to them; one with a session alone to a visit of whom nobody knows, which is somebody of its
//! own. Only paid purchases count, and what was given back was wanted once. What of it a model is told is
//! [`qhatu_models::Told`]'s to say, here and in the server. Memory: 24 bytes an event, 56 while it is read, and the ids
//! once.

use std::sync::Arc;

use qhatu_models::{Deed, Journey, Looked, OrderKey, Vocabulary};
use qhatu_schema::{Event, EventKind, ItemId, ItemIdx, SessionId, UserId, UserIdx};
use rustc_hash::FxHashSet;
use sha2::{Digest, Sha256};

use crate::numbers::Numbers;

/// A shopper, or a visit of whom nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    User(UserId),
    Visit(SessionId),
}

/// An event by the numbers of the builder.
#[derive(Debug, Clone, Copy)]
struct Line {
    who: u32,
    deed: Deed<u32>,
}

/// Takes events in order of (time, event id).
#[derive(Debug, Default)]
pub(crate) struct JourneysBuilder {
    who: Numbers<Who>,
    items: Numbers<ItemId>,
    orders: Numbers<String>,
    lines: Vec<Line>,
}

impl JourneysBuilder {
    pub(crate) fn add(&mut self, event: &Event) {
        let counts = match event.kind {
            EventKind::View | EventKind::Click | EventKind::AddToCart | EventKind::RemoveFromCart => true,
            EventKind::Purchase => event.is_paid(),
            EventKind::Search | EventKind::Impression => false,
        };
        let who = match (&event.user_id, &event.session_id) {
            (Some(user), _) => Who::User(user.clone()),
            (None, Some(session)) => Who::Visit(session.clone()),
            (None, None) => return,
        };
        let Some(item) = event.item_id.as_ref().filter(|_| counts) else { return };
        let time = event.time.millis();
        let who = self.who.of(who);
        let order = match event.kind {
            EventKind::Purchase => match OrderKey::of(event.order_id.as_ref(), time) {
                OrderKey::Id(id) => self.orders.of(format!("{who} {id}")),
                OrderKey::Day(day) => self.orders.of(format!("{who} day {day}")),
            },
            _ => 0,
        };
        let deed = Deed { time, item: ItemIdx(self.items.of(item.clone())), order, kind: event.kind };
        self.lines.push(Line { who, deed });
    }

    /// Adds what a known shopper showed interest in.
    pub(crate) fn add_look(&mut self, event: &Event) {
        if event.user_id.is_some() && event.kind != EventKind::Purchase {
            self.add(event);
        }
    }

    /// Adds a purchase of a shopper who looked at something, behind all looks.
    pub(crate) fn add_bought(&mut self, user: &UserId, item: &ItemId, time: i64) {
        let Some(who) = self.who.index.get(&Who::User(user.clone())).copied() else { return };
        let item = ItemIdx(self.items.of(item.clone()));
        let deed = Deed { time, item, order: 0, kind: EventKind::Purchase };
        self.lines.push(Line { who, deed });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(crate) fn finish(mut self) -> Journeys {
        // Stable: what happened at one time stays in its order.
        self.lines.sort_by_key(|line| (line.who, line.deed.time));
        Journeys { who: self.who.names, items: self.items.names, lines: self.lines }
    }
}

/// What everybody did, one behind another.
#[derive(Debug, Default)]
pub(crate) struct Journeys {
    who: Vec<Who>,
    items: Vec<ItemId>,
    lines: Vec<Line>,
}

impl Journeys {
    /// Adds what was done to the fingerprint of a shop's data.
    pub(crate) fn hash(&self, hash: &mut Sha256) {
        hash.update(b"journeys");
        for Line { who, deed } in &self.lines {
            let (sort, who) = match &self.who[*who as usize] {
                Who::User(user) => ("user", user.as_str()),
                Who::Visit(session) => ("visit", session.as_str()),
            };
            for text in [sort, who, self.items[deed.item.row()].as_str(), deed.kind.as_str()] {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
            hash.update(deed.time.to_le_bytes());
            hash.update(deed.order.to_le_bytes());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The items that are not among these, sorted.
    pub(crate) fn items_beside(&self, bought: &[ItemId]) -> Vec<ItemId> {
        let bought: FxHashSet<&ItemId> = bought.iter().collect();
        let mut others: Vec<ItemId> =
            self.items.iter().filter(|item| !bought.contains(item)).cloned().collect();
        others.sort();
        others
    }

    /// By the numbers of a vocabulary and of shoppers; an item that it has not has a number beyond it, one of its own.
    pub(crate) fn looked(&self, vocabulary: &Vocabulary, user: impl Fn(&UserId) -> Option<u32>) -> Looked {
        let numbers = |items: &[ItemId]| {
            let beyond = vocabulary.len() as u32 + 1;
            let number = |(place, item)| vocabulary.idx(item).unwrap_or(ItemIdx(beyond + place));
            (0..).zip(items).map(number).collect()
        };
        Looked::new(Arc::new(self.numbered(numbers, user)))
    }

    /// By numbers of the items, given for all at once, and of the shoppers.
    pub(crate) fn numbered(
        &self,
        numbers: impl FnOnce(&[ItemId]) -> Vec<ItemIdx>,
        user: impl Fn(&UserId) -> Option<u32>,
    ) -> Vec<Journey> {
        let numbers = numbers(&self.items);
        let journey = |lines: &[Line]| Journey {
            user: match &self.who[lines[0].who as usize] {
                Who::User(id) => user(id).map(UserIdx),
                Who::Visit(_) => None,
            },
            deeds: lines
                .iter()
                .map(|line| Deed { item: numbers[line.deed.item.row()], ..line.deed })
                .collect(),
        };
        self.lines.chunk_by(|a, b| a.who == b.who).map(journey).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qhatu_models::Act;

    fn journeys(events: &[&str]) -> Journeys {
        let mut builder = JourneysBuilder::default();
        events.iter().for_each(|text| builder.add(&serde_json::from_str(text).expect("an event")));
        builder.finish()
    }

    const EVENTS: [&str; 7] = [
        r#"{"event_id":"1","time":"2026-03-01T10:00:00Z","kind":"view","session_id":"s","item_id":"b"}"#,
        r#"{"event_id":"2","time":"2026-03-01T10:00:01Z","kind":"click","user_id":"ana","session_id":"s","item_id":"a"}"#,
        r#"{"event_id":"3","time":"2026-03-01T10:00:02Z","kind":"add_to_cart","session_id":"s","item_id":"b"}"#,
        r#"{"event_id":"4","time":"2026-03-01T10:00:03Z","kind":"purchase","user_id":"ana","item_id":"c","state":"created"}"#,
        r#"{"event_id":"5","time":"2026-03-01T10:00:04Z","kind":"purchase","user_id":"ana","item_id":"c","order_id":"o"}"#,
        r#"{"event_id":"6","time":"2026-03-01T10:00:05Z","kind":"purchase","user_id":"ana","item_id":"c","state":"refunded"}"#,
        r#"{"event_id":"7","time":"2026-03-01T10:00:06Z","kind":"view","item_id":"c"}"#,
    ];

    #[test]
    fn a_visit_of_whom_nobody_knows_is_somebody_of_its_own() {
        let found = journeys(&EVENTS);
        let ids = ["a", "b", "c"].map(|id| ItemId::new(id).expect("not empty"));
        let vocabulary = Vocabulary::new(ids.clone());
        let numbers = |items: &[ItemId]| items.iter().filter_map(|item| vocabulary.idx(item)).collect();
        let numbered = found.numbered(numbers, |user| (user.as_str() == "ana").then_some(4));
        let told: Vec<_> = numbered.iter().map(|own| (own.user, own.told_before(i64::MAX))).collect();
        assert_eq!(told.len(), 2);
        assert_eq!((told[0].0, told[0].1.items.as_slice()), (None, &[ItemIdx(2); 2][..]));
        assert_eq!(told[0].1.acts, [Act::Viewed, Act::Carted]);
        assert_eq!(
            (told[1].0, told[1].1.items.as_slice()),
            (Some(UserIdx(4)), &[ItemIdx(1), ItemIdx(3)][..])
        );
        assert_eq!(told[1].1.acts, [Act::Viewed, Act::Bought]);
        assert_eq!(found.items_beside(&ids[..1]), ids[1..]);
    }

    #[test]
    fn what_was_done_is_part_of_the_fingerprint() {
        let of = |events: &[&str]| {
            let mut hash = Sha256::new();
            journeys(events).hash(&mut hash);
            hash.finalize()
        };
        assert_eq!(of(&EVENTS), of(&EVENTS));
        assert_ne!(of(&EVENTS), of(&EVENTS[1..]));
        let carted = EVENTS[0].replace("view", "add_to_cart");
        assert_ne!(of(&EVENTS[..1]), of(&[carted.as_str()]));
    }
}
