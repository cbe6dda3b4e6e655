//! SQLite in WAL mode with full sync, as `qhatu-store` uses it; and the same with ids kept as hashes.

use std::path::Path;

use rusqlite::{Connection, params};

use super::{Engine, hash};
use crate::group::Entry;

const SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA cache_size = -65536;
    PRAGMA wal_autocheckpoint = 8192;";

/// How a table finds an id that it knows.
pub struct Layout {
    create: &'static str,
    insert: &'static str,
    hashed: bool,
}

pub const UNIQUE_TEXT: Layout = Layout {
    create: "CREATE TABLE IF NOT EXISTS event
        (offset INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, body BLOB NOT NULL);",
    insert: "INSERT OR IGNORE INTO event (offset, event_id, body) VALUES (?1, ?2, ?3)",
    hashed: false,
};

pub const HASHED: Layout = Layout {
    create: "CREATE TABLE IF NOT EXISTS event
        (offset INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, body BLOB NOT NULL);",
    insert: "INSERT OR IGNORE INTO event (offset, id, body) VALUES (?1, ?2, ?3)",
    hashed: true,
};

pub struct Sqlite {
    connection: Connection,
    layout: Layout,
}

fn text(error: rusqlite::Error) -> String {
    error.to_string()
}

impl Sqlite {
    pub fn open(dir: &Path, layout: Layout) -> Result<Self, String> {
        let connection = Connection::open(dir.join("events.sqlite")).map_err(text)?;
        connection.execute_batch(SETTINGS).map_err(text)?;
        connection.execute_batch(layout.create).map_err(text)?;
        Ok(Self { connection, layout })
    }
}

impl Engine for Sqlite {
    fn append(&mut self, events: &[&Entry]) -> Result<Vec<bool>, String> {
        let mut last = i64::try_from(self.last_offset()?).map_err(|error| error.to_string())?;
        let transaction = self.connection.transaction().map_err(text)?;
        let mut new = Vec::with_capacity(events.len());
        {
            let mut insert = transaction.prepare_cached(self.layout.insert).map_err(text)?;
            for event in events {
                let inserted = match self.layout.hashed {
                    false => insert.execute(params![last + 1, event.id, event.body]),
                    true => insert.execute(params![last + 1, hash(&event.id).to_be_bytes(), event.body]),
                };
                let inserted = inserted.map_err(text)? > 0;
                last += i64::from(inserted);
                new.push(inserted);
            }
        }
        transaction.commit().map_err(text)?;
        Ok(new)
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, String> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT offset, body FROM event WHERE offset >= ?1 ORDER BY offset LIMIT ?2")
            .map_err(text)?;
        let (from, limit) = (from.cast_signed(), limit as i64);
        let rows = statement
            .query_map(params![from, limit], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?)))
            .map_err(text)?;
        rows.map(|row| row.map_err(text)).collect()
    }

    fn last_offset(&self) -> Result<u64, String> {
        let last: Option<i64> =
            self.connection.query_row("SELECT max(offset) FROM event", [], |row| row.get(0)).map_err(text)?;
        Ok(last.unwrap_or(0).unsigned_abs())
    }
}
