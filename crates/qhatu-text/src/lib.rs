//! From text to vectors: normalizing, WordPiece, and a BERT encoder that loads published
//! checkpoints and gives the same numbers as the implementation that they were made with.
//!
//! A text goes through [`Normalizer`] and [`WordPiece`] (together a [`Tokenizer`]) to ids.
//! A shop's own cleaning (case, accents, special characters, stop words) is [`Cleaning`]: every step
//! is off unless asked for, because a published checkpoint expects the text as people write it.
//! [`Bert`] turns packed numbers ([`Batch`]) into vectors of tokens, and [`TextEncoder`] is all of it
//! together, read from and written as a checkpoint's folder.

mod batch;
mod bert;
mod cache;
mod checkpoint;
mod cleaning;
mod config;
mod encoder;
mod error;
mod explain;
mod explain_page;
mod file;
mod finetune;
mod latent_semantics;
mod normalizer;
mod pooling;
mod pretrain;
mod stop_word;
mod tokenizer;
mod tokenizer_file;
mod training;
mod vocabulary;
mod wordpiece;
mod wordpiece_trainer;

pub use batch::Batch;
pub use bert::{Bert, BertRoom, BertSaved, MaskedLanguageHead, Parts, Pass};
pub use cache::VectorCache;
pub use cleaning::Cleaning;
pub use config::BertConfig;
pub use encoder::TextEncoder;
pub use error::TextError;
pub use explain::Explanation;
pub use finetune::Pair;
pub use latent_semantics::LatentSemantics;
pub use normalizer::{Normalizer, words};
pub use pooling::Pooling;
pub use qhatu_nn::layer::Precision;
pub use stop_word::Language;
pub use tokenizer::{Encoding, SpecialIds, SpecialTokens, Tokenizer};
pub use training::{Next, Progress, TrainingConfig};
pub use vocabulary::Vocabulary;
pub use wordpiece::WordPiece;
pub use wordpiece_trainer::WordPieceTrainer;
