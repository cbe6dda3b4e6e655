//! Gradient boosted decision trees on histograms, for the logistic objective: the ranker inside
//! [`Blend`](super::Blend).
//!
//! Each round fits one regression tree to the gradient of the log-loss and adds it, shrunk, to the
//! sum (Friedman, 2001). Values are first cut into at most 255 quantile bins, so that a node's best
//! split is found on per-bin sums of gradient and hessian instead of on sorted rows, and the larger
//! of two siblings gets its sums by subtraction (Ke et al., "LightGBM", 2017). Trees grow leaf by
//! leaf, the most promising first. A missing value (NaN) has a bin of its own and every split learns
//! on which side it goes (Chen and Guestrin, "XGBoost", 2016). Rows and features are sampled anew
//! for each tree.
//!
//! Departures: sums are kept in `f64` and rows are counted exactly; threads work on different
//! features, so the result does not depend on their number.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How trees are grown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TreesConfig {
    /// Number of trees.
    pub rounds: usize,
    /// What each tree's answer is multiplied by.
    pub learning_rate: f32,
    /// Most leaves of one tree.
    pub leaves: usize,
    /// Fewest sampled rows in a leaf.
    pub min_rows_in_leaf: u32,
    /// Added to the hessian of a leaf: pulls small leaves towards 0.
    pub l2: f64,
    /// Share of the rows that one tree sees, in (0, 1].
    pub row_share: f64,
    /// Share of the features that one tree may use, in (0, 1].
    pub feature_share: f64,
    /// Most bins of one feature, 2 to 254, besides the one for missing values.
    pub bins: usize,
}

impl Default for TreesConfig {
    fn default() -> Self {
        Self {
            rounds: 150,
            learning_rate: 0.06,
            leaves: 31,
            min_rows_in_leaf: 500,
            l2: 5.0,
            row_share: 0.5,
            feature_share: 0.5,
            bins: 63,
        }
    }
}

/// Rows to learn from: `values` is row-major, `labels.len()` rows of `width` features.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The features, NaN where missing.
    pub values: &'a [f32],
    /// One label per row, `true` for what happened.
    pub labels: &'a [bool],
    /// Number of features.
    pub width: usize,
}

/// A node: an inner one sends `value <= threshold` to `left` and the rest to `left + 1`; a leaf has
/// `left == 0` and keeps its answer in `threshold`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Node {
    feature: u32,
    threshold: f32,
    left: u32,
    missing_left: bool,
}

/// A fitted sum of trees.
#[derive(Debug, Clone, PartialEq)]
pub struct Trees {
    base: f32,
    width: usize,
    nodes: Vec<Node>,
    roots: Vec<u32>,
}

impl Trees {
    /// Fits trees to rows. The same rows, configuration and seed give the same trees to the bit.
    /// Rows with one kind of label only, or none at all, give a constant.
    pub fn fit(rows: Rows, config: &TreesConfig, seed: u64) -> Self {
        let mut grower = Grower::new(rows, config, seed);
        let mut trees =
            Self { base: prior(rows.labels), width: rows.width, nodes: Vec::new(), roots: Vec::new() };
        if rows.width == 0 || rows.labels.iter().all(|&label| label == rows.labels[0]) {
            return trees;
        }
        let mut raw = vec![trees.base; rows.labels.len()];
        for _ in 0..config.rounds {
            let root = trees.nodes.len();
            grower.gradients(&raw);
            grower.grow(&mut trees.nodes);
            trees.roots.push(root as u32);
            raw.par_iter_mut()
                .zip(rows.values.par_chunks_exact(rows.width))
                .for_each(|(raw, row)| *raw += trees.answer(root, row));
        }
        trees
    }

    /// The log-odds of a row of features.
    pub fn log_odds(&self, row: &[f32]) -> f32 {
        self.base + self.roots.iter().map(|&root| self.answer(root as usize, row)).sum::<f32>()
    }

    /// Number of features in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Log-odds before any tree.
    pub(super) fn base(&self) -> f32 {
        self.base
    }

    /// Each tree's nodes in their order, children behind their parents.
    pub(super) fn each(&self) -> impl Iterator<Item = Vec<Asked>> + '_ {
        let ends = self.roots.iter().skip(1).copied().chain([self.nodes.len() as u32]);
        self.roots.iter().zip(ends).map(|(&root, end)| {
            let asked = |node: &Node| Asked {
                feature: (node.left != 0).then_some(node.feature as usize),
                value: node.threshold,
                left: (node.left as usize).saturating_sub(root as usize),
                missing_left: node.missing_left,
            };
            self.nodes[root as usize..end as usize].iter().map(asked).collect()
        })
    }

    /// The trees as arrays, to be kept.
    pub fn to_arrays(&self) -> TreeArrays {
        let bit = |node: &Node| node.feature | if node.missing_left { MISSING_LEFT } else { 0 };
        TreeArrays {
            base: self.base,
            width: self.width,
            roots: self.roots.clone(),
            features: self.nodes.iter().map(bit).collect(),
            thresholds: self.nodes.iter().map(|node| node.threshold).collect(),
            left: self.nodes.iter().map(|node| node.left).collect(),
        }
    }

    /// The trees of [`Trees::to_arrays`], or `None` if the arrays are no trees: every node but the roots must
    /// be the child of one node that stands before it in its own tree, and every feature within the width.
    pub fn from_arrays(arrays: &TreeArrays) -> Option<Self> {
        let TreeArrays { base, width, roots, features, thresholds, left } = arrays;
        let count = features.len();
        let sound = thresholds.len() == count
            && base.is_finite()
            && thresholds.iter().all(|threshold| threshold.is_finite())
            && left.len() == count
            && are_trees(roots, left)
            && features
                .iter()
                .zip(left)
                .all(|(f, &left)| left == 0 || ((f & !MISSING_LEFT) as usize) < *width);
        let node = |at: usize| Node {
            feature: features[at] & !MISSING_LEFT,
            threshold: thresholds[at],
            left: left[at],
            missing_left: features[at] & MISSING_LEFT != 0,
        };
        sound.then(|| Self {
            base: *base,
            width: *width,
            nodes: (0..count).map(node).collect(),
            roots: roots.clone(),
        })
    }

    fn answer(&self, root: usize, row: &[f32]) -> f32 {
        let mut node = &self.nodes[root];
        while node.left != 0 {
            let value = row[node.feature as usize];
            let left = if value.is_nan() { node.missing_left } else { value <= node.threshold };
            node = &self.nodes[node.left as usize + usize::from(!left)];
        }
        node.threshold
    }
}

/// Whether each root begins a tree that ends before the next one, and each other node has one parent, which
/// stands before it in its tree.
fn are_trees(roots: &[u32], left: &[u32]) -> bool {
    let count = left.len();
    let first = roots.first().map_or(count, |&root| root as usize);
    let ends = roots.iter().skip(1).map(|&root| root as usize).chain([count]);
    first == if roots.is_empty() { count } else { 0 }
        && roots.iter().zip(ends).all(|(&root, end)| {
            let root = root as usize;
            // Children come in pairs; of as many pairs as inner nodes none may come twice.
            let mut pairs: Vec<usize> = Vec::new();
            let behind = (root..end.min(count)).filter(|&at| left[at] != 0).all(|at| {
                pairs.push(left[at] as usize);
                left[at] as usize > at && left[at] as usize + 1 < end
            });
            pairs.sort_unstable();
            let apart = pairs.windows(2).all(|pair| pair[1] >= pair[0] + 2);
            root < end && end <= count && behind && apart && 2 * pairs.len() + 1 == end - root
        })
}

/// A node as [`Trees::each`] shows it.
pub(super) struct Asked {
    /// The feature asked; `None` for a leaf.
    pub(super) feature: Option<usize>,
    /// The border, up to which values go left; a leaf's answer.
    pub(super) value: f32,
    /// The left child's place within its tree; the right one stands behind it.
    pub(super) left: usize,
    /// Whether missing values go left.
    pub(super) missing_left: bool,
}

/// Fitted trees as plain arrays; see [`Trees::to_arrays`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TreeArrays {
    /// Log-odds before any tree.
    pub base: f32,
    /// Number of features in a row.
    pub width: usize,
    /// First node of each tree.
    pub roots: Vec<u32>,
    /// Per node: the feature asked, with [`MISSING_LEFT`].
    pub features: Vec<u32>,
    /// Per node: the threshold, or a leaf's answer.
    pub thresholds: Vec<f32>,
    /// Per node: the left child, the right one stands behind it; 0 for a leaf.
    pub left: Vec<u32>,
}

/// The bit of a stored feature that says that missing values go left.
pub const MISSING_LEFT: u32 = 1 << 31;

/// Log-odds of the labels, kept within ±10 for labels of one kind.
fn prior(labels: &[bool]) -> f32 {
    let yes = labels.iter().filter(|&&label| label).count() as f64;
    let no = labels.len() as f64 - yes;
    if labels.is_empty() { 0.0 } else { (yes / no).ln().clamp(-10.0, 10.0) as f32 }
}

/// Sums over the rows of one bin.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    gradient: f64,
    hessian: f64,
    rows: u32,
}

impl Cell {
    fn add(&mut self, other: Cell) {
        self.gradient += other.gradient;
        self.hessian += other.hessian;
        self.rows += other.rows;
    }

    fn less(self, other: Cell) -> Cell {
        Cell {
            gradient: self.gradient - other.gradient,
            hessian: self.hessian - other.hessian,
            rows: self.rows - other.rows,
        }
    }

    /// Twice what the loss falls by with the best constant for these rows.
    fn worth(self, l2: f64) -> f64 {
        self.gradient * self.gradient / (self.hessian + l2)
    }
}

/// The best way to cut a leaf in two: bins up to `bin` go left.
#[derive(Debug, Clone, Copy)]
struct Split {
    gain: f64,
    feature: usize,
    bin: usize,
    missing_left: bool,
}

/// A leaf that may still be cut: a range of the sampled rows and its sums per feature and bin.
struct Leaf {
    node: usize,
    rows: std::ops::Range<usize>,
    total: Cell,
    cells: Vec<Cell>,
    best: Option<Split>,
}

/// The binned rows and what changes from round to round.
struct Grower<'a> {
    config: &'a TreesConfig,
    labels: &'a [bool],
    borders: Vec<Vec<f32>>,
    /// Bin of each row, feature by feature; 0 = missing.
    bins: Vec<Vec<u8>>,
    pairs: Vec<[f32; 2]>,
    random: Xoshiro256PlusPlus,
    stride: usize,
    sampled: Vec<u32>,
    chosen: Vec<usize>,
}

impl<'a> Grower<'a> {
    fn new(rows: Rows<'a>, config: &'a TreesConfig, seed: u64) -> Self {
        let most = config.bins.clamp(2, 254);
        let column = |feature: usize| rows.values.iter().skip(feature).step_by(rows.width.max(1)).copied();
        let (borders, bins) = (0..rows.width)
            .into_par_iter()
            .map(|feature| {
                let borders = quantile_borders(column(feature), rows.labels.len(), most);
                let bins = column(feature).map(|value| bin(&borders, value)).collect();
                (borders, bins)
            })
            .unzip();
        Self {
            config,
            labels: rows.labels,
            borders,
            bins,
            pairs: vec![[0.0; 2]; rows.labels.len()],
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            stride: most + 1,
            sampled: Vec::new(),
            chosen: Vec::new(),
        }
    }

    /// Gradient and hessian of the log-loss at the log-odds so far.
    fn gradients(&mut self, raw: &[f32]) {
        self.pairs.par_iter_mut().zip(raw).zip(self.labels).for_each(|((pair, &raw), &label)| {
            let p = 1.0 / (1.0 + (-raw).exp());
            *pair = [p - f32::from(u8::from(label)), (p * (1.0 - p)).max(1e-7)];
        });
    }

    /// Adds one tree's nodes.
    fn grow(&mut self, nodes: &mut Vec<Node>) {
        self.sample();
        let mut leaves = vec![self.root(nodes)];
        while leaves.len() < self.config.leaves.max(1) {
            let gain = |leaf: &Leaf| leaf.best.map_or(0.0, |split| split.gain);
            let Some(at) = (0..leaves.len())
                .filter(|&at| gain(&leaves[at]) > 0.0)
                .max_by(|&a, &b| gain(&leaves[a]).total_cmp(&gain(&leaves[b])).then(b.cmp(&a)))
            else {
                break;
            };
            let leaf = leaves.swap_remove(at);
            if let Some(split) = leaf.best {
                leaves.extend(self.cut(leaf, split, nodes));
            }
        }
        for leaf in leaves {
            let step = -leaf.total.gradient / (leaf.total.hessian + self.config.l2);
            nodes[leaf.node].threshold = step as f32 * self.config.learning_rate;
        }
    }

    /// Draws this tree's rows and features.
    fn sample(&mut self) {
        let Self { config, random, .. } = self;
        let mut draw = |share: f64| (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64 <= share;
        self.sampled = (0..self.labels.len() as u32).filter(|_| draw(config.row_share)).collect();
        self.chosen = (0..self.bins.len()).filter(|_| draw(config.feature_share)).collect();
        if self.chosen.is_empty() {
            self.chosen = (0..self.bins.len()).collect();
        }
    }

    fn root(&self, nodes: &mut Vec<Node>) -> Leaf {
        let rows = 0..self.sampled.len();
        let cells = self.histogram(&self.sampled);
        let mut total = Cell::default();
        cells[..self.stride].iter().for_each(|&cell| total.add(cell));
        self.leaf(rows, total, cells, push_leaf(nodes))
    }

    fn leaf(&self, rows: std::ops::Range<usize>, total: Cell, cells: Vec<Cell>, node: usize) -> Leaf {
        let best = self.best_split(total, &cells);
        Leaf { node, rows, total, cells, best }
    }

    /// Cuts a leaf in two; only the smaller half is counted, the other is what remains.
    fn cut(&mut self, leaf: Leaf, split: Split, nodes: &mut Vec<Node>) -> [Leaf; 2] {
        let bins = &self.bins[split.feature];
        let goes_left = |row: u32| match bins[row as usize] {
            0 => split.missing_left,
            bin => usize::from(bin) <= split.bin,
        };
        let (left, right): (Vec<u32>, Vec<u32>) =
            self.sampled[leaf.rows.clone()].iter().partition(|&&row| goes_left(row));
        let middle = leaf.rows.start + left.len();
        self.sampled[leaf.rows.start..middle].copy_from_slice(&left);
        self.sampled[middle..leaf.rows.end].copy_from_slice(&right);

        let left_is_smaller = left.len() <= right.len();
        let counted = self.histogram(if left_is_smaller { &left } else { &right });
        let rest: Vec<Cell> = leaf.cells.iter().zip(&counted).map(|(all, part)| all.less(*part)).collect();
        let (left_cells, right_cells) = if left_is_smaller { (counted, rest) } else { (rest, counted) };
        let mut left_total = Cell::default();
        left_cells[..self.stride].iter().for_each(|&cell| left_total.add(cell));

        let (left_node, right_node) = (push_leaf(nodes), push_leaf(nodes));
        nodes[leaf.node] = Node {
            feature: split.feature as u32,
            threshold: self.borders[split.feature][split.bin - 1],
            left: left_node as u32,
            missing_left: split.missing_left,
        };
        [
            self.leaf(leaf.rows.start..middle, left_total, left_cells, left_node),
            self.leaf(middle..leaf.rows.end, leaf.total.less(left_total), right_cells, right_node),
        ]
    }

    /// Sums per chosen feature and bin over the given rows.
    fn histogram(&self, rows: &[u32]) -> Vec<Cell> {
        let pairs: Vec<[f32; 2]> = rows.iter().map(|&row| self.pairs[row as usize]).collect();
        let mut cells = vec![Cell::default(); self.chosen.len() * self.stride];
        cells.par_chunks_exact_mut(self.stride).zip(&self.chosen).for_each(|(cells, &feature)| {
            let bins = &self.bins[feature];
            for (&row, &[gradient, hessian]) in rows.iter().zip(&pairs) {
                let cell = &mut cells[usize::from(bins[row as usize])];
                cell.gradient += f64::from(gradient);
                cell.hessian += f64::from(hessian);
                cell.rows += 1;
            }
        });
        cells
    }

    /// The split that lowers the loss most; of equal ones the first feature and lowest bin.
    fn best_split(&self, total: Cell, cells: &[Cell]) -> Option<Split> {
        let fewest = self.config.min_rows_in_leaf.max(1);
        if total.rows < 2 * fewest {
            return None;
        }
        let mut best: Option<Split> = None;
        for (cells, &feature) in cells.chunks_exact(self.stride).zip(&self.chosen) {
            for missing_left in [false, true] {
                if missing_left && cells[0].rows == 0 {
                    continue;
                }
                let mut left = if missing_left { cells[0] } else { Cell::default() };
                for (bin, &cell) in cells.iter().enumerate().take(self.borders[feature].len() + 1).skip(1) {
                    left.add(cell);
                    let right = total.less(left);
                    if left.rows < fewest || right.rows < fewest {
                        continue;
                    }
                    let l2 = self.config.l2;
                    let gain = left.worth(l2) + right.worth(l2) - total.worth(l2);
                    if gain > best.map_or(1e-9, |split| split.gain) {
                        best = Some(Split { gain, feature, bin, missing_left });
                    }
                }
            }
        }
        best
    }
}

fn push_leaf(nodes: &mut Vec<Node>) -> usize {
    nodes.push(Node { feature: 0, threshold: 0.0, left: 0, missing_left: false });
    nodes.len() - 1
}

/// The bin of a value: 0 for NaN, else 1 + the number of borders below it.
fn bin(borders: &[f32], value: f32) -> u8 {
    if value.is_nan() { 0 } else { 1 + borders.partition_point(|&border| border < value) as u8 }
}

/// At most `bins - 1` borders that cut the values into bins of about equal numbers of rows, halfway
/// between neighbouring distinct values. Looks at no more than about 200,000 rows, evenly spread.
fn quantile_borders(values: impl Iterator<Item = f32>, rows: usize, bins: usize) -> Vec<f32> {
    let mut sample: Vec<f32> =
        values.step_by(rows.div_ceil(200_000).max(1)).filter(|value| !value.is_nan()).collect();
    sample.sort_unstable_by(f32::total_cmp);
    let runs: Vec<&[f32]> = sample.chunk_by(|a, b| a == b).collect();
    let mut borders = Vec::new();
    let (mut in_bin, mut left) = (0, sample.len());
    for (at, run) in runs.iter().enumerate() {
        in_bin += run.len();
        let free = bins - borders.len();
        let enough = runs.len() <= bins || in_bin >= left.div_ceil(free);
        if enough && free > 1 && at + 1 < runs.len() {
            borders.push(run[0] + (runs[at + 1][0] - run[0]) / 2.0);
            left -= in_bin;
            in_bin = 0;
        }
    }
    borders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> TreesConfig {
        TreesConfig {
            rounds: 60,
            learning_rate: 0.3,
            leaves: 4,
            min_rows_in_leaf: 5,
            ..TreesConfig::default()
        }
    }

    /// 400 rows: y = x0 > 10 xor x1 > 10, x2 is noise.
    fn exclusive_or() -> (Vec<f32>, Vec<bool>) {
        let row = |i: usize| [(i % 20) as f32, (i / 20) as f32, (i * 7919 % 13) as f32];
        let values: Vec<f32> = (0..400).flat_map(row).collect();
        let labels = values.chunks(3).map(|row| (row[0] > 10.0) != (row[1] > 10.0)).collect();
        (values, labels)
    }

    #[test]
    fn trees_learn_what_no_sum_of_single_features_can() {
        let (values, labels) = exclusive_or();
        let trees = Trees::fit(Rows { values: &values, labels: &labels, width: 3 }, &small(), 1);
        let right = values.chunks(3).zip(&labels).filter(|(row, y)| (trees.log_odds(row) > 0.0) == **y);
        assert!(right.count() >= 396);
    }

    #[test]
    fn a_missing_value_goes_to_the_side_it_resembles() {
        let values: Vec<f32> = (0..300).map(|i| if i % 3 == 0 { f32::NAN } else { (i % 3) as f32 }).collect();
        let labels: Vec<bool> = (0..300).map(|i| i % 3 != 1).collect();
        let config = TreesConfig { row_share: 1.0, feature_share: 1.0, ..small() };
        let trees = Trees::fit(Rows { values: &values, labels: &labels, width: 1 }, &config, 1);
        assert!(trees.log_odds(&[f32::NAN]) > 2.0 && trees.log_odds(&[2.0]) > 2.0);
        assert!(trees.log_odds(&[1.0]) < -2.0);
    }

    #[test]
    fn the_mean_probability_is_the_share_of_positives() {
        let values: Vec<f32> = (0..1000).map(|i| (i % 10) as f32).collect();
        let labels: Vec<bool> = (0..1000).map(|i| i * 7919 % 100 < 3 * (i % 10)).collect();
        let trees = Trees::fit(Rows { values: &values, labels: &labels, width: 1 }, &small(), 3);
        let mean = values.iter().map(|&x| 1.0 / (1.0 + (-trees.log_odds(&[x])).exp())).sum::<f32>() / 1000.0;
        let share = labels.iter().filter(|&&y| y).count() as f32 / 1000.0;
        assert!((mean - share).abs() < 0.01, "{mean} against {share}");
    }

    #[test]
    fn a_seed_gives_the_same_trees_and_arrays_keep_them() {
        let (values, labels) = exclusive_or();
        let rows = Rows { values: &values, labels: &labels, width: 3 };
        let trees = Trees::fit(rows, &small(), 5);
        assert_eq!(trees, Trees::fit(rows, &small(), 5));
        assert_ne!(trees, Trees::fit(rows, &small(), 6));
        assert_eq!(Trees::from_arrays(&trees.to_arrays()), Some(trees));
    }

    #[test]
    fn arrays_that_are_no_trees_are_refused() {
        let (values, labels) = exclusive_or();
        let good = Trees::fit(Rows { values: &values, labels: &labels, width: 3 }, &small(), 5).to_arrays();
        let circle = TreeArrays { left: good.left.iter().map(|_| 1).collect(), ..good.clone() };
        let outside = TreeArrays { width: 1, ..good.clone() };
        let short = TreeArrays { thresholds: Vec::new(), ..good.clone() };
        let rootless = TreeArrays { roots: vec![u32::MAX], ..good.clone() };
        let unordered = TreeArrays { roots: good.roots.iter().rev().copied().collect(), ..good.clone() };
        let orphans = TreeArrays { left: vec![0; good.left.len()], ..good.clone() };
        let inner: Vec<usize> = (0..good.left.len()).filter(|&at| good.left[at] != 0).collect();
        let mut shared = good.clone();
        shared.left[inner[0]] = shared.left[inner[1]];
        let crossing = TreeArrays { roots: vec![0, inner[1] as u32 + 1], ..good };
        for bad in [circle, outside, short, rootless, unordered, orphans, shared, crossing] {
            assert_eq!(Trees::from_arrays(&bad), None);
        }
    }

    #[test]
    fn rows_that_teach_nothing_give_a_constant() {
        let none = Trees::fit(Rows { values: &[], labels: &[], width: 3 }, &small(), 1);
        assert_eq!(none.log_odds(&[1.0, 2.0, 3.0]), 0.0);
        let yes = Trees::fit(Rows { values: &[1.0, 2.0], labels: &[true, true], width: 1 }, &small(), 1);
        assert_eq!(yes.log_odds(&[5.0]), 10.0);
    }

    #[test]
    fn borders_stand_between_values_and_bins_are_about_equal() {
        assert_eq!(quantile_borders([3.0, 1.0, f32::NAN, 1.0, 2.0].into_iter(), 5, 10), [1.5, 2.5]);
        assert_eq!(quantile_borders((0..100).map(|x| x as f32), 100, 4), [24.5, 49.5, 74.5]);
        assert_eq!((bin(&[1.5, 2.5], 1.5), bin(&[1.5, 2.5], 9.0), bin(&[1.5], f32::NAN)), (1, 3, 0));
    }
}
