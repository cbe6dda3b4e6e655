//! A shop's own cleaning of a text before the tokenizer sees it, step by step, each off by default.
//!
//! A published checkpoint was trained on text as people write it and loses by cleaning; a model
//! trained on the shop's own text, or a bag of words, can gain. So nothing happens unless it is asked for.

use serde::{Deserialize, Serialize};

use crate::normalizer::without_accents;
use crate::stop_word::{Language, is_stop_word};

/// The steps that apply, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cleaning {
    /// Upper case becomes lower case.
    pub lowercase: bool,
    /// Articles, prepositions, pronouns of these languages go. They are told by their accents too
    /// (`te` goes, `té` stays), so this step comes before the accents'.
    pub stop_words: Vec<Language>,
    /// Accents go, `ñ` becomes `n`.
    pub strip_accents: bool,
    /// What is neither letter, digit nor a mark on one becomes a blank (emoji, `®`, `*`, `/`).
    pub strip_special_characters: bool,
}

impl Cleaning {
    /// The text after the chosen steps; unchanged where none is chosen.
    pub fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if self.lowercase {
            text = text.to_lowercase();
        }
        if !self.stop_words.is_empty() {
            text = self.without_stop_words(&text);
        }
        if self.strip_accents {
            text = without_accents(&text);
        }
        if self.strip_special_characters {
            text = without_special_characters(&text);
        }
        text
    }

    fn without_stop_words(&self, text: &str) -> String {
        let stays = |word: &&str| {
            let bare = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
            !self.stop_words.iter().any(|&language| is_stop_word(&bare, language))
        };
        text.split_whitespace().filter(stays).collect::<Vec<_>>().join(" ")
    }
}

fn without_special_characters(text: &str) -> String {
    use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};
    let stays = |c: char| {
        c.is_alphanumeric() || !c.is_ascii() && c.general_category_group() == GeneralCategoryGroup::Mark
    };
    let blanked: String = text.chars().map(|c| if stays(c) { c } else { ' ' }).collect();
    blanked.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TITLE: &str = "Té de la Montaña ★ 100% orgánico – SIN azúcar (caja x 25)";

    #[test]
    fn nothing_happens_unasked() {
        assert_eq!(Cleaning::default().apply(TITLE), TITLE);
    }

    #[test]
    fn each_step_does_its_own_work() {
        let only = |cleaning: Cleaning| cleaning.apply(TITLE);
        assert!(only(Cleaning { lowercase: true, ..Cleaning::default() }).starts_with("té de la montaña ★"));
        assert!(
            only(Cleaning { strip_accents: true, ..Cleaning::default() }).starts_with("Te de la Montana")
        );
        assert_eq!(
            only(Cleaning { strip_special_characters: true, ..Cleaning::default() }),
            "Té de la Montaña 100 orgánico SIN azúcar caja x 25"
        );
        assert_eq!(
            only(Cleaning { stop_words: vec![Language::Spanish], ..Cleaning::default() }),
            "Té Montaña ★ 100% orgánico – SIN azúcar (caja x 25)"
        );
    }

    #[test]
    fn all_steps_together() {
        let all = Cleaning {
            lowercase: true,
            stop_words: vec![Language::Spanish, Language::English],
            strip_accents: true,
            strip_special_characters: true,
        };
        assert_eq!(all.apply("Polo para ÉL & the Niños"), "polo ninos");
    }
}
