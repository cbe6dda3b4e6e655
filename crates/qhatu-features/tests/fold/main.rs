//! The fold against a reference that keeps every event and counts by going through all of them.

#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

mod naive;
mod numbers;

use std::sync::Arc;

use proptest::prelude::*;
use qhatu_features::{Declarations, Entity, FeatureValue, Row, State};
use qhatu_schema::{
    Currency, DenseColumn, Event, EventColumns, EventId, EventKind, Item, ItemId, Labels, Money, OrderId,
    PurchaseState, RecommendationId, SessionId, Timestamp, UserId,
};

const DAY: i64 = 86_400_000;
const START: i64 = 1_700_006_400_000;
const EXTRA: &str = include_str!("extra.toml");

/// Events of few shoppers and products within 90 days, many at one moment or at the border of a Lima
/// day, some without price, order or visit, purchases in every state.
fn event() -> impl Strategy<Value = Event> {
    use PurchaseState::{Created, Expired, Paid, Refunded};
    let state = prop::sample::select(vec![Paid, Paid, Paid, Refunded, Created, Expired]);
    let kind = prop::sample::select(EventKind::ALL.to_vec());
    let within = prop::sample::select(vec![0, 1, 5 * 3_600_000 - 1, 5 * 3_600_000, 40_000_000]);
    let day = prop_oneof![0..90_i64, 30..34_i64];
    let who = (0..3_u8, 0..3_u8, prop::option::of(0..4_u8), prop::option::of(0..3_u8));
    let pieces = (1..4_u32, prop::option::of(0..9_i64), any::<bool>());
    (kind, state, day, within, who, pieces).prop_map(|(kind, state, day, within, who, pieces)| {
        let time = Timestamp::from_millis(START + day * DAY + within);
        let mut event = Event::new(EventId::new("later").unwrap(), time, kind);
        event.user_id = (who.0 > 0).then(|| UserId::new(format!("u{}", who.0)).unwrap());
        event.session_id = who.3.map(|visit| SessionId::new(format!("s{visit}")).unwrap());
        let item = ItemId::new(format!("i{}", who.1)).unwrap();
        match kind {
            EventKind::Impression => event.items = vec![item, ItemId::new("i3").unwrap()],
            EventKind::Search => event.query = Some(format!("q{}", who.1)),
            _ => event.item_id = Some(item),
        }
        if kind == EventKind::Purchase {
            event.state = Some(state);
            event.order_id = who.2.map(|order| OrderId::new(format!("o{order}")).unwrap());
        }
        let soles = Currency::parse("PEN").unwrap();
        event.price = pieces.1.map(|price| Money::from_micros(price * 333_333, soles));
        event.quantity = pieces.0;
        event.recommendation_id = pieces.2.then(|| RecommendationId::new("r").unwrap());
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

fn in_time(mut events: Vec<Event>) -> Vec<Event> {
    events.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| a.event_id.cmp(&b.event_id)));
    events
}

/// A catalogue with what shops leave out: i2 has no price, i3 no category, and i1 no event of its own kind.
fn items() -> Vec<Item> {
    let item = |id: &str, category: Option<&str>, price: Option<i64>, description: &str| {
        let mut item = Item::new(ItemId::new(id).unwrap());
        item.category = category.map(str::to_owned);
        item.price = price.map(|units| Money::from_micros(units * 1_000_000, Currency::PEN));
        item.description = description.to_owned();
        item
    };
    vec![
        item("i0", Some("mugs"), Some(7), "a mug"),
        item("i1", Some("mugs"), Some(9), "ñandú"),
        item("i2", Some("lamps"), None, ""),
        item("i3", None, Some(1), "x"),
        item("never seen", Some("lamps"), Some(2), "y"),
    ]
}

fn declarations() -> Arc<Declarations> {
    Arc::new(Declarations::from_toml(EXTRA).unwrap())
}

fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> State {
    let mut state = State::new(declarations());
    items().iter().for_each(|item| state.set_item(item));
    events.into_iter().for_each(|event| state.apply(event));
    state
}

/// Every entity that the tests ask for, with some of which nothing is known.
fn keys() -> Vec<(Entity, [&'static str; 2])> {
    let one = |entity: Entity, keys: &[&'static str]| {
        keys.iter().map(|key| (entity, [*key, ""])).collect::<Vec<_>>()
    };
    let mut all = one(Entity::User, &["u1", "u2", "nobody"]);
    all.extend(one(Entity::Item, &["i0", "i1", "i2", "i3", "nothing"]));
    all.extend(one(Entity::Session, &["s0", "s1", "nowhere"]));
    for user in ["u1", "u2", "nobody"] {
        all.extend(["i0", "i3", "nothing"].map(|item| (Entity::UserItem, [user, item])));
        all.extend(["mugs", "lamps", "none"].map(|category| (Entity::UserCategory, [user, category])));
    }
    all
}

fn rows_of(state: &State, now: Timestamp) -> Vec<Row> {
    keys().into_iter().map(|(entity, [key, other])| state.pair_row(entity, key, other, now)).collect()
}

/// Equal to the reference; what decays to nine digits, since the powers may be rounded otherwise.
fn assert_same(name: &str, found: &Option<FeatureValue>, expected: &Option<FeatureValue>) {
    match (found, expected) {
        (Some(FeatureValue::Number(found)), Some(FeatureValue::Number(expected))) => {
            assert!(
                (found - expected).abs() <= 1e-9 * expected.abs().max(1.0),
                "{name}: {found}, {expected}"
            );
        }
        _ => assert_eq!(found, expected, "{name}"),
    }
}

/// The expressions of the default and of the extra declarations, by hand.
fn expression(name: &str, row: &Row) -> Option<FeatureValue> {
    let number = |name: &str| match row[name] {
        Some(FeatureValue::Number(number)) => Some(number),
        _ => None,
    };
    let quotient = |over: f64, under: f64| (under != 0.0).then(|| FeatureValue::Number(over / under));
    match name {
        "engagement_score" => Some(FeatureValue::Number(
            number("user_views")? + number("user_searches")? + number("user_clicks")?,
        )),
        "avg_order_value" => quotient(number("user_spent")?, number("user_orders")?),
        "product_click_rate" => quotient(number("product_clicks")?, number("product_impressions")?),
        "purchase_conversion_rate" => {
            let kept = number("product_purchases")?;
            quotient(if kept < 0.0 { 0.0 } else { kept }, number("product_views")?)
        }
        "category_spent_per_order" => {
            let orders = number("category_orders")?;
            quotient(number("category_spent")?, if orders < 1.0 { 1.0 } else { orders })
        }
        other => panic!("the test does not know the expression {other}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    /// The fold = the reference, for every feature of every entity, known or not, at any moment.
    #[test]
    fn the_fold_is_what_the_reference_counts(events in events(), later in -120..360_i64) {
        let now = Timestamp::from_millis(START + 90 * DAY + later * DAY / 3);
        let state = fold(&events);
        for (entity, key) in keys() {
            let row = state.pair_row(entity, key[0], key[1], now);
            for feature in state.declarations().features().iter().filter(|own| own.entity == entity) {
                let expected = match feature.expression {
                    Some(_) => expression(&feature.name, &row),
                    None => naive::value(feature, key, &events, &items(), now),
                };
                assert_same(&format!("{} of {key:?}", feature.name), &row[&feature.name], &expected);
            }
        }
    }

    /// Any order of arrival, any snapshot in between, the catalogue before the events or after them, one by
    /// one or in columns: all end in the same rows, to the bit.
    #[test]
    fn the_order_of_arrival_does_not_matter(
        (events, shuffled) in events().prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle())),
        cut in 0..60_usize,
        day in 0..120_i64,
    ) {
        let now = Timestamp::from_millis(START + day * DAY);
        let cut = cut.min(shuffled.len());
        let mut resumed = State::new(declarations());
        resumed.apply_columns(&EventColumns::from_events(&shuffled[..cut]));
        let mut resumed = State::restore(declarations(), &resumed.snapshot().unwrap()).unwrap();
        shuffled[cut..].iter().for_each(|event| resumed.apply(event));
        let mut other = items()[0].clone();
        other.category = Some("another".to_owned());
        resumed.set_item(&other);
        items().iter().for_each(|item| resumed.set_item(item));
        prop_assert_eq!(rows_of(&fold(&events), now), rows_of(&resumed, now));
    }

    /// A row of training holds what was known just before the event, and nothing of its own moment.
    #[test]
    fn rows_before_an_event_are_what_was_known_then(events in events(), cut in 0..60_usize) {
        let events = in_time(events);
        let mut cut = cut.min(events.len());
        while cut > 0 && cut < events.len() && events[cut].time == events[cut - 1].time {
            cut -= 1;
        }
        let mut state = fold([]);
        let mut tables = [&events[..cut], &events[cut..]].map(|part| {
            state.rows(EventColumns::from_events(part)).unwrap()
        });
        for (row, event) in events.iter().enumerate() {
            let (table, row) = if row < cut { (&mut tables[0], row) } else { (&mut tables[1], row - cut) };
            let known = fold(events.iter().filter(|other| other.time < event.time));
            for (entity, key) in entities_of(event) {
                let expected = key.map(|[key, other]| known.pair_row(entity, key, other, event.time));
                for feature in known.declarations().features().iter().filter(|own| own.entity == entity) {
                    let found = cell(table.column(&feature.name).unwrap(), row);
                    let expected = expected.as_ref().and_then(|row| row[&feature.name].clone());
                    prop_assert_eq!(&found, &expected, "{} at {}", feature.name, event.event_id);
                }
            }
        }
        prop_assert_eq!(rows_of(&state, Timestamp::from_millis(START + 91 * DAY)), rows_of(&fold(&events), Timestamp::from_millis(START + 91 * DAY)));
    }

    /// A table as of a time has a row for each entity that was mentioned, and the rows are those of the state.
    #[test]
    fn tables_hold_the_rows_of_the_state(events in events(), day in 0..120_i64) {
        let now = Timestamp::from_millis(START + day * DAY);
        let state = fold(&events);
        for entity in Entity::ALL {
            let table = state.table(entity, now);
            let keys = state.keys(entity, now);
            prop_assert_eq!(table.rows(), keys.len());
            for (row, [key, other]) in keys.into_iter().enumerate() {
                for (name, expected) in state.pair_row(entity, key, other, now) {
                    prop_assert_eq!(cell(table.column(&name).unwrap(), row), expected.clone(), "{}", name);
                    if other.is_empty() {
                        let own = state.table_row(entity, key, now).unwrap();
                        prop_assert_eq!((own.rows(), cell(own.column(&name).unwrap(), 0)), (1, expected), "{}", name);
                    }
                }
            }
            prop_assert!(state.table_row(entity, "nobody", now).is_none());
        }
    }

    /// A server that forgets visits that are over answers as one that never does.
    #[test]
    fn forgotten_visits_are_not_missed(events in events()) {
        let events = in_time(events);
        let mut forgetful = fold([]);
        for (place, event) in events.iter().enumerate() {
            forgetful.forget_visits_before(event.time);
            forgetful.apply(event);
            let whole = fold(&events[..=place]);
            for visit in ["s0", "s1", "s2"] {
                let row = |state: &State| state.row(Entity::Session, visit, event.time);
                prop_assert_eq!(row(&forgetful), row(&whole));
            }
        }
    }
}

/// The entities of an event with their keys; none where it has no such entity.
fn entities_of(event: &Event) -> Vec<(Entity, Option<[&str; 2]>)> {
    let user = event.user_id.as_ref().map(|id| id.as_str());
    let item = event.item_id.as_ref().map(|id| id.as_str());
    let visit = event.session_id.as_ref().map(|id| id.as_str());
    let category = match item {
        Some("i0" | "i1") => Some("mugs"),
        Some("i2") => Some("lamps"),
        _ => None,
    };
    vec![
        (Entity::User, user.map(|id| [id, ""])),
        (Entity::Item, item.map(|id| [id, ""])),
        (Entity::Session, visit.map(|id| [id, ""])),
        (Entity::UserItem, user.zip(item).map(|(user, item)| [user, item])),
        (Entity::UserCategory, user.zip(category).map(|(user, category)| [user, category])),
    ]
}

fn cell(column: &DenseColumn, row: usize) -> Option<FeatureValue> {
    let text = |text: &str| (!text.is_empty()).then(|| FeatureValue::Text(text.to_owned()));
    match column {
        DenseColumn::Float(values) => (!values[row].is_nan()).then(|| FeatureValue::Number(values[row])),
        DenseColumn::Time(values) => {
            (values[row] >= 0).then(|| FeatureValue::Time(Timestamp::from_millis(values[row])))
        }
        DenseColumn::Text(texts) => text(texts.get(row)),
        DenseColumn::Label(labels) => text(Labels::get(labels, row)),
    }
}

#[test]
fn a_snapshot_of_other_features_is_refused() {
    let snapshot = State::new(Arc::new(Declarations::default())).snapshot().unwrap();
    assert!(State::restore(declarations(), &snapshot).is_err());
    assert!(State::restore(Arc::new(Declarations::default()), &snapshot[..snapshot.len() / 2]).is_err());
    assert!(State::restore(Arc::new(Declarations::default()), &snapshot).is_ok());
}

#[test]
fn rows_of_unsorted_events_are_refused() {
    let at =
        |time: i64| Event::new(EventId::new("e").unwrap(), Timestamp::from_millis(time), EventKind::View);
    let columns = EventColumns::from_events(&[at(2), at(1)]);
    assert!(fold([]).rows(columns).unwrap_err().to_string().contains("sorted by time"));
}

/// The page of the built-in features is up to date; `QHATU_WRITE_DOCS=1 cargo test -p qhatu-features` writes it.
#[test]
fn the_reference_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/features.md");
    let page = Declarations::default().catalogue_page();
    if std::env::var_os("QHATU_WRITE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == page,
        "docs/reference/features.md is out of date: run QHATU_WRITE_DOCS=1 cargo test -p qhatu-features"
    );
}
