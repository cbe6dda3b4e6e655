//! One tree: from a leaf of all rows, cut after cut.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ops::Range;

use qhatu_nn::Stream;
use rayon::prelude::*;

use super::binning::{Binned, Cuts};
use super::config::Growth;
use super::ensemble::{DEPTH_MAX, Node, TreeEnsemble};
use super::histogram::{Rounded, Scratch, Sum, Unit, histogram};
use super::split::{Bins, Chooser, Split, Sums, holds};

/// What trees are grown from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grower<'a> {
    pub(super) binned: &'a Binned,
    pub(super) growth: &'a Growth,
    /// The rows' gradients and hessians, and what they stand for.
    pub(super) rounded: &'a [Rounded],
    pub(super) unit: Unit,
}

/// A grown tree, before it joins the others.
#[derive(Debug)]
pub(super) struct Grown {
    pub(super) nodes: Vec<Grain>,
    /// The rows it was grown from, leaf by leaf, and which are whose: a range and the leaf's node.
    pub(super) rows: Vec<u32>,
    pub(super) leaves: Vec<(Range<usize>, usize)>,
}

/// A node of a tree that grows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grain {
    /// The left child, the right one stands behind it; 0 for a leaf.
    left: usize,
    split: Option<Split>,
    /// A leaf's answer, not yet shrunk.
    pub(super) answer: f64,
    cover: f64,
}

/// A leaf that may still be cut.
struct Leaf {
    node: usize,
    depth: usize,
    rows: Range<usize>,
    total: Sum,
    /// The sums of all features, where they are kept.
    sums: Option<Vec<Sum>>,
    best: Option<Split>,
}

/// The leaf whose cut gains most comes first; of equal ones the older.
struct Promising(Leaf);

impl Promising {
    fn gain(&self) -> f64 {
        self.0.best.map_or(f64::NEG_INFINITY, |split| split.gain)
    }
}

impl PartialEq for Promising {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Promising {}

impl PartialOrd for Promising {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Promising {
    fn cmp(&self, other: &Self) -> Ordering {
        self.gain().total_cmp(&other.gain()).then(other.0.node.cmp(&self.0.node))
    }
}

/// Leaves of fewer rows are summed feature by feature when they are cut: a histogram would be mostly empty.
const SMALL: usize = 256;
/// Cuts that gain no more than this are rounding.
const NOTHING: f64 = 1e-9;

impl Grower<'_> {
    /// Grows a tree from these rows, ascending, and features. With a bound on leaves the most promising leaf is cut
    /// next; without, every leaf that can be is cut, deepest first, so that few wait.
    pub(super) fn grow(&self, rows: Vec<u32>, features: &[usize], stream: Stream) -> Grown {
        let mut tree = Growing::new(*self, rows, features, stream);
        let root = tree.root();
        if self.growth.leaves == 0 {
            let mut open = vec![root];
            while let Some(leaf) = open.pop() {
                match leaf.best {
                    Some(split) => open.extend(tree.cut(leaf, split)),
                    None => tree.close(leaf),
                }
            }
        } else {
            let mut open = BinaryHeap::from([Promising(root)]);
            while let Some(Promising(leaf)) = open.pop() {
                match leaf.best {
                    Some(split) if open.len() + tree.leaves.len() + 1 < self.growth.leaves => {
                        open.extend(tree.cut(leaf, split).map(Promising));
                    }
                    _ => tree.close(leaf),
                }
            }
        }
        Grown { nodes: tree.nodes, rows: tree.rows, leaves: tree.leaves }
    }
}

struct Growing<'a> {
    grower: Grower<'a>,
    chooser: Chooser<'a>,
    features: &'a [usize],
    stream: Stream,
    /// Features looked at for a cut.
    looked_at: usize,
    rows: Vec<u32>,
    spare: Vec<u32>,
    scratch: Scratch,
    nodes: Vec<Grain>,
    leaves: Vec<(Range<usize>, usize)>,
}

impl<'a> Growing<'a> {
    fn new(grower: Grower<'a>, rows: Vec<u32>, features: &'a [usize], stream: Stream) -> Self {
        let share = grower.growth.split_feature_share;
        let looked_at = ((features.len() as f64 * share).round() as usize).clamp(1, features.len().max(1));
        Self {
            grower,
            chooser: Chooser { growth: grower.growth, unit: grower.unit },
            features,
            stream,
            looked_at,
            spare: vec![0; rows.len()],
            rows,
            scratch: Scratch::new(),
            nodes: Vec::new(),
            leaves: Vec::new(),
        }
    }

    fn root(&mut self) -> Leaf {
        let mut total = Sum::default();
        self.rows.iter().for_each(|row| total.add_row(self.grower.rounded[*row as usize]));
        let rows = 0..self.rows.len();
        let sums = self.wants_sums(rows.len()).then(|| self.histogram(&rows));
        let node = self.push(total);
        self.leaf(Leaf { node, depth: 0, rows, total, sums, best: None })
    }

    /// Where few features are looked at, each cut sums only those.
    fn wants_sums(&self, rows: usize) -> bool {
        rows >= SMALL && 2 * self.looked_at > self.features.len()
    }

    fn histogram(&self, rows: &Range<usize>) -> Vec<Sum> {
        histogram(self.grower.binned, &self.rows[rows.clone()], self.grower.rounded)
    }

    fn push(&mut self, total: Sum) -> usize {
        let (answer, cover) = (self.chooser.answer(total), self.chooser.weight(total));
        self.nodes.push(Grain { left: 0, split: None, answer, cover });
        self.nodes.len() - 1
    }

    fn close(&mut self, leaf: Leaf) {
        self.leaves.push((leaf.rows, leaf.node));
    }

    fn leaf(&mut self, mut leaf: Leaf) -> Leaf {
        let growth = self.grower.growth;
        let deepest = if growth.depth > 0 { growth.depth.min(DEPTH_MAX) } else { DEPTH_MAX };
        let deep = leaf.depth >= deepest;
        if !deep && self.chooser.may_cut(leaf.total) {
            leaf.best = self.best(&leaf);
        }
        if leaf.best.is_none() {
            leaf.sums = None;
        }
        leaf
    }

    /// The best cut over the features looked at; where none of them can cut, the next ones drawn.
    fn best(&mut self, leaf: &Leaf) -> Option<Split> {
        let all = self.features.len();
        let drawn: Vec<usize> = if self.looked_at < all {
            let order = self.stream.child(leaf.node as u64).shuffled(all);
            order.into_iter().map(|place| self.features[place]).collect()
        } else {
            self.features.to_vec()
        };
        if let Some(sums) = &leaf.sums
            && self.looked_at == all
        {
            return self.best_of_kept(&drawn, leaf, sums);
        }
        let mut best: Option<Split> = None;
        for (place, &feature) in drawn.iter().enumerate() {
            if place >= self.looked_at && best.is_some() {
                break;
            }
            let found = match &leaf.sums {
                Some(sums) => self.best_kept(feature, leaf, sums, gain(best)),
                None => self.best_summed(feature, leaf, gain(best)),
            };
            best = found.or(best);
        }
        best
    }

    fn best_of_kept(&self, features: &[usize], leaf: &Leaf, sums: &[Sum]) -> Option<Split> {
        // Of equal gains the first feature, however the work is cut up.
        let better = |a: Option<Split>, b: Option<Split>| if gain(b) > gain(a) { b } else { a };
        let of = |features: &[usize]| {
            features
                .iter()
                .fold(None, |best, &feature| self.best_kept(feature, leaf, sums, gain(best)).or(best))
        };
        features.par_chunks(FEATURES).map(of).collect::<Vec<_>>().into_iter().fold(None, better)
    }

    fn best_kept(&self, feature: usize, leaf: &Leaf, sums: &[Sum], above: f64) -> Option<Split> {
        let binned = self.grower.binned;
        let by_bin = &sums[binned.offsets[feature]..binned.offsets[feature + 1]];
        let sums = Sums { feature, by_bin, occupied: &ALL_BINS[..by_bin.len() - 1], total: leaf.total };
        self.chooser.best(binned, sums, above)
    }

    fn best_summed(&mut self, feature: usize, leaf: &Leaf, above: f64) -> Option<Split> {
        let binned = self.grower.binned;
        let rows = &self.rows[leaf.rows.clone()];
        self.scratch.fill(&binned.columns[feature], rows, self.grower.rounded);
        let (by_bin, occupied) = (&self.scratch.sums[..], self.scratch.occupied.as_slice());
        self.chooser.best(binned, Sums { feature, by_bin, occupied, total: leaf.total }, above)
    }

    /// Cuts a leaf in two; where sums are kept only the smaller half is counted, the other is what remains.
    fn cut(&mut self, leaf: Leaf, split: Split) -> [Leaf; 2] {
        let column = &self.grower.binned.columns[split.feature];
        let (rows, spare) = (&mut self.rows[leaf.rows.clone()], &mut self.spare[leaf.rows.clone()]);
        let middle = leaf.rows.start + partition(rows, spare, column, &split.left);
        let (left_rows, right_rows) = (leaf.rows.start..middle, middle..leaf.rows.end);
        let (left_total, right_total) = (split.left_sum, leaf.total.less(split.left_sum));
        let [left_sums, right_sums] = self.halves(leaf.sums, &left_rows, &right_rows);
        let node = self.push(left_total);
        let behind = self.push(right_total);
        self.nodes[leaf.node].left = node;
        self.nodes[leaf.node].split = Some(split);
        let depth = leaf.depth + 1;
        let new = |node, rows, total, sums| Leaf { node, depth, rows, total, sums, best: None };
        [
            self.leaf(new(node, left_rows, left_total, left_sums)),
            self.leaf(new(behind, right_rows, right_total, right_sums)),
        ]
    }

    fn halves(
        &self,
        whole: Option<Vec<Sum>>,
        left: &Range<usize>,
        right: &Range<usize>,
    ) -> [Option<Vec<Sum>>; 2] {
        let Some(mut whole) = whole else { return [None, None] };
        let left_is_smaller = left.len() <= right.len();
        let (small, large) = if left_is_smaller { (left, right) } else { (right, left) };
        if large.len() < SMALL {
            return [None, None];
        }
        let counted = self.histogram(small);
        whole.iter_mut().zip(&counted).for_each(|(all, part)| *all = all.less(*part));
        let counted = (small.len() >= SMALL).then_some(counted);
        if left_is_smaller { [counted, Some(whole)] } else { [Some(whole), counted] }
    }
}

/// Features whose kept sums one thread looks through at once.
const FEATURES: usize = 32;

fn gain(split: Option<Split>) -> f64 {
    split.map_or(NOTHING, |split| split.gain)
}

/// 1, 2, …, 255.
const ALL_BINS: [u8; 255] = {
    let mut bins = [0; 255];
    let mut place = 0;
    while place < 255 {
        bins[place] = place as u8 + 1;
        place += 1;
    }
    bins
};

/// Rows that one thread sorts at once.
const CHUNK: usize = 1 << 15;

/// Puts the rows whose bin is in `left` before the others, each in their order; how many they are.
fn partition(rows: &mut [u32], spare: &mut [u32], column: &[u8], left: &Bins) -> usize {
    let mut goes = [false; 256];
    (0..=u8::MAX).for_each(|bin| goes[usize::from(bin)] = holds(left, bin));
    if rows.len() <= CHUNK {
        return partition_chunk(rows, spare, column, &goes);
    }
    let chunks = rows.par_chunks_mut(CHUNK).zip(spare.par_chunks_mut(CHUNK));
    let counts: Vec<usize> =
        chunks.map(|(rows, spare)| partition_chunk(rows, spare, column, &goes)).collect();
    let middle: usize = counts.iter().sum();
    let (mut to_left, mut to_right) = spare.split_at_mut(middle);
    for (chunk, count) in rows.chunks(CHUNK).zip(&counts) {
        let (left, right) = chunk.split_at(*count);
        to_left[..left.len()].copy_from_slice(left);
        to_right[..right.len()].copy_from_slice(right);
        to_left = &mut to_left[left.len()..];
        to_right = &mut to_right[right.len()..];
    }
    rows.copy_from_slice(spare);
    middle
}

/// Writes each row to both sides and moves on where it belongs: no branch that depends on the data.
fn partition_chunk(rows: &mut [u32], spare: &mut [u32], column: &[u8], goes: &[bool; 256]) -> usize {
    let (mut left, mut right) = (0, 0);
    for place in 0..rows.len() {
        let row = rows[place];
        let goes = usize::from(goes[usize::from(column[row as usize])]);
        rows[left] = row;
        spare[right] = row;
        left += goes;
        right += 1 - goes;
    }
    rows[left..].copy_from_slice(&spare[..right]);
    left
}

impl Grown {
    /// The leaf's node that a row comes to, by its bins.
    pub(super) fn leaf_of(&self, binned: &Binned, row: usize) -> usize {
        let mut at = 0;
        while let Some(split) = &self.nodes[at].split {
            let left = holds(&split.left, binned.columns[split.feature][row]);
            at = self.nodes[at].left + usize::from(!left);
        }
        at
    }

    /// Adds the tree to others, its answers multiplied by `factor`.
    pub(super) fn join(&self, ensemble: &mut TreeEnsemble, binned: &Binned, factor: f64) {
        let root = ensemble.nodes.len();
        ensemble.roots.push(root as u32);
        for grain in &self.nodes {
            let mut node = Node {
                feature: 0,
                threshold: (grain.answer * factor) as f32,
                left: 0,
                set: 0,
                missing_left: false,
                cover: grain.cover as f32,
            };
            if let Some(split) = &grain.split {
                node.feature = split.feature as u32;
                node.left = (root + grain.left) as u32;
                node.missing_left = holds(&split.left, 0);
                match &binned.cuts[split.feature] {
                    Cuts::Number(borders) => {
                        let border = borders.get(usize::from(split.last) - 1);
                        node.threshold = border.copied().unwrap_or(f32::MAX);
                    }
                    Cuts::Category(categories) => {
                        let known = (1..).zip(categories).map(|(bin, own)| (*own, holds(&split.left, bin)));
                        node.threshold = 0.0;
                        node.set = ensemble.add_set(known);
                    }
                }
            }
            ensemble.nodes.push(node);
        }
    }
}
