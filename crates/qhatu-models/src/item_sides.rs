//! What is said of the items beside who bought them: vectors of their texts, categories and price bands. A model that
//! takes none of it passes over it; one that does knows something of items that nobody has bought yet.

use std::collections::BTreeMap;

use crate::error::{ModelError, misfit};

/// A vector of each item's text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ItemVectors {
    /// Numbers of a vector.
    pub width: usize,
    /// Items × width, item 1 first; nothing but zeros for an item without a text.
    pub values: Vec<f32>,
}

impl ItemVectors {
    /// Refuses vectors that are not one for each item, or hold what is no finite number.
    pub(crate) fn check(&self, model: &'static str, items: usize) -> Result<(), ModelError> {
        if items.checked_mul(self.width) != Some(self.values.len()) {
            let found = self.values.len();
            return Err(misfit(model, format!("{found} numbers are not {items} vectors of {}", self.width)));
        }
        if self.values.iter().any(|value| !value.is_finite()) {
            return Err(misfit(model, "a vector holds what is no finite number"));
        }
        Ok(())
    }

    /// Makes each vector of length 1, but for those that are nothing but zeros.
    pub(crate) fn normalize(&mut self) {
        for vector in self.values.chunks_exact_mut(self.width.max(1)) {
            let length = vector.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt();
            if length > 0.0 {
                vector.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
            }
        }
    }
}

/// Names that items bear, numbered: each item any number of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ItemLabels {
    /// How many different ones there are.
    count: usize,
    /// Per item where its own begin, and at last their number; empty where no item bears any.
    starts: Vec<usize>,
    numbers: Vec<u32>,
}

impl ItemLabels {
    /// Numbers the names of each item, item 1 first, in their order as texts: it does not depend on that of the items. A name
    /// that an item bears twice counts once.
    pub fn new<N: AsRef<str>>(of_items: &[Vec<N>]) -> Self {
        let all = of_items.iter().flatten().map(|name| (name.as_ref(), 0));
        let mut index: BTreeMap<&str, u32> = all.collect();
        index.values_mut().enumerate().for_each(|(place, number)| *number = place as u32);
        let mut own = Self { count: index.len(), starts: vec![0], numbers: Vec::new() };
        for names in of_items {
            let first = own.numbers.len();
            own.numbers.extend(names.iter().map(|name| index[name.as_ref()]));
            own.numbers[first..].sort_unstable();
            let mut seen = None;
            let mut kept = first;
            for place in first..own.numbers.len() {
                if seen != Some(own.numbers[place]) {
                    seen = Some(own.numbers[place]);
                    own.numbers[kept] = own.numbers[place];
                    kept += 1;
                }
            }
            own.numbers.truncate(kept);
            own.starts.push(own.numbers.len());
        }
        own
    }

    /// How many different ones there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many items there are.
    pub fn items(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The numbers, from 0, of what an item bears; the item counts from 0.
    pub fn of(&self, item: usize) -> &[u32] {
        &self.numbers[self.starts[item]..self.starts[item + 1]]
    }
}

/// What is said of the items of a catalogue. Each part is absent where nothing is known.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ItemSides {
    /// Vectors of their texts.
    pub text: Option<ItemVectors>,
    /// Their categories, the wider ones too.
    pub categories: Option<ItemLabels>,
    /// The band of their price: see [`price_bands`].
    pub price_bands: Option<ItemLabels>,
}

impl ItemSides {
    /// A number that is another one where anything else is said (FNV-1a over all numbers).
    pub(crate) fn fingerprint(&self) -> u64 {
        // A part that is not there is told from one that says nothing.
        let there =
            [self.text.is_some(), self.categories.is_some(), self.price_bands.is_some()].map(u32::from);
        let labels = [&self.categories, &self.price_bands].into_iter().flatten();
        let numbers = labels.flat_map(|labels| {
            let starts = labels.starts.iter().map(|start| *start as u32);
            starts.chain(labels.numbers.iter().copied()).chain([labels.count as u32])
        });
        let text = self.text.iter().flat_map(|text| {
            [text.width as u32].into_iter().chain(text.values.iter().map(|value| value.to_bits()))
        });
        let step = |hash: u64, number: u32| (hash ^ u64::from(number)).wrapping_mul(0x0100_0000_01b3);
        there.into_iter().chain(text).chain(numbers).fold(0xcbf2_9ce4_8422_2325, step)
    }

    /// Refuses what is not of as many items.
    pub(crate) fn check(&self, model: &'static str, items: usize) -> Result<(), ModelError> {
        if let Some(text) = &self.text {
            text.check(model, items)?;
        }
        for (what, labels) in [("categories", &self.categories), ("price bands", &self.price_bands)] {
            if let Some(found) = labels.as_ref().map(ItemLabels::items).filter(|found| *found != items) {
                return Err(misfit(model, format!("{what} of {found} items are not those of {items}")));
            }
        }
        Ok(())
    }
}

/// The categories that a path such as `Home > Kitchen > Mugs` names: itself and all wider ones.
pub fn category_path(path: &str) -> Vec<String> {
    let mut wider: Vec<String> = Vec::new();
    for part in path.split('>').map(str::trim).filter(|part| !part.is_empty()) {
        wider.push(match wider.last() {
            Some(before) => format!("{before} > {part}"),
            None => part.to_owned(),
        });
    }
    wider
}

/// Bands of equally many items by price; what costs the same is in one band, and an item without a price in none.
///
/// `O(items log items)`.
pub fn price_bands(prices: &[Option<f64>], bands: usize) -> ItemLabels {
    let mut sorted: Vec<f64> = prices.iter().flatten().copied().filter(|price| price.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let band = |price: &f64| {
        let below = sorted.partition_point(|other| other < price);
        format!("{:09}", below * bands / sorted.len().max(1))
    };
    let of = |price: &Option<f64>| price.iter().filter(|price| price.is_finite()).map(band).collect();
    ItemLabels::new(&prices.iter().map(of).collect::<Vec<Vec<String>>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbered_in_their_order_and_count_once() {
        let labels = ItemLabels::new(&[vec!["b", "a", "b"], vec![], vec!["c"]]);
        assert_eq!((labels.count(), labels.items()), (3, 3));
        assert_eq!([0, 1, 2].map(|item| labels.of(item)), [&[0, 1][..], &[], &[2]]);
        assert_eq!(ItemLabels::new::<&str>(&[]).items(), 0);
    }

    #[test]
    fn a_path_names_the_wider_categories_too() {
        assert_eq!(category_path(" Home > Mugs>"), ["Home", "Home > Mugs"]);
        assert!(category_path(" > ").is_empty());
    }

    #[test]
    fn bands_hold_equally_many_items_and_one_price_is_in_one_band() {
        let prices = [Some(1.0), Some(9.0), None, Some(1.0), Some(4.0), Some(f64::NAN)];
        let bands = price_bands(&prices, 2);
        let of: Vec<&[u32]> = (0..6).map(|item| bands.of(item)).collect();
        assert_eq!(of, [&[0][..], &[1], &[], &[0], &[1], &[]]);
        assert_eq!(price_bands(&[None], 5).count(), 0);
    }

    #[test]
    fn what_is_not_of_the_catalogue_is_refused() {
        let text = Some(ItemVectors { width: 2, values: vec![0.0; 6] });
        let sides = ItemSides { text, categories: Some(ItemLabels::new(&[vec!["a"]])), price_bands: None };
        let said = |items| sides.check("m", items).err().map(|fault| fault.to_string()).unwrap_or_default();
        assert!(said(2).contains("6 numbers are not 2 vectors of 2"), "{}", said(2));
        assert!(said(3).contains("categories of 1 items are not those of 3"), "{}", said(3));
        assert!(ItemSides::default().check("m", 3).is_ok());
    }
}
