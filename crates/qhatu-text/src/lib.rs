//! From text to vectors: normalizing, WordPiece, and a BERT encoder that loads published
//! checkpoints and gives the same numbers as the implementation that they were made with.
//!
//! A text goes through [`Normalizer`] and [`WordPiece`] (together a [`Tokenizer`]) to ids.
//! A shop's own cleaning (case, accents, special characters, stop words) is [`Cleaning`]: every step
//! is off unless asked for, because a published checkpoint expects the text as people write it.

mod cleaning;
mod error;
mod file;
mod normalizer;
mod stop_word;
mod tokenizer;
mod tokenizer_file;
mod vocabulary;
mod wordpiece;
mod wordpiece_trainer;

pub use cleaning::Cleaning;
pub use error::TextError;
pub use normalizer::{Normalizer, words};
pub use stop_word::Language;
pub use tokenizer::{Encoding, SpecialIds, SpecialTokens, Tokenizer};
pub use vocabulary::Vocabulary;
pub use wordpiece::WordPiece;
pub use wordpiece_trainer::WordPieceTrainer;
