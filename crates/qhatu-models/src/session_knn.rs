//! What the neighbour models of sessions share: those sessions that are most like this one vote for their items.
//!
//! ```text
//! history ─► query: its last distinct items, each with a weight
//!        ─► per item its `m` most recent sessions; similarity: the weights of the items that a session shares
//!        ─► the `k` most similar ones vote for their items: similarity × place of the latest shared item in the query
//!                                                          × place of the item in the session × rarity
//! ```
//!
//! A model is a [`SessionKnnConfig`]: its published settings, and what they mean as [`Rules`]. A session is one order;
//! where every order is a single item, the shopper's whole sequence. A request costs what the sessions it meets cost,
//! whatever the size of the catalogue.

mod rows;
mod rules;
mod scratch;

use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::ItemIdx;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::rows::{Rows, Session, sessions};
pub use self::rules::{Decay, Places, Rules};
use self::scratch::{Neighbour, SCRATCH, Scratch};
use crate::error::{ModelError, misfit};
use crate::interactions::Interactions;
use crate::item_knn::shoppers;
use crate::recommender::{self, Barred, History, Reason, Recommender, Scored, falling};

/// The published settings of one of these models.
pub trait SessionKnnConfig: Serialize + DeserializeOwned + Clone + PartialEq + Send + Sync {
    /// The model's name in settings and files.
    const NAME: &'static str;

    /// What they mean.
    ///
    /// # Errors
    /// For a setting that makes no sense.
    fn rules(&self) -> Result<Rules, ModelError>;
}

/// Distances beyond which a vote fades no more.
const FARTHEST: usize = 255;

/// The fitted model: sessions and an index from items to them, both as compressed rows.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionKnn<C> {
    config: C,
    rules: Rules,
    /// Per session, oldest first, its items.
    sessions: Rows,
    /// The place of each of these items within its session; empty where places do not matter, or are those of the list.
    places: Vec<u32>,
    /// Days of each session before the last one; empty where they do not matter.
    ages: Vec<f32>,
    /// Per item, its most recent sessions.
    index: Rows,
    /// What a vote for each item counts; padding 0.
    idf: Vec<f32>,
    /// What a vote counts at each distance; empty where all count alike.
    fading: Vec<f32>,
}

/// An item of the query.
#[derive(Debug, Clone, Copy)]
struct Asked {
    item: ItemIdx,
    /// What it adds to a session's similarity.
    weight: f32,
    /// What the votes of a session count of which it is the latest shared item.
    vote: f32,
}

impl<C: SessionKnnConfig> SessionKnn<C> {
    /// Indexes the sessions.
    ///
    /// # Errors
    /// For a setting that makes no sense.
    pub fn fit(data: &Interactions, config: &C) -> Result<Self, ModelError> {
        let rules = config.rules()?;
        let sessions = sessions(data, &rules);
        let items: Vec<Vec<u32>> = sessions.iter().map(|session| session.items.clone()).collect();
        let mut with = shoppers(&items, data.items());
        let idf = rarity(&with, sessions.len(), &rules);
        for list in &mut with {
            list.drain(..list.len().saturating_sub(rules.m));
        }
        let places = match rules.needs_places() {
            true => sessions.iter().flat_map(|session| session.places.iter().copied()).collect(),
            false => Vec::new(),
        };
        Ok(Self {
            sessions: Rows::new(items.iter().map(Vec::as_slice)),
            places,
            ages: if rules.recency_days > 0.0 { ages(&sessions) } else { Vec::new() },
            index: Rows::new(with.iter().map(Vec::as_slice)),
            idf,
            fading: fading(rules.distance_decay),
            rules,
            config: config.clone(),
        })
    }

    /// Loads what [`Recommender::save`] gave.
    ///
    /// # Errors
    /// Where the file does not hold it.
    pub fn load(file: &TensorFile) -> Result<Self, ModelError> {
        let config: C = recommender::config(C::NAME, file)?;
        let rules = config.rules()?;
        let own = Self {
            sessions: Rows::load(C::NAME, file, "sessions")?,
            places: if rules.needs_places() { file.u32("sessions.places")?.to_vec() } else { Vec::new() },
            ages: if rules.recency_days > 0.0 { file.f32("sessions.ages")?.to_vec() } else { Vec::new() },
            index: Rows::load(C::NAME, file, "index")?,
            idf: file.f32("idf")?.to_vec(),
            fading: fading(rules.distance_decay),
            rules,
            config,
        };
        if own.fits() { Ok(own) } else { Err(misfit(C::NAME, "its sessions and index do not fit together")) }
    }

    fn fits(&self) -> bool {
        let (items, sessions) = (self.idf.len(), self.sessions.len());
        let count = |needed: bool, count: usize| if needed { count } else { 0 };
        items >= 1
            && self.index.len() == items
            && self.index.within(sessions)
            && self.sessions.within(items)
            && self.idf.iter().all(|idf| idf.is_finite())
            && self.places.len() == count(self.rules.needs_places(), self.sessions.entries())
            && self.ages.len() == count(self.rules.recency_days > 0.0, sessions)
            && self.ages.iter().all(|age| age.is_finite() && *age >= 0.0)
    }

    /// The query: distinct items, the latest first.
    fn query(&self, history: &History) -> Vec<Asked> {
        let rules = &self.rules;
        let mut found: Vec<(ItemIdx, usize)> = Vec::with_capacity(rules.max_length.min(history.items.len()));
        let (mut moments, mut latest) = (0, None);
        for (item, time) in history.known(self.catalogue_size()).rev() {
            if found.len() == rules.max_length {
                break;
            }
            moments += usize::from(latest.is_some_and(|latest| latest != time));
            latest = Some(time);
            if found.iter().all(|(known, _)| *known != item) {
                let place = match rules.places {
                    Places::Distinct => found.len(),
                    Places::Moments => moments,
                };
                found.push((item, place));
            }
        }
        let length = match rules.places {
            Places::Distinct => found.len(),
            Places::Moments => moments + 1,
        };
        let asked = |(item, place): (ItemIdx, usize)| Asked {
            item,
            weight: rules.weighting.at(place, length),
            vote: rules.vote_weighting.at(place, length),
        };
        found.into_iter().map(asked).collect()
    }

    /// The most similar sessions, best first.
    fn neighbours(&self, query: &[Asked], scratch: &mut Scratch) -> Vec<Neighbour> {
        scratch.begin(self.sessions.len(), self.catalogue_size());
        for (place, asked) in query.iter().enumerate() {
            scratch.add(self.index.row(asked.item.row()), place as u32, asked.weight);
        }
        if self.rules.normalize {
            scratch.divide(|session| (query.len() * self.sessions.row(session).len()) as f32);
        }
        if self.rules.recency_days > 0.0 {
            scratch.fade(&self.ages, self.rules.recency_days);
        }
        if self.rules.needs_places() {
            query.iter().for_each(|asked| scratch.mark(asked.item, |mark| mark.asked = Some(0)));
        }
        scratch.best(self.rules.k)
    }

    /// The `k` items of most votes that are not barred.
    fn elect(
        &self,
        query: &[Asked],
        voters: &[Neighbour],
        scratch: &mut Scratch,
        (k, barred): (usize, Barred),
    ) -> Vec<Scored> {
        for voter in voters {
            let from = self.from(query, voter, scratch);
            self.votes(query, voter, from).for_each(|vote| scratch.vote(vote));
        }
        recommender::best_of(scratch.voted(), k, falling, |scored| barred(scored.item))
    }

    /// For each item the item of the query that most of its voters share with it, by their weight.
    fn reasons(
        &self,
        query: &[Asked],
        voters: &[Neighbour],
        items: &[ItemIdx],
        scratch: &mut Scratch,
    ) -> Vec<Reason> {
        let width = query.len();
        let support = self.support(query, voters, items, scratch);
        let reason = |row: usize| {
            let found = query.iter().zip(&support[row * width..(row + 1) * width]);
            let found = found.filter(|(_, weight)| **weight > 0.0);
            let strongest = found.max_by(|a, b| a.1.total_cmp(b.1).then(b.0.item.cmp(&a.0.item)));
            strongest.map_or(Reason::Popular, |(asked, _)| Reason::SimilarTo { item: asked.item })
        };
        (0..items.len()).map(reason).collect()
    }

    /// Per item of a list and, within it, per item of the query: the weight of the voters that hold both.
    fn support(
        &self,
        query: &[Asked],
        voters: &[Neighbour],
        items: &[ItemIdx],
        scratch: &mut Scratch,
    ) -> Vec<f32> {
        let mut support = vec![0.0; items.len() * query.len()];
        (0..).zip(items).for_each(|(row, item)| scratch.mark(*item, |mark| mark.listed = Some(row)));
        (0..)
            .zip(query)
            .for_each(|(column, asked)| scratch.mark(asked.item, |mark| mark.asked = Some(column)));
        let (mut listed, mut asked) = (Vec::<u32>::new(), Vec::<u32>::new());
        for voter in voters {
            let weight = voter.similarity * query[voter.latest as usize].vote;
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

    /// The place within a session from which its votes fade.
    fn from(&self, query: &[Asked], voter: &Neighbour, scratch: &Scratch) -> usize {
        let session = voter.session as usize;
        let items = self.sessions.row(session);
        match self.rules.places {
            _ if self.fading.is_empty() => 0,
            Places::Distinct => {
                let latest = query[voter.latest as usize].item;
                items.iter().position(|&item| item == latest.0).unwrap_or_default()
            }
            Places::Moments => {
                let places = &self.places[self.sessions.range(session)];
                let shared =
                    items.iter().zip(places).filter(|(item, _)| scratch.marked(**item).asked.is_some());
                shared.map(|(_, place)| *place).max().unwrap_or_default() as usize
            }
        }
    }

    /// Each item that a session votes for, with its vote.
    fn votes(&self, query: &[Asked], voter: &Neighbour, from: usize) -> impl Iterator<Item = (u32, f32)> {
        let session = voter.session as usize;
        let weight = voter.similarity * query[voter.latest as usize].vote;
        let places = match self.places.is_empty() {
            true => &[],
            false => &self.places[self.sessions.range(session)],
        };
        self.sessions.row(session).iter().enumerate().map(move |(at, &item)| {
            let place = places.get(at).map_or(at, |place| *place as usize);
            let fading = match self.fading.is_empty() {
                true => 1.0,
                false => self.fading[place.abs_diff(from).min(FARTHEST)],
            };
            (item, weight * fading * self.idf[item as usize])
        })
    }
}

impl<C: SessionKnnConfig> Recommender for SessionKnn<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn catalogue_size(&self) -> usize {
        self.idf.len() - 1
    }

    fn score(&self, history: &History, scores: &mut [f32]) {
        recommender::clear(scores, self.catalogue_size());
        let query = self.query(history);
        SCRATCH.with_borrow_mut(|scratch| {
            for voter in self.neighbours(&query, scratch) {
                let from = self.from(&query, &voter, scratch);
                self.votes(&query, &voter, from).for_each(|(item, vote)| scores[item as usize] += vote);
            }
        });
        scores[0] = f32::NEG_INFINITY;
    }

    fn recommend(&self, history: &History, k: usize, barred: Barred) -> Vec<Scored> {
        let query = self.query(history);
        SCRATCH.with_borrow_mut(|scratch| {
            let voters = self.neighbours(&query, scratch);
            self.elect(&query, &voters, scratch, (k, barred))
        })
    }

    fn similar_items(&self, item: ItemIdx, k: usize) -> Vec<Scored> {
        let items = [item];
        let history = History::bought(&items, &[0], 0);
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

    fn recommend_because(&self, history: &History, k: usize, barred: Barred) -> Vec<(Scored, Reason)> {
        let query = self.query(history);
        SCRATCH.with_borrow_mut(|scratch| {
            let voters = self.neighbours(&query, scratch);
            let list = self.elect(&query, &voters, scratch, (k, barred));
            let items: Vec<ItemIdx> = list.iter().map(|scored| scored.item).collect();
            list.into_iter().zip(self.reasons(&query, &voters, &items, scratch)).collect()
        })
    }

    fn save(&self) -> TensorFile {
        let mut file = recommender::new_file(C::NAME, &self.config);
        self.sessions.save(&mut file, "sessions");
        self.index.save(&mut file, "index");
        file.put_f32("idf", &[self.idf.len()], self.idf.clone());
        if self.rules.needs_places() {
            file.put_u32("sessions.places", &[self.places.len()], self.places.clone());
        }
        if self.rules.recency_days > 0.0 {
            file.put_f32("sessions.ages", &[self.ages.len()], self.ages.clone());
        }
        file
    }
}

/// Days of each session before the last one.
fn ages(sessions: &[Session]) -> Vec<f32> {
    let last = sessions.last().map_or(0, |session| session.time);
    let age = |session: &Session| (last.saturating_sub(session.time) as f64 / crate::DAY_MS) as f32;
    sessions.iter().map(age).collect()
}

/// What a vote counts at each distance; empty where all count alike.
fn fading(decay: f32) -> Vec<f32> {
    let at = |distance: usize| (-(distance as f32) / decay).exp();
    if decay > 0.0 { (0..=FARTHEST).map(at).collect() } else { Vec::new() }
}

/// What a vote for each item counts, from the sessions that hold it.
fn rarity(with: &[Vec<u32>], sessions: usize, rules: &Rules) -> Vec<f32> {
    let idf = |count: usize| if count == 0 { 0.0 } else { (sessions as f32 / count as f32).ln() };
    let of = |list: &Vec<u32>| match rules.idf {
        0.0 => rules.base,
        factor => rules.base + factor * idf(list.len()),
    };
    let mut all: Vec<f32> = with.iter().map(of).collect();
    all[0] = 0.0;
    all
}

/// The items of each session in their order, by time: for tests of the models.
#[cfg(test)]
pub(crate) fn items_in_order(data: &Interactions) -> Vec<Vec<u32>> {
    let config = crate::vmis_knn::Config { distance_decay: 1.0, ..Default::default() };
    let rules = config.rules().expect("sound settings");
    sessions(data, &rules).into_iter().map(|session| session.items).collect()
}
