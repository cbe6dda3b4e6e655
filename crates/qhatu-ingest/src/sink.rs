//! Where imported things go.

use std::sync::Arc;

use qhatu_schema::{Event, Item, User};
use qhatu_store::{Catalogue, EventLog, StoreError};

/// Takes what an import reads.
pub trait Sink {
    /// Takes events; for each whether it is new.
    ///
    /// # Errors
    /// Where the store refuses; none of them is then acknowledged.
    fn events(&mut self, events: &[Event]) -> Result<Vec<bool>, StoreError>;
    /// Takes products.
    ///
    /// # Errors
    /// Where the store refuses.
    fn items(&mut self, items: &[Item]) -> Result<(), StoreError>;
    /// Takes shoppers.
    ///
    /// # Errors
    /// Where the store refuses.
    fn users(&mut self, users: &[User]) -> Result<(), StoreError>;
}

/// Into the log and the catalogue.
pub struct StoreSink {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Products and shoppers.
    pub catalogue: Catalogue,
}

impl Sink for StoreSink {
    fn events(&mut self, events: &[Event]) -> Result<Vec<bool>, StoreError> {
        self.log.append(events)
    }

    fn items(&mut self, items: &[Item]) -> Result<(), StoreError> {
        self.catalogue.upsert_items(items).map(drop)
    }

    fn users(&mut self, users: &[User]) -> Result<(), StoreError> {
        self.catalogue.upsert_users(users).map(drop)
    }
}

/// Nowhere: for a check without an import. Knows the ids that it has seen itself.
#[derive(Debug, Default)]
pub struct CheckSink {
    seen: rustc_hash::FxHashSet<qhatu_schema::EventId>,
}

impl Sink for CheckSink {
    fn events(&mut self, events: &[Event]) -> Result<Vec<bool>, StoreError> {
        Ok(events.iter().map(|event| self.seen.insert(event.event_id.clone())).collect())
    }

    fn items(&mut self, _items: &[Item]) -> Result<(), StoreError> {
        Ok(())
    }

    fn users(&mut self, _users: &[User]) -> Result<(), StoreError> {
        Ok(())
    }
}
