//! Trees arranged to answer quickly: eight walks at once, none of them with a branch that depends on the data.
//!
//! A walk is a chain of loads and of jumps that no processor can foresee. Here a step is arithmetic (the next node is
//! the left child, plus one where the row goes right), a leaf leads to itself, and eight walks take their steps in
//! turn, so that one waits while the others go on: trees of like depth for one row, rows of one tree for many.

use super::ensemble::TreeEnsemble;

/// Walks that take their steps in turn.
const LANES: usize = 8;

const CATEGORY: u32 = 1 << 31;
const MISSING_LEFT: u32 = 1 << 30;
const FEATURE: u32 = MISSING_LEFT - 1;

/// A node; a leaf's `left` is itself, and every row goes left there.
#[derive(Debug, Clone, Copy)]
struct Step {
    threshold: f32,
    /// With [`CATEGORY`] and [`MISSING_LEFT`].
    feature: u32,
    left: u32,
}

/// Trees of like depth.
#[derive(Debug, Clone)]
struct Group {
    roots: [u32; LANES],
    /// Which trees they are; those beyond the last are one leaf.
    trees: [usize; LANES],
    depth: usize,
}

/// A sum of trees, arranged.
#[derive(Debug, Clone)]
pub struct Walker<'a> {
    trees: &'a TreeEnsemble,
    steps: Vec<Step>,
    groups: Vec<Group>,
    depths: Vec<usize>,
    /// Whether no cut asks for a category.
    is_plain: bool,
}

impl<'a> Walker<'a> {
    /// Arranges trees.
    pub fn new(trees: &'a TreeEnsemble) -> Self {
        let step = |(place, node): (usize, &super::ensemble::Node)| {
            let category = if node.set == 0 { 0 } else { CATEGORY };
            let missing = if node.missing_left { MISSING_LEFT } else { 0 };
            match node.left {
                0 => Step { threshold: f32::INFINITY, feature: MISSING_LEFT, left: place as u32 },
                left => Step { threshold: node.threshold, feature: node.feature | category | missing, left },
            }
        };
        let steps: Vec<Step> = trees.nodes.iter().enumerate().map(step).collect();
        let depths: Vec<usize> = trees.roots.iter().map(|root| depth(trees, *root as usize)).collect();
        let mut order: Vec<usize> = (0..trees.trees()).collect();
        order.sort_by_key(|tree| depths[*tree]);
        let group = |some: &[usize]| {
            let last = some[some.len() - 1];
            let own: [usize; LANES] = std::array::from_fn(|lane| some.get(lane).copied().unwrap_or(last));
            Group { roots: own.map(|tree| trees.roots[tree]), trees: own, depth: depths[last] }
        };
        let groups = order.chunks(LANES).map(group).collect();
        let is_plain = steps.iter().all(|step| step.feature & CATEGORY == 0);
        Self { trees, steps, groups, depths, is_plain }
    }

    /// Whether these values ask for nothing but comparisons.
    fn compares_alone(&self, values: &[f32]) -> bool {
        self.is_plain && !values.iter().any(|value| value.is_nan())
    }

    /// As [`TreeEnsemble::margin`], to the bit.
    pub fn margin(&self, row: &[f32]) -> f32 {
        let row = self.whole(row);
        let mut answers = vec![0.0; self.depths.len()];
        match self.compares_alone(&row) {
            true => self.answer::<true>(&row, &mut answers),
            false => self.answer::<false>(&row, &mut answers),
        }
        answers.into_iter().fold(self.trees.base, |sum, answer| sum + answer)
    }

    fn answer<const PLAIN: bool>(&self, row: &[f32], answers: &mut [f32]) {
        for group in &self.groups {
            let mut at = group.roots;
            for _ in 0..group.depth {
                // In a loop: closures that are mapped over arrays are not always put in place.
                for place in &mut at {
                    *place = self.next::<PLAIN>(*place, row);
                }
            }
            for (place, tree) in at.into_iter().zip(group.trees) {
                answers[tree] = self.trees.nodes[place as usize].threshold;
            }
        }
    }

    /// Adds each tree's answers for rows (side by side, each of the trees' width, missing values as NaN) to `sums`.
    pub(super) fn add(&self, rows: &[f32], sums: &mut [f32]) {
        match self.compares_alone(rows) {
            true => self.add_all::<true>(rows, sums),
            false => self.add_all::<false>(rows, sums),
        }
    }

    fn add_all<const PLAIN: bool>(&self, rows: &[f32], sums: &mut [f32]) {
        let width = self.trees.width.max(1);
        for (&root, &depth) in self.trees.roots.iter().zip(&self.depths) {
            for (sums, rows) in sums.chunks_mut(LANES).zip(rows.chunks(LANES * width)) {
                let last = sums.len() - 1;
                let own: [&[f32]; LANES] =
                    std::array::from_fn(|lane| &rows[lane.min(last) * width..][..self.trees.width]);
                let mut at = [root; LANES];
                for _ in 0..depth {
                    for (place, row) in at.iter_mut().zip(own) {
                        *place = self.next::<PLAIN>(*place, row);
                    }
                }
                for (sum, place) in sums.iter_mut().zip(at) {
                    *sum += self.trees.nodes[place as usize].threshold;
                }
            }
        }
    }

    /// The row with NaN for all that is missing.
    fn whole(&self, row: &[f32]) -> Vec<f32> {
        let value = |place: usize| row.get(place).copied().filter(|v| v.is_finite()).unwrap_or(f32::NAN);
        (0..self.trees.width.max(1)).map(value).collect()
    }

    /// The next node on the way; with `PLAIN` no cut asks for a category and no value is missing.
    #[inline(always)]
    fn next<const PLAIN: bool>(&self, place: u32, row: &[f32]) -> u32 {
        let step = &self.steps[place as usize];
        if PLAIN {
            return step.left + u32::from(row[(step.feature & FEATURE) as usize] >= step.threshold);
        }
        if step.feature & CATEGORY != 0 {
            let node = &self.trees.nodes[place as usize];
            return step.left + u32::from(!self.trees.goes_left(node, row));
        }
        let value = row[(step.feature & FEATURE) as usize];
        // Of a missing value both comparisons are false.
        let (at_least, below) = (value >= step.threshold, value < step.threshold);
        let right = if step.feature & MISSING_LEFT != 0 { at_least } else { !below };
        step.left + u32::from(right)
    }
}

/// The longest way from a node to a leaf.
fn depth(trees: &TreeEnsemble, root: usize) -> usize {
    let mut open = vec![(root, 0)];
    let mut most = 0;
    while let Some((at, depth)) = open.pop() {
        most = most.max(depth);
        let left = trees.nodes[at].left as usize;
        if left != 0 {
            open.extend([(left, depth + 1), (left + 1, depth + 1)]);
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::super::binning::Columns;
    use super::super::boosting::{Lesson, fit_boosting};
    use super::super::config::{BoostingConfig, Growth};
    use super::super::objective::{Objective, Target};
    use super::*;

    #[test]
    fn eight_at_once_answer_as_one_by_one() {
        let random = qhatu_nn::Stream::new(11);
        let value = |feature: u64, row: u64| match random.child(feature).below(row, 30) {
            0 => f64::NAN,
            1 => f64::INFINITY,
            value => value as f64,
        };
        let columns: Vec<Vec<f64>> =
            (0..5).map(|feature| (0..507).map(|row| value(feature, row)).collect()).collect();
        let labels: Vec<f32> = (0..507).map(|row| random.child(9).below(row, 2) as f32).collect();
        for categorical in [[false; 5], [false, true, false, false, true]] {
            for rounds in [0, 1, 7, 8, 29] {
                let lesson = Lesson {
                    columns: Columns { values: &columns, categorical: &categorical },
                    target: Target::new(&labels),
                    objective: Objective::Logistic,
                    validation: None,
                };
                let growth = Growth { leaves: 17, min_rows_in_leaf: 2, ..Growth::default() };
                let config = BoostingConfig { rounds, growth, ..BoostingConfig::default() };
                let trees = fit_boosting(&lesson, &config, 1).unwrap().trees;
                let walker = Walker::new(&trees);
                let margins = trees.margins(lesson.columns).unwrap();
                for (row, margin) in margins.iter().enumerate() {
                    let row = lesson.columns.row(row);
                    assert_eq!(walker.margin(&row).to_bits(), trees.margin(&row).to_bits());
                    assert_eq!(margin.to_bits(), trees.margin(&row).to_bits());
                }
                assert_eq!(walker.margin(&[3.0]), trees.margin(&[3.0]), "what is not there is missing");
            }
        }
    }
}
