//! The shop's features in a ranking, from the lake to the lists.
#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use qhatu_features::{Asking, Declarations, Reading, State};
use qhatu_models::{FoldAsked, FoldColumn, FoldPast};
use qhatu_schema::{
    Event, EventId, EventKind, Item, ItemId, ItemIdx, OrderId, SessionId, Timestamp, UserId, UserIdx,
};
use qhatu_store::{EventLog, Lake, MemoryLog};
use qhatu_train::{FoldInputs, ShopData, Split, TestSet, TrainConfig, Wanted, evaluate};
use tempfile::TempDir;

const DAY: i64 = 86_400_000;
const MINUTE: i64 = 60_000;
const START: i64 = 1_780_000_000_000;
const ITEMS: u64 = 60;
const OWN: &str = r#"
[[feature]]
name = "looks_3d"
entity = "user_item"
aggregate = "count"
events = ["view"]
window_days = 3
meaning = "How often the shopper looked at the product of late"

[[feature]]
name = "last_look"
entity = "user_category"
aggregate = "last"
events = ["view"]
meaning = "When the shopper last looked at a product of the category"

[[feature]]
name = "first_word"
entity = "user"
aggregate = "first"
of = "query"
events = ["search"]
meaning = "What was searched for first"
"#;

/// A number that tells nothing of those beside it (Steele and Vigna's SplitMix64).
fn mixed(number: u64) -> u64 {
    let mut own = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    own = (own ^ (own >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    own = (own ^ (own >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (own ^ (own >> 31)) >> 8
}

fn event(id: String, time: i64, kind: EventKind, user: u64, item: u64) -> Event {
    let mut event = Event::new(EventId::new(&id).unwrap(), Timestamp::from_millis(START + time), kind);
    event.user_id = Some(UserId::new(format!("u{user:03}")).unwrap());
    event.session_id = Some(SessionId::new(format!("s{user}-{}", time / DAY)).unwrap());
    event.item_id = Some(ItemId::new(format!("i{item:02}")).unwrap());
    if kind == EventKind::Purchase {
        event.order_id = Some(OrderId::new(format!("o-{id}")).unwrap());
    }
    event
}

/// Shoppers who look at one thing, half an hour later come again and look at another, and the day after buy the first; what it
/// is depends on nothing.
fn shop(shoppers: u64) -> Vec<Event> {
    let mut events = Vec::new();
    for user in 0..shoppers {
        for visit in 0..4_u64 {
            let wanted = mixed(user * 4 + visit) % ITEMS;
            let start = visit as i64 * 30 * DAY + (user as i64 % 9) * DAY + user as i64 * 1000;
            let steps = [
                (EventKind::View, wanted, 0),
                (EventKind::View, (wanted + 7) % ITEMS, 31 * MINUTE),
                (EventKind::View, wanted, if visit == 3 { 12 * DAY } else { DAY } - 2 * MINUTE),
                (EventKind::Purchase, wanted, if visit == 3 { 12 * DAY } else { DAY }),
            ];
            for (place, (kind, item, after)) in steps.into_iter().enumerate() {
                events.push(event(format!("{user}-{visit}-{place}"), start + after, kind, user, item));
            }
        }
    }
    events.sort_by(|a, b| (a.time, &a.event_id).cmp(&(b.time, &b.event_id)));
    events
}

fn catalogue() -> Vec<Item> {
    let item = |number: u64| {
        let mut item = Item::new(ItemId::new(format!("i{number:02}")).unwrap());
        item.category = Some(format!("c{}", number % 10));
        item
    };
    (0..ITEMS).map(item).collect()
}

struct Shop {
    events: Vec<Event>,
    declarations: Arc<Declarations>,
    lake: Lake,
    _dir: TempDir,
}

impl Shop {
    fn new(shoppers: u64) -> Self {
        let dir = TempDir::new().unwrap();
        let (log, lake) = (MemoryLog::default(), Lake::open(dir.path().join("lake")).unwrap());
        let events = shop(shoppers);
        log.append(&events).unwrap();
        lake.compact(&log).unwrap();
        let declarations = Arc::new(Declarations::from_toml(OWN).unwrap());
        Self { events, declarations, lake, _dir: dir }
    }

    fn data(&self) -> ShopData {
        let inputs =
            FoldInputs { declarations: Arc::clone(&self.declarations), items: Arc::new(catalogue()) };
        ShopData::read(&self.lake, Wanted { fold: Some(inputs), ..Wanted::default() }).unwrap()
    }
}

fn fold(data: &ShopData) -> Arc<dyn FoldPast> {
    data.interactions(i64::MAX).fold.unwrap()
}

fn all(fold: &dyn FoldPast) -> Vec<FoldColumn> {
    fold.columns(&["all".to_owned()]).unwrap()
}

#[test]
fn what_was_known_at_a_moment_is_what_the_live_fold_knew_then() {
    let shop = Shop::new(12);
    let data = shop.data();
    let fold = fold(&data);
    let mut columns = all(&*fold);
    columns.extend(fold.columns(&["session_views".to_owned()]).unwrap());
    let number = |event: &Event| {
        let own = data.users.iter().position(|user| Some(user) == event.user_id.as_ref());
        UserIdx(own.unwrap() as u32)
    };
    // In no order, some at one moment, of nobody, before all and after all events.
    let mut asked: Vec<FoldAsked> = shop
        .events
        .iter()
        .rev()
        .step_by(3)
        .map(|event| FoldAsked { user: Some(number(event)), time: event.time.millis() })
        .collect();
    asked.extend(asked.clone().iter().step_by(4));
    asked.extend(
        [i64::MIN / 2, START + 40 * DAY, START + 900 * DAY].map(|time| FoldAsked { user: None, time }),
    );
    let items: Vec<ItemIdx> = (0..=data.vocabulary.len() as u32 + 1).step_by(7).map(ItemIdx).collect();
    let reading = Reading::of(&shop.declarations, columns.iter().map(|column| column.name.as_str()));
    let seen = Mutex::new(vec![false; asked.len()]);
    fold.replay(&columns, &asked, &mut |moment| {
        for (place, then) in moment {
            let FoldAsked { user, time } = asked[*place];
            let mut state = State::new(Arc::clone(&shop.declarations));
            catalogue().iter().for_each(|item| state.set_item(item));
            shop.events
                .iter()
                .filter(|event| event.time.millis() < time)
                .for_each(|event| state.apply(event));
            let user = user.map_or("", |user| data.users[user.row()].as_str());
            let visit = shop.events.iter().find(|event| {
                event.time.millis() == time && event.user_id.as_ref().is_some_and(|id| id.as_str() == user)
            });
            let session = visit.and_then(|event| event.session_id.as_ref()).map_or("", |id| id.as_str());
            let ids = items.iter().map(|item| data.vocabulary.item(*item).map_or("", |id| id.as_str()));
            let expected =
                state.numbers(&reading, Asking { user, session }, ids, Timestamp::from_millis(time));
            let bits = |rows: Vec<f32>| rows.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            assert_eq!(bits(then.rows(&items)), bits(expected), "{user} at {time}");
            seen.lock().unwrap()[*place] = true;
        }
    })
    .unwrap();
    assert!(seen.into_inner().unwrap().into_iter().all(|seen| seen));
}

#[test]
fn journeys_hold_all_that_shoppers_did_with_items() {
    let shop = Shop::new(3);
    let data = shop.data();
    for user in [UserIdx(1), UserIdx(0)] {
        let journey = data.looked.journey(user).unwrap();
        let user = data.users[user.row()].clone();
        let own: Vec<&Event> =
            shop.events.iter().filter(|event| event.user_id.as_ref() == Some(&user)).collect();
        let did = journey.deeds.iter().map(|deed| (deed.time, deed.kind));
        assert!(did.eq(own.iter().map(|event| (event.time.millis(), event.kind))));
        for (deed, event) in journey.deeds.iter().zip(&own) {
            let item = event.item_id.as_ref().unwrap();
            match data.vocabulary.idx(item) {
                Some(known) => assert_eq!(deed.item, known),
                None => assert!(deed.item.row() > data.vocabulary.len()),
            }
        }
        let end = own.last().unwrap().time.millis() + 1;
        let last = |kind: EventKind, item: &ItemId| {
            let times = own.iter().filter(|event| event.kind == kind && event.item_id.as_ref() == Some(item));
            times.map(|event| event.time.millis()).max()
        };
        let items: BTreeSet<&ItemId> = own.iter().filter_map(|event| event.item_id.as_ref()).collect();
        let mut expected: Vec<i64> = items
            .into_iter()
            .filter_map(|item| {
                last(EventKind::View, item).filter(|look| last(EventKind::Purchase, item) < Some(*look))
            })
            .collect();
        expected.sort_unstable();
        let found: Vec<i64> = journey.looks_before(end).into_iter().map(|(_, time)| time).collect();
        assert_eq!(found, expected);
        assert!(!found.is_empty());
    }
}

fn config(split: Split, features: &[&str]) -> TrainConfig {
    let models = ["popularity", "recent_popularity", "lambda_mart"].map(str::to_owned).to_vec();
    let mut config =
        TrainConfig { models, split, test_days: 12, bootstrap_samples: 10, ..TrainConfig::default() };
    config.lambda_mart.models = vec!["popularity".to_owned()];
    config.lambda_mart.features = features.iter().map(ToString::to_string).collect();
    (config.lambda_mart.held_out_days, config.lambda_mart.retrieve) = (60.0, 5);
    (config.lambda_mart.trees.rounds, config.lambda_mart.trees.growth.min_rows_in_leaf) = (30, 5);
    config
}

fn ndcg(data: &ShopData, config: &TrainConfig) -> f64 {
    let work = TempDir::new().unwrap();
    let report = evaluate(data, config, work.path(), "test", &mut |_| {}).unwrap();
    let found = report.models.iter().find(|found| found.name == "lambda_mart").unwrap();
    found.targets["all"]["ndcg_at_10"].mean
}

#[test]
fn what_was_looked_at_is_found_where_purchases_tell_nothing() {
    let shop = Shop::new(150);
    let data = shop.data();
    let bought: Vec<Event> =
        shop.events.iter().filter(|event| event.kind == EventKind::Purchase).cloned().collect();
    let bought = ShopData::from_events(&bought).unwrap();
    for split in [Split::Time, Split::LeaveOneOut] {
        let config_with = config(split, &["looks_3d", "last_look"]);
        assert!(config_with.wants().fold);
        let with = ndcg(&data, &config_with);
        let looks = ndcg(&data, &config(split, &[]));
        let blind = ndcg(&bought, &config(split, &[]));
        assert!(with > 0.5 && looks > 0.5, "{split:?}: {with} with features, {looks} with looks alone");
        assert!(blind < 0.2, "{split:?}: {blind}");
    }
}

#[test]
fn features_are_part_of_the_fingerprint() {
    let shop = Shop::new(3);
    let data = shop.data();
    assert_eq!(data.fingerprint, shop.data().fingerprint);
    assert_ne!(data.fingerprint, ShopData::from_lake(&shop.lake).unwrap().fingerprint);
    let other = |text: &str, items: Vec<Item>| {
        let declarations = Arc::new(Declarations::from_toml(text).unwrap());
        let inputs = FoldInputs { declarations, items: Arc::new(items) };
        ShopData::read(&shop.lake, Wanted { fold: Some(inputs), ..Wanted::default() }).unwrap().fingerprint
    };
    assert_eq!(other(&OWN.replace("of late", "lately"), catalogue()), data.fingerprint);
    assert_ne!(other(&OWN.replace("window_days = 3", "window_days = 4"), catalogue()), data.fingerprint);
    let mut items = catalogue();
    items[3].category = None;
    assert_ne!(other(OWN, items), data.fingerprint);
}

#[test]
fn features_that_are_none_are_refused_by_name() {
    let shop = Shop::new(20);
    let data = shop.data();
    let said = |features: &[&str]| {
        let work = TempDir::new().unwrap();
        evaluate(&data, &config(Split::LeaveOneOut, features), work.path(), "test", &mut |_| {})
            .unwrap_err()
            .to_string()
    };
    assert!(said(&["look_3d"]).contains("there is no feature \"look_3d\" (did you mean looks_3d?)"));
    assert!(said(&["first_word"]).contains("first_word is a text, and a column holds numbers"));
}

#[test]
fn nobody_is_told_of_what_came_after_they_were_asked() {
    let shop = Shop::new(150);
    let data = shop.data();
    for split in [Split::Time, Split::LeaveOneOut] {
        let test = TestSet::new(&data, &config(split, &["looks_3d"])).unwrap();
        let fold = test.train.fold.clone().unwrap();
        let columns = fold.columns(&["total_purchases".to_owned()]).unwrap();
        let asked: Vec<FoldAsked> = test
            .shoppers
            .iter()
            .map(|own| FoldAsked { user: Some(UserIdx(own.user)), time: own.now })
            .collect();
        fold.replay(&columns, &asked, &mut |moment| {
            for (place, then) in moment {
                assert_eq!(then.rows(&[ItemIdx(1)]), [test.shoppers[*place].items.len() as f32]);
            }
        })
        .unwrap();
    }
}
