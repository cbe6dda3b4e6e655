//! Lists that were shown and what was clicked in them, out of a lake's impressions and clicks.
//!
//! An impression shows the list of its `recommendation_id`, a click names the list it came from by the same. Of a list shown
//! twice the first showing counts, of an item clicked twice the first click. Impressions without an id tell nothing,
//! for no click can be said to belong to them. Memory: 12 bytes for an item of a list, and the ids once.

use qhatu_models::{Shown, Vocabulary};
use qhatu_schema::{Event, EventKind, ItemId, ItemIdx, RecommendationId, SessionId, UserId};
use rustc_hash::FxHashMap;
use sha2::{Digest, Sha256};

use crate::numbers::Numbers;

/// A list as the lake has it; items by their numbers in [`Lists::items`].
#[derive(Debug, Clone, PartialEq)]
struct List {
    time: i64,
    id: RecommendationId,
    user: Option<UserId>,
    session: Option<SessionId>,
    items: Vec<u32>,
    clicks: Vec<Option<i64>>,
}

impl List {
    /// The visit that it was shown to, where nobody knows whose.
    fn visit(&self) -> Option<&SessionId> {
        self.session.as_ref().filter(|_| self.user.is_none())
    }
}

/// All lists of a shop, oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lists {
    lists: Vec<List>,
    items: Vec<ItemId>,
}

/// Takes events in any order.
#[derive(Debug, Default)]
pub(crate) struct ListsBuilder {
    items: Numbers<ItemId>,
    lists: FxHashMap<RecommendationId, List>,
    clicks: FxHashMap<(RecommendationId, u32), i64>,
}

impl ListsBuilder {
    pub(crate) fn add(&mut self, event: &Event) {
        let Some(id) = &event.recommendation_id else { return };
        let time = event.time.millis();
        match (event.kind, &event.item_id) {
            (EventKind::Impression, _) => {
                let items: Vec<u32> = event.items.iter().map(|item| self.items.of(item.clone())).collect();
                let (id, user, session) = (id.clone(), event.user_id.clone(), event.session_id.clone());
                let list = List { time, id: id.clone(), user, session, items, clicks: Vec::new() };
                let known = self.lists.entry(id).or_insert_with(|| list.clone());
                if (list.time, &list.items) < (known.time, &known.items) {
                    *known = list;
                }
            }
            (EventKind::Click, Some(item)) => {
                let item = self.items.of(item.clone());
                let first = self.clicks.entry((id.clone(), item)).or_insert(time);
                *first = time.min(*first);
            }
            _ => {}
        }
    }

    pub(crate) fn finish(self) -> Lists {
        let Self { items, lists, clicks } = self;
        let mut lists: Vec<List> = lists.into_values().collect();
        lists.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        for list in &mut lists {
            let click = |item: &u32| clicks.get(&(list.id.clone(), *item)).copied();
            list.clicks = list.items.iter().map(click).collect();
        }
        Lists { lists, items: items.names }
    }
}

impl Lists {
    /// Adds what was shown and clicked to the fingerprint of a shop's data; nothing where nothing was.
    pub(crate) fn hash(&self, hash: &mut Sha256) {
        for list in &self.lists {
            let user = list.user.as_ref().map_or("", UserId::as_str);
            for text in [list.id.as_str(), user] {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
            hash.update(list.time.to_le_bytes());
            for (item, click) in list.items.iter().zip(&list.clicks) {
                let item = self.items[*item as usize].as_str();
                hash.update((item.len() as u64).to_le_bytes());
                hash.update(item);
                hash.update(click.unwrap_or(-1).to_le_bytes());
            }
        }
    }

    /// Those who were shown a list and said who they are, oldest list first; some more than once.
    pub(crate) fn users(&self) -> impl Iterator<Item = &UserId> {
        self.lists.iter().filter_map(|list| list.user.as_ref())
    }

    /// The visits of nobody that were shown a list; some more than once.
    pub(crate) fn visits(&self) -> impl Iterator<Item = &SessionId> {
        self.lists.iter().filter_map(List::visit)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// By the numbers of a vocabulary, of shoppers and of visits.
    pub(crate) fn numbered(
        &self,
        vocabulary: &Vocabulary,
        user: impl Fn(&UserId) -> Option<u32>,
        visit: impl Fn(&SessionId) -> Option<u32>,
    ) -> Vec<Shown> {
        let numbers: Vec<ItemIdx> =
            self.items.iter().map(|item| vocabulary.idx(item).unwrap_or(ItemIdx(0))).collect();
        let shown = |list: &List| Shown {
            user: list.user.as_ref().and_then(&user),
            visit: list.visit().and_then(&visit),
            time: list.time,
            items: list.items.iter().map(|item| numbers[*item as usize]).collect(),
            clicks: list.clicks.clone(),
        };
        self.lists.iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Event {
        serde_json::from_str(text).expect("an event")
    }

    fn lists() -> Lists {
        let mut builder = ListsBuilder::default();
        let events = [
            r#"{"event_id":"1","time":"2026-03-01T10:00:02Z","kind":"click","user_id":"ana","item_id":"b","recommendation_id":"r1"}"#,
            r#"{"event_id":"2","time":"2026-03-01T10:00:00Z","kind":"impression","user_id":"ana","items":["a","b"],"recommendation_id":"r1"}"#,
            r#"{"event_id":"3","time":"2026-03-01T10:00:09Z","kind":"impression","user_id":"ana","items":["b"],"recommendation_id":"r1"}"#,
            r#"{"event_id":"4","time":"2026-03-01T10:00:01Z","kind":"click","user_id":"ana","item_id":"b","recommendation_id":"r1"}"#,
            r#"{"event_id":"5","time":"2026-02-01T10:00:00Z","kind":"impression","session_id":"s","items":["c","a"],"recommendation_id":"r0"}"#,
            r#"{"event_id":"6","time":"2026-03-01T10:00:00Z","kind":"impression","user_id":"ana","items":["a"]}"#,
            r#"{"event_id":"7","time":"2026-03-01T10:00:00Z","kind":"click","user_id":"ana","item_id":"a"}"#,
        ];
        events.iter().for_each(|text| builder.add(&event(text)));
        builder.finish()
    }

    #[test]
    fn clicks_find_the_list_they_came_from() {
        let ids = ["a", "b"].map(|id| ItemId::new(id).expect("not empty"));
        let ana = |user: &UserId| (user.as_str() == "ana").then_some(4);
        let visit = |session: &SessionId| (session.as_str() == "s").then_some(9);
        let shown = lists().numbered(&Vocabulary::new(ids), ana, visit);
        assert_eq!((shown[0].visit, shown[1].visit), (Some(9), None));
        let clicked = qhatu_schema::Timestamp::parse("2026-03-01T10:00:01Z").expect("a time").millis();
        assert_eq!(shown.len(), 2);
        assert_eq!((shown[0].user, shown[0].items.as_slice()), (None, &[ItemIdx(0), ItemIdx(1)][..]));
        assert_eq!((shown[1].user, shown[1].items.as_slice()), (Some(4), &[ItemIdx(1), ItemIdx(2)][..]));
        assert_eq!(shown[0].clicks, [None, None]);
        assert_eq!(shown[1].clicks, [None, Some(clicked)]);
    }

    #[test]
    fn what_was_clicked_is_part_of_the_fingerprint() {
        let of = |lists: &Lists| {
            let mut hash = Sha256::new();
            lists.hash(&mut hash);
            hash.finalize()
        };
        let mut other = lists();
        assert_eq!(of(&other), of(&lists()));
        other.lists[1].clicks[1] = None;
        assert_ne!(of(&other), of(&lists()));
        assert!(Lists::default().is_empty());
    }
}
