//! fjall: log-structured trees; one for bodies by offset, one for ids. A batch is written to both at once.

use std::collections::HashSet;
use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{CACHE_BYTES, Engine};
use crate::group::Entry;

pub struct Fjall {
    database: Database,
    events: Keyspace,
    ids: Keyspace,
}

fn text(error: fjall::Error) -> String {
    error.to_string()
}

impl Fjall {
    pub fn open(dir: &Path) -> Result<Self, String> {
        let database = Database::builder(dir).cache_size(CACHE_BYTES as u64).open().map_err(text)?;
        let events = database.keyspace("events", KeyspaceCreateOptions::default).map_err(text)?;
        let ids = database.keyspace("ids", KeyspaceCreateOptions::default).map_err(text)?;
        Ok(Self { database, events, ids })
    }
}

fn offset(key: &[u8]) -> Result<u64, String> {
    Ok(u64::from_be_bytes(key.try_into().map_err(|_| "a key is not an offset")?))
}

impl Engine for Fjall {
    fn append(&mut self, events: &[&Entry]) -> Result<Vec<bool>, String> {
        let mut last = self.last_offset()?;
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        let mut within = HashSet::new();
        let mut new = Vec::with_capacity(events.len());
        for event in events {
            let is_new =
                within.insert(event.id.as_str()) && !self.ids.contains_key(&event.id).map_err(text)?;
            if is_new {
                last += 1;
                batch.insert(&self.events, last.to_be_bytes(), event.body.as_slice());
                batch.insert(&self.ids, event.id.as_str(), []);
            }
            new.push(is_new);
        }
        if new.contains(&true) {
            batch.commit().map_err(text)?;
        }
        Ok(new)
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, String> {
        let rows = self.events.range(from.to_be_bytes()..).take(limit);
        rows.map(|row| {
            let (key, body) = row.into_inner().map_err(text)?;
            Ok((offset(&key)?, body.to_vec()))
        })
        .collect()
    }

    fn last_offset(&self) -> Result<u64, String> {
        self.events.last_key_value().map_or(Ok(0), |last| offset(&last.key().map_err(text)?))
    }
}
