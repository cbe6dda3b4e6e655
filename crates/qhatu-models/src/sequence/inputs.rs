//! What stands for an item, at the input and at the output: its own vector, and what its text, categories and price
//! say.
//!
//! `row = e_i + W t_i + mean of its categories' vectors + its price band's vector`, each part where it is switched on.
//! (Features that add up, the item's own number one of them: Kula, "Metadata Embeddings for User and Item Cold-start
//! Recommendations", CBRecSys 2015.) The rows are computed once a step, so that the network around them is the same with and
//! without; in the end they are the model's rows, and answering needs none of what they were made from.
//!
//! An item that nobody bought has no vector of its own and no share in the objective: it would only be taught that
//! nobody buys it. What it has is what is said of it. And so that this carries by itself, the vectors of some of the
//! others are left out too, other ones in each step (`id_dropout_prob`; Volkovs et al., "DropoutNet", NeurIPS 2017).

use qhatu_nn::operation::linear::{self, Widths};
use qhatu_nn::{Initial, Parameters, Slot, Stream};
use serde::{Deserialize, Serialize};

use super::network::{DEVIATION, Network};
use super::settings::Settings;
use crate::error::{ModelError, misfit};
use crate::interactions::Interactions;
use crate::item_sides::ItemLabels;

/// The bias of what cannot be the answer.
const NEVER: f32 = -1e9;
/// An item that nobody bought begins with the bias of the least bought: the mean of this share of them.
const LEAST: f64 = 0.1;

/// The parts of an event, each of which may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Inputs {
    /// The item's own vector.
    pub item_id: bool,
    /// What its text says.
    pub text: bool,
    /// Its categories.
    pub category: bool,
    /// The band of its price.
    pub price_band: bool,
    /// The time since the event before, where events are steps or hidden.
    pub time_gap: bool,
    /// What was done: looked at, put into the cart, bought. All of these are events then, of shoppers and of visits of whom
    /// nobody knows; where events are steps or hidden.
    pub event_kind: bool,
    /// Share of the items whose own vectors are left out of a training step, so that the other parts say what they can.
    pub id_dropout_prob: f32,
}

impl Default for Inputs {
    fn default() -> Self {
        Self {
            item_id: true,
            text: false,
            category: false,
            price_band: false,
            time_gap: false,
            event_kind: false,
            id_dropout_prob: 0.0,
        }
    }
}

impl Inputs {
    /// Whether anything beside the item's own vector is wanted.
    pub fn has_sides(&self) -> bool {
        self.text || self.category || self.price_band
    }
}

/// The rows of items from their parts; without any it hands through what is there.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    inputs: Inputs,
    width: usize,
    /// Row 0 and a row per item, and a bias per item.
    items: Slot,
    bias: Slot,
    /// Vectors of length 1.
    text: Option<(Vec<f32>, Slot, Widths)>,
    labels: Vec<(&'a ItemLabels, Slot)>,
}

/// Which items have a vector of their own at the moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment<'a> {
    /// The items, from item 1, that nobody bought.
    pub(super) cold: &'a [bool],
    /// For a training step: what says which others are left out.
    pub(super) training: Option<Stream>,
}

impl<'a> Rows<'a> {
    /// Adds the tensors behind those of the network.
    ///
    /// # Errors
    /// Where a part is switched on of which nothing is known, or what is known is not of these items.
    pub(super) fn new(
        (network, parameters): (&Network, &mut Parameters),
        settings: &Settings,
        data: &'a Interactions,
        stream: Stream,
    ) -> Result<Self, ModelError> {
        let (inputs, width, sides) = (settings.inputs, settings.hidden_size, &*data.sides);
        if inputs.has_sides() {
            sides.check(settings.name, data.items())?;
        }
        let wanted = |part: &str, key: &str| {
            let hint = format!("inputs.{key} = true, and there are no {part} of the items");
            misfit(settings.name, format!("{hint}; give the catalogue some or set it to false"))
        };
        let normal = Initial::Normal(DEVIATION);
        let text = match (&sides.text, inputs.text) {
            (_, false) => None,
            (None, true) => return Err(wanted("vectors of texts", "text")),
            (Some(text), true) => {
                let slot = parameters.add("inputs.text.weight", &[width, text.width], normal, stream);
                let mut text = text.clone();
                text.normalize();
                Some((text.values, slot, Widths { inputs: text.width, outputs: width }))
            }
        };
        let mut labels = Vec::new();
        let parts = [
            (inputs.category, "category", "categories", &sides.categories),
            (inputs.price_band, "price_band", "price bands", &sides.price_bands),
        ];
        for (_, key, name, found) in parts.into_iter().filter(|part| part.0) {
            let found = found.as_ref().ok_or_else(|| wanted(name, key))?;
            let shape = [found.count(), width];
            labels.push((found, parameters.add(format!("inputs.{key}.weight"), &shape, normal, stream)));
        }
        let (items, bias) = (network.item_rows(), network.item_bias());
        Ok(Self { inputs, width, items, bias, text, labels })
    }

    fn is_plain(&self) -> bool {
        self.inputs.item_id && !self.inputs.has_sides()
    }

    /// The parameters with each item's whole row in the place of its own vector, written into `room`; where there is
    /// nothing to add, the parameters themselves.
    pub(super) fn whole<'p>(
        &self,
        parameters: &'p [f32],
        moment: Moment,
        room: &'p mut Vec<f32>,
    ) -> &'p [f32] {
        if self.is_plain() {
            return parameters;
        }
        room.clear();
        room.extend_from_slice(parameters);
        let rows = &mut self.items.of_mut(room)[self.width..];
        for (item, row) in rows.chunks_exact_mut(self.width).enumerate() {
            if !self.has_own(item, moment) {
                row.fill(0.0);
            }
        }
        if let Some((vectors, slot, widths)) = &self.text {
            let mut said = vec![0.0; rows.len()];
            linear::forward(vectors, slot.of(parameters), None, &mut said, *widths);
            rows.iter_mut().zip(said).for_each(|(row, said)| *row += said);
        }
        for (labels, slot) in &self.labels {
            let table = slot.of(parameters);
            for (item, row) in rows.chunks_exact_mut(self.width).enumerate() {
                let numbers = labels.of(item);
                let share = 1.0 / numbers.len().max(1) as f32;
                for number in numbers {
                    let said = &table[*number as usize * self.width..][..self.width];
                    row.iter_mut().zip(said).for_each(|(row, said)| *row += share * said);
                }
            }
        }
        let unbought =
            moment.training.map_or_else(|| least(self.bias.of(parameters), moment.cold), |_| NEVER);
        let biases = self.bias.of_mut(room).iter_mut().zip(moment.cold);
        biases.filter(|(_, cold)| **cold).for_each(|(bias, _)| *bias = unbought);
        room
    }

    /// From gradients of the whole rows, in the place of the items' own vectors, to those of all parts.
    pub(super) fn backward(&self, gradients: &mut [f32], moment: Moment) {
        if self.is_plain() {
            return;
        }
        if let Some((vectors, slot, widths)) = &self.text {
            let [rows, d_weights] = Slot::all_of_mut([self.items, *slot], gradients);
            linear::backward_weights(vectors, &rows[self.width..], d_weights, None, *widths);
        }
        for (labels, slot) in &self.labels {
            let [rows, d_table] = Slot::all_of_mut([self.items, *slot], gradients);
            for (item, row) in rows[self.width..].chunks_exact(self.width).enumerate() {
                let numbers = labels.of(item);
                let share = 1.0 / numbers.len().max(1) as f32;
                for number in numbers {
                    let to = &mut d_table[*number as usize * self.width..][..self.width];
                    to.iter_mut().zip(row).for_each(|(to, d)| *to += share * d);
                }
            }
        }
        let rows = &mut self.items.of_mut(gradients)[self.width..];
        for (item, row) in rows.chunks_exact_mut(self.width).enumerate() {
            if !self.has_own(item, moment) {
                row.fill(0.0);
            }
        }
    }

    fn has_own(&self, item: usize, moment: Moment) -> bool {
        let kept = |stream: Stream| {
            let bar = (f64::from(self.inputs.id_dropout_prob) * u64::MAX as f64) as u64;
            stream.at(item as u64) >= bar
        };
        self.inputs.item_id && !moment.cold[item] && moment.training.is_none_or(kept)
    }
}

/// The mean bias of the items whose biases are the lowest, of those that were bought.
fn least(biases: &[f32], cold: &[bool]) -> f32 {
    let mut known: Vec<f32> =
        biases.iter().zip(cold).filter(|(_, cold)| !**cold).map(|(bias, _)| *bias).collect();
    known.sort_by(f32::total_cmp);
    let count = ((known.len() as f64 * LEAST).ceil() as usize).max(1).min(known.len());
    known[..count].iter().sum::<f32>() / count.max(1) as f32
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use qhatu_schema::{ItemId, ItemIdx};

    use super::*;
    use crate::sasrec::{self, SasRec};
    use crate::sequence::{Distance, SequenceConfig, Steps};
    use crate::{History, ItemSides, ItemVectors, Purchase, Recommender, Vocabulary};

    const ALL: Inputs = Inputs {
        item_id: true,
        text: true,
        category: true,
        price_band: true,
        time_gap: true,
        event_kind: false,
        id_dropout_prob: 0.5,
    };

    /// Of six items those of odd numbers are of one kind; nobody buys 5 and 6.
    fn data() -> Interactions {
        let names = (1..=6).map(|item| ItemId::new(format!("i{item}")).expect("not empty"));
        let lines: Vec<Purchase> = (0..40)
            .flat_map(|user: u32| {
                let kind = 1 + user % 2;
                let items = [[kind, kind + 2], [kind + 2, kind]][(user / 2 % 2) as usize];
                items.into_iter().cycle().take(6).zip(0..).map(move |(item, place)| Purchase {
                    time: i64::from(place),
                    user,
                    order: user * 10 + place,
                    item: ItemIdx(item),
                })
            })
            .collect();
        let kinds: Vec<Vec<&str>> =
            (1..=6).map(|item| if item % 2 == 1 { vec!["a", "odd"] } else { vec!["even"] }).collect();
        let text = (1..=6).flat_map(|item| [item as f32 / 9.0, (item % 2) as f32, 0.5]).collect();
        let sides = ItemSides {
            text: Some(ItemVectors { width: 3, values: text }),
            categories: Some(ItemLabels::new(&kinds)),
            price_bands: Some(ItemLabels::new(&[vec!["1"], vec![], vec!["2"], vec!["1"], vec!["2"], vec![]])),
        };
        let whole = Interactions::from_purchases(Arc::new(Vocabulary::new(names)), &lines, 90_000_000);
        whole.with_sides(Arc::new(sides))
    }

    fn config(inputs: Inputs) -> sasrec::Config {
        sasrec::Config {
            hidden_size: 8,
            num_hidden_layers: 1,
            num_attention_heads: 1,
            intermediate_size: 8,
            max_length: 8,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            learning_rate: 1e-2,
            warmup_steps: 5,
            ema_decay: 0.5,
            batch_size: 8,
            epochs: 20,
            validation_days: 0.5,
            steps: Steps::Items,
            attention_bias: Distance::Steps,
            trend: false,
            repeats: false,
            inputs,
            ..sasrec::Config::papers()
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let (data, settings) = (data(), config(ALL).settings());
        let (network, mut parameters) = Network::new(&settings, 6, Stream::new(1));
        let bare = parameters.len();
        let rows = Rows::new((&network, &mut parameters), &settings, &data, Stream::new(1)).unwrap();
        let moment =
            Moment { cold: &[false, false, false, false, true, true], training: Some(Stream::new(4)) };
        let own: Vec<bool> = (0..6).map(|item| rows.has_own(item, moment)).collect();
        assert!(own[..4].contains(&true) && own[..4].contains(&false) && own[4..] == [false, false]);
        // A loss that is linear in the rows, so that a difference is exact but for rounding.
        let factor = |place: usize| ((place * 37) % 11) as f32 / 11.0 - 0.5;
        let slot = network.item_rows();
        let loss = |parameters: &[f32]| {
            let mut room = Vec::new();
            let found = rows.whole(parameters, moment, &mut room);
            let rows = slot.of(found).iter().enumerate();
            rows.map(|(place, number)| f64::from(*number) * f64::from(factor(place))).sum::<f64>()
        };
        let mut d = vec![0.0; parameters.len()];
        slot.of_mut(&mut d).iter_mut().enumerate().for_each(|(place, d)| *d = factor(place));
        rows.backward(&mut d, moment);
        let mut values = parameters.values().to_vec();
        let rows_of_items = 0..7 * 8;
        for place in rows_of_items.chain(bare..values.len()) {
            let middle = values[place];
            values[place] = middle + 0.5;
            let above = loss(&values);
            values[place] = middle - 0.5;
            let slope = above - loss(&values);
            values[place] = middle;
            assert!((f64::from(d[place]) - slope).abs() < 1e-4, "{place}: {} is not {slope}", d[place]);
        }
    }

    #[test]
    fn what_nobody_bought_is_found_by_what_is_said_of_it() {
        let data = data();
        let history = History::bought(&[ItemIdx(1), ItemIdx(3)], &[0, 1], 2);
        for inputs in [
            ALL,
            Inputs { text: true, ..Inputs::default() },
            Inputs { category: true, item_id: false, ..Inputs::default() },
        ] {
            let model = SasRec::fit(&data, &config(inputs), 1).unwrap();
            let mut scores = vec![0.0; 7];
            model.score(&history, &mut scores);
            assert!(scores[5] > scores[6] + 0.5, "{inputs:?}: {scores:?}");
            assert!(scores[1].max(scores[3]) >= scores[5], "{inputs:?}: {scores:?}");
            let similar = model.similar_items(ItemIdx(5), 2);
            assert!(similar.iter().all(|like| like.item.0 % 2 == 1), "{inputs:?}: {similar:?}");
        }
        let model = SasRec::fit(&data, &config(Inputs::default()), 1).unwrap();
        let mut scores = vec![0.0; 7];
        model.score(&history, &mut scores);
        let least = scores[1..5].iter().copied().fold(0.0, f32::min);
        assert!(scores[5] <= least && scores[6] <= least && model.similar_items(ItemIdx(5), 2).is_empty());
    }

    #[test]
    fn a_training_goes_on_to_the_same_model_but_not_with_other_texts() {
        use crate::sequence::{Context, Progress};
        use std::ops::ControlFlow;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let data = data();
        let fit = |data: &Interactions, most: u32, checkpoint| {
            let mut steps = 0;
            let progress = &mut |_: &Progress| {
                steps += 1;
                if steps > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            SasRec::fit_with(data, &config(ALL), 3, &mut Context { checkpoint, progress })
        };
        let whole = fit(&data, u32::MAX, None).unwrap().save();
        assert!(fit(&data, 33, Some(&path)).is_err());
        let mut other = (*data.sides).clone();
        other.text.as_mut().unwrap().values[0] += 1.0;
        let said = fit(&data.clone().with_sides(Arc::new(other)), 1, Some(&path)).unwrap_err().to_string();
        assert!(said.contains("other data or settings"), "{said}");
        assert_eq!(fit(&data, u32::MAX, Some(&path)).unwrap().save(), whole);
    }

    #[test]
    fn parts_of_which_nothing_is_known_and_settings_that_make_no_sense_are_refused() {
        let said = |data: &Interactions, inputs| {
            SasRec::fit(data, &config(inputs), 1).err().map(|fault| fault.to_string()).unwrap_or_default()
        };
        let bare = data().with_sides(Arc::default());
        for (inputs, key) in [
            (Inputs { text: true, ..Inputs::default() }, "inputs.text"),
            (Inputs { category: true, ..Inputs::default() }, "inputs.category"),
            (Inputs { price_band: true, ..Inputs::default() }, "inputs.price_band"),
            (Inputs { item_id: false, ..Inputs::default() }, "inputs.item_id"),
            (Inputs { id_dropout_prob: 0.1, ..Inputs::default() }, "inputs.id_dropout_prob"),
            (Inputs { id_dropout_prob: 1.0, ..ALL }, "inputs.id_dropout_prob"),
        ] {
            let said = said(&bare, inputs);
            assert!(said.contains(key), "{key}: {said}");
        }
        let short = ItemSides { categories: Some(ItemLabels::new(&[vec!["a"]])), ..ItemSides::default() };
        let inputs = Inputs { category: true, ..Inputs::default() };
        let said = said(&data().with_sides(Arc::new(short)), inputs);
        assert!(said.contains("categories of 1 items are not those of 6"), "{said}");
    }
}
