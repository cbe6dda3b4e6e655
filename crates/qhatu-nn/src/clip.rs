//! Gradient clipping by the global norm (Pascanu et al., ICML 2013).

use rayon::prelude::*;

/// Numbers that a thread sums up at a time.
const BLOCK: usize = 1 << 16;

/// The length of the gradient as one vector, summed in `f64`: blocks side by side, then the blocks in their order, so that
/// threads change nothing.
pub fn global_norm(gradients: &[f32]) -> f64 {
    let blocks: Vec<f64> = gradients.par_chunks(BLOCK).map(sum_of_squares).collect();
    blocks.iter().sum::<f64>().sqrt()
}

/// In eight sums, so that none waits for the one before.
fn sum_of_squares(values: &[f32]) -> f64 {
    let mut sums = [0.0_f64; 8];
    let rows = values.chunks_exact(8);
    let rest: f64 = rows.remainder().iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
    for row in rows {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value) * f64::from(*value));
    }
    sums.iter().sum::<f64>() + rest
}

/// What gradients must be multiplied by so that their norm is not above `most`; 1 where it is not, and
/// where `most` is 0, which means no clipping.
pub fn scale(norm: f64, most: f32) -> f32 {
    let most = f64::from(most);
    if most > 0.0 && norm > most { (most / norm) as f32 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_too_long_is_shortened() {
        assert_eq!(global_norm(&[3.0, -4.0]), 5.0);
        assert_eq!(global_norm(&vec![-0.5; 4 * (BLOCK + 9)]), ((BLOCK + 9) as f64).sqrt());
        assert_eq!([scale(5.0, 1.0), scale(0.5, 1.0), scale(5.0, 0.0)], [0.2, 1.0, 1.0]);
    }
}
