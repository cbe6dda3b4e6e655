//! What models learn from never holds what judges them.
#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

use std::collections::BTreeMap;
use std::fs;

use qhatu_models::{History, TensorFile, load_model};
use qhatu_schema::{Department, Event, ItemId, Timestamp, User, UserId};
use qhatu_train::{ItemSide, MODELS, ShopData, Split, TestSet, TrainConfig, evaluate};
use tempfile::TempDir;

const DAY: i64 = 86_400_000;

/// 40 shoppers over 120 days; from day 95 on, within the last 28, what they buy is moved by `shift`.
fn shop(shift: u64) -> ShopData {
    let mut events = Vec::new();
    for shopper in 0..40_u64 {
        for visit in 0..12 {
            let day = visit * 10 + shopper % 9;
            let moved = if day >= 95 { shift } else { 0 };
            for line in 0..3 {
                let item = (shopper * 7 + visit * 5 + line * (1 + shopper % 4) + moved) % 25;
                let time = Timestamp::from_millis(1_780_000_000_000 + day as i64 * DAY);
                let text = format!(
                    r#"{{"event_id":"{shopper}-{visit}-{line}","time":"{time}","kind":"purchase","user_id":"u{shopper}","item_id":"i{item}","order_id":"{shopper}-{visit}"}}"#
                );
                events.push(serde_json::from_str::<Event>(&text).unwrap());
            }
        }
    }
    ShopData::from_events(&events).unwrap()
}

#[test]
fn no_row_that_judges_is_among_those_that_teach() {
    let data = shop(0);
    for split in [Split::Time, Split::LeaveOneOut] {
        let test = TestSet::new(&data, &TrainConfig { split, ..TrainConfig::default() }).unwrap();
        let taught: usize = test.train.sequences.iter().map(|sequence| sequence.items.len()).sum();
        let judged: usize = test.cases.iter().map(|case| case.relevant_all.len()).sum();
        assert!(taught + judged <= data.purchases.len(), "{split:?}");
        assert!(judged > 50 && taught > 50, "{split:?}: {taught} and {judged}");
        for shopper in &test.shoppers {
            assert!(shopper.evidence.times.iter().all(|time| *time < shopper.now), "{split:?}");
            let own = test.train.sequences.iter().find(|sequence| sequence.user.0 == shopper.user);
            let taught = own.map_or(&[][..], |own| &own.items);
            assert_eq!(taught, shopper.items, "{split:?}: asked with what was taught, and no more");
        }
    }
    let test = TestSet::new(&data, &TrainConfig::default()).unwrap();
    let (first, _) = test.window.unwrap();
    let start = first.start().millis();
    assert!(test.train.sequences.iter().flat_map(|s| &s.times).all(|time| *time < start));
}

/// Another test window, the same models to the bit: whatever happens in it, no model, its early stopping included, sees it.
#[test]
fn what_judges_does_not_change_what_is_fitted() {
    let fitted = |shift: u64| -> BTreeMap<String, TensorFile> {
        let work = TempDir::new().unwrap();
        let models = MODELS.map(str::to_owned).to_vec();
        let config = TrainConfig { bootstrap_samples: 1, models, ..TrainConfig::default() };
        evaluate(&shop(shift), &config, work.path(), "test", &mut |_| {}).unwrap();
        let files = fs::read_dir(work.path()).unwrap().map(|entry| entry.unwrap().path());
        let whole = files.filter(|path| path.extension().is_some_and(|ending| ending == "safetensors"));
        let read = |path: std::path::PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().split('-').next().unwrap().to_owned();
            (name, TensorFile::from_bytes(&fs::read(&path).unwrap()).unwrap())
        };
        whole.map(read).collect()
    };
    let (one, other) = (fitted(0), fitted(3));
    assert_ne!(shop(0).fingerprint, shop(3).fingerprint);
    assert_eq!(one.len(), MODELS.len());
    assert!(one == other, "a model has seen what judges it");
}

/// A sequence model that is told of titles, categories and prices knows an item that nobody bought, and one that is not
/// does not.
#[test]
fn a_sequence_model_knows_what_is_said_of_an_item_that_nobody_bought() {
    let item = |name: &str| ItemId::new(name).unwrap();
    let plain = shop(0);
    let vector = |place: usize| vec![(place % 2) as f32, 1.0];
    let mut said: BTreeMap<ItemId, ItemSide> = BTreeMap::new();
    for (place, id) in plain.vocabulary.items().iter().cloned().chain([item("a new one")]).enumerate() {
        let category = Some("A > B".to_owned());
        said.insert(id, ItemSide { vector: vector(place), category, price: Some(place as f64) });
    }
    let data = plain.with_item_sides(&said, 2);
    let new = data.vocabulary.idx(&item("a new one")).unwrap();
    for told in [true, false] {
        let work = TempDir::new().unwrap();
        let models = vec!["popularity".to_owned(), "sasrec".to_owned()];
        let mut config = TrainConfig { bootstrap_samples: 1, models, ..TrainConfig::default() };
        config.sasrec.epochs = 1;
        config.sasrec.inputs.text = told;
        config.sasrec.inputs.category = told;
        config.sasrec.inputs.price_band = told;
        assert_eq!(config.wants().text, told);
        evaluate(&data, &config, work.path(), "test", &mut |_| {}).unwrap();
        let mut files = fs::read_dir(work.path()).unwrap().map(|entry| entry.unwrap().path());
        let path = files.find(|path| path.to_string_lossy().contains("sasrec")).unwrap();
        let model = load_model(&TensorFile::from_bytes(&fs::read(path).unwrap()).unwrap()).unwrap();
        assert_eq!(model.similar_items(new, 3).is_empty(), !told);
    }
}

/// Where shoppers live is known to models and judges alike, and changes nothing where no record says it.
#[test]
fn where_shoppers_live_is_asked_and_taught() {
    let plain = shop(0);
    let record = |number: u32, ubigeo: &str| {
        let user_id = UserId::new(format!("u{number}")).unwrap();
        User { ubigeo: Some(ubigeo.to_owned()), ..User::new(user_id) }
    };
    let nowhere = plain.clone().with_departments(&[record(1, "999999"), record(1000, "150101")]);
    assert_eq!((&nowhere.fingerprint, nowhere.departments.len()), (&plain.fingerprint, 0));
    let records: Vec<User> =
        (0..20).map(|number| record(number, ["150101", "080101"][number as usize % 2])).collect();
    let data = plain.clone().with_departments(&records);
    let moved = plain.clone().with_departments(&records[1..]);
    assert!(data.fingerprint != plain.fingerprint && moved.fingerprint != data.fingerprint);
    let lives = |user: u32| {
        let number: u32 = data.users[user as usize].as_str()[1..].parse().unwrap();
        Department::of_ubigeo(["150101", "080101"][number as usize % 2]).filter(|_| number < 20)
    };
    for split in [Split::Time, Split::LeaveOneOut] {
        let models = vec!["popularity".to_owned(), "department_popularity".to_owned()];
        let config = TrainConfig { split, bootstrap_samples: 1, models, ..TrainConfig::default() };
        assert!(config.wants().departments && !TrainConfig::default().wants().departments);
        let test = TestSet::new(&data, &config).unwrap();
        for shopper in &test.shoppers {
            assert_eq!(shopper.history().department, lives(shopper.user), "{split:?}");
        }
        let all = test.train.sequences.iter().map(|own| (own.user.0, test.train.department(own.user)));
        assert!(all.clone().all(|(user, department)| department == lives(user)) && all.count() > 20);
        let report = |data: &ShopData| {
            let work = TempDir::new().unwrap();
            evaluate(data, &config, work.path(), "test", &mut |_| {}).unwrap()
        };
        let (told, untold) = (report(&data), report(&plain));
        assert!(told.models.iter().all(|model| model.baseline));
        let lists = |report: &qhatu_eval::Report| report.models[1].targets["all"]["coverage_at_10"].mean;
        assert!(lists(&told) >= lists(&untold), "{split:?}: two departments show at least as much as one");
    }
}

/// An item that nobody bought is in the lists of the model that reads titles, and the others keep their numbers.
#[test]
fn a_title_brings_an_item_that_nobody_bought_into_the_lists() {
    let work = TempDir::new().unwrap();
    let plain = shop(0);
    let item = |name: &str| ItemId::new(name).unwrap();
    let mut vectors: BTreeMap<ItemId, Vec<f32>> =
        plain.vocabulary.items().iter().map(|id| (id.clone(), vec![0.0, 1.0])).collect();
    vectors.insert(item("i3"), vec![1.0, 0.0]);
    vectors.insert(item("a new one"), vec![2.0, 0.1]);
    vectors.insert(item("no vector"), vec![1.0]);
    let models = vec!["popularity".to_owned(), "text_neighbours".to_owned()];
    let config = TrainConfig { bootstrap_samples: 1, models, ..TrainConfig::default() };
    let refused = evaluate(&plain, &config, work.path(), "test", &mut |_| {}).unwrap_err();
    assert!(refused.to_string().contains("[train.text_neighbours] model"), "{refused}");
    let said: BTreeMap<ItemId, ItemSide> = vectors
        .into_iter()
        .map(|(item, vector)| (item, ItemSide { vector, category: Some("A > B".into()), price: Some(1.5) }))
        .collect();
    let data = plain.clone().with_item_sides(&said, 10);
    assert_eq!(data.sides.categories.as_ref().unwrap().count(), 2);
    assert_eq!(data.sides.price_bands.as_ref().unwrap().count(), 1);
    assert!(
        plain.sides.text.is_none()
            && plain.clone().with_item_sides(&BTreeMap::new(), 10).sides == plain.sides
    );
    assert_ne!(data.fingerprint, plain.fingerprint);
    let known = plain.vocabulary.items();
    assert_eq!(&data.vocabulary.items()[..known.len()], known);
    evaluate(&data, &config, work.path(), "test", &mut |_| {}).unwrap();
    let mut files = fs::read_dir(work.path()).unwrap().map(|entry| entry.unwrap().path());
    let path = files.find(|path| path.to_string_lossy().contains("text_neighbours")).unwrap();
    let model = load_model(&TensorFile::from_bytes(&fs::read(path).unwrap()).unwrap()).unwrap();
    let bought = data.vocabulary.idx(&item("i3")).unwrap();
    let items = [bought];
    let history = History::bought(&items, &[0], 1);
    let first = model.recommend(&history, 1, &|item| item == bought);
    assert_eq!(data.vocabulary.item(first[0].item), Some(&item("a new one")));
}
