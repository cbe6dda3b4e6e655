//! What must hold of an event for it to count: `price >= 10`, `recommendation_id present`, `hour < 6`.
//!
//! A field, an operator and a value; several are joined by *and*. Only what the event itself says can be
//! asked for, since what the catalogue says may change later and an aggregate must not depend on when.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::happening::{Field, Happening};

/// One condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Condition {
    text: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Number { field: Number, operator: Operator, value: f64 },
    Text { field: Field, equal: bool, value: String },
    Present { field: Known, wanted: bool },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Number {
    Price,
    Quantity,
    Hour,
    Weekday,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    Price,
    Text(Field),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Operator {
    Equal,
    Unequal,
    Less,
    AtMost,
    More,
    AtLeast,
}

const NUMBERS: &[(&str, Number)] = &[
    ("price", Number::Price),
    ("quantity", Number::Quantity),
    ("hour", Number::Hour),
    ("weekday", Number::Weekday),
];

const FIELDS: &[(&str, Field)] = &[
    ("user_id", Field::User),
    ("session_id", Field::Session),
    ("item_id", Field::Item),
    ("order_id", Field::Order),
    ("currency", Field::Currency),
    ("query", Field::Query),
    ("recommendation_id", Field::Recommendation),
    ("model_version", Field::ModelVersion),
];

const OPERATORS: &[(&str, Operator)] = &[
    ("=", Operator::Equal),
    ("!=", Operator::Unequal),
    ("<", Operator::Less),
    ("<=", Operator::AtMost),
    (">", Operator::More),
    (">=", Operator::AtLeast),
];

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("{text:?}: {what}"));
        let words: Vec<&str> = text.splitn(3, ' ').map(str::trim).collect();
        let test = match words[..] {
            [name, "present" | "absent"] => match (find(FIELDS, name), name) {
                (_, "price") => Test::Present { field: Known::Price, wanted: words[1] == "present" },
                (Some(field), _) => {
                    Test::Present { field: Known::Text(field), wanted: words[1] == "present" }
                }
                (None, _) => return wrong(&unknown_field(name)),
            },
            [name, sign, value] => {
                let Some(operator) = find(OPERATORS, sign) else {
                    return wrong("between field and value stands one of = != < <= > >=");
                };
                match (find(NUMBERS, name), find(FIELDS, name), value.parse::<f64>()) {
                    (Some(field), _, Ok(value)) if value.is_finite() => {
                        Test::Number { field, operator, value }
                    }
                    (Some(_), ..) => return wrong(&format!("{value:?} is no number")),
                    (_, Some(field), _) => match operator {
                        Operator::Equal | Operator::Unequal => {
                            let value = value.trim_matches('"').to_owned();
                            Test::Text { field, equal: operator == Operator::Equal, value }
                        }
                        _ => return wrong("a text can be = or != only"),
                    },
                    _ => return wrong(&unknown_field(name)),
                }
            }
            _ => return wrong("write a field, an operator and a value, or a field and present or absent"),
        };
        Ok(Self { text: text.to_owned(), test })
    }
}

impl TryFrom<String> for Condition {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> String {
        condition.text
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn find<T: Copy>(known: &[(&str, T)], name: &str) -> Option<T> {
    known.iter().find(|(own, _)| *own == name).map(|(_, thing)| *thing)
}

fn unknown_field(name: &str) -> String {
    let numbers = NUMBERS.iter().map(|(name, _)| *name);
    let all: Vec<&str> = numbers.chain(FIELDS.iter().map(|(name, _)| *name)).collect();
    format!("{name:?} is no field of an event: there are {}", all.join(", "))
}

impl Condition {
    /// Whether it holds. What an event does not say is neither equal nor unequal, neither less nor more.
    pub(crate) fn holds(&self, event: &Happening<'_>) -> bool {
        match &self.test {
            Test::Number { field, operator, value } => {
                let found = match field {
                    Number::Price => match event.price {
                        Some(micros) => micros as f64 / 1e6,
                        None => return false,
                    },
                    Number::Quantity => f64::from(event.quantity),
                    Number::Hour => event.lima_hour() as f64,
                    Number::Weekday => f64::from((event.day + 3).rem_euclid(7) + 1),
                };
                match operator {
                    Operator::Equal => found == *value,
                    Operator::Unequal => found != *value,
                    Operator::Less => found < *value,
                    Operator::AtMost => found <= *value,
                    Operator::More => found > *value,
                    Operator::AtLeast => found >= *value,
                }
            }
            Test::Text { field, equal, value } => {
                let found = event.text(*field);
                !found.is_empty() && (found == value) == *equal
            }
            Test::Present { field: Known::Price, wanted } => event.price.is_some() == *wanted,
            Test::Present { field: Known::Text(field), wanted } => event.text(*field).is_empty() != *wanted,
        }
    }

    /// The field of the event that it asks for, where that is a text.
    pub(crate) fn field(&self) -> Option<Field> {
        match &self.test {
            Test::Text { field, .. } | Test::Present { field: Known::Text(field), .. } => Some(*field),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use qhatu_schema::{Currency, Event, EventId, EventKind, Money, Timestamp, UserId};

    use super::*;

    #[test]
    fn conditions_ask_for_what_the_event_says() {
        // Wednesday, 25 November 2026, 22:30 in Lima; in UTC it is Thursday.
        let time = Timestamp::parse("2026-11-25T22:30:00-05:00").unwrap();
        let mut event = Event::new(EventId::new("e").unwrap(), time, EventKind::Click);
        event.user_id = UserId::new("ana b").ok();
        event.price = Some(Money::from_micros(10_000_000, Currency::PEN));
        for (text, expected) in [
            ("price >= 10", true),
            ("price > 10", false),
            ("quantity != 1", false),
            ("hour = 22", true),
            ("weekday = 3", true),
            ("user_id = ana b", true),
            ("user_id = \"ana b\"", true),
            ("user_id != ana b", false),
            ("currency = PEN", true),
            ("recommendation_id present", false),
            ("recommendation_id absent", true),
            ("recommendation_id != x", false),
            ("price present", true),
        ] {
            let condition: Condition = text.parse().unwrap();
            assert_eq!(condition.holds(&Happening::of(&event)), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_with_what_would_be_one() {
        for (text, words) in [
            ("", "write a field"),
            ("price", "write a field"),
            ("price ~ 3", "stands one of"),
            ("price > NaN", "is no number"),
            ("price > much", "is no number"),
            ("query > a", "= or != only"),
            ("category = shoes", "there are price"),
            ("colour present", "there are price"),
        ] {
            let fault = text.parse::<Condition>().unwrap_err();
            assert!(fault.contains(words), "{text}: {fault}");
        }
    }
}
