//! Trees, arranged to answer for a block of 64 rows at once: the same log-odds as [`Trees::log_odds`], to
//! the bit, without walking.
//!
//! A walk through a tree is a chain of branches that no processor can foresee. Here a set of rows is a
//! `u64`, one bit a row. The distinct questions of all trees ("is this feature at most that border?") are
//! few, because borders come from the bins of the fit; each is answered once for the block, as the set of
//! rows for which it holds. A tree then only splits sets: left is `rows & holds`, right is
//! `rows & !holds`, two operations a node however the rows go. Which leaf each row came to is read from its
//! leaves' sets by numbering them: bit `b` of a row's leaf number is set when the row lies in any leaf whose
//! number has that bit. So nothing branches on the data. The idea of answering questions feature by
//! feature and combining bit sets is QuickScorer's (Lucchese et al., SIGIR 2015); there a bit is a leaf and
//! a word one row's tree, here a bit is a row.

use std::ops::Range;

use super::trees::{Asked, Trees};

/// Rows of a block: the bits of a word.
const BLOCK: usize = 64;
/// Bits of a leaf's number; a tree of more leaves is answered leaf by leaf.
const PLANES: usize = 8;

/// An inner node: which question it asks, and the places of itself and its left child in the tree; the right
/// child stands behind the left one.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Inner {
    question: u32,
    place: u32,
    left: u32,
}

/// A tree, as parts of the lists of [`BlockTrees`].
#[derive(Debug, Clone, PartialEq)]
struct Tree {
    inner: Range<usize>,
    leaves: Range<usize>,
    /// Per bit of a leaf's number: the leaves whose number has it.
    bearers: [Range<usize>; PLANES],
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
    /// Two a border: whether missing values count as answering it or not.
    questions: usize,
    trees: Vec<Tree>,
    inner: Vec<Inner>,
    /// The leaves' places in their trees, and what they answer.
    leaves: Vec<u32>,
    answers: Vec<f32>,
    /// Places of leaves, by the bits of their numbers.
    bearers: Vec<u32>,
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
            questions: questions as usize,
            trees: Vec::new(),
            inner: Vec::new(),
            leaves: Vec::new(),
            answers: Vec::new(),
            bearers: Vec::new(),
            largest: 0,
        };
        trees.each().for_each(|tree| own.add(&tree));
        own
    }

    fn add(&mut self, tree: &[Asked]) {
        let (inner, leaves) = (self.inner.len(), self.leaves.len());
        for (place, node) in (0..).zip(tree) {
            match node.feature {
                Some(feature) => {
                    let question = self.features[feature].question(node);
                    self.inner.push(Inner { question, place, left: node.left as u32 });
                }
                None => {
                    self.leaves.push(place);
                    self.answers.push(node.value);
                }
            }
        }
        let bearers = std::array::from_fn(|plane| {
            let begin = self.bearers.len();
            let bears = |(number, _): &(usize, &u32)| number >> plane & 1 == 1;
            let numbered = self.leaves[leaves..].iter().enumerate();
            self.bearers.extend(numbered.filter(bears).map(|(_, place)| *place));
            begin..self.bearers.len()
        });
        let (inner, leaves) = (inner..self.inner.len(), leaves..self.leaves.len());
        self.trees.push(Tree { inner, leaves, bearers });
        self.largest = self.largest.max(tree.len());
    }

    /// The log-odds of each of the rows, which lie one after the other.
    pub(super) fn log_odds(&self, rows: &[f32]) -> Vec<f32> {
        let width = self.features.len();
        let mut sums = vec![0.0; rows.len() / width.max(1)];
        let (mut holds, mut sets) = (vec![0; self.questions], vec![0; self.largest]);
        for (rows, sums) in rows.chunks(BLOCK * width).zip(sums.chunks_mut(BLOCK)) {
            self.answer_questions(rows, &mut holds);
            let mut block = [0.0; BLOCK];
            let all = u64::MAX >> (BLOCK - sums.len());
            for tree in &self.trees {
                self.split(tree, all, &holds, &mut sets);
                self.add_answers(tree, &sets, &mut block);
            }
            sums.copy_from_slice(&block[..sums.len()]);
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

    /// Sends the rows through a tree: per node the set of those that reach it.
    fn split(&self, tree: &Tree, all: u64, holds: &[u64], sets: &mut [u64]) {
        sets[0] = all;
        for node in &self.inner[tree.inner.clone()] {
            let (rows, holds) = (sets[node.place as usize], holds[node.question as usize]);
            let children = &mut sets[node.left as usize..][..2];
            children[0] = rows & holds;
            children[1] = rows & !holds;
        }
    }

    /// Adds to each row what its leaf answers.
    fn add_answers(&self, tree: &Tree, sets: &[u64], sums: &mut [f32; BLOCK]) {
        let answers = &self.answers[tree.leaves.clone()];
        if answers.len() > 1 << PLANES {
            for (&place, answer) in self.leaves[tree.leaves.clone()].iter().zip(answers) {
                let mut rows = sets[place as usize];
                while rows != 0 {
                    sums[rows.trailing_zeros() as usize] += answer;
                    rows &= rows - 1;
                }
            }
            return;
        }
        let planes = tree.bearers.each_ref().map(|bearers| {
            self.bearers[bearers.clone()].iter().fold(0, |rows, &place| rows | sets[place as usize])
        });
        // A row that is not there has the number 0 and gets an answer that nobody reads.
        for (byte, sums) in sums.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let spread = |plane: usize| SPREAD[(planes[plane] >> (8 * byte) & 0xff) as usize] << plane;
            let numbers = (0..PLANES).fold(0, |numbers, plane| numbers | spread(plane)).to_le_bytes();
            for (sum, number) in sums.iter_mut().zip(numbers) {
                *sum += answers[number as usize];
            }
        }
    }
}

impl Borders {
    /// The question that a node asks of this feature.
    fn question(&self, node: &Asked) -> u32 {
        let place = self.borders.partition_point(|&border| border < node.value) as u32;
        self.first + 2 * place + u32::from(node.missing_left)
    }
}

/// For each byte a word whose bytes are its bits, the lowest first.
static SPREAD: [u64; 256] = {
    let mut words = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut bit = 0;
        while bit < 8 {
            words[byte] |= ((byte >> bit & 1) as u64) << (8 * bit);
            bit += 1;
        }
        byte += 1;
    }
    words
};

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
    fn a_tree_of_very_many_leaves_answers_as_its_walk_does() {
        let values: Vec<f32> =
            (0..1200).flat_map(|row| [(row * 7 % 1200) as f32, (row % 37) as f32]).collect();
        let labels: Vec<bool> = (0..1200).map(|row| row * 7919 % 13 < 6).collect();
        let config = TreesConfig {
            rounds: 3,
            min_rows_in_leaf: 1,
            leaves: 400,
            bins: 254,
            row_share: 1.0,
            feature_share: 1.0,
            ..TreesConfig::default()
        };
        let trees = Trees::fit(Rows { values: &values, labels: &labels, width: 2 }, &config, 1);
        let blocks = BlockTrees::new(&trees);
        assert!(blocks.trees.iter().any(|tree| tree.leaves.len() > 256));
        let walked: Vec<f32> = values.chunks(2).map(|row| trees.log_odds(row)).collect();
        assert_eq!(blocks.log_odds(&values), walked);
    }

    #[test]
    fn trees_that_learned_nothing_answer_their_base() {
        let trees = trees(&[1.0, 2.0, 3.0], &[true], 3, 5);
        assert_eq!(BlockTrees::new(&trees).log_odds(&[0.0; 9]), [trees.log_odds(&[0.0; 3]); 3]);
        assert!(BlockTrees::new(&trees).log_odds(&[]).is_empty());
    }
}
