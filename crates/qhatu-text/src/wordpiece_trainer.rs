//! A WordPiece vocabulary from the shop's own text.
//!
//! Every word begins as its characters; then, again and again, the pair of neighbours that occurs most
//! often becomes a token, until the vocabulary is full. The score is the pair's **frequency**, as in
//! byte-pair encoding (Sennrich et al., 2016) and as in Hugging Face's `WordPieceTrainer`; the first
//! WordPiece divided it by the frequencies of the parts. Of pairs that occur equally often, the one whose
//! parts come first in the order of their characters' code points is taken, so that the same text
//! gives the same vocabulary everywhere (the published trainer leaves that to its hash tables).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::normalizer::words;
use crate::wordpiece::CONTINUING;
use crate::{Normalizer, SpecialTokens, TextError, Vocabulary};

/// How a vocabulary is learned.
#[derive(Debug, Clone)]
pub struct WordPieceTrainer {
    /// Tokens in all, the special ones among them.
    pub vocab_size: usize,
    /// A pair that occurs less often becomes no token.
    pub min_frequency: u64,
    /// How many different characters are kept at most, the most frequent ones.
    pub limit_alphabet: usize,
    /// What is done to the texts first.
    pub normalizer: Normalizer,
    /// These come first.
    pub special: SpecialTokens,
}

impl Default for WordPieceTrainer {
    /// 8,000 tokens, pairs that occur twice, a thousand characters, no case and no accents.
    fn default() -> Self {
        Self {
            vocab_size: 8_000,
            min_frequency: 2,
            limit_alphabet: 1_000,
            normalizer: Normalizer::UNCASED,
            special: SpecialTokens::default(),
        }
    }
}

type Pair = (u32, u32);

impl WordPieceTrainer {
    /// Learns a vocabulary from texts. Memory grows with the different words, not with the texts.
    ///
    /// # Errors
    /// Where the texts hold no word.
    pub fn train<'a>(&self, texts: impl Iterator<Item = &'a str>) -> Result<Vocabulary, TextError> {
        let counts = self.count_words(texts);
        if counts.is_empty() {
            return Err(TextError::vocabulary("the texts hold no word to learn tokens from"));
        }
        let mut state = self.alphabet(&counts);
        for (word, count) in &counts {
            state.add_word(word, *count);
        }
        state.merge_pairs(self.vocab_size, self.min_frequency.max(1));
        Vocabulary::new(state.tokens)
    }

    fn count_words<'a>(&self, texts: impl Iterator<Item = &'a str>) -> BTreeMap<String, u64> {
        let mut counts: FxHashMap<String, u64> = FxHashMap::default();
        for text in texts {
            for word in words(&self.normalizer.normalize(text)) {
                match counts.get_mut(word) {
                    Some(count) => *count += 1,
                    None => {
                        counts.insert(word.to_owned(), 1);
                    }
                }
            }
        }
        counts.into_iter().collect()
    }

    /// The special tokens and the most frequent characters, in the order of their code points.
    fn alphabet(&self, words: &BTreeMap<String, u64>) -> Learning {
        let mut counts: BTreeMap<char, u64> = BTreeMap::new();
        for (word, count) in words {
            word.chars().for_each(|c| *counts.entry(c).or_default() += count);
        }
        let mut kept: Vec<(char, u64)> = counts.into_iter().collect();
        kept.sort_by_key(|&(c, count)| (std::cmp::Reverse(count), c));
        kept.truncate(self.limit_alphabet);
        kept.sort_unstable();
        let mut learning = Learning::default();
        for token in self.special.all() {
            learning.token(token.to_owned());
        }
        for (c, _) in kept {
            learning.alphabet.insert(c);
            learning.token(c.to_string());
        }
        learning
    }
}

/// A pair that waits to become a token.
#[derive(PartialEq, Eq)]
struct Waiting {
    count: u64,
    pair: Pair,
    /// The parts' texts, which decide between equal counts.
    parts: (String, String),
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.count.cmp(&other.count).then_with(|| other.parts.cmp(&self.parts))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Default)]
struct Learning {
    alphabet: FxHashSet<char>,
    tokens: Vec<String>,
    ids: FxHashMap<String, u32>,
    words: Vec<(Vec<u32>, u64)>,
    counts: FxHashMap<Pair, u64>,
    /// The words in which a pair stands, or stood.
    places: FxHashMap<Pair, FxHashSet<u32>>,
}

impl Learning {
    fn token(&mut self, token: String) -> u32 {
        let next = self.tokens.len() as u32;
        let id = *self.ids.entry(token.clone()).or_insert(next);
        if id == next {
            self.tokens.push(token);
        }
        id
    }

    /// A word as its characters; one that is not in the alphabet is left out.
    fn add_word(&mut self, word: &str, count: u64) {
        let mut parts = Vec::new();
        for (place, c) in word.chars().enumerate() {
            if self.alphabet.contains(&c) {
                let token = if place == 0 { c.to_string() } else { format!("{CONTINUING}{c}") };
                parts.push(self.token(token));
            }
        }
        let index = self.words.len() as u32;
        for pair in parts.windows(2) {
            self.change((pair[0], pair[1]), index, count, true);
        }
        self.words.push((parts, count));
    }

    fn change(&mut self, pair: Pair, word: u32, count: u64, more: bool) {
        let entry = self.counts.entry(pair).or_default();
        *entry = if more { *entry + count } else { entry.saturating_sub(count) };
        if more {
            self.places.entry(pair).or_default().insert(word);
        }
    }

    fn waiting(&self, pair: Pair) -> Waiting {
        let text = |id: u32| self.tokens[id as usize].clone();
        let count = self.counts.get(&pair).copied().unwrap_or(0);
        Waiting { count, pair, parts: (text(pair.0), text(pair.1)) }
    }

    fn merge_pairs(&mut self, vocab_size: usize, min_frequency: u64) {
        let mut queue: BinaryHeap<Waiting> = self.counts.keys().map(|&pair| self.waiting(pair)).collect();
        while self.tokens.len() < vocab_size {
            let Some(mut top) = queue.pop() else { break };
            let count = self.counts.get(&top.pair).copied().unwrap_or(0);
            if count != top.count {
                top.count = count;
                queue.push(top);
                continue;
            }
            if count < min_frequency {
                break;
            }
            for pair in self.merge(top.pair) {
                queue.push(self.waiting(pair));
            }
        }
    }

    /// Makes a pair one token in every word; the pairs that are new or more frequent by it.
    fn merge(&mut self, pair: Pair) -> Vec<Pair> {
        let (first, second) = (self.tokens[pair.0 as usize].clone(), &self.tokens[pair.1 as usize]);
        let rest = second.strip_prefix(CONTINUING).unwrap_or(second);
        let merged = self.token(first + rest);
        let mut words: Vec<u32> = self.places.remove(&pair).unwrap_or_default().into_iter().collect();
        words.sort_unstable();
        let mut grown = FxHashSet::default();
        for word in words {
            self.merge_in(word, pair, merged, &mut grown);
        }
        self.counts.remove(&pair);
        let mut grown: Vec<Pair> = grown.into_iter().filter(|grown| *grown != pair).collect();
        grown.sort_unstable();
        grown
    }

    fn merge_in(&mut self, word: u32, pair: Pair, merged: u32, grown: &mut FxHashSet<Pair>) {
        let (old, count) = std::mem::take(&mut self.words[word as usize]);
        let mut new = Vec::with_capacity(old.len());
        let mut place = 0;
        while place < old.len() {
            if old.get(place..place + 2) == Some(&[pair.0, pair.1]) {
                new.push(merged);
                place += 2;
            } else {
                new.push(old[place]);
                place += 1;
            }
        }
        if new.len() < old.len() {
            old.windows(2).for_each(|gone| self.change((gone[0], gone[1]), word, count, false));
            for came in new.windows(2) {
                self.change((came[0], came[1]), word, count, true);
                if came.contains(&merged) {
                    grown.insert((came[0], came[1]));
                }
            }
        }
        self.words[word as usize] = (new, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn train(texts: &[&str], vocab_size: usize) -> Vec<String> {
        let trainer = WordPieceTrainer { vocab_size, min_frequency: 1, ..WordPieceTrainer::default() };
        trainer.train(texts.iter().copied()).unwrap().tokens().to_vec()
    }

    #[test]
    fn the_most_frequent_pair_comes_first() {
        let tokens = train(&["polo polo polo", "pala"], 14);
        assert_eq!(&tokens[5..9], ["a", "l", "o", "p"], "the alphabet, in order");
        assert_eq!(&tokens[9..12], ["##a", "##l", "##o"], "characters that go on, as words bring them");
        assert_eq!(&tokens[12..], ["##lo", "##olo"], "three times each: code points decide");
    }

    #[test]
    fn learning_ends_where_all_words_are_tokens() {
        let tokens = train(&["ñandú ñandú"], 10_000);
        assert!(tokens.contains(&"nandu".to_owned()));
        assert_eq!(tokens.len(), 5 + 4 + 4 + 4, "{tokens:?}");
    }

    #[test]
    fn texts_without_a_word_teach_nothing() {
        assert!(WordPieceTrainer::default().train(["", " \t"].into_iter()).is_err());
    }

    /// The same, counted anew before every merge.
    fn counted_anew(texts: &[String], vocab_size: usize) -> Vec<String> {
        let trainer = WordPieceTrainer::default();
        let counts = trainer.count_words(texts.iter().map(String::as_str));
        let mut tokens = trainer.alphabet(&counts).tokens;
        let mut words: Vec<(Vec<String>, u64)> = Vec::new();
        for (word, count) in counts {
            let part = |(place, c): (usize, char)| if place == 0 { c.to_string() } else { format!("##{c}") };
            let parts: Vec<String> = word.chars().enumerate().map(part).collect();
            parts.iter().for_each(|part| {
                if !tokens.contains(part) {
                    tokens.push(part.clone())
                }
            });
            words.push((parts, count));
        }
        while tokens.len() < vocab_size {
            let mut pairs: BTreeMap<(String, String), u64> = BTreeMap::new();
            for (parts, count) in &words {
                let both = parts.windows(2).map(|pair| (pair[0].clone(), pair[1].clone()));
                both.for_each(|pair| *pairs.entry(pair).or_default() += count);
            }
            let Some(best) = pairs.iter().max_by_key(|(pair, count)| (**count, std::cmp::Reverse(*pair)))
            else {
                break;
            };
            let (first, second) = best.0.clone();
            let merged = format!("{first}{}", second.trim_start_matches('#'));
            for (parts, _) in &mut words {
                while let Some(place) =
                    parts.windows(2).position(|pair| pair[0] == first && pair[1] == second)
                {
                    parts.splice(place..place + 2, [merged.clone()]);
                }
            }
            if !tokens.contains(&merged) {
                tokens.push(merged);
            }
        }
        tokens
    }

    proptest! {
        #[test]
        fn every_merge_is_the_best_there_is(texts in proptest::collection::vec("[abc]{1,6}( [ab]{1,5}){0,3}", 1..12)) {
            let trainer = WordPieceTrainer { vocab_size: 30, min_frequency: 1, ..WordPieceTrainer::default() };
            let found = trainer.train(texts.iter().map(String::as_str)).unwrap();
            prop_assert_eq!(found.tokens(), counted_anew(&texts, 30));
        }

        /// Counts kept while merging are the counts of the words as they stand.
        #[test]
        fn counts_stay_true(texts in proptest::collection::vec("[abc]{1,6}( [ab]{1,5}){0,3}", 1..12)) {
            let trainer = WordPieceTrainer::default();
            let counts = trainer.count_words(texts.iter().map(String::as_str));
            let mut learning = trainer.alphabet(&counts);
            counts.iter().for_each(|(word, count)| learning.add_word(word, *count));
            learning.merge_pairs(24, 1);
            let mut expected: FxHashMap<Pair, u64> = FxHashMap::default();
            for (parts, count) in &learning.words {
                parts.windows(2).for_each(|pair| *expected.entry((pair[0], pair[1])).or_default() += count);
            }
            learning.counts.retain(|_, count| *count > 0);
            prop_assert_eq!(&learning.counts, &expected);
        }
    }
}
