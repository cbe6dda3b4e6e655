//! The fold over columns of events: for each event what was known before it, and tables as of a time.
//!
//! Entities of different kinds know nothing of each other, so shoppers are folded beside products and
//! visits, on two threads, each in the order of time. Expressions are computed on whole columns afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;

use qhatu_schema::{
    DenseColumn, DenseTable, EventColumns, Labels, LimaDay, NO_INT, NO_TEXT, Texts, Timestamp,
};

use crate::cell::Cells;
use crate::declaration::{Attribute, Entity, FeatureError, ValueType};
use crate::entity::{Named, Numbers, Pairs, Shelf};
use crate::happening::{Field, Happening};
use crate::plan::{Plan, Read};
use crate::state::State;

impl State {
    /// Takes events, and answers for each with the features of its shopper, product and visit as they
    /// stood before its moment: events of one moment do not see each other, and a moment may not be split
    /// over two calls. Where an event has no shopper (product, visit), the features of it are gaps.
    ///
    /// # Errors
    /// Where the events are not sorted by time.
    pub fn rows(&mut self, events: EventColumns) -> Result<DenseTable, FeatureError> {
        if !events.time.is_sorted() {
            return Err(FeatureError::Unusable { fault: "events must be sorted by time".to_owned() });
        }
        let plans = Arc::clone(&self.plans);
        let kept = &mut self.kept;
        let (mut users, mut pairs) =
            (Out::of(&plans[0], &events), [3, 4].map(|at| Out::of(&plans[at], &events)));
        let (mut items, mut visits) = (Out::of(&plans[1], &events), Out::of(&plans[2], &events));
        std::thread::scope(|threads| {
            threads.spawn(|| {
                user_rows(&plans[0], &mut kept.users, &events, &mut users);
                if crate::state::has_pairs(&plans) {
                    pair_rows([&plans[3], &plans[4]], &mut kept.pairs, &events, &mut pairs);
                }
            });
            item_rows(&plans[1], &mut kept.items, &kept.shelf, &events, &mut items);
            visit_rows(&plans[2], &mut kept.visits, &events, &mut visits);
        });
        let [by_item, by_category] = pairs;
        let category = by_category.key_category(&kept.pairs, &events);
        let EventColumns { event_id, time, user_id, item_id, session_id, .. } = events;
        let mut columns = vec![
            ("event_id".to_owned(), DenseColumn::Text(event_id)),
            ("time".to_owned(), DenseColumn::Time(time)),
        ];
        for (out, key, labels) in
            [(users, "user_id", user_id), (items, "item_id", item_id), (visits, "session_id", session_id)]
        {
            columns.push((key.to_owned(), DenseColumn::Label(labels)));
            columns.extend(out.columns(&kept.shelf));
        }
        columns.extend(by_item.columns(&kept.shelf));
        columns.extend(category.map(|labels| ("category".to_owned(), DenseColumn::Label(labels))));
        columns.extend(by_category.columns(&kept.shelf));
        Ok(DenseTable { columns })
    }

    /// The features of every entity of a kind at `now`, by key: everything that was applied.
    pub fn table(&self, entity: Entity, now: Timestamp) -> DenseTable {
        self.table_of(entity, &self.keys(entity, now), now)
    }

    /// The row of one entity in that table; `None` where nothing is known of it. A pair has none.
    pub fn table_row(&self, entity: Entity, key: &str, now: Timestamp) -> Option<DenseTable> {
        let known = !self.parts(entity, key, "", now.lima_day()).is_empty();
        known.then(|| self.table_of(entity, &[[key, ""]], now))
    }

    fn table_of(&self, entity: Entity, keys: &[[&str; 2]], now: Timestamp) -> DenseTable {
        let mut columns = Vec::new();
        for (place, name) in entity.key_columns().iter().enumerate() {
            let texts = keys.iter().map(|key| key[place]).collect();
            columns.push(((*name).to_owned(), DenseColumn::Text(texts)));
        }
        let plan = &self.plans[entity as usize];
        let mut out = Out::with_rows(plan, keys.len());
        for [key, other] in keys {
            let parts = self.parts(entity, key, other, now.lima_day());
            out.push(plan, &parts, now.lima_day());
            if entity == Entity::Item {
                let number = self.kept.items.names.get(key).map_or(usize::MAX, |number| number as usize);
                out.push_attributes(plan, &self.kept.shelf, Some(number));
            }
        }
        columns.extend(out.columns(&self.kept.shelf));
        DenseTable { columns }
    }
}

/// The features of an entity, a column each, in the making.
struct Out<'a> {
    plan: &'a Plan,
    rows: usize,
    values: Vec<Values>,
}

enum Values {
    Float(Vec<f64>),
    Time(Vec<i64>),
    Text(Texts),
    /// Numbers of categories.
    Category(Vec<u32>),
    /// Computed from the others, at the end.
    Later,
}

impl<'a> Out<'a> {
    fn of(plan: &'a Plan, events: &EventColumns) -> Self {
        Self::with_rows(plan, events.rows())
    }

    fn with_rows(plan: &'a Plan, rows: usize) -> Self {
        let values = plan.features.iter().map(|feature| match (&feature.read, feature.value_type) {
            (Read::Expression(_), _) => Values::Later,
            (Read::Attribute(Attribute::Category), _) => Values::Category(Vec::with_capacity(rows)),
            (_, ValueType::Number) => Values::Float(Vec::with_capacity(rows)),
            (_, ValueType::Time) => Values::Time(Vec::with_capacity(rows)),
            (_, ValueType::Text) => Values::Text(Texts::new()),
        });
        Self { plan, rows, values: values.collect() }
    }

    /// A row of aggregates; attributes are pushed beside it.
    fn push(&mut self, plan: &Plan, parts: &[(&Cells, usize)], today: LimaDay) {
        for (feature, values) in plan.features.iter().zip(&mut self.values) {
            match (&feature.read, values) {
                (Read::Attribute(_), _) => {}
                (read, Values::Float(values)) => values.push(finite(plan.number(read, parts, today.0))),
                (read, Values::Time(values)) => {
                    values.push(plan.time(read, parts, today.0).unwrap_or(NO_INT));
                }
                (read, Values::Text(texts)) => texts.push(plan.text(read, parts).unwrap_or("")),
                (_, Values::Category(_) | Values::Later) => {}
            }
        }
    }

    fn push_attributes(&mut self, plan: &Plan, shelf: &Shelf, item: Option<usize>) {
        let item = item.unwrap_or(usize::MAX);
        for (feature, values) in plan.features.iter().zip(&mut self.values) {
            match (&feature.read, values) {
                (Read::Attribute(Attribute::Price), Values::Float(values)) => values.push(shelf.price(item)),
                (Read::Attribute(Attribute::DescriptionLength), Values::Float(values)) => {
                    values.push(shelf.description_length(item));
                }
                (Read::Attribute(Attribute::Category), Values::Category(codes)) => {
                    codes.push(shelf.category_code(item));
                }
                _ => {}
            }
        }
    }

    /// A row of gaps: the event has no such entity.
    fn push_gap(&mut self) {
        for values in &mut self.values {
            match values {
                Values::Float(values) => values.push(f64::NAN),
                Values::Time(values) => values.push(NO_INT),
                Values::Text(texts) => texts.push(""),
                Values::Category(codes) => codes.push(NO_TEXT),
                Values::Later => {}
            }
        }
    }

    fn columns(self, shelf: &Shelf) -> Vec<(String, DenseColumn)> {
        let mut columns: Vec<(String, DenseColumn)> = Vec::with_capacity(self.values.len());
        for (feature, values) in self.plan.features.iter().zip(self.values) {
            let column = match (values, &feature.read) {
                (Values::Float(values), _) => DenseColumn::Float(values),
                (Values::Time(values), _) => DenseColumn::Time(values),
                (Values::Text(texts), _) => DenseColumn::Text(texts),
                (Values::Category(codes), _) => DenseColumn::Label(shelf.labels(codes)),
                (Values::Later, Read::Expression(expression)) => {
                    let mut values = expression.column(self.rows, &|name| {
                        let known = columns.iter().find(|(own, _)| own == name);
                        known.and_then(|(_, column)| match column {
                            DenseColumn::Float(values) => Some(values.as_slice()),
                            _ => None,
                        })
                    });
                    values.iter_mut().for_each(|value| *value = finite(*value));
                    DenseColumn::Float(values)
                }
                (Values::Later, _) => continue,
            };
            columns.push((feature.name.clone(), column));
        }
        columns
    }

    /// The category of each event's product, where features of shoppers with categories are declared.
    fn key_category(&self, pairs: &Pairs, events: &EventColumns) -> Option<Labels> {
        (!self.plan.is_empty()).then(|| {
            let mut items = Numbers::of(&events.item_id.texts);
            let codes = events.item_id.codes.iter().map(|code| {
                items.known(*code, &pairs.items).map_or(NO_TEXT, |item| pairs.shelf.category_code(item))
            });
            pairs.shelf.labels(codes.collect())
        })
    }
}

fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}

/// The rows of each moment.
fn moments(events: &EventColumns) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut start = 0;
    events.time.chunk_by(|a, b| a == b).map(move |moment| {
        let rows = start..start + moment.len();
        start = rows.end;
        rows
    })
}

fn day_of(events: &EventColumns, row: usize) -> LimaDay {
    Timestamp::from_millis(events.time[row]).lima_day()
}

fn user_rows(plan: &Plan, users: &mut Named, events: &EventColumns, out: &mut Out<'_>) {
    let mut numbers = Numbers::of(&events.user_id.texts);
    for moment in moments(events) {
        let today = day_of(events, moment.start);
        for code in &events.user_id.codes[moment.clone()] {
            match (*code, numbers.known(*code, &users.names)) {
                (NO_TEXT, _) => out.push_gap(),
                (_, Some(number)) => out.push(plan, &[(&users.cells, number)], today),
                (_, None) => out.push(plan, &[], today),
            }
        }
        for row in moment {
            let code = events.user_id.codes[row];
            if let Some(number) = numbers.made(code, |name| users.number_of(plan, name)) {
                plan.apply(&mut users.cells, number, &Happening::row(events, row));
            }
        }
    }
}

fn item_rows(plan: &Plan, items: &mut Named, shelf: &Shelf, events: &EventColumns, out: &mut Out<'_>) {
    let mut numbers = Numbers::of(&events.item_id.texts);
    let mut shown = Numbers::of(&events.items.texts);
    for moment in moments(events) {
        let today = day_of(events, moment.start);
        for code in &events.item_id.codes[moment.clone()] {
            let number = numbers.known(*code, &items.names);
            match (*code, number) {
                (NO_TEXT, _) => {
                    out.push_gap();
                    continue;
                }
                (_, Some(number)) => out.push(plan, &[(&items.cells, number)], today),
                (_, None) => out.push(plan, &[], today),
            }
            out.push_attributes(plan, shelf, number);
        }
        for row in moment {
            let event = Happening::row(events, row);
            if let Some(number) = numbers.made(events.item_id.codes[row], |name| items.number_of(plan, name))
            {
                plan.apply(&mut items.cells, number, &event);
            }
            for code in events.items.codes_of(row) {
                if let Some(number) = shown.made(*code, |name| items.number_of(plan, name)) {
                    let event = event.showing(events.items.texts.get(*code as usize));
                    plan.apply(&mut items.cells, number, &event);
                }
            }
        }
    }
}

/// Visits day by day; those that were over before the first event's yesterday are forgotten.
fn visit_rows(plan: &Plan, visits: &mut BTreeMap<i32, Named>, events: &EventColumns, out: &mut Out<'_>) {
    let mut open: Option<(LimaDay, Named, Option<Named>)> = None;
    let mut today_numbers = Numbers::of(&events.session_id.texts);
    let mut old_numbers = Numbers::of(&events.session_id.texts);
    for moment in moments(events) {
        let today = day_of(events, moment.start);
        if open.as_ref().is_none_or(|(day, ..)| *day != today) {
            close(visits, open.take());
            *visits = visits.split_off(&today.0.saturating_sub(1));
            let old = visits.remove(&today.0.saturating_sub(1));
            open = Some((today, visits.remove(&today.0).unwrap_or_default(), old));
            today_numbers = Numbers::of(&events.session_id.texts);
            old_numbers = Numbers::of(&events.session_id.texts);
        }
        let Some((_, new, old)) = &mut open else { continue };
        for code in &events.session_id.codes[moment.clone()] {
            if *code == NO_TEXT {
                out.push_gap();
                continue;
            }
            let new_part = today_numbers.known(*code, &new.names).map(|number| (&new.cells, number));
            let old_part = old
                .as_ref()
                .and_then(|old| old_numbers.known(*code, &old.names).map(|number| (&old.cells, number)));
            match (old_part, new_part) {
                (None, None) => out.push(plan, &[], today),
                (Some(part), None) | (None, Some(part)) => out.push(plan, &[part], today),
                (Some(old), Some(new)) => out.push(plan, &[old, new], today),
            }
        }
        for row in moment {
            let code = events.session_id.codes[row];
            if let Some(number) = today_numbers.made(code, |name| new.number_of(plan, name)) {
                plan.apply(&mut new.cells, number, &Happening::row(events, row));
            }
        }
    }
    close(visits, open);
}

/// Puts the visits of a day and of the day before back to the others.
fn close(visits: &mut BTreeMap<i32, Named>, open: Option<(LimaDay, Named, Option<Named>)>) {
    let Some((day, new, old)) = open else { return };
    visits.insert(day.0, new);
    if let Some(old) = old {
        visits.insert(day.0.saturating_sub(1), old);
    }
}

fn pair_rows(plans: [&Plan; 2], pairs: &mut Pairs, events: &EventColumns, outs: &mut [Out<'_>; 2]) {
    for moment in moments(events) {
        let today = day_of(events, moment.start);
        for row in moment.clone() {
            let (user, item) = (events.user_id.get(row), events.item_id.get(row));
            if user.is_empty() || item.is_empty() {
                outs.iter_mut().for_each(Out::push_gap);
                continue;
            }
            let part = pairs.get(user, item).map(|number| (&pairs.by_item, number));
            outs[0].push(plans[0], part.as_slice(), today);
            let number = pairs.items.get(item).map_or(usize::MAX, |number| number as usize);
            match pairs.shelf.category_code(number) {
                NO_TEXT => outs[1].push_gap(),
                category => outs[1].push(plans[1], &pairs.in_category(user, category), today),
            }
        }
        for row in moment {
            let (event, user) = (Happening::row(events, row), events.user_id.get(row));
            let shown = events.items.codes_of(row).iter();
            let shown = shown.map(|code| events.items.texts.get(*code as usize));
            for item in std::iter::once(event.text(Field::Item)).chain(shown) {
                if !user.is_empty() && !item.is_empty() {
                    pairs.apply(plans, [user, item], &event.showing(item));
                }
            }
        }
    }
}
