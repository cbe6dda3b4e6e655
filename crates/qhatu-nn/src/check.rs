//! Gradients against central differences in `f64`, for the tests of the operations.

/// The inputs of an operation, each as a list of numbers.
pub(crate) type Numbers = Vec<Vec<f64>>;

pub(crate) fn wide(inputs: &[&[f32]]) -> Numbers {
    inputs.iter().map(|input| input.iter().map(|number| f64::from(*number)).collect()).collect()
}

/// Where a gradient differs from the slope of `loss`, with both; `None` where none does.
pub(crate) fn differs(
    inputs: &[&[f32]],
    gradients: &[&[f32]],
    loss: impl Fn(&Numbers) -> f64,
) -> Option<(usize, usize, f32, f64)> {
    assert_eq!(inputs.len(), gradients.len());
    let mut near = wide(inputs);
    for input in 0..inputs.len() {
        assert_eq!(inputs[input].len(), gradients[input].len());
        for place in 0..inputs[input].len() {
            let middle = near[input][place];
            near[input][place] = middle + 1e-5;
            let above = loss(&near);
            near[input][place] = middle - 1e-5;
            let slope = (above - loss(&near)) / 2e-5;
            near[input][place] = middle;
            let found = gradients[input][place];
            if (f64::from(found) - slope).abs() > 2e-4 * slope.abs().max(1.0) {
                return Some((input, place, found, slope));
            }
        }
    }
    None
}
