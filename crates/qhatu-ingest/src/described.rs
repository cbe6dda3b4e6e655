//! What rows say of products and shoppers, put together: each field is what the latest row says that says
//! anything, and a title is the one that most rows write.

use qhatu_schema::{Item, ItemId, Money, Timestamp, User, UserId};
use rustc_hash::FxHashMap;

use crate::row::{ItemRow, UserRow};

/// Products and shoppers that rows described.
#[derive(Debug, Default)]
pub(crate) struct Described {
    items: FxHashMap<ItemId, ItemNotes>,
    users: FxHashMap<UserId, UserNotes>,
}

#[derive(Debug, Default)]
struct ItemNotes {
    titles: FxHashMap<String, u32>,
    description: Latest<String>,
    category: Latest<String>,
    brand: Latest<String>,
    price: Latest<Money>,
    stock: Latest<u32>,
    updated: Timestamp,
}

#[derive(Debug, Default)]
struct UserNotes {
    country: Latest<String>,
    ubigeo: Latest<String>,
    updated: Timestamp,
}

/// A value and since when it holds. Of two of the same time the one that was said last is kept.
#[derive(Debug)]
struct Latest<T> {
    value: Option<T>,
    at: Timestamp,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self { value: None, at: Timestamp::EPOCH }
    }
}

impl<T> Latest<T> {
    fn say(&mut self, value: Option<T>, at: Timestamp) {
        if value.is_some() && at >= self.at {
            *self = Self { value, at };
        }
    }
}

impl Latest<String> {
    fn say_text(&mut self, text: &str, at: Timestamp) {
        if text.is_empty() || at < self.at {
            return;
        }
        self.at = at;
        if self.value.as_deref() != Some(text) {
            self.value = Some(text.to_owned());
        }
    }
}

impl Described {
    /// Takes what a row says of a product.
    pub(crate) fn add_item(&mut self, row: &ItemRow) {
        if !self.items.contains_key(&row.item_id) {
            self.items.insert(row.item_id.clone(), ItemNotes::default());
        }
        let Some(notes) = self.items.get_mut(&row.item_id) else { return };
        match notes.titles.get_mut(row.title) {
            Some(count) => *count += 1,
            None if row.title.is_empty() => {}
            None => drop(notes.titles.insert(row.title.to_owned(), 1)),
        }
        notes.description.say_text(row.description, row.at);
        notes.category.say_text(row.category, row.at);
        notes.brand.say_text(row.brand, row.at);
        notes.price.say(row.price, row.at);
        notes.stock.say(row.stock, row.at);
        notes.updated = notes.updated.max(row.at);
    }

    /// Takes what a row says of a shopper.
    pub(crate) fn add_user(&mut self, row: &UserRow) {
        if !self.users.contains_key(&row.user_id) {
            self.users.insert(row.user_id.clone(), UserNotes::default());
        }
        let Some(notes) = self.users.get_mut(&row.user_id) else { return };
        notes.country.say_text(row.country, row.at);
        notes.ubigeo.say_text(row.ubigeo, row.at);
        notes.updated = notes.updated.max(row.at);
    }

    /// Takes what later rows said.
    pub(crate) fn merge(&mut self, later: Self) {
        for (item_id, said) in later.items {
            let notes = self.items.entry(item_id).or_default();
            for (title, count) in said.titles {
                *notes.titles.entry(title).or_default() += count;
            }
            notes.description.say(said.description.value, said.description.at);
            notes.category.say(said.category.value, said.category.at);
            notes.brand.say(said.brand.value, said.brand.at);
            notes.price.say(said.price.value, said.price.at);
            notes.stock.say(said.stock.value, said.stock.at);
            notes.updated = notes.updated.max(said.updated);
        }
        for (user_id, said) in later.users {
            let notes = self.users.entry(user_id).or_default();
            notes.country.say(said.country.value, said.country.at);
            notes.ubigeo.say(said.ubigeo.value, said.ubigeo.at);
            notes.updated = notes.updated.max(said.updated);
        }
    }

    /// Products and shoppers, each by id.
    pub(crate) fn finish(self) -> (Vec<Item>, Vec<User>) {
        let mut items: Vec<Item> = self.items.into_iter().map(|(id, notes)| notes.item(id)).collect();
        items.sort_by(|a, b| a.item_id.cmp(&b.item_id));
        let mut users: Vec<User> = self.users.into_iter().map(|(id, notes)| notes.user(id)).collect();
        users.sort_by(|a, b| a.user_id.cmp(&b.user_id));
        (items, users)
    }
}

impl ItemNotes {
    /// With the most frequent title; among equals the first of the alphabet.
    fn item(self, item_id: ItemId) -> Item {
        let best = self.titles.into_iter().max_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(&a.0)));
        Item {
            title: best.map_or_else(String::new, |(title, _)| title),
            description: self.description.value.unwrap_or_default(),
            category: self.category.value,
            brand: self.brand.value,
            price: self.price.value,
            stock: self.stock.value,
            updated: self.updated,
            ..Item::new(item_id)
        }
    }
}

impl UserNotes {
    fn user(self, user_id: UserId) -> User {
        User {
            country: self.country.value,
            ubigeo: self.ubigeo.value,
            updated: self.updated,
            ..User::new(user_id)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row<'v>((item, title, category, at): (u8, &'v str, &'v str, i64)) -> ItemRow<'v> {
        ItemRow {
            item_id: ItemId::new(item.to_string()).unwrap(),
            title,
            description: "",
            category,
            brand: "",
            price: None,
            stock: Some(u32::from(item)),
            at: Timestamp::from_millis(at),
        }
    }

    #[test]
    fn a_row_that_says_nothing_takes_nothing_away() {
        let mut described = Described::default();
        for said in [(1, "Taza", "Cocina", 5), (1, "", "", 9), (1, "Vaso", "Mesa", 3), (1, "Taza", "", 1)] {
            described.add_item(&row(said));
        }
        let (items, _) = described.finish();
        assert_eq!((items[0].title.as_str(), items[0].category.as_deref()), ("Taza", Some("Cocina")));
        assert_eq!(items[0].updated.millis(), 9);
    }

    proptest! {
        #[test]
        fn parts_come_to_the_same_as_the_whole(
            rows in prop::collection::vec((0..4_u8, "[ab]{0,1}", "[xyz]{0,1}", 0..6_i64), 0..40),
            cut in 0..40_usize,
        ) {
            let of = |rows: &[(u8, String, String, i64)]| {
                let mut described = Described::default();
                rows.iter().for_each(|(i, t, c, at)| described.add_item(&row((*i, t, c, *at))));
                described
            };
            let cut = cut.min(rows.len());
            let mut parts = of(&rows[..cut]);
            parts.merge(of(&rows[cut..]));
            prop_assert_eq!(parts.finish(), of(&rows).finish());
        }
    }
}
