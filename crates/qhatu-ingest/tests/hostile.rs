//! Files as they really come: each fault costs the row it is in, says why, and leaves the rest.

#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use qhatu_ingest::{
    CheckSink, Columns, Format, ImportReport, Importer, IngestError, Mapping, MissingUser, Quarantine,
    Refused, Rules, Sink, StoreSink,
};
use qhatu_schema::{Event, EventKind, Item, Timestamp, User};
use qhatu_store::{Catalogue, Documents, MemoryDocuments, MemoryLog, StoreError};
use tempfile::TempDir;

fn mapping() -> Mapping {
    let column = str::to_owned;
    Mapping {
        columns: Columns {
            time: column("when"),
            user_id: column("who"),
            item_id: column("what"),
            price: column("price"),
            quantity: column("pieces"),
            title: column("name"),
            ..Columns::default()
        },
        kind: Some(EventKind::Purchase),
        rules: Rules { missing_user: MissingUser::Quarantine, ..Rules::default() },
        ..Mapping::default()
    }
}

const HEAD: &str = "when,who,what,price,pieces,name\n";
const GOOD: &str = "2026-01-05 10:00:00,u1,i1,10.50,2,Taza\n";

struct Shop {
    dir: TempDir,
}

impl Shop {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn try_import(&self, path: &Path, mapping: Option<&Mapping>) -> Result<ImportReport, IngestError> {
        let mut quarantine = Quarantine::new(&self.dir.path().join("quarantine"), "refused");
        let now = Timestamp::parse("2026-02-01").unwrap();
        let mut sink = CheckSink::default();
        Importer::new(&mut sink, &mut quarantine, &mut |_| {}, now).import(path, mapping)
    }

    fn import(&self, path: &Path, mapping: &Mapping) -> ImportReport {
        self.try_import(path, Some(mapping)).unwrap()
    }

    fn refused(&self) -> Vec<Refused> {
        let text = fs::read_to_string(self.dir.path().join("quarantine/refused.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn each_bad_row_is_kept_with_its_line_reason_and_text() {
    let shop = Shop::new();
    let rows = [
        ("2026-01-05 10:00:00,,i1,1,1,x", "no shopper"),
        ("yesterday,u1,i1,1,1,x", "unreadable time"),
        ("2099-01-01,u1,i1,1,1,x", "in the future"),
        ("2026-01-05,u1,i1,NaN1,1,x", "unreadable price"),
        ("2026-01-05,u1,i1,-3,1,x", "negative price"),
        ("2026-01-05,u1,i1,3,-1,x", "negative quantity"),
        ("2026-01-05,u1,i1,3,1.5,x", "unreadable quantity"),
        ("2026-01-05,u1,i1,3,0,x", "unreadable quantity"),
        ("2026-01-05,u1", "too few values"),
        ("2026-01-05,u1,i1,3,1,x, with a comma", "too many values"),
        ("2026-01-05,u1,,3,1,x", "incomplete"),
    ];
    let body: String = rows.iter().map(|(row, _)| format!("{row}\n{GOOD}")).collect();
    let path = shop.file("shop.csv", format!("{HEAD}{body}"));
    let report = shop.import(&path, &mapping());
    assert_eq!(
        (report.rows, report.refused(), report.accepted, report.duplicate),
        (22, 11, 1, 10),
        "{report}"
    );
    for (number, ((row, reason), refused)) in rows.iter().zip(shop.refused()).enumerate() {
        assert_eq!((refused.reason.as_str(), refused.text.as_str()), (*reason, *row));
        assert_eq!(refused.line, 2 + 2 * number as u64);
        assert!(refused.file.ends_with("shop.csv"));
    }
}

#[test]
fn mended_rows_come_in_again() {
    let shop = Shop::new();
    let path = shop.file("shop.csv", format!("{HEAD}{GOOD}yesterday,u1,i2,1,1,x\n"));
    assert_eq!(shop.import(&path, &mapping()).refused(), 1);
    let kept = fs::read_to_string(shop.dir.path().join("quarantine/refused.jsonl")).unwrap();
    let mended = shop.file("mended.jsonl", kept.replace("yesterday", "2026-01-06"));
    let report = shop.import(&mended, &mapping());
    assert_eq!((report.accepted, report.refused()), (1, 0), "{report}");
}

#[test]
fn delimiters_marks_encodings_and_packings_are_understood() {
    let shop = Shop::new();
    let plain = format!("{HEAD}{GOOD}2026-01-06,u2,i2,\"3\",1,\"Cojín, azul\"\n");
    let semicolons = plain.replace("Cojín, azul", "Cojín azul").replace(',', ";");
    let latin: Vec<u8> = plain.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let utf16: Vec<u8> =
        [0xFEFF].into_iter().chain(plain.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(plain.as_bytes()).unwrap();
    let in_latin = Mapping { encoding: "windows-1252".into(), ..mapping() };
    let cases = [
        (shop.file("a.csv", &plain), mapping()),
        (shop.file("b.csv", format!("\u{feff}{plain}")), mapping()),
        (shop.file("c.csv", semicolons), mapping()),
        (shop.file("d.csv", latin), in_latin),
        (shop.file("e.csv", utf16), mapping()),
        (shop.file("f.csv.gz", gz.finish().unwrap()), mapping()),
        (shop.file("g.csv.zst", zstd::encode_all(plain.as_bytes(), 1).unwrap()), mapping()),
        (shop.file("h.csv", plain.replace('\n', "\r\n")), mapping()),
    ];
    for (path, mapping) in cases {
        let report = shop.import(&path, &mapping);
        assert_eq!((report.accepted, report.refused()), (2, 0), "{}: {report}", path.display());
    }
}

#[test]
fn prices_with_a_decimal_comma() {
    let shop = Shop::new();
    let path = shop.file("shop.csv", "when;who;what;price;pieces;name\n2026-01-05;u;i;1.234,50;1;x\n");
    let report = shop.import(&path, &Mapping { decimal_comma: true, ..mapping() });
    assert_eq!(report.accepted, 1, "{report}");
}

#[test]
fn what_is_cut_off_or_broken_leaves_the_rest() {
    let shop = Shop::new();
    let many: String = (0..20_000).map(|n| format!("2026-01-05,u{n},i{n},1,1,x\n")).collect();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(format!("{HEAD}{many}").as_bytes()).unwrap();
    let packed = gz.finish().unwrap();
    let cut = shop.import(&shop.file("cut.csv.gz", &packed[..packed.len() / 2]), &mapping());
    assert!(cut.accepted > 1000, "{cut}");
    assert_eq!(cut.quarantined.get("file cut off"), Some(&1), "{cut}");

    let long = format!("{HEAD}{GOOD}2026-01-05,u,i,1,1,{}\n2026-01-06,u9,i9,1,1,x\n", "x".repeat(10 << 20));
    let long = shop.import(&shop.file("long.csv", long), &mapping());
    assert_eq!((long.accepted, long.quarantined.get("broken line")), (2, Some(&1)), "{long}");

    let quote = format!("{HEAD}2026-01-05,u,i,1,1,\"open\n{GOOD}");
    let quote = shop.import(&shop.file("quote.csv", quote), &mapping());
    assert_eq!((quote.accepted, quote.quarantined.get("broken line")), (1, Some(&1)), "{quote}");

    let bytes = [HEAD.as_bytes(), b"2026-01-05,u,i,1,1,ma\xF1ana\n", GOOD.as_bytes(), b"\0\0,,\0\n"].concat();
    let bytes = shop.import(&shop.file("bytes.csv", bytes), &mapping());
    assert_eq!((bytes.accepted, bytes.quarantined.get("wrong encoding")), (1, Some(&1)), "{bytes}");

    let parquet = shop.try_import(&shop.file("cut.parquet", b"PAR1 and no more"), Some(&mapping()));
    assert!(parquet.unwrap_err().to_string().contains("cut.parquet"));
}

#[test]
fn what_cannot_be_read_at_all_says_what_to_do() {
    let shop = Shop::new();
    let message = |name: &str, text: &str, mapping: Option<&Mapping>| {
        shop.try_import(&shop.file(name, text), mapping).unwrap_err().to_string()
    };
    let missing = message("a.csv", "when,who,item\n", Some(&mapping()));
    assert!(
        missing.contains("no column what, pieces, price, name") && missing.contains("when, who, item"),
        "{missing}"
    );
    let delimiter = message("b.csv", HEAD, Some(&Mapping { delimiter: ";".into(), ..mapping() }));
    assert!(delimiter.contains("delimiter"), "{delimiter}");
    assert!(message("c.csv", HEAD, None).contains("--mapping"));
    assert!(message("d.xlsx", "", None).contains("d.xlsx"));
    let utf16: String = HEAD.chars().flat_map(|c| [c, '\0']).collect();
    assert!(message("u.csv", &utf16, Some(&mapping())).contains("utf-16le"));
    assert!(
        message("r.csv", &format!("{HEAD}{GOOD}").replace('\n', "\r"), Some(&mapping())).contains("CR alone")
    );
    let encoding = message("e.csv", HEAD, Some(&Mapping { encoding: "klingon".into(), ..mapping() }));
    assert!(encoding.contains("klingon"), "{encoding}");
    for mapping in [Some(&mapping()), None] {
        let absent = shop.try_import(&shop.dir.path().join("none.csv"), mapping).unwrap_err().to_string();
        assert!(absent.contains("none.csv") && absent.contains("No such file"), "{absent}");
    }
}

#[test]
fn own_events_and_ga4_need_no_mapping() {
    let shop = Shop::new();
    let lines = concat!(
        r#"{"event_id":"e1","time":"2026-01-05T10:00:00Z","kind":"view","user_id":"u","item_id":"i"}"#,
        "\n",
        r#"{"client_id":"c","timestamp_micros":1767600000000000,"events":[{"name":"view_item","params":{"items":[{"item_id":"A"}]}}]}"#,
        "\n{\"half\":\n",
        r#"{"event_id":"e2","time":"2026-01-05T10:00:00Z","kind":"view","user_id":"u"}"#,
        "\n"
    );
    let report = shop.try_import(&shop.file("events.jsonl", lines), None).unwrap();
    assert_eq!((report.rows, report.accepted), (4, 2), "{report}");
    assert_eq!(report.quarantined.get("not JSON"), Some(&1));
    assert_eq!(report.quarantined.get("incomplete"), Some(&1));
}

#[test]
fn amounts_dates_and_words_as_shops_write_them() {
    let shop = Shop::new();
    let mut own = mapping();
    own.date_order = qhatu_schema::DateOrder::DayFirst;
    own.columns.state = "name".to_owned();
    own.states.insert("anulado".to_owned(), qhatu_schema::PurchaseState::Expired);
    let rows = "05/01/2026 10:00,u,i,\"S/ 1,234.50\",2.00,anulado\n05/01/2026,u,i,3,1,Refunded\n05/01/2026,u,i,3,1,lost\n";
    let report = shop.import(&shop.file("a.csv", format!("{HEAD}{rows}")), &own);
    assert_eq!((report.accepted, report.quarantined.get("unknown state")), (2, Some(&1)), "{report}");
    assert_eq!(report.repaired.values().sum::<u64>(), 1, "{report}");
}

#[test]
fn baskets_of_nobody_known_are_kept_where_the_rules_say_so() {
    let shop = Shop::new();
    let path = shop.file("a.csv", format!("{HEAD}2026-01-05,,i1,1,1,o-1\n2026-01-05,,i1,1,1,\n"));
    let with = |missing_user| {
        let mut own = mapping();
        (own.columns.order_id, own.rules.missing_user) = ("name".to_owned(), missing_user);
        let report = shop.import(&path, &own);
        (report.accepted, report.quarantined.get("no shopper").copied())
    };
    assert_eq!(with(MissingUser::Quarantine), (0, Some(2)));
    assert_eq!(with(MissingUser::Session), (0, Some(2)));
    assert_eq!(with(MissingUser::AnonymousSession), (1, Some(1)));
}

#[test]
fn rows_may_lie_within_objects() {
    let shop = Shop::new();
    let mut own = mapping();
    own.rows = "lines".to_owned();
    own.columns.user_id = "customer.id".to_owned();
    let text = r#"{"when":"2026-01-05","customer":{"id":7},"lines":[{"what":"a","price":1.5},{"what":"b","pieces":2}]}
{"when":"2026-01-05"}"#;
    let report = shop.import(&shop.file("a.jsonl", text), &own);
    assert_eq!((report.accepted, report.quarantined.get("no rows")), (2, Some(&1)), "{report}");
}

#[test]
fn products_and_shoppers_need_no_mapping_in_json() {
    let shop = Shop::new();
    let text = concat!(
        r#"{"item_id":"i1","title":"Taza","stock":3}"#,
        "\n",
        r#"{"user_id":"u1","country":"Peru"}"#,
        "\n",
        r#"{"item_id":"i2","titel":"Vaso"}"#
    );
    let report = shop.try_import(&shop.file("a.jsonl", text), None).unwrap();
    assert_eq!((report.items, report.users, report.refused()), (1, 1, 1), "{report}");
}

#[test]
fn what_ga4_says_of_other_things_is_ignored_and_counted() {
    let shop = Shop::new();
    let text = r#"{"client_id":"c","timestamp_micros":1767600000000000,"events":[{"name":"page_view"},{"name":"view_item","params":{"items":[{"item_id":"A"}]}}]}
{"session":0,"events":[{"aid":1,"ts":1659304800025,"type":"clicks"}]}"#;
    let report = shop.try_import(&shop.file("a.jsonl", text), None).unwrap();
    assert_eq!((report.rows, report.accepted, report.ignored.len()), (3, 1, 1), "{report}");
    assert_eq!(report.quarantined.get("not an event"), Some(&1), "{report}");
}

#[test]
fn a_mended_file_is_told_whatever_the_mapping_says_of_its_format() {
    let shop = Shop::new();
    let own = Mapping { format: Format::Csv, encoding: "windows-1252".into(), ..mapping() };
    let path = shop.file("a.csv", format!("{HEAD}yesterday,u1,i2,1,1,x\n"));
    assert_eq!(shop.import(&path, &own).refused(), 1);
    let kept = fs::read_to_string(shop.dir.path().join("quarantine/refused.jsonl")).unwrap();
    let mended = shop.file("mended.jsonl", kept.replace("yesterday", "2026-01-06").replace(",x", ",ñ"));
    assert_eq!(shop.import(&mended, &own).accepted, 1);
}

/// One moment by a clock on the wall, in each format, is one instant by the mapping's zone.
#[test]
fn local_times_are_read_by_one_rule_in_every_format() {
    let shop = Shop::new();
    let parquet = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/local_times.parquet");
    let csv = shop.file("a.csv", "time,user_id,item_id,kind\n2026-01-05 10:00:00,u,i,view\n");
    let json =
        shop.file("a.jsonl", r#"{"time":"2026-01-05T10:00:00","user_id":"u","item_id":"i","kind":"view"}"#);
    for (zone, utc) in [("America/Lima", "2026-01-05T15:00:00Z"), ("UTC", "2026-01-05T10:00:00Z")] {
        let own: Mapping = serde_json::from_value(serde_json::json!({
            "timezone": zone,
            "columns": { "time": "time", "user_id": "user_id", "item_id": "item_id", "kind": "kind" },
        }))
        .unwrap();
        for path in [&csv, &json, &parquet] {
            assert_eq!(times(path, &own), [utc]);
        }
    }
}

/// The times of the events that a file holds.
fn times(path: &Path, mapping: &Mapping) -> Vec<String> {
    #[derive(Default)]
    struct Times(Vec<String>);
    impl Sink for Times {
        fn events(&mut self, events: &[Event]) -> Result<Vec<bool>, StoreError> {
            self.0.extend(events.iter().map(|event| event.time.to_string()));
            Ok(vec![true; events.len()])
        }
        fn items(&mut self, _items: &[Item]) -> Result<(), StoreError> {
            Ok(())
        }
        fn users(&mut self, _users: &[User]) -> Result<(), StoreError> {
            Ok(())
        }
    }
    let mut sink = Times::default();
    let now = Timestamp::parse("2026-02-01").unwrap();
    Importer::new(&mut sink, &mut Quarantine::none(), &mut |_| {}, now).import(path, Some(mapping)).unwrap();
    sink.0
}

#[test]
fn a_file_of_orders_takes_nothing_from_the_catalogue() {
    let shop = Shop::new();
    let documents: Arc<dyn Documents> = Arc::new(MemoryDocuments::default());
    let catalogue = Catalogue::new(documents);
    let mut sink = StoreSink { log: Arc::new(MemoryLog::default()), catalogue: catalogue.clone() };
    let now = Timestamp::parse("2026-02-01").unwrap();
    let mut import = |path: &Path, mapping: Option<&Mapping>| {
        Importer::new(&mut sink, &mut Quarantine::none(), &mut |_| {}, now).import(path, mapping).unwrap();
    };
    import(&shop.file("c.jsonl", r#"{"item_id":"i1","title":"Taza","category":"Cocina"}"#), None);
    let mut own = mapping();
    own.columns.title = String::new();
    import(&shop.file("o.csv", format!("{HEAD}2026-02-01 12:00:00,u1,i1,10.50,2,\n")), Some(&own));
    let items = catalogue.items().unwrap();
    assert_eq!((items[0].title.as_str(), items[0].category.as_deref()), ("Taza", Some("Cocina")));
    assert_eq!(items[0].price.unwrap().units(), 10.5, "the later word");
}
