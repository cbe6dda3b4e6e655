//! Killed at random under load, 200 times: what was acknowledged is there, once.
//!
//! The test starts itself as a child that appends from four threads and writes each acknowledged id to its
//! standard output; the parent kills it with SIGKILL a random while after its first acknowledgement and
//! goes on with the next child on the same files. Between them, 40 children are killed before that, while
//! they open the log and recover it. Every fourth child compacts into the lake meanwhile, and the lake is
//! read as the kill left it. At the end, log and lake are held against everything that was acknowledged.

#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use qhatu_schema::{Event, EventId, EventKind, ItemId, Timestamp, UserId};
use qhatu_store::{Lake, open_event_log};
use tempfile::TempDir;

/// Kills under load; every fifth of them is followed by one while the log is being opened.
const ROUNDS: u64 = 200;
const CHILD: &str = "QHATU_KILL_TEST_DIR";
const ROUND: &str = "QHATU_KILL_TEST_ROUND";

fn event(id: &str, number: u64) -> Event {
    let time = Timestamp::from_millis(1_700_000_000_000 + i64::try_from(number).unwrap() * 60_000);
    let mut event = Event::new(EventId::new(id).unwrap(), time, EventKind::View);
    event.user_id = Some(UserId::new("u").unwrap());
    event.item_id = Some(ItemId::new("i").unwrap());
    event
}

#[test]
fn what_was_acknowledged_survives_being_killed() {
    if let Ok(dir) = std::env::var(CHILD) {
        child(Path::new(&dir), std::env::var(ROUND).unwrap().parse().unwrap());
    }
    let dir = TempDir::new().unwrap();
    let mut acknowledged: HashSet<String> = HashSet::new();
    let mut wait = 12_345_u64;
    for round in 0..ROUNDS {
        wait = wait.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let until_kill = Duration::from_micros((wait >> 33) % 60_000);
        let under_load = killed_after(dir.path(), round, Kill::AfterFirstAnswer(until_kill));
        assert!(!under_load.is_empty(), "round {round} was not killed under load");
        acknowledged.extend(under_load);
        if round % 5 == 0 {
            acknowledged.extend(killed_after(dir.path(), ROUNDS + round, Kill::WhileOpening(until_kill / 4)));
        }
        if round % 4 == 0 {
            check_lake(dir.path());
        }
    }
    assert!(acknowledged.len() > 1_000, "only {} acknowledged: the load was too small", acknowledged.len());
    check(dir.path(), &acknowledged);
}

/// When a child is killed.
#[derive(Clone, Copy)]
enum Kill {
    AfterFirstAnswer(Duration),
    WhileOpening(Duration),
}

/// Runs a child, kills it, and returns the ids it had acknowledged.
fn killed_after(dir: &Path, round: u64, kill: Kill) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "what_was_acknowledged_survives_being_killed", "--nocapture"])
        .env(CHILD, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    // A line without its end may be cut in the middle of an id.
    let id = |line: String| Some(line.strip_prefix("ack ")?.strip_suffix('.')?.to_owned());
    // The moment is what the test is about: beyond the first answer there is no condition to wait for.
    let (first, wait) = match kill {
        Kill::AfterFirstAnswer(wait) => (lines.by_ref().find_map(id), wait),
        Kill::WhileOpening(wait) => (None, wait),
    };
    let rest = std::thread::spawn(move || lines.filter_map(id).collect::<Vec<_>>());
    std::thread::sleep(wait);
    child.kill().unwrap();
    child.wait().unwrap();
    first.into_iter().chain(rest.join().unwrap()).collect()
}

fn child(dir: &Path, round: u64) -> ! {
    let log = open_event_log(&dir.join("log")).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4_u64 {
            let log = &log;
            scope.spawn(move || {
                for batch in 0.. {
                    // Every third batch sends ids again that an earlier child may have sent.
                    let round = if batch % 3 == 2 { round.saturating_sub(1) } else { round };
                    let id = |place: u64| format!("{round}-{writer}-{batch}-{place}");
                    let events: Vec<Event> = (0..1 + batch % 40).map(|p| event(&id(p), batch)).collect();
                    log.append(&events).unwrap();
                    let lines: String = events.iter().map(|e| format!("ack {}.\n", e.event_id)).collect();
                    std::io::stdout().write_all(lines.as_bytes()).unwrap();
                }
            });
        }
        if round.is_multiple_of(4) {
            let log = &log;
            let lake = Lake::open(dir.join("lake")).unwrap();
            scope.spawn(move || {
                loop {
                    lake.compact(&**log).unwrap();
                }
            });
        }
    });
    unreachable!("the writers end by being killed")
}

/// The lake as a kill left it, before any tidying: readable, and nothing in it twice.
fn check_lake(dir: &Path) {
    let events = Lake::open(dir.join("lake")).unwrap().read(None, None).unwrap();
    let ids: HashSet<&str> = events.iter().map(|event| event.event_id.as_str()).collect();
    assert_eq!(ids.len(), events.len(), "an event is in the lake twice");
}

fn check(dir: &Path, acknowledged: &HashSet<String>) {
    let log = open_event_log(&dir.join("log")).unwrap();
    let events = log.read(1, usize::MAX).unwrap();
    let offsets: Vec<u64> = events.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, (1..=events.len() as u64).collect::<Vec<_>>(), "offsets without gaps");
    let once = |events: &mut dyn Iterator<Item = &Event>, place: &str| {
        let mut counts: HashMap<&str, u32> = HashMap::new();
        events.for_each(|event| *counts.entry(event.event_id.as_str()).or_default() += 1);
        assert!(counts.values().all(|count| *count == 1), "an event is in the {place} twice");
        let lost = acknowledged.iter().filter(|id| !counts.contains_key(id.as_str())).count();
        assert_eq!(lost, 0, "acknowledged and not in the {place}");
    };
    once(&mut events.iter().map(|(_, event)| event), "log");
    let lake = Lake::open(dir.join("lake")).unwrap();
    lake.compact(&*log).unwrap();
    once(&mut lake.read(None, None).unwrap().iter(), "lake");
}
