//! The fold against a reference that keeps every event and counts by going through all of them.

#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use qhatu_features::{Declarations, Entity, FeatureValue, State, point_in_time_rows};
use qhatu_schema::{
    Column, Currency, Event, EventId, EventKind, ItemId, Money, OrderId, PurchaseState, Timestamp, UserId,
};

const DAY: i64 = 86_400_000;
const START: i64 = 1_700_006_400_000;

/// Events of few shoppers and products within 200 days, many at one moment or at the border of a Lima
/// day, some without price or order, purchases in every state.
fn event() -> impl Strategy<Value = Event> {
    use EventKind::{Click, Impression, Purchase, Search, View};
    use PurchaseState::{Created, Paid, Refunded};
    let state = prop::sample::select(vec![Paid, Paid, Refunded, Created]);
    let kind = prop::sample::select(vec![View, Search, Click, Purchase, Purchase, Impression]);
    let within = prop::sample::select(vec![0, 1, 5 * 3_600_000 - 1, 5 * 3_600_000, 40_000_000]);
    let who = (0..3_u8, 0..3_u8, prop::option::of(0..4_u8));
    let pieces = (1..4_u32, prop::option::of(0..9_i64));
    (kind, state, 0..200_i64, within, who, pieces).prop_map(|(kind, state, day, within, who, pieces)| {
        let time = Timestamp::from_millis(START + day * DAY + within);
        let mut event = Event::new(EventId::new("later").unwrap(), time, kind);
        event.user_id = (who.0 > 0).then(|| UserId::new(format!("u{}", who.0)).unwrap());
        let item = ItemId::new(format!("i{}", who.1)).unwrap();
        match kind {
            Impression => event.items = vec![item],
            Search => {}
            _ => event.item_id = Some(item),
        }
        if kind == Purchase {
            event.state = Some(state);
            event.order_id = who.2.map(|order| OrderId::new(format!("o{order}")).unwrap());
        }
        let soles = Currency::parse("PEN").unwrap();
        event.price = pieces.1.map(|price| Money::from_micros(price * 333_333, soles));
        event.quantity = pieces.0;
        event
    })
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(event(), 0..60).prop_map(|mut events| {
        for (number, event) in events.iter_mut().enumerate() {
            event.event_id = EventId::new(format!("e{number}")).unwrap();
        }
        events
    })
}

fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> State {
    let mut state = State::new(Arc::new(Declarations::default()));
    events.into_iter().for_each(|event| state.apply(event));
    state
}

fn number(state: &State, entity: Entity, key: &str, name: &str, now: Timestamp) -> Option<f64> {
    match state.row(entity, key, now)[name] {
        Some(FeatureValue::Number(number)) => Some(number),
        _ => None,
    }
}

/// The features of one shopper, counted the long way.
fn check_shopper(own: &[&Event], state: &State, user: &str, now: Timestamp) {
    let found = |name: &str| number(state, Entity::User, user, name, now);
    let count = |kind: EventKind| own.iter().filter(|event| event.kind == kind).count() as f64;
    let paid: Vec<&Event> = own.iter().copied().filter(|event| event.is_paid()).collect();
    let back: Vec<&Event> = own.iter().copied().filter(|event| event.is_refund()).collect();
    let (views, searches, clicks) =
        (count(EventKind::View), count(EventKind::Search), count(EventKind::Click));
    assert_eq!(found("user_views"), Some(views));
    assert_eq!(found("user_searches"), Some(searches));
    assert_eq!(found("user_clicks"), Some(clicks));
    assert_eq!(found("engagement_score"), Some(views + searches + clicks));
    assert_eq!(found("total_purchases"), Some(paid.len() as f64 - back.len() as f64));
    let spent = |keep: &dyn Fn(&Event) -> bool| {
        let sum = |events: &[&Event]| -> i64 {
            let kept = events.iter().filter(|event| keep(event));
            kept.map(|event| event.price.map_or(0, |price| price.micros) * i64::from(event.quantity)).sum()
        };
        (sum(&paid) - sum(&back)) as f64 / 1e6
    };
    let today = now.lima_day();
    assert_eq!(found("user_spent"), Some(spent(&|_| true)));
    let recent = |event: &Event| (today.plus(-89)..=today).contains(&event.time.lima_day());
    assert_eq!(found("user_spent_90d"), Some(spent(&recent)));
    let order = |event: &&Event| match &event.order_id {
        Some(order) => order.to_string(),
        None => event.time.lima_day().to_string(),
    };
    let orders = paid.iter().map(order).collect::<BTreeSet<_>>().len();
    assert_eq!(found("user_orders"), Some(orders as f64));
    assert_eq!(found("avg_order_value"), (orders > 0).then(|| spent(&|_| true) / orders as f64));
    let last = paid.iter().map(|event| event.time).max();
    let first = paid.iter().map(|event| event.time).min();
    assert_eq!(state.row(Entity::User, user, now)["last_purchase_date"], last.map(FeatureValue::Time));
    let days = last.map(|last| f64::from(today.0 - last.lima_day().0));
    assert_eq!(found("days_since_last_purchase"), days);
    let gap = first
        .zip(last)
        .filter(|_| orders > 1)
        .map(|(first, last)| (last.millis() - first.millis()) as f64 / DAY as f64 / (orders - 1) as f64);
    assert_eq!(found("purchase_frequency"), gap);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The fold = the reference, for shoppers with and without a history, at any later moment.
    #[test]
    fn the_fold_counts_what_is_there(events in events(), later in 0..360_i64) {
        let now = Timestamp::from_millis(START + 200 * DAY + later * DAY / 3);
        let state = fold(&events);
        for user in ["u1", "u2", "nobody"] {
            let is_own = |event: &&Event| event.user_id.as_ref().is_some_and(|id| id.as_str() == user);
            check_shopper(&events.iter().filter(is_own).collect::<Vec<_>>(), &state, user, now);
        }
    }

    /// Any order of arrival, and any snapshot in between, ends in the same state.
    #[test]
    fn the_order_of_arrival_does_not_matter(
        (events, shuffled) in events().prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle())),
        cut in 0..60_usize,
    ) {
        let now = Timestamp::from_millis(START + 200 * DAY);
        let cut = cut.min(shuffled.len());
        let half = fold(&shuffled[..cut]).snapshot().unwrap();
        let mut resumed = State::restore(Arc::new(Declarations::default()), &half).unwrap();
        shuffled[cut..].iter().for_each(|event| resumed.apply(event));
        let state = fold(&events);
        for (entity, key) in [(Entity::User, "u1"), (Entity::User, "u2"), (Entity::Item, "i0"), (Entity::Item, "i2")] {
            prop_assert_eq!(state.row(entity, key, now), resumed.row(entity, key, now));
        }
    }

    /// A row of training holds what was known just before the event, and nothing of its own moment.
    #[test]
    fn rows_before_an_event_are_what_was_known_then(mut events in events()) {
        events.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| a.event_id.cmp(&b.event_id)));
        let table = point_in_time_rows(&Arc::new(Declarations::default()), &events, &[]).unwrap();
        let Some(Column::Float(spent)) = table.column("user_spent") else { panic!("no column") };
        let Some(Column::Float(bought)) = table.column("product_purchases") else { panic!("no column") };
        for (row, event) in events.iter().enumerate() {
            let known = fold(events.iter().filter(|other| other.time < event.time));
            let user = event.user_id.as_ref().map_or("", |id| id.as_str());
            let item = event.item_id.as_ref().map_or("", |id| id.as_str());
            prop_assert_eq!(spent[row], number(&known, Entity::User, user, "user_spent", event.time));
            prop_assert_eq!(bought[row], number(&known, Entity::Item, item, "product_purchases", event.time));
        }
    }
}

#[test]
fn a_snapshot_of_other_features_is_refused() {
    let snapshot = State::new(Arc::new(Declarations::default())).snapshot().unwrap();
    let more =
        "[[feature]]\nname = 'x'\nentity = 'user'\naggregate = 'count'\nevents = ['view']\nmeaning = 'x'";
    let more = Arc::new(Declarations::from_toml(more).unwrap());
    assert!(State::restore(more, &snapshot).is_err());
    assert!(State::restore(Arc::new(Declarations::default()), &snapshot[..snapshot.len() / 2]).is_err());
}
