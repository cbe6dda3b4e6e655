//! The demo's data: every rule's count, and that the same file twice adds nothing.

#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use qhatu_ingest::{CheckSink, ImportReport, Importer, Quarantine, Sink, online_retail};
use qhatu_schema::{Event, Item, Timestamp, User};
use qhatu_store::StoreError;

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/online_retail/online_retail.parquet")
}

/// Keeps what it takes.
#[derive(Default)]
struct Kept {
    check: CheckSink,
    events: Vec<Event>,
    items: Vec<Item>,
    users: Vec<User>,
}

impl Sink for Kept {
    fn events(&mut self, events: &[Event]) -> Result<Vec<bool>, StoreError> {
        let new = self.check.events(events)?;
        self.events.extend(events.iter().zip(&new).filter(|(_, new)| **new).map(|(event, _)| event.clone()));
        Ok(new)
    }

    fn items(&mut self, items: &[Item]) -> Result<(), StoreError> {
        self.items.extend_from_slice(items);
        Ok(())
    }

    fn users(&mut self, users: &[User]) -> Result<(), StoreError> {
        self.users.extend_from_slice(users);
        Ok(())
    }
}

fn import(sink: &mut dyn Sink) -> ImportReport {
    let now = Timestamp::parse("2026-01-01").unwrap();
    Importer::new(sink, &mut Quarantine::none(), &mut |_| {}, now)
        .import(&file(), Some(&online_retail()))
        .unwrap()
}

#[test]
fn the_rules_leave_what_was_measured_by_others() {
    let mut kept = Kept::default();
    let report = import(&mut kept);
    assert_eq!(report.rows, 541_909);
    assert_eq!(report.accepted + report.duplicate + report.refused(), report.rows);
    let counted: Vec<(&str, u64)> =
        report.quarantined.iter().map(|(why, count)| (why.as_str(), *count)).collect();
    assert_eq!(counted, [("no price", 33), ("no shopper", 134_005), ("not a product", 2_995)]);
    assert_eq!((report.accepted, report.duplicate), (399_656, 5_220));
    let paid: Vec<&Event> = kept.events.iter().filter(|event| event.is_paid()).collect();
    let bought: HashSet<_> = paid.iter().map(|e| (&e.user_id, &e.item_id, &e.order_id)).collect();
    assert_eq!(bought.len(), 386_326, "{report}");
    let distinct = |of: &dyn Fn(&Event) -> String| paid.iter().map(|e| of(e)).collect::<HashSet<_>>().len();
    assert_eq!(distinct(&|e| e.user_id.as_ref().unwrap().to_string()), 4_334);
    assert_eq!(distinct(&|e| e.item_id.as_ref().unwrap().to_string()), 3_659);
    assert_eq!(distinct(&|e| e.order_id.as_ref().unwrap().to_string()), 18_402);
    assert!(kept.events.iter().any(Event::is_refund));
    let heart = kept.items.iter().find(|item| item.item_id.as_str() == "85123A").unwrap();
    assert_eq!(heart.title, "WHITE HANGING HEART T-LIGHT HOLDER");
    let again = import(&mut kept);
    assert_eq!((again.accepted, again.rows), (0, report.rows));
}
