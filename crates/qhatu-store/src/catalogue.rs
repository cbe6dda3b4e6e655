//! The shop's products and shoppers: documents with a type, where the later description wins.

use std::collections::HashMap;
use std::sync::Arc;

use qhatu_schema::{Item, ItemId, Timestamp, User, UserId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::documents::Documents;
use crate::error::StoreError;

const ITEM: &str = "item";
const USER: &str = "user";
const PAGE: usize = 1000;

/// Items and users over a store of documents.
#[derive(Clone)]
pub struct Catalogue {
    documents: Arc<dyn Documents>,
}

impl Catalogue {
    /// The catalogue kept in `documents`.
    pub fn new(documents: Arc<dyn Documents>) -> Self {
        Self { documents }
    }

    /// Puts items; one that is there with a later `updated` stays. How many were put.
    ///
    /// # Errors
    /// Where the store fails; then none was put.
    pub fn upsert_items(&self, items: &[Item]) -> Result<usize, StoreError> {
        self.upsert(ITEM, items, |item| (item.item_id.as_str(), item.updated))
    }

    /// One item.
    ///
    /// # Errors
    /// Where the store fails.
    pub fn item(&self, id: &ItemId) -> Result<Option<Item>, StoreError> {
        self.one(ITEM, id.as_str())
    }

    /// All items, by id.
    ///
    /// # Errors
    /// Where the store fails.
    pub fn items(&self) -> Result<Vec<Item>, StoreError> {
        self.all(ITEM)
    }

    /// Takes an item away; whether there was one.
    ///
    /// # Errors
    /// Where the store fails.
    pub fn delete_item(&self, id: &ItemId) -> Result<bool, StoreError> {
        self.documents.delete(ITEM, id.as_str())
    }

    /// Puts users, as [`Catalogue::upsert_items`] does items.
    ///
    /// # Errors
    /// Where the store fails; then none was put.
    pub fn upsert_users(&self, users: &[User]) -> Result<usize, StoreError> {
        self.upsert(USER, users, |user| (user.user_id.as_str(), user.updated))
    }

    /// One user.
    ///
    /// # Errors
    /// Where the store fails.
    pub fn user(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        self.one(USER, id.as_str())
    }

    /// All users, by id.
    ///
    /// # Errors
    /// Where the store fails.
    pub fn users(&self) -> Result<Vec<User>, StoreError> {
        self.all(USER)
    }

    /// Takes a user away; whether there was one.
    ///
    /// # Errors
    /// Where the store fails.
    pub fn delete_user(&self, id: &UserId) -> Result<bool, StoreError> {
        self.documents.delete(USER, id.as_str())
    }

    fn upsert<T: Serialize>(
        &self,
        kind: &'static str,
        things: &[T],
        of: fn(&T) -> (&str, Timestamp),
    ) -> Result<usize, StoreError> {
        let mut latest: HashMap<&str, (Timestamp, &T)> = HashMap::new();
        for thing in things {
            let (key, updated) = of(thing);
            let newer = latest.get(key).is_none_or(|(known, _)| *known <= updated);
            if newer && !self.is_later(kind, key, updated)? {
                latest.insert(key, (updated, thing));
            }
        }
        let mut entries = Vec::with_capacity(latest.len());
        for (key, (_, thing)) in latest {
            let body = serde_json::to_value(thing).map_err(|error| unreadable(kind, key, &error))?;
            entries.push((key.to_owned(), body));
        }
        self.documents.put_many(kind, &entries)?;
        Ok(entries.len())
    }

    /// Whether what is kept was changed after `updated`.
    fn is_later(&self, kind: &str, key: &str, updated: Timestamp) -> Result<bool, StoreError> {
        let kept = self.documents.get(kind, key)?;
        let kept =
            kept.and_then(|kept| serde_json::from_value::<Timestamp>(kept.body["updated"].clone()).ok());
        Ok(kept.is_some_and(|kept| kept > updated))
    }

    fn one<T: DeserializeOwned>(&self, kind: &'static str, key: &str) -> Result<Option<T>, StoreError> {
        self.documents.get(kind, key)?.map(|found| parse(kind, key, found.body)).transpose()
    }

    fn all<T: DeserializeOwned>(&self, kind: &'static str) -> Result<Vec<T>, StoreError> {
        let mut things = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.documents.list(kind, after.as_deref(), PAGE)?;
            let full = page.len() == PAGE;
            for document in page {
                things.push(parse(kind, &document.key, document.body)?);
                after = Some(document.key);
            }
            if !full {
                return Ok(things);
            }
        }
    }
}

fn parse<T: DeserializeOwned>(kind: &'static str, key: &str, body: Value) -> Result<T, StoreError> {
    serde_json::from_value(body).map_err(|error| unreadable(kind, key, &error))
}

fn unreadable(kind: &str, key: &str, error: &serde_json::Error) -> StoreError {
    StoreError::Damaged { path: format!("{kind}/{key}").into(), fault: error.to_string() }
}
