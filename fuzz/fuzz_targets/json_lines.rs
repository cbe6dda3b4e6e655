//! JSON Lines without a mapping: qhatu's own events, GA4's payloads and export rows, mended rows of the
//! quarantine; plain and packed.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, rest)) = bytes.split_first() else { return };
    let name = ["a.jsonl", "a.jsonl", "a.jsonl.gz", "a.jsonl.zst"][usize::from(choice % 4)];
    let mapping = (choice & 4 != 0).then(qhatu_fuzz::wide_mapping);
    qhatu_fuzz::import(&qhatu_fuzz::file(name, rest), mapping.as_ref());
    if let Ok(value) = serde_json::from_slice(rest)
        && let Ok(events) = qhatu_ingest::decode_json_event(&value)
    {
        let again = qhatu_ingest::decode_json_event(&value).expect("the same value, decoded again");
        // Where it says no time, that is the moment of reading, and so is a part of the id.
        if events.iter().zip(&again).all(|(event, again)| event.time == again.time) {
            let id = |event: &qhatu_schema::Event| event.event_id.clone();
            assert!(events.iter().map(id).eq(again.iter().map(id)), "sent twice it has the same ids");
        }
    }
});
