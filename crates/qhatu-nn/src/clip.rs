//! Gradient clipping by the global norm (Pascanu et al., ICML 2013).

/// The length of the gradient as one vector, summed in `f64` in order.
pub fn global_norm(gradients: &[f32]) -> f64 {
    gradients.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>().sqrt()
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
        assert_eq!([scale(5.0, 1.0), scale(0.5, 1.0), scale(5.0, 0.0)], [0.2, 1.0, 1.0]);
    }
}
