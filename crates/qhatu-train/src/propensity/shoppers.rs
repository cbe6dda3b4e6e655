//! Rows of a shop's own shoppers: what was known of each at a moment, and whether they bought in the days after it.
//!
//! Moments lie `horizon` days apart at midnight in Lima, the last one `horizon` days before the log's end, so that no
//! day is foretold twice. One pass over the lake; in memory are the fold's state and the rows.

use std::sync::Arc;

use qhatu_features::{Declarations, Entity, State};
use qhatu_schema::{
    DenseColumn, DenseTable, EventColumns, EventKind, Item, LimaDay, PurchaseState, Timestamp,
};
use qhatu_store::{Lake, StoreError};
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};

use super::example::Examples;
use crate::error::TrainError;

/// The column that says who it is.
const KEY: &str = "user_id";

/// Which rows are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// Days in which shoppers buy or do not.
    pub horizon: u32,
    /// How many moments are looked back from.
    pub count: u32,
}

impl Windows {
    /// # Errors
    /// Where too few windows are asked for to teach, to calibrate and to judge, or a horizon of no days.
    pub fn check(self) -> Result<(), TrainError> {
        let setting =
            |key, value: u32, hint| Err(TrainError::Propensity { key, value: value.to_string(), hint });
        if self.horizon == 0 || self.horizon > 3660 {
            return setting("shoppers", self.horizon, "a number of days, 1 to 3660, such as 28");
        }
        if !(3..=1000).contains(&self.count) {
            return setting("windows", self.count, "3 to 1000: one teaches, one calibrates, one judges");
        }
        Ok(())
    }

    /// The first day of each window, oldest first.
    fn moments(self, end: LimaDay) -> Vec<LimaDay> {
        let back = |window: u32| end.plus(-((window * self.horizon).min(i32::MAX as u32) as i32));
        (1..=self.count).rev().map(back).collect()
    }
}

/// What was known of shoppers at moments of a shop's past, and who bought within the days after each; periods are
/// the moments, oldest first.
///
/// # Errors
/// Where the windows make no sense, the lake cannot be read, or does not reach back before the first moment.
pub fn shopper_examples(
    lake: &Lake,
    (declarations, items): (Arc<Declarations>, &[Item]),
    windows: Windows,
) -> Result<Examples, TrainError> {
    windows.check()?;
    let days = lake.days()?;
    let (Some(first), Some(last)) = (days.first(), days.last()) else { return Err(TrainError::NoPurchases) };
    let moments = windows.moments(last.plus(1));
    if moments[0] <= *first {
        let days = i64::from(last.0) - i64::from(first.0) + 1;
        return Err(TrainError::FewDays { horizon: windows.horizon, windows: windows.count, days });
    }
    let mut looking = Looking::new(state(declarations, items), moments);
    let wanted = looking.state.columns_needed();
    lake.scan_columns::<StoreError>(&wanted, &mut |day| {
        looking.take(&day);
        Ok(())
    })?;
    Ok(looking.examples())
}

/// What is known of each shopper at a moment, from the events before it: their ids, and the table to score.
///
/// # Errors
/// Where the lake cannot be read.
pub fn shoppers_now(
    lake: &Lake,
    (declarations, items): (Arc<Declarations>, &[Item]),
    now: Timestamp,
) -> Result<(Vec<String>, DenseTable), TrainError> {
    let mut state = state(declarations, items);
    lake.scan_columns::<StoreError>(&state.columns_needed(), &mut |day| {
        state.apply_columns(&day.before(now.millis()));
        Ok(())
    })?;
    Ok(parted(state.table(Entity::User, now)))
}

fn state(declarations: Arc<Declarations>, items: &[Item]) -> State {
    let mut state = State::new(declarations);
    items.iter().for_each(|item| state.set_item(item));
    state
}

/// Who the rows are, and what is known of them without moments in time, which say nothing to a model.
fn parted(table: DenseTable) -> (Vec<String>, DenseTable) {
    let (mut users, mut columns) = (Vec::new(), Vec::new());
    for (name, column) in table.columns {
        match column {
            DenseColumn::Text(texts) if name == KEY => users = texts.iter().map(str::to_owned).collect(),
            DenseColumn::Time(_) => {}
            column => columns.push((name, column)),
        }
    }
    (users, DenseTable { columns })
}

/// A pass over a shop's past.
struct Looking {
    state: State,
    moments: Vec<LimaDay>,
    /// Shoppers and what was known of them, a moment after the other.
    seen: Vec<(Vec<String>, DenseTable)>,
    /// Who bought in the window after each.
    bought: Vec<FxHashSet<String>>,
}

impl Looking {
    fn new(state: State, moments: Vec<LimaDay>) -> Self {
        Self { state, moments, seen: Vec::new(), bought: Vec::new() }
    }

    /// Takes a day's events, looking at what was known before it where it begins a window.
    fn take(&mut self, day: &EventColumns) {
        let Some(time) = day.time.first() else { return };
        let today = Timestamp::from_millis(*time).lima_day();
        while let Some(moment) = self.moments.get(self.seen.len()).filter(|moment| **moment <= today) {
            self.seen.push(parted(self.state.table(Entity::User, moment.start())));
            self.bought.push(FxHashSet::default());
        }
        if let Some(bought) = self.bought.last_mut() {
            let paid = |row: &usize| {
                let state = day.state[*row].unwrap_or_default();
                day.kind[*row] == EventKind::Purchase && state == PurchaseState::Paid
            };
            for row in (0..day.rows()).filter(paid) {
                let user = day.user_id.get(row);
                if !user.is_empty() && !bought.contains(user) {
                    bought.insert(user.to_owned());
                }
            }
        }
        self.state.apply_columns(day);
    }

    fn examples(self) -> Examples {
        let (mut table, mut labels, mut periods) = (DenseTable::default(), Vec::new(), Vec::new());
        for (period, ((users, seen), bought)) in (0..).zip(self.seen.into_iter().zip(&self.bought)) {
            labels.extend(users.iter().map(|user| bought.contains(user)));
            periods.extend(users.iter().map(|_| period));
            append(&mut table, seen);
        }
        Examples { table, texts: Vec::new(), labels, periods }
    }
}

/// Adds the rows of a table with the same columns.
fn append(table: &mut DenseTable, rows: DenseTable) {
    if table.columns.is_empty() {
        *table = rows;
        return;
    }
    for ((_, all), (_, own)) in table.columns.iter_mut().zip(rows.columns) {
        match (all, own) {
            (DenseColumn::Float(all), DenseColumn::Float(own)) => all.extend(own),
            (DenseColumn::Text(all), DenseColumn::Text(own)) => all.extend(&own),
            (DenseColumn::Label(all), DenseColumn::Label(own)) => all.extend(&own),
            // The same declarations give the same columns.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qhatu_schema::Event;

    /// A purchase at ten in the morning of a day of March 2026.
    fn bought(user: &str, day: u32, state: &str) -> Event {
        let time = format!("2026-03-{day:02}T10:00:00-05:00");
        let text = format!(
            r#"{{"event_id":"{user}-{day}","time":"{time}","kind":"purchase","user_id":"{user}","item_id":"i","state":"{state}"}}"#
        );
        serde_json::from_str(&text).expect("an event")
    }

    #[test]
    fn rows_know_what_came_before_their_window_and_labels_what_came_in_it() {
        let events = [
            bought("ana", 1, "paid"),
            bought("luz", 3, "paid"),
            bought("ana", 6, "paid"),
            bought("luz", 8, "created"),
            bought("eva", 9, "paid"),
            bought("eva", 16, "paid"),
        ];
        let day = |day: u32| LimaDay::parse(&format!("2026-03-{day:02}")).expect("a day");
        let windows = Windows { horizon: 5, count: 3 };
        let moments = windows.moments(day(17));
        assert_eq!(moments, [day(2), day(7), day(12)]);
        let mut looking = Looking::new(state(Arc::default(), &[]), moments);
        events.chunks(1).for_each(|event| looking.take(&EventColumns::from_events(event)));
        let examples = looking.examples();
        assert_eq!(examples.periods, [0, 1, 1, 2, 2, 2]);
        let Some(DenseColumn::Float(orders)) = examples.table.column("user_orders") else {
            panic!("numbers")
        };
        let Some(DenseColumn::Float(since)) = examples.table.column("days_since_last_purchase") else {
            panic!("numbers")
        };
        // Ana before the 2nd; Ana and Luz before the 7th; Ana, Eva and Luz before the 12th, in some order.
        let mut rows: Vec<(u32, f64, f64, bool)> = (0..6)
            .map(|row| (examples.periods[row], orders[row], since[row], examples.labels[row]))
            .collect();
        rows.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
        let want = [
            (0, 1.0, 1.0, true),
            (1, 1.0, 4.0, false),
            (1, 2.0, 1.0, false),
            (2, 1.0, 3.0, true),
            (2, 1.0, 9.0, false),
            (2, 2.0, 6.0, false),
        ];
        assert_eq!(rows, want);
        assert!(examples.table.columns.iter().all(|(name, column)| {
            name != KEY && !matches!(column, DenseColumn::Time(_)) && column.rows() == 6
        }));
    }

    #[test]
    fn windows_that_make_no_sense_are_refused() {
        for (horizon, count, part) in
            [(0, 6, "shoppers = 0"), (28, 2, "windows = 2"), (4000, 6, "shoppers = 4000")]
        {
            let fault = Windows { horizon, count }.check().unwrap_err().to_string();
            assert!(fault.contains(part), "{fault}");
        }
    }
}
