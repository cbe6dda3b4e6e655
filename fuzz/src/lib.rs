//! What the targets share: a file made of the fuzzer's bytes, and what holds of every import whatever the
//! bytes are.
//!
//! A target is one decoder with the promises that its callers rely on, as assertions. Seeds stand in
//! `corpus/<target>/`, words of the formats in `dictionary/<target>.dict`; `cargo xtask fuzz` runs them.

pub mod checkpoint;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use qhatu_ingest::{ImportReport, Importer, Mapping, Quarantine, Sink};
use qhatu_schema::{Event, Item, Timestamp, User};
use qhatu_store::StoreError;

/// The folder that `cargo xtask fuzz` made for this target, or one of this process.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let own = || std::env::temp_dir().join(format!("qhatu-fuzz-{}", std::process::id()));
        let folder = std::env::var_os("QHATU_FUZZ_FOLDER").map_or_else(own, PathBuf::from);
        fs::create_dir_all(&folder).expect("a folder for the files that are imported");
        folder
    })
}

/// Writes a file in [`folder`].
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    fs::write(&path, bytes).expect("the folder was made above");
    path
}

/// Takes everything and checks what no event may lack.
#[derive(Default)]
struct Checked {
    events: u64,
}

impl Sink for Checked {
    fn events(&mut self, events: &[Event]) -> Result<Vec<bool>, StoreError> {
        for event in events {
            event.check().expect("an event that is handed over makes sense");
            let text = serde_json::to_string(event).expect("an event can be written");
            let again: Event = serde_json::from_str(&text).expect("what was written can be read");
            assert_eq!(&again, event, "an event comes back as it was");
        }
        self.events += events.len() as u64;
        Ok(vec![true; events.len()])
    }

    fn items(&mut self, items: &[Item]) -> Result<(), StoreError> {
        assert!(items.windows(2).all(|pair| pair[0].item_id < pair[1].item_id));
        Ok(())
    }

    fn users(&mut self, users: &[User]) -> Result<(), StoreError> {
        assert!(users.windows(2).all(|pair| pair[0].user_id < pair[1].user_id));
        Ok(())
    }
}

/// The moment of every import here.
pub fn now() -> Timestamp {
    Timestamp::parse("2026-11-25T12:00:00Z").expect("a time")
}

/// Imports a file; an error is an answer, a panic or a row that disappears is not.
pub fn import(path: &Path, mapping: Option<&Mapping>) -> Option<ImportReport> {
    let mut quarantine = Quarantine::none();
    let mut sink = Checked::default();
    let outcome = Importer::new(&mut sink, &mut quarantine, &mut |_| {}, now()).import(path, mapping);
    match outcome {
        Ok(report) => {
            assert_eq!(report.accepted, sink.events, "{report}");
            assert!(report.accepted + report.refused() <= report.rows, "{report}");
            Some(report)
        }
        Err(fault) => {
            assert!(!fault.to_string().is_empty());
            None
        }
    }
}

/// The mapping of a shop that writes everything, in columns named after the fields.
pub fn wide_mapping() -> Mapping {
    serde_json::from_value(serde_json::json!({
        "columns": {
            "event_id": "event_id", "time": "time", "kind": "kind", "user_id": "user_id",
            "session_id": "session_id", "item_id": "item_id", "quantity": "quantity", "price": "price",
            "currency": "currency", "order_id": "order_id", "state": "state", "query": "query",
            "title": "title", "description": "description", "category": "category", "brand": "brand",
            "stock": "stock", "country": "country", "ubigeo": "ubigeo",
        },
        "kinds": { "compra": "purchase", "vista": "view" },
        "rules": { "return_order_prefix": "C", "negative_quantity_is_return": true },
    }))
    .expect("every name is a field of the mapping")
}
