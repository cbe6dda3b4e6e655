//! What was done with each item that is read, and what is asked for: what will be bought, or looked at, or put into the
//! cart.
//!
//! * Each step's input gets a vector of its act: `x_t = e_item + k_act`.
//! * The state that names an item is one of the act that is asked: `h = LN(x + A_act x + b_act)`. A vector alone would only
//!   say how likely each item is to be bought at all; a matrix reads something else out of the same state: of what lies in
//!   the cart when it is asked what will be bought, of what is alike when it is asked what will be looked at next.
//! * Where buying again is a part of the score, each step weighs by its act and the one that is asked (see [`super::own`]).
//!
//! In training every step asks twice: for the next step by its own act, and for the next order, however many steps lie
//! between, for this is what a shop asks at any moment. An answer always asks what will be bought. (Several behaviours in one
//! sequence, told apart by vectors: Yuan et al., "Multi-Behavior Sequential Transformer Recommender", SIGIR 2022.)

use qhatu_nn::operation::linear::{self, Widths};
use qhatu_nn::{Initial, Parameters, Slot, Stream};
use serde::{Deserialize, Serialize};

use super::network::DEVIATION;
use crate::act::Act;

/// How many acts there are.
pub(super) const ACTS: usize = Act::ALL.len();
/// In the place of an act where nothing was done: the token before the first step.
pub(super) const NOTHING: u8 = ACTS as u8;

/// What a question for each act counts in training; 0: it is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ActWeights {
    /// What will be looked at next.
    pub viewed: f32,
    /// What will be put into the cart next.
    pub carted: f32,
    /// What will be bought next.
    pub bought: f32,
}

impl Default for ActWeights {
    fn default() -> Self {
        Self { viewed: 0.2, carted: 0.5, bought: 1.0 }
    }
}

impl ActWeights {
    /// Each with its name.
    pub(super) fn each(&self) -> [(&'static str, f32); ACTS] {
        [
            ("act_weights.viewed", self.viewed),
            ("act_weights.carted", self.carted),
            ("act_weights.bought", self.bought),
        ]
    }

    /// What a question counts.
    pub(super) fn of(&self, act: Act) -> f32 {
        self.each()[act as usize].1
    }
}

/// Where its tensors lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Kinds {
    width: usize,
    /// A row for each act.
    vectors: Slot,
    /// A matrix and a bias for each act that is asked for.
    weight: Slot,
    bias: Slot,
}

/// Room of a batch, and what the gradient needs.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// The states before they were asked.
    states: Vec<f32>,
    x: Vec<f32>,
    y: Vec<f32>,
}

impl Kinds {
    /// How many square matrices there are.
    pub(super) const MATRICES: usize = ACTS;

    /// Adds the tensors.
    pub(super) fn new(parameters: &mut Parameters, width: usize, stream: Stream) -> Self {
        let normal = Initial::Normal(DEVIATION);
        let vectors = parameters.add("acts.weight", &[ACTS, width], normal, stream);
        let weight = parameters.add("asked.weight", &[ACTS, width, width], normal, stream);
        let bias = parameters.add("asked.bias", &[ACTS, width], Initial::Constant(0.0), stream);
        Self { width, vectors, weight, bias }
    }

    /// Adds the acts' vectors, times `scale`, to the rows of the tokens.
    pub(super) fn add(&self, parameters: &[f32], acts: &[u8], scale: f32, rows: &mut [f32]) {
        let vectors = self.vectors.of(parameters);
        for (act, row) in acts.iter().zip(rows.chunks_exact_mut(self.width)) {
            let Some(vector) = vectors.chunks_exact(self.width).nth(usize::from(*act)) else { continue };
            row.iter_mut().zip(vector).for_each(|(row, number)| *row += scale * number);
        }
    }

    /// Adds to the vectors' gradients, from those of the tokens.
    pub(super) fn add_backward(&self, gradients: &mut [f32], acts: &[u8], d: &[f32]) {
        let d_vectors = self.vectors.of_mut(gradients);
        for (act, d) in acts.iter().zip(d.chunks_exact(self.width)).filter(|(act, _)| **act != NOTHING) {
            let to = &mut d_vectors[usize::from(*act) * self.width..][..self.width];
            to.iter_mut().zip(d).for_each(|(to, d)| *to += d);
        }
    }

    /// `x ← x + A x + b`, each row by the act that it asks for.
    pub(super) fn ask(&self, parameters: &[f32], asked: &[u8], rows: &mut [f32], work: &mut Work) {
        work.states.clear();
        work.states.extend_from_slice(rows);
        for act in 0..ACTS {
            let Work { states, x, y } = work;
            gather(states, asked, act, x, self.width);
            y.clear();
            y.resize(x.len(), 0.0);
            linear::forward(
                x,
                self.matrix(parameters, act),
                Some(self.bias(parameters, act)),
                y,
                self.widths(),
            );
            scatter(y, asked, act, rows, self.width);
        }
    }

    /// From the gradients of the asked states to those of the states, in place, and of the parameters.
    pub(super) fn ask_backward(
        &self,
        (parameters, gradients): (&[f32], &mut [f32]),
        asked: &[u8],
        d: &mut [f32],
        work: &mut Work,
    ) {
        let from = d.to_vec();
        let mut d_x = Vec::new();
        for act in 0..ACTS {
            let Work { states, x, y } = work;
            gather(states, asked, act, x, self.width);
            gather(&from, asked, act, y, self.width);
            let [d_weight, d_bias] = Slot::all_of_mut([self.weight, self.bias], gradients);
            let d_weight = &mut d_weight[act * self.width * self.width..][..self.width * self.width];
            let d_bias = &mut d_bias[act * self.width..][..self.width];
            linear::backward_weights(x, y, d_weight, Some(d_bias), self.widths());
            d_x.clear();
            d_x.resize(y.len(), 0.0);
            linear::backward_input(y, self.matrix(parameters, act), &mut d_x, self.widths());
            scatter(&d_x, asked, act, d, self.width);
        }
    }

    fn widths(&self) -> Widths {
        Widths { inputs: self.width, outputs: self.width }
    }

    fn matrix<'a>(&self, parameters: &'a [f32], act: usize) -> &'a [f32] {
        &self.weight.of(parameters)[act * self.width * self.width..][..self.width * self.width]
    }

    fn bias<'a>(&self, parameters: &'a [f32], act: usize) -> &'a [f32] {
        &self.bias.of(parameters)[act * self.width..][..self.width]
    }
}

/// The rows that ask for an act, one behind another.
fn gather(rows: &[f32], asked: &[u8], act: usize, into: &mut Vec<f32>, width: usize) {
    into.clear();
    let own = asked.iter().zip(rows.chunks_exact(width)).filter(|(asked, _)| usize::from(**asked) == act);
    own.for_each(|(_, row)| into.extend_from_slice(row));
}

/// Adds them to where they came from.
fn scatter(from: &[f32], asked: &[u8], act: usize, rows: &mut [f32], width: usize) {
    let own = asked.iter().zip(rows.chunks_exact_mut(width)).filter(|(asked, _)| usize::from(**asked) == act);
    for ((_, row), from) in own.zip(from.chunks_exact(width)) {
        row.iter_mut().zip(from).for_each(|(row, from)| *row += from);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use qhatu_schema::{EventKind, ItemId, ItemIdx, UserIdx};

    use super::*;
    use crate::journey::{Deed, Journey, Told};
    use crate::sasrec::{self, SasRec};
    use crate::sequence::{Inputs, SequenceConfig, SequenceModel, Steps};
    use crate::{History, Interactions, Purchase, Reason, Recommender, Vocabulary, bert4rec, gru4rec};

    const WIDTH: usize = 4;

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let mut parameters = Parameters::default();
        let kinds = Kinds::new(&mut parameters, WIDTH, Stream::new(2));
        // Parameters, then the rows of tokens, then the states of queries.
        let (acts, asked) = ([0, 2, NOTHING, 1, 2], [2, 0, 2]);
        let (count, rows) = (parameters.len(), acts.len() * WIDTH);
        let factor = |place: usize| ((place * 37) % 11) as f32 / 11.0 - 0.5;
        let mut all: Vec<f32> = (0..count + rows + asked.len() * WIDTH).map(factor).collect();
        let d_rows: Vec<f32> = (0..rows).map(|place| factor(place + 5)).collect();
        let d_states: Vec<f32> = (0..asked.len() * WIDTH).map(|place| factor(place + 8)).collect();
        let mut work = Work::default();
        let mut loss = |all: &[f32]| {
            let (parameters, given) = all.split_at(count);
            let (tokens, states) = given.split_at(rows);
            let (mut tokens, mut states) = (tokens.to_vec(), states.to_vec());
            kinds.add(parameters, &acts, 3.0, &mut tokens);
            kinds.ask(parameters, &asked, &mut states, &mut work);
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            dot(&tokens, &d_rows) + dot(&states, &d_states)
        };
        let slopes: Vec<f64> = (0..all.len())
            .map(|place| {
                // Bilinear, so that a difference is exact but for rounding.
                let middle = all[place];
                all[place] = middle + 0.5;
                let above = loss(&all);
                all[place] = middle - 0.5;
                let slope = above - loss(&all);
                all[place] = middle;
                slope
            })
            .collect();
        loss(&all);
        let mut d = vec![0.0; all.len()];
        let (gradients, given) = d.split_at_mut(count);
        let (d_tokens, d_given) = given.split_at_mut(rows);
        d_tokens.copy_from_slice(&d_rows);
        d_given.copy_from_slice(&d_states);
        kinds.ask_backward((&all[..count], gradients), &asked, d_given, &mut work);
        let scaled: Vec<f32> = d_rows.iter().map(|d| 3.0 * d).collect();
        kinds.add_backward(gradients, &acts, &scaled);
        for (place, (found, slope)) in d.iter().zip(slopes).enumerate() {
            assert!((f64::from(*found) - slope).abs() < 1e-4, "{place}: {found} is not {slope}");
        }
    }

    const ITEMS: u32 = 12;
    const DAY: i64 = 86_400_000;

    /// Visits, each of another day, in which two items are looked at; one of them is put into the cart, then the other is looked
    /// at again, and what lies in the cart is bought. Purchases alone tell nothing of it.
    fn visits() -> Interactions {
        let names = (1..=ITEMS).map(|item| ItemId::new(format!("i{item}")).unwrap());
        let stream = Stream::new(7);
        let (mut journeys, mut lines) = (Vec::new(), Vec::new());
        for user in 0..150_u32 {
            let mut deeds = Vec::new();
            for visit in 0..3_u32 {
                let at = u64::from(user * 3 + visit);
                let wanted = 1 + stream.below(2 * at, ITEMS as usize) as u32;
                let other = 1 + (wanted + stream.below(2 * at + 1, ITEMS as usize - 1) as u32) % ITEMS;
                let order = user * 3 + visit;
                let start = DAY * i64::from(user % 50 + visit * 50) + i64::from(user) * 1000;
                let steps = [
                    (EventKind::View, other),
                    (EventKind::View, wanted),
                    (EventKind::AddToCart, wanted),
                    (EventKind::View, other),
                    (EventKind::Purchase, wanted),
                ];
                for (minute, (kind, item)) in (0..).zip(steps) {
                    let (time, item) = (start + minute * 60_000, ItemIdx(item));
                    deeds.push(Deed { time, item, order, kind });
                }
                let time = start + 4 * 60_000;
                lines.push(Purchase { time, user, order, item: ItemIdx(wanted) });
            }
            // Every other one is never told who they are.
            let user = user.is_multiple_of(2).then_some(UserIdx(user));
            journeys.push(Journey { user, deeds });
        }
        lines.sort_unstable();
        let data = Interactions::from_purchases(Arc::new(Vocabulary::new(names)), &lines, 160 * DAY);
        data.with_journeys(Arc::new(journeys))
    }

    const ACTS_READ: Inputs = Inputs {
        item_id: true,
        text: false,
        category: false,
        price_band: false,
        time_gap: false,
        event_kind: true,
        id_dropout_prob: 0.0,
    };

    fn config() -> sasrec::Config {
        sasrec::Config {
            hidden_size: 16,
            num_hidden_layers: 1,
            num_attention_heads: 1,
            intermediate_size: 16,
            max_length: 12,
            hidden_dropout_prob: 0.0,
            item_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            learning_rate: 1e-2,
            warmup_steps: 5,
            ema_decay: 0.5,
            batch_size: 16,
            epochs: 20,
            validation_days: 20.0,
            recency_half_life_days: 0.0,
            refit: false,
            steps: Steps::Items,
            trend: false,
            inputs: ACTS_READ,
            ..sasrec::Config::default()
        }
    }

    /// In how many of all visits the item in the cart comes first, just before it is bought.
    fn found<C: SequenceConfig>(model: &SequenceModel<C>) -> usize {
        let mut found = 0;
        for wanted in 1..=ITEMS {
            let other = 1 + (wanted + 4) % ITEMS;
            let mut told = Told::default();
            told.push(ItemIdx(other), 0, Act::Viewed);
            told.push(ItemIdx(wanted), 60_000, Act::Viewed);
            told.push(ItemIdx(wanted), 120_000, Act::Carted);
            told.push(ItemIdx(other), 180_000, Act::Viewed);
            let history = History { told: Some(&told), ..History::bought(&[], &[], 200_000) };
            let list = model.recommend_because(&history, 1, &|_| false);
            found += usize::from(list[0].0.item == ItemIdx(wanted));
            assert!(!matches!(list[0].1, Reason::BoughtBefore { .. }));
        }
        found
    }

    #[test]
    fn what_lies_in_the_cart_is_what_will_be_bought() {
        let data = visits();
        let model = SasRec::fit(&data, &config(), 1).unwrap();
        assert!(model.reads_acts());
        assert!(found(&model) >= 11, "{} of {ITEMS}", found(&model));
        // Not by the part of the score that points at what is known alone.
        let plain =
            SasRec::fit(&data, &sasrec::Config { repeats: false, epochs: 40, ..config() }, 1).unwrap();
        assert!(found(&plain) >= 10, "{} of {ITEMS} without repeats", found(&plain));
        let without = Inputs { event_kind: false, ..ACTS_READ };
        let without = SasRec::fit(&data, &sasrec::Config { inputs: without, ..config() }, 1).unwrap();
        assert!(!without.reads_acts());
        assert!(found(&without) <= 4, "{} of {ITEMS} by purchases", found(&without));
    }

    #[test]
    fn hidden_items_and_recurrent_networks_read_acts_too() {
        let data = visits();
        let hidden = bert4rec::Config {
            hidden_size: 16,
            num_hidden_layers: 1,
            num_attention_heads: 1,
            intermediate_size: 16,
            max_length: 12,
            hidden_dropout_prob: 0.0,
            learning_rate: 1e-2,
            batch_size: 16,
            epochs: 30,
            refit: false,
            validation_days: 20.0,
            trend: false,
            inputs: ACTS_READ,
            ..bert4rec::Config::default()
        };
        let hidden = SequenceModel::fit(&data, &hidden, 1).unwrap();
        assert!(found(&hidden) >= 10, "{} of {ITEMS} by hidden items", found(&hidden));
        let recurrent = gru4rec::Config {
            hidden_size: 16,
            max_length: 12,
            hidden_dropout_prob: 0.0,
            item_dropout_prob: 0.0,
            learning_rate: 1e-2,
            batch_size: 16,
            epochs: 20,
            refit: false,
            validation_days: 20.0,
            trend: false,
            steps: Steps::Items,
            inputs: ACTS_READ,
            ..gru4rec::Config::default()
        };
        let recurrent = SequenceModel::fit(&data, &recurrent, 1).unwrap();
        assert!(found(&recurrent) >= 10, "{} of {ITEMS} by a recurrent network", found(&recurrent));
    }

    #[test]
    fn settings_and_files_that_make_no_sense_are_refused() {
        let data = visits();
        let said = |data: &Interactions, config: sasrec::Config| {
            SasRec::fit(data, &config, 1).err().map(|fault| fault.to_string()).unwrap_or_default()
        };
        let orders = sasrec::Config { steps: Steps::Orders, ..config() };
        assert!(said(&data, orders).contains("with steps = \"items\""), "{}", said(&data, orders));
        let mut moved = config();
        moved.augmentation.crop_prob = 0.1;
        assert!(said(&data, moved).contains("augmentation.crop_prob"));
        for weights in [
            ActWeights { bought: 0.0, ..ActWeights::default() },
            ActWeights { viewed: f32::NAN, ..ActWeights::default() },
        ] {
            let said = said(&data, sasrec::Config { act_weights: weights, ..config() });
            assert!(said.contains("act_weights."), "{said}");
        }
        let bare = data.clone().with_journeys(Arc::default());
        assert!(said(&bare, config()).contains("Interactions::journeys"), "{}", said(&bare, config()));
        let model = SasRec::fit(&data, &sasrec::Config { epochs: 1, ..config() }, 1).unwrap();
        let file = model.save();
        assert!(SasRec::load(&file).is_ok_and(|loaded| loaded.save() == file && loaded.reads_acts()));
        for tensor in ["acts.weight", "asked.weight", "asked.bias", "own.act"] {
            let mut bad = file.clone();
            bad.put_f32(tensor, &[2], vec![0.0; 2]);
            assert!(SasRec::load(&bad).is_err(), "{tensor}");
            bad.tensors.remove(tensor);
            assert!(SasRec::load(&bad).is_err(), "{tensor}");
        }
    }

    /// All that is known lies within the days that would choose the epochs, and many could be asked there.
    #[test]
    fn where_nothing_lies_before_the_days_that_validate_all_epochs_are_trained() {
        let data = visits();
        let fit = |validation_days, epochs| {
            let config = sasrec::Config { validation_days, refit: true, epochs, ..config() };
            SasRec::fit(&data, &config, 1).unwrap().save().tensors
        };
        // With so few days nobody is asked, and a single epoch is not all.
        let all = fit(1e-9, 3);
        assert!(fit(1000.0, 3) == all && fit(1000.0, 1) != all);
    }

    #[test]
    fn the_future_teaches_nothing() {
        let data = visits();
        let cut = data.before(100 * DAY);
        let told: Vec<Told> = cut.told().collect();
        assert!(told.iter().flat_map(|told| &told.times).all(|time| *time < 100 * DAY));
        let small = sasrec::Config { epochs: 2, ..config() };
        let mut short: Vec<Journey> = (*data.journeys).clone();
        short.iter_mut().for_each(|own| own.deeds.retain(|deed| deed.time < 100 * DAY));
        let model = SasRec::fit(&cut, &small, 1).unwrap().save();
        let of_short = SasRec::fit(&cut.clone().with_journeys(Arc::new(short)), &small, 1).unwrap();
        assert_eq!(model, of_short.save());
    }
}
