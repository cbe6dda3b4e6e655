//! How a layer is computed: operations over slices of `f32`, and what they stand on.
//!
//! Only this crate knows how a matrix is multiplied. `unsafe` stands in `kernel` alone, behind safe
//! functions that check lengths.

mod kernel;
pub mod linalg;
pub mod tensor_file;

pub use kernel::{Layout, matmul};
