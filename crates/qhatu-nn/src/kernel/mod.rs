//! The only `unsafe` of the crate: calls into the `gemm` crate behind checked lengths.

mod matmul;

pub use matmul::{Layout, matmul};
