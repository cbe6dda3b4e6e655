//! A restart from a snapshot and the log's tail ends in the state of a full replay, seen from outside: the
//! same answers and the same feature rows. What cannot be used is passed over; a kill while it is written
//! leaves the old one or the new one.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as expected")]
#![expect(clippy::print_stdout, reason = "the parent reads what its child prints")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use http_body_util::BodyExt;
use qhatu_features::Declarations;
use qhatu_schema::{Event, EventId, EventKind, SessionId};
use qhatu_serve::{Clock, Engine, Parts, ServeConfig, router};
use qhatu_store::{EventLog, MemoryDocuments, MemoryLog, StoreError, open_event_log};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

mod tiny;

const DIR: &str = "QHATU_SNAPSHOT_TEST_DIR";

/// Counts the events that are read, which tells a restart from a replay.
struct Counting {
    log: Arc<dyn EventLog>,
    read: AtomicUsize,
}

impl EventLog for Counting {
    fn append(&self, events: &[Event]) -> Result<Vec<bool>, StoreError> {
        self.log.append(events)
    }
    fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Event)>, StoreError> {
        let events = self.log.read(from, limit)?;
        self.read.fetch_add(events.len(), Ordering::Relaxed);
        Ok(events)
    }
    fn last_offset(&self) -> Result<u64, StoreError> {
        self.log.last_offset()
    }
}

fn config() -> ServeConfig {
    ServeConfig { clock: Clock::LastEvent, reload_seconds: 0, score_threads: 2, ..ServeConfig::default() }
}

/// The shop's events, and between them views and carts of visits, some late, some of people known.
fn events(shop: &tiny::TinyShop) -> Vec<Event> {
    let mut events = Vec::new();
    for (number, purchase) in shop.events.iter().enumerate() {
        events.push(purchase.clone());
        let kind = [EventKind::View, EventKind::AddToCart, EventKind::Click][number % 3];
        let late = if number % 5 == 0 { 40 * 86_400_000 } else { 0 };
        let mut step = Event::new(
            EventId::new(format!("step-{number}")).unwrap(),
            purchase.time.plus_millis(-late),
            kind,
        );
        step.session_id = Some(SessionId::new(format!("visit-{}", number / 7)).unwrap());
        step.user_id = purchase.user_id.clone().filter(|_| number % 2 == 0);
        step.item_id = Some(shop.items[number * 7 % shop.items.len()].item_id.clone());
        events.push(step);
    }
    events
}

/// An engine over `log` with the shop's catalogue; from the snapshot in `folder` where one is named.
fn open(log: Arc<dyn EventLog>, folder: Option<&Path>, config: ServeConfig, features: &str) -> Arc<Engine> {
    let shop = tiny::TinyShop::new(7);
    let documents = Arc::new(MemoryDocuments::default());
    qhatu_store::Catalogue::new(Arc::<MemoryDocuments>::clone(&documents)).upsert_items(&shop.items).unwrap();
    let declarations = Arc::new(Declarations::from_toml(features).unwrap());
    let parts = Parts { log, documents, declarations, models: Box::new(shop.models()), propensity: None };
    let engine = match folder {
        Some(folder) => Engine::open_from_snapshot(parts, config, folder),
        None => Engine::open(parts, config),
    };
    let engine = engine.unwrap();
    engine.wait().unwrap();
    engine
}

/// Everything that a state says to the outside, without what is new in each answer.
fn said(engine: &Arc<Engine>) -> Vec<Value> {
    let router = router(Arc::clone(engine), config()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let get = |path: String| {
        let request = Request::get(path.as_str()).header(header::HOST, "localhost").body(Body::empty());
        runtime.block_on(async {
            let response = router.clone().oneshot(request.unwrap()).await.unwrap();
            let status = response.status();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&body));
            let mut value: Value = serde_json::from_slice(&body).unwrap();
            if let Some(fields) = value.as_object_mut() {
                fields.remove("recommendation_id");
                fields.remove("time");
            }
            value
        })
    };
    let mut all = Vec::new();
    for number in 0..40 {
        let user = format!("cliente-{number:02}");
        for placement in ["home", "discover", "buy_again"] {
            all.push(get(format!("/v1/recommendations?user_id={user}&placement={placement}&k=20")));
        }
        all.push(get(format!("/v1/users/{user}/history?limit=200")));
        all.push(get(format!("/v1/features/user?key={user}")));
        all.push(get(format!("/v1/recommendations?session_id=visit-{number}&placement=home&k=20")));
        all.push(get(format!("/v1/features/session?key=visit-{number}")));
    }
    for number in 1..=32 {
        all.push(get(format!("/v1/items/P{number:03}/similar")));
        all.push(get(format!("/v1/items/P{number:03}/bought_together")));
        all.push(get(format!("/v1/features/item?key=P{number:03}")));
    }
    all.push(get("/v1/popular?k=32".to_owned()));
    all
}

fn log_of(events: &[Event]) -> Arc<Counting> {
    let log = MemoryLog::default();
    log.append(events).unwrap();
    Arc::new(Counting { log: Arc::new(log), read: AtomicUsize::new(0) })
}

/// Events read from the log by opening with the snapshot in `folder`, and whether the answers are those of
/// a full replay.
fn restarted(log: &Arc<Counting>, folder: &Path, config: ServeConfig, features: &str) -> usize {
    let full = open(Arc::<Counting>::clone(log), None, config.clone(), features);
    let before = log.read.load(Ordering::Relaxed);
    let engine = open(Arc::<Counting>::clone(log), Some(folder), config, features);
    let read = log.read.load(Ordering::Relaxed) - before;
    let (left, right) = (said(&engine), said(&full));
    for (left, right) in left.iter().zip(&right) {
        assert_eq!(left, right);
    }
    read
}

fn file(folder: &Path) -> PathBuf {
    folder.join("live.snapshot")
}

#[test]
fn a_snapshot_and_the_tail_end_in_the_state_of_a_full_replay() {
    let all = events(&tiny::TinyShop::new(7));
    let folder = TempDir::new().unwrap();
    let log = log_of(&[]);
    let mut known = 0;
    // Each restart goes on from the snapshot of the one before.
    for end in [1, 40, 41, all.len() / 2, all.len() - 1, all.len()] {
        log.append(&all[known..end]).unwrap();
        // One event more where there was a snapshot: the one by which the log is known again.
        let expected = if known == 0 { end } else { end - known + 1 };
        assert_eq!(restarted(&log, folder.path(), config(), ""), expected, "up to {end}");
        let engine = open(Arc::<Counting>::clone(&log), Some(folder.path()), config(), "");
        engine.close();
        known = end;
    }
    assert_eq!(restarted(&log, folder.path(), config(), ""), 1, "nothing is replayed");
}

#[test]
fn a_snapshot_that_does_not_fit_is_passed_over_and_everything_is_replayed() {
    let all = events(&tiny::TinyShop::new(7));
    let (folder, log) = (TempDir::new().unwrap(), log_of(&all));
    open(Arc::<Counting>::clone(&log), Some(folder.path()), config(), "").close();
    let whole = fs::read(file(folder.path())).unwrap();
    let everything = |bytes: &[u8], what: &str| {
        fs::write(file(folder.path()), bytes).unwrap();
        let read = restarted(&log, folder.path(), config(), "");
        assert!(read >= all.len(), "{what}: only {read} events were read");
    };
    everything(b"", "empty");
    everything(
        b"another program's file, which is longer than any head of ours is: much longer, in fact",
        "foreign",
    );
    for cut in [10, 40, whole.len() / 2, whole.len() - 1] {
        everything(&whole[..cut], "cut short");
    }
    for place in [0, 17, 30, 60, whole.len() / 2, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[place] ^= 0x10;
        everything(&changed, &format!("byte {place} changed"));
    }
    fs::write(file(folder.path()), &whole).unwrap();
    assert_eq!(restarted(&log, folder.path(), config(), ""), 1, "the whole file is used");

    let weekly = ServeConfig { popularity_half_life_days: 30.0, ..config() };
    assert!(restarted(&log, folder.path(), weekly, "") >= all.len(), "another half-life");
    let more = "[[feature]]\nname = \"own_views\"\nentity = \"user\"\naggregate = \"count\"\nevents = [\"view\"]\nmeaning = \"views\"\n";
    assert!(restarted(&log, folder.path(), config(), more) >= all.len(), "other features");
    let other = log_of(&all[10..]);
    assert!(restarted(&other, folder.path(), config(), "") >= all.len() - 10, "another log");
    let shorter = log_of(&all[..10]);
    assert_eq!(restarted(&shorter, folder.path(), config(), ""), 10, "a log that ends before it");
}

#[test]
fn a_folder_that_cannot_be_written_costs_the_snapshot_alone() {
    let all = events(&tiny::TinyShop::new(7));
    let (folder, log) = (TempDir::new().unwrap(), log_of(&all));
    let taken = folder.path().join("taken");
    fs::write(&taken, "a file where the folder should be").unwrap();
    let engine = open(Arc::<Counting>::clone(&log), Some(&taken), config(), "");
    let answers = said(&engine);
    assert!(!answers.is_empty());
    engine.close();
    assert_eq!(fs::read_to_string(&taken).unwrap(), "a file where the folder should be");
}

#[test]
fn killed_while_a_snapshot_is_written_the_next_start_is_right() {
    if let Ok(dir) = std::env::var(DIR) {
        write_snapshots_for_ever(Path::new(&dir));
    }
    let dir = TempDir::new().unwrap();
    let all = events(&tiny::TinyShop::new(7));
    open_event_log(&dir.path().join("log")).unwrap().append(&all[..all.len() / 4]).unwrap();
    let (mut wait, mut from_snapshot) = (99_u64, 0);
    for round in 0..30 {
        wait = wait.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        kill_after(dir.path(), Duration::from_micros((wait >> 33) % 60_000));
        let log = open_event_log(&dir.path().join("log")).unwrap();
        log.append(&all[round * 5..round * 5 + 5]).unwrap();
        let last = usize::try_from(log.last_offset().unwrap()).unwrap();
        let log = Arc::new(Counting { log, read: AtomicUsize::new(0) });
        let read = if round % 10 == 9 {
            restarted(&log, &dir.path().join("state"), config(), "")
        } else {
            open(Arc::<Counting>::clone(&log), Some(&dir.path().join("state")), config(), "");
            log.read.load(Ordering::Relaxed)
        };
        from_snapshot += usize::from(read < last);
        // The engines' threads let go of the log a moment after the engines; the next child locks it.
        while Arc::strong_count(&log) > 1 {
            std::thread::yield_now();
        }
    }
    assert!(from_snapshot == 30, "only {from_snapshot} of 30 starts found a snapshot");
}

/// Kills a child a while after its first snapshot, in the midst of the later ones.
fn kill_after(dir: &Path, wait: Duration) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed_while_a_snapshot_is_written_the_next_start_is_right", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "drained"), "the child wrote no snapshot");
    // The moment is what the test is about: beyond the first snapshot there is no condition to wait for.
    std::thread::sleep(wait);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Opens, takes an event, drains: each time a snapshot is written.
fn write_snapshots_for_ever(dir: &Path) -> ! {
    let log = open_event_log(&dir.join("log")).unwrap();
    let all = events(&tiny::TinyShop::new(7));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    loop {
        let engine = open(Arc::clone(&log), Some(&dir.join("state")), config(), "");
        let next = usize::try_from(log.last_offset().unwrap()).unwrap();
        let mut event = all[next % all.len()].clone();
        event.event_id = EventId::new(format!("{}-{next}", std::process::id())).unwrap();
        runtime.block_on(engine.append(vec![event])).unwrap();
        engine.close();
        println!("\ndrained");
    }
}
