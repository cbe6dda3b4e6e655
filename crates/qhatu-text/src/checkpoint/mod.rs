//! Published checkpoints: read whatever their layout, written in Hugging Face's.
//!
//! Each layout is brought to Hugging Face's names and orientation ([`weights`]), and [`place`] says where
//! each of those tensors lies in a [`Bert`](crate::Bert). Nothing of a file is trusted: sizes, shapes, kinds
//! of numbers and checksums are looked at before memory is taken, and what does not hold is said.

mod hdf5;
pub(crate) mod huggingface;
pub(crate) mod keras_hub;
mod place;
pub(crate) mod tensor_bundle;
pub(crate) mod tensorflow;
mod weights;
mod wire;
mod zip;

/// Hugging Face's names, each with its numbers out of `numbers`: the weights, or their gradients.
#[cfg(test)]
pub(crate) fn published_tensors(bert: &crate::Bert, numbers: &[f32]) -> Vec<(String, Vec<f32>)> {
    let named = |place: place::Place| (place.name, place.slot.of(numbers)[place.part].to_vec());
    place::places(bert).into_iter().map(named).collect()
}
