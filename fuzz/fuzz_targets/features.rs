//! `features.toml`: declarations are read or refused; those that are accepted take events, give rows and
//! survive being stored.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use qhatu_features::{Declarations, Entity, State};
use qhatu_schema::{Currency, Event, EventId, EventKind, ItemId, Money, OrderId, UserId};

fuzz_target!(|bytes: &[u8]| {
    // What a server stored is read again by the same door, so any bytes may come.
    drop(State::restore(Arc::default(), bytes));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(declarations) = Declarations::from_toml(text) else { return };
    let mut state = State::new(Arc::new(declarations));
    for (place, kind) in EventKind::ALL.into_iter().enumerate() {
        state.apply(&event(place, kind));
    }
    for (entity, key) in [(Entity::User, "u"), (Entity::Item, "i"), (Entity::Session, "s")] {
        state.row(entity, key, qhatu_fuzz::now());
    }
    let stored = state.snapshot().expect("a state can be stored");
    let declarations = Arc::new(state.declarations().clone());
    assert!(State::restore(declarations, &stored).is_ok(), "what was stored is read again");
});

fn event(place: usize, kind: EventKind) -> Event {
    let id = EventId::new(format!("e{place}")).expect("not empty");
    let mut event = Event::new(id, qhatu_fuzz::now().plus_millis(-90_000_000 * place as i64), kind);
    event.user_id = UserId::new("u").ok();
    event.item_id = ItemId::new("i").ok();
    event.order_id = OrderId::new("o").ok();
    event.price = Some(Money::from_micros(i64::MAX / 4, Currency::PEN));
    event
}
