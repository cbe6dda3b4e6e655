//! Linear map, softmax and cross-entropy in one: `L = Σ w (ln Σ e^z − z_target)` with `z = x Wᵀ + b`.
//!
//! With tied embeddings `W` is the table of all items, and the logits `z` would be the largest matrix of
//! a training by far (a batch of 12,800 positions over 3,416 items: 175 MB, twice with its gradient). So
//! rows go in blocks of [`BLOCK`]: logits, loss and gradients of a block while it is in cache, then the
//! next; never more than one block stands in memory. The gradient of the logits is
//! `(softmax z − target) · w`, hence `dx = dz W`, `dW += dzᵀ x`, `db += Σ dz`.
//!
//! A block is still too large for the nearest cache, so that going over it is what costs. Of the logits only `e^z` is
//! written: what rows are divided by is put on the rows of `x` and `dx`, which are narrow, and targets, which are few, are
//! subtracted by themselves. The largest logit of a row is looked for only where the lengths of `x` and `W` do not
//! say that `e^z` is within bounds anyway.
//!
//! A row may have several targets with a weight each (a basket), or none. [`Offsets`] are numbers added
//! to single logits, with a gradient of their own: how a model says that what was bought before is
//! bought again.

use crate::kernel::softmax::exponents;
use crate::kernel::step::add_scaled;
use crate::kernel::{Layout, matmul};

/// Rows whose logits are in memory at a time.
pub const BLOCK: usize = 128;
/// The target of a row that does not count.
pub const IGNORE: u32 = u32::MAX;
/// Logits up to this size need not be lowered before they are powers of e: sums of a million of them stay finite.
const SAFE: f32 = 60.0;

/// What each row should say.
#[derive(Debug, Clone, Copy)]
pub enum Targets<'a> {
    /// A class for each row; [`IGNORE`] leaves a row out. Such a row is computed all the same, so
    /// gather those that count where they are few.
    Class(&'a [u32]),
    /// Several classes for each row.
    Weighted(Sparse<'a>),
}

/// Numbers for single classes of single rows.
#[derive(Debug, Clone, Copy)]
pub struct Sparse<'a> {
    /// Where each row's entries begin, and at last their number.
    pub starts: &'a [usize],
    /// The class of each entry.
    pub classes: &'a [u32],
    /// The number of each entry.
    pub values: &'a [f32],
}

/// Numbers that are added to single logits.
pub type Offsets<'a> = Sparse<'a>;

impl Sparse<'_> {
    fn row(&self, row: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let range = self.starts[row]..self.starts[row + 1];
        self.classes[range.clone()]
            .iter()
            .map(|class| *class as usize)
            .zip(self.values[range].iter().copied())
    }
}

impl Targets<'_> {
    fn each(&self, row: usize, mut work: impl FnMut(usize, f32)) {
        match self {
            Self::Class(classes) if classes[row] == IGNORE => {}
            Self::Class(classes) => work(classes[row] as usize, 1.0),
            Self::Weighted(sparse) => sparse.row(row).for_each(|(class, weight)| work(class, weight)),
        }
    }

    fn weight(&self, row: usize) -> f32 {
        let mut sum = 0.0;
        self.each(row, |_, weight| sum += weight);
        sum
    }
}

/// The loss of rows of width `x` over classes.
#[derive(Debug, Clone, Copy)]
pub struct CrossEntropy<'a> {
    /// Classes × width.
    pub weights: &'a [f32],
    /// A number for each class; with [`CrossEntropy::grouped`] one for each group and class.
    pub bias: Option<&'a [f32]>,
    /// Columns of `x`.
    pub width: usize,
    /// What each row should say.
    pub targets: Targets<'a>,
    /// What is added to single logits.
    pub offsets: Option<Offsets<'a>>,
}

/// Where gradients go.
#[derive(Debug)]
pub struct Gradients<'a> {
    /// What all of them are multiplied by: 1 ⁄ number of targets for a mean.
    pub scale: f32,
    /// Of the rows; overwritten.
    pub x: &'a mut [f32],
    /// Of the weights; added to.
    pub weights: &'a mut [f32],
    /// Of the bias; added to.
    pub bias: Option<&'a mut [f32]>,
    /// Of the offsets, entry by entry; overwritten.
    pub offsets: Option<&'a mut [f32]>,
}

/// Rows `first..first + count`.
#[derive(Debug, Clone, Copy)]
struct Rows {
    first: usize,
    count: usize,
}

impl<'a> CrossEntropy<'a> {
    /// The same with a bias that differs from row to row: row `i` has that of group `groups[i]`.
    pub fn grouped(self, groups: &'a [u32]) -> Grouped<'a> {
        Grouped { entropy: self, groups: Some(groups) }
    }

    fn alone(&self) -> Grouped<'a> {
        Grouped { entropy: *self, groups: None }
    }

    /// The sum of the rows' losses. `work` is room for a block's logits, kept by the caller.
    pub fn loss(&self, x: &[f32], work: &mut Vec<f32>) -> f64 {
        self.alone().loss(x, work)
    }

    /// The sum of the rows' losses, and all gradients.
    pub fn forward_backward(&self, x: &[f32], gradients: &mut Gradients, work: &mut Vec<f32>) -> f64 {
        self.alone().forward_backward(x, gradients, work)
    }

    fn classes(&self) -> usize {
        self.weights.len() / self.width.max(1)
    }

    fn each_block(&self, x: &[f32], mut work: impl FnMut(Rows)) {
        let rows = x.len() / self.width.max(1);
        assert_eq!(rows * self.width, x.len(), "whole rows");
        let listed = match self.targets {
            Targets::Class(classes) => classes.len(),
            Targets::Weighted(sparse) => sparse.starts.len() - 1,
        };
        assert_eq!(listed, rows, "targets for each row");
        for first in (0..rows).step_by(BLOCK) {
            work(Rows { first, count: BLOCK.min(rows - first) });
        }
    }
}

/// A [`CrossEntropy`] whose bias may differ from group to group of rows.
#[derive(Debug, Clone, Copy)]
pub struct Grouped<'a> {
    entropy: CrossEntropy<'a>,
    groups: Option<&'a [u32]>,
}

impl<'a> std::ops::Deref for Grouped<'a> {
    type Target = CrossEntropy<'a>;

    fn deref(&self) -> &Self::Target {
        &self.entropy
    }
}

impl Grouped<'_> {
    /// As [`CrossEntropy::loss`].
    pub fn loss(&self, x: &[f32], work: &mut Vec<f32>) -> f64 {
        let (mut sum, bound) = (0.0, self.bound());
        self.each_block(x, |rows| {
            let mut block = self.block(rows, work);
            sum += self.block_loss(x, bound, &mut block);
        });
        sum
    }

    /// The numbers of a bias, or of its gradient, that row `row` has.
    fn group(&self, row: usize) -> std::ops::Range<usize> {
        let group = self.groups.map_or(0, |groups| groups[row] as usize);
        group * self.classes()..(group + 1) * self.classes()
    }

    /// As [`CrossEntropy::forward_backward`].
    pub fn forward_backward(&self, x: &[f32], gradients: &mut Gradients, work: &mut Vec<f32>) -> f64 {
        assert_eq!(x.len(), gradients.x.len(), "a gradient for each number");
        assert_eq!(self.weights.len(), gradients.weights.len(), "a gradient for each weight");
        let (mut sum, bound) = (0.0, self.bound());
        self.each_block(x, |rows| {
            let mut block = self.block(rows, work);
            sum += self.block_loss(x, bound, &mut block);
            self.block_backward(x, &mut block, gradients);
            self.subtract_targets(x, &mut block, gradients);
        });
        sum
    }

    /// Longest row of the weights, and largest number of the bias.
    fn bound(&self) -> [f32; 2] {
        let longest = self.weights.chunks_exact(self.width.max(1)).map(length).fold(0.0, larger);
        let bias = self.bias.unwrap_or_default().iter().fold(0.0, |most, bias| larger(most, bias.abs()));
        [longest, bias]
    }

    fn block<'w>(&self, rows: Rows, work: &'w mut Vec<f32>) -> Block<'w> {
        let size = rows.count.max(BLOCK) * self.classes();
        work.resize(size + BLOCK * (1 + self.width), 0.0);
        let (powers, rest) = work.split_at_mut(size);
        let (factors, scaled) = rest.split_at_mut(BLOCK);
        Block {
            rows,
            powers: &mut powers[..rows.count * self.classes()],
            factors: &mut factors[..rows.count],
            scaled: &mut scaled[..rows.count * self.width],
        }
    }

    /// Leaves the block's powers, and what makes probabilities times weights of them.
    fn block_loss(&self, x: &[f32], [longest, most]: [f32; 2], block: &mut Block) -> f64 {
        let classes = self.classes();
        let Rows { first, count } = block.rows;
        if let Some(bias) = self.bias {
            let rows = block.powers.chunks_exact_mut(classes.max(1)).zip(first..);
            rows.for_each(|(logits, row)| logits.copy_from_slice(&bias[self.group(row)]));
        }
        matmul(
            (block.powers, Layout::dense(count, classes)),
            if self.bias.is_some() { 1.0 } else { 0.0 },
            (&x[first * self.width..], Layout::dense(count, self.width)),
            (self.weights, Layout::dense(classes, self.width).transposed()),
            1.0,
        );
        let mut sum = 0.0;
        for (place, logits) in block.powers.chunks_exact_mut(classes.max(1)).enumerate() {
            let row = first + place;
            let mut bound = longest * length(&x[row * self.width..][..self.width]) + most;
            if let Some(offsets) = self.offsets {
                for (class, value) in offsets.row(row) {
                    logits[class] += value;
                    bound += value.abs();
                }
            }
            let mut said = 0.0;
            self.targets.each(row, |class, weight| said += f64::from(weight) * f64::from(logits[class]));
            let weight = self.targets.weight(row);
            let top =
                if bound <= SAFE { 0.0 } else { logits.iter().copied().fold(f32::NEG_INFINITY, f32::max) };
            let whole = exponents(logits, top);
            sum += f64::from(weight) * (f64::from(top) + f64::from(whole).ln()) - said;
            block.factors[place] = weight / whole;
        }
        sum
    }

    /// Gradients as if no row had a target.
    fn block_backward(&self, x: &[f32], block: &mut Block, gradients: &mut Gradients) {
        let (classes, width) = (self.classes(), self.width);
        let Rows { first, count } = block.rows;
        let (layout, x_layout) = (Layout::dense(count, classes), Layout::dense(count, width));
        block.factors.iter_mut().for_each(|factor| *factor *= gradients.scale);
        let d_x = &mut gradients.x[first * width..][..count * width];
        let weights = (self.weights, Layout::dense(classes, width));
        matmul((d_x, x_layout), 0.0, (block.powers, layout), weights, 1.0);
        let rows = x[first * width..].chunks_exact(width).zip(block.scaled.chunks_exact_mut(width));
        for (((x, scaled), d_x), factor) in rows.zip(d_x.chunks_exact_mut(width)).zip(&*block.factors) {
            d_x.iter_mut().for_each(|d| *d *= factor);
            scaled.iter_mut().zip(x).for_each(|(scaled, x)| *scaled = factor * x);
        }
        matmul(
            (gradients.weights, weights.1),
            1.0,
            (block.powers, layout.transposed()),
            (block.scaled, x_layout),
            1.0,
        );
        let by_row = block.powers.chunks_exact(classes.max(1)).zip(&*block.factors).zip(first..);
        if let Some(d_bias) = gradients.bias.as_deref_mut() {
            by_row.for_each(|((powers, factor), row)| {
                add_scaled(&mut d_bias[self.group(row)], powers, *factor)
            });
        }
    }

    /// Takes the targets off the gradients, and off the powers, from which those of the offsets are then read.
    fn subtract_targets(&self, x: &[f32], block: &mut Block, gradients: &mut Gradients) {
        let (classes, width, scale) = (self.classes(), self.width, gradients.scale);
        for (place, powers) in block.powers.chunks_exact_mut(classes.max(1)).enumerate() {
            let (row, factor) = (block.rows.first + place, block.factors[place]);
            let own = row * width..(row + 1) * width;
            self.targets.each(row, |class, weight| {
                let (weight, of_class) = (weight * scale, class * width..(class + 1) * width);
                add_scaled(&mut gradients.x[own.clone()], &self.weights[of_class.clone()], -weight);
                add_scaled(&mut gradients.weights[of_class], &x[own.clone()], -weight);
                if let Some(d_bias) = gradients.bias.as_deref_mut() {
                    d_bias[self.group(row).start + class] -= weight;
                }
                if factor != 0.0 {
                    powers[class] -= weight / factor;
                }
            });
            if let (Some(offsets), Some(d_offsets)) = (self.offsets, gradients.offsets.as_deref_mut()) {
                for entry in offsets.starts[row]..offsets.starts[row + 1] {
                    d_offsets[entry] = powers[offsets.classes[entry] as usize] * factor;
                }
            }
        }
    }
}

/// What is computed of some rows.
struct Block<'w> {
    rows: Rows,
    /// Rows × classes: the powers of e.
    powers: &'w mut [f32],
    /// For each row what its powers are multiplied by in its gradients.
    factors: &'w mut [f32],
    /// The rows of `x` times their factors.
    scaled: &'w mut [f32],
}

fn length(row: &[f32]) -> f32 {
    row.iter().map(|x| x * x).sum::<f32>().sqrt()
}

/// The larger, or what is no number.
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Numbers, differs, wide};
    use crate::kernel::tests::numbers;

    /// Inputs: x, weights, bias, offsets.
    fn reference(loss: &Grouped, given: &Numbers, scale: f64) -> f64 {
        let (width, classes) = (loss.width, loss.classes());
        let rows = given[0].len() / width;
        let mut sum = 0.0;
        for row in 0..rows {
            let mut z: Vec<f64> = (0..classes)
                .map(|class| {
                    let dot = (0..width).map(|i| given[0][row * width + i] * given[1][class * width + i]);
                    dot.sum::<f64>() + given[2].get(loss.group(row).start + class).copied().unwrap_or(0.0)
                })
                .collect();
            if let Some(offsets) = loss.offsets {
                for entry in offsets.starts[row]..offsets.starts[row + 1] {
                    z[offsets.classes[entry] as usize] += given[3][entry];
                }
            }
            let whole: f64 = z.iter().map(|z| z.exp()).sum();
            loss.targets.each(row, |class, weight| sum += f64::from(weight) * (whole.ln() - z[class]));
        }
        sum * scale
    }

    fn check(loss: &Grouped, rows: usize) {
        let x = numbers(rows * loss.width, 8);
        let bias = loss.bias.unwrap_or(&[]).to_vec();
        let offsets = loss.offsets.map_or(Vec::new(), |offsets| offsets.values.to_vec());
        let (mut d_x, mut d_w) = (vec![7.0; x.len()], vec![0.0; loss.weights.len()]);
        let (mut d_b, mut d_o) = (vec![0.0; bias.len()], vec![7.0; offsets.len()]);
        let mut gradients = Gradients {
            scale: 0.5,
            x: &mut d_x,
            weights: &mut d_w,
            bias: loss.bias.map(|_| d_b.as_mut_slice()),
            offsets: Some(&mut d_o),
        };
        let mut work = Vec::new();
        let found = loss.forward_backward(&x, &mut gradients, &mut work);
        assert_eq!(found, loss.loss(&x, &mut work));
        let inputs = [x.as_slice(), loss.weights, &bias, &offsets];
        let want = reference(loss, &wide(&inputs), 1.0);
        assert!((found - want).abs() < 1e-5 * want.abs().max(1.0), "{found} is not {want}");
        let slope = |given: &Numbers| reference(loss, given, 0.5);
        assert_eq!(differs(&inputs, &[&d_x, &d_w, &d_b, &d_o], slope), None);
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let (weights, bias) = (numbers(7 * 3, 1), numbers(7, 2));
        let plain = CrossEntropy {
            weights: &weights,
            bias: None,
            width: 3,
            targets: Targets::Class(&[6]),
            offsets: None,
        };
        check(&plain.alone(), 1);
        check(
            &CrossEntropy { targets: Targets::Class(&[0, IGNORE, 3]), bias: Some(&bias), ..plain }.alone(),
            3,
        );
        let biases = numbers(2 * 7, 2);
        let three = CrossEntropy { targets: Targets::Class(&[0, 5, 3]), bias: Some(&biases), ..plain };
        check(&three.grouped(&[1, 0, 1]), 3);
        let sparse = Sparse { starts: &[0, 2, 2, 3], classes: &[1, 4, 0], values: &[0.5, 1.5, 0.25] };
        let offsets = Sparse { starts: &[0, 0, 1, 3], classes: &[2, 0, 6], values: &[1.0, -0.5, 2.0] };
        check(
            &CrossEntropy { targets: Targets::Weighted(sparse), offsets: Some(offsets), ..plain }.alone(),
            3,
        );
    }

    #[test]
    fn more_rows_than_a_block_are_no_different() {
        let weights = numbers(5 * 2, 1);
        let targets: Vec<u32> = (0..BLOCK as u32 + 3).map(|row| row % 5).collect();
        let targets = Targets::Class(&targets);
        let plain = CrossEntropy { weights: &weights, bias: None, width: 2, targets, offsets: None };
        check(&plain.alone(), BLOCK + 3);
    }
}
