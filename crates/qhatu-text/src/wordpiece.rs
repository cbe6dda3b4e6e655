//! WordPiece: a word becomes the longest token that it begins with, then the longest that goes on, and so
//! to its end; a word that this does not cover is unknown as a whole.
//!
//! Schuster and Nakajima, Japanese and Korean voice search (2012); greedy matching as in BERT's
//! `WordpieceTokenizer`. A token that goes on inside a word bears `##`.

use rustc_hash::FxHashMap;

use crate::Vocabulary;

/// What a token that goes on begins with.
pub(crate) const CONTINUING: &str = "##";

/// The tokens of a vocabulary, apart by where in a word they may stand.
#[derive(Debug, Clone)]
pub struct WordPiece {
    beginning: FxHashMap<String, u32>,
    continuing: FxHashMap<String, u32>,
    longest_bytes: usize,
    unknown: u32,
    max_input_chars_per_word: usize,
}

impl WordPiece {
    /// The matcher of a vocabulary; a word of more than `max_input_chars_per_word` characters is unknown.
    pub fn new(vocabulary: &Vocabulary, unknown: u32, max_input_chars_per_word: usize) -> Self {
        let mut beginning = FxHashMap::default();
        let mut continuing = FxHashMap::default();
        for (token, id) in vocabulary.tokens().iter().zip(0..) {
            match token.strip_prefix(CONTINUING) {
                Some(rest) if !rest.is_empty() => continuing.insert(rest.to_owned(), id),
                _ => beginning.insert(token.clone(), id),
            };
        }
        let longest = beginning.keys().chain(continuing.keys()).map(String::len).max();
        Self { beginning, continuing, longest_bytes: longest.unwrap_or(0), unknown, max_input_chars_per_word }
    }

    /// Appends a word's tokens. O(length × longest token).
    pub fn encode_word(&self, word: &str, ids: &mut Vec<u32>) {
        let before = ids.len();
        let too_long = word.len() > self.max_input_chars_per_word
            && word.chars().count() > self.max_input_chars_per_word;
        if too_long || !self.cover(word, ids) {
            ids.truncate(before);
            ids.push(self.unknown);
        }
    }

    fn cover(&self, word: &str, ids: &mut Vec<u32>) -> bool {
        let mut start = 0;
        while start < word.len() {
            let tokens = if start == 0 { &self.beginning } else { &self.continuing };
            let Some((bytes, id)) = longest(tokens, &word[start..], self.longest_bytes) else { return false };
            ids.push(id);
            start += bytes;
        }
        true
    }
}

/// The longest token that the text begins with: its bytes and number.
fn longest(tokens: &FxHashMap<String, u32>, text: &str, most: usize) -> Option<(usize, u32)> {
    let ends = (1..=most.min(text.len())).rev().filter(|&end| text.is_char_boundary(end));
    ends.into_iter().find_map(|end| Some((end, *tokens.get(&text[..end])?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(word: &str) -> Vec<u32> {
        let vocabulary = Vocabulary::from_lines("[UNK]\nun\n##aff\n##able\n##a\nñ\n##ñ\n##af\n").unwrap();
        let mut ids = vec![9];
        WordPiece::new(&vocabulary, 0, 9).encode_word(word, &mut ids);
        ids.split_off(1)
    }

    #[test]
    fn the_longest_token_is_taken_first() {
        assert_eq!(encode("unaffable"), [1, 2, 3]);
        assert_eq!(encode("unaf"), [1, 7]);
        assert_eq!(encode("ññ"), [5, 6]);
    }

    #[test]
    fn a_word_that_is_not_covered_is_unknown_as_a_whole() {
        assert_eq!(encode("unaffx"), [0]);
        assert_eq!(encode("aff"), [0]);
        assert_eq!(encode("unaaaaaaaa"), [0], "ten characters are too many");
        assert_eq!(encode("ñññññññññ").len(), 9, "characters count, not bytes");
    }
}
