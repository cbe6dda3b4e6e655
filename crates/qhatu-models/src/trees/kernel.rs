//! The only `unsafe` of the crate: instructions that every processor of the architecture has.

pub(super) mod cell;
