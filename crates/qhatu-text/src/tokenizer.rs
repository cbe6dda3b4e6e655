//! From a text to the numbers that a BERT reads: normalizing, words, WordPiece, special tokens.

use crate::normalizer::{Normalizer, words};
use crate::wordpiece::CONTINUING;
use crate::{Cleaning, TextError, Vocabulary, WordPiece};

/// The tokens with a meaning of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Stands where a sequence is filled up.
    pub pad: String,
    /// Stands for a word that the vocabulary does not cover.
    pub unknown: String,
    /// Begins a sequence; its vector stands for the whole.
    pub cls: String,
    /// Ends a text.
    pub sep: String,
    /// Hides a token in pre-training.
    pub mask: String,
}

impl Default for SpecialTokens {
    fn default() -> Self {
        let [pad, unknown, cls, sep, mask] =
            ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
        Self { pad, unknown, cls, sep, mask }
    }
}

impl SpecialTokens {
    pub(crate) fn all(&self) -> [&str; 5] {
        [&self.pad, &self.unknown, &self.cls, &self.sep, &self.mask]
    }
}

/// The special tokens' numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecialIds {
    /// Filling.
    pub pad: u32,
    /// Unknown word.
    pub unknown: u32,
    /// Begin.
    pub cls: u32,
    /// End.
    pub sep: u32,
    /// Hidden token.
    pub mask: u32,
}

/// A text or a pair of texts as a BERT reads it: no filling, one entry per token.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoding {
    /// The tokens' numbers, `[CLS]` first, `[SEP]` after each text.
    pub ids: Vec<u32>,
    /// 0 for the first text and its `[SEP]`, 1 for the second's.
    pub type_ids: Vec<u32>,
}

/// How the texts of one model become numbers.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    /// BERT's own normalizing.
    pub normalizer: Normalizer,
    /// The shop's cleaning before it; nothing by default.
    pub cleaning: Cleaning,
    vocabulary: Vocabulary,
    special: SpecialTokens,
    ids: SpecialIds,
    wordpiece: WordPiece,
    max_input_chars_per_word: usize,
}

impl Tokenizer {
    /// A tokenizer with the published special tokens, words up to 100 characters, no cleaning.
    ///
    /// # Errors
    /// Where the vocabulary lacks a special token.
    pub fn new(vocabulary: Vocabulary, normalizer: Normalizer) -> Result<Self, TextError> {
        Self::with(vocabulary, normalizer, SpecialTokens::default(), 100)
    }

    /// A tokenizer with its own special tokens and longest word.
    ///
    /// # Errors
    /// Where the vocabulary lacks a special token.
    pub fn with(
        vocabulary: Vocabulary,
        normalizer: Normalizer,
        special: SpecialTokens,
        max_input_chars_per_word: usize,
    ) -> Result<Self, TextError> {
        let id = |token: &str| {
            let missing = || TextError::vocabulary(format!("the special token {token:?} is not in it"));
            vocabulary.id(token).ok_or_else(missing)
        };
        let ids = SpecialIds {
            pad: id(&special.pad)?,
            unknown: id(&special.unknown)?,
            cls: id(&special.cls)?,
            sep: id(&special.sep)?,
            mask: id(&special.mask)?,
        };
        let wordpiece = WordPiece::new(&vocabulary, ids.unknown, max_input_chars_per_word);
        let cleaning = Cleaning::default();
        Ok(Self { normalizer, cleaning, vocabulary, special, ids, wordpiece, max_input_chars_per_word })
    }

    /// The vocabulary.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The special tokens' numbers.
    pub fn special_ids(&self) -> SpecialIds {
        self.ids
    }

    /// The special tokens.
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.special
    }

    /// Words of more characters are unknown.
    pub fn max_input_chars_per_word(&self) -> usize {
        self.max_input_chars_per_word
    }

    /// A text's tokens, without `[CLS]` and `[SEP]`. A special token that stands in the text literally is
    /// taken as such, as the published tokenizer does.
    pub fn tokens(&self, text: &str) -> Vec<u32> {
        let cleaned;
        let mut rest = text;
        if self.cleaning != Cleaning::default() {
            cleaned = self.cleaning.apply(text);
            rest = &cleaned;
        }
        let mut ids = Vec::with_capacity(rest.len() / 4 + 2);
        while let Some((place, token)) = self.next_special(rest) {
            self.plain(&rest[..place], &mut ids);
            ids.extend(self.vocabulary.id(token));
            rest = &rest[place + token.len()..];
        }
        self.plain(rest, &mut ids);
        ids
    }

    fn plain(&self, text: &str, ids: &mut Vec<u32>) {
        for word in words(&self.normalizer.normalize(text)) {
            self.wordpiece.encode_word(word, ids);
        }
    }

    /// The first special token in a text; of two that begin at one place, the longer.
    fn next_special<'a>(&'a self, text: &str) -> Option<(usize, &'a str)> {
        let found = self.special.all().into_iter().filter_map(|token| Some((text.find(token)?, token)));
        found.min_by_key(|(place, token)| (*place, std::cmp::Reverse(token.len())))
    }

    /// `[CLS] text [SEP]`, cut at the end to `max_length` tokens with the two (at least 2).
    pub fn encode(&self, text: &str, max_length: usize) -> Encoding {
        let mut tokens = self.tokens(text);
        tokens.truncate(max_length.saturating_sub(2));
        let ids = self.framed(&[&tokens]);
        Encoding { type_ids: vec![0; ids.len()], ids }
    }

    /// `[CLS] first [SEP] second [SEP]`; where that is more than `max_length` tokens (at least 3), the
    /// longer of the two texts is cut until it fits, the second where both are of one length.
    pub fn encode_pair(&self, first: &str, second: &str, max_length: usize) -> Encoding {
        let (mut first, mut second) = (self.tokens(first), self.tokens(second));
        let room = max_length.saturating_sub(3);
        while first.len() + second.len() > room {
            if first.len() > second.len() {
                first.pop()
            } else {
                second.pop()
            };
        }
        let ids = self.framed(&[&first, &second]);
        let of_first = first.len() + 2;
        let type_ids = (0..ids.len()).map(|place| u32::from(place >= of_first)).collect();
        Encoding { ids, type_ids }
    }

    fn framed(&self, texts: &[&[u32]]) -> Vec<u32> {
        let mut ids = vec![self.ids.cls];
        for text in texts {
            ids.extend_from_slice(text);
            ids.push(self.ids.sep);
        }
        ids
    }

    /// Numbers as a text again: tokens that go on are joined to what stands before, special tokens go.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut text = String::new();
        for token in ids.iter().filter_map(|&id| self.vocabulary.token(id)) {
            if self.special.all().contains(&token) {
                continue;
            }
            match token.strip_prefix(CONTINUING) {
                Some(rest) => text.push_str(rest),
                None if text.is_empty() => text.push_str(token),
                None => text.extend([" ", token]),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokenizer() -> Tokenizer {
        let words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\npolo\n##s\nrojo\n,\na\n##b\n";
        Tokenizer::new(Vocabulary::from_lines(words).unwrap(), Normalizer::UNCASED).unwrap()
    }

    #[test]
    fn a_text_is_framed_and_cut() {
        let found = tokenizer().encode("Polos, ROJO ¡", 64);
        assert_eq!(found.ids, [2, 5, 6, 8, 7, 1, 3]);
        assert_eq!(tokenizer().encode("Polos, ROJO", 4).ids, [2, 5, 6, 3]);
        assert_eq!(tokenizer().encode("", 4).ids, [2, 3]);
        assert_eq!(tokenizer().decode(&found.ids), "polos , rojo");
    }

    #[test]
    fn the_longer_of_a_pair_is_cut() {
        let found = tokenizer().encode_pair("polo polo polo", "rojo", 6);
        assert_eq!(found.ids, [2, 5, 5, 3, 7, 3]);
        assert_eq!(found.type_ids, [0, 0, 0, 0, 1, 1]);
        assert_eq!(tokenizer().encode_pair("polo", "rojo", 1).ids, [2, 3, 3]);
    }

    #[test]
    fn special_tokens_in_a_text_are_special() {
        assert_eq!(tokenizer().tokens("polo[MASK]s[sep]"), [5, 4, 1, 1, 1, 1]);
    }

    #[test]
    fn cleaning_comes_first_and_only_if_asked_for() {
        let mut tokenizer = tokenizer();
        assert_eq!(tokenizer.tokens("a ★ polo"), [9, 1, 5]);
        tokenizer.cleaning.strip_special_characters = true;
        assert_eq!(tokenizer.tokens("a ★ polo"), [9, 5]);
    }

    #[test]
    fn a_vocabulary_without_its_special_tokens_is_refused() {
        let fault = Tokenizer::new(Vocabulary::from_lines("a\n").unwrap(), Normalizer::CASED).unwrap_err();
        assert!(fault.to_string().contains("[PAD]"), "{fault}");
    }

    proptest! {
        #[test]
        fn any_text_gives_numbers_of_the_vocabulary(text: String, most in 0..40_usize) {
            let tokenizer = tokenizer();
            let found = tokenizer.encode(&text, most);
            prop_assert!(found.ids.len() <= most.max(2));
            prop_assert!(found.ids.iter().all(|&id| tokenizer.vocabulary().token(id).is_some()));
        }
    }
}
