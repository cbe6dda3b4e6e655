//! Compressed rows of numbers, and the sessions of the data.

use std::ops::Range;

use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::ItemIdx;
use rustc_hash::FxHashMap;

use super::rules::{Places, Rules};
use crate::error::{ModelError, misfit};
use crate::interactions::{Interactions, Sequence};
use crate::item_knn::distinct;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rows {
    starts: Vec<u32>,
    entries: Vec<u32>,
}

impl Rows {
    pub(super) fn new<'a>(rows: impl Iterator<Item = &'a [u32]>) -> Self {
        let mut own = Self { starts: vec![0], entries: Vec::new() };
        for row in rows {
            own.entries.extend_from_slice(row);
            own.starts.push(own.entries.len() as u32);
        }
        own
    }

    pub(super) fn row(&self, place: usize) -> &[u32] {
        &self.entries[self.range(place)]
    }

    /// Where a row's entries stand among all.
    pub(super) fn range(&self, place: usize) -> Range<usize> {
        self.starts[place] as usize..self.starts[place + 1] as usize
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// How many entries all rows have.
    pub(super) fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Whether all entries are below a bound.
    pub(super) fn within(&self, bound: usize) -> bool {
        self.entries.iter().all(|&entry| (entry as usize) < bound)
    }

    pub(super) fn save(&self, file: &mut TensorFile, name: &str) {
        file.put_u32(&format!("{name}.starts"), &[self.starts.len()], self.starts.clone());
        file.put_u32(&format!("{name}.entries"), &[self.entries.len()], self.entries.clone());
    }

    /// Loads rows that fit together; what their entries may be is for the caller to check.
    pub(super) fn load(model: &'static str, file: &TensorFile, name: &str) -> Result<Self, ModelError> {
        let own = Self {
            starts: file.u32(&format!("{name}.starts"))?.to_vec(),
            entries: file.u32(&format!("{name}.entries"))?.to_vec(),
        };
        let rising = own.starts.windows(2).all(|pair| pair[0] <= pair[1]);
        let ends = own.starts.first() == Some(&0) && own.starts.last() == Some(&(own.entries.len() as u32));
        if rising && ends { Ok(own) } else { Err(misfit(model, format!("its {name} do not fit together"))) }
    }
}

/// The distinct items of a session.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Session {
    /// Of its last item, in milliseconds.
    pub(super) time: i64,
    /// In the order that the rules ask for, else by number.
    pub(super) items: Vec<u32>,
    /// Where each stands, by the rules.
    pub(super) places: Vec<u32>,
}

impl Session {
    fn new(sequence: &Sequence, part: Range<usize>, rules: &Rules) -> Self {
        let (items, orders) = (&sequence.items[part.clone()], &sequence.orders[part.clone()]);
        let time = sequence.times[part.end - 1];
        if !rules.is_ordered() {
            return Self { time, items: distinct(items), places: Vec::new() };
        }
        let mut known: FxHashMap<ItemIdx, usize> = FxHashMap::default();
        let mut own = Self { time, items: Vec::new(), places: Vec::new() };
        for (item, order) in items.iter().zip(orders) {
            let at = *known.entry(*item).or_insert(own.items.len());
            if at == own.items.len() {
                own.items.push(item.0);
                own.places.push(at as u32);
            }
            if rules.places == Places::Moments {
                own.places[at] = order - orders[0];
            }
        }
        own
    }
}

/// The sessions of the data, by time.
pub(super) fn sessions(data: &Interactions, rules: &Rules) -> Vec<Session> {
    let single = data.sequences.iter().all(|s| s.orders.windows(2).all(|pair| pair[0] != pair[1]));
    let mut timed: Vec<(i64, Vec<u32>, &[ItemIdx], Session)> = Vec::new();
    for sequence in &data.sequences {
        let whole = std::iter::once(0..sequence.items.len());
        let parts: Vec<_> = if single { whole.collect() } else { sequence.baskets().collect() };
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let items = &sequence.items[part.clone()];
            let time = sequence.times[part.end - 1];
            timed.push((time, distinct(items), items, Session::new(sequence, part, rules)));
        }
    }
    timed.sort_by(|a, b| (a.0, &a.1, a.2).cmp(&(b.0, &b.1, b.2)));
    timed.into_iter().map(|(.., session)| session).collect()
}
