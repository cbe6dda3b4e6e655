//! BERT's own normalizing: what every text goes through before it is cut into words.
//!
//! The steps of Devlin et al.'s `BasicTokenizer` (BERT, 2018, `tokenization.py`) in the form that
//! Hugging Face's `tokenizers` gives them (`BertNormalizer`): control characters out, any white space
//! to a blank, blanks around CJK ideographs, accents off (canonical decomposition without nonspacing
//! marks), lower case character by character. Which of them apply is the checkpoint's choice.
//!
//! Departure: Unicode's categories are those of the `unicode-properties` crate, newer than the tables of
//! `tokenizers`: 693 code points, all assigned after its tables were made, are treated otherwise
//! (`tests/tokenizer.rs` counts them), none of them Latin, CJK or emoji.

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// Which steps apply; the names are those of `tokenizer.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Normalizer {
    /// Control characters go, white space becomes a blank.
    #[serde(default = "yes")]
    pub clean_text: bool,
    /// A CJK ideograph is a word of its own.
    #[serde(default = "yes")]
    pub handle_chinese_chars: bool,
    /// Accents go (`ñ` becomes `n`); where it is not said, they go exactly where case goes.
    #[serde(default)]
    pub strip_accents: Option<bool>,
    /// Upper case becomes lower case.
    #[serde(default = "yes")]
    pub lowercase: bool,
}

fn yes() -> bool {
    true
}

impl Normalizer {
    /// What uncased checkpoints expect: every step.
    pub const UNCASED: Self =
        Self { clean_text: true, handle_chinese_chars: true, strip_accents: None, lowercase: true };
    /// What cased checkpoints expect: case and accents stay.
    pub const CASED: Self = Self { lowercase: false, ..Self::UNCASED };

    /// The text after the chosen steps, in the order of the head of this file.
    pub fn normalize(&self, text: &str) -> String {
        let mut text = self.cleaned(text);
        if text.is_ascii() {
            if self.lowercase {
                text.make_ascii_lowercase();
            }
            return text;
        }
        if self.strip_accents.unwrap_or(self.lowercase) {
            text = without_accents(&text);
        }
        if self.lowercase {
            text = text.chars().flat_map(char::to_lowercase).collect();
        }
        text
    }

    fn cleaned(&self, text: &str) -> String {
        let mut cleaned = String::with_capacity(text.len());
        for c in text.chars() {
            if self.handle_chinese_chars && is_ideograph(c) {
                cleaned.extend([' ', c, ' ']);
            } else if !self.clean_text {
                cleaned.push(c);
            } else if !is_removed(c) {
                cleaned.push(if c.is_whitespace() { ' ' } else { c });
            }
        }
        cleaned
    }
}

/// The text without nonspacing marks, canonically decomposed.
pub(crate) fn without_accents(text: &str) -> String {
    text.nfd().filter(|c| c.is_ascii() || c.general_category() != GeneralCategory::NonspacingMark).collect()
}

/// The words of a normalized text: cut at white space, each punctuation character on its own
/// (BERT's pre-tokenizer).
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(char::is_whitespace).flat_map(|part| {
        part.split_inclusive(is_punctuation).flat_map(|piece| {
            let last = piece.chars().next_back().filter(|&c| is_punctuation(c));
            let (word, mark) = piece.split_at(piece.len() - last.map_or(0, char::len_utf8));
            [word, mark].into_iter().filter(|word| !word.is_empty())
        })
    })
}

/// ASCII's punctuation (symbols such as `$` and `+` among it) and Unicode's categories P*.
pub(crate) fn is_punctuation(c: char) -> bool {
    match c.is_ascii() {
        true => c.is_ascii_punctuation(),
        false => c.general_category_group() == GeneralCategoryGroup::Punctuation,
    }
}

/// U+0000, U+FFFD and the categories Cc, Cf, Co, without tab, line feed and carriage return.
fn is_removed(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\r');
    }
    let category = c.general_category();
    c == '\u{fffd}'
        || matches!(
            category,
            GeneralCategory::Control | GeneralCategory::Format | GeneralCategory::PrivateUse
        )
}

/// The blocks that BERT takes for Chinese characters; U+2B820–2B91F is missing in `tokenizers`' list.
fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c),
        0x4E00..=0x9FFF | 0x3400..=0x4DBF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F | 0x2B740..=0x2B81F
        | 0x2B920..=0x2CEAF | 0xF900..=0xFAFF | 0x2F800..=0x2FA1F)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uncased_text_loses_case_and_accents() {
        let normal = Normalizer::UNCASED.normalize("Camión Ñandú\u{200d}\tÇA\u{0} 価格");
        assert_eq!(normal, "camion nandu ca  価  格 ");
    }

    #[test]
    fn cased_text_keeps_them() {
        assert_eq!(Normalizer::CASED.normalize("Camión\u{7f} Ñ"), "Camión Ñ");
    }

    #[test]
    fn accents_can_stay_where_case_goes() {
        let normalizer = Normalizer { strip_accents: Some(false), ..Normalizer::UNCASED };
        assert_eq!(normalizer.normalize("AÑO Día"), "año día");
    }

    #[test]
    fn punctuation_stands_alone() {
        let found: Vec<&str> = words("¿s/ 12.50?  ya—no ").collect();
        assert_eq!(found, ["¿", "s", "/", "12", ".", "50", "?", "ya", "—", "no"]);
    }
}
