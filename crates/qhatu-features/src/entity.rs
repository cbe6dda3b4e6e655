//! Where the cells of entities are found: names to numbers, pairs to numbers, and what the catalogue says.

use std::sync::Arc;

use qhatu_schema::{Item, Labels, Money, NO_TEXT, Texts};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::cell::Cells;
use crate::plan::Plan;

/// Names by number, and back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub(crate) struct Names {
    numbers: FxHashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

impl From<Vec<String>> for Names {
    fn from(names: Vec<String>) -> Self {
        let mut own = Self::default();
        for name in &names {
            own.number_of(name);
        }
        own
    }
}

impl From<Names> for Vec<String> {
    fn from(own: Names) -> Self {
        own.names.iter().map(|name| name.as_ref().to_owned()).collect()
    }
}

impl Names {
    pub(crate) fn get(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The number of a name, a new one where it has none.
    pub(crate) fn number_of(&mut self, name: &str) -> u32 {
        if let Some(known) = self.get(name) {
            return known;
        }
        let name: Arc<str> = name.into();
        let number = u32::try_from(self.names.len()).expect("fewer than four thousand million names");
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        number
    }

    pub(crate) fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("", AsRef::as_ref)
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// The numbers in the order of the alphabet.
    pub(crate) fn sorted(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.numbers.values().copied().collect();
        numbers.sort_unstable_by(|a, b| self.name(*a).cmp(self.name(*b)));
        numbers
    }
}

/// Entities with a name, and their cells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) names: Names,
    pub(crate) cells: Cells,
}

impl Named {
    /// The number of an entity, with room for its cells.
    pub(crate) fn number_of(&mut self, plan: &Plan, name: &str) -> usize {
        let before = self.names.len();
        let number = self.names.number_of(name);
        if self.names.len() > before {
            self.cells.add_entity(&plan.layout);
        }
        number as usize
    }

    /// The entity's cells, where anything is known of it.
    pub(crate) fn part(&self, name: &str) -> Option<(&Cells, usize)> {
        self.names.get(name).map(|number| (&self.cells, number as usize))
    }
}

/// Numbers of the texts of a column, looked up once each.
pub(crate) struct Numbers<'a> {
    texts: &'a Texts,
    numbers: Vec<u32>,
}

impl<'a> Numbers<'a> {
    pub(crate) fn of(texts: &'a Texts) -> Self {
        Self { texts, numbers: vec![NO_TEXT; texts.len()] }
    }

    /// The number of a code's text, where it has one by now.
    pub(crate) fn known(&mut self, code: u32, names: &Names) -> Option<usize> {
        let place = code as usize;
        let number = self.numbers.get_mut(place)?;
        if *number == NO_TEXT {
            *number = names.get(self.texts.get(place))?;
        }
        Some(*number as usize)
    }

    /// The number of a code's text, a new one where it has none.
    pub(crate) fn made(&mut self, code: u32, make: impl FnOnce(&str) -> usize) -> Option<usize> {
        let place = code as usize;
        let number = self.numbers.get_mut(place)?;
        if *number == NO_TEXT {
            *number = u32::try_from(make(self.texts.get(place))).unwrap_or(NO_TEXT);
        }
        Some(*number as usize)
    }
}

/// What the catalogue says of the products, by the product's number.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shelf {
    prices: Vec<Option<f64>>,
    lengths: Vec<Option<u32>>,
    categories: Vec<u32>,
    names: Names,
}

impl Shelf {
    pub(crate) fn put(&mut self, number: usize, item: &Item) {
        if number >= self.prices.len() {
            self.prices.resize(number + 1, None);
            self.lengths.resize(number + 1, None);
            self.categories.resize(number + 1, NO_TEXT);
        }
        self.prices[number] = item.price.map(Money::units);
        self.lengths[number] = Some(u32::try_from(item.description.chars().count()).unwrap_or(u32::MAX));
        self.categories[number] = match item.category.as_deref() {
            None | Some("") => NO_TEXT,
            Some(category) => self.names.number_of(category),
        };
    }

    pub(crate) fn price(&self, number: usize) -> f64 {
        self.prices.get(number).copied().flatten().unwrap_or(f64::NAN)
    }

    pub(crate) fn description_length(&self, number: usize) -> f64 {
        self.lengths.get(number).copied().flatten().map_or(f64::NAN, f64::from)
    }

    /// The number of its category; [`NO_TEXT`] where it has none.
    pub(crate) fn category_code(&self, number: usize) -> u32 {
        self.categories.get(number).copied().unwrap_or(NO_TEXT)
    }

    pub(crate) fn category(&self, number: usize) -> Option<&str> {
        Some(self.names.name(self.category_code(number))).filter(|name| !name.is_empty())
    }

    pub(crate) fn categories(&self) -> &Names {
        &self.names
    }

    /// Categories by their numbers, as a column of `codes`.
    pub(crate) fn labels(&self, codes: Vec<u32>) -> Labels {
        let texts = (0..self.names.len()).map(|code| self.names.name(u32::try_from(code).unwrap_or(NO_TEXT)));
        Labels { codes, texts: Arc::new(texts.collect()) }
    }
}

/// Shoppers with products, and through the products with categories.
///
/// What a shopper did in a category is read from what they did with each of its products. So it is right
/// whenever the catalogue says to which category a product belongs, before its events or after.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pairs {
    pub(crate) users: Names,
    pub(crate) items: Names,
    pub(crate) shelf: Shelf,
    /// Of each shopper the products, with the number of the pair.
    pub(crate) of_user: Vec<Vec<(u32, u32)>>,
    numbers: FxHashMap<u64, u32>,
    pub(crate) by_item: Cells,
    pub(crate) by_category: Cells,
}

impl Pairs {
    /// The number of a pair, with room for its cells.
    pub(crate) fn number_of(&mut self, plans: [&Plan; 2], user: &str, item: &str) -> usize {
        let (user, item) = (self.users.number_of(user), self.items.number_of(item));
        let next = u32::try_from(self.numbers.len()).expect("fewer than four thousand million pairs");
        let number = *self.numbers.entry(pair(user, item)).or_insert(next);
        if number == next {
            let user = user as usize;
            if user >= self.of_user.len() {
                self.of_user.resize_with(user + 1, Vec::new);
            }
            self.of_user[user].push((item, number));
            self.by_item.add_entity(&plans[0].layout);
            self.by_category.add_entity(&plans[1].layout);
        }
        number as usize
    }

    pub(crate) fn get(&self, user: &str, item: &str) -> Option<usize> {
        let (user, item) = (self.users.get(user)?, self.items.get(item)?);
        self.numbers.get(&pair(user, item)).map(|number| *number as usize)
    }

    /// The cells of a shopper's products in a category.
    pub(crate) fn in_category(&self, user: &str, category: u32) -> Vec<(&Cells, usize)> {
        let Some(user) = self.users.get(user) else { return Vec::new() };
        let own = self.of_user.get(user as usize).map_or(&[][..], Vec::as_slice);
        let within = own.iter().filter(|(item, _)| self.shelf.category_code(*item as usize) == category);
        within.map(|(_, number)| (&self.by_category, *number as usize)).collect()
    }
}

fn pair(user: u32, item: u32) -> u64 {
    (u64::from(user) << 32) | u64::from(item)
}
