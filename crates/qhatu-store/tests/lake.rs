//! The lake: what the log has is there exactly once, in its day, whatever happened in between.
#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

use std::fs;

use qhatu_schema::{
    Currency, DenseColumn, DenseTable, Event, EventColumns, EventId, EventKind, ItemId, LimaDay, Money,
    NO_INT, OrderId, Timestamp, UserId,
};
use qhatu_store::{DenseWriter, EventLog, Lake, MemoryLog, StoreError, read_table, write_dense_table};
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

const ALL: &[&str] = &[
    "event_id",
    "time",
    "kind",
    "user_id",
    "session_id",
    "item_id",
    "quantity",
    "price",
    "currency",
    "order_id",
    "state",
    "query",
    "items",
    "recommendation_id",
    "model_version",
];

/// What columns say of the events, in words that do not depend on how texts are numbered.
fn say(columns: &EventColumns) -> Vec<String> {
    let say = |row: usize| {
        let items = columns.items.codes_of(row).iter().map(|code| columns.items.texts.get(*code as usize));
        let texts = [
            columns.event_id.get(row),
            columns.user_id.get(row),
            columns.session_id.get(row),
            columns.item_id.get(row),
            columns.order_id.get(row),
            columns.currency.get(row),
            columns.query.get(row),
            columns.recommendation_id.get(row),
            columns.model_version.get(row),
        ];
        let numbers = (columns.time[row], columns.quantity[row], columns.price[row]);
        let items: Vec<&str> = items.collect();
        format!("{texts:?} {numbers:?} {:?} {:?} {items:?}", columns.kind[row], columns.state[row])
    };
    (0..columns.rows()).map(say).collect()
}

fn scan(lake: &Lake, wanted: &[&str]) -> EventColumns {
    let mut all = EventColumns::default();
    lake.scan_columns(wanted, &mut |day| {
        all.extend(&day);
        Ok::<(), StoreError>(())
    })
    .unwrap();
    all
}

#[test]
fn columns_say_what_the_events_say_in_order_though_parts_overlap() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryLog::default());
    let lake = Lake::open(dir.path()).unwrap();
    for numbers in [7..50, 3..7, 0..3] {
        fill(&log, numbers);
        lake.compact(&log).unwrap();
    }
    let events: Vec<Event> = (0..50).map(event).collect();
    assert_eq!(say(&scan(&lake, ALL)), say(&EventColumns::from_events(&events)));
    let few = scan(&lake, &["event_id", "time", "kind", "quantity", "price"]);
    assert_eq!((few.rows(), few.user_id.get(0), few.price[0]), (50, "", NO_INT));
    assert!(few.items.codes.is_empty() && few.items.ends.len() == 50);
}

/// Such a day has no states, prices, currencies or products: columns of gaps alone.
#[test]
fn a_day_without_a_purchase_is_read_in_columns_too() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryLog::default());
    let lake = Lake::open(dir.path()).unwrap();
    let searches: Vec<Event> = (0..20).map(|number| event(number * 2 + 1)).collect();
    log.append(&searches).unwrap();
    lake.compact(&log).unwrap();
    assert_eq!(say(&scan(&lake, ALL)), say(&EventColumns::from_events(&searches)));
}

#[test]
fn a_dense_table_is_read_back_by_others() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("rows.parquet");
    let part = |event_id: &str, number: f64, time: i64, label: &str| DenseTable {
        columns: vec![
            ("event_id".to_owned(), DenseColumn::Text([event_id, "x"].into_iter().collect())),
            ("number".to_owned(), DenseColumn::Float(vec![number, f64::NAN])),
            ("time".to_owned(), DenseColumn::Time(vec![time, NO_INT])),
            ("label".to_owned(), DenseColumn::Label([label, ""].into_iter().collect())),
        ],
    };
    let mut writer = DenseWriter::create(&path).unwrap();
    writer.write(&part("a", 0.5, 7, "ñ")).unwrap();
    writer.write(&part("b", -2.0, 9, "ñ")).unwrap();
    assert!(!path.exists(), "a file appears whole");
    writer.finish().unwrap();
    let found = read_table(&path).unwrap();
    let time = |ms: i64| Some(Timestamp::from_millis(ms));
    let text = |text: &str| Some(text.to_owned());
    use qhatu_schema::Column::{Float, Text, Time};
    for (name, expected) in [
        ("event_id", Text(vec![text("a"), text("x"), text("b"), text("x")])),
        ("number", Float(vec![Some(0.5), None, Some(-2.0), None])),
        ("time", Time(vec![time(7), None, time(9), None])),
        ("label", Text(vec![text("ñ"), None, text("ñ"), None])),
    ] {
        assert_eq!(found.column(name), Some(&expected), "{name}");
    }
    let mut writer = DenseWriter::create(&path).unwrap();
    writer.write(&part("a", 0.5, 7, "n")).unwrap();
    assert!(writer.write(&DenseTable::default()).unwrap_err().to_string().contains("other columns"));
    let none = DenseTable { columns: vec![("number".to_owned(), DenseColumn::Float(Vec::new()))] };
    write_dense_table(&path, &none).unwrap();
    assert_eq!(read_table(&path).unwrap().rows(), 0);
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
    let error = lake.scan_columns(ALL, &mut |_| Ok::<(), StoreError>(())).unwrap_err();
    assert!(matches!(&error, StoreError::Damaged { path, .. } if *path == part), "{error}");
}

fn parts(dir: &TempDir, day: &str) -> Vec<String> {
    let files = fs::read_dir(dir.path().join("events").join(format!("day={day}"))).unwrap();
    let mut names: Vec<String> =
        files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn many_small_parts_of_a_day_become_one() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryLog::default());
    let lake = Lake::open(dir.path()).unwrap();
    for number in 0..8 {
        fill(&log, number..number + 1);
        assert_eq!(lake.compact(&log).unwrap().merged, 0);
    }
    assert_eq!(parts(&dir, "2026-11-24").len(), 8);
    fill(&log, 8..9);
    assert_eq!(lake.compact(&log).unwrap().merged, 1);
    let merged = parts(&dir, "2026-11-24");
    assert_eq!(merged, ["part-00000000000000000001-00000000000000000009.parquet"]);
    assert_eq!(lake.read(None, None).unwrap(), (0..9).map(event).collect::<Vec<_>>());
    // And it goes on: later parts stand beside it, and are merged with it in their turn.
    for number in 9..20 {
        fill(&log, number..number + 1);
        lake.compact(&log).unwrap();
    }
    assert!(parts(&dir, "2026-11-24").len() <= 8);
    assert_eq!(lake.read(None, None).unwrap(), (0..20).map(event).collect::<Vec<_>>());
}

/// A crash after the manifest named the merged part leaves the small ones, one before it the merged one:
/// in both cases each event shows once, and the next compaction tidies up.
#[test]
fn a_merge_broken_off_shows_each_event_once() {
    for after_manifest in [true, false] {
        let (dir, log) = (TempDir::new().unwrap(), MemoryLog::default());
        let lake = Lake::open(dir.path()).unwrap();
        for number in 0..8 {
            fill(&log, number..number + 1);
            lake.compact(&log).unwrap();
        }
        let day = dir.path().join("events/day=2026-11-24");
        let small: Vec<(String, Vec<u8>)> = parts(&dir, "2026-11-24")
            .into_iter()
            .map(|name| (name.clone(), fs::read(day.join(name)).unwrap()))
            .collect();
        fill(&log, 8..9);
        let ninth = Lake::open(dir.path()).unwrap();
        let manifest = dir.path().join("manifest.json");
        let before = fs::read(&manifest).unwrap();
        ninth.compact(&log).unwrap();
        for (name, bytes) in &small {
            fs::write(day.join(name), bytes).unwrap();
        }
        if !after_manifest {
            fs::write(&manifest, &before).unwrap();
        }
        let shown = if after_manifest { 9 } else { 8 };
        assert_eq!(lake.read(None, None).unwrap(), (0..shown).map(event).collect::<Vec<_>>());
        lake.compact(&log).unwrap();
        assert_eq!(parts(&dir, "2026-11-24").len(), 1);
        assert_eq!(lake.read(None, None).unwrap(), (0..9).map(event).collect::<Vec<_>>());
    }
}

#[test]
fn compacting_without_news_changes_no_file() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryLog::default());
    let lake = Lake::open(dir.path()).unwrap();
    fill(&log, 0..50);
    lake.compact(&log).unwrap();
    let files = || {
        let days = ["2026-11-24", "2026-11-25", "2026-11-26"].map(|day| (day, parts(&dir, day)));
        let bytes =
            |day: &str, name: &String| fs::read(dir.path().join(format!("events/day={day}/{name}"))).unwrap();
        let parts: Vec<Vec<u8>> =
            days.iter().flat_map(|(day, names)| names.iter().map(|name| bytes(day, name))).collect();
        (fs::read(dir.path().join("manifest.json")).unwrap(), parts)
    };
    let before = files();
    assert_eq!(lake.compact(&log).unwrap().events, 0);
    assert_eq!(files(), before);
    // A lake made anew from the same log is the same, byte by byte.
    fs::remove_file(dir.path().join("manifest.json")).unwrap();
    assert_eq!(lake.compact(&log).unwrap().events, 50);
    assert_eq!(files(), before);
}

#[test]
fn the_day_changes_at_midnight_in_lima() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryLog::default());
    let lake = Lake::open(dir.path()).unwrap();
    let at = |id: &str, time: &str| {
        let mut event =
            Event::new(EventId::new(id).unwrap(), Timestamp::parse(time).unwrap(), EventKind::View);
        event.user_id = Some(UserId::new("u").unwrap());
        event
    };
    log.append(&[at("in", "2026-11-25T05:00:00Z"), at("before", "2026-11-25T04:59:59.999Z")]).unwrap();
    lake.compact(&log).unwrap();
    let of = |day: &str| {
        let day = Some(LimaDay::parse(day).unwrap());
        lake.read(day, day).unwrap().iter().map(|event| event.event_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!((of("2026-11-24"), of("2026-11-25")), (vec!["before".to_owned()], vec!["in".to_owned()]));
}

/// Else its next events would be taken for known and never come into the lake.
#[test]
fn a_lake_that_has_more_than_the_log_is_refused() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryLog::default());
    let lake = Lake::open(dir.path()).unwrap();
    fill(&log, 0..10);
    lake.compact(&log).unwrap();
    let other = MemoryLog::default();
    fill(&other, 20..25);
    let error = lake.compact(&other).unwrap_err();
    assert!(matches!(&error, StoreError::Damaged { path, .. } if path.ends_with("manifest.json")), "{error}");
    assert!(error.to_string().contains("up to offset 10, and the log ends at 5"), "{error}");
    assert_eq!(lake.read(None, None).unwrap().len(), 10, "nothing was touched");
}

#[test]
fn a_damaged_manifest_is_named_and_nothing_is_taken_away() {
    let (dir, log) = (TempDir::new().unwrap(), MemoryLog::default());
    let lake = Lake::open(dir.path()).unwrap();
    fill(&log, 0..10);
    lake.compact(&log).unwrap();
    let manifest = dir.path().join("manifest.json");
    let whole = fs::read(&manifest).unwrap();
    fs::write(&manifest, &whole[..whole.len() / 2]).unwrap();
    for error in [lake.read(None, None).unwrap_err(), lake.compact(&log).unwrap_err()] {
        assert!(matches!(&error, StoreError::Damaged { path, .. } if *path == manifest), "{error}");
    }
    assert_eq!(parts(&dir, "2026-11-24").len(), 1);
}

/// Found by fuzzing: the file's levels end before they should, and the Parquet decoder panics.
#[test]
fn a_parquet_file_that_lies_about_its_levels_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lies.parquet");
    std::fs::write(&path, include_bytes!("../../../fuzz/corpus/parquet/levels_beyond_their_bytes")).unwrap();
    let said = read_table(&path).unwrap_err().to_string();
    assert!(said.contains("lies.parquet"), "{said}");
}
