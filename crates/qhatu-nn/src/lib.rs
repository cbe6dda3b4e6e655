//! How a layer is computed: operations over slices of `f32`, and what they stand on.
//!
//! [`operation`]s are pairs of forward and backward, a file each with its formula; [`layer`]s are
//! operations with parameters; [`Parameters`] lie in one slice, which [`AdamW`] steps, [`Ema`] averages
//! and [`tensor_file`] keeps. No tape, no graph, no tensor type: a model calls its layers forward, then
//! backward in turn.
//!
//! Only this crate knows how a matrix is multiplied. `unsafe` stands in `kernel` alone, behind safe
//! functions that check lengths. Everything here runs in a fixed order, and on the calling thread but for
//! [`linalg`], [`InnerProductIndex`], [`AdamW`], [`clip`] and packed layers (which share outputs out among a [`Team`]), so a
//! result depends on neither the number of threads nor their timing.

mod adamw;
#[cfg(test)]
mod check;
pub mod clip;
mod ema;
mod inner_product_search;
mod kernel;
pub mod layer;
pub mod linalg;
pub mod operation;
mod parameters;
mod random;
mod schedule;
pub mod tensor_file;

pub use adamw::{AdamW, AdamWConfig};
pub use ema::Ema;
pub use inner_product_search::{Found, InnerProductIndex, NotSearchable, inner_products_of};
pub use kernel::{Layout, Team, matmul};
pub use parameters::{Initial, Parameters, Slot};
pub use random::Stream;
pub use schedule::{Decay, Schedule};
