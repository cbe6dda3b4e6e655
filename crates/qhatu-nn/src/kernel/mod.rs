//! The only `unsafe` of the crate: calls into the `gemm` crate behind checked lengths, calls of
//! kernels compiled for instructions that the processor was found to have, the two products with
//! weights that were laid out for them, and the team of threads that share them out.

pub(crate) mod cell;
pub(crate) mod int8;
mod lane;
mod level;
mod matmul;
pub(crate) mod norm;
pub(crate) mod normal_equations;
pub(crate) mod packed;
pub(crate) mod scan;
pub(crate) mod softmax;
pub(crate) mod step;
pub(crate) mod team;
pub(crate) mod unary;

pub use matmul::{Layout, matmul};
pub use team::Team;

#[cfg(test)]
pub(crate) mod tests {
    use crate::random::Stream;

    /// Numbers about 0 with deviation 1.
    pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut values = vec![0.0; count];
        Stream::new(seed).fill_normal(&mut values, 1.0);
        values
    }

    pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
        values.iter().map(|value| f64::from(*value)).collect()
    }

    /// Whether all are within `tolerance`, relative to numbers above 1.
    #[track_caller]
    pub(crate) fn close(found: &[f32], want: &[f64], tolerance: f64) {
        assert_eq!(found.len(), want.len());
        for (place, (found, want)) in found.iter().zip(want).enumerate() {
            let gap = (f64::from(*found) - want).abs();
            assert!(gap <= tolerance * want.abs().max(1.0), "place {place}: {found} is not {want}");
        }
    }
}
