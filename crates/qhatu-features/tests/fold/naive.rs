//! The reference: keeps every event and answers each question by going through all of them. It follows
//! the words of the declarations and shares no code with the fold.

use std::collections::{BTreeMap, BTreeSet};

use qhatu_features::{Aggregate, Attribute, Entity, Feature, FeatureValue, Of};
use qhatu_schema::{Event, EventKind, Item, PurchaseState, Timestamp};

const DAY: f64 = 86_400_000.0;

/// One thing that happened, to one product where a list of them was shown.
#[derive(Clone)]
struct Fact<'a> {
    event: &'a Event,
    item: Option<String>,
}

/// The value of a feature that is no expression, for the entity of `key`, from `events`, at `now`.
pub(crate) fn value(
    feature: &Feature,
    key: [&str; 2],
    events: &[Event],
    items: &[Item],
    now: Timestamp,
) -> Option<FeatureValue> {
    let today = now.lima_day().0;
    if let Some(attribute) = feature.attribute {
        return attribute_of(attribute, items.iter().find(|item| item.item_id.as_str() == key[0])?);
    }
    let category = |id: &str| {
        let item = items.iter().find(|item| item.item_id.as_str() == id)?;
        item.category.clone()
    };
    let own = |fact: &Fact<'_>| {
        let user = fact.event.user_id.as_ref().map(|id| id.as_str());
        let item = fact.item.as_deref();
        match feature.entity {
            Entity::User => user == Some(key[0]),
            Entity::Item => item == Some(key[0]),
            Entity::Session => {
                let age = today - fact.event.time.lima_day().0;
                fact.event.session_id.as_ref().is_some_and(|id| id.as_str() == key[0])
                    && (0..2).contains(&age)
            }
            Entity::UserItem => user == Some(key[0]) && item == Some(key[1]),
            Entity::UserCategory => {
                user == Some(key[0]) && item.and_then(category).as_deref() == Some(key[1])
            }
        }
    };
    let facts: Vec<Fact<'_>> =
        events.iter().flat_map(|event| facts(event, feature.entity)).filter(own).collect();
    aggregate(feature, &facts, today)
}

fn facts(event: &Event, entity: Entity) -> Vec<Fact<'_>> {
    let one = event.item_id.iter();
    match entity {
        Entity::User | Entity::Session => {
            vec![Fact { event, item: event.item_id.as_ref().map(|id| id.as_str().to_owned()) }]
        }
        _ => one.chain(&event.items).map(|id| Fact { event, item: Some(id.as_str().to_owned()) }).collect(),
    }
}

fn attribute_of(attribute: Attribute, item: &Item) -> Option<FeatureValue> {
    match attribute {
        Attribute::Category => item.category.clone().map(FeatureValue::Text),
        Attribute::Price => item.price.map(|price| FeatureValue::Number(price.micros as f64 / 1e6)),
        Attribute::DescriptionLength => Some(FeatureValue::Number(item.description.chars().count() as f64)),
    }
}

/// +1, −1 or nothing.
fn weight(feature: &Feature, kinds: &[EventKind], fact: &Fact<'_>, conditions: bool) -> i64 {
    let event = fact.event;
    if !kinds.contains(&event.kind)
        || (conditions && !feature.conditions.iter().all(|c| holds(&c.to_string(), fact)))
    {
        return 0;
    }
    let state = event.state.unwrap_or(PurchaseState::Paid);
    if event.kind != EventKind::Purchase {
        1
    } else if !feature.states.is_empty() {
        i64::from(feature.states.contains(&state))
    } else if state == PurchaseState::Paid {
        1
    } else if state == PurchaseState::Refunded {
        -1
    } else {
        0
    }
}

/// The conditions that extra.toml uses, by their words.
fn holds(condition: &str, fact: &Fact<'_>) -> bool {
    let price = fact.event.price.map(|price| price.micros);
    match condition {
        "price > 1" => price.is_some_and(|micros| micros > 1_000_000),
        "quantity >= 2" => fact.event.quantity >= 2,
        "hour < 12" => (fact.event.time.millis() - 5 * 3_600_000).rem_euclid(86_400_000) < 12 * 3_600_000,
        "recommendation_id present" => fact.event.recommendation_id.is_some(),
        other => panic!("the reference does not know {other}"),
    }
}

fn aggregate(feature: &Feature, facts: &[Fact<'_>], today: i32) -> Option<FeatureValue> {
    let in_window = |fact: &&Fact<'_>| {
        let day = fact.event.time.lima_day().0;
        match (feature.window_days, feature.half_life_days) {
            (Some(days), _) => day <= today && i64::from(day) > i64::from(today) - i64::from(days),
            (None, Some(_)) => day <= today,
            (None, None) => true,
        }
    };
    let facts: Vec<&Fact<'_>> = facts.iter().filter(in_window).collect();
    let counted = |kinds: &[EventKind], conditions: bool| -> i64 {
        facts.iter().map(|fact| weight(feature, kinds, fact, conditions)).sum()
    };
    let priced = |fact: &&&Fact<'_>| feature.of != Some(Of::Price) || fact.event.price.is_some();
    let gained: Vec<&Fact<'_>> = facts
        .iter()
        .filter(|fact| weight(feature, &feature.events, fact, true) > 0)
        .filter(priced)
        .copied()
        .collect();
    let first = gained.iter().min_by_key(|fact| (fact.event.time, fact.event.event_id.as_str()));
    let last = gained.iter().max_by_key(|fact| (fact.event.time, fact.event.event_id.as_str()));
    let number = |number: f64| Some(FeatureValue::Number(number));
    match feature.aggregate? {
        Aggregate::Count | Aggregate::Sum => number(sum(feature, &facts, today)),
        Aggregate::Mean if gained.is_empty() => None,
        Aggregate::Mean => {
            let sum: i64 = gained.iter().map(|fact| measure(feature.of, fact)).sum();
            number(sum as f64 / unit(feature.of) / gained.len() as f64)
        }
        Aggregate::Ratio => {
            let (over, under) = (counted(&feature.events, true), counted(&feature.over, false));
            if under == 0 { None } else { number(over as f64 / under as f64) }
        }
        Aggregate::First if matches!(feature.of, None | Some(Of::Time)) => {
            first.map(|fact| FeatureValue::Time(fact.event.time))
        }
        Aggregate::Last if matches!(feature.of, None | Some(Of::Time)) => {
            last.map(|fact| FeatureValue::Time(fact.event.time))
        }
        kept @ (Aggregate::First | Aggregate::Last) => {
            let said = gained
                .iter()
                .filter(|fact| feature.of == Some(Of::Price) || text(feature.of, fact).is_some());
            let moment = |fact: &&&Fact<'_>| (fact.event.time, fact.event.event_id.to_string());
            let fact =
                if kept == Aggregate::First { said.min_by_key(moment) } else { said.max_by_key(moment) }?;
            match feature.of {
                Some(Of::Price) => number(fact.event.price?.micros as f64 / 1e6),
                of => text(of, fact).map(FeatureValue::Text),
            }
        }
        Aggregate::Distinct => {
            let all: BTreeSet<String> = gained.iter().filter_map(|fact| text(feature.of, fact)).collect();
            number(all.len() as f64)
        }
        Aggregate::DaysSinceLast => {
            last.and_then(|fact| number(f64::from(today - fact.event.time.lima_day().0)))
        }
        Aggregate::MeanGapDays => {
            let orders: BTreeSet<String> =
                gained.iter().filter_map(|fact| text(Some(Of::Order), fact)).collect();
            let length = last?.event.time.millis() - first?.event.time.millis();
            if orders.len() < 2 { None } else { number(length as f64 / DAY / (orders.len() - 1) as f64) }
        }
    }
}

fn sum(feature: &Feature, facts: &[&Fact<'_>], today: i32) -> f64 {
    let mut by_day: BTreeMap<i32, i64> = BTreeMap::new();
    for fact in facts {
        let step = weight(feature, &feature.events, fact, true) * measure(feature.of, fact);
        *by_day.entry(fact.event.time.lima_day().0).or_default() += step;
    }
    let unit = unit(feature.of);
    match feature.half_life_days {
        None => by_day.values().sum::<i64>() as f64 / unit,
        Some(half) => {
            let young = by_day.iter().filter(|(day, _)| f64::from(today - **day) <= (half * 64.0).ceil());
            young.map(|(day, sum)| *sum as f64 * 2f64.powf(-f64::from(today - day) / half)).sum::<f64>()
                / unit
        }
    }
}

fn measure(of: Option<Of>, fact: &Fact<'_>) -> i64 {
    let price = fact.event.price.map_or(0, |price| price.micros);
    match of {
        Some(Of::Quantity) => i64::from(fact.event.quantity),
        Some(Of::Price) => price,
        Some(Of::Amount) => price * i64::from(fact.event.quantity),
        _ => 1,
    }
}

fn unit(of: Option<Of>) -> f64 {
    if matches!(of, Some(Of::Price | Of::Amount)) { 1e6 } else { 1.0 }
}

fn text(of: Option<Of>, fact: &Fact<'_>) -> Option<String> {
    let event = fact.event;
    match of {
        Some(Of::Item) => fact.item.clone(),
        Some(Of::User) => event.user_id.as_ref().map(ToString::to_string),
        Some(Of::Session) => event.session_id.as_ref().map(ToString::to_string),
        Some(Of::Query) => event.query.clone(),
        Some(Of::Day) => Some(event.time.lima_day().to_string()),
        _ => Some(
            event
                .order_id
                .as_ref()
                .map_or_else(|| format!("on {}", event.time.lima_day()), |order| format!("order {order}")),
        ),
    }
}
