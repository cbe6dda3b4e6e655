//! What a shop has to say: the titles and descriptions of its catalogue and the queries of its lake's searches, for a text
//! model to be made of.
//!
//! A line is a text, as in a file of texts: of a description each line, so that its end is read too. Each text is there once,
//! however often it was searched for: the few queries that everybody asks would else be most of what is read. Memory: the
//! distinct texts twice, and a day of events.

use qhatu_schema::{Event, EventKind, Item, LimaDay};
use qhatu_store::Lake;
use rustc_hash::FxHashSet;

use crate::error::TrainError;

/// The distinct texts of a shop.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShopTexts {
    /// Of each product its title and the lines of its description, then the queries in the order in which they were first asked.
    pub texts: Vec<String>,
    /// How many of them are titles.
    pub titles: usize,
    /// How many are of descriptions, and no title.
    pub descriptions: usize,
    /// How many are queries, and neither.
    pub queries: usize,
}

impl ShopTexts {
    /// Reads the catalogue's items, and the searches before `until` began.
    ///
    /// # Errors
    /// Where the lake cannot be read, or there is no text at all.
    pub fn read(lake: &Lake, items: &[Item], until: Option<LimaDay>) -> Result<Self, TrainError> {
        let before = until.map_or(i64::MAX, |day| day.start().millis());
        let mut builder = TextsBuilder::default();
        items.iter().for_each(|item| builder.describe(item));
        lake.scan(None, until, &mut |events: &[Event]| {
            events.iter().filter(|event| event.time.millis() < before).for_each(|event| builder.add(event));
            Ok(())
        })?;
        match builder.found.texts.is_empty() {
            true => Err(TrainError::NoTexts),
            false => Ok(builder.found),
        }
    }
}

/// Takes items, then events in order of time.
#[derive(Debug, Default)]
struct TextsBuilder {
    found: ShopTexts,
    seen: FxHashSet<String>,
}

impl TextsBuilder {
    fn describe(&mut self, item: &Item) {
        self.found.titles += self.take(&item.title);
        self.found.descriptions += self.take(&item.description);
    }

    fn add(&mut self, event: &Event) {
        if let (EventKind::Search, Some(query)) = (event.kind, &event.query) {
            self.found.queries += self.take(query);
        }
    }

    /// The lines of a text that are new; how many.
    fn take(&mut self, text: &str) -> usize {
        let before = self.found.texts.len();
        for line in text.lines().map(spaced).filter(|line| !line.is_empty()) {
            if self.seen.insert(line.clone()) {
                self.found.texts.push(line);
            }
        }
        self.found.texts.len() - before
    }
}

/// A text on one line, with one blank between words.
pub(crate) fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use qhatu_schema::ItemId;
    use qhatu_store::{EventLog, MemoryLog};

    fn item(id: &str, title: &str, description: &str) -> Item {
        let id = ItemId::new(id).expect("not empty");
        Item { title: title.to_owned(), description: description.to_owned(), ..Item::new(id) }
    }

    fn event(text: &str) -> Event {
        serde_json::from_str(text).expect("an event")
    }

    #[test]
    fn each_line_is_a_text_and_each_text_is_there_once() {
        let mut builder = TextsBuilder::default();
        builder.describe(&item("a", " Polo  rojo", "Algodón.\r\n\nLavar a mano.\n"));
        builder.describe(&item("b", "Polo rojo", "Lavar a mano."));
        builder.describe(&item("c", "", ""));
        for text in [
            r#"{"event_id":"1","time":"2026-03-01T10:00:00Z","kind":"search","session_id":"s","query":"polo\t rojo para niño"}"#,
            r#"{"event_id":"2","time":"2026-03-01T10:00:01Z","kind":"search","session_id":"t","query":"polo rojo para niño "}"#,
            r#"{"event_id":"3","time":"2026-03-01T10:00:02Z","kind":"search","session_id":"t","query":"Polo rojo"}"#,
            r#"{"event_id":"4","time":"2026-03-01T10:00:03Z","kind":"view","session_id":"t","item_id":"a","query":"casaca"}"#,
        ] {
            builder.add(&event(text));
        }
        let found = builder.found;
        assert_eq!(found.texts, ["Polo rojo", "Algodón.", "Lavar a mano.", "polo rojo para niño"]);
        assert_eq!((found.titles, found.descriptions, found.queries), (1, 2, 1));
    }

    #[test]
    fn only_searches_before_the_day_are_read_and_a_shop_without_texts_is_told_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let lake = Lake::open(folder.path().join("lake")).expect("a lake");
        let log = MemoryLog::default();
        // Of Lima the first and the second of March.
        let events = ["2026-03-02T04:59:59Z", "2026-03-02T05:00:00Z"].map(|time| {
            event(&format!(
                r#"{{"event_id":"{time}","time":"{time}","kind":"search","session_id":"s","query":"q {time}"}}"#
            ))
        });
        let day = LimaDay::parse("2026-03-02").expect("a day");
        assert!(matches!(ShopTexts::read(&lake, &[item("a", " ", "")], None), Err(TrainError::NoTexts)));
        log.append(&events).expect("a log that can be written");
        lake.compact(&log).expect("a lake that can be written");
        let found = ShopTexts::read(&lake, &[], Some(day)).expect("a text");
        assert_eq!(found.texts, ["q 2026-03-02T04:59:59Z"]);
        assert_eq!(ShopTexts::read(&lake, &[], None).expect("texts").queries, 2);
    }
}
