//! Texts of a shop that belong together, out of its lake, for a text model to be taught by: a query and the product that was
//! clicked, a product and the next one. A product is its title.
//!
//! Somebody is a shopper, or a visit of whom nobody knows; a visit in which a shopper becomes known is theirs from its
//! beginning on. Products without a title are passed over as if nothing had been done with them.
//!
//! * Query → product ([`PairKind::Query`]): what was clicked or put into the cart by who searched, not more than
//!   [`APART`] after the search and before their next one; where there is neither, what was viewed. Each product counts once a
//!   search.
//! * Product → next product ([`PairKind::Next`]): two products one after another among somebody's views, clicks, carts and
//!   paid purchases, not more than [`APART`] apart; each such pair counts once in a row of deeds that are no farther apart. And
//!   from order to order: each product of a paid order with one of the order before, the first with the first and so on, from
//!   the beginning again where that one is shorter. Purchases without an order id are one order a Lima day.
//!
//! A pair that comes again, of another search, visit or order, counts again: what happens often is to be learned more. Two
//! texts that are the same are no pair. Pairs stand in the order in which their second product was met. Memory: 24 bytes a
//! pair, the titles and queries once, and of everybody what they did last.

use std::fmt;

use qhatu_models::OrderKey;
use qhatu_schema::{Event, EventKind, Item, ItemId, LimaDay, SessionId, UserId};
use qhatu_store::Lake;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::error::TrainError;
use crate::numbers::Numbers;
use crate::texts::spaced;

/// What lies farther apart has nothing to do with each other: 30 minutes, in milliseconds.
const APART: i64 = 30 * 60_000;

/// Why two texts belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PairKind {
    /// A query, and the title of a product that was clicked.
    Query,
    /// A product's title, and that of the next one.
    Next,
}

impl fmt::Display for PairKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Query => "query",
            Self::Next => "next",
        })
    }
}

/// What was seen on the way, so that it can be said why there is no pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Looked {
    /// Searches with a query.
    pub searches: usize,
    /// Views, clicks, carts and paid purchases of products with a title.
    pub titled: usize,
    /// The same of products without one.
    pub untitled: usize,
}

/// Pairs of texts by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPairs {
    texts: Vec<String>,
    pairs: Vec<Pair>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pair {
    /// Which event had the second product.
    at: u64,
    kind: PairKind,
    first: u32,
    second: u32,
}

impl TextPairs {
    /// Reads the events before `until` began; titles are those of `items`, today's.
    ///
    /// # Errors
    /// Where the lake cannot be read, or there is no pair of a kind that is wanted.
    pub fn read(
        lake: &Lake,
        items: &[Item],
        wanted: &[PairKind],
        until: Option<LimaDay>,
    ) -> Result<Self, TrainError> {
        let before = until.map_or(i64::MAX, |day| day.start().millis());
        let mut builder = PairsBuilder::new(items);
        lake.scan(None, until, &mut |events: &[Event]| {
            events.iter().filter(|event| event.time.millis() < before).for_each(|event| builder.add(event));
            Ok(())
        })?;
        let looked = builder.looked;
        let found = builder.finish(wanted);
        if found.pairs.is_empty() {
            let wanted = wanted.iter().map(PairKind::to_string).collect::<Vec<_>>().join(",");
            return Err(TrainError::NoPairs { wanted, looked });
        }
        Ok(found)
    }

    /// Of each kind the latest, at most so many.
    #[must_use]
    pub fn latest(mut self, most: usize) -> Self {
        for kind in [PairKind::Query, PairKind::Next] {
            let mut surplus = self.count(kind).saturating_sub(most);
            self.pairs.retain(|pair| {
                let goes = pair.kind == kind && surplus > 0;
                surplus -= usize::from(goes);
                !goes
            });
        }
        self
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// How many there are of a kind.
    pub fn count(&self, kind: PairKind) -> usize {
        self.pairs.iter().filter(|pair| pair.kind == kind).count()
    }

    /// All pairs, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let text = |number: u32| self.texts[number as usize].as_str();
        self.pairs.iter().map(move |pair| (text(pair.first), text(pair.second)))
    }
}

/// A product that was met: by which event, and its title's number.
type Met = (u64, u32);

/// A search that may still be answered.
#[derive(Debug)]
struct Search {
    time: i64,
    query: u32,
    chosen: Vec<Met>,
    viewed: Vec<Met>,
}

/// What somebody did last.
#[derive(Debug, Default)]
struct State {
    known: bool,
    search: Option<Search>,
    last: Option<(i64, u32)>,
    /// The pairs of this row of deeds.
    row: FxHashSet<(u32, u32)>,
    order: Option<String>,
    lines: Vec<Met>,
    lines_before: Vec<u32>,
}

/// Takes events in order of time.
#[derive(Debug)]
struct PairsBuilder {
    titles: FxHashMap<ItemId, u32>,
    texts: Numbers<String>,
    users: FxHashMap<UserId, usize>,
    visits: FxHashMap<SessionId, usize>,
    states: Vec<State>,
    pairs: Vec<Pair>,
    events: u64,
    looked: Looked,
}

impl PairsBuilder {
    fn new(items: &[Item]) -> Self {
        let mut texts = Numbers::default();
        let titled = items.iter().map(|item| (item, spaced(&item.title)));
        let titles = titled
            .filter(|(_, title)| !title.is_empty())
            .map(|(item, title)| (item.item_id.clone(), texts.of(title)))
            .collect();
        Self {
            titles,
            texts,
            users: FxHashMap::default(),
            visits: FxHashMap::default(),
            states: Vec::new(),
            pairs: Vec::new(),
            events: 0,
            looked: Looked::default(),
        }
    }

    fn add(&mut self, event: &Event) {
        self.events += 1;
        // Before all else: any event may tell whose visit it is.
        let Some(who) = self.who(event) else { return };
        match event.kind {
            EventKind::Search => self.search(who, event),
            EventKind::View | EventKind::Click | EventKind::AddToCart => self.deed(who, event),
            EventKind::Purchase if event.is_paid() => self.deed(who, event),
            EventKind::Purchase | EventKind::RemoveFromCart | EventKind::Impression => {}
        }
    }

    /// The place of whoever did it.
    fn who(&mut self, event: &Event) -> Option<usize> {
        let next = self.states.len();
        let who = match (&event.user_id, &event.session_id) {
            (Some(user), None) => *self.users.entry(user.clone()).or_insert(next),
            (None, Some(visit)) => *self.visits.entry(visit.clone()).or_insert(next),
            (Some(user), Some(visit)) => {
                let who = *self.users.entry(user.clone()).or_insert(next);
                if who == next {
                    self.states.push(State::default());
                }
                let before = self.visits.insert(visit.clone(), who);
                if let Some(before) = before.filter(|before| !self.states[*before].known) {
                    self.make_known(before, who);
                }
                who
            }
            (None, None) => return None,
        };
        if who == self.states.len() {
            self.states.push(State::default());
        }
        self.states[who].known |= event.user_id.is_some();
        Some(who)
    }

    /// What a visit did of whom nobody knew is now a shopper's.
    fn make_known(&mut self, visit: usize, user: usize) {
        let mut old = std::mem::take(&mut self.states[visit]);
        self.close_order(&mut old);
        let own = &mut self.states[user];
        if old.last.map(|last| last.0) > own.last.map(|last| last.0) {
            (own.last, own.row) = (old.last, old.row);
        }
        let mut answered = old.search;
        if answered.as_ref().map(|search| search.time) > own.search.as_ref().map(|search| search.time) {
            std::mem::swap(&mut own.search, &mut answered);
        }
        self.close_search(answered);
    }

    fn search(&mut self, who: usize, event: &Event) {
        let query = spaced(event.query.as_deref().unwrap_or_default());
        let search = (!query.is_empty()).then(|| Search {
            time: event.time.millis(),
            query: self.texts.of(query),
            chosen: Vec::new(),
            viewed: Vec::new(),
        });
        self.looked.searches += usize::from(search.is_some());
        let before = std::mem::replace(&mut self.states[who].search, search);
        self.close_search(before);
    }

    fn deed(&mut self, who: usize, event: &Event) {
        let Some(item) = &event.item_id else { return };
        let Some(title) = self.titles.get(item).copied() else {
            self.looked.untitled += 1;
            return;
        };
        self.looked.titled += 1;
        let (time, at) = (event.time.millis(), self.events);
        let state = &mut self.states[who];
        if let Some(search) = &mut state.search
            && time - search.time <= APART
        {
            match event.kind {
                EventKind::Click | EventKind::AddToCart => search.chosen.push((at, title)),
                EventKind::View => search.viewed.push((at, title)),
                _ => {}
            }
        }
        if let Some(first) = state.step(time, title) {
            self.pairs.push(Pair { at, kind: PairKind::Next, first, second: title });
        }
        if event.kind == EventKind::Purchase {
            self.line(who, event, (at, title));
        }
    }

    /// A line of a paid order.
    fn line(&mut self, who: usize, event: &Event, met: Met) {
        let order = match OrderKey::of(event.order_id.as_ref(), event.time.millis()) {
            OrderKey::Id(id) => format!("id {id}"),
            OrderKey::Day(day) => format!("day {day}"),
        };
        if self.states[who].order.as_ref() != Some(&order) {
            let mut state = std::mem::take(&mut self.states[who]);
            self.close_order(&mut state);
            state.order = Some(order);
            self.states[who] = state;
        }
        self.states[who].lines.push(met);
    }

    /// Pairs the order's products with those of the order before, whose place it takes.
    fn close_order(&mut self, state: &mut State) {
        let lines = distinct(std::mem::take(&mut state.lines));
        for ((at, second), first) in lines.iter().zip(state.lines_before.iter().cycle()) {
            if first != second {
                self.pairs.push(Pair { at: *at, kind: PairKind::Next, first: *first, second: *second });
            }
        }
        if !lines.is_empty() {
            state.lines_before = lines.into_iter().map(|(_, title)| title).collect();
        }
    }

    fn close_search(&mut self, search: Option<Search>) {
        let Some(search) = search else { return };
        let met = if search.chosen.is_empty() { search.viewed } else { search.chosen };
        for (at, second) in distinct(met).into_iter().filter(|(_, title)| *title != search.query) {
            self.pairs.push(Pair { at, kind: PairKind::Query, first: search.query, second });
        }
    }

    fn finish(mut self, wanted: &[PairKind]) -> TextPairs {
        for mut state in std::mem::take(&mut self.states) {
            self.close_search(state.search.take());
            self.close_order(&mut state);
        }
        self.pairs.retain(|pair| wanted.contains(&pair.kind));
        // Stable: what one event makes stays in its order.
        self.pairs.sort_by_key(|pair| (pair.at, pair.kind));
        TextPairs { texts: self.texts.names, pairs: self.pairs }
    }
}

impl State {
    /// Goes on to a product; the one before, where both are a pair that is new in this row of deeds.
    fn step(&mut self, time: i64, title: u32) -> Option<u32> {
        let before = self.last.replace((time, title));
        let Some((_, first)) = before.filter(|(before, _)| time - before <= APART) else {
            self.row.clear();
            return None;
        };
        (first != title && self.row.insert((first, title))).then_some(first)
    }
}

/// Of each product the first time that it was met.
fn distinct(mut met: Vec<Met>) -> Vec<Met> {
    let mut seen = FxHashSet::default();
    met.retain(|(_, title)| seen.insert(*title));
    met
}

#[cfg(test)]
mod tests {
    use super::*;
    use qhatu_store::{EventLog, MemoryLog};

    const BOTH: [PairKind; 2] = [PairKind::Query, PairKind::Next];

    /// Products a to e with titles A to E; f has none, and g is another A.
    fn items() -> Vec<Item> {
        let one = |id: &str, title: &str| {
            let id = ItemId::new(id).expect("not empty");
            Item { title: title.to_owned(), ..Item::new(id) }
        };
        let titled = [("a", "A"), ("b", " B"), ("c", "C"), ("d", "D"), ("e", "E"), ("f", " "), ("g", "A ")];
        titled.map(|(id, title)| one(id, title)).to_vec()
    }

    /// Minutes are told from here, five hours before a day of Lima begins.
    const FIRST: LimaDay = LimaDay(20_000);

    /// Lines of "minute who deed what", an order's id behind a purchase; who is a shopper in upper case, a visit in lower case,
    /// or both with a slash between.
    fn pairs(lines: &str, wanted: &[PairKind]) -> Vec<String> {
        built(lines).finish(wanted).iter().map(|(first, second)| format!("{first}>{second}")).collect()
    }

    fn built(lines: &str) -> PairsBuilder {
        let mut builder = PairsBuilder::new(&items());
        for (number, line) in lines.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
            builder.add(&event(number, line));
        }
        builder
    }

    fn event(number: usize, line: &str) -> Event {
        let words: Vec<&str> = line.split(' ').collect();
        let minute: f64 = words[0].parse().expect("a number");
        let first = FIRST.start().plus_millis(-5 * 3_600_000);
        let mut event = serde_json::json!({
            "event_id": number.to_string(),
            "time": first.plus_millis((minute * 60_000.0).round() as i64),
            "kind": words[2],
        });
        for who in words[1].split('/') {
            let known = who.chars().all(char::is_uppercase);
            event[if known { "user_id" } else { "session_id" }] = who.into();
        }
        event[if words[2] == "search" { "query" } else { "item_id" }] = words[3].into();
        if let Some(order) = words.get(4) {
            event["order_id"] = (*order).into();
        }
        if let Some(state) = words.get(5) {
            event["state"] = (*state).into();
        }
        serde_json::from_value(event).expect("an event")
    }

    #[test]
    fn a_query_goes_with_what_was_chosen_and_only_else_with_what_was_viewed() {
        let of = |lines: &str| pairs(lines, &[PairKind::Query]);
        assert_eq!(
            of("0 s search x\n1 s view a\n2 s click b\n3 s view b\n4 s add_to_cart c"),
            ["x>B", "x>C"]
        );
        assert_eq!(of("0 s search x\n1 s view a\n2 s view b\n3 s view a"), ["x>A", "x>B"]);
        assert_eq!(of("0 s search x\n1 s click a\n1 s click g\n2 s add_to_cart a"), ["x>A"]);
        assert_eq!(of("0 s click a\n1 s search x\n2 s purchase b\n3 s remove_from_cart c"), [""; 0]);
    }

    #[test]
    fn the_latest_of_each_kind_stay() {
        let lines = "0 s search x\n1 s click a\n2 s search y\n3 s click b\n4 s view c\n5 s view d";
        let of = |most: usize| -> Vec<String> {
            let found = built(lines).finish(&BOTH).latest(most);
            found.iter().map(|(first, second)| format!("{first}>{second}")).collect()
        };
        assert_eq!(of(9), ["x>A", "y>B", "A>B", "B>C", "C>D"]);
        assert_eq!(of(1), ["y>B", "C>D"]);
    }

    #[test]
    fn an_answer_comes_within_half_an_hour_and_before_the_next_search() {
        let of = |lines: &str| pairs(lines, &[PairKind::Query]);
        assert_eq!(of("0 s search x\n30 s click a\n30.001 s click b"), ["x>A"]);
        assert_eq!(of("0 s search x\n1 s search y\n2 s click a"), ["y>A"]);
        assert_eq!(of("0 s search x\n1 t click a\n2 t search y\n3 s click b\n4 t click c"), ["x>B", "y>C"]);
        // The same words again are another search.
        assert_eq!(of("0 s search x\n1 s click a\n2 s search x\n3 s click a"), ["x>A", "x>A"]);
        // In the order of the products, whenever a search comes to its end.
        assert_eq!(
            of("0 s search x\n1 s click a\n2 t search y\n3 t click b\n4 t search z\n5 s click c"),
            ["x>A", "y>B", "x>C"]
        );
    }

    #[test]
    fn products_without_a_title_are_passed_over() {
        let lines = "0 s search x\n1 s click f\n2 s click nobody\n3 s view a\n4 s view f\n5 s view b";
        assert_eq!(pairs(lines, &BOTH), ["x>A", "x>B", "A>B"]);
        assert_eq!(built(lines).looked, Looked { searches: 1, titled: 2, untitled: 3 });
        assert_eq!(pairs("0 s search A\n1 s click g\n1 s view a", &BOTH), [""; 0], "the same text");
    }

    #[test]
    fn one_product_goes_with_the_next_within_half_an_hour_once_a_visit() {
        let of = |lines: &str| pairs(lines, &[PairKind::Next]);
        assert_eq!(of("0 s view a\n1 s click a\n31 s add_to_cart b\n61.001 s view c"), ["A>B"]);
        assert_eq!(of("0 s view a\n1 s view b\n2 s view a\n3 s view b\n4 s view a"), ["A>B", "B>A"]);
        assert_eq!(of("0 s view a\n1 s view b\n40 s view a\n41 s view b"), ["A>B", "A>B"]);
        assert_eq!(of("0 s view a\n0 t view b\n1 s view c\n1 t view d"), ["A>C", "B>D"]);
        assert_eq!(of("0 s view a\n1 s remove_from_cart b\n2 s search x\n3 s view c"), ["A>C"]);
        assert_eq!(
            of("0 A purchase a o\n0 A purchase b o\n0 A purchase c o"),
            ["A>B", "B>C"],
            "an order's lines"
        );
        assert_eq!(of("0 A purchase a o created\n0 A purchase b o refunded\n0 A purchase c o"), [""; 0]);
    }

    #[test]
    fn an_order_goes_with_the_order_before_however_long_ago() {
        let of = |lines: &str| pairs(lines, &[PairKind::Next]);
        let first = "0 A purchase a o\n0 A purchase a o\n0 A purchase b o\n";
        assert_eq!(
            of(&format!("{first}9000 A purchase c p\n9000 A purchase d p\n9000 A purchase e p")),
            ["A>B", "A>C", "C>D", "B>D", "D>E", "A>E"]
        );
        assert_eq!(of(&format!("{first}9000 A purchase a p")), ["A>B"], "bought again");
        assert_eq!(of(&format!("{first}9000 B purchase c p")), ["A>B"], "somebody else");
        // Without an id an order is a day of Lima, from five in the morning of UTC.
        assert_eq!(of("0 A purchase a\n299 A purchase b\n300 A purchase c"), ["B>C", "A>C"]);
    }

    #[test]
    fn a_visit_in_which_a_shopper_becomes_known_is_theirs() {
        assert_eq!(
            pairs("0 s search x\n1 s view a\n2 A/s click b\n3 A click c", &BOTH),
            ["x>B", "A>B", "x>C", "B>C"]
        );
        // A later event of the visit alone is the shopper's too.
        assert_eq!(pairs("0 A/s search x\n1 s click a\n2 A click b", &BOTH), ["x>A", "x>B", "A>B"]);
        // What the shopper did meanwhile elsewhere is later than what the visit did, and stays.
        assert_eq!(
            pairs("0 s search x\n1 s click a\n2 A search y\n3 A/s click b", &BOTH),
            ["x>A", "y>B", "A>B"]
        );
        // Two who use one visit after another stay two.
        assert_eq!(pairs("0 A/s search x\n1 B/s click a\n2 A click b", &BOTH), ["x>B"]);
    }

    #[test]
    fn without_pairs_it_is_said_what_was_looked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let lake = Lake::open(folder.path().join("lake")).expect("a lake");
        let log = MemoryLog::default();
        log.append(&[event(0, "0 s search x"), event(1, "1 s view f"), event(2, "1500 s search y")])
            .expect("a log that can be written");
        lake.compact(&log).expect("a lake that can be written");
        let fault = TextPairs::read(&lake, &items(), &BOTH, Some(FIRST)).expect_err("no pair").to_string();
        for part in
            ["query,next", "1 searches", "0 views", "1 of products without", "30 minutes", "qhatu ingest"]
        {
            assert!(fault.contains(part), "{part}: {fault}");
        }
        log.append(&[event(3, "1501 s view a")]).expect("a log that can be written");
        lake.compact(&log).expect("a lake that can be written");
        let read = |wanted: &[PairKind], until| TextPairs::read(&lake, &items(), wanted, until);
        let found = read(&BOTH, None).expect("a pair");
        assert_eq!((found.len(), found.count(PairKind::Query), found.count(PairKind::Next)), (1, 1, 0));
        assert!(read(&[PairKind::Next], None).is_err() && read(&BOTH, Some(FIRST)).is_err());
    }
}
