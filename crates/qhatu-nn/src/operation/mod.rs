//! Operations: plain pairs `forward` / `backward` over slices of `f32`, matrices row after row.
//!
//! What holds for all of them:
//! * gradients of inputs are overwritten, gradients of parameters are added to: so a batch that is too large
//!   for memory is gone through in pieces, and gradients are cleared only before the first of them (gradient
//!   accumulation);
//! * everything runs on the calling thread, and the order of every sum is fixed: whoever wants threads
//!   cuts the batch into parts, gives each its own gradients, and adds those up in order;
//! * a slice of the wrong length is a fault of the calling code and panics; no number does.

pub mod activation;
pub mod attention;
pub mod binary;
pub mod contrastive;
pub mod cross_entropy;
pub mod dropout;
pub mod embedding;
pub mod layer_norm;
pub mod linear;
pub mod recurrent;
pub mod sampled;
