//! What every event log and every document store must do, run against each implementation.
#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

use std::sync::Arc;

use qhatu_schema::{Event, EventId, EventKind, ItemId, Timestamp, UserId};
use qhatu_store::{
    Documents, EventLog, MemoryDocuments, MemoryLog, StoreError, open_documents, open_event_log,
};
use serde_json::json;
use tempfile::TempDir;

fn event(id: &str) -> Event {
    let mut event = Event::new(EventId::new(id).unwrap(), Timestamp::from_millis(1_000), EventKind::View);
    event.user_id = Some(UserId::new("u").unwrap());
    event.item_id = Some(ItemId::new("i/1").unwrap());
    event
}

fn each_log(check: impl Fn(&dyn EventLog)) {
    let dir = TempDir::new().unwrap();
    check(&*open_event_log(dir.path()).unwrap());
    check(&MemoryLog::default());
}

fn each_documents(check: impl Fn(&dyn Documents)) {
    let dir = TempDir::new().unwrap();
    check(&*open_documents(dir.path()).unwrap());
    check(&MemoryDocuments::default());
}

#[test]
fn an_event_counts_once_however_often_it_is_sent() {
    each_log(|log| {
        assert_eq!(log.last_offset().unwrap(), 0);
        assert_eq!(log.append(&[event("a"), event("b"), event("a")]).unwrap(), [true, true, false]);
        assert_eq!(log.append(&[event("b"), event("c")]).unwrap(), [false, true]);
        assert_eq!(log.append(&[]).unwrap(), Vec::<bool>::new());
        assert_eq!(log.last_offset().unwrap(), 3);
        let read = log.read(1, 10).unwrap();
        assert_eq!(read, [(1, event("a")), (2, event("b")), (3, event("c"))]);
        assert_eq!(log.read(2, 1).unwrap(), [(2, event("b"))]);
        assert!(log.read(4, 10).unwrap().is_empty());
    });
}

#[test]
fn many_writers_get_offsets_without_gaps() {
    each_log(|log| {
        std::thread::scope(|scope| {
            for writer in 0..8 {
                scope.spawn(move || {
                    for number in 0..25 {
                        let own = event(&format!("{writer}-{number}"));
                        let shared = event(&format!("shared-{number}"));
                        assert!(log.append(&[own, shared]).unwrap()[0]);
                    }
                });
            }
        });
        let offsets: Vec<u64> = log.read(1, 1000).unwrap().iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, (1..=225).collect::<Vec<_>>());
    });
}

#[test]
fn a_log_opened_again_knows_what_it_took() {
    let dir = TempDir::new().unwrap();
    open_event_log(dir.path()).unwrap().append(&[event("a"), event("b")]).unwrap();
    let log = open_event_log(dir.path()).unwrap();
    assert_eq!(log.append(&[event("b"), event("c")]).unwrap(), [false, true]);
    assert_eq!(log.last_offset().unwrap(), 3);
}

#[test]
fn a_log_is_open_once() {
    let dir = TempDir::new().unwrap();
    let first = open_event_log(dir.path()).unwrap();
    let refused = open_event_log(dir.path()).err().unwrap();
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    drop(first);
    assert!(open_event_log(dir.path()).is_ok());
}

#[test]
fn a_log_that_is_no_log_is_refused_with_its_path() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("events.sqlite"), vec![7_u8; 8192]).unwrap();
    let error = open_event_log(dir.path()).err().unwrap().to_string();
    assert!(error.contains("events.sqlite"), "{error}");
}

#[test]
fn documents_have_revisions_and_an_order() {
    each_documents(|documents| {
        assert_eq!(documents.get("k", "a").unwrap(), None);
        assert_eq!(documents.put("k", "b", &json!({ "n": 1 })).unwrap(), 1);
        assert_eq!(documents.put("k", "b", &json!({ "n": 2 })).unwrap(), 2);
        assert_eq!(documents.put_if("k", "a", 0, &json!("new")).unwrap(), 1);
        let conflict = documents.put_if("k", "a", 0, &json!("again")).unwrap_err();
        assert!(matches!(conflict, StoreError::Conflict { expected: 0, found: 1, .. }), "{conflict}");
        assert_eq!(documents.put_if("k", "a", 1, &json!("changed")).unwrap(), 2);
        documents.put_many("k", &[("c".into(), json!(1)), ("b".into(), json!(3))]).unwrap();
        documents.put_texts("texts", &[("t".into(), r#"{"b": [1.5, "ñ"], "a": null}"#.into())]).unwrap();
        let text = documents.get("texts", "t").unwrap().unwrap();
        assert_eq!((text.revision, text.body), (1, json!({"a": null, "b": [1.5, "ñ"]})));
        let all = documents.list("k", None, 10).unwrap();
        let seen: Vec<_> = all.iter().map(|d| (d.key.as_str(), d.revision, d.body.clone())).collect();
        assert_eq!(seen, [("a", 2, json!("changed")), ("b", 3, json!(3)), ("c", 1, json!(1))]);
        assert_eq!(documents.list("k", Some("a"), 1).unwrap()[0].key, "b");
        assert!(documents.list("other", None, 10).unwrap().is_empty());
        assert_eq!(documents.count("k").unwrap(), 3);
        assert!(documents.delete("k", "a").unwrap());
        assert!(!documents.delete("k", "a").unwrap());
    });
}

#[test]
fn many_documents_go_at_once_and_no_others() {
    each_documents(|documents| {
        let entries: Vec<_> = (0..1_000).map(|n| (format!("{n:04}"), json!(n))).collect();
        documents.put_many("k", &entries).unwrap();
        documents.put("other", "0001", &json!("stays")).unwrap();
        let keys: Vec<String> = (0..900).map(|n| format!("{n:04}")).chain(["none".to_owned()]).collect();
        assert_eq!(documents.delete_many("k", &keys).unwrap(), 900);
        assert_eq!(documents.delete_many("k", &keys).unwrap(), 0);
        assert_eq!(documents.delete_many("k", &[]).unwrap(), 0);
        assert_eq!((documents.count("k").unwrap(), documents.count("other").unwrap()), (100, 1));
        assert_eq!(documents.list("k", None, 1).unwrap()[0].key, "0900");
        // What comes back is new.
        assert_eq!(documents.put("k", "0001", &json!(1)).unwrap(), 1);
    });
}

#[test]
fn of_many_who_change_a_document_at_once_one_wins_each_time() {
    let dir = TempDir::new().unwrap();
    let documents: Arc<dyn Documents> = open_documents(dir.path()).unwrap();
    documents.put("k", "count", &json!(0)).unwrap();
    let increment = || {
        loop {
            let kept = documents.get("k", "count").unwrap().unwrap();
            let next = json!(kept.body.as_u64().unwrap() + 1);
            match documents.put_if("k", "count", kept.revision, &next) {
                Ok(_) => break,
                Err(StoreError::Conflict { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10).for_each(|_| increment()));
        }
    });
    assert_eq!(documents.get("k", "count").unwrap().unwrap().body, json!(40));
}
