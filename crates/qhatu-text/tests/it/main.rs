//! Text models against the libraries that published them, and trained from end to end.

mod bert;
mod layouts;
mod place;
mod tokenizer;
mod training;
