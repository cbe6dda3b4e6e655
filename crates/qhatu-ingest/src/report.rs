//! What an import did, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Counts of an import; every row is in exactly one of accepted, duplicate, quarantined and ignored, or
/// described a product or shopper alone.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ImportReport {
    /// Files read.
    pub files: usize,
    /// Rows read.
    pub rows: u64,
    /// Events that are new.
    pub accepted: u64,
    /// Events that were there already.
    pub duplicate: u64,
    /// Rows mended, by rule; a row can be mended by several.
    pub repaired: BTreeMap<String, u64>,
    /// Rows refused, by reason.
    pub quarantined: BTreeMap<String, u64>,
    /// What says nothing about products and is passed over, by name: GA4's `page_view`, ….
    #[serde(default)]
    pub ignored: BTreeMap<String, u64>,
    /// Products described.
    pub items: u64,
    /// Shoppers described.
    pub users: u64,
    /// Seconds it took.
    pub seconds: f64,
}

impl ImportReport {
    /// Adds the counts of another import.
    pub fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.rows += other.rows;
        self.accepted += other.accepted;
        self.duplicate += other.duplicate;
        self.items += other.items;
        self.users += other.users;
        self.seconds += other.seconds;
        for (own, theirs) in [
            (&mut self.repaired, &other.repaired),
            (&mut self.quarantined, &other.quarantined),
            (&mut self.ignored, &other.ignored),
        ] {
            theirs.iter().for_each(|(name, count)| *own.entry(name.clone()).or_default() += count);
        }
    }

    /// Rows refused in all.
    pub fn refused(&self) -> u64 {
        self.quarantined.values().sum()
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "rows         {:>9}   in {} file(s), {:.1} s", self.rows, self.files, self.seconds)?;
        writeln!(f, "accepted     {:>9}", self.accepted)?;
        writeln!(f, "duplicate    {:>9}", self.duplicate)?;
        writeln!(f, "quarantined  {:>9}", self.refused())?;
        for (reason, count) in &self.quarantined {
            writeln!(f, "             {count:>9}   {reason}")?;
        }
        for (rule, count) in &self.repaired {
            writeln!(f, "repaired     {count:>9}   {rule}")?;
        }
        for (name, count) in &self.ignored {
            writeln!(f, "ignored      {count:>9}   {name}")?;
        }
        write!(f, "described    {:>9}   products, {} shoppers", self.items, self.users)
    }
}
