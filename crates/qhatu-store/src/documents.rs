//! Small things by kind and key, as JSON with a revision: catalogue, registry, served answers.
//!
//! The revision of a document begins at 1 and grows with each change; [`Documents::put_if`] changes
//! only what is still at the expected revision. SQLite in one file, in WAL mode with full sync, so what
//! was put is there after a crash.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use crate::error::StoreError;

/// A document as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its key within its kind.
    pub key: String,
    /// 1 when it is new, one more with each change.
    pub revision: u64,
    /// What it says.
    pub body: Value,
}

/// A store of documents; every implementation passes the same contract suite.
pub trait Documents: Send + Sync {
    /// Puts a document, whatever was there; its new revision.
    fn put(&self, kind: &str, key: &str, body: &Value) -> Result<u64, StoreError>;
    /// Puts many at once: all or none.
    fn put_many(&self, kind: &str, entries: &[(String, Value)]) -> Result<(), StoreError>;
    /// Puts many whose bodies are JSON already: all or none. For writers who would otherwise build a tree of
    /// each body only to have it written out again.
    fn put_texts(&self, kind: &str, entries: &[(String, String)]) -> Result<(), StoreError> {
        let parse = |(key, text): &(String, String)| {
            let damaged = |error| StoreError::Damaged {
                path: PathBuf::new(),
                fault: format!("document {kind}/{key}: {error}"),
            };
            serde_json::from_str(text).map(|body| (key.clone(), body)).map_err(damaged)
        };
        let entries: Vec<(String, Value)> = entries.iter().map(parse).collect::<Result<_, _>>()?;
        self.put_many(kind, &entries)
    }
    /// Puts a document where the present revision is `expected` (0: there is none).
    fn put_if(&self, kind: &str, key: &str, expected: u64, body: &Value) -> Result<u64, StoreError>;
    /// The document, if there is one.
    fn get(&self, kind: &str, key: &str) -> Result<Option<Document>, StoreError>;
    /// At most `limit` documents of a kind in the order of their keys, those after `after`.
    fn list(&self, kind: &str, after: Option<&str>, limit: usize) -> Result<Vec<Document>, StoreError>;
    /// Takes a document away; whether there was one.
    fn delete(&self, kind: &str, key: &str) -> Result<bool, StoreError>;
    /// Takes many away at once, all or none; how many there were.
    fn delete_many(&self, kind: &str, keys: &[String]) -> Result<usize, StoreError>;
    /// How many documents of a kind there are.
    fn count(&self, kind: &str) -> Result<usize, StoreError>;
}

/// Opens the documents of a project, in `<dir>/documents.sqlite`.
pub fn open_documents(dir: &Path) -> Result<Arc<dyn Documents>, StoreError> {
    std::fs::create_dir_all(dir).map_err(StoreError::io("create", dir))?;
    Ok(Arc::new(SqliteDocuments::open(&dir.join("documents.sqlite"))?))
}

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS document (
        kind TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (kind, key)
    ) WITHOUT ROWID;";
const PUT: &str = "INSERT INTO document VALUES (?1, ?2, 1, ?3)
    ON CONFLICT DO UPDATE SET revision = revision + 1, body = excluded.body RETURNING revision";

struct SqliteDocuments {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl SqliteDocuments {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let database = |source| StoreError::Database { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(database)?;
        connection.busy_timeout(std::time::Duration::from_secs(10)).map_err(database)?;
        connection.execute_batch(SCHEMA).map_err(database)?;
        Ok(Self { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_all<'a, T: rusqlite::ToSql>(
        &self,
        kind: &str,
        entries: impl Iterator<Item = (&'a str, T)>,
    ) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(|e| self.fault(e))?;
        {
            let mut statement = transaction.prepare_cached(PUT).map_err(|e| self.fault(e))?;
            for (key, body) in entries {
                statement.query_row(params![kind, key, body], |_| Ok(())).map_err(|e| self.fault(e))?;
            }
        }
        transaction.commit().map_err(|e| self.fault(e))
    }

    fn fault(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Database { path: self.path.clone(), source }
    }

    fn document(&self, kind: &str, key: String, revision: i64, body: &str) -> Result<Document, StoreError> {
        let body = serde_json::from_str(body).map_err(|error| StoreError::Damaged {
            path: self.path.clone(),
            fault: format!("document {kind}/{key}: {error}"),
        })?;
        Ok(Document { key, revision: revision.unsigned_abs(), body })
    }
}

impl Documents for SqliteDocuments {
    fn put(&self, kind: &str, key: &str, body: &Value) -> Result<u64, StoreError> {
        let mut connection = self.connection();
        // Committed in words: a statement that returns a row commits when it is reset, and a fault of that
        // (a full disk) would be told to nobody.
        let transaction = connection.transaction().map_err(|e| self.fault(e))?;
        let revision: i64 = transaction
            .prepare_cached(PUT)
            .and_then(|mut s| s.query_row(params![kind, key, body.to_string()], |row| row.get(0)))
            .map_err(|e| self.fault(e))?;
        transaction.commit().map_err(|e| self.fault(e))?;
        Ok(revision.unsigned_abs())
    }

    fn put_many(&self, kind: &str, entries: &[(String, Value)]) -> Result<(), StoreError> {
        self.put_all(kind, entries.iter().map(|(key, body)| (key.as_str(), body.to_string())))
    }

    fn put_texts(&self, kind: &str, entries: &[(String, String)]) -> Result<(), StoreError> {
        self.put_all(kind, entries.iter().map(|(key, text)| (key.as_str(), text.as_str())))
    }

    fn put_if(&self, kind: &str, key: &str, expected: u64, body: &Value) -> Result<u64, StoreError> {
        let mut connection = self.connection();
        let transaction = connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(|e| self.fault(e))?;
        let found: Option<i64> = transaction
            .query_row("SELECT revision FROM document WHERE kind = ?1 AND key = ?2", [kind, key], |r| {
                r.get(0)
            })
            .optional()
            .map_err(|e| self.fault(e))?;
        let found = found.unwrap_or(0).unsigned_abs();
        if found != expected {
            return Err(StoreError::Conflict { kind: kind.into(), key: key.into(), expected, found });
        }
        transaction
            .query_row(PUT, params![kind, key, body.to_string()], |_| Ok(()))
            .map_err(|e| self.fault(e))?;
        transaction.commit().map_err(|e| self.fault(e))?;
        Ok(expected + 1)
    }

    fn get(&self, kind: &str, key: &str) -> Result<Option<Document>, StoreError> {
        let connection = self.connection();
        let found: Option<(i64, String)> = connection
            .prepare_cached("SELECT revision, body FROM document WHERE kind = ?1 AND key = ?2")
            .and_then(|mut s| s.query_row([kind, key], |r| Ok((r.get(0)?, r.get(1)?))).optional())
            .map_err(|e| self.fault(e))?;
        found.map(|(revision, body)| self.document(kind, key.to_owned(), revision, &body)).transpose()
    }

    fn list(&self, kind: &str, after: Option<&str>, limit: usize) -> Result<Vec<Document>, StoreError> {
        let connection = self.connection();
        let mut statement = connection
            .prepare_cached(
                "SELECT key, revision, body FROM document
                 WHERE kind = ?1 AND (?2 IS NULL OR key > ?2) ORDER BY key LIMIT ?3",
            )
            .map_err(|e| self.fault(e))?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement
            .query_map(params![kind, after, limit], |r| Ok((r.get(0)?, r.get(1)?, r.get::<_, String>(2)?)))
            .map_err(|e| self.fault(e))?;
        rows.map(|row| {
            let (key, revision, body) = row.map_err(|e| self.fault(e))?;
            self.document(kind, key, revision, &body)
        })
        .collect()
    }

    fn delete(&self, kind: &str, key: &str) -> Result<bool, StoreError> {
        self.connection()
            .execute("DELETE FROM document WHERE kind = ?1 AND key = ?2", [kind, key])
            .map(|gone| gone > 0)
            .map_err(|e| self.fault(e))
    }

    fn delete_many(&self, kind: &str, keys: &[String]) -> Result<usize, StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction().map_err(|e| self.fault(e))?;
        let mut gone = 0;
        {
            let mut statement = transaction
                .prepare_cached("DELETE FROM document WHERE kind = ?1 AND key = ?2")
                .map_err(|e| self.fault(e))?;
            for key in keys {
                gone += statement.execute([kind, key]).map_err(|e| self.fault(e))?;
            }
        }
        transaction.commit().map_err(|e| self.fault(e))?;
        Ok(gone)
    }

    fn count(&self, kind: &str) -> Result<usize, StoreError> {
        let count: i64 = self
            .connection()
            .query_row("SELECT count(*) FROM document WHERE kind = ?1", [kind], |r| r.get(0))
            .map_err(|e| self.fault(e))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }
}

/// Documents in memory, for tests.
#[derive(Default)]
pub struct MemoryDocuments {
    kept: Mutex<BTreeMap<(String, String), (u64, Value)>>,
}

impl MemoryDocuments {
    fn kept(&self) -> MutexGuard<'_, BTreeMap<(String, String), (u64, Value)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Documents for MemoryDocuments {
    fn put(&self, kind: &str, key: &str, body: &Value) -> Result<u64, StoreError> {
        let mut kept = self.kept();
        let slot = kept.entry((kind.to_owned(), key.to_owned())).or_insert((0, Value::Null));
        *slot = (slot.0 + 1, body.clone());
        Ok(slot.0)
    }

    fn put_many(&self, kind: &str, entries: &[(String, Value)]) -> Result<(), StoreError> {
        entries.iter().try_for_each(|(key, body)| self.put(kind, key, body).map(drop))
    }

    fn put_if(&self, kind: &str, key: &str, expected: u64, body: &Value) -> Result<u64, StoreError> {
        let found = self.get(kind, key)?.map_or(0, |document| document.revision);
        if found != expected {
            return Err(StoreError::Conflict { kind: kind.into(), key: key.into(), expected, found });
        }
        self.put(kind, key, body)
    }

    fn get(&self, kind: &str, key: &str) -> Result<Option<Document>, StoreError> {
        let kept = self.kept();
        let found = kept.get(&(kind.to_owned(), key.to_owned()));
        Ok(found.map(|(revision, body)| Document {
            key: key.to_owned(),
            revision: *revision,
            body: body.clone(),
        }))
    }

    fn list(&self, kind: &str, after: Option<&str>, limit: usize) -> Result<Vec<Document>, StoreError> {
        let kept = self.kept();
        let documents =
            kept.iter().filter(|((k, key), _)| k == kind && after.is_none_or(|a| key.as_str() > a));
        Ok(documents
            .take(limit)
            .map(|((_, key), (revision, body))| Document {
                key: key.clone(),
                revision: *revision,
                body: body.clone(),
            })
            .collect())
    }

    fn delete(&self, kind: &str, key: &str) -> Result<bool, StoreError> {
        Ok(self.kept().remove(&(kind.to_owned(), key.to_owned())).is_some())
    }

    fn delete_many(&self, kind: &str, keys: &[String]) -> Result<usize, StoreError> {
        let mut kept = self.kept();
        Ok(keys.iter().filter(|key| kept.remove(&(kind.to_owned(), (*key).clone())).is_some()).count())
    }

    fn count(&self, kind: &str) -> Result<usize, StoreError> {
        Ok(self.kept().keys().filter(|(k, _)| k == kind).count())
    }
}
