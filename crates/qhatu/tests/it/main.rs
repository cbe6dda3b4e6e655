//! The program as its users run it: commands, exit status, what is printed and what stands on disk.
#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

mod models;
mod off_policy;
mod propensity;
mod propensity_served;
mod ranking;
mod serve;
mod server;
mod shop;
mod text;
mod title;
mod train;
