//! What is asked of a model, and how well it answers, over all cases and over parts of them.

use qhatu_models::{History, Recommender};
use qhatu_schema::ItemIdx;
use rayon::prelude::*;

use crate::reading::{Known, Sequence};

const K: usize = 10;
const DAY: i64 = 86_400_000;
/// Users with at most so many events to learn from are short of them.
const FEW: usize = 3;

/// NDCG and hit.
pub(crate) type Figures = [f64; 2];

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Asked {
    /// The item before the last.
    Validation,
    /// The last item.
    Test,
}

/// A case per user.
pub(crate) struct Cases<'a> {
    sequences: Vec<&'a Sequence>,
    /// How often each item stands among those that are learned from.
    counts: Vec<u32>,
}

impl<'a> Cases<'a> {
    pub(crate) fn new(known: &'a Known) -> Self {
        let mut counts = vec![0; known.items + 1];
        let sequences: Vec<&Sequence> = known.sequences.iter().filter(|own| own.items.len() > 2).collect();
        for own in &sequences {
            own.items[..own.items.len() - 2].iter().for_each(|item| counts[item.row()] += 1);
        }
        Self { sequences, counts }
    }

    /// How well the item of each case is found by a model.
    pub(crate) fn judged(&self, model: &dyn Recommender) -> Vec<Figures> {
        self.mixed(Asked::Test, [model, model], &[0.0]).concat()
    }

    /// The same by two models' probabilities, for each weight of the second.
    pub(crate) fn mixed(
        &self,
        asked: Asked,
        models: [&dyn Recommender; 2],
        weights: &[f32],
    ) -> Vec<Vec<Figures>> {
        let alone = weights.iter().all(|weight| *weight == 0.0);
        let room = || [vec![0.0; self.counts.len()], vec![0.0; self.counts.len()]];
        let each = self.sequences.par_iter().map_init(room, |scores, own| {
            let place = own.items.len() - if asked == Asked::Test { 1 } else { 2 };
            let (known, times) = (&own.items[..place], &own.times[..place]);
            // Nobody is told when the item came.
            let history = History::bought(known, times, times.last().map_or(0, |last| last + 1));
            for (model, scores) in models.iter().zip(scores.iter_mut()).take(if alone { 1 } else { 2 }) {
                model.score(&history, scores);
                probabilities(scores);
            }
            let figures = |weight: &f32| found(scores, *weight, (known, own.items[place]));
            weights.iter().map(figures).collect::<Vec<_>>()
        });
        let each: Vec<Vec<Figures>> = each.collect();
        (0..weights.len()).map(|place| each.iter().map(|own| own[place]).collect()).collect()
    }

    /// The mean over some cases, and how many there are.
    pub(crate) fn mean(&self, found: &[Figures], is_in: impl Fn(usize) -> bool) -> (Figures, usize) {
        let chosen: Vec<&Figures> =
            (0..found.len()).filter(|case| is_in(*case)).map(|case| &found[case]).collect();
        let of = |place: usize| chosen.iter().map(|own| own[place]).sum::<f64>() / chosen.len().max(1) as f64;
        ([of(0), of(1)], chosen.len())
    }

    /// Names of parts of the cases, and which cases are in each.
    pub(crate) fn slices(&self) -> Vec<(&'static str, Vec<bool>)> {
        let learned = |own: &Sequence| own.items.last().map_or(0, |item: &ItemIdx| self.counts[item.row()]);
        let mut counts: Vec<u32> = self.sequences.iter().map(|own| learned(own)).collect();
        counts.sort_unstable();
        let median = counts.get(counts.len() / 2).copied().unwrap_or(0);
        let same_day = |own: &Sequence| own.times[own.times.len() - 1] - own.times[own.times.len() - 2] < DAY;
        let of = |is_in: &dyn Fn(&Sequence) -> bool| self.sequences.iter().map(|own| is_in(own)).collect();
        vec![
            ("same_day", of(&|own| same_day(own))),
            ("later_day", of(&|own| !same_day(own))),
            ("unseen", of(&|own| learned(own) == 0)),
            ("cold", of(&|own| learned(own) < median)),
            ("warm", of(&|own| learned(own) >= median)),
            ("few_events", of(&|own| own.items.len() - 2 <= FEW)),
            ("more_events", of(&|own| own.items.len() - 2 > FEW)),
        ]
    }
}

/// NDCG and hit of an item among all that are not known: ties go to the lower number.
fn found([first, second]: &[Vec<f32>; 2], weight: f32, (known, item): (&[ItemIdx], ItemIdx)) -> Figures {
    let mixed = |place: usize| (1.0 - weight) * first[place] + weight * second[place];
    let own = mixed(item.row());
    let is_before = |place: usize| {
        let other = mixed(place);
        other > own || (other == own && place < item.row())
    };
    let mut known: Vec<usize> = known.iter().map(|item| item.row()).collect();
    known.sort_unstable();
    known.dedup();
    if known.contains(&item.row()) {
        return [0.0; 2];
    }
    let before = (1..first.len()).filter(|place| is_before(*place)).count()
        - known.iter().filter(|place| is_before(**place)).count();
    if before < K { [1.0 / (before as f64 + 2.0).log2(), 1.0] } else { [0.0; 2] }
}

/// Scores that are logarithms of probabilities become these; others, which are not below 0, are divided by their sum.
fn probabilities(scores: &mut [f32]) {
    scores[0] = 0.0;
    if scores.iter().any(|score| *score < 0.0) {
        scores[1..].iter_mut().for_each(|score| *score = score.exp());
    }
    let sum: f32 = scores.iter().sum();
    if sum > 0.0 {
        scores.iter_mut().for_each(|score| *score /= sum);
    }
}
