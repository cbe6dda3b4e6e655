//! What each feature is: entity, aggregate over which events in which window, or an expression over
//! others, or what the catalogue says of a product.

use std::collections::{BTreeMap, BTreeSet};

use qhatu_schema::EventKind;
use serde::{Deserialize, Serialize};

use crate::expression::Expression;

/// Whose feature it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entity {
    /// A shopper.
    User,
    /// A product.
    Item,
    /// A visit.
    Session,
}

/// What is made of the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// How many; what is given back is subtracted.
    Count,
    /// Price × quantity of all, in units of the currency; what is given back is subtracted.
    Amount,
    /// How many orders; returns are none.
    DistinctOrders,
    /// When the first was.
    First,
    /// When the last was.
    Last,
    /// Lima days from the last one's day to now's.
    DaysSinceLast,
    /// Days between the first and the last, divided by one less than the orders.
    MeanGapDays,
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
    /// Whole Lima days that count, ending with the day of asking; none: all time.
    #[serde(default)]
    pub window_days: Option<u32>,
    /// Arithmetic over other features of the same entity.
    #[serde(default)]
    pub expression: Option<String>,
    /// What the catalogue says.
    #[serde(default)]
    pub attribute: Option<Attribute>,
    /// What it means, in a sentence.
    pub meaning: String,
}

/// What the catalogue of features shows of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CatalogueEntry {
    /// Its name.
    pub name: String,
    /// Other names.
    pub aliases: Vec<String>,
    /// What it means.
    pub meaning: String,
    /// Kind of its values: `number`, `time` or `text`.
    #[serde(rename = "type")]
    pub value_type: &'static str,
    /// Whose it is.
    pub entity: Entity,
    /// Over which time.
    pub window: String,
    /// Where it comes from.
    pub source: String,
    /// How often it changes.
    pub update_frequency: &'static str,
}

/// What is wrong with declarations.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeatureError {
    /// Not TOML, or not of the shape of declarations.
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
    /// A table could not be made or a snapshot not be read.
    #[error("features: {fault}")]
    Unusable {
        /// What is wrong.
        fault: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    feature: Vec<Feature>,
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
        let read = |text: &str| {
            toml::from_str::<File>(text).map_err(|fault| FeatureError::Syntax { fault: fault.to_string() })
        };
        let mut features = read(include_str!("default.toml"))?.feature;
        features.extend(read(text)?.feature);
        let mut faults = Vec::new();
        let mut expressions = BTreeMap::new();
        for feature in &features {
            if let Some(text) = &feature.expression {
                match Expression::parse(text) {
                    Ok(expression) => drop(expressions.insert(feature.name.clone(), expression)),
                    Err(fault) => faults.push(format!("{}: expression {text:?}: {fault}", feature.name)),
                }
            }
            faults.extend(shape_fault(feature));
        }
        let own = Self { features, expressions };
        faults.extend(own.name_faults());
        if faults.is_empty() { Ok(own) } else { Err(FeatureError::Faults { faults }) }
    }

    /// All features.
    pub fn features(&self) -> &[Feature] {
        &self.features
    }

    /// The features of one kind of entity, with their expression where they have one.
    pub(crate) fn of(&self, entity: Entity) -> impl Iterator<Item = (&Feature, Option<&Expression>)> {
        let own = self.features.iter().filter(move |feature| feature.entity == entity);
        own.map(|feature| (feature, self.expressions.get(&feature.name)))
    }

    /// What the catalogue of features shows.
    pub fn catalogue(&self) -> Vec<CatalogueEntry> {
        self.features.iter().map(entry).collect()
    }

    /// Names that are taken twice, that nobody has, or that need themselves.
    fn name_faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut taken = BTreeSet::new();
        for feature in &self.features {
            for name in std::iter::once(&feature.name).chain(&feature.aliases) {
                if !taken.insert(name) {
                    faults.push(format!("{name}: the name is taken"));
                }
            }
        }
        // An expression may use what stands before it, so there are no circles.
        let mut before: BTreeSet<(Entity, &str)> = BTreeSet::new();
        for feature in &self.features {
            let mut names = Vec::new();
            if let Some(expression) = self.expressions.get(&feature.name) {
                expression.names(&mut names);
            }
            for name in names.into_iter().filter(|name| !before.contains(&(feature.entity, *name))) {
                faults.push(format!(
                    "{}: the expression uses {name}, which is no feature of the same entity declared before it",
                    feature.name
                ));
            }
            before.insert((feature.entity, &feature.name));
        }
        faults
    }
}

fn shape_fault(feature: &Feature) -> Option<String> {
    let ways = [feature.aggregate.is_some(), feature.expression.is_some(), feature.attribute.is_some()];
    let fault = match ways.iter().filter(|way| **way).count() {
        1 if feature.attribute.is_some() && feature.entity != Entity::Item => "an attribute belongs to items",
        1 if feature.aggregate.is_some() && feature.events.is_empty() => {
            "events is empty: nothing would count"
        }
        1 if feature.window_days == Some(0) => "window_days is 0: leave it out for all time",
        1 if feature.window_days.is_some()
            && !matches!(feature.aggregate, Some(Aggregate::Count | Aggregate::Amount)) =>
        {
            "a window goes with count and amount only"
        }
        1 => return None,
        _ => "it needs exactly one of aggregate, expression and attribute",
    };
    Some(format!("{}: {fault}", feature.name))
}

fn entry(feature: &Feature) -> CatalogueEntry {
    let events: Vec<&str> = feature.events.iter().map(|kind| kind.as_str()).collect();
    let (source, update_frequency) = match (&feature.expression, feature.attribute) {
        (Some(expression), _) => (expression.clone(), "with each event"),
        (_, Some(_)) => ("catalogue".to_owned(), "with each change of the product"),
        _ => (format!("events: {}", events.join(", ")), "with each event"),
    };
    CatalogueEntry {
        name: feature.name.clone(),
        aliases: feature.aliases.clone(),
        meaning: feature.meaning.clone(),
        value_type: match (feature.aggregate, feature.attribute) {
            (Some(Aggregate::First | Aggregate::Last), _) => "time",
            (_, Some(Attribute::Category)) => "text",
            _ => "number",
        },
        entity: feature.entity,
        window: feature.window_days.map_or("all time".to_owned(), |days| format!("{days} Lima days")),
        source,
        update_frequency,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_features_hold_the_promised_names() {
        let own = Declarations::default();
        let names: BTreeSet<&str> = own
            .features()
            .iter()
            .flat_map(|f| std::iter::once(f.name.as_str()).chain(f.aliases.iter().map(String::as_str)))
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
    fn all_faults_are_said_at_once() {
        let text = r#"
            [[feature]]
            name = "user_views"
            entity = "user"
            aggregate = "count"
            meaning = "x"
            [[feature]]
            name = "odd"
            entity = "user"
            expression = "nobody + "
            meaning = "x"
            [[feature]]
            name = "strange"
            entity = "user"
            expression = "product_views * 2"
            meaning = "x"
        "#;
        let Err(FeatureError::Faults { faults }) = Declarations::from_toml(text) else { panic!("accepted") };
        let all = faults.join("\n");
        for words in [
            "user_views: events is empty",
            "user_views: the name is taken",
            "odd: expression",
            "strange: the expression uses product_views",
        ] {
            assert!(all.contains(words), "{words} in\n{all}");
        }
        assert!(Declarations::from_toml("[[feature]]\nnam = 1").is_err());
    }
}
