//! Declarations made ready to run: which cells an entity has, which of them an event of a kind touches,
//! and how each feature is read from them. Features that need the same cell share it.

use qhatu_schema::{EventKind, PurchaseState};

use crate::cell::{Cells, Day, DaySums, Layout, NO_FIRST, NO_LAST, Value, day_key, text_key};
use crate::condition::Condition;
use crate::declaration::{Aggregate, Attribute, Declarations, Entity, Feature, Of, ValueType};
use crate::expression::Expression;
use crate::happening::{Field, Happening};

/// Everything about the features of one kind of entity.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) layout: Layout,
    pub(crate) features: Vec<Planned>,
    cells: Vec<Cell>,
    /// The cells that events of each kind may touch.
    by_kind: [Vec<usize>; EventKind::ALL.len()],
    /// How many numbers, day sums, … an entity has.
    width: Width,
}

#[derive(Debug, Clone, Copy, Default)]
struct Width {
    slots: usize,
    days: usize,
    daily: usize,
    sets: usize,
    kept: usize,
}

/// One feature, ready to be read.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) value_type: ValueType,
    pub(crate) read: Read,
}

/// How a feature comes from the cells.
#[derive(Debug)]
pub(crate) enum Read {
    Sum { place: usize, unit: f64 },
    Window { place: usize, days: Option<u32>, half_life: Option<f64>, unit: f64 },
    Quotient(Box<Read>, Box<Read>),
    Distinct { set: usize },
    First { place: usize },
    Last { place: usize },
    DaysSince { last: usize },
    MeanGap { set: usize, first: usize, last: usize },
    Daily { place: usize, days: u32, what: Aggregate },
    Kept { place: usize, first: bool },
    Attribute(Attribute),
    Expression(Expression),
}

#[derive(Debug, PartialEq)]
struct Cell {
    what: What,
    filter: Filter,
    place: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    Sum(Measure),
    First,
    Last,
    Days(Measure),
    Daily(Option<Of>),
    Set(Of),
    Kept { of: Of, first: bool },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Measure {
    One,
    Quantity,
    Price,
    Amount,
}

/// Which events count, and for how much.
#[derive(Debug, Clone, PartialEq)]
struct Filter {
    events: Vec<EventKind>,
    states: Vec<PurchaseState>,
    conditions: Vec<Condition>,
    /// Whether returns take away; otherwise they are passed over.
    subtract: bool,
    /// Whether an event without a price is passed over.
    priced: bool,
}

impl Filter {
    /// +1 for what counts, −1 for what is given back, 0 for what does not count. The kind has been looked at.
    fn weight(&self, event: &Happening<'_>) -> i64 {
        let weight = match event.state {
            None => 1,
            Some(state) if !self.states.is_empty() => i64::from(self.states.contains(&state)),
            Some(PurchaseState::Paid) => 1,
            Some(PurchaseState::Refunded) if self.subtract => -1,
            Some(_) => 0,
        };
        let passes = weight != 0
            && !(self.priced && event.price.is_none())
            && self.conditions.iter().all(|condition| condition.holds(event));
        if passes { weight } else { 0 }
    }
}

impl Measure {
    fn of(self, event: &Happening<'_>) -> i64 {
        match self {
            Self::One => 1,
            Self::Quantity => i64::from(event.quantity),
            Self::Price => event.price.unwrap_or(0),
            Self::Amount => event.amount(),
        }
    }

    /// Whole numbers in one unit of the feature.
    fn unit(self) -> f64 {
        if matches!(self, Self::Price | Self::Amount) { 1e6 } else { 1.0 }
    }
}

impl Plan {
    /// The plan for the features of an entity.
    pub(crate) fn of(declarations: &Declarations, entity: Entity) -> Self {
        let mut plan = Self {
            layout: Layout::default(),
            features: Vec::new(),
            cells: Vec::new(),
            by_kind: Default::default(),
            width: Width::default(),
        };
        for (feature, expression) in declarations.of(entity) {
            let read = match (expression, feature.attribute, feature.aggregate) {
                (Some(expression), ..) => Read::Expression(expression.with_names(|name| {
                    declarations.find(name).map_or_else(|_| name.to_owned(), |feature| feature.name.clone())
                })),
                (_, Some(attribute), _) => Read::Attribute(attribute),
                (.., Some(aggregate)) => plan.read_of(feature, aggregate),
                // Refused when declarations are read.
                _ => continue,
            };
            let (name, value_type) = (feature.name.clone(), feature.value_type());
            plan.features.push(Planned { name, value_type, read });
        }
        plan
    }

    /// Whether there is nothing to compute.
    pub(crate) fn is_empty(&self) -> bool {
        self.features.is_empty()
    }

    /// The texts of events that it asks for beside the entity's own key.
    pub(crate) fn fields(&self) -> Vec<Field> {
        let mut fields = Vec::new();
        for cell in &self.cells {
            fields.extend(cell.filter.conditions.iter().filter_map(Condition::field));
            let (What::Daily(Some(of)) | What::Set(of) | What::Kept { of, .. }) = cell.what else { continue };
            fields.extend(field_of(of));
        }
        fields
    }

    fn read_of(&mut self, feature: &Feature, aggregate: Aggregate) -> Read {
        let subtract = matches!(aggregate, Aggregate::Count | Aggregate::Sum | Aggregate::Ratio);
        let filter = Filter {
            events: feature.events.clone(),
            states: feature.states.clone(),
            conditions: feature.conditions.clone(),
            subtract,
            priced: feature.of == Some(Of::Price),
        };
        let order = feature.of.unwrap_or(Of::Order);
        match aggregate {
            Aggregate::Count => self.sum(feature, Measure::One, filter),
            Aggregate::Sum => self.sum(feature, measure(feature.of), filter),
            Aggregate::Mean => {
                let over = self.sum(feature, measure(feature.of), filter.clone());
                Read::Quotient(Box::new(over), Box::new(self.sum(feature, Measure::One, filter)))
            }
            Aggregate::Ratio => {
                let whole = Filter { events: feature.over.clone(), conditions: Vec::new(), ..filter.clone() };
                let over = self.sum(feature, Measure::One, filter);
                Read::Quotient(Box::new(over), Box::new(self.sum(feature, Measure::One, whole)))
            }
            Aggregate::First | Aggregate::Last if !matches!(feature.of, None | Some(Of::Time)) => {
                let first = aggregate == Aggregate::First;
                Read::Kept { place: self.cell(What::Kept { of: order, first }, filter), first }
            }
            _ => match (feature.window_days, aggregate) {
                (Some(days), what) => {
                    let of = match what {
                        Aggregate::Distinct | Aggregate::MeanGapDays => Some(order),
                        _ => None,
                    };
                    Read::Daily { place: self.cell(What::Daily(of), filter), days, what }
                }
                (None, Aggregate::First) => Read::First { place: self.cell(What::First, filter) },
                (None, Aggregate::Last) => Read::Last { place: self.cell(What::Last, filter) },
                (None, Aggregate::DaysSinceLast) => Read::DaysSince { last: self.cell(What::Last, filter) },
                (None, Aggregate::MeanGapDays) => Read::MeanGap {
                    set: self.cell(What::Set(order), filter.clone()),
                    first: self.cell(What::First, filter.clone()),
                    last: self.cell(What::Last, filter),
                },
                (None, _) => Read::Distinct { set: self.cell(What::Set(order), filter) },
            },
        }
    }

    fn sum(&mut self, feature: &Feature, measure: Measure, filter: Filter) -> Read {
        let (days, half_life, unit) = (feature.window_days, feature.half_life_days, measure.unit());
        if days.is_none() && half_life.is_none() {
            return Read::Sum { place: self.cell(What::Sum(measure), filter), unit };
        }
        Read::Window { place: self.cell(What::Days(measure), filter), days, half_life, unit }
    }

    /// The place of a cell, made where no feature before has asked for it.
    fn cell(&mut self, what: What, filter: Filter) -> usize {
        if let Some(known) = self.cells.iter().find(|cell| cell.what == what && cell.filter == filter) {
            return known.place;
        }
        let width = &mut self.width;
        let place = match what {
            What::Sum(_) | What::First | What::Last => {
                self.layout.slots.push(match what {
                    What::First => NO_FIRST,
                    What::Last => NO_LAST,
                    _ => 0,
                });
                &mut width.slots
            }
            What::Days(_) => &mut width.days,
            What::Daily(_) => &mut width.daily,
            What::Set(_) => &mut width.sets,
            What::Kept { .. } => &mut width.kept,
        };
        let own = *place;
        *place += 1;
        (self.layout.days, self.layout.daily) = (width.days, width.daily);
        (self.layout.sets, self.layout.kept) = (width.sets, width.kept);
        for kind in &filter.events {
            self.by_kind[*kind as usize].push(self.cells.len());
        }
        self.cells.push(Cell { what, filter, place: own });
        own
    }

    /// Takes an event into the cells of the entity of that number. `O(features touched)`.
    pub(crate) fn apply(&self, cells: &mut Cells, entity: usize, event: &Happening<'_>) {
        for number in &self.by_kind[event.kind as usize] {
            let cell = &self.cells[*number];
            let weight = cell.filter.weight(event);
            if weight == 0 {
                continue;
            }
            match cell.what {
                What::Sum(measure) => {
                    let slot = &mut cells.slots[entity * self.width.slots + cell.place];
                    *slot = slot.wrapping_add(measure.of(event).wrapping_mul(weight));
                }
                What::First => {
                    let slot = &mut cells.slots[entity * self.width.slots + cell.place];
                    *slot = event.time.min(*slot);
                }
                What::Last => {
                    let slot = &mut cells.slots[entity * self.width.slots + cell.place];
                    *slot = event.time.max(*slot);
                }
                What::Days(measure) => {
                    let step = measure.of(event).wrapping_mul(weight);
                    cells.days[entity * self.width.days + cell.place].add(event.day, step);
                }
                What::Daily(of) => {
                    let daily = &mut cells.daily[entity * self.width.daily + cell.place];
                    let own = daily.entry(event.day).or_default();
                    own.first = own.first.min(event.time);
                    own.last = own.last.max(event.time);
                    own.set.extend(of.and_then(|of| key_of(of, event)));
                }
                What::Set(of) => {
                    cells.sets[entity * self.width.sets + cell.place].extend(key_of(of, event));
                }
                What::Kept { of, first } => {
                    keep(&mut cells.kept[entity * self.width.kept + cell.place], of, first, event);
                }
            }
        }
    }

    /// A feature's number from the parts of an entity (a visit has one for each day), as of a Lima day;
    /// NaN where there is nothing to say. Expressions and attributes are the caller's.
    pub(crate) fn number(&self, read: &Read, parts: &[(&Cells, usize)], today: i32) -> f64 {
        match read {
            Read::Sum { place, unit } => self.slot(parts, *place, 0, i64::wrapping_add) as f64 / unit,
            Read::Window { place, days, half_life, unit } => {
                let from = days.map_or(i32::MIN, |days| window_start(today, days));
                let sums = parts.iter().map(|(cells, entity)| &cells.days[entity * self.width.days + place]);
                match half_life {
                    None => {
                        sums.map(|sums| sums.between(from, today)).fold(0, i64::wrapping_add) as f64 / unit
                    }
                    Some(half_life) => decayed(sums, from, today, *half_life) / unit,
                }
            }
            Read::Quotient(over, under) => {
                let (over, under) = (self.number(over, parts, today), self.number(under, parts, today));
                if under == 0.0 { f64::NAN } else { over / under }
            }
            Read::Distinct { set } => self.distinct(parts, *set) as f64,
            Read::DaysSince { last } => days_between(self.slot(parts, *last, NO_LAST, i64::max), today),
            Read::MeanGap { set, first, last } => mean_gap(
                self.distinct(parts, *set),
                self.slot(parts, *first, NO_FIRST, i64::min),
                self.slot(parts, *last, NO_LAST, i64::max),
            ),
            Read::Daily { place, days, what } => {
                let day = self.days(parts, *place, window_start(today, *days), today);
                match what {
                    Aggregate::DaysSinceLast => days_between(day.last, today),
                    Aggregate::MeanGapDays => mean_gap(day.set.len(), day.first, day.last),
                    _ => day.set.len() as f64,
                }
            }
            Read::Kept { place, first } => {
                self.kept(parts, *place, *first).map_or(f64::NAN, |value| value.micros as f64 / 1e6)
            }
            Read::First { .. } | Read::Last { .. } | Read::Attribute(_) | Read::Expression(_) => f64::NAN,
        }
    }

    /// A feature's time in milliseconds, where it has one.
    pub(crate) fn time(&self, read: &Read, parts: &[(&Cells, usize)], today: i32) -> Option<i64> {
        let found = match read {
            Read::First { place } => self.slot(parts, *place, NO_FIRST, i64::min),
            Read::Last { place } => self.slot(parts, *place, NO_LAST, i64::max),
            Read::Daily { place, days, what } => {
                let day = self.days(parts, *place, window_start(today, *days), today);
                if *what == Aggregate::First { day.first } else { day.last }
            }
            _ => NO_LAST,
        };
        (found != NO_FIRST && found != NO_LAST).then_some(found)
    }

    /// A feature's text, where it has one.
    pub(crate) fn text<'a>(&self, read: &Read, parts: &[(&'a Cells, usize)]) -> Option<&'a str> {
        let Read::Kept { place, first } = read else { return None };
        self.kept(parts, *place, *first).map(|value| value.text.as_str())
    }

    fn slot(&self, parts: &[(&Cells, usize)], place: usize, empty: i64, join: fn(i64, i64) -> i64) -> i64 {
        match parts {
            [(cells, entity)] => cells.slots[entity * self.width.slots + place],
            parts => parts
                .iter()
                .map(|(cells, entity)| cells.slots[entity * self.width.slots + place])
                .fold(empty, join),
        }
    }

    fn distinct(&self, parts: &[(&Cells, usize)], set: usize) -> usize {
        let mut sets = parts.iter().map(|(cells, entity)| &cells.sets[entity * self.width.sets + set]);
        match (sets.next(), sets.next()) {
            (None, _) => 0,
            (Some(one), None) => one.len(),
            (Some(one), Some(two)) => {
                let mut all = one | two;
                sets.for_each(|set| all.extend(set));
                all.len()
            }
        }
    }

    fn days(&self, parts: &[(&Cells, usize)], place: usize, from: i32, to: i32) -> Day {
        let mut all = Day::default();
        for (cells, entity) in parts {
            let daily = &cells.daily[entity * self.width.daily + place];
            if from <= to {
                daily.range(from..=to).for_each(|(_, day)| all.join(day));
            }
        }
        all
    }

    fn kept<'a>(&self, parts: &[(&'a Cells, usize)], place: usize, first: bool) -> Option<&'a Value> {
        let all =
            parts.iter().filter_map(|(cells, entity)| cells.kept[entity * self.width.kept + place].as_ref());
        if first {
            all.min_by(|a, b| moment(a).cmp(&moment(b)))
        } else {
            all.max_by(|a, b| moment(a).cmp(&moment(b)))
        }
    }
}

fn moment(value: &Value) -> (i64, &str) {
    (value.time, &value.event_id)
}

fn measure(of: Option<Of>) -> Measure {
    match of {
        Some(Of::Quantity) => Measure::Quantity,
        Some(Of::Price) => Measure::Price,
        _ => Measure::Amount,
    }
}

fn field_of(of: Of) -> Option<Field> {
    match of {
        Of::Item => Some(Field::Item),
        Of::User => Some(Field::User),
        Of::Session => Some(Field::Session),
        Of::Order => Some(Field::Order),
        Of::Query => Some(Field::Query),
        Of::Amount | Of::Quantity | Of::Price | Of::Time | Of::Day => None,
    }
}

/// What tells an event apart from others, as a number; none where the event does not say.
fn key_of(of: Of, event: &Happening<'_>) -> Option<u64> {
    let text = field_of(of).map_or("", |field| event.text(field));
    match of {
        Of::Day => Some(day_key(event.day)),
        Of::Order if text.is_empty() => Some(day_key(event.day)),
        _ => (!text.is_empty()).then(|| text_key(text)),
    }
}

fn keep(cell: &mut Option<Value>, of: Of, first: bool, event: &Happening<'_>) {
    let text = field_of(of).map_or("", |field| event.text(field));
    if text.is_empty() && of != Of::Price {
        return;
    }
    let (time, event_id) = (event.time, event.event_id());
    let wins = cell.as_ref().is_none_or(|own| {
        if first { (time, event_id) < moment(own) } else { (time, event_id) > moment(own) }
    });
    if wins {
        let (event_id, text) = (event_id.to_owned(), text.to_owned());
        *cell = Some(Value { time, event_id, text, micros: event.price.unwrap_or(0) });
    }
}

fn window_start(today: i32, days: u32) -> i32 {
    today.saturating_sub(i32::try_from(days).unwrap_or(i32::MAX).saturating_sub(1))
}

fn days_between(last: i64, today: i32) -> f64 {
    if last == NO_LAST {
        return f64::NAN;
    }
    f64::from(today - qhatu_schema::Timestamp::from_millis(last).lima_day().0)
}

fn mean_gap(orders: usize, first: i64, last: i64) -> f64 {
    if orders < 2 {
        return f64::NAN;
    }
    (last - first) as f64 / qhatu_schema::time::DAY_MS as f64 / (orders - 1) as f64
}

/// Half-lives after which an event weighs less than a rounding error and is left out.
const HALF_LIVES: f64 = 64.0;

/// Σ over days of the day's sum × 2^(−age in days / half-life). The days are whole numbers, joined over
/// the parts before they are weighed and added from the oldest on, so that the sum has one rounding only.
fn decayed<'a>(parts: impl Iterator<Item = &'a DaySums>, from: i32, today: i32, half_life: f64) -> f64 {
    let from = from.max(today.saturating_sub((half_life * HALF_LIVES).ceil() as i32));
    let mut days = std::collections::BTreeMap::new();
    for sums in parts {
        for (day, sum) in sums.each(from, today) {
            let own: &mut i64 = days.entry(day).or_default();
            *own = own.wrapping_add(sum);
        }
    }
    days.into_iter().map(|(day, sum)| sum as f64 * (-f64::from(today - day) / half_life).exp2()).sum()
}
