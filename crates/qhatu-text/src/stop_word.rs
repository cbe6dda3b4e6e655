//! Stop words of Spanish and English: words of grammar that say nothing about a product.
//!
//! Negations and `sin` / `without` are not among them: "sin gluten" and "con gluten" are two products.

use serde::{Deserialize, Serialize};

/// A language whose stop words are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    /// Spanish.
    #[serde(rename = "es")]
    Spanish,
    /// English.
    #[serde(rename = "en")]
    English,
}

const SPANISH: &[&str] = &[
    "a",
    "al",
    "algo",
    "algún",
    "alguna",
    "algunas",
    "alguno",
    "algunos",
    "ante",
    "aquel",
    "aquella",
    "aquellas",
    "aquello",
    "aquellos",
    "aquí",
    "así",
    "aun",
    "aún",
    "aunque",
    "cada",
    "como",
    "cómo",
    "con",
    "cual",
    "cuál",
    "cuales",
    "cualquier",
    "cuando",
    "cuándo",
    "cuyo",
    "de",
    "del",
    "desde",
    "donde",
    "dónde",
    "e",
    "el",
    "él",
    "ella",
    "ellas",
    "ello",
    "ellos",
    "en",
    "entre",
    "era",
    "eran",
    "es",
    "esa",
    "esas",
    "ese",
    "eso",
    "esos",
    "esta",
    "está",
    "están",
    "estas",
    "este",
    "esto",
    "estos",
    "fue",
    "fueron",
    "ha",
    "han",
    "has",
    "hasta",
    "hay",
    "he",
    "la",
    "las",
    "le",
    "les",
    "lo",
    "los",
    "me",
    "mi",
    "mí",
    "mis",
    "mucho",
    "muy",
    "nos",
    "nosotros",
    "nuestra",
    "nuestras",
    "nuestro",
    "nuestros",
    "o",
    "os",
    "para",
    "pero",
    "por",
    "porque",
    "que",
    "qué",
    "quien",
    "quién",
    "quienes",
    "se",
    "ser",
    "si",
    "sí",
    "sobre",
    "son",
    "su",
    "sus",
    "suyo",
    "también",
    "tan",
    "te",
    "ti",
    "tu",
    "tú",
    "tus",
    "u",
    "un",
    "una",
    "unas",
    "uno",
    "unos",
    "usted",
    "ustedes",
    "y",
    "ya",
    "yo",
];

const ENGLISH: &[&str] = &[
    "a", "about", "am", "an", "and", "any", "are", "as", "at", "be", "been", "being", "but", "by", "can",
    "could", "did", "do", "does", "for", "from", "had", "has", "have", "he", "her", "here", "hers", "him",
    "his", "how", "i", "if", "in", "into", "is", "it", "its", "just", "me", "my", "of", "on", "or", "our",
    "ours", "she", "should", "so", "some", "such", "than", "that", "the", "their", "theirs", "them", "then",
    "there", "these", "they", "this", "those", "to", "too", "us", "very", "was", "we", "were", "what",
    "when", "where", "which", "while", "who", "whom", "whose", "why", "will", "with", "would", "you", "your",
    "yours",
];

/// Whether a lower-case word, with its accents, is a stop word.
pub(crate) fn is_stop_word(word: &str, language: Language) -> bool {
    let list = match language {
        Language::Spanish => SPANISH,
        Language::English => ENGLISH,
    };
    list.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_a_product_is_no_stop_word() {
        for word in ["sin", "no", "té", "más"] {
            assert!(!is_stop_word(word, Language::Spanish), "{word}");
        }
        assert!(!is_stop_word("without", Language::English));
        assert!(is_stop_word("del", Language::Spanish));
        assert!(is_stop_word("the", Language::English));
    }

    #[test]
    fn no_word_stands_twice() {
        for list in [SPANISH, ENGLISH] {
            let mut sorted = list.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), list.len());
        }
    }
}
