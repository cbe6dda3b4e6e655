//! Tokens and their numbers, both ways.

use std::path::Path;

use rustc_hash::FxHashMap;

use crate::TextError;
use crate::file::read_bounded;

/// A `vocab.txt` is smaller than this; the largest published one (120,000 tokens) holds 1 MB.
const MOST_BYTES: u64 = 64 << 20;
/// Tokens are numbered in 32 bits, and no published vocabulary comes near this many.
const MOST_TOKENS: usize = 4 << 20;

/// The tokens of a model; a token's number is its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    tokens: Vec<String>,
    ids: FxHashMap<String, u32>,
}

impl Vocabulary {
    /// A vocabulary of these tokens. Where one stands twice, its later place counts (as in the published
    /// readers); the earlier place is a number that no text gets, and is named so that no token is there twice.
    ///
    /// # Errors
    /// Where there is none, or more than four million.
    pub fn new(mut tokens: Vec<String>) -> Result<Self, TextError> {
        if tokens.is_empty() || tokens.len() > MOST_TOKENS {
            return Err(TextError::vocabulary(format!(
                "{} tokens; it must have between 1 and {MOST_TOKENS}",
                tokens.len()
            )));
        }
        let mut ids = FxHashMap::default();
        let mut unused = Vec::new();
        for (token, id) in tokens.iter().zip(0_u32..) {
            unused.extend(ids.insert(token.clone(), id));
        }
        for id in unused {
            let mut name = format!("[unused {id}]");
            while ids.contains_key(&name) {
                name.insert(1, '_');
            }
            ids.insert(name.clone(), id);
            tokens[id as usize] = name;
        }
        Ok(Self { tokens, ids })
    }

    /// From a text with a token per line (`vocab.txt`).
    ///
    /// # Errors
    /// As [`Vocabulary::new`].
    pub fn from_lines(text: &str) -> Result<Self, TextError> {
        Self::new(text.lines().map(|line| line.trim_end().to_owned()).collect())
    }

    /// From a `vocab.txt`.
    ///
    /// # Errors
    /// Where the file cannot be read, is no UTF-8, or as [`Vocabulary::new`].
    pub fn read(path: &Path) -> Result<Self, TextError> {
        let bytes = read_bounded(path, MOST_BYTES)?;
        let text = String::from_utf8(bytes)
            .map_err(|fault| TextError::file(path.display().to_string(), format!("no UTF-8: {fault}")))?;
        Self::from_lines(&text)
    }

    /// As a `vocab.txt`.
    pub fn to_lines(&self) -> String {
        self.tokens.iter().flat_map(|token| [token.as_str(), "\n"]).collect()
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Never: a vocabulary has a token at least.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// A token's number.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    /// A number's token.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str)
    }

    /// The tokens in the order of their numbers.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let vocabulary = Vocabulary::from_lines("[PAD]\nniño \r\n##s\n").unwrap();
        assert_eq!(vocabulary.tokens(), ["[PAD]", "niño", "##s"]);
        assert_eq!(vocabulary.id("##s"), Some(2));
        assert_eq!(vocabulary.token(3), None);
        assert_eq!(Vocabulary::from_lines(&vocabulary.to_lines()).unwrap(), vocabulary);
    }

    #[test]
    fn the_later_of_two_counts() {
        let vocabulary = Vocabulary::from_lines("a\nb\na\n").unwrap();
        assert_eq!((vocabulary.id("a"), vocabulary.len()), (Some(2), 3));
        assert_eq!(vocabulary.tokens(), ["[unused 0]", "b", "a"]);
        assert_eq!(Vocabulary::from_lines(&vocabulary.to_lines()).unwrap(), vocabulary);
        let taken = Vocabulary::from_lines(
            "a
[unused 0]
a
",
        )
        .unwrap();
        assert_eq!((taken.id("[unused 0]"), taken.token(0)), (Some(1), Some("[_unused 0]")));
    }

    #[test]
    fn nothing_is_no_vocabulary() {
        assert!(Vocabulary::from_lines("").is_err());
    }
}
