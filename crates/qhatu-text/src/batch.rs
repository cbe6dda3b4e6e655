//! Sequences packed one behind another: no filling, so no token is computed that is not there.

use crate::{BertConfig, Encoding, TextError};

/// Packed sequences that a BERT of some shape can read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    pub(crate) ids: Vec<u32>,
    pub(crate) type_ids: Vec<u32>,
    pub(crate) positions: Vec<u32>,
    pub(crate) starts: Vec<usize>,
}

impl Batch {
    /// Packs sequences, after a look at whether the model has a vector for all that stands in them.
    ///
    /// # Errors
    /// Where a sequence is empty or longer than the model's longest, or a number lies beyond its tables.
    pub fn new<'a>(
        sequences: impl IntoIterator<Item = &'a Encoding>,
        config: &BertConfig,
    ) -> Result<Self, TextError> {
        let mut batch = Self { starts: vec![0], ..Self::default() };
        for sequence in sequences {
            check(sequence, config)?;
            batch.ids.extend_from_slice(&sequence.ids);
            batch.type_ids.extend_from_slice(&sequence.type_ids);
            batch.positions.extend(0..sequence.ids.len() as u32);
            batch.starts.push(batch.ids.len());
        }
        Ok(batch)
    }

    /// How many tokens there are.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// How many sequences there are.
    pub fn sequences(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }
}

fn check(sequence: &Encoding, config: &BertConfig) -> Result<(), TextError> {
    let length = sequence.ids.len();
    let fault = |setting, value: usize, fault: String| {
        Err(TextError::Setting { setting, value: value.to_string(), fault })
    };
    if length == 0 || length > config.max_position_embeddings || sequence.type_ids.len() != length {
        let text = format!("a sequence of {length} tokens and {} types", sequence.type_ids.len());
        return fault("max_position_embeddings", config.max_position_embeddings, text);
    }
    if let Some(id) = sequence.ids.iter().find(|id| **id as usize >= config.vocab_size) {
        return fault("vocab_size", config.vocab_size, format!("token {id} lies beyond it"));
    }
    if let Some(kind) = sequence.type_ids.iter().find(|kind| **kind as usize >= config.type_vocab_size) {
        return fault("type_vocab_size", config.type_vocab_size, format!("type {kind} lies beyond it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(ids: &[u32], type_ids: &[u32]) -> Encoding {
        Encoding { ids: ids.to_vec(), type_ids: type_ids.to_vec() }
    }

    #[test]
    fn sequences_stand_one_behind_another() {
        let both = [sequence(&[1, 2], &[0, 0]), sequence(&[3], &[1])];
        let batch = Batch::new(&both, &BertConfig::default()).unwrap();
        assert_eq!((batch.ids.as_slice(), batch.starts.as_slice()), (&[1, 2, 3][..], &[0, 2, 3][..]));
        assert_eq!((batch.positions.as_slice(), batch.sequences(), batch.tokens()), (&[0, 1, 0][..], 2, 3));
    }

    #[test]
    fn what_the_model_has_no_vector_for_is_refused() {
        let config = BertConfig { vocab_size: 4, max_position_embeddings: 2, ..BertConfig::default() };
        let refused = |ids: &[u32], types: &[u32]| Batch::new([&sequence(ids, types)], &config).is_err();
        assert!(refused(&[4], &[0]) && refused(&[1], &[2]) && refused(&[1, 1, 1], &[0, 0, 0]));
        assert!(refused(&[], &[]) && refused(&[1, 1], &[0]));
        assert!(!refused(&[3, 0], &[1, 0]));
    }
}
