//! Events of the shape that shops send: four views and clicks to a purchase, ids as browsers make them
//! (random UUIDs, so that no engine profits from ids in order). Event `n` is always the same.

use qhatu_schema::{
    Currency, Event, EventId, EventKind, ItemId, Money, OrderId, SessionId, Timestamp, UserId,
};

use crate::group::Entry;

const START_MS: i64 = 1_760_000_000_000;

/// The bits of a number well mixed (Steele and Vigna's SplitMix64).
fn mixed(number: u64) -> u64 {
    let mut bits = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// The id of event `number`.
pub fn id(number: u64) -> String {
    let (high, low) = (mixed(number), mixed(number ^ 0x5555_5555_5555_5555));
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0xfff,
        low & 0xffff_ffff_ffff
    )
}

/// Event `number` as the log is given it: id and encoded body.
pub fn entry(number: u64) -> Result<Entry, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let kind = match number % 5 {
        0 => EventKind::Purchase,
        1 => EventKind::AddToCart,
        _ => EventKind::View,
    };
    let id = id(number);
    let time = Timestamp::from_millis(START_MS + i64::try_from(number).map_err(|e| text(&e))? * 250);
    let mut event = Event::new(EventId::new(id.as_str()).map_err(|e| text(&e))?, time, kind);
    let shopper = mixed(number / 20) % 50_000;
    event.user_id = Some(UserId::new(format!("{}", 12_000 + shopper)).map_err(|e| text(&e))?);
    event.session_id = Some(SessionId::new(format!("s-{:016x}", mixed(number / 20))).map_err(|e| text(&e))?);
    event.item_id = Some(ItemId::new(format!("{}A", 20_000 + mixed(number) % 4_000)).map_err(|e| text(&e))?);
    if kind == EventKind::Purchase {
        let micros = i64::try_from(1 + mixed(number) % 20_000).map_err(|e| text(&e))? * 10_000;
        event.price = Some(Money::from_micros(micros, Currency::PEN));
        event.order_id = Some(OrderId::new(format!("{}", 500_000 + number / 20)).map_err(|e| text(&e))?);
        event.quantity = 1 + u32::try_from(number % 7).map_err(|e| text(&e))?;
    }
    Ok(Entry { id, body: serde_json::to_vec(&event).map_err(|e| text(&e))? })
}
