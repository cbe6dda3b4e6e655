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
//! Options from STAN (Garg et al., SIGIR 2019): weights of the query that fall exponentially, similarities divided by the
//! geometric mean of both lengths, and votes that fade with the distance to the shared item within the session. STAN and
//! VSTAN as they were published are [`vstan`](crate::vstan), on the same kernel.
//!
//! Defaults: `m` 200, `k` 500, query of 100 items, .262 / .083; `m` 500, `k` 100, 30 items .239 / .069 (UCI Online Retail,
//! NDCG@10 on all / new of the 28 days from 2011-10-15, by `examples/tune_baselines.rs` of `qhatu-train`).

use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::session_knn::{Decay, Places, Rules, SessionKnn, SessionKnnConfig};

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

/// The fitted model.
pub type VmisKnn = SessionKnn<Config>;

impl SessionKnnConfig for Config {
    const NAME: &'static str = NAME;

    fn rules(&self) -> Result<Rules, ModelError> {
        for (key, value) in [("position_decay", self.position_decay), ("distance_decay", self.distance_decay)]
        {
            if !(value.is_finite() && value >= 0.0) {
                let hint = "0 for none, or places after which a weight is 1/e";
                return Err(ModelError::Setting { model: NAME, key, value: value.to_string(), hint });
            }
        }
        let weighting = match self.position_decay {
            0.0 => Decay::Linear,
            decay => Decay::Exponential(decay),
        };
        Ok(Rules {
            m: self.m,
            k: self.k,
            max_length: self.max_length,
            places: Places::Distinct,
            weighting,
            vote_weighting: weighting,
            normalize: self.normalize,
            recency_days: 0.0,
            distance_decay: self.distance_decay,
            base: if self.idf { 0.0 } else { 1.0 },
            idf: if self.idf { 1.0 } else { 0.0 },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interactions::{Interactions, Purchase, Vocabulary};
    use crate::recommender::{History, Recommender};
    use crate::session_knn::items_in_order;
    use proptest::prelude::*;
    use qhatu_schema::{ItemId, ItemIdx};
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
        let sessions = items_in_order(data);
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
                model.score(&History::bought(&items, &times, 0), &mut scores);
                let list = model.recommend(&History::bought(&items, &times, 0), 5, &|item| item.0 == 3);
                let mut whole = crate::recommender::top_k(&scores, 5, |item| item.0 == 3);
                whole.retain(|scored| scored.score > 0.0);
                prop_assert_eq!(list.iter().filter(|scored| scored.score > 0.0).copied().collect::<Vec<_>>(), whole);
                for (got, want) in scores.iter().zip(naive(&data, &config, &items)).skip(1) {
                    prop_assert!((f64::from(*got) - want).abs() < 1e-4 * want.abs().max(1.0), "{got} {want}");
                }
            }
        }
    }
}
