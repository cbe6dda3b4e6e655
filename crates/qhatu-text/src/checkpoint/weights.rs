//! Tensors by their published names, whatever kind of file they came from.

use std::collections::BTreeMap;

use crate::TextError;

/// A tensor of floats.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

impl Tensor {
    /// Rows become columns: TensorFlow's kernels are inputs × outputs, PyTorch's weights outputs × inputs.
    pub(crate) fn transposed(self) -> Self {
        let &[rows, columns] = self.shape.as_slice() else { return self };
        let mut values = Vec::with_capacity(self.values.len());
        for column in 0..columns {
            values.extend((0..rows).map(|row| self.values[row * columns + column]));
        }
        Self { shape: vec![columns, rows], values }
    }
}

/// Tensors by name; they are taken out as the model takes them in.
#[derive(Debug, Default)]
pub(crate) struct Weights {
    pub(crate) tensors: BTreeMap<String, Tensor>,
}

impl Weights {
    /// Takes out a tensor of this shape, all of whose numbers are finite.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, TextError> {
        let missing = || TextError::tensor(name, "is not in the checkpoint");
        let tensor = self.tensors.remove(name).ok_or_else(missing)?;
        if tensor.shape != shape {
            let fault = format!("has the shape {:?}, by config.json it is {shape:?}", tensor.shape);
            return Err(TextError::tensor(name, fault));
        }
        if tensor.values.iter().any(|value| !value.is_finite()) {
            return Err(TextError::tensor(name, "holds numbers that are not finite"));
        }
        Ok(tensor.values)
    }

    /// How many numbers there are in all.
    pub(crate) fn count(&self) -> usize {
        self.tensors.values().map(|tensor| tensor.values.len()).sum()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Renames every tensor; those without a new name go.
    pub(crate) fn renamed(self, name: impl Fn(&str) -> Option<String>) -> Self {
        let renamed = self.tensors.into_iter().filter_map(|(old, tensor)| Some((name(&old)?, tensor)));
        Self { tensors: renamed.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(shape: &[usize], values: &[f32]) -> Weights {
        let tensor = Tensor { shape: shape.to_vec(), values: values.to_vec() };
        Weights { tensors: BTreeMap::from([("w".to_owned(), tensor)]) }
    }

    #[test]
    fn only_what_fits_is_taken() {
        assert_eq!(one(&[2], &[1.0, 2.0]).take("w", &[2]).unwrap(), [1.0, 2.0]);
        let fault = one(&[2], &[1.0, 2.0]).take("w", &[1, 2]).unwrap_err().to_string();
        assert!(fault.contains("[2]") && fault.contains("[1, 2]"), "{fault}");
        assert!(one(&[1], &[f32::NAN]).take("w", &[1]).is_err());
        assert!(one(&[1], &[1.0]).take("v", &[1]).is_err());
    }

    #[test]
    fn rows_become_columns() {
        let tensor = Tensor { shape: vec![2, 3], values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] }.transposed();
        assert_eq!(tensor, Tensor { shape: vec![3, 2], values: vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0] });
    }
}
