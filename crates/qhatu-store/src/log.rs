//! The event log: what was acknowledged is on disk, and an event id counts once.
//!
//! One thread writes. Callers hand it their events and wait; it takes all that wait, writes them in
//! one transaction, and answers when that is synced: group commit, so that many small callers share
//! one sync. Offsets are 1, 2, 3, … in order of acceptance, without gaps.
//!
//! A group that cannot be written (a full disk, a folder that became read-only) is taken back whole and
//! its callers are told; the next one is tried again. After a failed sync nothing more is written: what
//! the disk then has can only be known by opening the log anew. Why SQLite: docs/adr/0001.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use qhatu_schema::{ErrorKind, Event};
use rusqlite::{Connection, OpenFlags, params};

use crate::error::{StoreError, database_kind};

/// A log of events; every implementation passes the same contract suite.
pub trait EventLog: Send + Sync {
    /// Appends events; on return they are durable. For each: whether it is new (`true`), or its id was
    /// seen before (`false`).
    fn append(&self, events: &[Event]) -> Result<Vec<bool>, StoreError>;
    /// At most `limit` events from offset `from` on, ascending.
    fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Event)>, StoreError>;
    /// The offset of the latest event; 0 where there is none.
    fn last_offset(&self) -> Result<u64, StoreError>;
}

/// Opens the event log of a project for writing.
///
/// # Errors
/// [`StoreError::Locked`] where another process has it open.
pub fn open_event_log(dir: &Path) -> Result<Arc<dyn EventLog>, StoreError> {
    Ok(Arc::new(SqliteLog::open(dir)?))
}

/// Events that are written together at most.
const GROUP_EVENTS_MAX: usize = 20_000;
const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA cache_size = -65536;
    PRAGMA wal_autocheckpoint = 8192;
    CREATE TABLE IF NOT EXISTS event (offset INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, body BLOB NOT NULL);";

/// The log in one SQLite file.
struct SqliteLog {
    path: PathBuf,
    requests: Option<Sender<Request>>,
    writer: Option<JoinHandle<()>>,
    reader: Mutex<Connection>,
    /// Held while the log is open, so that no second process writes.
    _lock: File,
}

struct Request {
    /// Id and encoded body.
    events: Vec<(String, Vec<u8>)>,
    answer: Sender<Result<Vec<bool>, NotWritten>>,
}

/// Why a group is not in the log.
#[derive(Clone)]
struct NotWritten {
    fault: String,
    kind: ErrorKind,
    /// The disk did not say whether it has what it was given: nothing more may be written after it.
    unsure: bool,
}

impl From<rusqlite::Error> for NotWritten {
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error().map(|error| error.extended_code);
        let unsure =
            matches!(code, Some(rusqlite::ffi::SQLITE_IOERR_FSYNC | rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC));
        Self { fault: error.to_string(), kind: database_kind(&error), unsure }
    }
}

impl SqliteLog {
    fn open(dir: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(dir).map_err(StoreError::io("create", dir))?;
        let lock = lock(&dir.join("lock"))?;
        let path = dir.join("events.sqlite");
        let database = |source| StoreError::Database { path: path.clone(), source };
        let connection = Connection::open(&path).map_err(database)?;
        connection.execute_batch(SCHEMA).map_err(database)?;
        let reader =
            Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(database)?;
        reader.busy_timeout(Duration::from_secs(10)).map_err(database)?;
        let (requests, received) = bounded(1024);
        let writer = std::thread::Builder::new()
            .name("event-log".to_owned())
            .spawn(move || write_groups(connection, &received))
            .map_err(StoreError::io("start the writer of", dir))?;
        Ok(Self {
            path,
            requests: Some(requests),
            writer: Some(writer),
            reader: Mutex::new(reader),
            _lock: lock,
        })
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Database { path: self.path.clone(), source }
    }

    fn ended(&self, fault: &str) -> StoreError {
        StoreError::Ended { path: self.path.clone(), fault: fault.to_owned() }
    }
}

impl EventLog for SqliteLog {
    fn append(&self, events: &[Event]) -> Result<Vec<bool>, StoreError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let encode = |event: &Event| {
            let body = serde_json::to_vec(event).map_err(|error| self.ended(&error.to_string()))?;
            Ok((event.event_id.as_str().to_owned(), body))
        };
        let events = events.iter().map(encode).collect::<Result<_, StoreError>>()?;
        let (answer, answered) = bounded(1);
        let requests = self.requests.as_ref().ok_or_else(|| self.ended("it is closed"))?;
        requests.send(Request { events, answer }).map_err(|_| self.ended("its writer is gone"))?;
        match answered.recv() {
            Ok(Ok(new)) => Ok(new),
            Ok(Err(NotWritten { fault, unsure: true, .. })) => Err(self.ended(&fault)),
            Ok(Err(NotWritten { fault, kind, .. })) => {
                Err(StoreError::NotWritten { path: self.path.clone(), fault, kind })
            }
            Err(_) => Err(self.ended("its writer is gone")),
        }
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Event)>, StoreError> {
        let reader = self.reader();
        let mut statement = reader
            .prepare_cached("SELECT offset, body FROM event WHERE offset >= ?1 ORDER BY offset LIMIT ?2")
            .map_err(|error| self.fault(error))?;
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![from, limit]).map_err(|error| self.fault(error))?;
        let mut events = Vec::new();
        while let Some(row) = rows.next().map_err(|error| self.fault(error))? {
            let offset: i64 = row.get(0).map_err(|error| self.fault(error))?;
            let body =
                row.get_ref(1).and_then(|body| Ok(body.as_blob()?)).map_err(|error| self.fault(error))?;
            let event = serde_json::from_slice(body).map_err(|error| StoreError::Damaged {
                path: self.path.clone(),
                fault: format!("event at offset {offset}: {error}"),
            })?;
            events.push((offset.unsigned_abs(), event));
        }
        Ok(events)
    }

    fn last_offset(&self) -> Result<u64, StoreError> {
        let last: Option<i64> = self
            .reader()
            .query_row("SELECT max(offset) FROM event", [], |row| row.get(0))
            .map_err(|error| self.fault(error))?;
        Ok(last.unwrap_or(0).unsigned_abs())
    }
}

impl Drop for SqliteLog {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}

/// The writer: takes all requests that wait, writes them at once, answers each.
fn write_groups(mut connection: Connection, requests: &Receiver<Request>) {
    while let Ok(first) = requests.recv() {
        let mut size = first.events.len();
        let mut group = vec![first];
        while size < GROUP_EVENTS_MAX
            && let Ok(next) = requests.try_recv()
        {
            size += next.events.len();
            group.push(next);
        }
        let written = write_group(&mut connection, &group).map_err(NotWritten::from);
        for (place, request) in group.into_iter().enumerate() {
            let answer = written.as_ref().map(|new| new[place].clone()).map_err(NotWritten::clone);
            // Who no longer waits needs no answer.
            drop(request.answer.send(answer));
        }
        if written.is_err_and(|fault| fault.unsure) {
            return;
        }
    }
}

/// One transaction; per request and event whether it was new.
fn write_group(connection: &mut Connection, group: &[Request]) -> Result<Vec<Vec<bool>>, rusqlite::Error> {
    let transaction = connection.transaction()?;
    let mut new = Vec::with_capacity(group.len());
    {
        let mut last: i64 =
            transaction.query_row("SELECT coalesce(max(offset), 0) FROM event", [], |row| row.get(0))?;
        let mut insert = transaction
            .prepare_cached("INSERT OR IGNORE INTO event (offset, event_id, body) VALUES (?1, ?2, ?3)")?;
        for request in group {
            let mut taken = Vec::with_capacity(request.events.len());
            for (id, body) in &request.events {
                let inserted = insert.execute(params![last + 1, id, body])? > 0;
                last += i64::from(inserted);
                taken.push(inserted);
            }
            new.push(taken);
        }
    }
    transaction.commit()?;
    Ok(new)
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(StoreError::io("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.to_owned() }),
        Err(fs::TryLockError::Error(source)) => {
            Err(StoreError::Io { action: "lock", path: path.to_owned(), source })
        }
    }
}

/// A log in memory, for tests.
#[derive(Default)]
pub struct MemoryLog {
    kept: Mutex<(Vec<Event>, HashSet<String>)>,
}

impl EventLog for MemoryLog {
    fn append(&self, events: &[Event]) -> Result<Vec<bool>, StoreError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut take = |event: &Event| {
            let new = kept.1.insert(event.event_id.as_str().to_owned());
            if new {
                kept.0.push(event.clone());
            }
            new
        };
        Ok(events.iter().map(&mut take).collect())
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Event)>, StoreError> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let numbered = (1..).zip(kept.0.iter().cloned());
        Ok(numbered.skip_while(|(offset, _)| *offset < from).take(limit).collect())
    }

    fn last_offset(&self) -> Result<u64, StoreError> {
        Ok(self.kept.lock().unwrap_or_else(PoisonError::into_inner).0.len() as u64)
    }
}
