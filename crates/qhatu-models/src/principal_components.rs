//! Vectors made shorter: where they lie along the directions in which they differ most, each with deviation 1.
//!
//! Principal components (Hotelling, 1933), whitened. The directions come from a random block by multiplications with the
//! covariance, each made orthogonal again (Halko, Martinsson and Tropp, SIAM Review 2011, algorithm 4.4), and are turned
//! onto the axes by Jacobi's rotations of the small matrix that is left. A direction in which the vectors hardly differ
//! (a variance below a hundred-thousandth of the largest) is left out: it would be rounding, made large.
//!
//! Time: O(vectors × inputs²). Memory beside the vectors: as much again, and a matrix of inputs × inputs.

use qhatu_nn::tensor_file::TensorFile;
use qhatu_nn::{Layout, Stream, matmul};

use crate::error::{ModelError, misfit};

const NAME: &str = "principal_components";
/// Directions that are looked for beside those wanted.
const SPARE: usize = 8;
/// Multiplications with the covariance.
const TURNS: usize = 12;
/// Smallest variance, as a share of the largest.
const FLOOR: f64 = 1e-5;
const SWEEPS: usize = 30;

/// The map from a vector to its components.
#[derive(Debug, Clone, PartialEq)]
pub struct PrincipalComponents {
    /// Where the vectors have their middle.
    mean: Vec<f32>,
    /// Components × inputs, each direction divided by the deviation along it.
    directions: Vec<f32>,
}

impl PrincipalComponents {
    /// Finds at most `width` components of vectors (one behind another, each of `inputs` numbers), of which each counts as
    /// often as `counts` says. None where nothing counts or all are equal.
    pub fn fit(vectors: &[f32], inputs: usize, counts: &[u32], width: usize, stream: Stream) -> Self {
        let total: f64 = counts.iter().map(|count| f64::from(*count)).sum();
        let rows = || vectors.chunks_exact(inputs.max(1)).zip(counts).filter(|(_, count)| **count > 0);
        let mut mean = vec![0.0_f64; inputs];
        for (vector, count) in rows() {
            let share = f64::from(*count) / total;
            mean.iter_mut().zip(vector).for_each(|(mean, value)| *mean += share * f64::from(*value));
        }
        let centred: Vec<f32> = rows()
            .flat_map(|(vector, count)| {
                let weight = (f64::from(*count) / total).sqrt();
                vector
                    .iter()
                    .zip(&mean)
                    .map(move |(value, mean)| (weight * (f64::from(*value) - mean)) as f32)
            })
            .collect();
        let mean = mean.into_iter().map(|value| value as f32).collect();
        if inputs == 0 || width == 0 || centred.is_empty() {
            return Self { mean, directions: Vec::new() };
        }
        let matrix = Layout::dense(centred.len() / inputs, inputs);
        let mut covariance = vec![0.0; inputs * inputs];
        let square = Layout::dense(inputs, inputs);
        matmul((&mut covariance, square), 0.0, (&centred, matrix.transposed()), (&centred, matrix), 1.0);
        Self { mean, directions: whitened(&covariance, inputs, width, stream) }
    }

    /// Numbers of a vector.
    pub fn inputs(&self) -> usize {
        self.mean.len()
    }

    /// Components of a vector.
    pub fn width(&self) -> usize {
        self.directions.len() / self.mean.len().max(1)
    }

    /// The components of vectors. Those of a vector do not depend on the vectors beside it.
    ///
    /// # Shapes
    /// Vectors × inputs to vectors × width.
    pub fn transform(&self, vectors: &[f32]) -> Vec<f32> {
        let inputs = self.inputs().max(1);
        let of = |vector: &[f32]| -> Vec<f32> {
            let centred: Vec<f32> = vector.iter().zip(&self.mean).map(|(value, mean)| value - mean).collect();
            self.directions.chunks_exact(inputs).map(|own| product(own, &centred) as f32).collect()
        };
        vectors.chunks_exact(inputs).flat_map(of).collect()
    }

    /// Puts it into a file.
    pub fn save(&self, file: &mut TensorFile, prefix: &str) {
        file.put_f32(&format!("{prefix}mean"), &[self.inputs()], self.mean.clone());
        let shape = [self.width(), self.inputs()];
        file.put_f32(&format!("{prefix}directions"), &shape, self.directions.clone());
    }

    /// Reads it back.
    ///
    /// # Errors
    /// Where a part is missing, they do not fit together, or a number is not finite.
    pub fn load(file: &TensorFile, prefix: &str) -> Result<Self, ModelError> {
        let mean = file.f32(&format!("{prefix}mean"))?.to_vec();
        let directions = file.f32(&format!("{prefix}directions"))?.to_vec();
        let whole = match mean.len() {
            0 => directions.is_empty(),
            inputs => directions.len().is_multiple_of(inputs),
        };
        if !whole {
            let fault = format!("{} numbers are no directions of {}", directions.len(), mean.len());
            return Err(misfit(NAME, fault));
        }
        if mean.iter().chain(&directions).any(|value| !value.is_finite()) {
            return Err(misfit(NAME, "a direction holds what is no finite number"));
        }
        Ok(Self { mean, directions })
    }
}

/// The directions of largest variance, each divided by its deviation: at most `width` × inputs.
fn whitened(covariance: &[f32], inputs: usize, width: usize, stream: Stream) -> Vec<f32> {
    let block = inputs.min(width + SPARE);
    let square = (covariance, Layout::dense(inputs, inputs));
    // A row a direction.
    let shape = Layout::dense(block, inputs);
    let mut basis = vec![0.0; block * inputs];
    stream.fill_normal(&mut basis, 1.0);
    orthogonal(&mut basis, inputs);
    let mut turned = vec![0.0; block * inputs];
    for _ in 0..TURNS {
        matmul((&mut turned, shape), 0.0, (&basis, shape), square, 1.0);
        orthogonal(&mut turned, inputs);
        std::mem::swap(&mut basis, &mut turned);
    }
    matmul((&mut turned, shape), 0.0, (&basis, shape), square, 1.0);
    let mut small = vec![0.0_f32; block * block];
    let within = Layout::dense(block, block);
    matmul((&mut small, within), 0.0, (&turned, shape), (&basis, shape.transposed()), 1.0);
    let axes = jacobi(small.into_iter().map(f64::from).collect(), block);
    let largest = axes.first().map_or(0.0, |(variance, _)| *variance);
    let kept = axes.iter().take(width).filter(|(variance, _)| *variance > FLOOR * largest && *variance > 0.0);
    let direction = |(variance, axis): &(f64, Vec<f64>)| -> Vec<f32> {
        let mut sum = vec![0.0_f64; inputs];
        for (share, row) in axis.iter().zip(basis.chunks_exact(inputs)) {
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += share * f64::from(*value));
        }
        sum.into_iter().map(|value| (value / variance.sqrt()) as f32).collect()
    };
    kept.flat_map(direction).collect()
}

/// Makes rows orthogonal and of length 1, one after another, twice for the rounding (Giraud et al., 2005); one that depends
/// on those before it becomes zero.
fn orthogonal(rows: &mut [f32], width: usize) {
    for place in 0..rows.len() / width {
        let (before, rest) = rows.split_at_mut(place * width);
        let own = &mut rest[..width];
        let first = product(own, own).sqrt();
        for _ in 0..2 {
            for other in before.chunks_exact(width) {
                let share = product(own, other) as f32;
                own.iter_mut().zip(other).for_each(|(own, other)| *own -= share * other);
            }
        }
        let length = product(own, own).sqrt();
        let scale = if length > 1e-6 * first { (1.0 / length) as f32 } else { 0.0 };
        own.iter_mut().for_each(|own| *own *= scale);
    }
}

fn product(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Eigenvalues and eigenvectors of a symmetric matrix, the largest value first (cyclic rotations; Golub and Van Loan, Matrix
/// Computations, section 8.5).
fn jacobi(mut matrix: Vec<f64>, n: usize) -> Vec<(f64, Vec<f64>)> {
    let mut axes: Vec<f64> = (0..n * n).map(|at| f64::from(u8::from(at % (n + 1) == 0))).collect();
    let scale: f64 = matrix.iter().map(|value| value * value).sum();
    for _ in 0..SWEEPS {
        let pairs = || (0..n).flat_map(|p| (p + 1..n).map(move |q| (p, q)));
        let off: f64 = pairs().map(|(p, q)| matrix[p * n + q].powi(2)).sum();
        if off <= 1e-24 * scale {
            break;
        }
        for (p, q) in pairs() {
            rotate(&mut matrix, &mut axes, n, (p, q));
        }
    }
    let axis = |place: usize| (0..n).map(|row| axes[row * n + place]).collect();
    let mut found: Vec<(f64, Vec<f64>)> =
        (0..n).map(|place| (matrix[place * (n + 1)], axis(place))).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found
}

/// Turns rows and columns `p` and `q` so that the entry at both becomes 0.
fn rotate(matrix: &mut [f64], axes: &mut [f64], n: usize, (p, q): (usize, usize)) {
    let off = matrix[p * n + q];
    if off == 0.0 {
        return;
    }
    let theta = (matrix[q * (n + 1)] - matrix[p * (n + 1)]) / (2.0 * off);
    let t = theta.signum() / (theta.abs() + (1.0 + theta * theta).sqrt());
    let c = 1.0 / (1.0 + t * t).sqrt();
    let s = t * c;
    let turn = |values: &mut [f64], (a, b): (usize, usize)| {
        let (x, y) = (values[a], values[b]);
        (values[a], values[b]) = (c * x - s * y, s * x + c * y);
    };
    for k in 0..n {
        turn(matrix, (k * n + p, k * n + q));
        turn(axes, (k * n + p, k * n + q));
    }
    for k in 0..n {
        turn(matrix, (p * n + k, q * n + k));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 400 vectors of 12 numbers that differ along three directions, the first most.
    fn vectors() -> Vec<f32> {
        let mut shares = vec![0.0; 400 * 3];
        Stream::new(3).fill_normal(&mut shares, 1.0);
        let mut directions = vec![0.0; 3 * 12];
        Stream::new(4).fill_normal(&mut directions, 1.0);
        orthogonal(&mut directions, 12);
        let vector = |shares: &[f32]| -> Vec<f32> {
            let along = |at: usize| {
                let of =
                    |number: usize| [5.0, 2.0, 0.5][number] * shares[number] * directions[number * 12 + at];
                7.0 + (0..3).map(of).sum::<f32>()
            };
            (0..12).map(along).collect()
        };
        shares.chunks_exact(3).flat_map(vector).collect()
    }

    #[test]
    fn components_are_as_many_as_directions_and_white() {
        let vectors = vectors();
        let counts = vec![1; 400];
        let map = PrincipalComponents::fit(&vectors, 12, &counts, 8, Stream::new(1));
        assert_eq!((map.inputs(), map.width()), (12, 3), "what is only rounding is left out");
        let found = map.transform(&vectors);
        for a in 0..3 {
            for b in 0..3 {
                let sum: f32 = found.chunks_exact(3).map(|row| row[a] * row[b]).sum();
                let want = f32::from(u8::from(a == b));
                assert!((sum / 400.0 - want).abs() < 1e-3, "{a} {b}: {}", sum / 400.0);
            }
        }
        let first = PrincipalComponents::fit(&vectors, 12, &counts, 1, Stream::new(9)).transform(&vectors);
        let sign = (first[0] * found[0]).signum();
        let same =
            first.iter().zip(found.chunks_exact(3)).all(|(one, all)| (one - sign * all[0]).abs() < 1e-2);
        assert!(same, "the first is the same whatever the start");
    }

    #[test]
    fn what_counts_twice_is_as_good_as_there_twice() {
        let vectors = vectors();
        let counts: Vec<u32> = (0..400).map(|row| row % 3).collect();
        let repeat = |row: usize| vectors[row * 12..][..12].repeat(counts[row] as usize);
        let repeated: Vec<f32> = (0..400).flat_map(repeat).collect();
        let one = PrincipalComponents::fit(&vectors, 12, &counts, 2, Stream::new(1));
        let other = PrincipalComponents::fit(&repeated, 12, &vec![1; repeated.len() / 12], 2, Stream::new(1));
        let (one, other) = (one.transform(&vectors), other.transform(&vectors));
        assert!(one.iter().zip(&other).all(|(one, other)| (one - other).abs() < 1e-2));
    }

    #[test]
    fn where_nothing_differs_there_are_none() {
        let fit =
            |vectors: &[f32], counts: &[u32]| PrincipalComponents::fit(vectors, 2, counts, 5, Stream::new(1));
        assert_eq!(fit(&[1.0, 2.0, 1.0, 2.0], &[1, 1]).width(), 0);
        assert_eq!(fit(&[1.0, 2.0, 3.0, 2.0], &[0, 0]).width(), 0);
        assert_eq!(fit(&[], &[]).width(), 0);
        assert_eq!(fit(&[1.0, 2.0, 3.0, 2.0], &[1, 1]).transform(&[2.0, 2.0]).len(), 1);
    }

    #[test]
    fn what_is_kept_is_read_back_and_what_is_damaged_refused() {
        let map = PrincipalComponents::fit(&vectors(), 12, &[1; 400], 2, Stream::new(1));
        let mut file = TensorFile::default();
        map.save(&mut file, "text.");
        assert_eq!(PrincipalComponents::load(&file, "text.").unwrap(), map);
        let refused = |change: &dyn Fn(&mut TensorFile)| {
            let mut other = file.clone();
            change(&mut other);
            PrincipalComponents::load(&other, "text.").unwrap_err().to_string()
        };
        assert!(
            refused(&|file| file.put_f32("text.mean", &[7], vec![0.0; 7])).contains("no directions of 7")
        );
        let gap = |file: &mut TensorFile| file.put_f32("text.mean", &[12], vec![f32::NAN; 12]);
        assert!(refused(&gap).contains("no finite number"));
        refused(&|file| drop(file.tensors.remove("text.directions")));
    }
}
