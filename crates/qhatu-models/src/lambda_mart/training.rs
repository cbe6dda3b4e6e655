//! Questions out of the last days of the data: each order there, what its history proposes, and what was bought; and each
//! list that was shown there, and what of it was clicked.
//!
//! What stands on top of a list is clicked because it is seen. How often a position is looked at is learned from all lists
//! ([`crate::position_bias`]), and a click counts as much more as its position is looked at less. Lists teach only where they help:
//! see [`Lessons::choose`].

use std::ops::Range;

use qhatu_schema::{Department, ItemIdx, UserIdx};
use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::Config;
use super::columns::{Candidates, Items, Part, columns, width};
use super::fold::Fold;
use crate::DAY_MS;
use crate::error::ModelError;
use crate::evidence::{Evidence, Looked};
use crate::interactions::{Interactions, Sequence};
use crate::journey::Journey;
use crate::position_bias::{Impression, PositionBias};
use crate::recommender::History;
use crate::shown::Shown;
use crate::trees::Target;

/// Fewer questions than this teach nothing that holds.
const FEWEST: usize = 50;
/// One in so many orders, the latest, judges whether lists help.
const JUDGE: usize = 5;
/// The length of the lists that are judged.
const JUDGED: usize = 10;

/// The candidates of questions of which at least one was bought or clicked, and at least one was not.
#[derive(Debug, Default)]
pub(super) struct Lessons {
    pub(super) columns: Vec<Vec<f64>>,
    pub(super) labels: Vec<f32>,
    /// Empty where only orders ask.
    weights: Vec<f32>,
    pub(super) groups: Vec<u32>,
    /// Who asked each of them, where it is known.
    pub(super) users: Vec<Option<UserIdx>>,
    /// When each of them was asked, in milliseconds; orders first, oldest first, then lists.
    times: Vec<i64>,
    /// How many of them are orders.
    orders: usize,
}

/// A question's candidates with their rows.
pub(super) struct Answered {
    pub(super) user: Option<UserIdx>,
    /// When it was asked.
    pub(super) time: i64,
    pub(super) items: Vec<ItemIdx>,
    rows: Vec<f32>,
    labels: Vec<f32>,
    weights: Vec<f32>,
}

impl Answered {
    /// Where at least one candidate is wanted and at least one is not: otherwise there is nothing to sort.
    fn new(
        (user, time): (Option<UserIdx>, i64),
        Candidates { items, rows, .. }: Candidates,
        labels: Vec<f32>,
        weights: Vec<f32>,
    ) -> Option<Self> {
        let differ = labels.contains(&0.0) && labels.contains(&1.0);
        differ.then_some(Self { user, time, items, rows, labels, weights })
    }
}

/// The parts as they are while questions are asked, and the items, of which each question sees what had sold before it.
struct Asking<'a> {
    parts: &'a [Part],
    items: Items,
    retrieve: usize,
    /// Whether a part reads acts.
    acts: bool,
    looked: &'a Looked,
    /// Whether features are told, which say nothing of a visit.
    features: bool,
}

impl Asking<'_> {
    /// What is told of a shopper: so many of their purchases, and what they looked at.
    fn evidence(&self, (user, now): (UserIdx, i64), sequence: Option<&Sequence>, known: usize) -> Evidence {
        let bought = sequence.into_iter().flat_map(Sequence::steps);
        self.looked.evidence(user, bought.take(known), now)
    }
}

/// What shoppers did, by their numbers; nobody where no part reads acts.
type Journeys<'a> = FxHashMap<u32, &'a Journey>;

/// An order with a history.
pub(super) struct Question<'a> {
    pub(super) sequence: &'a Sequence,
    department: Option<Department>,
    pub(super) order: Range<usize>,
    journey: Option<&'a Journey>,
    /// When it is asked: at the order, or before it in the visit that ended with it.
    pub(super) asked: i64,
}

impl Question<'_> {
    /// When the order was.
    pub(super) fn time(&self) -> i64 {
        self.sequence.times[self.order.start]
    }

    fn answered(&self, asking: &Asking) -> Option<Answered> {
        let bought = &self.sequence.items[self.order.clone()];
        let told = self.journey.map(|journey| journey.told_before(self.asked));
        let who = (self.sequence.user, self.asked);
        // Of orders that began together none is known to another.
        let known = self.sequence.times.partition_point(|time| *time < self.asked);
        let evidence = asking.evidence(who, Some(self.sequence), known);
        let history = evidence.history(self.asked).in_department(self.department);
        let history = History { told: told.as_ref(), ..history };
        let candidates = Candidates::new(&history, asking.parts, &asking.items, asking.retrieve);
        let label = |item| f32::from(u8::from(bought.contains(item)));
        let labels: Vec<f32> = candidates.items.iter().map(label).collect();
        let weights = vec![1.0; labels.len()];
        Answered::new((Some(self.sequence.user), self.asked), candidates, labels, weights)
    }
}

/// The lists that were shown, and what a click in them counts.
struct Lists<'a> {
    shown: Vec<&'a Shown>,
    until: i64,
    bias: Option<PositionBias>,
    /// The place of each shopper's sequence.
    places: FxHashMap<u32, usize>,
    journeys: Journeys<'a>,
}

impl<'a> Lists<'a> {
    /// The latest lists from `start` on that have a click, at most so many; positions are learned from all of the data's.
    fn new(data: &'a Interactions, start: i64, most: usize) -> Self {
        let before = match most {
            0 => 0,
            _ => data.shown.partition_point(|shown| shown.time < data.until),
        };
        let known = &data.shown[..before];
        let log: Vec<Impression> = known.iter().flat_map(|shown| shown.impressions(data.until)).collect();
        let bias = PositionBias::fit(&log).ok();
        let asks = |shown: &&Shown| {
            let clicked = shown.impressions(data.until).iter().any(|own| own.clicked);
            shown.time >= start && clicked
        };
        let mut shown: Vec<&Shown> =
            if bias.is_some() { known.iter().filter(asks).collect() } else { Vec::new() };
        shown.drain(..shown.len().saturating_sub(most));
        let places = (0..).zip(&data.sequences).map(|(place, sequence)| (sequence.user.0, place)).collect();
        Self { shown, until: data.until, bias, places, journeys: Journeys::default() }
    }

    fn answered(&self, shown: &Shown, data: &Interactions, asking: &Asking) -> Option<Answered> {
        // What models that read acts, and features, know of a visit of nobody is not known here, and is in the server.
        if shown.user.is_none() && (asking.acts || asking.features) {
            return None;
        }
        let sequence =
            shown.user.and_then(|user| self.places.get(&user)).map(|place| &data.sequences[*place]);
        let known = sequence.map_or(0, |own| own.times.partition_point(|time| *time < shown.time));
        let department = shown.user.and_then(|user| data.department(UserIdx(user)));
        let journey = shown.user.and_then(|user| self.journeys.get(&user));
        let told = journey.map(|journey| journey.told_before(shown.time));
        let evidence = match shown.user {
            Some(user) => asking.evidence((UserIdx(user), shown.time), sequence, known),
            None => shown
                .visit
                .map(|visit| asking.looked.evidence_of_visit(visit, shown.time))
                .unwrap_or_default(),
        };
        let history = evidence.history(shown.time).in_department(department);
        let history = History { told: told.as_ref(), ..history };
        let mut seen = shown.impressions(self.until);
        // Candidates stand in the order of their numbers.
        seen.sort_by_key(|impression| impression.item);
        let items: Vec<ItemIdx> = seen.iter().map(|impression| ItemIdx(impression.item)).collect();
        let from = (asking.retrieve, items.as_slice());
        let candidates = Candidates::of_shown(&history, asking.parts, &asking.items, from);
        let labels = seen.iter().map(|own| f32::from(u8::from(own.clicked))).collect();
        let bias = self.bias.as_ref()?;
        let weights = seen.iter().map(|own| bias.weight(own)).collect();
        Answered::new((shown.user.map(UserIdx), shown.time), candidates, labels, weights)
    }
}

impl Lessons {
    /// Fits the parts on what lies before the last days, and lets every order of these ask.
    pub(super) fn gather<E: From<ModelError>>(
        data: &Interactions,
        config: &Config,
        fold: &Fold<'_>,
        fit: &mut dyn FnMut(&Interactions) -> Result<Vec<Part>, E>,
    ) -> Result<Self, E> {
        let start = data.until.saturating_sub((config.held_out_days * DAY_MS) as i64);
        let mut questions = questions(data, start, config.most_questions);
        let most = if config.impressions { config.most_questions } else { 0 };
        let mut lists = Lists::new(data, start, most);
        let past = data.before(start);
        if questions.len() + lists.shown.len() < FEWEST || past.sequences.is_empty() {
            return Ok(Self::default());
        }
        let parts = fit(&past)?;
        let acts = parts.iter().any(|part| part.reads_acts());
        if acts {
            let shoppers = data.journeys.iter().filter_map(|own| Some((own.user?.0, own)));
            lists.journeys = shoppers.collect();
            for question in &mut questions {
                question.journey = lists.journeys.get(&question.sequence.user.0).copied();
            }
        }
        fold.draw(&mut questions, start, &data.looked);
        let (items, retrieve) = (Items::fit(data, config), config.retrieve);
        let (looked, features) = (&*data.looked, !fold.columns.is_empty());
        let asking = Asking { parts: &parts, items, retrieve, acts, looked, features };
        let answered = questions.par_iter().filter_map(|question| question.answered(&asking));
        let clicked = lists.shown.par_iter().filter_map(|shown| lists.answered(shown, data, &asking));
        let mut answered: Vec<Answered> = answered.collect();
        let orders = answered.len();
        answered.par_extend(clicked);
        let said = fold.rows(&answered)?;
        let mut own = Self { orders, groups: Vec::with_capacity(answered.len()), ..Self::default() };
        let mut rows = Vec::new();
        for answered in answered {
            own.groups.push(answered.labels.len() as u32);
            own.users.push(answered.user);
            own.times.push(answered.time);
            rows.extend(answered.rows);
            own.labels.extend(answered.labels);
            own.weights.extend(answered.weights);
        }
        if lists.shown.is_empty() {
            own.weights.clear();
        }
        own.columns = columns(&rows, width(parts.len()));
        drop(rows);
        own.columns.extend(columns(&said, fold.columns.len()));
        Ok(own)
    }

    /// Whether there is enough to learn from.
    pub(super) fn teach(&self) -> bool {
        self.groups.len() >= FEWEST
    }

    /// Whether lists are among what asks.
    pub(super) fn have_lists(&self) -> bool {
        self.groups.len() > self.orders
    }

    /// Leaves the lists out where they do not help to sort what is bought. `sorted` gives the margins of the second lessons by
    /// trees that learned from the first. The latest orders judge, by NDCG@10, trees that learned from earlier orders alone
    /// and with the lists of that time; where too few orders judge, lists teach.
    pub(super) fn choose<E>(
        self,
        mut sorted: impl FnMut(&Self, &Self) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let judges = self.orders / JUDGE;
        if !self.have_lists() || judges < FEWEST {
            return Ok(self);
        }
        let from = self.orders - judges;
        let before = |group: &usize| self.times[*group] < self.times[from];
        let judged = self.part(from..self.orders);
        let mut found = |groups: &mut dyn Iterator<Item = usize>| -> Result<f64, E> {
            let taught = self.part(groups);
            if taught.groups.len() < FEWEST {
                return Ok(f64::NEG_INFINITY);
            }
            Ok(judged.ndcg(&sorted(&taught, &judged)?))
        };
        let alone = found(&mut (0..from))?;
        let with = found(&mut (0..from).chain((self.orders..self.groups.len()).filter(before)))?;
        Ok(if with >= alone { self } else { self.part(0..self.orders) })
    }

    /// Some of what asks, orders first.
    fn part(&self, groups: impl IntoIterator<Item = usize>) -> Self {
        let starts: Vec<usize> = self
            .groups
            .iter()
            .scan(0, |end, count| {
                let start = *end;
                *end += *count as usize;
                Some(start)
            })
            .collect();
        let mut own = Self { columns: vec![Vec::new(); self.columns.len()], ..Self::default() };
        for group in groups {
            let rows = starts[group]..starts[group] + self.groups[group] as usize;
            for (to, from) in own.columns.iter_mut().zip(&self.columns) {
                to.extend_from_slice(&from[rows.clone()]);
            }
            own.labels.extend_from_slice(&self.labels[rows.clone()]);
            own.weights.extend_from_slice(self.weights.get(rows).unwrap_or_default());
            own.groups.push(self.groups[group]);
            own.users.push(self.users[group]);
            own.times.push(self.times[group]);
            own.orders += usize::from(group < self.orders);
        }
        if !own.have_lists() {
            own.weights.clear();
        }
        own
    }

    /// The mean NDCG@10 of everything that asks, sorted by these margins; of equal ones the earlier row stands first.
    fn ndcg(&self, margins: &[f32]) -> f64 {
        let gain = |place: usize| 1.0 / (place as f64 + 2.0).log2();
        let (mut sum, mut start) = (0.0, 0);
        for count in &self.groups {
            let range = start..start + *count as usize;
            start = range.end;
            let mut order: Vec<usize> = range.clone().collect();
            order.sort_by(|a, b| margins[*b].total_cmp(&margins[*a]));
            let wanted = self.labels[range].iter().filter(|label| **label > 0.0).count();
            let ideal: f64 = (0..wanted.min(JUDGED)).map(gain).sum();
            let listed = order.iter().take(JUDGED).enumerate();
            let reached: f64 =
                listed.filter(|(_, row)| self.labels[**row] > 0.0).map(|(place, _)| gain(place)).sum();
            sum += reached / ideal.max(f64::MIN_POSITIVE);
        }
        sum / self.groups.len().max(1) as f64
    }

    pub(super) fn target(&self) -> Target<'_> {
        Target { labels: &self.labels, weights: &self.weights, groups: &self.groups }
    }
}

/// The latest orders from `start` on that have a history.
pub(super) fn questions(data: &Interactions, start: i64, most: usize) -> Vec<Question<'_>> {
    let mut questions = Vec::new();
    for sequence in &data.sequences {
        let department = data.department(sequence.user);
        let orders = sequence.baskets().filter(|order| order.start > 0);
        let all = orders.map(|order| {
            let asked = sequence.times[order.start];
            Question { sequence, department, order, journey: None, asked }
        });
        questions.extend(all.filter(|question| question.time() >= start));
    }
    questions.sort_by_key(|question| (question.time(), question.sequence.user.0));
    questions.drain(..questions.len().saturating_sub(most));
    questions
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use qhatu_schema::ItemId;

    use super::*;
    use crate::interactions::{Purchase, Vocabulary};
    use crate::popularity::{self, Popularity};

    #[test]
    fn orders_that_began_together_do_not_know_each_other() {
        const DAY: i64 = 86_400_000;
        let line =
            |time: i64, order, item| Purchase { time: time * DAY, user: 0, order, item: ItemIdx(item) };
        let lines = [line(1, 0, 1), line(5, 1, 2), line(5, 2, 3)];
        let names = ["a", "b", "c", "d"].map(|name| ItemId::new(name).expect("not empty"));
        let data = Interactions::from_purchases(Arc::new(Vocabulary::new(names)), &lines, 9 * DAY);
        let parts: Vec<Part> = vec![Box::new(Popularity::fit(&data, &popularity::Config {}))];
        let items = Items::fit(&data, &Config::default());
        let looked = &*data.looked;
        let asking = Asking { parts: &parts, items, retrieve: 4, acts: false, looked, features: false };
        let asked = questions(&data, 0, 9);
        assert_eq!(asked.len(), 2);
        for question in &asked {
            let answered = question.answered(&asking).expect("one of three candidates");
            assert_eq!(answered.items, [1, 2, 3].map(ItemIdx));
            // Behind the columns of the part: how often each was bought.
            let own: Vec<f32> = answered.rows.chunks(width(1)).map(|row| row[3]).collect();
            assert_eq!(own, [1.0, 0.0, 0.0]);
        }
    }
}
