//! VMIS-kNN: what those sessions went on to that are most like this one. (Kersbergen, Sprangers,
//! Schelter, "Serenade", SIGMOD 2022, algorithm 2; after VS-kNN, Ludewig and Jannach 2018.)
//!
//! A session is one order; where every order is a single item, the shopper's whole sequence. The last
//! `max_length` distinct items of the history are the query, each with a weight that falls with its distance from the
//! end (linear decay). For each query item the index gives its `m` most recent sessions; a session's
//! similarity is the sum of the weights of the items it shares. The `k` most similar ones vote for their items
//! with similarity × decay of the latest shared item × idf (`ln(sessions / sessions with the item)`).
//! Departure: the index lists are cut to `m` when fitting, so that a request never walks a longer one.

use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::ItemIdx;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::error::{ModelError, misfit};
use crate::interactions::Interactions;
use crate::item_knn::{distinct, shoppers};
use crate::recommender::{self, History, Reason, Recommender, Scored, top_k};

/// The name in settings and files.
pub const NAME: &str = "vmis_knn";

/// Hyper-parameters, named as in the paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Most recent sessions that are looked at for each item.
    pub m: usize,
    /// Most similar sessions that vote.
    pub k: usize,
    /// Distinct items of the history that make the query.
    pub max_length: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { m: 500, k: 100, max_length: 30 }
    }
}

/// The fitted model: sessions and an index from items to them, both as compressed rows.
#[derive(Debug, Clone, PartialEq)]
pub struct VmisKnn {
    config: Config,
    /// Per session, oldest first, its items.
    sessions: Rows,
    /// Per item, its most recent sessions.
    index: Rows,
    /// Per item: ln(sessions / sessions with it); padding 0.
    idf: Vec<f32>,
}

#[derive(Debug, Clone, PartialEq)]
struct Rows {
    starts: Vec<u32>,
    entries: Vec<u32>,
}

impl Rows {
    fn new<'a>(rows: impl Iterator<Item = &'a [u32]>) -> Self {
        let mut own = Self { starts: vec![0], entries: Vec::new() };
        for row in rows {
            own.entries.extend_from_slice(row);
            own.starts.push(own.entries.len() as u32);
        }
        own
    }

    fn row(&self, place: usize) -> &[u32] {
        &self.entries[self.starts[place] as usize..self.starts[place + 1] as usize]
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn save(&self, file: &mut TensorFile, name: &str) {
        file.put_u32(&format!("{name}.starts"), &[self.starts.len()], self.starts.clone());
        file.put_u32(&format!("{name}.entries"), &[self.entries.len()], self.entries.clone());
    }

    /// Loads rows that fit together; what their entries may be is for the caller to check.
    fn load(file: &TensorFile, name: &str) -> Result<Self, ModelError> {
        let own = Self {
            starts: file.u32(&format!("{name}.starts"))?.to_vec(),
            entries: file.u32(&format!("{name}.entries"))?.to_vec(),
        };
        let rising = own.starts.windows(2).all(|pair| pair[0] <= pair[1]);
        let ends = own.starts.first() == Some(&0) && own.starts.last() == Some(&(own.entries.len() as u32));
        if rising && ends { Ok(own) } else { Err(misfit(NAME, format!("its {name} do not fit together"))) }
    }
}

impl VmisKnn {
    /// Indexes the sessions.
    pub fn fit(data: &Interactions, config: &Config) -> Self {
        let sessions = sessions(data);
        let mut with = shoppers(&sessions, data.items());
        let idf = idf(&with, sessions.len());
        for list in &mut with {
            list.drain(..list.len().saturating_sub(config.m));
        }
        Self {
            config: *config,
            sessions: Rows::new(sessions.iter().map(Vec::as_slice)),
            index: Rows::new(with.iter().map(Vec::as_slice)),
            idf,
        }
    }

    /// Loads what [`Recommender::save`] gave.
    ///
    /// # Errors
    /// Where the file does not hold it.
    pub fn load(file: &TensorFile) -> Result<Self, ModelError> {
        let own = Self {
            config: recommender::config(NAME, file)?,
            sessions: Rows::load(file, "sessions")?,
            index: Rows::load(file, "index")?,
            idf: file.f32("idf")?.to_vec(),
        };
        let (items, sessions) = (own.idf.len(), own.sessions.len());
        let inside = |rows: &Rows, bound: usize| rows.entries.iter().all(|&entry| (entry as usize) < bound);
        let fits = items >= 1
            && own.index.len() == items
            && inside(&own.index, sessions)
            && inside(&own.sessions, items)
            && own.idf.iter().all(|idf| idf.is_finite());
        if fits { Ok(own) } else { Err(misfit(NAME, "its sessions and index do not fit together")) }
    }

    /// The query: distinct items with their weight, the latest (weight 1) first.
    fn query(&self, history: &History) -> Vec<(ItemIdx, f32)> {
        let mut query: Vec<(ItemIdx, f32)> = Vec::with_capacity(self.config.max_length);
        for (item, _) in history.known(self.catalogue_size()).rev() {
            if query.len() == self.config.max_length {
                break;
            }
            if query.iter().all(|(known, _)| *known != item) {
                query.push((item, 0.0));
            }
        }
        let length = query.len() as f32;
        for (place, (_, weight)) in query.iter_mut().enumerate() {
            *weight = 1.0 - place as f32 / length;
        }
        query
    }

    /// The most similar sessions with similarity × decay of the latest shared item.
    fn neighbours(&self, query: &[(ItemIdx, f32)]) -> Vec<(u32, f32)> {
        let mut similar: FxHashMap<u32, (f32, f32)> = FxHashMap::default();
        for &(item, weight) in query {
            for &session in self.index.row(item.row()) {
                // The first shared item met is the latest: the query goes backwards in time.
                similar.entry(session).or_insert((0.0, weight)).0 += weight;
            }
        }
        let mut best: Vec<(u32, f32, f32)> = similar
            .into_iter()
            .map(|(session, (similarity, latest))| (session, similarity, latest))
            .collect();
        // Ties go to the more recent session.
        let order = |a: &(u32, f32, f32), b: &(u32, f32, f32)| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0));
        if best.len() > self.config.k && self.config.k > 0 {
            best.select_nth_unstable_by(self.config.k - 1, order);
        }
        best.truncate(self.config.k);
        best.sort_unstable_by(order);
        best.into_iter().map(|(session, similarity, latest)| (session, similarity * latest)).collect()
    }
}

impl Recommender for VmisKnn {
    fn name(&self) -> &'static str {
        NAME
    }

    fn catalogue_size(&self) -> usize {
        self.idf.len() - 1
    }

    fn score(&self, history: &History, scores: &mut [f32]) {
        recommender::clear(scores, self.catalogue_size());
        for (session, weight) in self.neighbours(&self.query(history)) {
            for &item in self.sessions.row(session as usize) {
                scores[item as usize] += weight * self.idf[item as usize];
            }
        }
        scores[0] = f32::NEG_INFINITY;
    }

    fn similar_items(&self, item: ItemIdx, k: usize) -> Vec<Scored> {
        let mut scores = vec![0.0; self.catalogue_size() + 1];
        self.score(&History { items: &[item], times: &[0], now: 0 }, &mut scores);
        let mut near = top_k(&scores, k, |other| other == item);
        near.retain(|scored| scored.score > 0.0);
        near
    }

    fn because(&self, history: &History, item: ItemIdx) -> Reason {
        let query = self.query(history);
        let voters = self.neighbours(&query);
        let mut support: FxHashMap<ItemIdx, f32> = FxHashMap::default();
        for (session, weight) in voters {
            let items = self.sessions.row(session as usize);
            if items.binary_search(&item.0).is_ok() {
                for (other, _) in query.iter().filter(|(other, _)| items.binary_search(&other.0).is_ok()) {
                    *support.entry(*other).or_default() += weight;
                }
            }
        }
        let strongest = support.into_iter().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        strongest.map_or(Reason::Popular, |(item, _)| Reason::SimilarTo { item })
    }

    fn save(&self) -> TensorFile {
        let mut file = recommender::new_file(NAME, &self.config);
        self.sessions.save(&mut file, "sessions");
        self.index.save(&mut file, "index");
        file.put_f32("idf", &[self.idf.len()], self.idf.clone());
        file
    }
}

/// The distinct items of each session, sessions by time.
fn sessions(data: &Interactions) -> Vec<Vec<u32>> {
    let single = data.sequences.iter().all(|s| s.orders.windows(2).all(|pair| pair[0] != pair[1]));
    let mut timed: Vec<(i64, Vec<u32>)> = Vec::new();
    for sequence in &data.sequences {
        let whole = std::iter::once(0..sequence.items.len());
        let parts: Vec<_> = if single { whole.collect() } else { sequence.baskets().collect() };
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            timed.push((sequence.times[part.end - 1], distinct(&sequence.items[part])));
        }
    }
    timed.sort();
    timed.into_iter().map(|(_, items)| items).collect()
}

fn idf(with: &[Vec<u32>], sessions: usize) -> Vec<f32> {
    let of = |list: &Vec<u32>| match list.len() {
        0 => 0.0,
        count => (sessions as f32 / count as f32).ln(),
    };
    with.iter().map(of).collect()
}
