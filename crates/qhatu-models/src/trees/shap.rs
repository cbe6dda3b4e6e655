//! What each feature adds to a row's margin: Shapley values of the trees (Lundberg, Erion and Lee, "Consistent
//! individualized feature attribution for tree ensembles", 2018, algorithm 2).
//!
//! A feature that is not known leaves a cut open: the answer is then the mean of both sides, weighted by the rows that
//! went there in training. A feature's value is what it changes on average over all orders in which features become
//! known. O(leaves · depth²) a tree instead of 2ᶠᵉᵃᵗᵘʳᵉˢ.

use super::ensemble::TreeEnsemble;

/// A feature on the way to a leaf: which share of the unknown rows goes this way, whether this row does, and the
/// weight of all sets of known features of one size, the place's.
#[derive(Debug, Clone, Copy)]
struct Step {
    feature: Option<usize>,
    zero: f64,
    one: f64,
    weight: f64,
}

/// The attribution of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Contributions {
    /// The mean margin over the training rows.
    pub expected: f64,
    /// What each feature adds to it; together they give the row's margin.
    pub features: Vec<f64>,
}

impl TreeEnsemble {
    /// What each feature of a row adds to its margin.
    pub fn contributions(&self, row: &[f32]) -> Contributions {
        let mut features = vec![0.0; self.width];
        let mut expected = f64::from(self.base);
        for &root in &self.roots {
            expected += self.expected(root as usize);
            let start = Step { feature: None, zero: 1.0, one: 1.0, weight: 0.0 };
            self.follow(root as usize, row, Vec::new(), start, &mut features);
        }
        Contributions { expected, features }
    }

    /// The mean answer below a node.
    fn expected(&self, at: usize) -> f64 {
        let node = &self.nodes[at];
        if node.left == 0 {
            return f64::from(node.threshold);
        }
        let left = node.left as usize;
        let share = self.share_left(left);
        share * self.expected(left) + (1.0 - share) * self.expected(left + 1)
    }

    /// The share of rows that went to the left of two siblings.
    fn share_left(&self, left: usize) -> f64 {
        let (a, b) = (f64::from(self.nodes[left].cover), f64::from(self.nodes[left + 1].cover));
        if a + b > 0.0 { a / (a + b) } else { 0.5 }
    }

    fn follow(&self, at: usize, row: &[f32], mut path: Vec<Step>, step: Step, features: &mut [f64]) {
        extend(&mut path, step);
        let node = &self.nodes[at];
        if node.left == 0 {
            for place in 1..path.len() {
                let Step { feature, zero, one, .. } = path[place];
                if let Some(feature) = feature {
                    let weight = unwound(&path, place);
                    features[feature] += weight * (one - zero) * f64::from(node.threshold);
                }
            }
            return;
        }
        let feature = node.feature as usize;
        let (mut zero, mut one) = (1.0, 1.0);
        if let Some(place) = path.iter().position(|step| step.feature == Some(feature)) {
            (zero, one) = (path[place].zero, path[place].one);
            unwind(&mut path, place);
        }
        let left = node.left as usize;
        let goes_left = self.goes_left(node, row);
        let share = self.share_left(left);
        for (child, share, taken) in [(left, share, goes_left), (left + 1, 1.0 - share, !goes_left)] {
            let one = if taken { one } else { 0.0 };
            let step = Step { feature: Some(feature), zero: zero * share, one, weight: 0.0 };
            // Where no known and no unknown row goes, no set of features leads.
            if step.zero > 0.0 || one > 0.0 {
                self.follow(child, row, path.clone(), step, features);
            }
        }
    }
}

fn extend(path: &mut Vec<Step>, step: Step) {
    let length = path.len();
    path.push(Step { weight: if length == 0 { 1.0 } else { 0.0 }, ..step });
    let size = (length + 1) as f64;
    for place in (0..length).rev() {
        path[place + 1].weight += step.one * path[place].weight * (place + 1) as f64 / size;
        path[place].weight *= step.zero * (length - place) as f64 / size;
    }
}

/// Takes a step back out of the path.
fn unwind(path: &mut Vec<Step>, out: usize) {
    let last = path.len() - 1;
    let size = (last + 1) as f64;
    let Step { zero, one, .. } = path[out];
    let mut next = path[last].weight;
    for place in (0..last).rev() {
        if one != 0.0 {
            let kept = path[place].weight;
            path[place].weight = next * size / ((place + 1) as f64 * one);
            next = kept - path[place].weight * zero * (last - place) as f64 / size;
        } else {
            path[place].weight *= size / (zero * (last - place) as f64);
        }
    }
    for place in out..last {
        let Step { feature, zero, one, .. } = path[place + 1];
        path[place] = Step { feature, zero, one, weight: path[place].weight };
    }
    path.pop();
}

/// The weights' sum with a step taken out.
fn unwound(path: &[Step], out: usize) -> f64 {
    let mut path = path.to_vec();
    unwind(&mut path, out);
    path.iter().map(|step| step.weight).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::binning::Columns;
    use super::super::boosting::{Lesson, fit_boosting};
    use super::super::config::{BoostingConfig, Growth};
    use super::super::objective::{Objective, Target};
    use super::*;

    const WIDTH: usize = 4;

    fn fitted(seed: u64) -> (TreeEnsemble, Vec<Vec<f64>>) {
        let random = qhatu_nn::Stream::new(seed);
        let value = |feature: u64, row: u64| match random.child(feature).below(row, 9) {
            0 => f64::NAN,
            value => value as f64,
        };
        let columns: Vec<Vec<f64>> =
            (0..WIDTH as u64).map(|feature| (0..120).map(|row| value(feature, row)).collect()).collect();
        let noise = random.child(77);
        let label = |row: usize| {
            let sum: f64 = columns.iter().map(|column| column[row]).filter(|value| !value.is_nan()).sum();
            (sum + noise.below(row as u64, 6) as f64) as f32
        };
        let labels: Vec<f32> = (0..120).map(label).collect();
        let lesson = Lesson {
            columns: Columns { values: &columns, categorical: &[false, false, true, false] },
            target: Target::new(&labels),
            objective: Objective::Squared,
            validation: None,
        };
        let growth = Growth { leaves: 9, min_rows_in_leaf: 3, ..Growth::default() };
        let config = BoostingConfig { rounds: 4, learning_rate: 0.5, growth, ..BoostingConfig::default() };
        (fit_boosting(&lesson, &config, 1).unwrap().trees, columns)
    }

    /// The mean margin where only some features are known.
    fn known(trees: &TreeEnsemble, at: usize, row: &[f32], set: usize) -> f64 {
        let node = &trees.nodes[at];
        if node.left == 0 {
            return f64::from(node.threshold);
        }
        let left = node.left as usize;
        let below = |child: usize| known(trees, child, row, set);
        if set >> node.feature & 1 == 1 {
            return below(left + usize::from(!trees.goes_left(node, row)));
        }
        let (a, b) = (f64::from(trees.nodes[left].cover), f64::from(trees.nodes[left + 1].cover));
        (a * below(left) + b * below(left + 1)) / (a + b)
    }

    /// Shapley's formula over all sets.
    fn brute_force(trees: &TreeEnsemble, row: &[f32]) -> Vec<f64> {
        let value = |set: usize| {
            f64::from(trees.base)
                + trees.roots.iter().map(|root| known(trees, *root as usize, row, set)).sum::<f64>()
        };
        let factorial = |n: usize| (1..=n).product::<usize>() as f64;
        let of = |feature: usize| {
            let others = (0..1 << WIDTH).filter(|set| set >> feature & 1 == 0);
            let term = |set: usize| {
                let size = set.count_ones() as usize;
                let weight = factorial(size) * factorial(WIDTH - size - 1) / factorial(WIDTH);
                weight * (value(set | 1 << feature) - value(set))
            };
            others.map(term).sum()
        };
        (0..WIDTH).map(of).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn contributions_are_shapleys_and_add_up(seed in 0_u64..1000) {
            let (trees, columns) = fitted(seed);
            for place in [0, 17, 60, 119] {
                let row = Columns::numbers(&columns).row(place);
                let found = trees.contributions(&row);
                for (found, expected) in found.features.iter().zip(brute_force(&trees, &row)) {
                    prop_assert!((found - expected).abs() < 1e-5, "{} {}", found, expected);
                }
                let sum = found.expected + found.features.iter().sum::<f64>();
                prop_assert!((sum - f64::from(trees.margin(&row))).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn a_feature_that_no_cut_asks_adds_nothing() {
        let (trees, columns) = fitted(3);
        let mut wider = trees.clone();
        wider.width = WIDTH + 1;
        let mut row = Columns::numbers(&columns).row(5);
        row.push(3.0);
        assert_eq!(wider.contributions(&row).features[WIDTH], 0.0);
        let constant = TreeEnsemble::new(2.0, 2).contributions(&[1.0, 2.0]);
        assert_eq!(constant, Contributions { expected: 2.0, features: vec![0.0, 0.0] });
    }
}
