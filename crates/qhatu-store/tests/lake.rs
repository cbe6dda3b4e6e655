//! The lake: what the log has is there exactly once, in its day, whatever happened in between.
#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

use std::fs;

use qhatu_schema::{Currency, Event, EventId, EventKind, ItemId, LimaDay, Money, OrderId, Timestamp, UserId};
use qhatu_store::{EventLog, Lake, MemoryLog, StoreError};
use tempfile::TempDir;

fn event(number: i64) -> Event {
    let id = EventId::new(format!("e{number:04}")).unwrap();
    let time = Timestamp::parse("2026-11-24T00:00:00-05:00").unwrap().plus_millis(number * 3_600_000);
    let mut event =
        Event::new(id, time, if number % 2 == 0 { EventKind::Purchase } else { EventKind::Search });
    event.user_id = Some(UserId::new(format!("u{}", number % 3)).unwrap());
    if event.kind == EventKind::Purchase {
        event.item_id = Some(ItemId::new("i/ñ").unwrap());
        event.price = Some(Money::parse("1234.567891", Currency::parse("PEN").unwrap()).unwrap());
        event.order_id = Some(OrderId::new("o").unwrap());
        event.quantity = 3;
    } else {
        event.query = Some("zapatillas \"42\"".to_owned());
        event.items = vec![ItemId::new("a").unwrap(), ItemId::new("b,c").unwrap()];
    }
    event
}

fn fill(log: &MemoryLog, numbers: std::ops::Range<i64>) {
    let mut events: Vec<Event> = numbers.map(event).collect();
    events.reverse();
    log.append(&events).unwrap();
}

#[test]
fn what_goes_in_comes_out_by_day_and_time() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryLog::default());
    let lake = Lake::open(dir.path()).unwrap();
    fill(&log, 0..50);
    let done = lake.compact(&log).unwrap();
    assert_eq!((done.events, done.days, done.up_to_offset), (50, 3, 50));
    assert_eq!(lake.read(None, None).unwrap(), (0..50).map(event).collect::<Vec<_>>());
    let second = LimaDay::parse("2026-11-25").unwrap();
    assert_eq!(lake.read(Some(second), Some(second)).unwrap(), (24..48).map(event).collect::<Vec<_>>());
    assert!(dir.path().join("events/day=2026-11-24").is_dir());
}

#[test]
fn compacting_again_moves_only_what_is_new_and_late_events_find_their_day() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryLog::default());
    let lake = Lake::open(dir.path()).unwrap();
    fill(&log, 10..50);
    lake.compact(&log).unwrap();
    assert_eq!(lake.compact(&log).unwrap().events, 0);
    fill(&log, 0..10);
    assert_eq!(lake.compact(&log).unwrap().events, 10);
    assert_eq!(lake.read(None, None).unwrap(), (0..50).map(event).collect::<Vec<_>>());
}

/// A crash between writing parts and the manifest leaves parts that nobody names, and perhaps half a
/// file: neither may show or stay.
#[test]
fn parts_left_by_a_crash_are_taken_away() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryLog::default());
    let lake = Lake::open(dir.path()).unwrap();
    fill(&log, 0..10);
    lake.compact(&log).unwrap();
    let before = fs::read(dir.path().join("manifest.json")).unwrap();
    fill(&log, 10..60);
    lake.compact(&log).unwrap();
    fs::write(dir.path().join("manifest.json"), before).unwrap();
    let half = dir.path().join("events/day=2026-11-24/.part-x.parquet.new");
    fs::write(&half, "half").unwrap();
    assert_eq!(lake.read(None, None).unwrap().len(), 10, "only what the manifest names shows");
    assert_eq!(lake.compact(&log).unwrap().events, 50);
    assert_eq!(lake.read(None, None).unwrap(), (0..60).map(event).collect::<Vec<_>>());
    assert!(!half.exists());
}

#[test]
fn a_damaged_part_is_named() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryLog::default());
    let lake = Lake::open(dir.path()).unwrap();
    fill(&log, 0..10);
    lake.compact(&log).unwrap();
    let part =
        fs::read_dir(dir.path().join("events/day=2026-11-24")).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&part).unwrap();
    fs::write(&part, &bytes[..bytes.len() / 2]).unwrap();
    let error = lake.read(None, None).unwrap_err();
    assert!(matches!(&error, StoreError::Damaged { path, .. } if *path == part), "{error}");
}
