//! A shopper's history as tokens: the items of each order, and between the orders the moments at which
//! one could have asked what comes next.
//!
//! The items of one order have no order among themselves, so they see each other and everything
//! earlier. After each order stands a query: a token that bears only its time and the gap since the
//! order before. It sees everything up to itself, and what is learned is that it should name the items
//! of the next order. So what is foretold never depends on how a basket happens to be sorted.
//!
//! Where each item is a step, every token is a query that names the next item, and one token stands before the
//! first, so that somebody without a history can be answered. Where items are hidden, the token of a query
//! stands in their place, and behind the last one when it is asked what comes next.
//!
//! In training an example may be another one in each epoch: see [`Example::of_epoch`].

use std::ops::Range;

use qhatu_nn::Stream;
use qhatu_schema::ItemIdx;

use super::kinds::{ActWeights, NOTHING};
use super::settings::{Distance, Reading, Settings, Steps};
use crate::act::Act;
use crate::recommender::History;

/// The token of a query; items are their own numbers, from 1.
pub(super) const QUERY: u32 = 0;
/// Buckets of a time span: see [`bucket`].
pub(super) const BUCKETS: usize = 32;

const HOUR_MS: i64 = 3_600_000;
/// One in so many examples ends with a hidden item and hides no other: what is asked in the end.
const LAST_ALONE: u64 = 4;

/// Half octaves of hours: 0 below one hour, 2 to 3 at one hour or two, 18 at three weeks.
pub(super) fn bucket(span_ms: i64) -> u8 {
    let hours = u32::try_from(span_ms.max(0) / HOUR_MS).unwrap_or(u32::MAX - 1) + 1;
    let octave = hours.ilog2();
    let half = if octave == 0 { 0 } else { (hours >> (octave - 1)) & 1 };
    (2 * octave + half).min(BUCKETS as u32 - 1) as u8
}

/// The bucket of the time since the event before; the first has one of its own kind, the largest.
fn gap(time: i64, last: Option<i64>) -> u8 {
    last.map_or(BUCKETS as u8 - 1, |last| bucket(time.saturating_sub(last)))
}

/// Buckets of the steps between two tokens: each its own to 15, then quarter octaves, and half as many, half as
/// fine, for either side where what comes later is seen too.
fn step_bucket(back: usize, sides: bool) -> usize {
    let (exact, parts) = if sides { (8, 2.0) } else { (16, 4.0) };
    match back {
        near if near < exact => near,
        far => {
            let octaves = (far as f32 / exact as f32).log2();
            (exact + (parts * octaves) as usize).min(2 * exact - 1)
        }
    }
}

/// Every token but the last names the next one.
fn next_steps(last: usize) -> Vec<Query> {
    (0..last).map(|place| Query::new(place, place + 1..place + 2, Act::Bought)).collect()
}

/// Item and time of each step that a catalogue of `size` items knows, and what was done with it where that is read.
fn steps(history: &History, size: usize, with_acts: bool) -> (Vec<(ItemIdx, i64)>, Vec<Act>) {
    let Some(told) = history.told.filter(|_| with_acts) else {
        let known: Vec<(ItemIdx, i64)> = history.known(size).collect();
        let acts = vec![Act::Bought; if with_acts { known.len() } else { 0 }];
        return (known, acts);
    };
    let all = told.items.iter().zip(&told.times).zip(&told.acts);
    let known = all.filter(|((item, _), _)| (1..=size).contains(&item.row()));
    known.map(|((item, time), act)| ((*item, *time), *act)).unzip()
}

/// A moment of asking.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Query {
    /// Its place among the tokens.
    pub(super) place: usize,
    /// Among which tokens the items of the next order are; empty for the last query.
    pub(super) targets: Range<usize>,
    /// What it asks for; where acts are not read, what will be bought.
    pub(super) act: Act,
}

impl Query {
    fn new(place: usize, targets: Range<usize>, act: Act) -> Self {
        Self { place, targets, act }
    }
}

/// Tokens of one shopper.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Example {
    /// Items and queries, oldest first.
    pub(super) tokens: Vec<u32>,
    /// When, in milliseconds; a query's is that of the next order, or now.
    pub(super) times: Vec<i64>,
    /// How many tokens from the beginning each token sees.
    pub(super) visible: Vec<u32>,
    /// Bucket of the time since the order before, for queries between orders, or since the item before, where items are
    /// steps or hidden; for others 0.
    pub(super) gaps: Vec<u8>,
    /// What was done at each token, by its number, or [`NOTHING`]; empty where acts are not read. A hidden item's is what
    /// is asked for.
    pub(super) acts: Vec<u8>,
    /// The items of all tokens, where some are hidden; otherwise empty.
    original: Vec<u32>,
    /// The queries.
    pub(super) queries: Vec<Query>,
}

impl Example {
    /// A history as tokens. With `ask` it holds the last `max_length` items, and the last query has no target;
    /// without it each query has one, and single items are there from the beginning, for [`Example::of_epoch`].
    pub(super) fn new(history: &History, catalogue_size: usize, settings: &Settings, ask: bool) -> Self {
        let (mut known, mut acts) = steps(history, catalogue_size, settings.inputs.event_kind);
        let whole = known.len() <= settings.max_length;
        if ask || settings.reading == Reading::Next(Steps::Orders) {
            known.drain(..known.len().saturating_sub(settings.max_length));
            acts.drain(..acts.len().saturating_sub(settings.max_length));
        }
        let mut own = match settings.reading {
            Reading::Next(Steps::Orders) => Self::orders(&known, ask.then_some(history.now)),
            Reading::Next(Steps::Items) => Self::items(&known, (whole || !ask).then_some(history.now), ask),
            Reading::Hidden(_) => Self::to_hide(&known, ask.then_some(history.now)),
        };
        if settings.inputs.event_kind {
            // The token before the first step is nothing that was done; the one behind hidden items asks what will be bought.
            let of_query = match settings.reading {
                Reading::Hidden(_) => Act::Bought as u8,
                Reading::Next(_) => NOTHING,
            };
            let mut acts = acts.iter().map(|act| *act as u8);
            let act = |token: &u32| if *token == QUERY { of_query } else { acts.next().unwrap_or(NOTHING) };
            own.acts = own.tokens.iter().map(act).collect();
        }
        own
    }

    fn orders(known: &[(ItemIdx, i64)], ask: Option<i64>) -> Self {
        let mut own = Self::default();
        let mut last = None;
        for basket in known.chunk_by(|a, b| a.1 == b.1) {
            let time = basket[0].1;
            own.push_query(time, last);
            own.push_basket(basket.iter().map(|(item, _)| *item), time);
            last = Some(time);
        }
        if let Some(now) = ask {
            own.push_query(now, last);
        }
        own
    }

    /// Each item a step; `first` is the time of the token before the first item, if there is one that nobody has.
    fn items(known: &[(ItemIdx, i64)], first: Option<i64>, ask: bool) -> Self {
        let mut own = Self::default();
        if let Some(now) = first {
            own.push(QUERY, known.first().map_or(now, |first| first.1), 0, 0);
        }
        own.push_items(known);
        let last = own.tokens.len().saturating_sub(1);
        match ask {
            true => own.queries.push(Query::new(last, 0..0, Act::Bought)),
            false => own.queries = next_steps(last),
        }
        own
    }

    /// The items, of which [`Example::of_epoch`] hides some.
    fn to_hide(known: &[(ItemIdx, i64)], ask: Option<i64>) -> Self {
        let mut own = Self::default();
        own.push_items(known);
        if let Some(now) = ask {
            own.queries.push(Query::new(own.tokens.len(), 0..0, Act::Bought));
            own.push(QUERY, now, 0, 0);
        }
        own
    }

    /// The example of an epoch: queries between orders are asked at a random moment; of more than `max_length` items a
    /// random window is taken; items are hidden at random.
    pub(super) fn of_epoch(&self, settings: &Settings, stream: Stream) -> Self {
        match settings.reading {
            Reading::Next(Steps::Orders) => {
                let horizon = settings.learning.horizon_days * crate::DAY_MS;
                self.asked_at_random(horizon as i64, stream)
            }
            Reading::Next(Steps::Items) => {
                // One token names nothing, so that a window has one more.
                let mut window = self.window(settings.max_length + 1, stream);
                window.queries = match window.acts.is_empty() {
                    true => next_steps(window.tokens.len().saturating_sub(1)),
                    false => window.next_acts(settings.act_weights),
                };
                window
            }
            Reading::Hidden(rate) => {
                let mut hidden = self.window(settings.max_length, stream).hidden(rate, stream.child(1));
                if settings.inputs.event_kind {
                    hidden.queries.retain(|query| settings.act_weights.of(query.act) > 0.0);
                }
                hidden
            }
        }
    }

    /// At most `length` tokens, the last ones every other time.
    fn window(&self, length: usize, stream: Stream) -> Self {
        let spare = self.tokens.len().saturating_sub(length);
        let start = if stream.at(0).is_multiple_of(2) { spare } else { stream.below(1, spare + 1) };
        let range = start..(start + length).min(self.tokens.len());
        Self {
            tokens: self.tokens[range.clone()].to_vec(),
            times: self.times[range.clone()].to_vec(),
            visible: self.visible[range.clone()].to_vec(),
            gaps: self.gaps[range.clone()].to_vec(),
            acts: self.acts.get(range).unwrap_or_default().to_vec(),
            ..Self::default()
        }
    }

    /// Where acts are read, every step asks for the next one by its act, and for what will be bought next, whenever that is.
    fn next_acts(&self, weights: ActWeights) -> Vec<Query> {
        let mut queries = Vec::with_capacity(2 * self.tokens.len());
        let mut basket: Option<Range<usize>> = None;
        for place in (0..self.tokens.len().saturating_sub(1)).rev() {
            let next = place + 1;
            let act = self.act(next);
            if act == Act::Bought {
                basket = Some(self.basket(next, basket));
            } else if weights.of(act) > 0.0 {
                queries.push(Query::new(place, next..next + 1, act));
            }
            if let Some(basket) = &basket {
                queries.push(Query::new(place, basket.clone(), Act::Bought));
            }
        }
        queries.reverse();
        queries
    }

    /// The lines of an order from one on, given those of the next order, or of the same one after it.
    fn basket(&self, first: usize, later: Option<Range<usize>>) -> Range<usize> {
        let same = later.filter(|own| own.start == first + 1 && self.times[own.start] == self.times[first]);
        first..same.map_or(first + 1, |own| own.end)
    }

    /// The next order at or after a place.
    fn next_basket(&self, place: usize) -> Option<Range<usize>> {
        let start = (place..self.tokens.len()).find(|at| self.act(*at) == Act::Bought)?;
        let same = |at: &usize| self.act(*at) == Act::Bought && self.times[*at] == self.times[start];
        Some(start..start + (start..self.tokens.len()).take_while(same).count())
    }

    /// What was done at a token; where acts are not read, everything was bought.
    fn act(&self, place: usize) -> Act {
        let number = self.acts.get(place).copied().unwrap_or(Act::Bought as u8);
        Act::ALL.get(usize::from(number)).copied().unwrap_or(Act::Viewed)
    }

    /// Hides items at random; or ends at a random place, half of the time the last one, and hides the last item alone.
    fn hidden(mut self, rate: f32, stream: Stream) -> Self {
        let alone = stream.at(0).is_multiple_of(LAST_ALONE);
        self.original.clone_from(&self.tokens);
        let mut last = self.tokens.len().saturating_sub(1);
        if alone && stream.at(1).is_multiple_of(2) {
            last = stream.below(2, self.tokens.len());
        }
        if alone && self.asks_for_order(last, stream.child(1)) {
            return self;
        }
        self.end_at(last);
        let bar = (f64::from(rate) * u64::MAX as f64) as u64;
        let hides = |place: usize| match alone {
            true => place == last,
            false => stream.at(3 + place as u64) < bar,
        };
        let mut places: Vec<usize> = (0..self.tokens.len()).filter(|place| hides(*place)).collect();
        if places.is_empty() && !self.tokens.is_empty() {
            places.push(last);
        }
        for place in places {
            self.tokens[place] = QUERY;
            self.gaps[place] = 0;
            self.queries.push(Query::new(place, place..place + 1, self.act(place)));
        }
        self
    }

    /// Where acts are read: half of the time what is hidden at the end, with all that came after, asks for the next order as
    /// a shop does, who knows not what comes between. Whether it does.
    fn asks_for_order(&mut self, last: usize, stream: Stream) -> bool {
        if self.acts.is_empty() || !(self.act(last) == Act::Bought || stream.at(0).is_multiple_of(2)) {
            return false;
        }
        let Some(basket) = self.next_basket(last) else { return false };
        self.end_at(last);
        (self.tokens[last], self.gaps[last], self.acts[last]) = (QUERY, 0, Act::Bought as u8);
        self.queries.push(Query::new(last, basket, Act::Bought));
        true
    }

    /// Leaves out what comes after a place.
    fn end_at(&mut self, last: usize) {
        let length = last + 1;
        self.tokens.truncate(length);
        self.visible.truncate(length);
        self.times.truncate(length);
        self.gaps.truncate(length);
        self.acts.truncate(length);
    }

    /// The same for training, other in each epoch: each query is moved to a random moment between the
    /// order before it and the next, for nobody is asked at the moment of buying. It should name what is
    /// bought within `horizon_ms` of that moment, and the next order at least.
    pub(super) fn asked_at_random(&self, horizon_ms: i64, stream: Stream) -> Self {
        let mut own = self.clone();
        for number in 1..own.queries.len() {
            let Query { place, targets, .. } = own.queries[number].clone();
            let (before, next) = (own.times[place - 1], own.times[place]);
            let span = usize::try_from(next.saturating_sub(before)).unwrap_or(0);
            let wait = stream.below(number as u64, span) as i64;
            own.times[place] = before + wait;
            own.gaps[place] = bucket(wait);
            let end = before.saturating_add(wait).saturating_add(horizon_ms);
            let later = self.times[targets.end..].iter().take_while(|time| **time < end).count();
            own.queries[number].targets = targets.start..targets.end + later;
        }
        own
    }

    /// Items of one order, which the last query should name.
    fn push_basket(&mut self, items: impl ExactSizeIterator<Item = ItemIdx>, time: i64) {
        let (start, end) = (self.tokens.len(), self.tokens.len() + items.len());
        items.for_each(|item| self.push(item.0, time, end, 0));
        if let Some(query) = self.queries.last_mut() {
            query.targets = start..end;
        }
    }

    /// The items that a query should name.
    pub(super) fn named(&self, query: &Query) -> impl Iterator<Item = u32> + Clone + '_ {
        let items = if self.original.is_empty() { &self.tokens } else { &self.original };
        items[query.targets.clone()].iter().copied().filter(|token| *token != QUERY)
    }

    /// Items as steps, each with the time since the one before.
    fn push_items(&mut self, known: &[(ItemIdx, i64)]) {
        let mut last = None;
        for (item, time) in known {
            self.push(item.0, *time, 0, gap(*time, last));
            last = Some(*time);
        }
    }

    fn push_query(&mut self, time: i64, last: Option<i64>) {
        let place = self.tokens.len();
        self.push(QUERY, time, place + 1, gap(time, last));
        self.queries.push(Query::new(place, 0..0, Act::Bought));
    }

    fn push(&mut self, token: u32, time: i64, visible: usize, gap: u8) {
        self.tokens.push(token);
        self.times.push(time);
        self.visible.push(visible as u32);
        self.gaps.push(gap);
    }

    /// Adds the bucket of each pair of tokens, row after row. With `sides` a token that comes later has buckets of its
    /// own, half as fine.
    pub(super) fn add_pairs(&self, distance: Distance, sides: bool, pairs: &mut Vec<u8>) {
        match (distance, sides) {
            (Distance::Time, false) => self.add_times(pairs),
            (Distance::Time, true) => {
                let sided = |row: &i64, other: &i64| {
                    bucket(row.saturating_sub(*other).saturating_abs()) / 2 + if other > row { 16 } else { 0 }
                };
                pairs.extend(
                    self.times.iter().flat_map(|row| self.times.iter().map(move |other| sided(row, other))),
                );
            }
            (Distance::Steps, _) => self.add_steps(sides, pairs),
        }
    }

    /// By steps: each row is the one before it, moved by one.
    fn add_steps(&self, sides: bool, pairs: &mut Vec<u8>) {
        let length = self.tokens.len();
        let later = |steps: usize| if sides { 16 + step_bucket(steps, true) } else { 0 };
        let earlier = (0..length).rev().map(|steps| step_bucket(steps, sides) as u8);
        let all: Vec<u8> = earlier.chain((1..length).map(|steps| later(steps) as u8)).collect();
        (0..length).for_each(|row| pairs.extend_from_slice(&all[length - 1 - row..][..length]));
    }

    fn add_times(&self, pairs: &mut Vec<u8>) {
        let length = self.times.len();
        for (row, time) in self.times.iter().enumerate() {
            if row > 0 && self.times[row - 1] == *time {
                pairs.extend_from_within(pairs.len() - length..);
                continue;
            }
            let mut seen = (i64::MIN, 0);
            pairs.extend(self.times.iter().map(|earlier| {
                if seen.0 != *earlier {
                    seen = (*earlier, bucket(time.saturating_sub(*earlier)));
                }
                seen.1
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journey::Told;

    const DAY: i64 = 24 * HOUR_MS;

    fn settings(reading: Reading, max_length: usize) -> Settings {
        use crate::sequence::SequenceConfig;
        Settings { reading, max_length, ..crate::sasrec::Config::default().settings() }
    }

    fn orders(max_length: usize) -> Settings {
        settings(Reading::Next(Steps::Orders), max_length)
    }

    #[test]
    fn each_item_may_be_a_step_that_names_the_next() {
        let items = [5, 6, 7].map(ItemIdx);
        let history = History::bought(&items, &[1, 1, 2], 3);
        let four = settings(Reading::Next(Steps::Items), 4);
        let example = Example::new(&history, 9, &four, true);
        assert_eq!(example.tokens, [QUERY, 5, 6, 7]);
        assert_eq!(example.queries, [Query::new(3, 0..0, Act::Bought)]);
        let two = settings(Reading::Next(Steps::Items), 2);
        assert_eq!(Example::new(&history, 9, &two, true).tokens, [6, 7]);
        let nobody = History::bought(&[], &[], 0);
        assert_eq!(Example::new(&nobody, 9, &four, true).tokens, [QUERY]);
        let learned = Example::new(&history, 9, &two, false);
        let mut seen = Vec::new();
        for seed in 0..20 {
            let of_epoch = learned.of_epoch(&two, Stream::new(seed));
            let named: Vec<u32> = of_epoch.queries.iter().flat_map(|query| of_epoch.named(query)).collect();
            assert_eq!(named, of_epoch.tokens[1..]);
            seen.push(of_epoch.tokens);
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen, [[QUERY, 5, 6], [5, 6, 7]]);
    }

    #[test]
    fn steps_know_the_time_since_the_one_before_but_not_where_they_are_hidden() {
        let items = [5, 6, 7].map(ItemIdx);
        let history = History::bought(&items, &[0, 0, DAY], 3 * DAY);
        let last = BUCKETS as u8 - 1;
        let example = Example::new(&history, 9, &settings(Reading::Next(Steps::Items), 9), true);
        assert_eq!(example.gaps, [0, last, 0, bucket(DAY)]);
        let all = settings(Reading::Hidden(0.5), 9);
        let hidden = Example::new(&history, 9, &all, false).of_epoch(&all, Stream::new(1));
        assert!(hidden.queries.iter().all(|query| hidden.gaps[query.place] == 0));
    }

    #[test]
    fn hidden_items_are_named_and_not_seen() {
        let items: Vec<ItemIdx> = (1..=9).map(ItemIdx).collect();
        let history = History::bought(&items, &[0; 9], 3);
        let all = settings(Reading::Hidden(0.3), 9);
        let asked = Example::new(&history, 9, &all, true);
        assert_eq!(asked.tokens, [1, 2, 3, 4, 5, 6, 7, 8, 9, QUERY]);
        assert_eq!(asked.queries, [Query::new(9, 0..0, Act::Bought)]);
        let learned = Example::new(&history, 9, &all, false);
        let mut hidden = 0;
        for seed in 0..100 {
            let of_epoch = learned.of_epoch(&all, Stream::new(seed));
            assert!(!of_epoch.queries.is_empty());
            for query in &of_epoch.queries {
                assert_eq!(of_epoch.tokens[query.place], QUERY);
                assert_eq!(of_epoch.named(query).collect::<Vec<_>>(), [query.place as u32 + 1]);
            }
            hidden += of_epoch.queries.len();
        }
        assert!((170..320).contains(&hidden), "{hidden}");
        let nobody = Example::new(&History::bought(&[], &[], 0), 9, &all, false);
        assert!(nobody.of_epoch(&all, Stream::new(0)).queries.is_empty());
    }

    #[test]
    fn steps_between_tokens_have_their_buckets() {
        assert_eq!(
            [0, 1, 15, 16, 32, 100_000].map(|steps| step_bucket(steps, false)),
            [0, 1, 15, 16, 20, 31]
        );
        assert_eq!([0, 7, 8, 16, 100_000].map(|steps| step_bucket(steps, true)), [0, 7, 8, 10, 15]);
        let items = [5, 6, 7].map(ItemIdx);
        let history = History::bought(&items, &[1, 1, 2], 3);
        let example = Example::new(&history, 9, &settings(Reading::Hidden(0.5), 9), false);
        let mut pairs = Vec::new();
        example.add_pairs(Distance::Steps, true, &mut pairs);
        assert_eq!(pairs, [0, 17, 18, 1, 0, 17, 2, 1, 0]);
        pairs.clear();
        example.add_pairs(Distance::Steps, false, &mut pairs);
        assert_eq!(pairs, [0, 0, 0, 1, 0, 0, 2, 1, 0]);
    }

    #[test]
    fn baskets_become_tokens_with_a_query_before_each() {
        let items = [5, 6, 7].map(ItemIdx);
        let history = History::bought(&items, &[0, 0, DAY], 3 * DAY);
        let example = Example::new(&history, 9, &orders(10), true);
        assert_eq!(example.tokens, [QUERY, 5, 6, QUERY, 7, QUERY]);
        assert_eq!(example.times, [0, 0, 0, DAY, DAY, 3 * DAY]);
        assert_eq!(example.visible, [1, 3, 3, 4, 5, 6]);
        let targets: Vec<_> = example.queries.iter().map(|query| query.targets.clone()).collect();
        assert_eq!(targets, [1..3, 4..5, 0..0]);
        assert_eq!(Example::new(&history, 9, &orders(10), false).tokens, [QUERY, 5, 6, QUERY, 7]);
        let short = Example::new(&history, 9, &orders(2), true);
        assert_eq!(short.tokens, [QUERY, 6, QUERY, 7, QUERY]);
        let nobody = History::bought(&[], &[], 0);
        assert_eq!(Example::new(&nobody, 9, &orders(10), true).tokens, [QUERY]);
    }

    #[test]
    fn queries_are_asked_between_orders_and_name_what_comes_within_the_horizon() {
        let items = [5, 6, 7, 8].map(ItemIdx);
        let history = History::bought(&items, &[0, 10 * DAY, 20 * DAY, 50 * DAY], 60 * DAY);
        let example = Example::new(&history, 9, &orders(10), false);
        let named = |example: &Example, query: usize| -> Vec<u32> {
            example.named(&example.queries[query]).collect()
        };
        let mut moments = Vec::new();
        for seed in 0..20 {
            let asked = example.asked_at_random(20 * DAY, Stream::new(seed));
            assert_eq!((&asked.tokens, &asked.visible), (&example.tokens, &example.visible));
            let place = asked.queries[1].place;
            assert!((0..10 * DAY).contains(&asked.times[place]));
            assert_eq!(asked.gaps[place], bucket(asked.times[place]));
            assert_eq!(named(&asked, 0), [5]);
            assert_eq!(named(&asked, 1), if asked.times[place] > 0 { vec![6, 7] } else { vec![6] });
            assert_eq!(named(&asked, 3), [8]);
            moments.push(asked.times[place]);
        }
        assert!(moments.iter().min() < moments.iter().max());
        assert_eq!(named(&example.asked_at_random(0, Stream::new(1)), 1), [6]);
    }

    #[test]
    fn spans_fall_into_half_octaves_of_hours() {
        let found =
            [i64::MIN, 0, HOUR_MS, 2 * HOUR_MS, 3 * HOUR_MS, 21 * DAY, 9000 * DAY, i64::MAX].map(bucket);
        assert_eq!(found, [0, 0, 2, 3, 4, 17, 31, 31]);
    }

    #[test]
    fn pairs_are_by_the_time_between() {
        let items = [5, 6].map(ItemIdx);
        let example = Example::new(&History::bought(&items, &[0, HOUR_MS], 0), 9, &orders(10), false);
        let mut pairs = Vec::new();
        example.add_pairs(Distance::Time, false, &mut pairs);
        assert_eq!(pairs, [0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 0, 0, 2, 2, 0, 0]);
    }

    fn told() -> Told {
        let mut told = Told::default();
        for (item, time, act) in [
            (5, 0, Act::Viewed),
            (6, 1, Act::Carted),
            (6, 2, Act::Bought),
            (7, 2, Act::Bought),
            (5, 3, Act::Viewed),
            (8, 4, Act::Bought),
            (9, 5, Act::Viewed),
        ] {
            told.push(ItemIdx(item), time, act);
        }
        told
    }

    fn with_acts(reading: Reading) -> Settings {
        let mut settings = settings(reading, 20);
        settings.inputs.event_kind = true;
        settings
    }

    #[test]
    fn every_step_asks_for_the_next_one_and_for_the_next_order() {
        let (told, settings) = (told(), with_acts(Reading::Next(Steps::Items)));
        let history = History { told: Some(&told), ..History::bought(&[], &[], 9) };
        let asked = Example::new(&history, 9, &settings, true);
        assert_eq!(asked.tokens, [QUERY, 5, 6, 6, 7, 5, 8, 9]);
        assert_eq!(asked.acts, [NOTHING, 0, 1, 2, 2, 0, 2, 0]);
        assert_eq!(asked.queries, [Query::new(7, 0..0, Act::Bought)]);
        let learned = Example::new(&history, 9, &settings, false).of_epoch(&settings, Stream::new(1));
        let of = |query: &Query| (query.place, query.act, learned.named(query).collect::<Vec<_>>());
        let found: Vec<_> = learned.queries.iter().map(of).collect();
        let want = [
            (0, Act::Bought, vec![6, 7]),
            (0, Act::Viewed, vec![5]),
            (1, Act::Bought, vec![6, 7]),
            (1, Act::Carted, vec![6]),
            (2, Act::Bought, vec![6, 7]),
            (3, Act::Bought, vec![7]),
            (4, Act::Bought, vec![8]),
            (4, Act::Viewed, vec![5]),
            (5, Act::Bought, vec![8]),
            (6, Act::Viewed, vec![9]),
        ];
        assert_eq!(found, want);
        let purchases = ActWeights { viewed: 0.0, carted: 0.0, bought: 1.0 };
        let only = Settings { act_weights: purchases, ..settings };
        let learned = Example::new(&history, 9, &only, false).of_epoch(&only, Stream::new(1));
        assert!(learned.queries.len() == 6 && learned.queries.iter().all(|own| own.act == Act::Bought));
        // Without acts what is known was bought.
        let items = [5, 6].map(ItemIdx);
        let bought = Example::new(&History::bought(&items, &[0, 1], 2), 9, &settings, true);
        assert_eq!(bought.acts, [NOTHING, 2, 2]);
    }

    #[test]
    fn what_is_hidden_says_what_was_done_or_asks_for_the_next_order() {
        let (told, settings) = (told(), with_acts(Reading::Hidden(0.3)));
        let history = History { told: Some(&told), ..History::bought(&[], &[], 9) };
        let asked = Example::new(&history, 9, &settings, true);
        assert_eq!(asked.acts, [0, 1, 2, 2, 0, 2, 0, Act::Bought as u8]);
        let learned = Example::new(&history, 9, &settings, false);
        let (mut orders, mut steps) = (0, 0);
        for seed in 0..200 {
            let own = learned.of_epoch(&settings, Stream::new(seed));
            for query in &own.queries {
                assert_eq!((own.tokens[query.place], own.acts[query.place]), (QUERY, query.act as u8));
                let named: Vec<u32> = own.named(query).collect();
                match query.targets == (query.place..query.place + 1) {
                    true => {
                        steps += 1;
                        assert_eq!(named, [told.items[query.place].0]);
                        assert_eq!(own.acts[query.place], told.acts[query.place] as u8);
                    }
                    false => {
                        orders += 1;
                        assert_eq!(query.place + 1, own.tokens.len());
                        assert!(query.act == Act::Bought && (named == [6, 7] || named == [8]), "{named:?}");
                    }
                }
            }
        }
        assert!(orders > 5 && steps > 100, "{orders} {steps}");
    }
}
