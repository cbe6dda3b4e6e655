//! The fold over the lake: features as of a time, and before each event what was known then.

use std::sync::Arc;

use qhatu_schema::{Column, Event, Item, Table, Timestamp};

use crate::declaration::{Declarations, Entity, FeatureError};
use crate::state::{FeatureValue, Row, State};

/// The features of every entity of a kind at `now`, from the events strictly before it.
///
/// # Errors
/// None in truth; the table's own check passes through.
pub fn table_as_of(
    declarations: &Arc<Declarations>,
    events: impl IntoIterator<Item = Event>,
    items: &[Item],
    entity: Entity,
    now: Timestamp,
) -> Result<Table, FeatureError> {
    let mut state = State::new(Arc::clone(declarations));
    items.iter().for_each(|item| state.set_item(item));
    events.into_iter().filter(|event| event.time < now).for_each(|event| state.apply(&event));
    state_table(&state, entity, now)
}

/// The features of every entity of a kind in a state.
pub(crate) fn state_table(state: &State, entity: Entity, now: Timestamp) -> Result<Table, FeatureError> {
    let keys = state.keys(entity);
    let rows: Vec<Row> = keys.iter().map(|key| state.row(entity, key, now)).collect();
    let mut table = Table::new();
    let id = Column::Text(keys.iter().map(|key| Some((*key).to_owned())).collect());
    push(&mut table, key_name(entity), id)?;
    add_columns(&mut table, state.declarations(), entity, &rows.iter().collect::<Vec<_>>())?;
    Ok(table)
}

/// For each event the features of its shopper, product and visit from the events strictly before it:
/// events of one moment do not see each other. `events` must be sorted by time.
///
/// # Errors
/// Where they are not sorted.
pub fn point_in_time_rows(
    declarations: &Arc<Declarations>,
    events: &[Event],
    items: &[Item],
) -> Result<Table, FeatureError> {
    if !events.is_sorted_by_key(|event| event.time) {
        return Err(FeatureError::Unusable { fault: "events must be sorted by time".to_owned() });
    }
    let mut state = State::new(Arc::clone(declarations));
    items.iter().for_each(|item| state.set_item(item));
    let mut rows: [Vec<Row>; 3] = Default::default();
    for moment in events.chunk_by(|a, b| a.time == b.time) {
        for event in moment {
            for (rows, (entity, key)) in rows.iter_mut().zip(keys_of(event)) {
                rows.push(state.row(entity, key, event.time));
            }
        }
        moment.iter().for_each(|event| state.apply(event));
    }
    let mut table = Table::new();
    push(
        &mut table,
        "event_id",
        Column::Text(events.iter().map(|e| Some(e.event_id.to_string())).collect()),
    )?;
    push(&mut table, "time", Column::Time(events.iter().map(|event| Some(event.time)).collect()))?;
    for (rows, entity) in rows.iter().zip([Entity::User, Entity::Item, Entity::Session]) {
        let ids = events.iter().map(|event| keys_of(event)[entity as usize].1);
        let ids = ids.map(|id| (!id.is_empty()).then(|| id.to_owned())).collect();
        push(&mut table, key_name(entity), Column::Text(ids))?;
        add_columns(&mut table, declarations, entity, &rows.iter().collect::<Vec<_>>())?;
    }
    Ok(table)
}

/// Shopper, product and visit of an event; an empty key where there is none (no id is empty).
fn keys_of(event: &Event) -> [(Entity, &str); 3] {
    [
        (Entity::User, event.user_id.as_ref().map_or("", |id| id.as_str())),
        (Entity::Item, event.item_id.as_ref().map_or("", |id| id.as_str())),
        (Entity::Session, event.session_id.as_ref().map_or("", |id| id.as_str())),
    ]
}

fn key_name(entity: Entity) -> &'static str {
    match entity {
        Entity::User => "user_id",
        Entity::Item => "item_id",
        Entity::Session => "session_id",
    }
}

fn add_columns(
    table: &mut Table,
    declarations: &Declarations,
    entity: Entity,
    rows: &[&Row],
) -> Result<(), FeatureError> {
    for entry in declarations.catalogue().into_iter().filter(|entry| entry.entity == entity) {
        let values = rows.iter().map(|row| row.get(&entry.name).and_then(Option::as_ref));
        let column = match entry.value_type {
            "time" => Column::Time(
                values
                    .map(|value| if let Some(FeatureValue::Time(time)) = value { Some(*time) } else { None })
                    .collect(),
            ),
            "text" => {
                Column::Text(
                    values
                        .map(|value| {
                            if let Some(FeatureValue::Text(text)) = value { Some(text.clone()) } else { None }
                        })
                        .collect(),
                )
            }
            _ => {
                Column::Float(
                    values
                        .map(|value| {
                            if let Some(FeatureValue::Number(number)) = value { Some(*number) } else { None }
                        })
                        .collect(),
                )
            }
        };
        push(table, &entry.name, column)?;
    }
    Ok(())
}

fn push(table: &mut Table, name: &str, column: Column) -> Result<(), FeatureError> {
    table.push(name, column).map_err(|fault| FeatureError::Unusable { fault: fault.to_string() })
}
