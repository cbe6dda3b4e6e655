//! Buying again: what an item that the shopper bought before gets on top of its logit.
//!
//! `f = ln(1 + Σ e^(a_b + r_i + g))` over the shopper's purchases of item i: `a_b` by the bucket of the
//! time since, `r_i` by the item (paint brushes wear out, lamps do not), `g = w · h` by what the
//! sequence says of the shopper. An attention model must spell each item it wants to repeat through
//! a bottleneck of `hidden_size` numbers; this way it points at it. (Repeating as a mode of its own: Ren et
//! al., "RepeatNet", AAAI 2019.)
//!
//! Where acts are read there is an `m` too, by what was done with it and what is asked for, and every step counts: what
//! lies in the cart is bought sooner than what was looked at.
//!
//! With `S` the sum: `∂f ⁄ ∂(exponent of one purchase) = its e^… ⁄ (1 + S)`.

use qhatu_nn::operation::cross_entropy::Offsets;

use super::example::{Example, QUERY, bucket};
use super::kinds::ACTS;
use crate::act::Act;

/// Largest exponent.
const MOST: f32 = 20.0;

/// The parameters, their gradients, or where they lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Weights<T> {
    /// By bucket of the time since.
    pub(super) age: T,
    /// By item, from item 1.
    pub(super) item: T,
    /// Weights of the hidden state.
    pub(super) gate: T,
    /// Where acts are read, by the act that is asked for and the one that was done.
    pub(super) act: Option<T>,
}

/// The purchases before each query, and what they add.
#[derive(Debug, Clone, Default)]
pub(super) struct Own {
    /// Per query where its distinct items begin; at last their number.
    starts: Vec<usize>,
    /// Item of each entry, from 0.
    classes: Vec<u32>,
    values: Vec<f32>,
    /// Per query where its purchases begin; at last their number.
    bought: Vec<usize>,
    /// Entry of each purchase, bucket, and the place of its acts.
    purchases: Vec<(u32, u8, u8)>,
    /// Room: for each item, its entry in the query at hand.
    entries: Vec<u32>,
    sums: Vec<f32>,
}

impl Own {
    /// Forgets the queries of the last batch.
    pub(super) fn clear(&mut self, catalogue_size: usize) {
        self.starts.clear();
        self.bought.clear();
        self.classes.clear();
        self.purchases.clear();
        self.starts.push(0);
        self.bought.push(0);
        self.entries.resize(catalogue_size + 1, u32::MAX);
    }

    /// Adds one query of an example, which asks for an act. Where acts are read, the step that asks is one of those before.
    pub(super) fn add(&mut self, example: &Example, place: usize, asked: Act) {
        let first = self.classes.len();
        let now = example.times[place];
        let end = place + usize::from(!example.acts.is_empty());
        for (at, (token, time)) in example.tokens[..end].iter().zip(&example.times).enumerate() {
            if *token == QUERY {
                continue;
            }
            let entry = &mut self.entries[*token as usize];
            if *entry == u32::MAX {
                *entry = self.classes.len() as u32;
                self.classes.push(*token - 1);
            }
            self.purchases.push((*entry, bucket(now.saturating_sub(*time)), pair(example, at, asked)));
        }
        self.classes[first..].iter().for_each(|class| self.entries[*class as usize + 1] = u32::MAX);
        self.skip();
    }

    /// Adds a query to which nothing is added.
    pub(super) fn skip(&mut self) {
        self.starts.push(self.classes.len());
        self.bought.push(self.purchases.len());
    }

    /// Computes what is added, from the hidden state of each query.
    pub(super) fn forward(&mut self, weights: &Weights<&[f32]>, hidden: &[f32]) -> Offsets<'_> {
        self.sums.clear();
        self.sums.resize(self.classes.len(), 0.0);
        for (query, hidden) in hidden.chunks_exact(weights.gate.len()).enumerate() {
            let gate = dot(weights.gate, hidden);
            for &(entry, bucket, pair) in &self.purchases[self.bought[query]..self.bought[query + 1]] {
                let class = self.classes[entry as usize];
                self.sums[entry as usize] += strength(weights, gate, (bucket, pair), class);
            }
        }
        self.values.clear();
        self.values.extend(self.sums.iter().map(|sum| sum.ln_1p()));
        Offsets { starts: &self.starts, classes: &self.classes, values: &self.values }
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.classes.len()
    }

    /// Adds to the gradients, from those of what was added; those of the hidden states included.
    pub(super) fn backward(
        &self,
        weights: &Weights<&[f32]>,
        gradients: &mut Weights<&mut [f32]>,
        d_values: &[f32],
        (hidden, d_hidden): (&[f32], &mut [f32]),
    ) {
        let width = weights.gate.len();
        let rows = hidden.chunks_exact(width).zip(d_hidden.chunks_exact_mut(width));
        for (query, (hidden, d_hidden)) in rows.enumerate() {
            let gate = dot(weights.gate, hidden);
            let mut d_gate = 0.0;
            for &(entry, bucket, pair) in &self.purchases[self.bought[query]..self.bought[query + 1]] {
                let class = self.classes[entry as usize];
                let share =
                    strength(weights, gate, (bucket, pair), class) / (1.0 + self.sums[entry as usize]);
                let d = d_values[entry as usize] * share;
                gradients.age[usize::from(bucket)] += d;
                gradients.item[class as usize] += d;
                if let Some(act) = &mut gradients.act {
                    act[usize::from(pair)] += d;
                }
                d_gate += d;
            }
            for place in 0..width {
                gradients.gate[place] += d_gate * hidden[place];
                d_hidden[place] += d_gate * weights.gate[place];
            }
        }
    }
}

/// What is added to the items that were bought before the last query of an example, which asks what will be bought; items
/// from 0 in their order.
pub(super) fn added(weights: &Weights<&[f32]>, hidden: &[f32], example: &Example) -> Vec<(u32, f32)> {
    let Some((now, before)) = example.times.split_last() else { return Vec::new() };
    let before = if example.acts.is_empty() { before } else { &example.times };
    let gate = dot(weights.gate, hidden);
    let bought = example.tokens.iter().zip(before).enumerate().filter(|(_, (token, _))| **token != QUERY);
    let strong = |(at, (token, time)): (usize, (&u32, &i64))| {
        let places = (bucket(now.saturating_sub(*time)), pair(example, at, Act::Bought));
        (*token - 1, strength(weights, gate, places, *token - 1))
    };
    let mut all: Vec<(u32, f32)> = bought.map(strong).collect();
    all.sort_by_key(|(class, _)| *class);
    all.chunk_by(|a, b| a.0 == b.0)
        .map(|same| (same[0].0, same.iter().map(|(_, strength)| strength).sum::<f32>().ln_1p()))
        .collect()
}

/// The place of what was done at a token and what is asked for.
fn pair(example: &Example, at: usize, asked: Act) -> u8 {
    example.acts.get(at).map_or(0, |did| asked as u8 * ACTS as u8 + did)
}

fn strength(weights: &Weights<&[f32]>, gate: f32, (bucket, pair): (u8, u8), class: u32) -> f32 {
    let mut exponent = weights.age[usize::from(bucket)] + weights.item[class as usize] + gate;
    if let Some(act) = weights.act {
        exponent += act[usize::from(pair)];
    }
    exponent.min(MOST).exp()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use qhatu_schema::ItemIdx;

    use super::*;
    use crate::recommender::History;

    const HOUR: i64 = 3_600_000;

    fn own() -> Own {
        let items = [2, 1, 2].map(ItemIdx);
        let history = History::bought(&items, &[0, 0, 30 * HOUR], 90 * HOUR);
        let example = Example::new(
            &history,
            3,
            &crate::sequence::SequenceConfig::settings(&crate::sasrec::Config::default()),
            true,
        );
        let mut own = Own::default();
        own.clear(3);
        example.queries.iter().for_each(|query| own.add(&example, query.place, query.act));
        own
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let mut own = own();
        // Parameters one behind another: age, item, gate, and the hidden states of three queries.
        let mut all: Vec<f32> =
            (0..32 + 3 + 2 + 6).map(|place| ((place * 37) % 11) as f32 / 11.0 - 0.5).collect();
        let d_values: Vec<f32> = (0..own.len()).map(|entry| entry as f32 - 1.5).collect();
        let split = |all: &[f32]| {
            (all[..32].to_vec(), all[32..35].to_vec(), all[35..37].to_vec(), all[37..].to_vec())
        };
        let mut loss = |all: &[f32]| {
            let (age, item, gate, hidden) = split(all);
            let offsets = own.forward(&Weights { age: &age, item: &item, gate: &gate, act: None }, &hidden);
            offsets.values.iter().zip(&d_values).map(|(v, d)| f64::from(*v) * f64::from(*d)).sum::<f64>()
        };
        let slopes: Vec<f64> = (0..all.len())
            .map(|place| {
                let middle = all[place];
                all[place] = middle + 1e-2;
                let above = loss(&all);
                all[place] = middle - 1e-2;
                let slope = (above - loss(&all)) / 2e-2;
                all[place] = middle;
                slope
            })
            .collect();
        loss(&all);
        let (age, item, gate, hidden) = split(&all);
        let mut d = vec![0.0; all.len()];
        let (d_weights, d_hidden) = d.split_at_mut(37);
        let (d_age, rest) = d_weights.split_at_mut(32);
        let (d_item, d_gate) = rest.split_at_mut(3);
        own.backward(
            &Weights { age: &age, item: &item, gate: &gate, act: None },
            &mut Weights { age: d_age, item: d_item, gate: d_gate, act: None },
            &d_values,
            (&hidden, d_hidden),
        );
        for (place, (found, slope)) in d.iter().zip(slopes).enumerate() {
            assert!((f64::from(*found) - slope).abs() < 1e-3, "{place}: {found} is not {slope}");
        }
    }

    #[test]
    fn what_is_added_to_one_is_what_a_pack_adds_to_its_last_query() {
        let items = [2, 1, 2].map(ItemIdx);
        let history = History::bought(&items, &[0, 0, 30 * HOUR], 90 * HOUR);
        let settings = crate::sequence::SequenceConfig::settings(&crate::sasrec::Config::default());
        let example = Example::new(&history, 3, &settings, true);
        let numbers: Vec<f32> = (0..39).map(|place| ((place * 37) % 11) as f32 / 11.0 - 0.5).collect();
        let weights =
            Weights { age: &numbers[..32], item: &numbers[32..35], gate: &numbers[35..37], act: None };
        let mut own = Own::default();
        own.clear(3);
        own.add(&example, example.tokens.len() - 1, Act::Bought);
        let offsets = own.forward(&weights, &numbers[37..]);
        let mut want: Vec<(u32, f32)> =
            offsets.classes.iter().copied().zip(offsets.values.iter().copied()).collect();
        want.sort_by_key(|(class, _)| *class);
        let found = added(&weights, &numbers[37..], &example);
        assert_eq!(found.len(), 2);
        for (found, want) in found.iter().zip(want) {
            assert!(found.0 == want.0 && (found.1 - want.1).abs() < 1e-6, "{found:?} {want:?}");
        }
    }

    #[test]
    fn each_query_knows_what_was_bought_before_it() {
        let own = own();
        assert_eq!(own.starts, [0, 0, 2, 4]);
        assert_eq!(own.classes, [1, 0, 1, 0]);
        assert_eq!(own.bought, [0, 0, 2, 5]);
    }
}
