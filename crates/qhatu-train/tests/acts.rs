//! Views and carts as events of the sequence models, from a shop's events to their lists.
#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

use std::collections::BTreeMap;

use qhatu_models::sequence::Steps;
use qhatu_models::{Act, Told, sasrec};
use qhatu_schema::{Event, EventKind};
use qhatu_train::{ShopData, Split, TestSet, TrainConfig, evaluate};
use serde::Deserialize;
use tempfile::TempDir;

const DAY: u64 = 86_400_000;
const ITEMS: u64 = 20;

fn event(id: &str, time: u64, kind: &str, who: &str, item: u64) -> Event {
    let time = qhatu_schema::Timestamp::from_millis(1_780_000_000_000 + time as i64);
    let text =
        format!(r#"{{"event_id":"{id}","time":"{time}","kind":"{kind}",{who},"item_id":"i{item:02}"}}"#);
    serde_json::from_str(&text).unwrap()
}

/// A number that tells nothing of those beside it (Steele and Vigna's SplitMix64).
fn mixed(number: u64) -> u64 {
    let mut own = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    own = (own ^ (own >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    own = (own ^ (own >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (own ^ (own >> 31)) >> 8
}

/// Shoppers, every third of whom never says who they are, who look at two items, put one into the cart, look at the other
/// again, and buy what lies in the cart a day later. Item 20 is only ever looked at. What is bought does not depend on what
/// was bought before.
fn shop() -> Vec<Event> {
    let mut events = Vec::new();
    for shopper in 0..150_u64 {
        let who = match shopper % 3 {
            0 => format!(r#""session_id":"s{shopper}""#),
            _ => format!(r#""user_id":"u{shopper}""#),
        };
        for visit in 0..3 {
            let mixed = mixed(shopper * 3 + visit);
            let wanted = mixed % (ITEMS - 1);
            let other = (wanted + 1 + mixed / 64 % (ITEMS - 2)) % (ITEMS - 1);
            // The last order of all lies within the test window, the visit before it.
            let start = visit * 40 * DAY + shopper % 9 * DAY + shopper * 1000;
            let steps = [
                ("view", other, 0),
                ("view", wanted, 60_000),
                ("add_to_cart", wanted, 120_000),
                ("view", other, 180_000),
                ("purchase", wanted, if visit == 2 { 12 * DAY } else { DAY }),
            ];
            for (place, (kind, item, after)) in steps.into_iter().enumerate() {
                events.push(event(&format!("{shopper}-{visit}-{place}"), start + after, kind, &who, item));
            }
        }
        events.push(event(&format!("{shopper}-x"), shopper * 1000, "view", &who, ITEMS));
    }
    events
}

fn bought(events: &[Event]) -> Vec<Event> {
    events.iter().filter(|event| event.kind == EventKind::Purchase).cloned().collect()
}

fn config(split: Split) -> TrainConfig {
    let mut sasrec = sasrec::Config {
        hidden_size: 16,
        num_hidden_layers: 1,
        num_attention_heads: 1,
        intermediate_size: 16,
        max_length: 16,
        hidden_dropout_prob: 0.0,
        item_dropout_prob: 0.0,
        learning_rate: 1e-2,
        warmup_steps: 5,
        ema_decay: 0.5,
        batch_size: 16,
        epochs: 20,
        validation_days: 30.0,
        recency_half_life_days: 0.0,
        refit: false,
        trend: false,
        steps: Steps::Items,
        ..sasrec::Config::default()
    };
    sasrec.inputs.event_kind = true;
    let models = ["popularity", "own_frequency", "sasrec"].map(str::to_owned).to_vec();
    TrainConfig { sasrec, models, split, test_days: 12, bootstrap_samples: 10, ..TrainConfig::default() }
}

fn ndcg(data: &ShopData, config: &TrainConfig, model: &str) -> f64 {
    let work = TempDir::new().unwrap();
    let report = evaluate(data, config, work.path(), "test", &mut |_| {}).unwrap();
    let found = report.models.iter().find(|found| found.name == model).unwrap();
    found.targets["all"]["ndcg_at_10"].mean
}

#[test]
fn what_was_put_into_the_cart_is_found_where_purchases_tell_nothing() {
    let events = shop();
    let data = ShopData::from_events_with_acts(&events).unwrap();
    for split in [Split::Time, Split::LeaveOneOut] {
        let config = config(split);
        assert!(config.wants().acts);
        let with = ndcg(&data, &config, "sasrec");
        let mut plain = config.clone();
        plain.sasrec.inputs.event_kind = false;
        let without = ndcg(&ShopData::from_events(&bought(&events)).unwrap(), &plain, "sasrec");
        assert!(with > 0.65 && without < 0.4, "{split:?}: {with} with acts, {without} without");
        // Told as if it had been bought, what was looked at says less.
        let looks = ndcg(&ShopData::from_events(&events).unwrap(), &plain, "sasrec");
        assert!(with > looks + 0.2, "{split:?}: {with} with acts, {looks} with looks");
    }
}

/// Without acts: the same looks, at their times, on items that anybody bought.
#[test]
fn every_model_is_told_what_was_looked_at() {
    let data = ShopData::from_events(&shop()).unwrap();
    assert!(data.journeys.is_empty());
    for split in [Split::Time, Split::LeaveOneOut] {
        let test = TestSet::new(&data, &config(split)).unwrap();
        let mut looks = 0;
        for own in &test.shoppers {
            let history = own.history();
            assert!(history.times.iter().all(|time| *time < own.now), "{split:?}");
            let seen = history.items.iter().zip(history.only_seen).filter(|(_, seen)| **seen);
            let bought = history.items.iter().zip(history.only_seen).filter(|(_, seen)| !**seen);
            assert!(bought.map(|(item, _)| *item).eq(own.items.iter().copied()), "{split:?}");
            // What lies in the cart is bought within the test.
            let relevant: Vec<u32> = seen.map(|(item, _)| item.0).collect();
            looks += usize::from(!relevant.is_empty());
        }
        assert!(looks > 80, "{split:?}: {looks} of {}", test.shoppers.len());
    }
    let without = ShopData::from_events(&bought(&shop())).unwrap();
    assert!(without.looked.is_empty() && !data.looked.is_empty());
    assert_ne!(without.fingerprint, data.fingerprint);
}

#[test]
fn nobody_is_told_of_what_came_after_they_were_asked() {
    let data = ShopData::from_events_with_acts(&shop()).unwrap();
    for split in [Split::Time, Split::LeaveOneOut] {
        let test = TestSet::new(&data, &config(split)).unwrap();
        assert!(test.shoppers.iter().all(|own| own.told.times.iter().all(|time| *time < own.now)));
        assert!(test.shoppers.iter().all(|own| own.told.bought().map(|step| step.0).eq(own.items.clone())));
        assert!(test.shoppers.iter().filter(|own| own.told.acts.contains(&Act::Carted)).count() > 50);
        let asked: BTreeMap<u32, i64> = test.shoppers.iter().map(|own| (own.user, own.now)).collect();
        for journey in test.train.journeys.iter() {
            let until = journey.user.and_then(|user| asked.get(&user.0)).copied().unwrap_or(i64::MAX);
            let told = journey.told_before(test.train.until);
            assert!(told.times.iter().all(|time| *time < until), "{split:?}");
        }
    }
}

#[test]
fn what_was_only_looked_at_is_an_item_where_acts_are_read_and_nothing_else_changes() {
    let events = shop();
    let (plain, with) =
        (ShopData::from_events(&events).unwrap(), ShopData::from_events_with_acts(&events).unwrap());
    assert!(plain.journeys.is_empty() && with.journeys.len() == 150);
    assert_eq!((plain.vocabulary.len(), with.vocabulary.len()), (19, 20));
    assert_eq!(plain.vocabulary.items(), &with.vocabulary.items()[..19]);
    assert_eq!((&plain.users, &plain.purchases), (&with.users, &with.purchases));
    assert_ne!(plain.fingerprint, with.fingerprint);
    let looked_less: Vec<Event> = events[1..].to_vec();
    assert_eq!(ShopData::from_events(&looked_less).unwrap().fingerprint, plain.fingerprint);
    assert_ne!(ShopData::from_events_with_acts(&looked_less).unwrap().fingerprint, with.fingerprint);
    let mut turned = events.clone();
    turned.reverse();
    assert_eq!(ShopData::from_events_with_acts(&turned).unwrap().fingerprint, with.fingerprint);
}

/// What a model is told, by name.
#[derive(Deserialize)]
struct Wanted {
    users: BTreeMap<String, Vec<(String, Act, i64)>>,
    visits: BTreeMap<String, Vec<(String, Act, i64)>>,
}

/// The server is held against the same file.
#[test]
fn training_is_told_what_the_server_tells() {
    let lines = include_str!("../../../tests/journeys/events.jsonl").lines();
    let events: Vec<Event> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let wanted: Wanted = serde_json::from_str(include_str!("../../../tests/journeys/told.json")).unwrap();
    let data = ShopData::from_events_with_acts(&events).unwrap();
    let named = |told: &Told| -> Vec<(String, Act, i64)> {
        let name = |place: usize| data.vocabulary.item(told.items[place]).unwrap().to_string();
        (0..told.len()).map(|place| (name(place), told.acts[place], told.times[place])).collect()
    };
    let of = |user: Option<&str>| -> Vec<_> {
        let own =
            data.journeys.iter().filter(|own| own.user.map(|user| data.users[user.row()].as_str()) == user);
        own.map(|own| named(&own.told_before(i64::MAX))).collect()
    };
    assert_eq!(wanted.users.len(), 3);
    for (user, told) in &wanted.users {
        assert_eq!(of(Some(user)), std::slice::from_ref(told), "{user}");
    }
    let visits = of(None);
    assert!(visits.len() == 2 && wanted.visits.values().all(|told| visits.contains(told)));
}
