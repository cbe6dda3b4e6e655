//! A shopper's history as tokens: the items of each order, and between the orders the moments at which
//! one could have asked what comes next.
//!
//! The items of one order have no order among themselves, so they see each other and everything
//! earlier. After each order stands a query: a token that bears only its time and the gap since the
//! order before. It sees everything up to itself, and what is learned is that it should name the items
//! of the next order. So what is foretold never depends on how a basket happens to be sorted.

use std::ops::Range;

use qhatu_nn::Stream;
use qhatu_schema::ItemIdx;

use crate::recommender::History;

/// The token of a query; items are their own numbers, from 1.
pub(super) const QUERY: u32 = 0;
/// Buckets of a time span: see [`bucket`].
pub(super) const BUCKETS: usize = 32;

const HOUR_MS: i64 = 3_600_000;

/// Half octaves of hours: 0 below one hour, 2 to 3 at one hour or two, 18 at three weeks.
pub(super) fn bucket(span_ms: i64) -> u8 {
    let hours = u32::try_from(span_ms.max(0) / HOUR_MS).unwrap_or(u32::MAX - 1) + 1;
    let octave = hours.ilog2();
    let half = if octave == 0 { 0 } else { (hours >> (octave - 1)) & 1 };
    (2 * octave + half).min(BUCKETS as u32 - 1) as u8
}

/// A moment of asking.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Query {
    /// Its place among the tokens.
    pub(super) place: usize,
    /// Among which tokens the items of the next order are; empty for the last query.
    pub(super) targets: Range<usize>,
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
    /// For queries, bucket of the time since the order before; for items 0.
    pub(super) gaps: Vec<u8>,
    /// The queries.
    pub(super) queries: Vec<Query>,
}

impl Example {
    /// The last `max_length` items of a history. With `ask` the last query stands at `now` and has no
    /// target; without it each query has one.
    pub(super) fn new(history: &History, catalogue_size: usize, max_length: usize, ask: bool) -> Self {
        let mut known: Vec<(ItemIdx, i64)> = history.known(catalogue_size).collect();
        known.drain(..known.len().saturating_sub(max_length));
        let mut own = Self::default();
        let mut last = None;
        for basket in known.chunk_by(|a, b| a.1 == b.1) {
            let time = basket[0].1;
            own.push_query(time, last);
            own.push_basket(basket.iter().map(|(item, _)| *item), time);
            last = Some(time);
        }
        if ask {
            own.push_query(history.now, last);
        }
        own
    }

    /// The same for training, other in each epoch: each query is moved to a random moment between the
    /// order before it and the next, for nobody is asked at the moment of buying. It should name what is
    /// bought within `horizon_ms` of that moment, and the next order at least.
    pub(super) fn asked_at_random(&self, horizon_ms: i64, stream: Stream) -> Self {
        let mut own = self.clone();
        for number in 1..own.queries.len() {
            let Query { place, targets } = own.queries[number].clone();
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
        self.tokens[query.targets.clone()].iter().copied().filter(|token| *token != QUERY)
    }

    fn push_query(&mut self, time: i64, last: Option<i64>) {
        let place = self.tokens.len();
        // The first query has a gap of its own kind, the largest.
        let gap = last.map_or(BUCKETS as u8 - 1, |last| bucket(time.saturating_sub(last)));
        self.push(QUERY, time, place + 1, gap);
        self.queries.push(Query { place, targets: 0..0 });
    }

    fn push(&mut self, token: u32, time: i64, visible: usize, gap: u8) {
        self.tokens.push(token);
        self.times.push(time);
        self.visible.push(visible as u32);
        self.gaps.push(gap);
    }

    /// Adds the bucket of each pair of tokens, row after row.
    pub(super) fn add_pairs(&self, pairs: &mut Vec<u8>) {
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

    const DAY: i64 = 24 * HOUR_MS;

    #[test]
    fn baskets_become_tokens_with_a_query_before_each() {
        let items = [5, 6, 7].map(ItemIdx);
        let history = History { items: &items, times: &[0, 0, DAY], now: 3 * DAY };
        let example = Example::new(&history, 9, 10, true);
        assert_eq!(example.tokens, [QUERY, 5, 6, QUERY, 7, QUERY]);
        assert_eq!(example.times, [0, 0, 0, DAY, DAY, 3 * DAY]);
        assert_eq!(example.visible, [1, 3, 3, 4, 5, 6]);
        let targets: Vec<_> = example.queries.iter().map(|query| query.targets.clone()).collect();
        assert_eq!(targets, [1..3, 4..5, 0..0]);
        assert_eq!(Example::new(&history, 9, 10, false).tokens, [QUERY, 5, 6, QUERY, 7]);
        let short = Example::new(&history, 9, 2, true);
        assert_eq!(short.tokens, [QUERY, 6, QUERY, 7, QUERY]);
        let nobody = History { items: &[], times: &[], now: 0 };
        assert_eq!(Example::new(&nobody, 9, 10, true).tokens, [QUERY]);
    }

    #[test]
    fn queries_are_asked_between_orders_and_name_what_comes_within_the_horizon() {
        let items = [5, 6, 7, 8].map(ItemIdx);
        let history = History { items: &items, times: &[0, 10 * DAY, 20 * DAY, 50 * DAY], now: 60 * DAY };
        let example = Example::new(&history, 9, 10, false);
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
        let example = Example::new(&History { items: &items, times: &[0, HOUR_MS], now: 0 }, 9, 10, false);
        let mut pairs = Vec::new();
        example.add_pairs(&mut pairs);
        assert_eq!(pairs, [0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 0, 0, 2, 2, 0, 0]);
    }
}
