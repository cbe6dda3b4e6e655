//! What the models of a shopper's sequence share: how a history becomes tokens, the network around their encoder,
//! the objective, the training loop, and the answers. A model is a [`SequenceConfig`]: its published settings, and
//! what they mean as [`Settings`].
//!
//! ```text
//! history ─ reading ─► tokens ─ items' vectors ─► encoder ─► states of the queries ─ same vectors ─► logits
//!                                                                                   + own + trend
//! ```
//!
//! * The reading says what a token is and what is asked ([`Reading`]): orders without an order within, one item after
//!   another, or items of which some are hidden.
//! * The encoder is attention (causal, or in both directions for hidden items) or a recurrent cell ([`Encoder`]).
//! * In place of learned positions, attention has a bias by the time or the number of steps between two tokens.
//! * An item is known by its own vector, and by what its text, categories and price say ([`Inputs`]).
//! * The objective is the full softmax, or one against sampled negatives ([`Objective`]).
//! * Where it is told what was done with each item, views and carts are events too ([`ActWeights`]).
//! * Buying again is a part of the score by itself (`own`), and so is what sells now (`trend`); each may be left out.
//! * Sequences are packed without padding.

mod augmentation;
mod checkpoint;
mod encoder;
mod example;
mod inputs;
mod kinds;
mod network;
mod own;
mod reader;
mod settings;
mod training;
mod trend;

use std::cell::RefCell;
use std::ops::ControlFlow;

use qhatu_nn::tensor_file::TensorFile;
use qhatu_nn::{InnerProductIndex, Parameters, inner_products_of};
use qhatu_schema::ItemIdx;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::augmentation::{Augmentation, Similar};
use self::example::Example;
pub use self::inputs::Inputs;
pub use self::kinds::ActWeights;
use self::kinds::Kinds;
use self::network::Network;
use self::reader::{Reader, Room};
pub use self::settings::{Distance, Encoder, Learning, Objective, Reading, Settings, Steps};
pub use self::training::{Context, Progress};
use self::trend::{SIGNS, combined};
use crate::error::{ModelError, misfit};
use crate::interactions::Interactions;
use crate::recommender::{self, Barred, History, Reason, Recommender, Scored, falling, top_k};

/// The published settings of one of these models.
pub trait SequenceConfig: Serialize + DeserializeOwned + Clone + Send + Sync + std::fmt::Debug {
    /// The model's name in settings and files.
    const NAME: &'static str;

    /// What they mean.
    fn settings(&self) -> Settings;
}

/// The fitted model of a configuration.
///
/// Lists come from an exact search over 8-bit codes of the items' vectors, which is made when a model is fitted or
/// loaded. Memory, beside the parameters: items × (hidden size + 12.5) bytes, 7.7 MB for 100,000 items of 64 numbers.
#[derive(Debug)]
pub struct SequenceModel<C> {
    config: C,
    settings: Settings,
    network: Network,
    parameters: Parameters,
    /// How often each item was bought, or anything was done with it where acts are read; from item 1.
    counts: Vec<u32>,
    /// Whether anything is known of it: it was bought, or something is said of it.
    known: Vec<bool>,
    /// What sold at the end of the data: see [`trend`]; empty without a trend.
    signs: Vec<f32>,
    /// Bias of each item at the end of the data.
    biases: Vec<f32>,
    reader: Reader,
    /// The items' vectors and biases; none for vectors that are too wide for it.
    index: Option<InnerProductIndex>,
}

/// What a history comes to.
struct Asked {
    example: Example,
    /// What is added to the items that were bought, in their order.
    added: Vec<(u32, f32)>,
    room: Room,
}

thread_local! {
    /// A thread's room, kept so that a request need not ask for memory.
    static ROOM: RefCell<Room> = RefCell::default();
}

impl Asked {
    fn hidden(&self) -> &[f32] {
        &self.room.hidden
    }

    /// Leaves the room to the next request.
    fn done(self) {
        ROOM.set(self.room);
    }
}

impl<C: SequenceConfig> SequenceModel<C> {
    /// Trains without a checkpoint, to the end. The same data, configuration and seed give the same model
    /// to the bit.
    ///
    /// # Errors
    /// For settings that make no sense, and where the loss is no number any more.
    pub fn fit(data: &Interactions, config: &C, seed: u64) -> Result<Self, ModelError> {
        let progress = &mut |_: &Progress| ControlFlow::Continue(());
        Self::fit_with(data, config, seed, &mut Context { checkpoint: None, progress })
    }

    /// Trains, going on from the checkpoint where there is one. The result is the same as that of
    /// [`SequenceModel::fit`].
    ///
    /// # Errors
    /// As [`SequenceModel::fit`]; where the checkpoint cannot be written or used; where progress says to stop.
    pub fn fit_with(
        data: &Interactions,
        config: &C,
        seed: u64,
        context: &mut Context,
    ) -> Result<Self, ModelError> {
        let settings = config.settings();
        settings.check()?;
        if settings.inputs.event_kind && data.journeys.is_empty() && !data.sequences.is_empty() {
            let wanted =
                "inputs.event_kind = true, and there are no views, carts and purchases one by one; give it";
            return Err(misfit(C::NAME, format!("{wanted} the shop's events (Interactions::journeys)")));
        }
        let (network, parameters, signs) = training::train(data, &settings, seed, context)?;
        let mut counts = vec![0_u32; data.items()];
        let mut count = |item: &ItemIdx| counts[item.row() - 1] = counts[item.row() - 1].saturating_add(1);
        match settings.inputs.event_kind {
            true => data.told().for_each(|told| told.items.iter().for_each(&mut count)),
            false => data.sequences.iter().for_each(|own| own.items.iter().for_each(&mut count)),
        }
        Ok(Self::new(config.clone(), (network, parameters), counts, signs))
    }

    /// Loads what [`Recommender::save`] gave.
    ///
    /// # Errors
    /// Where the file does not hold it, or its parts are of different catalogues.
    pub fn load(file: &TensorFile) -> Result<Self, ModelError> {
        let config: C = recommender::config(C::NAME, file)?;
        let settings = config.settings();
        settings.check()?;
        let counts = file.u32("counts")?.to_vec();
        // Before anything is made in the size that the settings ask for.
        if file.f32("items.weight")?.len() != (counts.len() + 1) * settings.hidden_size {
            return Err(misfit(C::NAME, "its embeddings are not as many as its items"));
        }
        recommender::check_layers(C::NAME, file, settings.layers())?;
        let width = settings.hidden_size;
        if settings.inputs.event_kind && file.f32("asked.weight")?.len() != Kinds::MATRICES * width * width {
            return Err(misfit(C::NAME, "it asks for other acts than there are"));
        }
        let (network, mut parameters) = Network::new(&settings, counts.len(), qhatu_nn::Stream::new(0));
        parameters.load(file)?;
        let mut signs = Vec::new();
        if settings.trend {
            signs = file.f32("trend.signs")?.to_vec();
            if signs.len() != counts.len() * SIGNS || !signs.iter().all(|sign| sign.is_finite()) {
                return Err(misfit(C::NAME, "its trend is not of its items"));
            }
        }
        Ok(Self::new(config, (network, parameters), counts, signs))
    }

    fn new(
        config: C,
        (network, parameters): (Network, Parameters),
        counts: Vec<u32>,
        signs: Vec<f32>,
    ) -> Self {
        let settings = config.settings();
        let bias = network.item_bias().of(parameters.values());
        let factors = network.trend().map_or(&[][..], |slot| slot.of(parameters.values()));
        let biases: Vec<f32> = combined(&signs, bias, factors).collect();
        let reader = Reader::new(&settings, &parameters);
        let width = settings.hidden_size;
        let vectors = &network.items(parameters.values())[width..];
        let said = |row: &[f32]| settings.inputs.has_sides() && row.iter().any(|number| *number != 0.0);
        let rows = counts.iter().zip(vectors.chunks_exact(width));
        let known = rows.map(|(count, row)| *count > 0 || said(row)).collect();
        let index = InnerProductIndex::new(vectors, width, biases.clone()).ok();
        Self { config, settings, network, parameters, counts, known, signs, biases, reader, index }
    }

    /// The vectors of query token and items.
    fn items(&self) -> &[f32] {
        self.network.items(self.parameters.values())
    }

    /// The vectors of the items, from item 1.
    fn vectors(&self) -> &[f32] {
        &self.items()[self.settings.hidden_size..]
    }

    fn ask(&self, history: &History) -> Asked {
        let example = Example::new(history, self.counts.len(), &self.settings, true);
        let mut room = ROOM.take();
        self.reader.read(self.items(), &example, &mut room);
        let weights = self.network.own_weights(self.parameters.values());
        let added = weights.map(|weights| own::added(&weights, &room.hidden, &example));
        Asked { example, added: added.unwrap_or_default(), room }
    }

    /// The logits of all items, from item 1.
    fn logits(&self, asked: &Asked, logits: &mut [f32]) {
        inner_products_of(self.vectors(), asked.hidden(), logits);
        logits.iter_mut().zip(&self.biases).for_each(|(logit, bias)| *logit += bias);
        asked.added.iter().for_each(|(class, value)| logits[*class as usize] += value);
    }

    /// Puts items of which nothing is known below the others.
    fn put_unknown_last(&self, logits: &mut [f32]) {
        let known = logits.iter().zip(&self.known).filter(|(_, known)| **known);
        let below = known.map(|(logit, _)| *logit).fold(f32::INFINITY, f32::min).next_down();
        let unknown = logits.iter_mut().zip(&self.known).filter(|(_, known)| !**known);
        unknown.for_each(|(logit, _)| *logit = logit.min(below));
    }

    /// The list by the index: of what nothing is added to by a search, the rest one by one. Nothing where there are fewer
    /// than `k` of which something is known.
    fn searched(&self, asked: &Asked, k: usize, barred: Barred) -> Option<Vec<Scored>> {
        let index = self.index.as_ref()?;
        let (vectors, hidden) = (self.vectors(), asked.hidden());
        let item = |row: usize| ItemIdx(row as u32 + 1);
        let out = |row: usize| !self.known[row] || barred(item(row));
        let apart = |row: usize| asked.added.binary_search_by_key(&(row as u32), |added| added.0).is_ok();
        let mut list: Vec<Scored> = index
            .search(vectors, hidden, k, &|row| apart(row) || out(row))
            .into_iter()
            .map(|found| Scored { item: item(found.row), score: found.score })
            .collect();
        for (class, value) in asked.added.iter().filter(|(class, _)| !out(*class as usize)) {
            let row = *class as usize;
            list.push(Scored { item: item(row), score: index.score(vectors, row, hidden) + value });
        }
        list.sort_unstable_by(falling);
        list.truncate(k);
        (list.len() == k).then_some(list)
    }

    fn list(&self, asked: &Asked, k: usize, barred: Barred) -> Vec<Scored> {
        self.searched(asked, k, barred).unwrap_or_else(|| {
            let mut logits = vec![f32::NEG_INFINITY; self.counts.len() + 1];
            self.logits(asked, &mut logits[1..]);
            self.put_unknown_last(&mut logits[1..]);
            top_k(&logits, k, barred)
        })
    }

    /// Why an item is in the list for a history that was asked.
    fn reason(&self, history: &History, asked: &mut Asked, item: ItemIdx) -> Reason {
        if !(1..=self.counts.len()).contains(&item.row()) {
            return Reason::Popular;
        }
        let own = |(bought, _): &(ItemIdx, i64)| *bought == item;
        let latest = |(times, last): (u32, i64), (_, time)| (times + 1, last.max(time));
        let (times, last) = match history.told.filter(|_| self.settings.inputs.event_kind) {
            Some(told) => told.bought().filter(own).fold((0, i64::MIN), latest),
            None => history.known_bought(self.counts.len()).filter(own).fold((0, i64::MIN), latest),
        };
        if times > 0 {
            return Reason::BoughtBefore { times, last };
        }
        let vector = &self.items()[item.row() * self.settings.hidden_size..][..self.settings.hidden_size];
        let said = self.reader.said(self.items(), (&asked.example, vector), &mut asked.room);
        let all = asked.example.tokens.iter().zip(said);
        match all.max_by(|a, b| a.1.total_cmp(&b.1)) {
            Some((token, said)) if said.is_finite() => Reason::Sequence { item: ItemIdx(*token) },
            _ => Reason::Popular,
        }
    }
}

impl<C: SequenceConfig> Recommender for SequenceModel<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn catalogue_size(&self) -> usize {
        self.counts.len()
    }

    fn reads_acts(&self) -> bool {
        self.settings.inputs.event_kind
    }

    fn score(&self, history: &History, scores: &mut [f32]) {
        recommender::clear(scores, self.counts.len());
        let asked = self.ask(history);
        self.logits(&asked, &mut scores[1..]);
        asked.done();
        let whole = log_of_sum(&scores[1..]);
        self.put_unknown_last(&mut scores[1..]);
        // `ln softmax`, so that a score means the same from shopper to shopper.
        scores[1..].iter_mut().for_each(|score| *score -= whole);
    }

    /// The items of [`Recommender::score`], in its order but for scores that are the same up to rounding. A score is the
    /// logit: what `score` gives plus a number that is the same throughout the list and would take a pass over all
    /// items.
    fn recommend(&self, history: &History, k: usize, barred: Barred) -> Vec<Scored> {
        let asked = self.ask(history);
        let list = self.list(&asked, k, barred);
        asked.done();
        list
    }

    fn similar_items(&self, item: ItemIdx, k: usize) -> Vec<Scored> {
        let table = self.items();
        if self.known.get(item.row().wrapping_sub(1)).is_none_or(|known| !known) {
            return Vec::new();
        }
        let width = self.settings.hidden_size;
        let own = &table[item.row() * width..][..width];
        let cosines: Vec<f32> = table.chunks_exact(width).map(|row| cosine(own, row)).collect();
        top_k(&cosines, k, |other| other == item || !self.known[other.row() - 1])
    }

    fn because(&self, history: &History, item: ItemIdx) -> Reason {
        self.because_each(history, &[item])[0]
    }

    fn because_each(&self, history: &History, items: &[ItemIdx]) -> Vec<Reason> {
        let mut asked = self.ask(history);
        let reasons = items.iter().map(|item| self.reason(history, &mut asked, *item)).collect();
        asked.done();
        reasons
    }

    fn recommend_because(&self, history: &History, k: usize, barred: Barred) -> Vec<(Scored, Reason)> {
        let mut asked = self.ask(history);
        let list = self.list(&asked, k, barred).into_iter();
        let list = list.map(|scored| (scored, self.reason(history, &mut asked, scored.item))).collect();
        asked.done();
        list
    }

    fn save(&self) -> TensorFile {
        let mut file = recommender::new_file(C::NAME, &self.config);
        self.parameters.save(&mut file);
        file.put_u32("counts", &[self.counts.len()], self.counts.clone());
        if self.settings.trend {
            file.put_f32("trend.signs", &[SIGNS, self.counts.len()], self.signs.clone());
        }
        file
    }
}

/// `ln Σ eˣ`.
fn log_of_sum(values: &[f32]) -> f32 {
    let top = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    top + values.iter().map(|value| (value - top).exp()).sum::<f32>().ln()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use qhatu_nn::Stream;

    use super::*;
    use crate::{bert4rec, gru4rec, sasrec};

    const ITEMS: usize = 300;

    /// A model of random numbers, of whose items a share was bought.
    fn model<C: SequenceConfig>(config: C, seed: u64, bought: u64) -> SequenceModel<C> {
        let stream = Stream::new(seed);
        let settings = config.settings();
        let (network, mut parameters) = Network::new(&settings, ITEMS, stream);
        parameters.values_mut().iter_mut().for_each(|value| *value *= 8.0);
        stream.child(1).fill_normal(network.item_bias().of_mut(parameters.values_mut()), 1.0);
        let count = |item: u64| u32::from(stream.child(2).at(item) % 10 < bought);
        let mut signs = vec![0.0; if settings.trend { SIGNS * ITEMS } else { 0 }];
        stream.child(3).fill_normal(&mut signs, 1.0);
        SequenceModel::new(config, (network, parameters), (0..ITEMS as u64).map(count).collect(), signs)
    }

    fn assert_list_is_plain<C: SequenceConfig>(
        model: &SequenceModel<C>,
        history: &History,
        (k, out): (usize, u32),
    ) {
        let barred = |item: ItemIdx| item.0 % 7 == out;
        let found = model.recommend(history, k, &barred);
        let want = recommender::plainly(model, history, k, &barred);
        assert_eq!(found.len(), want.len());
        let shift = found.first().map_or(0.0, |first| first.score - want[0].score);
        for (found, want) in found.iter().zip(&want) {
            // Scores that differ by rounding alone may change places.
            assert!((found.score - want.score - shift).abs() < 1e-4, "{found:?} {want:?}");
            let same = want.item == found.item;
            let mut scores = vec![0.0; ITEMS + 1];
            if !same {
                model.score(history, &mut scores);
                let gap = scores[found.item.row()] - scores[want.item.row()];
                assert!(gap.abs() < 1e-5, "{found:?} {want:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_list_by_the_index_is_that_of_all_scores(
            items in prop::collection::vec(0..ITEMS as u32 + 2, 0..30),
            k in 0..40_usize, out in 1..8_u32, seed in 0..1000_u64, bought in prop::sample::select(vec![0_u64, 1, 9]),
        ) {
            let items: Vec<ItemIdx> = items.into_iter().map(ItemIdx).collect();
            let times: Vec<i64> = (0..items.len() as i64).map(|place| place / 2 * 86_400_000).collect();
            let history = History::bought(&items, &times, 40 * 86_400_000);
            let small = sasrec::Config { hidden_size: 16, intermediate_size: 16, ..Default::default() };
            assert_list_is_plain(&model(small, seed, bought), &history, (k, out));
            let plain = sasrec::Config { repeats: false, trend: false, ..small };
            assert_list_is_plain(&model(plain, seed, bought), &history, (k, out));
            let gru = gru4rec::Config { hidden_size: 16, ..Default::default() };
            assert_list_is_plain(&model(gru, seed, bought), &history, (k, out));
            let bert = bert4rec::Config { hidden_size: 16, intermediate_size: 16, ..Default::default() };
            assert_list_is_plain(&model(bert, seed, bought), &history, (k, out));
        }
    }

    #[test]
    fn a_file_that_cannot_hold_its_layers_is_refused_before_they_are_made() {
        let config = sasrec::Config { hidden_size: 16, intermediate_size: 16, ..Default::default() };
        let mut file = model(config, 1, 9).save();
        assert!(SequenceModel::<sasrec::Config>::load(&file).is_ok());
        let deep = sasrec::Config { num_hidden_layers: 64, intermediate_size: 65_536, ..config };
        file.settings.insert("config".to_owned(), serde_json::to_string(&deep).unwrap());
        let fault = SequenceModel::<sasrec::Config>::load(&file).unwrap_err().to_string();
        assert!(fault.contains("want 64 layers of 2098176 weights"), "{fault}");
    }

    #[test]
    fn vectors_too_wide_for_the_index_are_answered_all_the_same() {
        let wide = sasrec::Config { hidden_size: 514, num_hidden_layers: 1, ..Default::default() };
        let model = model(wide, 1, 9);
        assert!(model.index.is_none());
        let history = History::bought(&[ItemIdx(3)], &[0], 1);
        assert_list_is_plain(&model, &history, (10, 3));
    }
}
