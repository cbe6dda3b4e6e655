//! The engines behind one trait.

#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "redb")]
mod redb;
mod segment;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::path::Path;

use crate::group::Entry;

/// Memory an engine may use for its pages or blocks, where it can be told.
#[cfg(any(feature = "fjall", feature = "redb"))]
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// What the log asks of an engine. Offsets are 1, 2, 3, … without gaps.
pub trait Engine: Send {
    /// Writes all at once; durable on return. For each whether its id is new, ids within the group too.
    fn append(&mut self, events: &[&Entry]) -> Result<Vec<bool>, String>;
    /// At most `limit` bodies from offset `from` on.
    fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, String>;
    /// 0 where there is none.
    fn last_offset(&self) -> Result<u64, String>;
}

/// Opens an engine in a folder, which it may use as it likes.
pub fn open(name: &str, dir: &Path) -> Result<Box<dyn Engine>, String> {
    std::fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    match name {
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(Box::new(sqlite::Sqlite::open(dir, sqlite::UNIQUE_TEXT)?)),
        #[cfg(feature = "sqlite")]
        "sqlite-hash" => Ok(Box::new(sqlite::Sqlite::open(dir, sqlite::HASHED)?)),
        #[cfg(feature = "fjall")]
        "fjall" => Ok(Box::new(fjall::Fjall::open(dir)?)),
        #[cfg(feature = "redb")]
        "redb" => Ok(Box::new(redb::Redb::open(dir)?)),
        "segment" => Ok(Box::new(segment::Segment::open(dir)?)),
        _ => Err(format!("there is no engine {name:?} in this build")),
    }
}

/// 128 bits of an id, from two keyed hashes.
fn hash(id: &str) -> u128 {
    use std::hash::{DefaultHasher, Hasher};
    let keyed = |key: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(key);
        hasher.write(id.as_bytes());
        u128::from(hasher.finish())
    };
    keyed(1) << 64 | keyed(2)
}
