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
        let with_known = |item: &Item| {
            let known = self.catalogue.item(&item.item_id)?;
            Ok(known.map_or_else(|| item.clone(), |known| item_of_both(known, item.clone())))
        };
        let items = items.iter().map(with_known).collect::<Result<Vec<_>, StoreError>>()?;
        self.catalogue.upsert_items(&items).map(drop)
    }

    fn users(&mut self, users: &[User]) -> Result<(), StoreError> {
        let with_known = |user: &User| {
            let known = self.catalogue.user(&user.user_id)?;
            Ok(known.map_or_else(|| user.clone(), |known| user_of_both(known, user.clone())))
        };
        let users = users.iter().map(with_known).collect::<Result<Vec<_>, StoreError>>()?;
        self.catalogue.upsert_users(&users).map(drop)
    }
}

/// What is known of a product and what a file says of it: the later word holds, and what it leaves out is
/// taken from the earlier one. A file of sales names the products that a catalogue describes.
fn item_of_both(known: Item, said: Item) -> Item {
    let (earlier, later) = if known.updated > said.updated { (said, known) } else { (known, said) };
    let text = |later: String, earlier: String| if later.is_empty() { earlier } else { later };
    Item {
        title: text(later.title, earlier.title),
        description: text(later.description, earlier.description),
        category: later.category.or(earlier.category),
        brand: later.brand.or(earlier.brand),
        price: later.price.or(earlier.price),
        stock: later.stock.or(earlier.stock),
        item_id: later.item_id,
        updated: later.updated,
    }
}

/// As [`item_of_both`], of a shopper.
fn user_of_both(known: User, said: User) -> User {
    let (earlier, later) = if known.updated > said.updated { (said, known) } else { (known, said) };
    User {
        country: later.country.or(earlier.country),
        ubigeo: later.ubigeo.or(earlier.ubigeo),
        user_id: later.user_id,
        updated: later.updated,
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
