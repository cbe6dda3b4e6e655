//! Chosen features as numbers, for many products of one shopper at once: what a model that sorts products is told. Training
//! reads them from a state that was replayed up to a moment, the server from the live one; both by [`State::numbers`].

use qhatu_schema::Timestamp;
use qhatu_schema::time::DAY_MS;
use rustc_hash::FxHashMap;

use crate::cell::Cells;
use crate::declaration::{Attribute, Declarations, Entity, Feature, ValueType};
use crate::plan::{Plan, Planned, Read};
use crate::state::State;

/// Which features are read, each as a column of numbers. A point in time becomes the days since; what has no number is NaN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The features of each entity that are computed, in the order of the plan: those asked for, and those that their
    /// expressions use.
    computed: [Vec<usize>; 5],
    /// Of each column the entity and the place among its computed features; `None` for a column that says nothing.
    columns: Vec<Option<(Entity, usize)>>,
}

/// Who asks. One who is not named is told of as a shopper who did nothing; of a visit that is not named all is missing, for
/// it may have been long.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asking<'a> {
    /// The shopper's id, or nothing.
    pub user: &'a str,
    /// The visit's id, or nothing.
    pub session: &'a str,
}

impl Declarations {
    /// The features that say a number, or a point in time, of shoppers, of products, and of a shopper with a product or its
    /// category. Those of a visit are left out: a list that is made ahead of a visit has none.
    pub fn of_shoppers_and_products(&self) -> impl Iterator<Item = &Feature> {
        let said =
            |feature: &&Feature| feature.entity != Entity::Session && feature.value_type() != ValueType::Text;
        self.features().iter().filter(said)
    }
}

impl Reading {
    /// Columns of these names or aliases; a name that no feature has, or the name of a text, is a column that says nothing.
    pub fn of<'a>(declarations: &Declarations, names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut own = Self { computed: Default::default(), columns: Vec::new() };
        let mut places = Vec::new();
        for name in names {
            let feature = declarations.find(name).ok().filter(|own| own.value_type() != ValueType::Text);
            let place = feature.and_then(|feature| place_of(declarations, feature));
            if let Some((entity, place)) = place {
                own.compute(declarations, entity, place);
            }
            places.push(place);
        }
        own.computed.iter_mut().for_each(|places| places.sort_unstable());
        let column = |(entity, place): (Entity, usize)| {
            Some((entity, own.computed[entity as usize].binary_search(&place).ok()?))
        };
        own.columns = places.into_iter().map(|place| place.and_then(column)).collect();
        own
    }

    /// Columns of these names, where the feature is still what it was: a name and its [definition](Declarations::definition)
    /// each. One that is defined otherwise now is a column that says nothing.
    pub fn of_defined<'a>(
        declarations: &Declarations,
        columns: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let same = |(name, definition): (&'a str, &str)| {
            let is_same = declarations.definition(name).is_ok_and(|own| own == definition);
            if is_same { name } else { "" }
        };
        Self::of(declarations, columns.into_iter().map(same))
    }

    /// The columns that say nothing, by number.
    pub fn silent(&self) -> impl Iterator<Item = usize> + '_ {
        self.columns.iter().enumerate().filter(|(_, column)| column.is_none()).map(|(number, _)| number)
    }

    /// How many columns there are.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// Computes a feature, and first what its expression uses.
    fn compute(&mut self, declarations: &Declarations, entity: Entity, place: usize) {
        if self.computed[entity as usize].contains(&place) {
            return;
        }
        self.computed[entity as usize].push(place);
        let expression = declarations.of(entity).nth(place).and_then(|(_, expression)| expression);
        let mut names = Vec::new();
        expression.into_iter().for_each(|expression| expression.names(&mut names));
        for name in names {
            let used = declarations.find(name).ok().and_then(|feature| place_of(declarations, feature));
            used.into_iter().for_each(|(entity, place)| self.compute(declarations, entity, place));
        }
    }
}

/// The entity of a feature and its place among those of that entity.
fn place_of(declarations: &Declarations, feature: &Feature) -> Option<(Entity, usize)> {
    let place = declarations.of(feature.entity).position(|(own, _)| own.name == feature.name)?;
    Some((feature.entity, place))
}

impl State {
    /// A row of numbers for each product, one behind another: everything that was applied; windows end with the Lima day of
    /// `now`. `O(columns)` a product, and once for each category the products that the shopper dealt with.
    pub fn numbers<'a>(
        &self,
        reading: &Reading,
        asking: Asking<'_>,
        items: impl IntoIterator<Item = &'a str>,
        now: Timestamp,
    ) -> Vec<f32> {
        let of = |entity: Entity, key: &str, other: &str, out: &mut Vec<f64>| {
            self.compute(reading, entity, [key, other], now, out);
        };
        let mut values: [Vec<f64>; 5] = Default::default();
        of(Entity::User, asking.user, "", &mut values[Entity::User as usize]);
        let of_visit = &mut values[Entity::Session as usize];
        of(Entity::Session, asking.session, "", of_visit);
        if asking.session.is_empty() {
            of_visit.fill(f64::NAN);
        }
        // Many products are of few categories, and of each all that the shopper did with its products is summed up.
        let mut categories: FxHashMap<&str, Vec<f64>> = FxHashMap::default();
        let mut rows = Vec::new();
        for item in items {
            of(Entity::Item, item, "", &mut values[Entity::Item as usize]);
            of(Entity::UserItem, asking.user, item, &mut values[Entity::UserItem as usize]);
            let category = self.category_of(item).unwrap_or_default();
            let of_category = categories.entry(category).or_insert_with(|| {
                let mut said = Vec::new();
                of(Entity::UserCategory, asking.user, category, &mut said);
                if category.is_empty() {
                    said.fill(f64::NAN);
                }
                said
            });
            values[Entity::UserCategory as usize].clone_from(of_category);
            rows.extend(reading.columns.iter().map(|column| match column {
                Some((entity, place)) => number(values[*entity as usize][*place]),
                None => f32::NAN,
            }));
        }
        rows
    }

    fn category_of(&self, item: &str) -> Option<&str> {
        let pairs = &self.kept.pairs;
        pairs.shelf.category(pairs.items.get(item)? as usize)
    }

    /// The computed features of an entity, in their order.
    fn compute(
        &self,
        reading: &Reading,
        entity: Entity,
        [key, other]: [&str; 2],
        now: Timestamp,
        out: &mut Vec<f64>,
    ) {
        out.clear();
        let places = &reading.computed[entity as usize];
        if places.is_empty() {
            return;
        }
        let plan = &self.plans[entity as usize];
        let parts = self.parts(entity, key, other, now.lima_day());
        for place in places {
            let feature = &plan.features[*place];
            let value = match &feature.read {
                Read::Attribute(attribute) => self.attribute(*attribute, key),
                Read::Expression(expression) => expression.value(&|name| {
                    let known = places.iter().zip(&*out).find(|(own, _)| plan.features[**own].name == name);
                    // An expression over points in time says nothing.
                    known
                        .filter(|(own, _)| plan.features[**own].value_type == ValueType::Number)
                        .map_or(f64::NAN, |(_, value)| *value)
                }),
                _ => aggregate(plan, feature, &parts, now),
            };
            out.push(if value.is_finite() { value } else { f64::NAN });
        }
    }

    fn attribute(&self, attribute: Attribute, item: &str) -> f64 {
        let number = self.kept.items.names.get(item).map_or(usize::MAX, |number| number as usize);
        match attribute {
            Attribute::Price => self.kept.shelf.price(number),
            Attribute::DescriptionLength => self.kept.shelf.description_length(number),
            Attribute::Category => f64::NAN,
        }
    }
}

fn aggregate(plan: &Plan, feature: &Planned, parts: &[(&Cells, usize)], now: Timestamp) -> f64 {
    let today = now.lima_day().0;
    match feature.value_type {
        ValueType::Number => plan.number(&feature.read, parts, today),
        ValueType::Time => plan
            .time(&feature.read, parts, today)
            .map_or(f64::NAN, |time| now.millis().saturating_sub(time).max(0) as f64 / DAY_MS as f64),
        ValueType::Text => f64::NAN,
    }
}

/// A number as a column holds it; NaN where it is none or too large to be said.
fn number(value: f64) -> f32 {
    let value = value as f32;
    if value.is_finite() { value } else { f32::NAN }
}
