//! VMIS-kNN: what those sessions went on to that are most like this one. (Kersbergen, Sprangers,
//! Schelter, "Serenade", SIGMOD 2022, algorithm 2; after VS-kNN, Ludewig and Jannach 2018.)
//!
//! A session is one order; where every order is a single item, the shopper's whole sequence. The last
//! `max_length` distinct items of the history are the query, each with a weight that falls with its distance from the
//! end (linear decay). For each query item the index gives its `m` most recent sessions; a session's
//! similarity is the sum of the weights of the items it shares. The `k` most similar ones vote for their items
//! with similarity × decay of the latest shared item × idf (`ln(sessions / sessions with the item)`).
//! Departure: the index lists are cut to `m` when fitting, so that a request never walks a longer one.
//!
//! Options from STAN (Garg et al., SIGIR 2019) and VSTAN (Ludewig et al., 2021): weights of the query that fall
//! exponentially, similarities divided by the geometric mean of both lengths, and votes that fade with the
//! distance to the shared item within the session.
//!
//! Defaults: `m` 200, `k` 500, query of 100 items, .262 / .083; `m` 500, `k` 100, 30 items .239 / .069 (UCI Online Retail,
//! NDCG@10 on all / new of the 28 days from 2011-10-15, by `examples/tune_baselines.rs` of `qhatu-train`).

use std::cell::RefCell;
use std::cmp::Ordering;

use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::ItemIdx;
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};

use crate::error::{ModelError, misfit};
use crate::interactions::Interactions;
use crate::item_knn::{distinct, shoppers};
use crate::recommender::{self, History, Reason, Recommender, Scored};

/// The name in settings and files.
pub const NAME: &str = "vmis_knn";

/// Hyper-parameters, named as in the paper.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Most recent sessions that are looked at for each item.
    pub m: usize,
    /// Most similar sessions that vote.
    pub k: usize,
    /// Distinct items of the history that make the query.
    pub max_length: usize,
    /// λ of `exp(−place / λ)`, the weight of a query item so many places before the latest; 0: linear decay.
    pub position_decay: f32,
    /// λ of `exp(−distance / λ)`, what a vote counts so many places from the latest shared item; 0: all alike.
    pub distance_decay: f32,
    /// Whether similarity is divided by √(length of the query · length of the session).
    pub normalize: bool,
    /// Whether votes are weighed by idf.
    pub idf: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            m: 200,
            k: 500,
            max_length: 100,
            position_decay: 0.0,
            distance_decay: 0.0,
            normalize: false,
            idf: true,
        }
    }
}

impl Config {
    fn check(&self) -> Result<(), ModelError> {
        for (key, value) in [("position_decay", self.position_decay), ("distance_decay", self.distance_decay)]
        {
            if !(value.is_finite() && value >= 0.0) {
                let hint = "0 for none, or places after which a weight is 1/e";
                return Err(ModelError::Setting { model: NAME, key, value: value.to_string(), hint });
            }
        }
        Ok(())
    }
}

/// Distances beyond which a vote fades no more.
const FARTHEST: usize = 255;

/// The fitted model: sessions and an index from items to them, both as compressed rows.
#[derive(Debug, Clone, PartialEq)]
pub struct VmisKnn {
    config: Config,
    /// Per session, oldest first, its items; in their order where votes fade with distance.
    sessions: Rows,
    /// Per item, its most recent sessions.
    index: Rows,
    /// Per item: ln(sessions / sessions with it), or 1 where votes are not weighed; padding 0.
    idf: Vec<f32>,
    /// What a vote counts at each distance; empty where all count alike.
    fading: Vec<f32>,
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
    ///
    /// # Errors
    /// For a decay that is no number of zero or more.
    pub fn fit(data: &Interactions, config: &Config) -> Result<Self, ModelError> {
        config.check()?;
        let sessions = sessions(data, config.distance_decay > 0.0);
        let mut with = shoppers(&sessions, data.items());
        let mut idf = idf(&with, sessions.len());
        if !config.idf {
            idf[1..].fill(1.0);
        }
        for list in &mut with {
            list.drain(..list.len().saturating_sub(config.m));
        }
        Ok(Self {
            config: *config,
            sessions: Rows::new(sessions.iter().map(Vec::as_slice)),
            index: Rows::new(with.iter().map(Vec::as_slice)),
            idf,
            fading: fading(config.distance_decay),
        })
    }

    /// Loads what [`Recommender::save`] gave.
    ///
    /// # Errors
    /// Where the file does not hold it.
    pub fn load(file: &TensorFile) -> Result<Self, ModelError> {
        let config: Config = recommender::config(NAME, file)?;
        config.check()?;
        let own = Self {
            fading: fading(config.distance_decay),
            config,
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
            *weight = match self.config.position_decay {
                0.0 => 1.0 - place as f32 / length,
                decay => (-(place as f32) / decay).exp(),
            };
        }
        query
    }

    /// The most similar sessions, best first.
    fn neighbours(&self, query: &[(ItemIdx, f32)], scratch: &mut Scratch) -> Vec<Neighbour> {
        scratch.begin(self.sessions.len(), self.catalogue_size());
        for (place, &(item, weight)) in query.iter().enumerate() {
            scratch.add(self.index.row(item.row()), place as u32, weight);
        }
        if self.config.normalize {
            scratch.divide(|session| (query.len() * self.sessions.row(session).len()) as f32);
        }
        scratch.best(self.config.k)
    }

    /// The `k` items of most votes that are not barred.
    fn elect(
        &self,
        query: &[(ItemIdx, f32)],
        voters: &[Neighbour],
        scratch: &mut Scratch,
        (k, barred): (usize, &dyn Fn(ItemIdx) -> bool),
    ) -> Vec<Scored> {
        for voter in voters {
            self.votes(query, voter).for_each(|vote| scratch.vote(vote));
        }
        let score = |&item: &u32| Scored { item: ItemIdx(item), score: scratch.votes[item as usize].sum };
        recommender::best_of(scratch.voted.iter().map(score), k, barred)
    }

    /// For each item the item of the query that most of its voters share with it, by their weight.
    fn reasons(
        &self,
        query: &[(ItemIdx, f32)],
        voters: &[Neighbour],
        items: &[ItemIdx],
        scratch: &mut Scratch,
    ) -> Vec<Reason> {
        let width = query.len();
        let support = self.support(query, voters, items, scratch);
        let reason = |row: usize| {
            let found = query.iter().zip(&support[row * width..(row + 1) * width]);
            let found = found.filter(|(_, weight)| **weight > 0.0);
            let strongest = found.max_by(|a, b| a.1.total_cmp(b.1).then(b.0.0.cmp(&a.0.0)));
            strongest.map_or(Reason::Popular, |((item, _), _)| Reason::SimilarTo { item: *item })
        };
        (0..items.len()).map(reason).collect()
    }

    /// Per item of a list and, within it, per item of the query: the weight of the voters that hold both.
    fn support(
        &self,
        query: &[(ItemIdx, f32)],
        voters: &[Neighbour],
        items: &[ItemIdx],
        scratch: &mut Scratch,
    ) -> Vec<f32> {
        let mut support = vec![0.0; items.len() * query.len()];
        (0..).zip(items).for_each(|(row, item)| scratch.mark(*item, |mark| mark.listed = Some(row)));
        (0..)
            .zip(query)
            .for_each(|(column, (item, _))| scratch.mark(*item, |mark| mark.asked = Some(column)));
        let (mut listed, mut asked) = (Vec::<u32>::new(), Vec::<u32>::new());
        for voter in voters {
            let weight = voter.similarity * query[voter.latest as usize].1;
            listed.clear();
            asked.clear();
            for &item in self.sessions.row(voter.session as usize) {
                let mark = scratch.marked(item);
                listed.extend(mark.listed);
                asked.extend(mark.asked);
            }
            for row in &listed {
                let support = &mut support[*row as usize * query.len()..][..query.len()];
                asked.iter().for_each(|column| support[*column as usize] += weight);
            }
        }
        support
    }

    /// Each item that a session votes for, with its vote.
    fn votes(&self, query: &[(ItemIdx, f32)], voter: &Neighbour) -> impl Iterator<Item = (u32, f32)> {
        let items = self.sessions.row(voter.session as usize);
        let (shared, decay) = query[voter.latest as usize];
        let weight = voter.similarity * decay;
        let at = match self.fading.is_empty() {
            true => 0,
            false => items.iter().position(|&item| item == shared.0).unwrap_or_default(),
        };
        items.iter().enumerate().map(move |(place, &item)| {
            let fading = match self.fading.is_empty() {
                true => 1.0,
                false => self.fading[place.abs_diff(at).min(FARTHEST)],
            };
            (item, weight * fading * self.idf[item as usize])
        })
    }
}

/// A session that votes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Neighbour {
    session: u32,
    similarity: f32,
    /// The place in the query of the latest item that it shares.
    latest: u32,
}

impl Neighbour {
    /// More similar first, ties to the more recent session.
    fn order(a: &Self, b: &Self) -> Ordering {
        b.similarity.total_cmp(&a.similarity).then(b.session.cmp(&a.session))
    }
}

/// What is known of a session while a query is answered; of an earlier query where the epoch is another.
#[derive(Clone, Copy, Default)]
struct Seen {
    epoch: u32,
    similarity: f32,
    latest: u32,
}

/// The sum of an item's votes in the query of that epoch.
#[derive(Clone, Copy, Default)]
struct Votes {
    epoch: u32,
    sum: f32,
}

/// An item's place in the list and in the query of that epoch.
#[derive(Clone, Copy, Default)]
struct Mark {
    epoch: u32,
    listed: Option<u32>,
    asked: Option<u32>,
}

/// A place for every session and item, kept by each thread between queries. Beginning a query makes all of
/// them stale at once, so that its cost is that of the sessions it meets, with no hashing.
#[derive(Default)]
struct Scratch {
    epoch: u32,
    seen: Vec<Seen>,
    met: Vec<u32>,
    votes: Vec<Votes>,
    voted: Vec<u32>,
    marks: Vec<Mark>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    fn begin(&mut self, sessions: usize, items: usize) {
        self.met.clear();
        self.voted.clear();
        if self.seen.len() < sessions {
            self.seen.resize(sessions, Seen::default());
        }
        if self.votes.len() <= items {
            self.votes.resize(items + 1, Votes::default());
            self.marks.resize(items + 1, Mark::default());
        }
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            // Once in 2³² queries the numbers begin anew, and nothing may look as if it were of this one.
            self.seen.fill(Seen::default());
            self.votes.fill(Votes::default());
            self.marks.fill(Mark::default());
            self.epoch = 1;
        }
    }

    fn vote(&mut self, (item, vote): (u32, f32)) {
        let votes = &mut self.votes[item as usize];
        if votes.epoch != self.epoch {
            *votes = Votes { epoch: self.epoch, sum: 0.0 };
            self.voted.push(item);
        }
        votes.sum += vote;
    }

    /// Marks an item; one that the catalogue has not is left alone.
    fn mark(&mut self, item: ItemIdx, set: impl FnOnce(&mut Mark)) {
        let Some(mark) = self.marks.get_mut(item.row()) else { return };
        if mark.epoch != self.epoch {
            *mark = Mark { epoch: self.epoch, ..Mark::default() };
        }
        set(mark);
    }

    fn marked(&self, item: u32) -> Mark {
        let mark = self.marks[item as usize];
        if mark.epoch == self.epoch { mark } else { Mark::default() }
    }

    /// Adds the sessions of the query item at `place`. The first shared item met is the latest: the query goes
    /// backwards in time.
    fn add(&mut self, sessions: &[u32], place: u32, weight: f32) {
        let Self { epoch, seen, met, .. } = self;
        for &session in sessions {
            let seen = &mut seen[session as usize];
            if seen.epoch != *epoch {
                *seen = Seen { epoch: *epoch, similarity: 0.0, latest: place };
                met.push(session);
            }
            seen.similarity += weight;
        }
    }

    /// Divides each similarity by the square root of what is said of its session.
    fn divide(&mut self, by: impl Fn(usize) -> f32) {
        for &session in &self.met {
            self.seen[session as usize].similarity /= by(session as usize).sqrt();
        }
    }

    /// The `k` most similar sessions met, best first.
    fn best(&self, k: usize) -> Vec<Neighbour> {
        let mut best: Vec<Neighbour> = Vec::with_capacity(2 * k.min(self.met.len()) + 1);
        let mut bar: Option<Neighbour> = None;
        for &session in self.met.iter().filter(|_| k > 0) {
            let Seen { similarity, latest, .. } = self.seen[session as usize];
            let candidate = Neighbour { session, similarity, latest };
            if bar.is_some_and(|bar| Neighbour::order(&bar, &candidate).is_lt()) {
                continue;
            }
            best.push(candidate);
            if best.len() >= 2 * k {
                best.select_nth_unstable_by(k - 1, Neighbour::order);
                best.truncate(k);
                bar = best.last().copied();
            }
        }
        best.sort_unstable_by(Neighbour::order);
        best.truncate(k);
        best
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
        let query = self.query(history);
        for voter in SCRATCH.with_borrow_mut(|scratch| self.neighbours(&query, scratch)) {
            self.votes(&query, &voter).for_each(|(item, vote)| scores[item as usize] += vote);
        }
        scores[0] = f32::NEG_INFINITY;
    }

    fn recommend(&self, history: &History, k: usize, barred: &dyn Fn(ItemIdx) -> bool) -> Vec<Scored> {
        let query = self.query(history);
        SCRATCH.with_borrow_mut(|scratch| {
            let voters = self.neighbours(&query, scratch);
            self.elect(&query, &voters, scratch, (k, barred))
        })
    }

    fn similar_items(&self, item: ItemIdx, k: usize) -> Vec<Scored> {
        let history = History { items: &[item], times: &[0], now: 0 };
        let mut near = self.recommend(&history, k, &|other| other == item);
        near.retain(|scored| scored.score > 0.0);
        near
    }

    fn because(&self, history: &History, item: ItemIdx) -> Reason {
        self.because_each(history, &[item])[0]
    }

    fn because_each(&self, history: &History, items: &[ItemIdx]) -> Vec<Reason> {
        let query = self.query(history);
        SCRATCH.with_borrow_mut(|scratch| {
            let voters = self.neighbours(&query, scratch);
            self.reasons(&query, &voters, items, scratch)
        })
    }

    fn recommend_because(
        &self,
        history: &History,
        k: usize,
        barred: &dyn Fn(ItemIdx) -> bool,
    ) -> Vec<(Scored, Reason)> {
        let query = self.query(history);
        SCRATCH.with_borrow_mut(|scratch| {
            let voters = self.neighbours(&query, scratch);
            let list = self.elect(&query, &voters, scratch, (k, barred));
            let items: Vec<ItemIdx> = list.iter().map(|scored| scored.item).collect();
            list.into_iter().zip(self.reasons(&query, &voters, &items, scratch)).collect()
        })
    }

    fn save(&self) -> TensorFile {
        let mut file = recommender::new_file(NAME, &self.config);
        self.sessions.save(&mut file, "sessions");
        self.index.save(&mut file, "index");
        file.put_f32("idf", &[self.idf.len()], self.idf.clone());
        file
    }
}

/// The distinct items of each session, sessions by time; the items `in_order` of their first occurrence, or
/// by number.
fn sessions(data: &Interactions, in_order: bool) -> Vec<Vec<u32>> {
    let single = data.sequences.iter().all(|s| s.orders.windows(2).all(|pair| pair[0] != pair[1]));
    let mut timed: Vec<(i64, Vec<u32>, &[ItemIdx])> = Vec::new();
    for sequence in &data.sequences {
        let whole = std::iter::once(0..sequence.items.len());
        let parts: Vec<_> = if single { whole.collect() } else { sequence.baskets().collect() };
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let items = &sequence.items[part.clone()];
            timed.push((sequence.times[part.end - 1], distinct(items), items));
        }
    }
    timed.sort();
    let ordered = |items: &[ItemIdx]| {
        let mut seen = FxHashSet::default();
        items.iter().filter(|item| seen.insert(item.0)).map(|item| item.0).collect()
    };
    timed.into_iter().map(|(_, by_number, items)| if in_order { ordered(items) } else { by_number }).collect()
}

/// What a vote counts at each distance; empty where all count alike.
fn fading(decay: f32) -> Vec<f32> {
    let at = |distance: usize| (-(distance as f32) / decay).exp();
    if decay > 0.0 { (0..=FARTHEST).map(at).collect() } else { Vec::new() }
}

fn idf(with: &[Vec<u32>], sessions: usize) -> Vec<f32> {
    let of = |list: &Vec<u32>| match list.len() {
        0 => 0.0,
        count => (sessions as f32 / count as f32).ln(),
    };
    with.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interactions::{Purchase, Vocabulary};
    use proptest::prelude::*;
    use qhatu_schema::ItemId;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    const ITEMS: u32 = 12;

    fn shop(baskets: &[Vec<u32>]) -> Interactions {
        let names = (1..=ITEMS).map(|n| ItemId::new(format!("i{n}")).expect("not empty"));
        let line = |(order, items): (usize, &Vec<u32>)| {
            let purchase = move |&item: &u32| Purchase {
                time: order as i64,
                user: order as u32 % 3,
                order: order as u32,
                item: ItemIdx(item),
            };
            items.iter().map(purchase).collect::<Vec<_>>()
        };
        let lines: Vec<Purchase> = baskets.iter().enumerate().flat_map(line).collect();
        Interactions::from_purchases(Arc::new(Vocabulary::new(names)), &lines, i64::MAX)
    }

    /// The same from the text of the head: for each session, whether it is among the `m` latest of an item
    /// of the query, and what it shares.
    fn naive(data: &Interactions, config: &Config, history: &[ItemIdx]) -> Vec<f64> {
        let sessions = sessions(data, true);
        let mut query: Vec<u32> = Vec::new();
        for item in history.iter().rev().map(|item| item.0) {
            if !query.contains(&item) && query.len() < config.max_length {
                query.push(item);
            }
        }
        let weight = |place: usize| match config.position_decay {
            0.0 => 1.0 - place as f32 / query.len() as f32,
            decay => (-(place as f32) / decay).exp(),
        };
        let holding = |item: u32| -> Vec<usize> {
            (0..sessions.len()).filter(|&session| sessions[session].contains(&item)).collect()
        };
        let mut similar: BTreeMap<usize, (f32, usize)> = BTreeMap::new();
        for (place, &item) in query.iter().enumerate() {
            for session in holding(item).into_iter().rev().take(config.m) {
                similar.entry(session).or_insert((0.0, place)).0 += weight(place);
            }
        }
        if config.normalize {
            let both = |session: usize| (query.len() * sessions[session].len()) as f32;
            similar.iter_mut().for_each(|(session, known)| known.0 /= both(*session).sqrt());
        }
        let mut order: Vec<(usize, (f32, usize))> = similar.into_iter().collect();
        order.sort_by(|a, b| b.1.0.total_cmp(&a.1.0).then(b.0.cmp(&a.0)));
        let mut scores = vec![0.0; ITEMS as usize + 1];
        for (session, (similarity, latest)) in order.into_iter().take(config.k) {
            let place = |item: u32| sessions[session].iter().position(|&other| other == item);
            for &item in &sessions[session] {
                let idf = (sessions.len() as f32 / holding(item).len() as f32).ln();
                let distance = place(item).zip(place(query[latest])).map_or(0, |(a, b)| a.abs_diff(b));
                let fading = match config.distance_decay {
                    0.0 => 1.0,
                    decay => (-(distance as f32) / decay).exp(),
                };
                let vote = similarity * weight(latest) * fading * if config.idf { idf } else { 1.0 };
                scores[item as usize] += f64::from(vote);
            }
        }
        scores
    }

    proptest! {
        #[test]
        fn scores_are_those_of_the_formula(
            baskets in prop::collection::vec(prop::collection::vec(1..=ITEMS, 1..5), 1..40),
            histories in prop::collection::vec(prop::collection::vec(1..=ITEMS, 0..8), 1..4),
            (m, k, max_length) in (1..6_usize, 1..8_usize, 1..5_usize),
            (position_decay, distance_decay) in (0..3_u8, 0..3_u8), normalize: bool, idf: bool,
        ) {
            let data = shop(&baskets);
            let (position_decay, distance_decay) = (f32::from(position_decay), f32::from(distance_decay));
            let config = Config { m, k, max_length, position_decay, distance_decay, normalize, idf };
            let model = VmisKnn::fit(&data, &config).expect("sound settings");
            let loaded = VmisKnn::load(&model.save()).expect("what was saved");
            prop_assert_eq!(&loaded, &model);
            for items in histories {
                let items: Vec<ItemIdx> = items.into_iter().map(ItemIdx).collect();
                let times = vec![0; items.len()];
                let mut scores = vec![0.0; ITEMS as usize + 1];
                model.score(&History { items: &items, times: &times, now: 0 }, &mut scores);
                let list = model.recommend(&History { items: &items, times: &times, now: 0 }, 5, &|item| item.0 == 3);
                let mut whole = crate::recommender::top_k(&scores, 5, |item| item.0 == 3);
                whole.retain(|scored| scored.score > 0.0);
                prop_assert_eq!(list.iter().filter(|scored| scored.score > 0.0).copied().collect::<Vec<_>>(), whole);
                for (got, want) in scores.iter().zip(naive(&data, &config, &items)).skip(1) {
                    prop_assert!((f64::from(*got) - want).abs() < 1e-4 * want.abs().max(1.0), "{got} {want}");
                }
            }
        }
    }

    #[test]
    fn numbers_that_begin_anew_remember_nothing() {
        let mut scratch = Scratch { epoch: u32::MAX - 1, ..Scratch::default() };
        for _ in 0..3 {
            scratch.begin(4, 4);
            scratch.add(&[1, 3], 0, 0.5);
            let found: Vec<_> =
                scratch.best(9).iter().map(|found| (found.session, found.similarity)).collect();
            assert_eq!(found, [(3, 0.5), (1, 0.5)]);
        }
    }
}
