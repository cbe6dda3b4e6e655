//! A disk that is full, a folder that is read-only, files cut short, a clock that jumps back: a clear error
//! or the whole truth, and nothing acknowledged lost.
//!
//! What a process can do to itself only once (a limit on the size of files, another user) is done in a
//! child: the test starts its own program again, with the part it is to play in the environment.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]
#![expect(clippy::print_stdout, reason = "the parent reads what its child prints")]

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use qhatu_schema::{ErrorKind, Event, EventId, EventKind, ItemId, Timestamp, UserId};
use qhatu_store::{EventLog, Lake, StoreError, open_documents, open_event_log};
use serde_json::json;
use tempfile::TempDir;

const DIR: &str = "QHATU_FAULT_TEST_DIR";
const NOBODY: u32 = 65_534;

fn event(id: &str, day: i64) -> Event {
    let time = Timestamp::from_millis(1_700_000_000_000 + day * 86_400_000);
    let mut event = Event::new(EventId::new(id).unwrap(), time, EventKind::View);
    event.user_id = Some(UserId::new("u").unwrap());
    event.item_id = Some(ItemId::new("i").unwrap());
    event
}

fn batch(number: usize) -> Vec<Event> {
    (0..100).map(|place| event(&format!("{number}-{place}"), number as i64)).collect()
}

fn ids(log: &dyn EventLog) -> Vec<String> {
    log.read(1, usize::MAX).unwrap().into_iter().map(|(_, event)| event.event_id.to_string()).collect()
}

/// The folder of the part to play, in a child.
fn played() -> Option<PathBuf> {
    std::env::var_os(DIR).map(PathBuf::from)
}

/// What a child that runs `test` in `dir` printed; `limit` is the largest file it may write, in KiB.
fn child(test: &str, dir: &Path, limit: Option<u32>) -> Vec<String> {
    let program = std::env::current_exe().unwrap();
    let mut command = match limit {
        // A write beyond the limit is then answered with an error, as a full disk answers.
        Some(kib) => {
            let mut shell = Command::new("sh");
            let line = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", kib * 2);
            shell.args(["-c", &line]).arg(program);
            shell
        }
        None => Command::new(program),
    };
    said(command.args(["--exact", test, "--nocapture"]).env(DIR, dir))
}

fn said(command: &mut Command) -> Vec<String> {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(str::to_owned).collect()
}

/// What stands behind `word` in the lines that begin with it.
fn behind(lines: &[String], word: &str) -> Vec<String> {
    lines.iter().filter_map(|line| line.strip_prefix(word)).map(str::to_owned).collect()
}

#[test]
fn a_full_disk_is_said_and_takes_nothing_that_was_acknowledged() {
    if let Some(dir) = played() {
        return append_until_it_is_full(&dir);
    }
    let dir = TempDir::new().unwrap();
    let lines = child("a_full_disk_is_said_and_takes_nothing_that_was_acknowledged", dir.path(), Some(1_024));
    let faults = behind(&lines, "fault ");
    assert_eq!(faults.len(), 2, "{lines:?}");
    assert!(faults.iter().all(|fault| fault.contains("events.sqlite") && fault.contains("could not write")));
    let acknowledged: HashSet<String> = behind(&lines, "ack ").into_iter().collect();
    assert!(acknowledged.len() >= 500, "full before anything was in: {lines:?}");
    assert_eq!(behind(&lines, "read "), [acknowledged.len().to_string()], "what is in can still be read");

    let log = open_event_log(dir.path()).unwrap();
    let kept = ids(&*log);
    assert_eq!(kept.len(), acknowledged.len(), "a batch that was refused is not there in part");
    assert_eq!(kept.into_iter().collect::<HashSet<_>>(), acknowledged);
    let refused = batch(acknowledged.len() / 100);
    assert!(log.append(&refused).unwrap().iter().all(|new| *new), "with room again it goes in");
}

fn append_until_it_is_full(dir: &Path) {
    println!();
    let log = open_event_log(dir).unwrap();
    for number in 0.. {
        let events = batch(number);
        match log.append(&events) {
            Ok(_) => events.iter().for_each(|event| println!("ack {}", event.event_id)),
            Err(error) => {
                assert!(matches!(error, StoreError::NotWritten { .. }), "{error}");
                println!("\nfault {error}");
                break;
            }
        }
    }
    // It stays full, and says so again instead of hanging or giving up.
    let again: Vec<Event> = (0..3_000).map(|place| event(&format!("again-{place}"), 0)).collect();
    println!("fault {}", log.append(&again).unwrap_err());
    println!("read {}", ids(&*log).len());
}

#[test]
fn a_full_disk_breaks_off_a_compaction_and_the_next_one_goes_on() {
    if let Some(dir) = played() {
        let log = open_event_log(&dir.join("log")).unwrap();
        let lake = Lake::open(dir.join("lake")).unwrap();
        println!("\nfault {}", lake.compact(&*log).unwrap_err());
        println!("lake {}", lake.read(None, None).unwrap().len());
        return;
    }
    let dir = TempDir::new().unwrap();
    let log = open_event_log(&dir.path().join("log")).unwrap();
    let events: Vec<Event> = (0..20_000).map(|n| event(&format!("{:x}", n * 0x9E37_79B9_u64), 0)).collect();
    log.append(&events).unwrap();
    drop(log);
    let lines = child("a_full_disk_breaks_off_a_compaction_and_the_next_one_goes_on", dir.path(), Some(64));
    let fault = &behind(&lines, "fault ")[0];
    assert!(fault.contains("day=2023-11-14") && fault.contains("too large"), "{fault}");
    assert_eq!(behind(&lines, "lake "), ["0"], "half a part does not show");

    let log = open_event_log(&dir.path().join("log")).unwrap();
    let lake = Lake::open(dir.path().join("lake")).unwrap();
    assert_eq!(lake.compact(&*log).unwrap().events, 20_000);
    assert_eq!(lake.read(None, None).unwrap().len(), 20_000);
    assert_eq!(fs::read_dir(dir.path().join("lake/events/day=2023-11-14")).unwrap().count(), 1);
}

#[test]
fn a_full_disk_keeps_the_documents_that_were_put() {
    if let Some(dir) = played() {
        let documents = open_documents(&dir).unwrap();
        let body = json!("x".repeat(10_000));
        let put = (0..).take_while(|number| match documents.put("k", &format!("{number:04}"), &body) {
            Ok(_) => true,
            Err(error) => {
                println!("\nfault {error}");
                false
            }
        });
        println!("put {}", put.count());
        return;
    }
    let dir = TempDir::new().unwrap();
    let lines = child("a_full_disk_keeps_the_documents_that_were_put", dir.path(), Some(1_024));
    assert!(behind(&lines, "fault ")[0].contains("documents.sqlite"), "{lines:?}");
    let put: usize = behind(&lines, "put ")[0].parse().unwrap();
    assert!(put >= 20, "{put}");
    let documents = open_documents(dir.path()).unwrap();
    assert_eq!(documents.count("k").unwrap(), put);
    assert_eq!(documents.put("k", "more", &json!(1)).unwrap(), 1);
}

/// As another user where this one may write everywhere.
#[test]
fn a_read_only_folder_is_said_and_can_be_read() {
    if let Some(dir) = played() {
        return use_what_is_read_only(&dir);
    }
    let outer = TempDir::new().unwrap();
    let dir = outer.path().join("data");
    let log = open_event_log(&dir.join("log")).unwrap();
    log.append(&batch(0)).unwrap();
    Lake::open(dir.join("lake")).unwrap().compact(&*log).unwrap();
    open_documents(&dir.join("metadata")).unwrap().put("k", "a", &json!(1)).unwrap();
    drop(log);
    // The program too must be where the other user may read it.
    let program = outer.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    set_modes(outer.path(), 0o555, 0o444);
    set_mode(&program, 0o555);

    let mut command = Command::new(&program);
    if fs::metadata("/proc/self").map_or(0, |process| process.uid()) == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    let test = "a_read_only_folder_is_said_and_can_be_read";
    let lines = said(command.args(["--exact", test, "--nocapture"]).env(DIR, &dir));
    set_modes(outer.path(), 0o755, 0o644);

    for (what, file) in [("log", "log/lock"), ("documents", "documents.sqlite"), ("lake", "day=2023-11-15")] {
        let faults = behind(&lines, &format!("{what}: "));
        assert!(faults[0].contains(file) && faults[0].starts_with("permission_denied "), "{lines:?}");
    }
    assert_eq!(behind(&lines, "events "), ["100"]);
    let log = open_event_log(&dir.join("log")).unwrap();
    assert_eq!(ids(&*log).len(), 100);
}

fn use_what_is_read_only(dir: &Path) {
    let say = |what: &str, error: &StoreError| println!("\n{what}: {} {error}", error.kind().code());
    say("log", &open_event_log(&dir.join("log")).err().unwrap());
    let documents = open_documents(&dir.join("metadata"));
    say("documents", &documents.and_then(|documents| documents.put("k", "b", &json!(2))).unwrap_err());
    let lake = Lake::open(dir.join("lake")).unwrap();
    println!("events {}", lake.read(None, None).unwrap().len());
    let log = qhatu_store::MemoryLog::default();
    for number in 0..2 {
        log.append(&batch(number)).unwrap();
    }
    say("lake", &lake.compact(&log).unwrap_err());
}

fn set_modes(folder: &Path, folders: u32, files: u32) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            set_modes(&path, folders, files);
        } else {
            set_mode(&path, files);
        }
    }
    set_mode(folder, folders);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A copy of the log's files as a crash of the machine would leave them: open, not yet checkpointed.
fn copy_of_open_log(dir: &TempDir, batches: usize) -> Vec<(String, Vec<u8>)> {
    let log = open_event_log(dir.path()).unwrap();
    for number in 0..batches {
        log.append(&batch(number)).unwrap();
    }
    let names = ["events.sqlite", "events.sqlite-wal"];
    names.map(|name| (name.to_owned(), fs::read(dir.path().join(name)).unwrap())).to_vec()
}

/// What was synced stands in front; a tail that was not is cut anywhere by a loss of power.
#[test]
fn a_log_cut_short_at_its_end_keeps_whole_groups_from_the_front() {
    let dir = TempDir::new().unwrap();
    let files = copy_of_open_log(&dir, 20);
    let tail = files[1].1.len();
    let mut most = 0;
    for step in 0..=40 {
        let cut = tail * step / 40;
        let copy = TempDir::new().unwrap();
        fs::write(copy.path().join(&files[0].0), &files[0].1).unwrap();
        fs::write(copy.path().join(&files[1].0), &files[1].1[..cut]).unwrap();
        let log = open_event_log(copy.path()).unwrap();
        let kept = ids(&*log);
        assert_eq!(kept.len() % 100, 0, "a group is there whole or not at all");
        assert!(kept.len() >= most, "a longer file has no fewer events");
        most = kept.len();
        let expected = (0..kept.len() / 100).flat_map(batch).map(|event| event.event_id.to_string());
        assert_eq!(kept, expected.collect::<Vec<_>>());
        assert!(log.append(&[event("after", 0)]).unwrap()[0]);
        assert_eq!(log.last_offset().unwrap(), kept.len() as u64 + 1);
    }
    assert_eq!(most, 2_000, "the whole file has all");
}

#[test]
fn a_log_whose_body_is_cut_or_overwritten_is_refused_and_never_read_as_shorter() {
    let dir = TempDir::new().unwrap();
    let log = open_event_log(dir.path()).unwrap();
    for number in 0..40 {
        log.append(&batch(number)).unwrap();
    }
    drop(log);
    let path = dir.path().join("events.sqlite");
    let whole = fs::read(&path).unwrap();
    assert!(whole.len() > 200_000, "closing writes everything into the one file");
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let read = open_event_log(dir.path()).and_then(|log| log.read(1, usize::MAX));
        let error = read.expect_err("what is damaged must not be read as if it were whole");
        assert!(error.to_string().contains("events.sqlite"), "{error}");
        assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
    };
    refused(&whole[..whole.len() / 2]);
    refused(&whole[..whole.len() - 4_096]);
    refused(&[b"half a head".as_slice(), &whole[64..]].concat());
    let mut overwritten = whole.clone();
    let end = overwritten.len();
    overwritten[4_096..end].fill(0x55);
    refused(&overwritten);
    fs::write(&path, &whole).unwrap();
    assert_eq!(ids(&*open_event_log(dir.path()).unwrap()).len(), 4_000);
}

/// Offsets tell the order of acceptance, days the shop's time; no clock of this machine is asked.
#[test]
fn times_that_jump_back_change_neither_offsets_nor_days() {
    let dir = TempDir::new().unwrap();
    let log = open_event_log(&dir.path().join("log")).unwrap();
    let lake = Lake::open(dir.path().join("lake")).unwrap();
    for (number, day) in [9, 3, 7, 0, 9, 1].into_iter().enumerate() {
        assert!(log.append(&[event(&format!("e{number}"), day)]).unwrap()[0]);
        lake.compact(&*log).unwrap();
    }
    assert_eq!(ids(&*log), ["e0", "e1", "e2", "e3", "e4", "e5"]);
    let events = lake.read(None, None).unwrap();
    let order: Vec<&str> = events.iter().map(|event| event.event_id.as_str()).collect();
    assert_eq!(order, ["e3", "e5", "e1", "e2", "e0", "e4"]);
    assert_eq!(lake.days().unwrap().len(), 5);
}
