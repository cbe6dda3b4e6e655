//! Recommenders, one file each, one conformance suite for all.
