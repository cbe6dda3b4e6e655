//! How alike two items are to the eye: by category and by the words of their titles. What a list is spread by
//! where its placement asks for diversity.

use qhatu_schema::Item;
use rustc_hash::{FxHashSet, FxHasher};
use std::hash::{Hash, Hasher};

/// Between the levels of a category's path.
const LEVEL: &str = " > ";

/// What of an item is compared.
pub(crate) struct Look<'a> {
    path: Vec<&'a str>,
    words: FxHashSet<u64>,
}

impl<'a> Look<'a> {
    /// An item without a record looks like nothing else.
    pub(crate) fn new(item: Option<&'a Item>) -> Self {
        let path = item.and_then(|item| item.category.as_deref());
        let title = item.map_or("", |item| item.title.as_str());
        let words = title.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        Self {
            path: path.map(|path| path.split(LEVEL).collect()).unwrap_or_default(),
            words: words.map(hashed).collect(),
        }
    }

    /// From 0 to 1: the larger of the shares of the path and of the words that two items have in common.
    pub(crate) fn similarity(&self, other: &Self) -> f32 {
        let levels = self.path.iter().zip(&other.path).take_while(|(a, b)| a == b).count();
        let path = share(levels, self.path.len().max(other.path.len()));
        let common = self.words.intersection(&other.words).count();
        path.max(share(common, self.words.len() + other.words.len() - common))
    }
}

fn share(part: usize, whole: usize) -> f32 {
    if whole == 0 { 0.0 } else { part as f32 / whole as f32 }
}

fn hashed(word: &str) -> u64 {
    let mut hasher = FxHasher::default();
    word.to_lowercase().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use qhatu_schema::ItemId;

    use super::*;

    fn item(title: &str, category: Option<&str>) -> Item {
        let mut item = Item::new(ItemId::new("a").unwrap());
        item.title = title.to_owned();
        item.category = category.map(str::to_owned);
        item
    }

    #[test]
    fn paths_and_words_are_shared() {
        let of = |a: &Item, b: &Item| Look::new(Some(a)).similarity(&Look::new(Some(b)));
        let red = item("RED Hanging Heart", Some("Hogar > Velas"));
        let white = item("white hanging heart", Some("Hogar > Cocina > Ollas"));
        assert_eq!(of(&red, &red), 1.0);
        assert_eq!(of(&red, &white), 0.5);
        assert_eq!(of(&red, &item("Spoon", Some("Hogar > Cocina"))), 0.5);
        assert_eq!(of(&red, &item("Spoon", None)), 0.0);
        assert_eq!(Look::new(None).similarity(&Look::new(None)), 0.0);
    }
}
