//! Text models against the libraries that published them, and trained from end to end.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may stop where it fails, and says what it measured"
)]

mod bert;
mod export;
mod layouts;
mod place;
mod tokenizer;
mod training;
