//! Settings are chosen before the test begins, by runs that are kept and not repeated.
#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

use qhatu_registry::{Gate, Registry, RunStatus};
use qhatu_schema::{Event, Timestamp};
use qhatu_store::open_documents;
use qhatu_train::{Found, Place, SearchConfig, ShopData, Split, Step, TestSet, TrainConfig, search};
use tempfile::TempDir;

const DAY: i64 = 86_400_000;
/// The test window's first day: the data's days are 0 to 128, and the last 28 judge.
const WINDOW: u64 = 101;

/// 60 shoppers over 129 days who buy in rounds, of two departments; in the test window something else by `shift`.
fn shop(shift: u64) -> ShopData {
    let mut events = Vec::new();
    for shopper in 0..60_u64 {
        for visit in 0..13 {
            let day = visit * 10 + shopper % 9;
            let moved = if day >= WINDOW { shift } else { 0 };
            for line in 0..3 {
                let item = (shopper % 2) * 15 + (shopper * 7 + visit * 5 + line + moved) % 15;
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

struct Bench {
    folder: TempDir,
    registry: Registry,
}

impl Bench {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let documents = open_documents(&folder.path().join("metadata")).unwrap();
        Self { registry: Registry::new(documents, folder.path().join("artifacts")), folder }
    }

    /// The found settings, and how many trials were fitted for them.
    fn search(&self, data: &ShopData, config: &TrainConfig) -> (TrainConfig, Vec<Found>, usize) {
        let place = Place {
            work: self.folder.path().join("work"),
            model: "recommender".to_owned(),
            gate: Gate::default(),
            code_version: "test".to_owned(),
        };
        let before = self.registry.runs().unwrap().len();
        let mut shown = 0;
        let (chosen, found) = search(data, config, &place, &self.registry, &mut |step| {
            shown += usize::from(matches!(step, Step::Trial { .. }));
        })
        .unwrap();
        let runs = self.registry.runs().unwrap();
        assert!(runs.iter().all(|run| run.status == RunStatus::Finished));
        assert!(shown >= runs.len() - before);
        (chosen, found, runs.len() - before)
    }
}

fn config(split: Split) -> TrainConfig {
    let models = ["popularity", "item_knn", "ease"].map(str::to_owned).to_vec();
    TrainConfig { models, split, ..TrainConfig::default() }
}

#[test]
fn winners_are_at_least_as_good_as_the_settings_at_hand_and_go_into_the_configuration() {
    for split in [Split::Time, Split::LeaveOneOut] {
        let (chosen, found, runs) = Bench::new().search(&shop(0), &config(split));
        let models: Vec<&str> = found.iter().map(|found| found.model.as_str()).collect();
        assert_eq!(models, ["item_knn", "ease"], "popularity has no settings");
        // 9 with a ninth of the shoppers, 3 with a third, 1 with all, of two models.
        assert_eq!(runs, 26, "{split:?}");
        for found in &found {
            let best = found.best().unwrap();
            assert_eq!((best.share, found.trials.len()), (1.0, 9));
            assert!(best.figure > 0.0 && !found.cut_short);
        }
        let ease = serde_json::to_value(chosen.ease).unwrap();
        assert_eq!(ease, found[1].best().unwrap().settings);
    }
}

#[test]
fn a_search_that_is_begun_again_repeats_nothing() {
    let (data, bench) = (shop(0), Bench::new());
    let few =
        TrainConfig { search: SearchConfig { trials: 3, ..SearchConfig::default() }, ..config(Split::Time) };
    let (.., first) = bench.search(&data, &few);
    assert_eq!(first, 8);
    let (_, found, again) = bench.search(&data, &few);
    assert_eq!(again, 0);
    let (chosen, repeated, _) = Bench::new().search(&data, &few);
    assert_eq!(found, repeated, "the same seed finds the same");
    let other = TrainConfig { seed: 7, ..few };
    assert!(bench.search(&data, &other).2 > 0, "another seed is another search");
    assert_eq!(serde_json::to_value(chosen.item_knn).unwrap(), found[0].best().unwrap().settings);
}

#[test]
fn the_test_window_is_never_looked_at() {
    let (one, other) = (shop(0), shop(7));
    let test = |data: &ShopData| TestSet::new(data, &config(Split::Time)).unwrap();
    assert_ne!(
        test(&one).cases.iter().map(|case| case.relevant_all.clone()).collect::<Vec<_>>(),
        test(&other).cases.iter().map(|case| case.relevant_all.clone()).collect::<Vec<_>>(),
    );
    let (_, found, _) = Bench::new().search(&one, &config(Split::Time));
    let (_, same, _) = Bench::new().search(&other, &config(Split::Time));
    assert_eq!(found, same);
}

#[test]
fn without_time_nothing_is_tried_and_the_configuration_stays() {
    let hurried = TrainConfig {
        search: SearchConfig { minutes: 1e-9, ..SearchConfig::default() },
        ..config(Split::Time)
    };
    let (chosen, found, runs) = Bench::new().search(&shop(0), &hurried);
    assert_eq!((chosen, runs), (hurried, 0));
    assert!(found.iter().all(|found| found.cut_short && found.best().is_none()));
}
