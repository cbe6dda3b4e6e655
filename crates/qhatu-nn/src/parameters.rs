//! A model's parameters: named tensors in one slice, so that optimizing, clipping, averaging and saving
//! are loops over one slice. Gradients are a twin slice of the same length; a [`Slot`] finds a tensor in
//! either.

use std::ops::Range;

use crate::random::Stream;
use crate::tensor_file::{TensorFile, TensorFileError};

/// Where a tensor lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    start: usize,
    length: usize,
}

impl Slot {
    /// The tensor's numbers in the parameters, or in their gradients.
    ///
    /// # Panics
    /// Where the slice is not one of its parameters.
    pub fn of(self, all: &[f32]) -> &[f32] {
        &all[self.range()]
    }

    /// The same, to write to.
    ///
    /// # Panics
    /// As [`Slot::of`].
    pub fn of_mut(self, all: &mut [f32]) -> &mut [f32] {
        &mut all[self.range()]
    }

    /// Several tensors at once, to write to.
    ///
    /// # Panics
    /// Where two of them are the same, and as [`Slot::of`].
    pub fn all_of_mut<const N: usize>(slots: [Slot; N], all: &mut [f32]) -> [&mut [f32]; N] {
        all.get_disjoint_mut(slots.map(Slot::range)).expect("different tensors of these parameters")
    }

    fn range(self) -> Range<usize> {
        self.start..self.start + self.length
    }
}

/// How a tensor begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Initial {
    /// All of one number.
    Constant(f32),
    /// Normal with this deviation, cut at 2.5 of it.
    Normal(f32),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    shape: Vec<usize>,
    slot: Slot,
}

/// Named tensors in one slice.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parameters {
    entries: Vec<Entry>,
    values: Vec<f32>,
}

impl Parameters {
    /// Adds a tensor. Its first numbers depend on `stream` and its name alone. Weights shrink with
    /// weight decay if they have two dimensions or more; gains, biases and other vectors do not.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        initial: Initial,
        stream: Stream,
    ) -> Slot {
        let name = name.into();
        let slot = Slot { start: self.values.len(), length: shape.iter().product() };
        self.values.resize(slot.start + slot.length, 0.0);
        let values = &mut self.values[slot.range()];
        match initial {
            Initial::Constant(number) => values.fill(number),
            Initial::Normal(deviation) => {
                let named = name.bytes().fold(stream, |stream, byte| stream.child(u64::from(byte)));
                named.fill_normal(values, deviation);
            }
        }
        self.entries.push(Entry { name, shape: shape.to_vec(), slot });
        slot
    }

    /// All numbers.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All numbers, to write to.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The name, shape and place of each tensor, in the order they were added.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize], Slot)> {
        self.entries.iter().map(|entry| (entry.name.as_str(), entry.shape.as_slice(), entry.slot))
    }

    /// The ranges of numbers, each with whether weight decay takes them.
    pub(crate) fn decays(&self) -> impl Iterator<Item = (Range<usize>, bool)> + '_ {
        self.entries.iter().map(|entry| (entry.slot.range(), entry.shape.len() > 1))
    }

    /// Puts numbers in this order (the parameters themselves, or moments of an optimizer) into a file,
    /// each name behind `prefix`.
    ///
    /// # Panics
    /// Where there are not as many numbers as parameters.
    pub fn put(&self, file: &mut TensorFile, prefix: &str, numbers: &[f32]) {
        assert_eq!(numbers.len(), self.values.len(), "a number for each parameter");
        for Entry { name, shape, slot } in &self.entries {
            file.put_f32(&format!("{prefix}{name}"), shape, slot.of(numbers).to_vec());
        }
    }

    /// Takes numbers out of a file as [`Parameters::put`] put them there.
    ///
    /// # Errors
    /// Where a tensor is missing, has another shape, or holds what is no finite number. `numbers` may
    /// then have been written in part.
    pub fn take(&self, file: &TensorFile, prefix: &str, numbers: &mut [f32]) -> Result<(), TensorFileError> {
        assert_eq!(numbers.len(), self.values.len(), "a number for each parameter");
        for Entry { name, shape, slot } in &self.entries {
            let name = format!("{prefix}{name}");
            let found = file.f32(&name)?;
            let fault = |fault: String| TensorFileError::Missing { name: name.clone(), fault };
            let there = file.tensors.get(&name).map(|tensor| tensor.shape.as_slice());
            if there != Some(shape.as_slice()) || found.len() != slot.length {
                return Err(fault(format!("has shape {there:?}, expected {shape:?}")));
            }
            if !found.iter().all(|number| number.is_finite()) {
                return Err(fault("holds what is no finite number".to_owned()));
            }
            slot.of_mut(numbers).copy_from_slice(found);
        }
        Ok(())
    }

    /// Puts the parameters into a file under their names.
    pub fn save(&self, file: &mut TensorFile) {
        self.put(file, "", &self.values);
    }

    /// Takes the parameters out of a file.
    ///
    /// # Errors
    /// As [`Parameters::take`].
    pub fn load(&mut self, file: &TensorFile) -> Result<(), TensorFileError> {
        let mut values = self.values.clone();
        self.take(file, "", &mut values)?;
        self.values = values;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> (Parameters, Slot, Slot) {
        let mut parameters = Parameters::default();
        let w = parameters.add("w", &[2, 3], Initial::Normal(0.02), Stream::new(1));
        let b = parameters.add("b", &[3], Initial::Constant(1.0), Stream::new(1));
        (parameters, w, b)
    }

    #[test]
    fn tensors_lie_side_by_side_and_are_found_again() {
        let (mut parameters, w, b) = two();
        assert_eq!(parameters.len(), 9);
        assert_eq!(b.of(parameters.values()), [1.0; 3]);
        let [b_numbers, w_numbers] = Slot::all_of_mut([b, w], parameters.values_mut());
        b_numbers.fill(2.0);
        w_numbers.fill(3.0);
        assert_eq!(parameters.values(), [3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 2.0, 2.0, 2.0]);
        let decays: Vec<_> = parameters.decays().collect();
        assert_eq!(decays, [(0..6, true), (6..9, false)]);
    }

    #[test]
    fn first_numbers_depend_on_name_and_stream_alone() {
        let (one, w, _) = two();
        let mut other = Parameters::default();
        other.add("first", &[4, 4], Initial::Normal(1.0), Stream::new(1));
        let again = other.add("w", &[2, 3], Initial::Normal(0.02), Stream::new(1));
        assert_eq!(again.of(other.values()), w.of(one.values()));
    }

    #[test]
    fn a_file_gives_back_what_was_put_and_refuses_what_does_not_fit() {
        let (parameters, ..) = two();
        let mut file = TensorFile::default();
        parameters.save(&mut file);
        let (mut other, w, _) = two();
        w.of_mut(other.values_mut()).fill(9.0);
        other.load(&file).unwrap();
        assert_eq!(other, parameters);
        for bad in [vec![0.0; 5], vec![f32::NAN; 6]] {
            let mut damaged = file.clone();
            damaged.put_f32("w", &[bad.len() / 3, 3], bad);
            assert!(other.load(&damaged).is_err());
            assert_eq!(other.len(), 9);
        }
        file.put_f32("w", &[3, 2], vec![0.0; 6]);
        assert!(other.load(&file).unwrap_err().to_string().contains('w'));
    }
}
