//! A fitted sum of trees: answering, keeping, reading back.

use qhatu_nn::tensor_file::TensorFile;
use rayon::prelude::*;

use super::binning::{CATEGORIES, Columns, category};
use super::walker::Walker;
use crate::error::{ModelError, misfit};

/// How messages call it.
pub(super) const NAME: &str = "trees";

/// A node: an inner one sends a row to `left` or to the node behind it; a leaf has `left == 0`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Node {
    /// The feature asked.
    pub(super) feature: u32,
    /// Values below it go left; a leaf's answer.
    pub(super) threshold: f32,
    /// The left child, within all trees.
    pub(super) left: u32,
    /// For a cut by categories: where its set stands in the list of sets, from 1; else 0.
    pub(super) set: u32,
    /// Whether missing values go left.
    pub(super) missing_left: bool,
    /// The sum of hessians (for a forest, of weights) of the rows that came here in training.
    pub(super) cover: f32,
}

/// A fitted sum of trees.
#[derive(Debug, Clone, PartialEq)]
pub struct TreeEnsemble {
    pub(super) base: f32,
    pub(super) width: usize,
    pub(super) nodes: Vec<Node>,
    pub(super) roots: Vec<u32>,
    /// Sets of categories, one behind the other: how many words, then a bit a category.
    pub(super) sets: Vec<u32>,
}

impl TreeEnsemble {
    pub(super) fn new(base: f32, width: usize) -> Self {
        Self { base, width, nodes: Vec::new(), roots: Vec::new(), sets: vec![0] }
    }

    /// Number of features of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of nodes of all trees.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Number of trees.
    pub fn trees(&self) -> usize {
        self.roots.len()
    }

    /// The margin before any tree.
    pub fn base(&self) -> f32 {
        self.base
    }

    /// The sum of all trees for a row of features: log-odds for the logistic objective, a mean for the squared one and
    /// for forests. A feature that is not there is missing.
    pub fn margin(&self, row: &[f32]) -> f32 {
        self.roots.iter().fold(self.base, |sum, &root| sum + self.answer(root, row))
    }

    /// The margin of each row of the columns.
    ///
    /// # Errors
    /// Where the columns are not as many as the trees were fitted on, or of unequal length.
    pub fn margins(&self, columns: Columns) -> Result<Vec<f32>, ModelError> {
        columns.check()?;
        if columns.values.len() != self.width {
            let fault = format!("it takes {} features, {} were given", self.width, columns.values.len());
            return Err(misfit(NAME, fault));
        }
        let walker = Walker::new(self);
        let blocks = (0..columns.rows()).into_par_iter().step_by(BLOCK).flat_map_iter(|start| {
            let rows = start..(start + BLOCK).min(columns.rows());
            self.block(&walker, columns, rows)
        });
        Ok(blocks.collect())
    }

    /// Tree by tree over some rows, so that a tree stays in the nearest cache; sums are those of [`Self::margin`].
    fn block(&self, walker: &Walker, columns: Columns, rows: std::ops::Range<usize>) -> Vec<f32> {
        let mut values = vec![0.0; rows.len() * self.width];
        for (feature, column) in columns.values.iter().enumerate() {
            let own = values.iter_mut().skip(feature).step_by(self.width.max(1));
            own.zip(&column[rows.clone()]).for_each(|(value, own)| {
                *value = Some(*own as f32).filter(|own| own.is_finite()).unwrap_or(f32::NAN);
            });
        }
        let mut sums = vec![self.base; rows.len()];
        walker.add(&values, &mut sums);
        sums
    }

    /// What the last tree answers.
    pub(super) fn last_answer(&self, row: &[f32]) -> f32 {
        self.roots.last().map_or(0.0, |&root| self.answer(root, row))
    }

    /// Keeps the first trees.
    pub(super) fn truncate(&mut self, trees: usize) {
        if let Some(&root) = self.roots.get(trees) {
            self.nodes.truncate(root as usize);
            self.roots.truncate(trees);
        }
    }

    fn answer(&self, root: u32, row: &[f32]) -> f32 {
        let mut node = &self.nodes[root as usize];
        while node.left != 0 {
            let left = self.goes_left(node, row);
            node = &self.nodes[node.left as usize + usize::from(!left)];
        }
        node.threshold
    }

    /// Which way a row goes at an inner node.
    pub(super) fn goes_left(&self, node: &Node, row: &[f32]) -> bool {
        let value = row.get(node.feature as usize).copied().unwrap_or(f32::NAN);
        if !value.is_finite() {
            node.missing_left
        } else if node.set == 0 {
            value < node.threshold
        } else {
            self.has_category(node, value).unwrap_or(node.missing_left)
        }
    }

    /// Whether a cut's set has a value's category; `None` where the cut has never seen it.
    fn has_category(&self, node: &Node, value: f32) -> Option<bool> {
        let own = usize::from(category(value)?);
        let words = self.set(node);
        // Two bits a category: whether it goes left, and whether it was known.
        let word = words.get(own / 16)? >> (2 * (own % 16));
        (word & 2 != 0).then_some(word & 1 == 1)
    }

    fn set(&self, node: &Node) -> &[u32] {
        let start = node.set as usize;
        &self.sets[start + 1..][..self.sets[start] as usize]
    }

    /// The known categories that go right at a node, ascending.
    pub(super) fn categories_right(&self, node: &Node) -> Vec<u16> {
        let known = (0..=u16::MAX).take(16 * self.set(node).len());
        known.filter(|own| self.has_category(node, f32::from(*own)) == Some(false)).collect()
    }

    /// Adds a set: of each known category whether it goes left.
    pub(super) fn add_set(&mut self, known: impl Iterator<Item = (u16, bool)>) -> u32 {
        let start = self.sets.len();
        self.sets.push(0);
        for (own, left) in known {
            let place = start + 1 + usize::from(own) / 16;
            if self.sets.len() <= place {
                self.sets.resize(place + 1, 0);
            }
            self.sets[place] |= (2 | u32::from(left)) << (2 * (own % 16));
        }
        self.sets[start] = (self.sets.len() - start - 1) as u32;
        start as u32
    }

    /// Puts the trees into a file, each tensor's name behind `prefix`.
    pub fn save(&self, file: &mut TensorFile, prefix: &str) {
        let name = |name: &str| format!("{prefix}{name}");
        let flagged = |node: &Node| node.feature | if node.missing_left { MISSING_LEFT } else { 0 };
        let floats = |of: fn(&Node) -> f32| self.nodes.iter().map(of).collect::<Vec<f32>>();
        let count = self.nodes.len();
        file.put_f32(&name("base"), &[1], vec![self.base]);
        file.put_u32(&name("width"), &[1], vec![self.width as u32]);
        file.put_u32(&name("roots"), &[self.roots.len()], self.roots.clone());
        file.put_u32(&name("features"), &[count], self.nodes.iter().map(flagged).collect());
        file.put_f32(&name("thresholds"), &[count], floats(|node| node.threshold));
        file.put_f32(&name("covers"), &[count], floats(|node| node.cover));
        file.put_u32(&name("left"), &[count], self.nodes.iter().map(|node| node.left).collect());
        file.put_u32(&name("set"), &[count], self.nodes.iter().map(|node| node.set).collect());
        file.put_u32(&name("sets"), &[self.sets.len()], self.sets.clone());
    }

    /// Reads them back.
    ///
    /// # Errors
    /// Where a tensor is missing, or together they are no trees: every node but the roots must be the child of one node
    /// that stands before it in its own tree, every feature within the width, every number finite.
    pub fn load(file: &TensorFile, prefix: &str) -> Result<Self, ModelError> {
        let name = |name: &str| format!("{prefix}{name}");
        let (base, width) = (file.f32(&name("base"))?, file.u32(&name("width"))?);
        let (features, thresholds) = (file.u32(&name("features"))?, file.f32(&name("thresholds"))?);
        let (left, set) = (file.u32(&name("left"))?, file.u32(&name("set"))?);
        let (covers, sets) = (file.f32(&name("covers"))?, file.u32(&name("sets"))?);
        let roots = file.u32(&name("roots"))?;
        let count = features.len();
        let (&[base], &[width]) = (base, width) else {
            return Err(damaged("its base and width are no numbers"));
        };
        if [thresholds.len(), left.len(), set.len(), covers.len()].iter().any(|length| *length != count) {
            return Err(damaged("its nodes have parts of unequal number"));
        }
        if ![base].iter().chain(thresholds).chain(covers).all(|number| number.is_finite()) {
            return Err(damaged("a number in it is not finite"));
        }
        if !are_trees(roots, left) {
            return Err(damaged("its nodes are no trees"));
        }
        if is_too_deep(left) {
            return Err(damaged("a tree is deeper than any that is grown"));
        }
        let node = |at: usize| Node {
            feature: features[at] & !MISSING_LEFT,
            threshold: thresholds[at],
            left: left[at],
            set: set[at],
            missing_left: features[at] & MISSING_LEFT != 0,
            cover: covers[at],
        };
        let nodes: Vec<Node> = (0..count).map(node).collect();
        if nodes.iter().any(|node| node.left != 0 && node.feature >= width) {
            return Err(damaged("a node asks a feature that is not there"));
        }
        let fits = |node: &Node| {
            let start = node.set as usize;
            let whole = |words: usize| words <= CATEGORIES / 16 && words < sets.len() - start;
            start == 0 || sets.get(start).is_some_and(|words| whole(*words as usize))
        };
        if !nodes.iter().all(fits) {
            return Err(damaged("a node's set of categories is not there"));
        }
        Ok(Self { base, width: width as usize, nodes, roots: roots.to_vec(), sets: sets.to_vec() })
    }
}

/// The bit of a stored feature that says that missing values go left.
const MISSING_LEFT: u32 = 1 << 31;

fn damaged(fault: &str) -> ModelError {
    misfit(NAME, fault)
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

/// Most cuts from a root to a leaf, in any tree: what follows a tree down may call itself.
pub(super) const DEPTH_MAX: usize = 400;

/// Whether a leaf lies deeper; children stand behind their parents.
fn is_too_deep(left: &[u32]) -> bool {
    let mut depths = vec![0; left.len()];
    (0..left.len()).any(|at| {
        if left[at] != 0 {
            let below = depths[at] + 1;
            depths[left[at] as usize..left[at] as usize + 2].fill(below);
        }
        depths[at] > DEPTH_MAX
    })
}

/// Rows answered together.
const BLOCK: usize = 256;

#[cfg(test)]
mod tests {
    use super::super::boosting::{Lesson, fit_boosting};
    use super::super::config::{BoostingConfig, Growth};
    use super::super::objective::{Objective, Target};
    use super::*;

    fn fitted() -> (TreeEnsemble, Vec<Vec<f64>>) {
        let column = |by: usize, gap: usize| {
            (0..500).map(|row| if row % gap == 3 { f64::NAN } else { (row * by % 17) as f64 }).collect()
        };
        let columns: Vec<Vec<f64>> = vec![column(5, 9), column(3, 1000), column(11, 7)];
        let labels: Vec<f32> = (0..500).map(|row| f32::from(u8::from(row * 31 % 17 % 5 < 2))).collect();
        let lesson = Lesson {
            columns: Columns { values: &columns, categorical: &[false, true, true] },
            target: Target::new(&labels),
            objective: Objective::Logistic,
            validation: None,
        };
        let growth = Growth { leaves: 9, min_rows_in_leaf: 4, ..Growth::default() };
        let config = BoostingConfig { rounds: 20, growth, ..BoostingConfig::default() };
        (fit_boosting(&lesson, &config, 1).unwrap().trees, columns)
    }

    fn saved(trees: &TreeEnsemble) -> TensorFile {
        let mut file = TensorFile::default();
        trees.save(&mut file, "t.");
        file
    }

    #[test]
    fn what_is_kept_is_read_back_to_the_bit() {
        let (trees, columns) = fitted();
        assert!(trees.nodes.iter().any(|node| node.set != 0));
        let file = TensorFile::from_bytes(&saved(&trees).to_bytes().unwrap()).unwrap();
        let read = TreeEnsemble::load(&file, "t.").unwrap();
        assert_eq!(read, trees);
        let columns = Columns::numbers(&columns);
        assert_eq!(read.margins(columns).unwrap(), trees.margins(columns).unwrap());
    }

    #[test]
    fn what_is_no_trees_is_refused() {
        let (trees, _) = fitted();
        let inner: Vec<usize> = (0..trees.nodes.len()).filter(|at| trees.nodes[*at].left != 0).collect();
        let with_set = *inner.iter().find(|at| trees.nodes[**at].set != 0).unwrap();
        let broken = |change: &dyn Fn(&mut TreeEnsemble)| {
            let mut bad = trees.clone();
            change(&mut bad);
            TreeEnsemble::load(&saved(&bad), "t.").unwrap_err().to_string()
        };
        let says = |words: &str, change: &dyn Fn(&mut TreeEnsemble)| {
            let said = broken(change);
            assert!(said.contains(words), "{words}: {said}");
        };
        says("no trees", &|bad| bad.nodes.iter_mut().for_each(|node| node.left = 1));
        says("no trees", &|bad| bad.nodes[inner[0]].left = bad.nodes[inner[1]].left);
        says("no trees", &|bad| bad.roots.reverse());
        says("no trees", &|bad| bad.roots = vec![u32::MAX]);
        says("no trees", &|bad| bad.nodes.truncate(bad.nodes.len() - 1));
        says("deeper", &|bad| {
            // Each right child has children: 0 → 1, 2; 2 → 3, 4; …
            let left = |at: u32| if at.is_multiple_of(2) && at < 900 { at + 1 } else { 0 };
            let some = bad.nodes[0];
            bad.nodes = (0..901).map(|at| Node { left: left(at), set: 0, feature: 0, ..some }).collect();
            bad.roots = vec![0];
        });
        says("not there", &|bad| bad.width = 1);
        says("not finite", &|bad| bad.nodes[0].threshold = f32::NAN);
        says("set of categories", &|bad| bad.nodes[with_set].set = u32::MAX);
        says("set of categories", &|bad| bad.sets.truncate(bad.nodes[with_set].set as usize + 1));
        let mut short = saved(&trees);
        short.put_f32("t.covers", &[1], vec![1.0]);
        assert!(TreeEnsemble::load(&short, "t.").unwrap_err().to_string().contains("unequal"));
        assert!(TreeEnsemble::load(&TensorFile::default(), "t.").is_err());
    }

    #[test]
    fn sets_say_what_was_known_and_what_goes_left() {
        let mut trees = TreeEnsemble::new(0.0, 1);
        let set = trees.add_set([(3, true), (4, false), (40, true)].into_iter());
        let node = Node { feature: 0, threshold: 0.0, left: 1, set, missing_left: true, cover: 1.0 };
        let goes = |value: f32| trees.goes_left(&node, &[value]);
        assert_eq!([3.0, 4.0, 40.0, 5.0, 700.0, f32::NAN].map(goes), [true, false, true, true, true, true]);
        assert_eq!(trees.categories_right(&node), [4]);
    }
}
