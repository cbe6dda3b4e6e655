//! Questions out of the last days of the data: each order there, what its history proposes, and what was bought.

use std::ops::Range;

use rayon::prelude::*;

use super::Config;
use super::columns::{Candidates, Items, Part, columns, width};
use crate::DAY_MS;
use crate::error::ModelError;
use crate::interactions::{Interactions, Sequence};
use crate::recommender::History;
use crate::trees::Target;

/// Fewer questions than this teach nothing that holds.
const FEWEST: usize = 50;

/// The candidates of questions of which at least one was bought, and at least one was not.
#[derive(Debug, Default)]
pub(super) struct Lessons {
    pub(super) columns: Vec<Vec<f64>>,
    labels: Vec<f32>,
    groups: Vec<u32>,
}

/// An order with a history.
struct Question<'a> {
    sequence: &'a Sequence,
    order: Range<usize>,
}

impl Question<'_> {
    fn time(&self) -> i64 {
        self.sequence.times[self.order.start]
    }

    /// Rows and labels.
    fn answered(&self, parts: &[Part], items: &Items, retrieve: usize) -> Option<(Vec<f32>, Vec<f32>)> {
        let (known, bought) = self.sequence.items.split_at(self.order.start);
        let bought = &bought[..self.order.len()];
        let times = &self.sequence.times[..known.len()];
        let history = History { items: known, times, now: self.time() };
        let candidates = Candidates::new(&history, parts, items, retrieve);
        let label = |item| f32::from(u8::from(bought.contains(item)));
        let labels: Vec<f32> = candidates.items.iter().map(label).collect();
        let differ = labels.contains(&0.0) && labels.contains(&1.0);
        differ.then_some((candidates.rows, labels))
    }
}

impl Lessons {
    /// Fits the parts on what lies before the last days, and lets every order of these ask.
    pub(super) fn gather<E: From<ModelError>>(
        data: &Interactions,
        config: &Config,
        fit: &mut dyn FnMut(&Interactions) -> Result<Vec<Part>, E>,
    ) -> Result<Self, E> {
        let start = data.until.saturating_sub((config.held_out_days * DAY_MS) as i64);
        let questions = questions(data, start, config.most_questions);
        let past = data.before(start);
        if questions.len() < FEWEST || past.sequences.is_empty() {
            return Ok(Self::default());
        }
        let parts = fit(&past)?;
        let items = Items::fit(&past);
        let answered = |question: &Question| question.answered(&parts, &items, config.retrieve);
        let answered: Vec<(Vec<f32>, Vec<f32>)> = questions.par_iter().filter_map(answered).collect();
        let groups = answered.iter().map(|(_, labels)| labels.len() as u32).collect();
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        for (own_rows, own_labels) in answered {
            rows.extend(own_rows);
            labels.extend(own_labels);
        }
        Ok(Self { columns: columns(&rows, width(parts.len())), labels, groups })
    }

    /// Whether there is enough to learn from.
    pub(super) fn teach(&self) -> bool {
        self.groups.len() >= FEWEST
    }

    pub(super) fn target(&self) -> Target<'_> {
        Target { labels: &self.labels, weights: &[], groups: &self.groups }
    }
}

/// The latest orders from `start` on that have a history.
fn questions(data: &Interactions, start: i64, most: usize) -> Vec<Question<'_>> {
    let of = |sequence| {
        let orders = Sequence::baskets(sequence).filter(|order| order.start > 0);
        orders.map(move |order| Question { sequence, order }).filter(|question| question.time() >= start)
    };
    let mut questions: Vec<Question> = data.sequences.iter().flat_map(of).collect();
    questions.sort_by_key(|question| (question.time(), question.sequence.user.0));
    questions.drain(..questions.len().saturating_sub(most));
    questions
}
