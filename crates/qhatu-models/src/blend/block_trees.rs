//! Trees, arranged to answer for a block of 64 rows at once: the same log-odds as [`Trees::log_odds`], to
//! the bit, without walking.
//!
//! A walk through a tree is a chain of branches that no processor can foresee. Here a set of rows is a
//! `u64`, one bit a row. The distinct questions of all trees ("is this feature at most that border?") are
//! few, because borders come from the bins of the fit; each is answered once for the block, as the set of
//! rows for which it holds. A tree then only splits sets: left is `rows & holds`, right is
//! `rows & !holds`, two operations a node however the rows go, and each leaf adds its answer to the rows
//! of its set. The idea of answering questions feature by feature and combining bit sets is QuickScorer's
//! (Lucchese et al., SIGIR 2015); there a bit is a leaf and a word one row's tree, here a bit is a row.

use super::trees::{Asked, Trees};

/// Rows of a block: the bits of a word.
const BLOCK: usize = 64;
/// The question of a leaf.
const LEAF: u32 = u32::MAX;

/// A node; its place is relative to its tree's root. An inner one asks a question and has its children at
/// `left` and `left + 1`; a leaf keeps its answer.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Node {
    question: u32,
    left: u32,
    answer: f32,
}

/// The borders of one feature that any tree asks about.
#[derive(Debug, Clone, PartialEq, Default)]
struct Borders {
    /// Ascending and distinct.
    borders: Vec<f32>,
    /// The feature's first question.
    first: u32,
}

/// Fitted trees, arranged by blocks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BlockTrees {
    base: f32,
    features: Vec<Borders>,
    nodes: Vec<Node>,
    /// Where each tree begins in `nodes`, and the end of the last.
    roots: Vec<u32>,
    /// Two a border: whether missing values count as answering it or not.
    questions: usize,
    /// Nodes of the largest tree.
    largest: usize,
}

impl BlockTrees {
    /// Arranges fitted trees.
    pub(super) fn new(trees: &Trees) -> Self {
        let mut features = vec![Borders::default(); trees.width()];
        for node in trees.each().flatten() {
            if let Some(feature) = node.feature {
                features[feature].borders.push(node.value);
            }
        }
        let mut questions = 0;
        for feature in &mut features {
            feature.borders.sort_unstable_by(f32::total_cmp);
            feature.borders.dedup();
            feature.first = questions;
            questions += 2 * feature.borders.len() as u32;
        }
        let mut own = Self {
            base: trees.base(),
            features,
            nodes: Vec::new(),
            roots: vec![0],
            questions: questions as usize,
            largest: 0,
        };
        for tree in trees.each() {
            let nodes: Vec<Node> = tree.iter().map(|node| own.node(node)).collect();
            own.nodes.extend(nodes);
            own.largest = own.largest.max(tree.len());
            own.roots.push(own.nodes.len() as u32);
        }
        own
    }

    fn node(&self, node: &Asked) -> Node {
        let Some(feature) = node.feature else { return Node { question: LEAF, left: 0, answer: node.value } };
        let Borders { borders, first } = &self.features[feature];
        let place = borders.partition_point(|&border| border < node.value) as u32;
        let question = first + 2 * place + u32::from(node.missing_left);
        Node { question, left: node.left as u32, answer: 0.0 }
    }

    /// The log-odds of each of the rows, which lie one after the other.
    pub(super) fn log_odds(&self, rows: &[f32]) -> Vec<f32> {
        let width = self.features.len();
        let mut sums = vec![0.0; rows.len() / width.max(1)];
        let mut scratch = Scratch { holds: vec![0; self.questions], sets: vec![0; self.largest] };
        for (rows, sums) in rows.chunks(BLOCK * width).zip(sums.chunks_mut(BLOCK)) {
            self.answer_questions(rows, &mut scratch.holds);
            self.split(&mut scratch, sums);
        }
        sums.iter_mut().for_each(|sum| *sum += self.base);
        sums
    }

    /// For each question the rows for which it holds.
    fn answer_questions(&self, rows: &[f32], holds: &mut [u64]) {
        for (column, Borders { borders, first }) in self.features.iter().enumerate() {
            let holds = &mut holds[*first as usize..][..2 * borders.len()];
            holds.fill(0);
            let (mut missing, mut known) = (0, None);
            for (row, value) in rows.iter().skip(column).step_by(self.features.len()).enumerate() {
                if value.is_nan() {
                    missing |= 1 << row;
                    continue;
                }
                // Neighbouring rows often have the same value: what is of the shopper, or of nobody.
                let bin = match known {
                    Some((last, bin)) if last == value.to_bits() => bin,
                    _ => borders.partition_point(|border| border < value),
                };
                known = Some((value.to_bits(), bin));
                if let Some(set) = holds.get_mut(2 * bin) {
                    *set |= 1 << row;
                }
            }
            let mut below = 0;
            for pair in holds.as_chunks_mut::<2>().0 {
                below |= pair[0];
                *pair = [below, below | missing];
            }
        }
    }

    /// Sends the rows through all trees and adds up what they answer, tree by tree.
    fn split(&self, scratch: &mut Scratch, sums: &mut [f32]) {
        let all = u64::MAX >> (BLOCK - sums.len());
        for tree in self.roots.windows(2) {
            let nodes = &self.nodes[tree[0] as usize..tree[1] as usize];
            let sets = &mut scratch.sets[..nodes.len()];
            sets[0] = all;
            for (place, node) in nodes.iter().enumerate() {
                let mut rows = sets[place];
                if node.question != LEAF {
                    let holds = scratch.holds[node.question as usize];
                    let left = node.left as usize;
                    sets[left] = rows & holds;
                    sets[left + 1] = rows & !holds;
                    continue;
                }
                while rows != 0 {
                    sums[rows.trailing_zeros() as usize] += node.answer;
                    rows &= rows - 1;
                }
            }
        }
    }
}

struct Scratch {
    /// Per question: the rows for which it holds.
    holds: Vec<u64>,
    /// Per node of a tree: the rows that reach it.
    sets: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use super::super::trees::{Rows, TreesConfig};
    use super::*;
    use proptest::prelude::*;

    fn trees(values: &[f32], labels: &[bool], width: usize, rounds: usize) -> Trees {
        let config =
            TreesConfig { rounds, min_rows_in_leaf: 2, leaves: 9, bins: 12, ..TreesConfig::default() };
        Trees::fit(Rows { values, labels, width }, &config, 3)
    }

    fn value(odd: &[f32]) -> impl Strategy<Value = f32> {
        prop_oneof![
            4 => (-6i8..6).prop_map(f32::from),
            1 => Just(f32::NAN),
            1 => prop::sample::select(odd.to_vec()),
        ]
    }

    const FINITE: [f32; 3] = [-0.0, 0.5, 1e-9];
    const ANY: [f32; 5] = [f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.5, 1e-9];

    proptest! {
        #[test]
        fn blocks_answer_as_walks_do(
            values in prop::collection::vec(value(&FINITE), 3 * 150),
            signs in prop::collection::vec(any::<bool>(), 150),
            asked in prop::collection::vec(value(&ANY), 0..3 * 200), rounds in 0..12_usize,
        ) {
            let trees = trees(&values, &signs, 3, rounds);
            let asked = &asked[..asked.len() / 3 * 3];
            let walked: Vec<u32> = asked.chunks(3).map(|row| trees.log_odds(row).to_bits()).collect();
            let blocks = BlockTrees::new(&trees).log_odds(asked);
            prop_assert_eq!(blocks.into_iter().map(f32::to_bits).collect::<Vec<_>>(), walked);
        }
    }

    #[test]
    fn trees_that_learned_nothing_answer_their_base() {
        let trees = trees(&[1.0, 2.0, 3.0], &[true], 3, 5);
        assert_eq!(BlockTrees::new(&trees).log_odds(&[0.0; 9]), [trees.log_odds(&[0.0; 3]); 3]);
        assert!(BlockTrees::new(&trees).log_odds(&[]).is_empty());
    }
}
