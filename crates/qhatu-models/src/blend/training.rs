//! Training rows out of the past: earlier windows, each seen as it was at its beginning.
//!
//! A window is a horizon of days. Everything before it is what would have been known (its items are
//! counted and its similarity fitted on that alone), what was bought in it is the label. The windows
//! stand one behind the other before the end of the data, so the last one is as close to the future
//! to be ranked as it can be.

use std::ops::Range;

use rayon::prelude::*;

use super::Config;
use super::features::{Items, Retrieval};
use super::trees::Rows;
use crate::ModelError;
use crate::ease::Ease;
use crate::interactions::{Interactions, Sequence};
use crate::recommender::Recommender;

/// Rows with a label each.
#[derive(Debug)]
pub(super) struct TrainingRows {
    values: Vec<f32>,
    labels: Vec<bool>,
    retrieval: Retrieval,
}

impl TrainingRows {
    /// The rows of all windows that the data reach back for, the latest window first.
    ///
    /// # Errors
    /// What fitting the similarity gives.
    pub(super) fn gather(interactions: &Interactions, config: &Config) -> Result<Self, ModelError> {
        let retrieval = config.retrieval(interactions.looked.any_before(interactions.until));
        let mut rows = Self { values: Vec::new(), labels: Vec::new(), retrieval };
        let first = interactions.sequences.iter().filter_map(|sequence| sequence.times.first()).min();
        let Some(&first) = first else { return Ok(rows) };
        let horizon = (config.horizon_days * crate::DAY_MS) as i64;
        let reach = horizon.saturating_mul(i64::from(config.least_history_windows));
        for back in 1..=i64::from(config.windows) {
            let start = interactions.until.saturating_sub(horizon.saturating_mul(back));
            if start.saturating_sub(first) < reach {
                break;
            }
            rows.add_window(interactions, start..start.saturating_add(horizon), config)?;
        }
        Ok(rows)
    }

    /// Whether there is enough of both labels to learn from.
    pub(super) fn teaches(&self) -> bool {
        let bought = self.labels.iter().filter(|&&label| label).count();
        bought.min(self.labels.len() - bought) >= FEWEST_OF_A_LABEL
    }

    pub(super) fn rows(&self) -> Rows<'_> {
        Rows { values: &self.values, labels: &self.labels, width: self.retrieval.width() }
    }

    fn add_window(
        &mut self,
        all: &Interactions,
        window: Range<i64>,
        config: &Config,
    ) -> Result<(), ModelError> {
        let past = all.before(window.start);
        let items = Items::fit(&past, config.offered);
        let ease = Ease::fit(&past, &config.ease)?;
        let shopper = |scores: &mut Vec<f32>, sequence: &Sequence| {
            let (known, bought) = cut(sequence, &window);
            if bought.is_empty() {
                return (Vec::new(), Vec::new());
            }
            let evidence = all.looked.evidence(sequence.user, sequence.steps().take(known), window.start);
            let history = evidence.history(window.start);
            // Who is new is not ranked for.
            if history.known(all.items()).next().is_none() {
                return (Vec::new(), Vec::new());
            }
            ease.score(&history, scores);
            let candidates = items.candidates(&history, scores, self.retrieval);
            let bought = &sequence.items[bought];
            (candidates.rows, candidates.items.iter().map(|item| bought.contains(item)).collect())
        };
        let scores = || vec![0.0; all.items() + 1];
        let shoppers: Vec<(Vec<f32>, Vec<bool>)> =
            all.sequences.par_iter().map_init(scores, shopper).collect();
        for (values, labels) in shoppers {
            self.values.extend(values);
            self.labels.extend(labels);
        }
        Ok(())
    }
}

/// Fewer rows than this of either label teach nothing that holds.
const FEWEST_OF_A_LABEL: usize = 200;

/// How many of a sequence's events are before a window, and which are in it.
fn cut(sequence: &Sequence, window: &Range<i64>) -> (usize, Range<usize>) {
    let known = sequence.times.partition_point(|&time| time < window.start);
    (known, known..sequence.times.partition_point(|&time| time < window.end))
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use qhatu_schema::{ItemId, ItemIdx};

    use super::*;
    use crate::recommender::History;
    use crate::{Purchase, Vocabulary};

    const DAY: i64 = 86_400_000;

    /// 40 shoppers who buy one of ten items each day for so many days.
    pub(in super::super) fn shop(days: i64) -> Interactions {
        let vocabulary =
            Vocabulary::new((1..=10).map(|item| ItemId::new(format!("i{item}")).expect("not empty")));
        let line = |user: u32, day: i64| Purchase {
            time: day * DAY,
            user,
            order: user * 1000 + day as u32,
            item: ItemIdx(1 + (user + day as u32 * (1 + user % 3)) % 10),
        };
        let lines: Vec<Purchase> =
            (0..40).flat_map(|user| (0..days).map(move |day| line(user, day))).collect();
        Interactions::from_purchases(Arc::new(vocabulary), &lines, days * DAY)
    }

    fn config() -> Config {
        Config { horizon_days: 5.0, windows: 3, ..Config::default() }
    }

    #[test]
    fn rows_are_what_was_known_and_labels_what_came_next() {
        let data = shop(15);
        let rows = TrainingRows::gather(&data, &config()).expect("a small shop");
        let window = 10 * DAY..15 * DAY;
        let past = data.before(window.start);
        let items = Items::fit(&past, Config::default().offered);
        let ease = Ease::fit(&past, &config().ease).expect("a small shop");
        let (mut values, mut labels) = (Vec::new(), Vec::new());
        for (known, all) in past.sequences.iter().zip(&data.sequences) {
            let history = History::bought(&known.items, &known.times, window.start);
            let mut scores = vec![0.0; 11];
            ease.score(&history, &mut scores);
            let candidates = items.candidates(&history, &scores, config().retrieval(false));
            labels.extend(candidates.items.iter().map(|item| all.items[known.items.len()..].contains(item)));
            values.extend(candidates.rows);
        }
        assert_eq!(rows.labels, labels);
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&rows.values), bits(&values));
    }

    #[test]
    fn windows_are_used_as_far_as_the_data_reach_back() {
        let count = |days: i64| {
            let rows = TrainingRows::gather(&shop(days), &config()).expect("a small shop");
            rows.labels.len() / 40
        };
        assert_eq!(count(14), 0);
        assert!(count(15) > 0);
        assert!(count(20) > count(15) && count(25) > count(20));
        assert_eq!(count(40), count(25));
    }
}
