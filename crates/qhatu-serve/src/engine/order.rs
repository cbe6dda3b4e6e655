//! What is bought together: live counts over the orders, so that an order that came in a moment ago
//! counts in the next answer.
//!
//! For an item, its latest orders are walked and the items beside it counted; the score is the count
//! damped by how common the other item is, `count / sqrt(orders of the other)`, which is the cosine
//! between the two items' columns of orders up to a constant.

use qhatu_schema::{Event, OrderId, UserId};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::shelf::ItemNo;

/// Latest orders of an item that are walked; more would cost time and change little.
const ORDERS_WALKED: usize = 400;
/// Lines of one order beyond which it is a wholesaler's and says little about what goes together.
const LINES_KEPT: usize = 100;

#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum OrderKey {
    Order(OrderId),
    Day(UserId, i32),
}

/// Orders and where each item occurs in them.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Orders {
    numbers: FxHashMap<OrderKey, u32>,
    lines: Vec<Vec<ItemNo>>,
    of_item: Vec<Vec<u32>>,
}

/// An item that goes with another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Together {
    pub(crate) item: ItemNo,
    pub(crate) score: f32,
    /// Orders that held both, of those walked.
    pub(crate) both: u32,
    /// Orders that were walked.
    pub(crate) of: u32,
}

impl Orders {
    /// Takes a paid purchase into its order: by order id, else by shopper and day.
    pub(crate) fn add(&mut self, event: &Event, item: ItemNo) {
        let key = match (&event.order_id, &event.user_id) {
            (Some(order), _) => OrderKey::Order(order.clone()),
            (None, Some(user)) => OrderKey::Day(user.clone(), event.time.lima_day().0),
            (None, None) => return,
        };
        let lines = &mut self.lines;
        let number = *self.numbers.entry(key).or_insert_with(|| {
            lines.push(Vec::new());
            u32::try_from(lines.len() - 1).expect("fewer than 2³² orders fit in memory")
        });
        let lines = &mut self.lines[number as usize];
        if lines.len() == LINES_KEPT || lines.contains(&item) {
            return;
        }
        lines.push(item);
        if self.of_item.len() <= item as usize {
            self.of_item.resize_with(item as usize + 1, Vec::new);
        }
        self.of_item[item as usize].push(number);
    }

    /// What goes with `item`, best first; ties by lower number.
    pub(crate) fn together(&self, item: ItemNo) -> Vec<Together> {
        let Some(orders) = self.of_item.get(item as usize) else { return Vec::new() };
        let latest = &orders[orders.len().saturating_sub(ORDERS_WALKED)..];
        let mut counts: FxHashMap<ItemNo, u32> = FxHashMap::default();
        for &order in latest {
            for &other in &self.lines[order as usize] {
                *counts.entry(other).or_default() += 1;
            }
        }
        counts.remove(&item);
        let of = u32::try_from(latest.len()).unwrap_or(u32::MAX);
        let mut found: Vec<Together> = counts
            .into_iter()
            .map(|(other, both)| Together { item: other, score: self.score(both, other), both, of })
            .collect();
        found.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
        found
    }

    #[expect(clippy::cast_precision_loss, reason = "a score needs no more than 24 bits")]
    fn score(&self, both: u32, other: ItemNo) -> f32 {
        // One order in common may be chance: a constant in the denominator damps rare pairs.
        both as f32 / (self.of_item[other as usize].len() as f32 + 4.0).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qhatu_schema::{EventId, EventKind, Timestamp};

    fn bought(orders: &mut Orders, order: &str, items: &[ItemNo]) {
        for &item in items {
            let id = EventId::new(format!("{order}-{item}")).unwrap();
            let mut event = Event::new(id, Timestamp::EPOCH, EventKind::Purchase);
            event.order_id = Some(OrderId::new(order).unwrap());
            orders.add(&event, item);
        }
    }

    #[test]
    fn what_shares_orders_comes_first_and_what_is_everywhere_comes_later() {
        let mut orders = Orders::default();
        for number in 0..10 {
            bought(&mut orders, &format!("both {number}"), &[0, 1, 2]);
        }
        for number in 0..90 {
            bought(&mut orders, &format!("other {number}"), &[2, 3]);
        }
        let found = orders.together(0);
        assert_eq!(found.iter().map(|pair| pair.item).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((found[0].both, found[0].of), (10, 10));
        assert!(orders.together(9).is_empty());
    }
}
