//! redb: copy-on-write B-trees; a table of bodies by offset, a table of ids, one transaction a group.

use std::path::Path;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::{CACHE_BYTES, Engine};
use crate::group::Entry;

const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
const IDS: TableDefinition<&str, u64> = TableDefinition::new("ids");

pub struct Redb {
    database: Database,
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

impl Redb {
    pub fn open(dir: &Path) -> Result<Self, String> {
        let database =
            Database::builder().set_cache_size(CACHE_BYTES).create(dir.join("events.redb")).map_err(text)?;
        let begin = database.begin_write().map_err(text)?;
        begin.open_table(EVENTS).map_err(text)?;
        begin.open_table(IDS).map_err(text)?;
        begin.commit().map_err(text)?;
        Ok(Self { database })
    }
}

impl Engine for Redb {
    fn append(&mut self, events: &[&Entry]) -> Result<Vec<bool>, String> {
        let mut write = self.database.begin_write().map_err(text)?;
        write.set_durability(Durability::Immediate).map_err(text)?;
        let mut new = Vec::with_capacity(events.len());
        {
            let mut bodies = write.open_table(EVENTS).map_err(text)?;
            let mut ids = write.open_table(IDS).map_err(text)?;
            let mut last = bodies.last().map_err(text)?.map_or(0, |(key, _)| key.value());
            for event in events {
                let is_new = ids.get(event.id.as_str()).map_err(text)?.is_none();
                if is_new {
                    last += 1;
                    ids.insert(event.id.as_str(), last).map_err(text)?;
                    bodies.insert(last, event.body.as_slice()).map_err(text)?;
                }
                new.push(is_new);
            }
        }
        if new.contains(&true) {
            write.commit().map_err(text)?;
        } else {
            write.abort().map_err(text)?;
        }
        Ok(new)
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, String> {
        let read = self.database.begin_read().map_err(text)?;
        let bodies = read.open_table(EVENTS).map_err(text)?;
        let rows = bodies.range(from..).map_err(text)?.take(limit);
        rows.map(|row| row.map(|(key, body)| (key.value(), body.value().to_vec())).map_err(text)).collect()
    }

    fn last_offset(&self) -> Result<u64, String> {
        let read = self.database.begin_read().map_err(text)?;
        let bodies = read.open_table(EVENTS).map_err(text)?;
        Ok(bodies.last().map_err(text)?.map_or(0, |(key, _)| key.value()))
    }
}
