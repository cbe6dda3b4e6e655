//! Training: epochs over shuffled shoppers, early stopping on a validation period, a second training on
//! everything, and a checkpoint after each epoch.
//!
//! The last `validation_days` before the end of the data validate: the network learns from what lies
//! before, and after each epoch names what was bought in them. When that has not improved for `patience`
//! epochs, the best epoch's number is known, and a second training on all data runs for as many.
//! (Where acts are read, shoppers and visits are asked for their next order just before it: views say much for minutes and
//! little for weeks.) Where nobody bought in that period there is nothing to choose by, and `epochs` are run. Without a second
//! training (`refit`) the best epoch's parameters are the model.
//!
//! A batch is cut into `parts`, each with its own gradients, which are added in order: the same seed
//! gives the same bits on any number of threads. With `accumulation_steps` there are as many times more parts, and
//! only `parts` of them are in memory at once. Dropout and sampled negatives are drawn for each part, so that only without
//! them the number of parts changes no more than the last digits. Shuffling and dropout are functions of seed, epoch and
//! step, so that a training that was stopped goes on from its checkpoint as if it had not been.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use qhatu_nn::{AdamW, AdamWConfig, Decay, Ema, Parameters, Schedule, Stream, clip};
use qhatu_schema::ItemIdx;
use rayon::prelude::*;
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};

use super::augmentation::Augmenter;
use super::checkpoint::Checkpoint;
use super::example::{Example, Query};
use super::inputs::{Moment, Rows};
use super::network::{Network, Space};
use super::settings::Settings;
use super::trend::{Trend, combined};
use crate::DAY_MS;
use crate::act::Act;
use crate::error::ModelError;
use crate::interactions::Interactions;
use crate::journey::{Journey, Told};
use crate::recommender::{History, top_k};

/// Fewer shoppers than this validate nothing.
const FEWEST_TO_VALIDATE: usize = 20;
/// Places of the list that validates.
const K: usize = 10;
/// Shoppers of the validation that are asked together.
const ASKED: usize = 32;
/// Parameters whose gradients are added up at a time.
const STRIP: usize = 1 << 14;

/// How far a training is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Whether it is the second training, on all data.
    pub refit: bool,
    /// The epoch, from 0, and the most there may be.
    pub epoch: u32,
    /// The most epochs there may be.
    pub epochs: u32,
    /// Steps done in this epoch.
    pub step: usize,
    /// Steps of an epoch.
    pub steps: usize,
    /// Mean loss of this epoch so far.
    pub loss: f64,
    /// NDCG@10 on the validation period after the last whole epoch, mean of everything bought and what
    /// is new to the shopper.
    pub validation: Option<f64>,
    /// The same of what is new to the shopper alone.
    pub validation_new: Option<f64>,
    /// Time left at the most; early stopping may end it sooner.
    pub left: Duration,
}

/// What a training may use beside data and settings.
pub struct Context<'a> {
    /// Where a checkpoint is kept after each epoch, and looked for at the beginning.
    pub checkpoint: Option<&'a Path>,
    /// Called after each step; [`ControlFlow::Break`] ends the training with [`ModelError::Cancelled`].
    pub progress: &'a mut dyn FnMut(&Progress) -> ControlFlow<()>,
}

/// How far the training is, as a checkpoint keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
pub(super) struct State {
    /// Whether the second training runs.
    pub(super) refit: bool,
    /// Whole epochs of this training.
    pub(super) epoch: u32,
    /// The best epoch so far, counted from 1, and its figure.
    pub(super) best: Option<(u32, f64)>,
    /// The last epoch's figure.
    pub(super) validation: Option<f64>,
    /// The same of new items alone.
    #[serde(default)]
    pub(super) validation_new: Option<f64>,
}

/// Shoppers to learn from, and when it ends.
struct Lesson {
    examples: Vec<Example>,
    trend: Trend,
    until: i64,
    /// The items, from item 1, that are in no example: nobody bought them, or, where acts are read, did more than look once.
    cold: Vec<bool>,
    augmenter: Option<Augmenter>,
}

/// A shopper of the validation period.
struct Asked {
    example: Example,
    known: FxHashSet<ItemIdx>,
    bought: FxHashSet<ItemIdx>,
}

/// What changes while training.
pub(super) struct Trained {
    pub(super) state: State,
    pub(super) parameters: Parameters,
    pub(super) optimizer: AdamW,
    /// The parameters' moving average: what validates, and what is the model in the end.
    pub(super) average: Ema,
    /// The average after the best epoch, where there is no second training.
    pub(super) best: Option<Vec<f32>>,
}

impl Trained {
    /// The averaged parameters in place of the last step's.
    fn averaged(&self) -> Parameters {
        let mut averaged = self.parameters.clone();
        averaged.values_mut().copy_from_slice(self.average.values());
        averaged
    }
}

struct Trainer<'a> {
    settings: &'a Settings,
    seed: u64,
    network: Network,
    /// How an item's row comes of its parts, and room for the parameters with such rows.
    rows: Rows<'a>,
    whole: Vec<f32>,
    spaces: Vec<Space>,
    gradients: Vec<f32>,
    begun: Instant,
    steps_done: u64,
}

/// Network, parameters and the trend's latest signs, fitted to the data.
pub(super) fn train(
    data: &Interactions,
    settings: &Settings,
    seed: u64,
    context: &mut Context,
) -> Result<(Network, Parameters, Vec<f32>), ModelError> {
    let learning = &settings.learning;
    let (network, mut parameters) = Network::new(settings, data.items(), Stream::new(seed));
    let rows = Rows::new((&network, &mut parameters), settings, data, Stream::new(seed))?;
    let mut trainer = Trainer {
        settings,
        seed,
        network,
        rows,
        whole: Vec::new(),
        spaces: (0..learning.parts).map(|_| Space::default()).collect(),
        gradients: Vec::new(),
        begun: Instant::now(),
        steps_done: 0,
    };
    let start = data.until.saturating_sub((learning.validation_days * DAY_MS) as i64);
    let asked = asked(data, start, settings);
    let early = (asked.len() >= FEWEST_TO_VALIDATE).then(|| Lesson::new(&data.before(start), settings));
    // Where acts are read, somebody may be asked of whom nothing lies before the period.
    let early = early.transpose()?.filter(|lesson| lesson.examples.len() >= FEWEST_TO_VALIDATE);
    let too_few = early.is_none();
    let mut trained = trainer.begin(&parameters, State { refit: too_few, ..State::default() });
    let checkpoint = Checkpoint::new(context.checkpoint, data, settings, seed);
    checkpoint.load(&mut trained)?;
    if let Some(lesson) = early.filter(|_| !trained.state.refit) {
        while !trainer.is_over(&trained.state) {
            trainer.epoch(&lesson, &mut trained, context)?;
            let found = trainer.validate(&asked, &lesson, &trained.averaged());
            if trained.state.note(found) && !learning.refit {
                trained.best = Some(trained.average.values().to_vec());
            }
            checkpoint.save(&trained)?;
        }
        if let Some(best) = trained.best {
            trained.parameters.values_mut().copy_from_slice(&best);
            let latest = Trend::of(data, settings).latest().to_vec();
            let parameters = trainer.finished(data, &lesson, &trained.parameters);
            return Ok((trainer.network, parameters, latest));
        }
        trained = trainer.begin(&parameters, State { refit: true, epoch: 0, ..trained.state });
    }
    let lesson = Lesson::new(data, settings)?;
    let epochs = trained.state.best.map_or(learning.epochs, |(epoch, _)| epoch);
    while trained.state.epoch < epochs && !lesson.examples.is_empty() {
        trainer.epoch(&lesson, &mut trained, context)?;
        trained.state.epoch += 1;
        checkpoint.save(&trained)?;
    }
    let parameters = trainer.finished(data, &lesson, &trained.averaged());
    Ok((trainer.network, parameters, lesson.trend.latest().to_vec()))
}

impl State {
    /// Notes an epoch's figures, of all and of new items; whether it is the best so far. Ties stay with the earlier
    /// epoch.
    fn note(&mut self, [all, new]: [f64; 2]) -> bool {
        let validation = (all + new) / 2.0;
        self.epoch += 1;
        self.validation = Some(validation);
        self.validation_new = Some(new);
        let better = self.best.is_none_or(|(_, best)| validation > best);
        if better {
            self.best = Some((self.epoch, validation));
        }
        better
    }
}

impl Lesson {
    fn new(data: &Interactions, settings: &Settings) -> Result<Self, ModelError> {
        let mut cold = vec![true; data.items()];
        let mut example = |history: &History, items: &[ItemIdx]| {
            items.iter().for_each(|item| cold[item.row() - 1] = false);
            Example::new(history, data.items(), settings, false)
        };
        let examples = match settings.inputs.event_kind {
            true => data
                .told()
                .filter(teaches)
                .map(|told| example(&asking(&told, data.until), &told.items))
                .collect(),
            false => {
                let bought = data
                    .sequences
                    .iter()
                    .map(|own| (own, History::bought(&own.items, &own.times, data.until)));
                bought.map(|(own, history)| example(&history, &own.items)).collect()
            }
        };
        let augmenter = Augmenter::new(data, settings)?;
        Ok(Self { examples, trend: Trend::of(data, settings), until: data.until, cold, augmenter })
    }

    /// A shopper's example in an epoch.
    fn of_epoch(&self, shopper: usize, settings: &Settings, stream: Stream) -> Example {
        let changed = self.augmenter.as_ref().and_then(|own| own.changed(shopper, stream.child(u64::MAX)));
        let Some((items, times)) = changed else { return self.examples[shopper].of_epoch(settings, stream) };
        let history = History::bought(&items, &times, self.until);
        Example::new(&history, self.cold.len(), settings, false).of_epoch(settings, stream)
    }

    fn moment(&self, training: Option<Stream>) -> Moment<'_> {
        Moment { cold: &self.cold, training }
    }

    /// What a query of a time weighs.
    fn weight(&self, half_life_days: f64, time: i64) -> f32 {
        if half_life_days <= 0.0 {
            return 1.0;
        }
        let days = (self.until.saturating_sub(time)) as f64 / DAY_MS;
        (-days / half_life_days).exp2() as f32
    }
}

/// One look at one item teaches no order.
fn teaches(told: &Told) -> bool {
    told.len() > 1 || told.acts.contains(&Act::Bought)
}

/// Somebody of whom all that they did is known.
fn asking(told: &Told, now: i64) -> History<'_> {
    History { told: Some(told), ..History::bought(&[], &[], now) }
}

/// Where acts are read: shoppers and visits, asked for the first order from `start` on, just before it.
fn asked_before_order(
    journey: &Journey,
    (start, data): (i64, &Interactions),
    settings: &Settings,
) -> Option<Asked> {
    let whole = journey.told_before(data.until);
    let basket = whole.basket_from(whole.times.partition_point(|time| *time < start))?;
    let now = whole.times[basket.start];
    let told = journey.told_before(now);
    (!told.is_empty()).then(|| Asked {
        example: Example::new(&asking(&told, now), data.items(), settings, true),
        known: told.bought().map(|(item, _)| item).collect(),
        bought: whole.items[basket].iter().copied().collect(),
    })
}

/// Shoppers with a history before `start` who bought afterwards.
fn asked(data: &Interactions, start: i64, settings: &Settings) -> Vec<Asked> {
    if settings.inputs.event_kind {
        let asked = |journey| asked_before_order(journey, (start, data), settings);
        return data.journeys.iter().filter_map(asked).collect();
    }
    let asked = data.sequences.iter().filter_map(|sequence| {
        let known = sequence.times.partition_point(|time| *time < start);
        if known == 0 || known == sequence.items.len() {
            return None;
        }
        let (items, times) = (&sequence.items[..known], &sequence.times[..known]);
        Some(Asked {
            example: Example::new(&History::bought(items, times, start), data.items(), settings, true),
            known: items.iter().copied().collect(),
            bought: sequence.items[known..].iter().copied().collect(),
        })
    });
    asked.collect()
}

impl Trainer<'_> {
    /// Before the first epoch.
    fn begin(&self, parameters: &Parameters, state: State) -> Trained {
        let parameters = parameters.clone();
        let learning = &self.settings.learning;
        let optimizer =
            AdamWConfig { beta2: 0.98, weight_decay: learning.weight_decay, ..Default::default() };
        let average = Ema::new(parameters.values(), learning.ema_decay);
        let optimizer = AdamW::new(&parameters, optimizer);
        Trained { state, optimizer, parameters, average, best: None }
    }

    /// The parameters of the network alone, with the rows that came of the items' parts.
    fn finished(&self, data: &Interactions, lesson: &Lesson, parameters: &Parameters) -> Parameters {
        let (_, mut own) = Network::new(self.settings, data.items(), Stream::new(self.seed));
        let mut room = Vec::new();
        let whole = self.rows.whole(parameters.values(), lesson.moment(None), &mut room);
        let length = own.len();
        own.values_mut().copy_from_slice(&whole[..length]);
        own
    }

    fn is_over(&self, state: &State) -> bool {
        let best = state.best.map_or(0, |(epoch, _)| epoch);
        let learning = &self.settings.learning;
        state.epoch >= learning.epochs || state.epoch >= best + learning.patience.max(1)
    }

    fn epoch(
        &mut self,
        lesson: &Lesson,
        trained: &mut Trained,
        context: &mut Context,
    ) -> Result<(), ModelError> {
        let State { refit, epoch, .. } = trained.state;
        let stream = Stream::new(self.seed).child(u64::from(refit)).child(u64::from(epoch));
        let order = stream.shuffled(lesson.examples.len());
        let batches: Vec<&[usize]> = order.chunks(self.settings.learning.batch_size.max(1)).collect();
        let (mut loss, mut weight) = (0.0, 0.0);
        for (step, batch) in batches.iter().enumerate() {
            let (step_loss, step_weight) = self.step(lesson, batch, stream.child(step as u64 + 1), trained);
            loss += step_loss;
            weight += step_weight;
            if !loss.is_finite() {
                return Err(ModelError::Diverged { model: self.settings.name, epoch: epoch + 1 });
            }
            let progress = self.progress(&trained.state, (step + 1, batches.len()), loss / weight);
            if (context.progress)(&progress).is_break() {
                return Err(ModelError::Cancelled { model: self.settings.name });
            }
        }
        Ok(())
    }

    fn progress(&mut self, state: &State, (step, steps): (usize, usize), loss: f64) -> Progress {
        self.steps_done += 1;
        let learning = &self.settings.learning;
        let epochs = match (state.refit, state.best) {
            (true, Some((best, _))) => best,
            (false, Some((best, _))) => learning.epochs.min(best + learning.patience),
            _ => learning.epochs,
        };
        let of_this = u64::from(epochs.saturating_sub(state.epoch)) * steps as u64 - step as u64;
        let of_refit = if state.refit || !learning.refit {
            0
        } else {
            u64::from(state.best.map_or(epochs, |best| best.0))
        };
        let left = (of_this + of_refit * steps as u64) as f64 / self.steps_done as f64;
        let left = Duration::try_from_secs_f64(self.begun.elapsed().as_secs_f64() * left).unwrap_or_default();
        let State { refit, epoch, validation, validation_new, .. } = *state;
        Progress { refit, epoch, epochs, step, steps, loss, validation, validation_new, left }
    }

    /// One step on a batch of shoppers: the sum of its losses, and of its weights.
    fn step(
        &mut self,
        lesson: &Lesson,
        batch: &[usize],
        stream: Stream,
        trained: &mut Trained,
    ) -> (f64, f64) {
        let settings = self.settings;
        let learning = &settings.learning;
        let shoppers: Vec<Example> = batch
            .iter()
            .map(|shopper| lesson.of_epoch(*shopper, settings, stream.child(*shopper as u64)))
            .collect();
        let asked =
            |time: i64| (lesson.weight(learning.recency_half_life_days, time), lesson.trend.week(time));
        let queries = shoppers.iter().flat_map(|shopper| {
            let weight = |query: &Query| asked(shopper.times[query.place]).0 * settings.weight_of(query);
            shopper.queries.iter().map(move |query| f64::from(weight(query)))
        });
        let total: f64 = queries.sum();
        if total <= 0.0 {
            return (0.0, 0.0);
        }
        let moment = lesson.moment(Some(stream.child(u64::MAX - 1)));
        let parameters = self.rows.whole(trained.parameters.values(), moment, &mut self.whole);
        let network = &self.network;
        let bias = network.item_bias().of(parameters);
        let factors = network.trend().map_or(&[][..], |slot| slot.of(parameters));
        let biases = lesson.trend.biases(bias, factors);
        let size = bias.len();
        let work = |(part, (space, shoppers)): (usize, (&mut Space, &Vec<&Example>))| {
            space.batch.clear(size);
            shoppers.iter().for_each(|shopper| network.add(&mut space.batch, shopper, asked));
            let stream = stream.child(u64::MAX).child(part as u64);
            network.step(parameters, (&lesson.trend, &biases), stream, (1.0 / total) as f32, space)
        };
        for space in &mut self.spaces {
            space.gradients.clear();
            space.gradients.resize(parameters.len(), 0.0);
        }
        let parts = cut(&shoppers, self.spaces.len() * learning.accumulation_steps);
        let mut losses = 0.0;
        for (piece, parts) in parts.chunks(self.spaces.len()).enumerate() {
            let first = piece * self.spaces.len();
            let numbered = self.spaces.par_iter_mut().zip(parts).enumerate();
            let found: Vec<f64> = numbered.map(|(part, both)| work((first + part, both))).collect();
            losses += found.iter().sum::<f64>();
        }
        self.add_up(trained.parameters.len());
        self.rows.backward(&mut self.gradients, moment);
        let scale = clip::scale(clip::global_norm(&self.gradients), learning.max_grad_norm);
        let rate = Schedule {
            peak: learning.learning_rate,
            floor: 0.0,
            warm_up: learning.warmup_steps,
            total: 0,
            decay: Decay::Constant,
        };
        let rate = rate.rate(trained.optimizer.steps());
        trained.optimizer.step(&mut trained.parameters, &self.gradients, rate, scale);
        trained.average.update(trained.parameters.values(), trained.optimizer.steps());
        (losses, total)
    }

    /// The parts' gradients, added in order.
    fn add_up(&mut self, length: usize) {
        self.gradients.resize(length, 0.0);
        let spaces = &self.spaces;
        self.gradients.par_chunks_mut(STRIP).enumerate().for_each(|(strip, sum)| {
            let range = strip * STRIP..strip * STRIP + sum.len();
            sum.copy_from_slice(&spaces[0].gradients[range.clone()]);
            for space in &spaces[1..] {
                sum.iter_mut().zip(&space.gradients[range.clone()]).for_each(|(sum, g)| *sum += g);
            }
        });
    }

    /// NDCG@10 of everything bought, and of what is new.
    fn validate(&self, asked: &[Asked], lesson: &Lesson, parameters: &Parameters) -> [f64; 2] {
        let mut room = Vec::new();
        let parameters = self.rows.whole(parameters.values(), lesson.moment(None), &mut room);
        let bias = self.network.item_bias().of(parameters);
        let factors = self.network.trend().map_or(&[][..], |slot| slot.of(parameters));
        let biases: Vec<f32> = combined(lesson.trend.latest(), bias, factors).collect();
        let room = || (Space::default(), Vec::new());
        let figures: Vec<Vec<[Option<f64>; 2]>> = asked
            .par_chunks(ASKED)
            .map_init(room, |(space, scores), asked| {
                scores.clear();
                for _ in asked {
                    scores.push(f32::NEG_INFINITY);
                    scores.extend_from_slice(&biases);
                }
                let examples: Vec<&Example> = asked.iter().map(|asked| &asked.example).collect();
                self.network.logits(parameters, &examples, space, scores);
                asked.iter().zip(scores.chunks_exact(biases.len() + 1)).map(judged).collect()
            })
            .collect();
        let figures = figures.concat();
        let mean = |target: usize| {
            let found: Vec<f64> = figures.iter().filter_map(|figure| figure[target]).collect();
            found.iter().sum::<f64>() / found.len().max(1) as f64
        };
        [mean(0), mean(1)]
    }
}

/// NDCG@10 of everything a shopper bought, and of what was new to them.
fn judged((asked, scores): (&Asked, &[f32])) -> [Option<f64>; 2] {
    let fresh: FxHashSet<ItemIdx> = asked.bought.difference(&asked.known).copied().collect();
    [ndcg(scores, &asked.bought, |_| false), ndcg(scores, &fresh, |item| asked.known.contains(&item))]
}

/// The batch's shoppers in parts of about equally many tokens.
fn cut(shoppers: &[Example], parts: usize) -> Vec<Vec<&Example>> {
    let mut cut = vec![(0, Vec::new()); parts];
    for shopper in shoppers {
        let least = cut.iter_mut().min_by_key(|(tokens, _)| *tokens).expect("at least one part");
        least.0 += shopper.tokens.len();
        least.1.push(shopper);
    }
    cut.into_iter().map(|(_, shoppers)| shoppers).collect()
}

/// Binary gains; the ideal list holds as many relevant items as fit; nothing where nothing is relevant.
fn ndcg(scores: &[f32], relevant: &FxHashSet<ItemIdx>, exclude: impl Fn(ItemIdx) -> bool) -> Option<f64> {
    let gain = |place: usize| 1.0 / (place as f64 + 2.0).log2();
    let list = top_k(scores, K, exclude).into_iter().enumerate();
    let found: f64 =
        list.filter(|(_, scored)| relevant.contains(&scored.item)).map(|(place, _)| gain(place)).sum();
    let ideal: f64 = (0..relevant.len().min(K)).map(gain).sum();
    (!relevant.is_empty()).then(|| found / ideal)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use qhatu_schema::ItemId;

    use super::*;
    use crate::sasrec::{self, SasRec};
    use crate::{Purchase, Vocabulary};

    /// The mean loss after each step of three epochs.
    fn losses(accumulation_steps: usize, hidden_dropout_prob: f32) -> Vec<f64> {
        let names = (1..=12).map(|item| ItemId::new(format!("i{item}")).unwrap());
        let line = |user: u32, order: u32| Purchase {
            time: i64::from(order * 7 + user % 7) * DAY_MS as i64,
            user,
            order: user * 8 + order,
            item: ItemIdx(1 + (user + order * (1 + user % 3)) % 12),
        };
        let mut lines: Vec<Purchase> =
            (0..40).flat_map(|user| (0..8).map(move |order| line(user, order))).collect();
        lines.sort_unstable();
        let data = Interactions::from_purchases(Arc::new(Vocabulary::new(names)), &lines, 60 * DAY_MS as i64);
        let config = sasrec::Config {
            hidden_size: 16,
            num_hidden_layers: 1,
            num_attention_heads: 1,
            intermediate_size: 16,
            hidden_dropout_prob,
            item_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            batch_size: 16,
            accumulation_steps,
            parts: 2,
            epochs: 3,
            ..sasrec::Config::default()
        };
        let mut losses = Vec::new();
        let progress = &mut |progress: &Progress| {
            losses.push(progress.loss);
            ControlFlow::Continue(())
        };
        SasRec::fit_with(&data, &config, 1, &mut Context { checkpoint: None, progress }).unwrap();
        losses
    }

    #[test]
    fn in_pieces_a_step_is_the_same_where_nothing_is_drawn() {
        let gap = |dropout: f32| {
            let (whole, pieces) = (losses(1, dropout), losses(4, dropout));
            assert_eq!(whole.len(), pieces.len());
            assert!(whole.len() >= 9, "{} steps", whole.len());
            whole.iter().zip(&pieces).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
        };
        assert!(gap(0.0) < 1e-4, "{}", gap(0.0));
        assert!(gap(0.3) > 1e-3, "each piece has a dropout of its own: {}", gap(0.3));
    }
}
