//! VSTAN: session neighbours that know when, and at which place.
//!
//! VS-kNN (Ludewig and Jannach, UMUAI 2018) with what STAN added (Garg et al., "Sequence and Time Aware Neighborhood for
//! Session-based Recommendations", SIGIR 2019), put together by Ludewig, Mauro, Latifi and Jannach ("Empirical analysis of
//! session-based recommendation algorithms", UMUAI 2021) in their framework session-rec, whose names the settings have.
//! With `p` the places from the end of the session at hand, and for each item its last place:
//!
//! ```text
//! similarity(n) = Σ over shared items of exp(−p ⁄ λ_spw) ⁄ √|n| · exp(−age(n) ⁄ λ_snh)
//! score(i)      = Σ over the k most similar n with i of
//!                 similarity(n) · exp(−p(latest shared item) ⁄ λ_ipw) · exp(−|place(i) − place(i*)| ⁄ λ_inh)
//!                 · (1 + λ_idf · ln(sessions ⁄ sessions with i))
//! ```
//!
//! where `i*` is the last item of `n` that the session at hand has too. STAN is `weighting_score = "same"` with
//! `lambda_idf = 0`; VS-kNN is `weighting` and `weighting_score` "div", "log" or "quadratic", `similarity = "vec"` and the λ of
//! time and place 0. It is the kernel of
//! [`vmis_knn`](crate::vmis_knn) with other weights.
//!
//! Departures: each item brings its `m` most recent sessions, where the framework takes the most recent of all that share an
//! item; idf counts sessions, not clicks; ages count from the youngest session met, which changes no list and keeps old data
//! from fading to nothing; lines of one order, and purchases of one moment, share a place.
//!
//! Defaults: HR@20 .558, MRR@20 .302; with STAN's switches at their best .556 / .300, with VS-kNN's .538 / .288 (the last
//! 4,700 training sessions of Retailrocket, learned from those before, by `examples/sessions.rs` with `last:4700`; 54, 16 and 27
//! draws of the settings).

use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::session_knn::{Decay, Places, Rules, SessionKnn, SessionKnnConfig};

/// The name in settings and files.
pub const NAME: &str = "vstan";

/// What an item of the session at hand weighs in similarities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// `exp(−p ⁄ λ_spw)`: STAN, VSTAN.
    #[default]
    Exponential,
    /// `place ⁄ length`: VS-kNN.
    Div,
    /// `(place ⁄ length)²`: VS-kNN.
    Quadratic,
    /// `1 ⁄ lg(p + 1.7)`: VS-kNN.
    Log,
    /// All alike: S-kNN.
    Same,
}

/// What a session's votes count by the latest item that it shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightingScore {
    /// `exp(−p ⁄ λ_ipw)`: VSTAN.
    #[default]
    Exponential,
    /// `1 ⁄ (p + 1)`: VS-kNN.
    Div,
    /// `1 ⁄ (p + 1)²`: VS-kNN.
    Quadratic,
    /// `1 ⁄ lg(p + 2.7)`: VS-kNN.
    Log,
    /// All alike: STAN, S-kNN.
    Same,
}

/// By what a sum of weights is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Similarity {
    /// The square root of the session's length: STAN, VSTAN.
    #[default]
    Cosine,
    /// Nothing: VS-kNN.
    Vec,
}

/// Hyper-parameters, named as in session-rec.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Most recent sessions that are looked at for each item.
    pub m: usize,
    /// Most similar sessions that vote.
    pub k: usize,
    /// Distinct items of the history that make the query.
    pub max_length: usize,
    /// What an item of the session at hand weighs in similarities.
    pub weighting: Weighting,
    /// Places after which that is 1/e, where it is exponential.
    pub lambda_spw: f32,
    /// By what a sum of weights is divided.
    pub similarity: Similarity,
    /// Days of age after which a similarity is 1/e; 0: age does not matter.
    pub lambda_snh: f32,
    /// What a session's votes count by the latest item that it shares.
    pub weighting_score: WeightingScore,
    /// Places after which that is 1/e, where it is exponential.
    pub lambda_ipw: f32,
    /// Places within the session after which a vote counts 1/e; 0: all count alike.
    pub lambda_inh: f32,
    /// How much rare items are favoured; 0: not at all.
    pub lambda_idf: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            m: 1000,
            k: 100,
            max_length: 50,
            weighting: Weighting::Exponential,
            lambda_spw: 7.24,
            similarity: Similarity::Cosine,
            lambda_snh: 80.0,
            weighting_score: WeightingScore::Exponential,
            lambda_ipw: 3.62,
            lambda_inh: 3.62,
            lambda_idf: 2.0,
        }
    }
}

impl Config {
    fn check(&self) -> Result<(), ModelError> {
        let fault = |key, value: f32, hint| {
            Err(ModelError::Setting { model: NAME, key, value: value.to_string(), hint })
        };
        let (spw, ipw) = (Weighting::Exponential, WeightingScore::Exponential);
        for (key, value, is_used) in [
            ("lambda_spw", self.lambda_spw, self.weighting == spw),
            ("lambda_ipw", self.lambda_ipw, self.weighting_score == ipw),
        ] {
            if is_used && !(value.is_finite() && value > 0.0) {
                return fault(key, value, "places after which a weight is 1/e, above 0, such as 1.8");
            }
        }
        for (key, value) in [
            ("lambda_snh", self.lambda_snh),
            ("lambda_inh", self.lambda_inh),
            ("lambda_idf", self.lambda_idf),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return fault(key, value, "a number of 0 (switched off) or more");
            }
        }
        Ok(())
    }
}

/// The fitted model.
pub type Vstan = SessionKnn<Config>;

impl SessionKnnConfig for Config {
    const NAME: &'static str = NAME;

    fn rules(&self) -> Result<Rules, ModelError> {
        self.check()?;
        Ok(Rules {
            m: self.m,
            k: self.k,
            max_length: self.max_length,
            places: Places::Moments,
            weighting: match self.weighting {
                Weighting::Exponential => Decay::Exponential(self.lambda_spw),
                Weighting::Div => Decay::Linear,
                Weighting::Quadratic => Decay::Quadratic,
                Weighting::Log => Decay::Log(1.7),
                Weighting::Same => Decay::Same,
            },
            vote_weighting: match self.weighting_score {
                WeightingScore::Exponential => Decay::Exponential(self.lambda_ipw),
                WeightingScore::Div => Decay::Reciprocal,
                WeightingScore::Quadratic => Decay::ReciprocalSquare,
                WeightingScore::Log => Decay::Log(2.7),
                WeightingScore::Same => Decay::Same,
            },
            normalize: self.similarity == Similarity::Cosine,
            recency_days: self.lambda_snh,
            distance_decay: self.lambda_inh,
            base: 1.0,
            idf: self.lambda_idf,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DAY_MS;
    use crate::interactions::{Interactions, Purchase, Vocabulary};
    use crate::recommender::{History, Recommender};
    use proptest::prelude::*;
    use qhatu_schema::{ItemId, ItemIdx};
    use std::sync::Arc;

    const ITEMS: u32 = 9;

    /// A session a visitor, one a day, each item an order of its own.
    fn visits(sessions: &[Vec<u32>]) -> Interactions {
        let names = (1..=ITEMS).map(|n| ItemId::new(format!("i{n}")).expect("not empty"));
        let mut lines = Vec::new();
        for (user, items) in (0_u32..).zip(sessions) {
            for item in items {
                let (order, time) = (lines.len() as u32, i64::from(user) * DAY_MS as i64);
                lines.push(Purchase { time, user, order, item: ItemIdx(*item) });
            }
        }
        Interactions::from_purchases(Arc::new(Vocabulary::new(names)), &lines, i64::MAX)
    }

    /// The formulas of the head, session by session.
    fn naive(sessions: &[Vec<u32>], config: &Config, own: &[u32]) -> Vec<f64> {
        let last = |items: &[u32], item: u32| items.iter().rposition(|other| *other == item);
        let from_end = |item: u32| last(own, item).map_or(f64::NAN, |place| (own.len() - 1 - place) as f64);
        let exp = |distance: f64, decay: f32| (-distance / f64::from(decay)).exp();
        let weight = |item: u32| match config.weighting {
            Weighting::Exponential => exp(from_end(item), config.lambda_spw),
            Weighting::Div => 1.0 - from_end(item) / own.len() as f64,
            Weighting::Quadratic => (1.0 - from_end(item) / own.len() as f64).powi(2),
            Weighting::Log => 1.0 / (from_end(item) + 1.7).log10(),
            Weighting::Same => 1.0,
        };
        let mut similar: Vec<(f64, usize)> = Vec::new();
        for (number, session) in sessions.iter().enumerate() {
            let mut distinct = session.clone();
            distinct.sort_unstable();
            distinct.dedup();
            let shared: Vec<u32> = distinct.iter().copied().filter(|item| own.contains(item)).collect();
            if shared.is_empty() {
                continue;
            }
            let mut similarity: f64 = shared.iter().map(|item| weight(*item)).sum();
            if config.similarity == Similarity::Cosine {
                similarity /= (distinct.len() as f64).sqrt();
            }
            if config.lambda_snh > 0.0 {
                similarity *= exp((sessions.len() - 1 - number) as f64, config.lambda_snh);
            }
            similar.push((similarity, number));
        }
        similar.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        let mut scores = vec![0.0; ITEMS as usize + 1];
        for (similarity, number) in similar.into_iter().take(config.k) {
            let session = &sessions[number];
            let star = session.iter().rposition(|item| own.contains(item)).expect("it shares one") as f64;
            let latest = own.iter().rev().find(|item| session.contains(item)).expect("it shares one");
            let vote = match config.weighting_score {
                WeightingScore::Exponential => exp(from_end(*latest), config.lambda_ipw),
                WeightingScore::Div => 1.0 / (from_end(*latest) + 1.0),
                WeightingScore::Quadratic => (from_end(*latest) + 1.0).powi(-2),
                WeightingScore::Log => 1.0 / (from_end(*latest) + 2.7).log10(),
                WeightingScore::Same => 1.0,
            };
            for item in 1..=ITEMS {
                let Some(place) = last(session, item) else { continue };
                let with = sessions.iter().filter(|session| session.contains(&item)).count();
                let idf = (sessions.len() as f64 / with as f64).ln();
                let fading = match config.lambda_inh {
                    0.0 => 1.0,
                    decay => exp((place as f64 - star).abs(), decay),
                };
                scores[item as usize] +=
                    similarity * vote * fading * (1.0 + f64::from(config.lambda_idf) * idf);
            }
        }
        scores
    }

    fn configs() -> impl Strategy<Value = Config> {
        use Weighting as W;
        use WeightingScore as S;
        let weighting = prop::sample::select(vec![W::Exponential, W::Div, W::Quadratic, W::Log, W::Same]);
        let score = prop::sample::select(vec![S::Exponential, S::Div, S::Quadratic, S::Log, S::Same]);
        let similarity = prop::sample::select(vec![Similarity::Cosine, Similarity::Vec]);
        let lambdas = (prop::sample::select(vec![0.0_f32, 2.5, 20.0]), 0..3_u8, 0..3_u8);
        (weighting, score, similarity, lambdas, 100..104_usize).prop_map(
            |(weighting, weighting_score, similarity, (snh, inh, idf), k)| Config {
                m: 100,
                // All vote: sums in another order may turn near ties over.
                k,
                weighting,
                weighting_score,
                similarity,
                lambda_snh: snh,
                lambda_inh: f32::from(inh),
                lambda_idf: f32::from(idf),
                ..Config::default()
            },
        )
    }

    proptest! {
        #[test]
        fn scores_are_those_of_the_formulas(
            sessions in prop::collection::vec(prop::collection::vec(1..=ITEMS, 1..7), 1..30),
            own in prop::collection::vec(1..=ITEMS, 1..8), config in configs(),
        ) {
            let model = Vstan::fit(&visits(&sessions), &config).expect("sound settings");
            prop_assert_eq!(&Vstan::load(&model.save()).expect("what was saved"), &model);
            let items: Vec<ItemIdx> = own.iter().copied().map(ItemIdx).collect();
            let times: Vec<i64> = (0..items.len() as i64).collect();
            let mut scores = vec![0.0; ITEMS as usize + 1];
            model.score(&History::bought(&items, &times, 99), &mut scores);
            // Sums are those of the formula but for what is constant within a query.
            let naive = naive(&sessions, &config, &own);
            let best = naive.iter().copied().fold(0.0, f64::max);
            let top = scores[1..].iter().copied().fold(0.0, f32::max);
            for (got, want) in scores.iter().zip(naive).skip(1) {
                let (got, want) = (f64::from(*got / top.max(1e-30)), want / best.max(1e-300));
                prop_assert!((got - want).abs() < 1e-4, "{got} {want}");
            }
        }
    }

    #[test]
    fn only_the_most_similar_vote() {
        let sessions = [vec![1, 2], vec![1, 3], vec![4, 1, 5, 6, 7]];
        let config = Config { k: 1, lambda_snh: 1.0, ..Config::default() };
        let model = Vstan::fit(&visits(&sessions), &config).expect("sound settings");
        let list = model.recommend(&History::bought(&[ItemIdx(1)], &[0], 1), 9, &|_| false);
        let mut found: Vec<u32> = list.iter().map(|scored| scored.item.0).collect();
        found.sort_unstable();
        // The youngest is longer, yet a day counts more than a length.
        assert_eq!(found, [1, 4, 5, 6, 7]);
    }

    #[test]
    fn a_setting_that_makes_no_sense_is_named() {
        let fault = |config: Config| Vstan::fit(&visits(&[vec![1]]), &config).unwrap_err().to_string();
        assert!(fault(Config { lambda_spw: 0.0, ..Config::default() }).contains("lambda_spw"));
        assert!(fault(Config { lambda_snh: f32::NAN, ..Config::default() }).contains("lambda_snh"));
        let same = Config { weighting: Weighting::Same, lambda_spw: 0.0, ..Config::default() };
        assert!(Vstan::fit(&visits(&[vec![1]]), &same).is_ok());
    }
}
