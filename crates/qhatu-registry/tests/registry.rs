//! The registry over a real document store and real files: numbers, aliases, gate, damage.
#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use qhatu_registry::{ArtifactFile, Evidence, Gate, NewRun, NewVersion, Registry, RegistryError, RunStatus};
use qhatu_schema::Timestamp;
use qhatu_store::open_documents;
use tempfile::TempDir;

fn registry(dir: &TempDir) -> Registry {
    let documents = open_documents(&dir.path().join("metadata")).unwrap();
    Registry::new(documents, dir.path().join("artifacts"))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn new_version(figure: f64) -> NewVersion {
    NewVersion {
        kind: "ease".into(),
        config: serde_json::json!({ "regularization": 500.0 }),
        run_id: "run".into(),
        data_fingerprint: "data".into(),
        code_version: "0.1.0".into(),
        protocol: "time split".into(),
        metrics: BTreeMap::from([("all.ndcg_at_10".into(), figure)]),
        baselines: BTreeMap::new(),
    }
}

fn files(text: &str) -> Vec<ArtifactFile> {
    vec![ArtifactFile { name: "model.safetensors".into(), bytes: text.as_bytes().to_vec() }]
}

fn evidence(candidate: f64, reference: f64, champion: Option<u64>) -> Evidence {
    Evidence { candidate, against: "recent_popularity".into(), reference, interval: None, champion }
}

#[test]
fn versions_count_up_and_open_as_they_were_written() {
    let dir = TempDir::new().unwrap();
    let registry = registry(&dir);
    let first = registry.register("shop", new_version(0.3), &files("one"), at(1)).unwrap();
    let second = registry.register("shop", new_version(0.4), &files("two"), at(2)).unwrap();
    assert_eq!((first.version, second.version), (1, 2));
    assert_eq!(registry.versions("shop").unwrap(), [first.clone(), second.clone()]);
    let open = registry.open(&first).unwrap();
    assert_eq!(open.files["model.safetensors"], b"one");
    assert_eq!(open.manifest.version, first);
    assert!(matches!(registry.version("shop", 9), Err(RegistryError::NotFound { .. })));
    assert!(registry.versions("other").unwrap().is_empty());
}

#[test]
fn a_number_whose_folder_is_left_from_a_crash_is_not_given_again() {
    let dir = TempDir::new().unwrap();
    let registry = registry(&dir);
    fs::create_dir_all(dir.path().join("artifacts/shop/7")).unwrap();
    fs::write(dir.path().join("artifacts/shop/7/rest"), "x").unwrap();
    assert_eq!(registry.register("shop", new_version(0.3), &files("one"), at(1)).unwrap().version, 8);
}

#[test]
fn only_what_passes_the_gate_is_champion_and_rollback_returns() {
    let dir = TempDir::new().unwrap();
    let registry = registry(&dir);
    let gate = Gate::default();
    let worse = registry.register("shop", new_version(0.1), &files("one"), at(1)).unwrap();
    let refused = registry.promote(&worse, &gate, &evidence(0.1, 0.15, None), at(2)).unwrap();
    assert!(!refused.promoted && refused.reason.contains("recent_popularity"), "{}", refused.reason);
    assert_eq!(registry.alias("shop", "champion").unwrap(), None);

    let good = registry.register("shop", new_version(0.3), &files("two"), at(3)).unwrap();
    assert!(registry.promote(&good, &gate, &evidence(0.3, 0.15, None), at(4)).unwrap().promoted);
    assert!(matches!(registry.rollback("shop", "try", at(5)), Err(RegistryError::NoEarlier { .. })));

    let better = registry.register("shop", new_version(0.4), &files("three"), at(6)).unwrap();
    assert!(
        registry.promote(&better, &gate, &evidence(0.4, 0.3, Some(good.version)), at(7)).unwrap().promoted
    );
    assert_eq!(registry.alias("shop", "champion").unwrap().unwrap().version, better.version);
    assert_eq!(registry.rollback("shop", "complaints", at(8)).unwrap().version, good.version);
    let moves = registry.alias_history("shop", "champion").unwrap().moves;
    assert_eq!(moves.len(), 3);
    assert!(moves[2].rollback && moves[2].reason == "complaints");
}

/// Two trainings that measured themselves against the same champion: the second must look again.
#[test]
fn evidence_of_an_earlier_champion_promotes_nobody() {
    let dir = TempDir::new().unwrap();
    let registry = registry(&dir);
    let gate = Gate::default();
    let versions: Vec<_> = (1..=9)
        .map(|number| registry.register("shop", new_version(0.3), &files("x"), at(number)).unwrap())
        .collect();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let (registry, gate) = (&registry, &gate);
        let promote =
            |version| scope.spawn(move || registry.promote(version, gate, &evidence(0.3, 0.1, None), at(20)));
        let running: Vec<_> = versions.iter().map(promote).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(won, 1, "{outcomes:?}");
    let lost = outcomes.iter().filter(|outcome| matches!(outcome, Err(RegistryError::Moved { .. })));
    assert_eq!(lost.count(), 8, "{outcomes:?}");
    assert_eq!(registry.alias_history("shop", "champion").unwrap().moves.len(), 1);
}

#[test]
fn what_cannot_be_opened_is_neither_promoted_nor_brought_back() {
    let dir = TempDir::new().unwrap();
    let registry = registry(&dir);
    let gate = Gate::default();
    let damage = |version: u64| {
        let path = dir.path().join(format!("artifacts/shop/{version}/model.safetensors"));
        fs::write(path, "another").unwrap();
    };
    let first = registry.register("shop", new_version(0.3), &files("tensors"), at(1)).unwrap();
    registry.promote(&first, &gate, &evidence(0.3, 0.1, None), at(2)).unwrap();
    let second = registry.register("shop", new_version(0.4), &files("tensors"), at(3)).unwrap();
    damage(2);
    let refused = registry.promote(&second, &gate, &evidence(0.4, 0.3, Some(1)), at(4));
    assert!(matches!(refused, Err(RegistryError::Damaged { .. })), "{refused:?}");
    let third = registry.register("shop", new_version(0.5), &files("tensors"), at(5)).unwrap();
    registry.promote(&third, &gate, &evidence(0.5, 0.3, Some(1)), at(6)).unwrap();
    damage(1);
    assert!(matches!(registry.rollback("shop", "try", at(7)), Err(RegistryError::Damaged { .. })));
    assert_eq!(registry.alias("shop", "champion").unwrap().unwrap().version, third.version);
}

#[test]
fn damaged_foreign_and_later_artifacts_are_refused() {
    let dir = TempDir::new().unwrap();
    let registry = registry(&dir);
    let version = registry.register("shop", new_version(0.3), &files("tensor"), at(1)).unwrap();
    let folder = dir.path().join("artifacts/shop/1");
    let fault = |name: &str, change: &dyn Fn(&Path)| {
        let path = folder.join(name);
        let kept = fs::read(&path).unwrap();
        change(&path);
        let error = registry.open(&version).unwrap_err();
        fs::write(&path, kept).unwrap();
        error
    };
    let flipped = fault("model.safetensors", &|path| fs::write(path, "tensoR").unwrap());
    assert!(
        matches!(&flipped, RegistryError::Damaged { fault, .. } if fault.contains("SHA-256")),
        "{flipped}"
    );
    let cut = fault("model.safetensors", &|path| fs::write(path, "ten").unwrap());
    assert!(matches!(&cut, RegistryError::Damaged { fault, .. } if fault.contains("3 bytes")), "{cut}");
    let gone = fault("model.safetensors", &|path| fs::remove_file(path).unwrap());
    assert!(matches!(gone, RegistryError::Io { .. }), "{gone}");
    let text = fs::read_to_string(folder.join("manifest.json")).unwrap();
    let edit = |from: &str, to: &str| text.replace(from, to);
    let later = fault("manifest.json", &|path| {
        fs::write(path, edit("\"format_version\": 1", "\"format_version\": 2")).unwrap();
    });
    assert!(matches!(later, RegistryError::Foreign { .. }), "{later}");
    let other = fault("manifest.json", &|path| {
        fs::write(path, edit("\"model\": \"shop\"", "\"model\": \"else\"")).unwrap();
    });
    assert!(matches!(other, RegistryError::Foreign { .. }), "{other}");
    let outside = fault("manifest.json", &|path| {
        fs::write(path, edit("model.safetensors", "../../../secret")).unwrap();
    });
    assert!(matches!(outside, RegistryError::Name { .. }), "{outside}");
    let half = fault("manifest.json", &|path| fs::write(path, &text[..text.len() / 2]).unwrap());
    assert!(matches!(half, RegistryError::Damaged { .. }), "{half}");
    assert!(registry.open(&version).is_ok(), "put back as it was, it opens");
}

#[test]
fn runs_keep_how_they_ended() {
    let dir = TempDir::new().unwrap();
    let registry = registry(&dir);
    let new = |kind: &str| NewRun {
        kind: kind.into(),
        config: serde_json::json!({}),
        seed: 7,
        data_fingerprint: "data".into(),
        code_version: "0.1.0".into(),
    };
    let fine = registry.start_run(new("ease"), at(1)).unwrap();
    let bad = registry.start_run(new("sasrec"), at(2)).unwrap();
    let metrics = BTreeMap::from([("all.ndcg_at_10".to_owned(), 0.25)]);
    registry.finish_run(fine, Ok(metrics.clone()), at(3)).unwrap();
    registry.finish_run(bad, Err("loss is not a number".into()), at(4)).unwrap();
    let runs = registry.runs().unwrap();
    let of = |kind: &str| runs.iter().find(|run| run.new.kind == kind).unwrap();
    assert_eq!((of("ease").status, &of("ease").metrics), (RunStatus::Finished, &metrics));
    assert_eq!(of("sasrec").fault.as_deref(), Some("loss is not a number"));
}
