//! Events in: one or many, in our shape or GA4's. The answer comes after they are durable and counted.

use std::sync::Arc;

use axum::Json as JsonAnswer;
use axum::extract::State;
use qhatu_ingest::decode_json_event;
use qhatu_schema::{ErrorKind, Event, Timestamp};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::App;
use super::extract::{JsonBytes, read_json};
use super::fault::{Fault, Faults};

/// Bodies from this size on are decoded beside the connections' threads.
const LARGE_BODY: usize = 16 * 1_024;
/// How far a shop's clock may run ahead.
const AHEAD_MS: i64 = 24 * 3_600_000;

/// What came of the events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Received {
    /// New, durable, and counted in the next list.
    accepted: usize,
    /// Known before by their `event_id`.
    duplicate: usize,
    /// Refused, each with its reason.
    refused: usize,
    /// One entry per event, in the order sent. A GA4 event of several items makes several.
    results: Vec<EventResult>,
}

/// What came of one event.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct EventResult {
    /// The place in the batch, from 0.
    index: usize,
    /// The id, where one could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    /// `accepted`, `duplicate` or `refused`.
    #[schema(example = "accepted")]
    result: &'static str,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Send events
///
/// One event, a list of them, or `{"events": [...]}`; in qhatu's shape or as GA4 sends them. Answered
/// after the events are durable. A batch is not refused for one bad event: each has its result. A single
/// event that is refused is answered with 422.
#[utoipa::path(
    post, path = "/v1/events", tag = "Events",
    request_body(
        content = Value,
        description = "One event or many",
        examples(
            ("one" = (summary = "A view by a known shopper", value = json!({
                "event_id": "e-1", "time": "2026-11-24T18:30:00-05:00", "kind": "view",
                "user_id": "17850", "item_id": "85123A"}))),
            ("many" = (summary = "A batch", value = json!({"events": [
                {"event_id": "e-2", "time": "2026-11-24T18:31:00-05:00", "kind": "add_to_cart",
                 "session_id": "s-9", "item_id": "71053"},
                {"event_id": "e-3", "time": "2026-11-24T18:32:00-05:00", "kind": "search",
                 "session_id": "s-9", "query": "taza"}]}))),
        )
    ),
    responses((status = 200, description = "What came of each event", body = Received), Faults)
)]
pub(crate) async fn receive(
    State(app): State<Arc<App>>,
    JsonBytes(bytes): JsonBytes,
) -> Result<JsonAnswer<Received>, Fault> {
    app.engine.check_ready()?;
    let most = app.config.max_events;
    let decoded = match bytes.len() < LARGE_BODY {
        true => decode(&bytes, most)?,
        false => app.score.run(move || decode(&bytes, most)).await??,
    };
    let Decoded { events, mut results, single } = decoded;
    if let (true, [EventResult { reason: Some(reason), .. }]) = (single, results.as_slice()) {
        app.metrics.events(0, 0, 1);
        return Err(Fault::new(ErrorKind::InvalidArgument, reason.clone()));
    }
    let (places, events): (Vec<usize>, Vec<Event>) = events.into_iter().unzip();
    let new = if events.is_empty() { Vec::new() } else { app.engine.append(events).await? };
    for (place, new) in places.into_iter().zip(new) {
        results[place].result = if new { "accepted" } else { "duplicate" };
    }
    let count = |result| results.iter().filter(|entry| entry.result == result).count();
    let (accepted, duplicate, refused) = (count("accepted"), count("duplicate"), count("refused"));
    app.metrics.events(accepted, duplicate, refused);
    Ok(JsonAnswer(Received { accepted, duplicate, refused, results }))
}

/// Readable events with their place among the results, and a result for each.
struct Decoded {
    events: Vec<(usize, Event)>,
    results: Vec<EventResult>,
    single: bool,
}

fn decode(bytes: &[u8], most: usize) -> Result<Decoded, Fault> {
    let body: Value = read_json(bytes)?;
    let (values, single) = split(body)?;
    if values.len() > most {
        return Err(Fault::new(ErrorKind::TooLarge, format!("{} events in one request", values.len()))
            .hint(format!("send at most {most} at once (serve.max_events)")));
    }
    let latest = Timestamp::now().plus_millis(AHEAD_MS);
    let mut decoded = Decoded { events: Vec::with_capacity(values.len()), results: Vec::new(), single };
    for (index, value) in values.into_iter().enumerate() {
        decoded.take(index, &value, latest);
    }
    Ok(decoded)
}

/// The single events of a body. A GA4 payload keeps its head (`user_id`, `client_id`, …) on each.
fn split(body: Value) -> Result<(Vec<Value>, bool), Fault> {
    match body {
        Value::Array(values) => Ok((values, false)),
        Value::Object(mut head) => match head.remove("events") {
            None => Ok((vec![Value::Object(head)], true)),
            Some(Value::Array(values)) if head.is_empty() => Ok((values, false)),
            Some(Value::Array(values)) => {
                let with_head = |value| {
                    let mut one = head.clone();
                    one.insert("events".to_owned(), Value::Array(vec![value]));
                    Value::Object(one)
                };
                Ok((values.into_iter().map(with_head).collect(), false))
            }
            Some(_) => Err(Fault::new(ErrorKind::InvalidArgument, "events is not a list")),
        },
        _ => Err(Fault::new(ErrorKind::InvalidArgument, "the body is neither an event nor a list of events")
            .hint("send one event, a list of events or {\"events\": [...]}")),
    }
}

impl Decoded {
    fn take(&mut self, index: usize, value: &Value, latest: Timestamp) {
        match decode_json_event(value) {
            Err(error) => {
                let id = value.get("event_id").and_then(Value::as_str).map(str::to_owned);
                self.refuse(index, id, error.to_string());
            }
            Ok(events) => events.into_iter().for_each(|event| self.take_event(index, event, latest)),
        }
    }

    fn take_event(&mut self, index: usize, event: Event, latest: Timestamp) {
        let id = Some(event.event_id.to_string());
        if let Err(error) = event.check() {
            return self.refuse(index, id, error.to_string());
        }
        if event.time > latest {
            let reason =
                format!("time {} lies more than a day ahead: check the clock and its zone", event.time);
            return self.refuse(index, id, reason);
        }
        self.events.push((self.results.len(), event));
        self.results.push(EventResult { index, event_id: id, result: "accepted", reason: None });
    }

    fn refuse(&mut self, index: usize, event_id: Option<String>, reason: String) {
        self.results.push(EventResult { index, event_id, result: "refused", reason: Some(reason) });
    }
}
