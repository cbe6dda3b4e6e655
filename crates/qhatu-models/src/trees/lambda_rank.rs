//! LambdaRank: gradients that sort a group's rows by NDCG (Burges, "From RankNet to LambdaRank to LambdaMART", 2010).
//!
//! Of each two rows of a group with unequal labels the one of the higher label is pushed up, the harder the more NDCG
//! changes when the two swap places. As in LightGBM only pairs count of which one stands in the first thirty places,
//! a pair counts less the further apart its margins are, and a group's sum is tamed by a logarithm, so that a group of
//! many pairs does not outweigh the others. A pair counts what its better row weighs: so clicks can be weighed by how
//! seldom their place is looked at ([`crate::position_bias`]), and a group by giving all of its rows the same.

use rayon::prelude::*;

use super::objective::{Pair, Target};

/// Places that count.
const PLACES: usize = 30;
/// Places of the NDCG that stops early.
const JUDGED: usize = 10;

fn gain(label: f32) -> f64 {
    f64::from(label).exp2() - 1.0
}

fn discount(place: usize) -> f64 {
    1.0 / (place as f64 + 2.0).log2()
}

/// The groups' slices of the rows, in order.
fn cut<'a, T>(mut rows: &'a mut [T], groups: &[u32]) -> Vec<&'a mut [T]> {
    let mut parts = Vec::with_capacity(groups.len());
    for size in groups {
        let (part, rest) = rows.split_at_mut(*size as usize);
        parts.push(part);
        rows = rest;
    }
    parts
}

/// The first row of each group.
fn starts(groups: &[u32]) -> Vec<usize> {
    let starts = groups.iter().scan(0, |start, size| Some(std::mem::replace(start, *start + *size as usize)));
    starts.collect()
}

/// Gradients and hessians at these margins.
pub(super) fn pairs(target: &Target, margins: &[f32], pairs: &mut [Pair]) {
    let parts = cut(pairs, target.groups);
    parts.into_par_iter().zip(starts(target.groups)).for_each(|(pairs, start)| {
        let rows = start..start + pairs.len();
        let weight = |row: usize| f64::from(target.weight(start + row));
        of_group(&target.labels[rows.clone()], &margins[rows], weight, pairs);
    });
}

fn of_group(labels: &[f32], margins: &[f32], weight: impl Fn(usize) -> f64, pairs: &mut [Pair]) {
    let mut sums = vec![(0.0_f64, 0.0_f64); labels.len()];
    let order = ranked(margins);
    let best = ideal(labels, PLACES);
    if best > 0.0 {
        let apart = margins[order[0]] != margins[order[order.len() - 1]];
        let mut all = 0.0;
        for (high_place, &a) in order.iter().enumerate().take(PLACES) {
            for (low_place, &b) in order.iter().enumerate().skip(high_place + 1) {
                if labels[a] == labels[b] {
                    continue;
                }
                let (up, down) = if labels[a] > labels[b] { (a, b) } else { (b, a) };
                let ahead = f64::from(margins[up]) - f64::from(margins[down]);
                let mut change = (gain(labels[up]) - gain(labels[down]))
                    * (discount(high_place) - discount(low_place)).abs()
                    / best;
                if apart {
                    change /= 0.01 + ahead.abs();
                }
                let doubt = 1.0 / (1.0 + ahead.exp());
                let (push, curve) = (change * doubt, change * doubt * (1.0 - doubt));
                all += 2.0 * push;
                let (push, curve) = (weight(up) * push, weight(up) * curve);
                sums[up] = (sums[up].0 - push, sums[up].1 + curve);
                sums[down] = (sums[down].0 + push, sums[down].1 + curve);
            }
        }
        if all > 0.0 {
            let tamed = (1.0 + all).log2() / all;
            sums.iter_mut().for_each(|sum| *sum = (sum.0 * tamed, sum.1 * tamed));
        }
    }
    for (pair, (gradient, hessian)) in pairs.iter_mut().zip(sums) {
        *pair = Pair { gradient: gradient as f32, hessian: hessian as f32 };
    }
}

/// Rows by margin, highest first; of equal ones the first.
fn ranked(margins: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..margins.len()).collect();
    order.sort_by(|a, b| margins[*b].total_cmp(&margins[*a]));
    order
}

/// The DCG of the best order.
fn ideal(labels: &[f32], places: usize) -> f64 {
    let mut sorted = labels.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    sorted.iter().take(places).enumerate().map(|(place, label)| gain(*label) * discount(place)).sum()
}

/// Mean NDCG at ten over groups; one without a label above 0 counts 1, as in LightGBM.
pub(super) fn ndcg(target: &Target, margins: &[f32]) -> f64 {
    let of = |(start, size): (usize, &u32)| {
        let rows = start..start + *size as usize;
        let (labels, margins) = (&target.labels[rows.clone()], &margins[rows]);
        let best = ideal(labels, JUDGED);
        let order = ranked(margins);
        let found: f64 = order
            .iter()
            .take(JUDGED)
            .enumerate()
            .map(|(place, row)| gain(labels[*row]) * discount(place))
            .sum();
        if best > 0.0 { found / best } else { 1.0 }
    };
    let sum: f64 = starts(target.groups).into_iter().zip(target.groups).map(of).sum();
    sum / target.groups.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::binning::Columns;
    use super::super::boosting::{Lesson, fit_boosting};
    use super::super::config::{BoostingConfig, Growth};
    use super::super::objective::Objective;
    use super::*;

    #[test]
    fn the_higher_label_is_pushed_up_and_pushes_cancel_out() {
        let target = Target { labels: &[0.0, 2.0, 1.0, 1.0, 0.0], weights: &[], groups: &[3, 2] };
        let mut found = [Pair::default(); 5];
        pairs(&target, &[0.5, 0.1, 0.3, 0.0, 0.0], &mut found);
        assert!(found[1].gradient < 0.0 && found[0].gradient > 0.0);
        for group in [&found[..3], &found[3..]] {
            assert!(group.iter().map(|pair| pair.gradient).sum::<f32>().abs() < 1e-6);
            assert!(group.iter().all(|pair| pair.hessian > 0.0));
        }
        let mut weighed = [Pair::default(); 5];
        let weights = &[9.0, 2.0, 1.0, 3.0, 9.0];
        pairs(&Target { weights, ..target }, &[0.5, 0.1, 0.3, 0.0, 0.0], &mut weighed);
        // The second row is the better one of its pairs, the fourth that of the other group.
        assert!((weighed[1].gradient - 2.0 * found[1].gradient).abs() < 1e-6);
        assert!((weighed[4].gradient - 3.0 * found[4].gradient).abs() < 1e-6);
        assert!(weighed[..3].iter().map(|pair| pair.gradient).sum::<f32>().abs() < 1e-6);
        let alike = Target { labels: &[1.0, 1.0], weights: &[], groups: &[2] };
        pairs(&alike, &[0.0, 1.0], &mut found[..2]);
        assert_eq!(found[..2], [Pair::default(); 2], "nothing to sort");
    }

    #[test]
    fn ndcg_is_that_worked_by_hand() {
        let target = Target { labels: &[0.0, 2.0, 1.0, 0.0], weights: &[], groups: &[3, 1] };
        // The second group has nothing to find and counts 1.
        let expected = (1.0 / 3.0_f64.log2() * 3.0 + 0.5) / (3.0 + 1.0 / 3.0_f64.log2());
        assert!((ndcg(&target, &[3.0, 2.0, 1.0, 0.0]) - (expected + 1.0) / 2.0).abs() < 1e-12);
        assert_eq!(ndcg(&target, &[1.0, 3.0, 2.0, 0.0]), 1.0);
    }

    /// Grades depend on a row's place within its group only, behind a level of the group that misleads whoever looks
    /// at rows one by one.
    fn graded() -> (Vec<Vec<f64>>, Vec<f32>, Vec<u32>) {
        let random = qhatu_nn::Stream::new(4);
        let unit = |of: u64, at: u64| (random.child(of).at(at) >> 11) as f64 / (1_u64 << 53) as f64;
        let (mut columns, mut labels, mut groups) = (vec![Vec::new(); 3], Vec::new(), Vec::new());
        for group in 0..200_u64 {
            let size = 5 + random.below(group, 16) as u64;
            let level = 6.0 * unit(0, group);
            for row in group * 100..group * 100 + size {
                let quality = unit(1, row);
                columns[0].push(quality + level);
                columns[1].push(level + 0.3 * unit(2, row));
                columns[2].push(unit(3, row));
                let grade = (4.0 * quality + unit(4, row) - 0.5).floor().clamp(0.0, 4.0);
                // Groups grade at levels of their own: what is a 1 in one is a 3 in another.
                labels.push((grade + (level - 3.0).max(0.0)).floor().min(6.0) as f32);
            }
            groups.push(size as u32);
        }
        (columns, labels, groups)
    }

    #[test]
    fn groups_are_sorted_better_than_row_by_row() {
        let (columns, labels, groups) = graded();
        let target = Target { labels: &labels, weights: &[], groups: &groups };
        let fit = |objective| {
            let lesson = Lesson { columns: Columns::numbers(&columns), target, objective, validation: None };
            let growth = Growth { leaves: 8, ..Growth::default() };
            let config =
                BoostingConfig { rounds: 60, learning_rate: 0.1, growth, ..BoostingConfig::default() };
            let trees = fit_boosting(&lesson, &config, 1).unwrap().trees;
            ndcg(&target, &trees.margins(lesson.columns).unwrap())
        };
        let (ranked, pointwise) = (fit(Objective::LambdaRank), fit(Objective::Squared));
        assert!(ranked > pointwise + 0.01, "{ranked} {pointwise}");
        assert!(ranked > 0.9, "{ranked}");
    }

    #[test]
    fn groups_must_hold_all_rows() {
        let columns = [vec![1.0, 2.0, 3.0]];
        let target = Target { labels: &[0.0, 1.0, 2.0], weights: &[], groups: &[2] };
        let objective = Objective::LambdaRank;
        let lesson = Lesson { columns: Columns::numbers(&columns), target, objective, validation: None };
        let fault = fit_boosting(&lesson, &BoostingConfig::default(), 1).unwrap_err().to_string();
        assert!(fault.contains("groups hold 2 rows of 3"), "{fault}");
    }
}
