//! What each feature is: entity, aggregate over which events in which window, or an expression over
//! others, or what the catalogue says of a product.

use std::collections::BTreeMap;

use qhatu_schema::{EventKind, PurchaseState};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::check;
use crate::condition::Condition;
use crate::expression::Expression;

/// Whose feature it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entity {
    /// A shopper.
    User,
    /// A product.
    Item,
    /// A visit: what happened under one session id today and yesterday in Lima.
    Session,
    /// A shopper with a product.
    UserItem,
    /// A shopper with a category of products, as the catalogue has it now.
    UserCategory,
}

impl Entity {
    /// All, in the order of rows.
    pub const ALL: [Self; 5] = [Self::User, Self::Item, Self::Session, Self::UserItem, Self::UserCategory];

    /// The name in declarations and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Item => "item",
            Self::Session => "session",
            Self::UserItem => "user_item",
            Self::UserCategory => "user_category",
        }
    }

    /// The columns that hold its key.
    pub fn key_columns(self) -> &'static [&'static str] {
        match self {
            Self::User => &["user_id"],
            Self::Item => &["item_id"],
            Self::Session => &["session_id"],
            Self::UserItem => &["user_id", "item_id"],
            Self::UserCategory => &["user_id", "category"],
        }
    }
}

/// What is made of the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// How many; what is given back is subtracted.
    Count,
    /// The sum of `of`; what is given back is subtracted.
    Sum,
    /// The mean of `of`; returns are passed over.
    Mean,
    /// The first one's time, or its `of`; returns are passed over.
    First,
    /// The last one's time, or its `of`; returns are passed over.
    Last,
    /// How many different `of`; returns are passed over.
    Distinct,
    /// How many for each one of `over`; what is given back is subtracted on both sides.
    Ratio,
    /// Lima days from the last one's day to now's.
    DaysSinceLast,
    /// Days between the first and the last, divided by one less than the orders.
    MeanGapDays,
}

/// What of an event is summed, kept or told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// Price × quantity, in units of the currency; 0 where there is no price.
    Amount,
    /// Pieces.
    Quantity,
    /// Price of a piece, in units of the currency.
    Price,
    /// When it happened.
    Time,
    /// The product.
    Item,
    /// The shopper.
    User,
    /// The visit.
    Session,
    /// The order; the Lima day where there is no order number.
    Order,
    /// The Lima day.
    Day,
    /// What was searched for.
    Query,
}

/// What the catalogue says of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// Its category.
    Category,
    /// Its price, in units of its currency.
    Price,
    /// Characters of its description.
    DescriptionLength,
}

/// One declared feature. It has exactly one of `aggregate`, `expression` and `attribute`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// Other names it answers to.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Whose it is.
    pub entity: Entity,
    /// What is made of the events.
    #[serde(default)]
    pub aggregate: Option<Aggregate>,
    /// Which events count.
    #[serde(default)]
    pub events: Vec<EventKind>,
    /// Of a ratio: the events below the line, of which `where` does not matter.
    #[serde(default)]
    pub over: Vec<EventKind>,
    /// What of the events.
    #[serde(default)]
    pub of: Option<Of>,
    /// Which purchases count, each as one more; none: paid ones, less those refunded.
    #[serde(default)]
    pub states: Vec<PurchaseState>,
    /// What must hold of an event for it to count, such as `price >= 10`.
    #[serde(default, rename = "where")]
    pub conditions: Vec<Condition>,
    /// Whole Lima days that count, ending with the day of asking; none: all time.
    #[serde(default)]
    pub window_days: Option<u32>,
    /// After so many Lima days an event counts half.
    #[serde(default)]
    pub half_life_days: Option<f64>,
    /// Arithmetic over other features of the same entity.
    #[serde(default)]
    pub expression: Option<String>,
    /// What the catalogue says.
    #[serde(default)]
    pub attribute: Option<Attribute>,
    /// What it means, in a sentence.
    pub meaning: String,
}

impl Feature {
    /// Kind of its values.
    pub fn value_type(&self) -> ValueType {
        match (self.aggregate, self.of, self.attribute) {
            (Some(Aggregate::First | Aggregate::Last), None | Some(Of::Time), _) => ValueType::Time,
            (Some(Aggregate::First | Aggregate::Last), Some(Of::Item | Of::Query), _)
            | (_, _, Some(Attribute::Category)) => ValueType::Text,
            _ => ValueType::Number,
        }
    }
}

/// Kind of a feature's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// 64-bit numbers.
    Number,
    /// Points in time, UTC.
    Time,
    /// Texts.
    Text,
}

impl ValueType {
    /// The name in the catalogue.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Time => "time",
            Self::Text => "text",
        }
    }
}

/// What is wrong with declarations.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeatureError {
    /// Not TOML.
    #[error("features cannot be read: {fault}")]
    Syntax {
        /// What does not fit.
        fault: String,
    },
    /// Everything that is wrong, at once.
    #[error("features have {} fault(s):\n  - {}", faults.len(), faults.join("\n  - "))]
    Faults {
        /// Each with the feature's name.
        faults: Vec<String>,
    },
    /// A name that no feature has.
    #[error("there is no feature {name:?}{}; `qhatu features list` shows all", hint.as_ref().map(|near| format!(" (did you mean {near}?)")).unwrap_or_default())]
    Unknown {
        /// What was asked for.
        name: String,
        /// A name that looks like it.
        hint: Option<String>,
    },
    /// A table could not be made or a snapshot not be read.
    #[error("features: {fault}")]
    Unusable {
        /// What is wrong.
        fault: String,
    },
}

/// All features of a shop, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Declarations {
    features: Vec<Feature>,
    expressions: BTreeMap<String, Expression>,
}

impl Default for Declarations {
    fn default() -> Self {
        Self::from_toml("").expect("default.toml is part of the program and tested")
    }
}

impl Declarations {
    /// The built-in features, and those of `text` behind them.
    ///
    /// # Errors
    /// [`FeatureError`] with every fault.
    pub fn from_toml(text: &str) -> Result<Self, FeatureError> {
        let mut faults = Vec::new();
        let mut features = check::read(include_str!("default.toml"), &mut faults)?;
        features.extend(check::read(text, &mut faults)?);
        let mut expressions = BTreeMap::new();
        for feature in &features {
            if let Some(text) = &feature.expression {
                match Expression::parse(text) {
                    Ok(expression) => drop(expressions.insert(feature.name.clone(), expression)),
                    Err(fault) => faults.push(format!("{}: expression {text:?}: {fault}", feature.name)),
                }
            }
            faults.extend(check::shape_faults(feature));
        }
        faults.extend(check::name_faults(&features, &expressions));
        if faults.is_empty() {
            Ok(Self { features, expressions })
        } else {
            Err(FeatureError::Faults { faults })
        }
    }

    /// All features.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// The feature of that name or alias.
    ///
    /// # Errors
    /// [`FeatureError::Unknown`], with a name that looks like it where there is one.
    pub fn find(&self, name: &str) -> Result<&Feature, FeatureError> {
        let has = |feature: &&Feature| feature.name == name || feature.aliases.iter().any(|own| own == name);
        self.features.iter().find(has).ok_or_else(|| FeatureError::Unknown {
            name: name.to_owned(),
            hint: check::nearest(name, self.features.iter().map(|feature| feature.name.as_str())),
        })
    }

    /// What a feature is, apart from its name and what is said of it: two of the same definition say the same of the same
    /// events. What its expression uses is part of it.
    ///
    /// # Errors
    /// [`FeatureError::Unknown`].
    pub fn definition(&self, name: &str) -> Result<String, FeatureError> {
        Ok(self.defined(self.find(name)?)?.to_string())
    }

    fn defined(&self, feature: &Feature) -> Result<Value, FeatureError> {
        let unusable = |fault: serde_json::Error| FeatureError::Unusable { fault: fault.to_string() };
        let mut said = serde_json::to_value(feature).map_err(unusable)?;
        if let Some(said) = said.as_object_mut() {
            let empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            said.retain(|key, value| {
                !["name", "aliases", "meaning"].contains(&key.as_str()) && !empty(value)
            });
            let mut names = Vec::new();
            self.expressions.get(&feature.name).into_iter().for_each(|own| own.names(&mut names));
            for name in names {
                said.insert(format!("of {name}"), self.defined(self.find(name)?)?);
            }
        }
        Ok(said)
    }

    /// The features of one kind of entity, with their expression where they have one.
    pub(crate) fn of(&self, entity: Entity) -> impl Iterator<Item = (&Feature, Option<&Expression>)> {
        let own = self.features.iter().filter(move |feature| feature.entity == entity);
        own.map(|feature| (feature, self.expressions.get(&feature.name)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_built_in_features_hold_the_promised_names() {
        let own = Declarations::default();
        let names: BTreeSet<&str> = own
            .features()
            .iter()
            .flat_map(|feature| std::iter::once(&feature.name).chain(&feature.aliases))
            .map(String::as_str)
            .collect();
        for name in [
            "user_views",
            "user_searches",
            "user_clicks",
            "total_purchases",
            "avg_order_value",
            "last_purchase_date",
            "days_since_last_purchase",
            "purchase_frequency",
            "engagement_score",
            "product_category",
            "product_price",
            "product_description_length",
            "product_click_rate",
            "purchase_conversion_rate",
            "num_product_views",
            "num_search_queries",
            "num_clicks",
            "last_purchase_timestamp",
        ] {
            assert!(names.contains(name), "{name}");
        }
    }

    #[test]
    fn a_feature_answers_to_its_aliases_and_a_near_miss_is_named() {
        let own = Declarations::default();
        assert_eq!(own.find("num_clicks").unwrap().name, "user_clicks");
        let fault = own.find("user_view").unwrap_err().to_string();
        assert!(fault.contains("did you mean user_views?"), "{fault}");
        assert!(!own.find("zzzzzzzz").unwrap_err().to_string().contains("mean"));
    }
}
