//! Names as numbers.

use rustc_hash::FxHashMap;

/// Numbers from 0 in order of first sight.
#[derive(Debug)]
pub(crate) struct Numbers<T> {
    pub(crate) names: Vec<T>,
    pub(crate) index: FxHashMap<T, u32>,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self { names: Vec::new(), index: FxHashMap::default() }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Numbers<T> {
    pub(crate) fn of(&mut self, name: T) -> u32 {
        let next = self.names.len() as u32;
        *self.index.entry(name).or_insert_with_key(|name| {
            self.names.push(name.clone());
            next
        })
    }
}
