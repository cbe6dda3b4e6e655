//! A text model ready for use: tokenizer, BERT, pooling; texts in, one vector each out.
//!
//! Texts are sorted by length and packed into pieces of about [`PIECE`] tokens, a piece at a time on each
//! thread: no filling, and what a piece needs stays in cache; where there are fewer pieces than threads, threads
//! share a piece. The order of the answer is that of the texts.

use std::path::Path;

use qhatu_nn::Team;
use qhatu_nn::layer::Precision;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::bert::{Bert, BertRoom};
use crate::checkpoint::{huggingface, keras_hub, tensorflow};
use crate::pooling::{Pooling, normalize};
use crate::{Batch, Cleaning, Encoding, TextError, Tokenizer};

/// Tokens that are computed together.
const PIECE: usize = 512;
/// The shop's own settings beside the published files.
const OWN: &str = "qhatu_text.json";

/// A text model.
#[derive(Debug, Clone)]
pub struct TextEncoder {
    /// From texts to numbers.
    pub tokenizer: Tokenizer,
    /// From numbers to vectors of tokens.
    pub bert: Bert,
    /// From those to one vector.
    pub pooling: Pooling,
    /// Whether that is made one of length 1.
    pub normalize: bool,
    /// The numbers that the blocks multiply.
    pub precision: Precision,
    max_length: usize,
}

impl TextEncoder {
    /// A model of these parts: mean of the tokens, not normalized, texts as long as the model allows.
    ///
    /// # Errors
    /// Where the vocabulary has more tokens than the model has vectors.
    pub fn new(tokenizer: Tokenizer, bert: Bert) -> Result<Self, TextError> {
        let (tokens, vectors) = (tokenizer.vocabulary().len(), bert.config().vocab_size);
        if tokens > vectors {
            let fault = format!("{tokens} tokens, but the model has vectors for {vectors}");
            return Err(TextError::vocabulary(fault));
        }
        let max_length = bert.config().max_position_embeddings;
        let precision = Precision::F32;
        Ok(Self { tokenizer, bert, pooling: Pooling::Mean, normalize: false, precision, max_length })
    }

    /// Reads a checkpoint's folder: Hugging Face's layout, KerasHub's (a preset, or a `.keras` archive), or
    /// the original TensorFlow one.
    ///
    /// # Errors
    /// Where it is none of them, or damaged, or of another architecture; the message says which file and what.
    pub fn read(folder: &Path) -> Result<Self, TextError> {
        let mut encoder = published(folder)?;
        if let Some(cleaning) = crate::file::read_json_if_there::<Cleaning>(&folder.join(OWN))? {
            encoder.tokenizer.cleaning = cleaning;
        }
        Ok(encoder)
    }

    /// Writes Hugging Face's layout, and the shop's cleaning beside it where there is one.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), TextError> {
        huggingface::write(self, folder)?;
        let path = folder.join(OWN);
        if self.tokenizer.cleaning == Cleaning::default() {
            return if path.exists() {
                std::fs::remove_file(&path).map_err(TextError::io("remove", &path))
            } else {
                Ok(())
            };
        }
        let text = serde_json::to_vec_pretty(&self.tokenizer.cleaning)
            .map_err(|fault| TextError::file(OWN, fault))?;
        crate::file::write_whole(&path, &text)
    }

    /// Longest text in tokens, `[CLS]` and `[SEP]` among them.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Sets the longest text, between 2 and what the model has positions for.
    pub fn set_max_length(&mut self, tokens: usize) {
        let most = self.bert.config().max_position_embeddings;
        self.max_length = tokens.clamp(2.min(most), most);
    }

    /// Numbers of a vector.
    pub fn width(&self) -> usize {
        self.bert.config().hidden_size
    }

    /// A text as the model reads it.
    pub fn tokenized(&self, text: &str) -> Encoding {
        self.tokenizer.encode(text, self.max_length)
    }

    /// The vectors of texts, one behind another: texts × width. Memory beside the answer: the blocks' weights once
    /// more (see [`Bert::encode`]), and about `PIECE × (7 × hidden_size + intermediate_size)` floats for each thread.
    ///
    /// # Errors
    /// Where the tokenizer's numbers do not fit the model; [`TextEncoder::new`] has looked, so never.
    pub fn encode<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Vec<f32>, TextError> {
        let sequences: Vec<Encoding> = texts.par_iter().map(|text| self.tokenized(text.as_ref())).collect();
        self.encode_sequences(&sequences)
    }

    /// The vectors of tokenized texts.
    ///
    /// # Errors
    /// As [`Batch::new`].
    pub fn encode_sequences(&self, sequences: &[Encoding]) -> Result<Vec<f32>, TextError> {
        let width = self.width();
        let pieces = pieces(sequences);
        let threads = rayon::current_num_threads() / pieces.len().max(1);
        let found = pieces.par_iter().map_init(BertRoom::default, |room, piece| {
            let batch = Batch::new(piece.iter().map(|place| &sequences[*place]), self.bert.config())?;
            Team::with(threads, |team| self.bert.encode(&batch, self.precision, team, room));
            let mut vectors = self.pooling.forward(&batch.starts, room.output(), width);
            if self.normalize {
                normalize(&mut vectors, width);
            }
            Ok(vectors)
        });
        let found = found.collect::<Result<Vec<_>, TextError>>()?;
        let mut answer = vec![0.0; sequences.len() * width];
        for (piece, vectors) in pieces.iter().zip(found) {
            for (place, vector) in piece.iter().zip(vectors.chunks_exact(width)) {
                answer[place * width..][..width].copy_from_slice(vector);
            }
        }
        Ok(answer)
    }

    /// What the vectors of a text depend on, as a number: weights, vocabulary and settings. O(weights).
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let settings = format!(
            "{:?} {:?} {:?} {} {} {:?}",
            self.tokenizer.normalizer,
            self.tokenizer.cleaning,
            self.pooling,
            self.normalize,
            self.max_length,
            self.bert.config()
        );
        hash.update(settings);
        if self.precision != Precision::F32 {
            hash.update(format!("{:?}", self.precision));
        }
        self.tokenizer.vocabulary().tokens().iter().for_each(|token| {
            hash.update((token.len() as u64).to_le_bytes());
            hash.update(token);
        });
        let mut bytes = Vec::with_capacity(1 << 16);
        for some in self.bert.parameters().values().chunks(1 << 14) {
            bytes.clear();
            bytes.extend(some.iter().flat_map(|value| value.to_le_bytes()));
            hash.update(&bytes);
        }
        hash.finalize().into()
    }
}

/// A folder by the layout that its files tell.
fn published(folder: &Path) -> Result<TextEncoder, TextError> {
    if folder.join(huggingface::WEIGHTS).exists() {
        return huggingface::read(folder);
    }
    if keras_hub::is_preset(folder) {
        return keras_hub::read_preset(folder);
    }
    if let Some(archive) = keras_hub::archive(folder) {
        return keras_hub::read_archive(folder, &archive);
    }
    match tensorflow::prefix(folder) {
        Some(prefix) => tensorflow::read(folder, &prefix),
        None => huggingface::read(folder),
    }
}

/// The sequences' places, sorted by length and cut into pieces of about equal numbers of tokens.
fn pieces(sequences: &[Encoding]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    order.sort_by_key(|place| sequences[*place].ids.len());
    let tokens: usize = sequences.iter().map(|sequence| sequence.ids.len()).sum();
    let most = tokens.div_ceil(rayon::current_num_threads().max(1)).clamp(1, PIECE);
    let (mut pieces, mut piece, mut count) = (Vec::new(), Vec::new(), 0);
    for place in order {
        let length = sequences[place].ids.len();
        if count + length > most && count > 0 {
            pieces.push(std::mem::take(&mut piece));
            count = 0;
        }
        piece.push(place);
        count += length;
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_hold_every_sequence_once() {
        let of = |length: usize| Encoding { ids: vec![0; length], type_ids: vec![0; length] };
        let sequences: Vec<Encoding> = (0..100).map(|place| of(place * 37 % 90 + 1)).collect();
        let pieces = pieces(&sequences);
        let mut all: Vec<usize> = pieces.iter().flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        let tokens =
            |piece: &Vec<usize>| piece.iter().map(|place| sequences[*place].ids.len()).sum::<usize>();
        assert!(pieces.iter().all(|piece| tokens(piece) <= PIECE));
        assert!(super::pieces(&[]).is_empty());
    }
}
