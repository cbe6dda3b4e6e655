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

    /// The same for training, other in each epoch: of each order of two items or more, by the odds of
    /// `split`, some items come first, and another query asks for the rest. So the network also learns
    /// what goes with what, of which there is much more to see than of orders that follow each other.
    pub(super) fn split(&self, split: f32, stream: Stream) -> Self {
        let mut own = Self::default();
        for (number, query) in self.queries.iter().enumerate() {
            let stream = stream.child(number as u64);
            let mut items: Vec<u32> = self.tokens[query.targets.clone()].to_vec();
            let time = self.times[query.place];
            let splits =
                items.len() > 1 && stream.below(u64::MAX, 1 << 20) < (split * (1 << 20) as f32) as usize;
            let first = if splits { 1 + stream.below(u64::MAX - 1, items.len() - 1) } else { items.len() };
            if splits {
                items = stream.shuffled(items.len()).into_iter().map(|place| items[place]).collect();
            }
            own.push(QUERY, time, own.tokens.len() + 1, self.gaps[query.place]);
            own.queries.push(Query { place: own.tokens.len() - 1, targets: 0..0 });
            let (asked, start) = (own.queries.len() - 1, own.tokens.len());
            own.push_basket(items[..first].iter().map(|item| ItemIdx(*item)), time);
            if splits {
                own.push_query(time, Some(time));
                own.push_basket(items[first..].iter().map(|item| ItemIdx(*item)), time);
            }
            own.queries[asked].targets = start..own.tokens.len();
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
    fn an_order_that_is_split_keeps_its_items_and_asks_for_the_rest() {
        let items = [5, 6, 7, 8].map(ItemIdx);
        let history = History { items: &items, times: &[0, 0, 0, DAY], now: DAY };
        let example = Example::new(&history, 9, 10, false);
        let split = example.split(1.0, Stream::new(1));
        assert_eq!(split.queries.len(), 3);
        let named = |query: usize| {
            let mut named: Vec<u32> = split.named(&split.queries[query]).collect();
            named.sort_unstable();
            named
        };
        assert_eq!((named(0), named(2)), (vec![5, 6, 7], vec![8]));
        let rest = named(1);
        assert!((1..3).contains(&rest.len()) && rest.iter().all(|item| (5..8).contains(item)), "{rest:?}");
        assert_eq!(split.tokens.iter().filter(|token| **token != QUERY).count(), 4);
        // The first items do not see what is asked for; the rest sees all of the order.
        let place = split.queries[1].place;
        assert_eq!(split.visible[place - 1] as usize, place);
        assert_eq!(split.visible[place + 1] as usize, split.queries[2].place);
        assert_eq!(example.split(0.0, Stream::new(1)), example);
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
