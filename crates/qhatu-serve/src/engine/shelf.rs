//! The catalogue in memory: a number for every item id the server has heard of, and an immutable
//! snapshot of all items that requests read without a lock. A change makes a new snapshot.

use std::sync::Arc;

use qhatu_schema::{Item, ItemId};
use rustc_hash::FxHashMap;

/// An item's number in this process: dense, in order of first mention. Models have their own.
pub(crate) type ItemNo = u32;

/// Item id ↔ number.
#[derive(Default)]
pub(crate) struct Names {
    numbers: FxHashMap<ItemId, ItemNo>,
    ids: Vec<ItemId>,
}

impl Names {
    /// The number of `id`, if it was ever mentioned.
    pub(crate) fn get(&self, id: &str) -> Option<ItemNo> {
        self.numbers.get(id).copied()
    }

    /// The number of `id`, a new one on first mention.
    pub(crate) fn intern(&mut self, id: &ItemId) -> ItemNo {
        if let Some(&known) = self.numbers.get(id) {
            return known;
        }
        let number = ItemNo::try_from(self.ids.len()).expect("fewer than 2³² items fit in memory");
        self.numbers.insert(id.clone(), number);
        self.ids.push(id.clone());
        number
    }

    /// The id behind a number that [`Names::intern`] gave.
    pub(crate) fn id(&self, number: ItemNo) -> &ItemId {
        &self.ids[number as usize]
    }

    /// All ids in the order of their numbers.
    pub(crate) fn ids(&self) -> &[ItemId] {
        &self.ids
    }

    /// How many ids have been mentioned.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }
}

/// All items at one moment.
#[derive(Default, Clone)]
pub(crate) struct Shelf {
    items: Vec<Option<Arc<Item>>>,
    category_of: Vec<Option<u32>>,
    categories: Vec<String>,
    category_numbers: FxHashMap<String, u32>,
    count: usize,
}

impl Shelf {
    /// Puts or replaces an item.
    pub(crate) fn put(&mut self, number: ItemNo, item: Item) {
        let row = number as usize;
        if self.items.len() <= row {
            self.items.resize(row + 1, None);
            self.category_of.resize(row + 1, None);
        }
        self.category_of[row] = item.category.as_deref().map(|name| self.category(name));
        self.count += usize::from(self.items[row].is_none());
        self.items[row] = Some(Arc::new(item));
    }

    /// Takes an item off the shelf.
    pub(crate) fn remove(&mut self, number: ItemNo) {
        if let Some(place) = self.items.get_mut(number as usize)
            && place.take().is_some()
        {
            self.category_of[number as usize] = None;
            self.count -= 1;
        }
    }

    fn category(&mut self, name: &str) -> u32 {
        if let Some(&known) = self.category_numbers.get(name) {
            return known;
        }
        let number = u32::try_from(self.categories.len()).expect("fewer categories than items");
        self.categories.push(name.to_owned());
        self.category_numbers.insert(name.to_owned(), number);
        number
    }

    /// The item's record.
    pub(crate) fn item(&self, number: ItemNo) -> Option<&Arc<Item>> {
        self.items.get(number as usize)?.as_ref()
    }

    /// Number of items with a record.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The numbers of all items with a record, ascending.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = ItemNo> + '_ {
        (0..).zip(&self.items).filter(|(_, item)| item.is_some()).map(|(number, _)| number)
    }

    /// Whether the item can be recommended: it has a record, or nobody has sent any record at all.
    pub(crate) fn offers(&self, number: ItemNo) -> bool {
        self.count == 0 || self.item(number).is_some()
    }

    /// For each category, whether it is `wanted` or lies below it (`Home` holds `Home > Kitchen`).
    pub(crate) fn categories_within(&self, wanted: &str) -> Vec<bool> {
        self.categories.iter().map(|name| is_within(name, wanted)).collect()
    }

    /// The number of the item's category.
    pub(crate) fn category_of(&self, number: ItemNo) -> Option<u32> {
        self.category_of.get(number as usize).copied().flatten()
    }
}

fn is_within(category: &str, wanted: &str) -> bool {
    category.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with(" > "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_category_holds_what_lies_below_it_and_nothing_else() {
        assert!(is_within("Hogar", "Hogar") && is_within("Hogar > Cocina", "Hogar"));
        assert!(!is_within("Hogares", "Hogar") && !is_within("Hogar", "Hogar > Cocina"));
    }

    #[test]
    fn removing_twice_counts_once() {
        let mut names = Names::default();
        let mut shelf = Shelf::default();
        let id = ItemId::new("a").unwrap();
        let number = names.intern(&id);
        assert!(shelf.offers(number), "without any record all that was mentioned is offered");
        shelf.put(number, Item::new(id.clone()));
        let other = names.intern(&ItemId::new("b").unwrap());
        assert!(shelf.offers(number) && !shelf.offers(other));
        shelf.remove(number);
        shelf.remove(number);
        assert_eq!((shelf.len(), names.len(), names.get("a")), (0, 2, Some(number)));
    }
}
