//! Reading declarations, and everything that can be wrong with them, said at once.

use std::collections::{BTreeMap, BTreeSet};

use qhatu_schema::EventKind;
use serde::Deserialize;

use crate::declaration::{Aggregate, Entity, Feature, FeatureError, Of, ValueType};
use crate::expression::Expression;

/// Windows longer than this are refused: a hundred years of days.
const WINDOW_DAYS_MAX: u32 = 36_500;

/// The features of a text; those that cannot be read become faults.
///
/// # Errors
/// Where the text is not TOML.
pub(crate) fn read(text: &str, faults: &mut Vec<String>) -> Result<Vec<Feature>, FeatureError> {
    let file: toml::Table =
        toml::from_str(text).map_err(|fault| FeatureError::Syntax { fault: fault.to_string() })?;
    for key in file.keys().filter(|key| *key != "feature") {
        faults.push(format!("{key}: it is no part of declarations; each feature begins with [[feature]]"));
    }
    let listed = match file.get("feature") {
        None => return Ok(Vec::new()),
        Some(toml::Value::Array(listed)) => listed,
        Some(_) => {
            faults.push("feature: each feature begins with [[feature]], in two brackets".to_owned());
            return Ok(Vec::new());
        }
    };
    let mut features = Vec::new();
    for (place, value) in listed.iter().enumerate() {
        match Feature::deserialize(value.clone()) {
            Ok(feature) => features.push(feature),
            Err(fault) => {
                let name = value.get("name").and_then(toml::Value::as_str);
                let name = name.map_or_else(|| format!("feature {}", place + 1), str::to_owned);
                faults.push(format!("{name}: {}", fault.to_string().trim_end().replace('\n', " ")));
            }
        }
    }
    Ok(features)
}

/// What does not fit together within one feature.
pub(crate) fn shape_faults(feature: &Feature) -> Vec<String> {
    let mut faults = Vec::new();
    let mut say = |wrong: bool, fault: &str| {
        if wrong {
            faults.push(format!("{}: {fault}", feature.name));
        }
    };
    let ways = [feature.aggregate.is_some(), feature.expression.is_some(), feature.attribute.is_some()];
    let ways = ways.iter().filter(|way| **way).count();
    say(ways != 1, "it needs exactly one of aggregate, expression and attribute");
    say(!is_name(&feature.name), "a name is made of a-z, 0-9 and _, and begins with a letter");
    say(feature.meaning.trim().is_empty(), "meaning is empty: say in a sentence what it is");
    say(
        feature.attribute.is_some() && feature.entity != Entity::Item,
        "an attribute belongs to items: set entity = \"item\"",
    );
    say(
        feature.aggregate.is_none() && has_event_keys(feature),
        "events, over, of, states, where, window_days and half_life_days go with an aggregate only",
    );
    if let Some(aggregate) = feature.aggregate {
        for fault in aggregate_faults(feature, aggregate) {
            say(true, fault);
        }
    }
    faults
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn has_event_keys(feature: &Feature) -> bool {
    let lists = [feature.events.len(), feature.over.len(), feature.states.len(), feature.conditions.len()];
    lists.iter().any(|length| *length > 0)
        || feature.of.is_some()
        || feature.window_days.is_some()
        || feature.half_life_days.is_some()
}

fn aggregate_faults(feature: &Feature, aggregate: Aggregate) -> Vec<&'static str> {
    use Aggregate::{Count, First, Last, Ratio, Sum};
    let is_text = matches!(feature.of, Some(Of::Item | Of::Query | Of::Price));
    let kept_text = matches!(aggregate, First | Last) && is_text;
    let window_wrong = feature.window_days.is_some_and(|days| days == 0 || days > WINDOW_DAYS_MAX);
    let half_life_wrong = feature.half_life_days.is_some_and(|days| !(days > 0.0 && days <= 36_500.0));
    let states_wrong = !feature.states.is_empty() && !feature.events.contains(&EventKind::Purchase);
    let rules = [
        (feature.events.is_empty(), "events is empty: nothing would count"),
        ((aggregate == Ratio) == feature.over.is_empty(), "over goes with a ratio, and a ratio needs it"),
        (!of_fits(aggregate, feature.of), of_hint(aggregate)),
        (window_wrong, "window_days is a number from 1 to 36500; leave it out for all time"),
        (half_life_wrong, "half_life_days is a number above 0, at most 36500"),
        (
            feature.half_life_days.is_some() && !matches!(aggregate, Count | Sum),
            "half_life_days goes with count and sum only",
        ),
        (
            kept_text && feature.window_days.is_some(),
            "a window does not go with the first or last item, query or price",
        ),
        (states_wrong, "states goes with events = [\"purchase\"] only"),
        (
            feature.entity == Entity::Session && feature.window_days.is_some(),
            "a visit has its own window, today and yesterday: leave window_days out",
        ),
    ];
    rules.into_iter().filter(|(wrong, _)| *wrong).map(|(_, fault)| fault).collect()
}

fn of_fits(aggregate: Aggregate, of: Option<Of>) -> bool {
    use Of::{Amount, Day, Item, Order, Price, Quantity, Query, Session, Time, User};
    match aggregate {
        Aggregate::Sum => matches!(of, Some(Amount | Quantity)),
        Aggregate::Mean => matches!(of, Some(Amount | Quantity | Price)),
        Aggregate::First | Aggregate::Last => matches!(of, None | Some(Time | Item | Query | Price)),
        Aggregate::Distinct => matches!(of, Some(Item | User | Session | Order | Day | Query)),
        _ => of.is_none(),
    }
}

fn of_hint(aggregate: Aggregate) -> &'static str {
    match aggregate {
        Aggregate::Sum => "a sum needs of = \"amount\" or \"quantity\"",
        Aggregate::Mean => "a mean needs of = \"amount\", \"quantity\" or \"price\"",
        Aggregate::First | Aggregate::Last => {
            "first and last take of = \"time\" (as without it), \"item\", \"query\" or \"price\""
        }
        Aggregate::Distinct => {
            "distinct needs of = \"item\", \"user\", \"session\", \"order\", \"day\" or \"query\""
        }
        _ => "this aggregate takes no of",
    }
}

/// Names that are taken twice, that nobody has, or that are no numbers.
pub(crate) fn name_faults(features: &[Feature], expressions: &BTreeMap<String, Expression>) -> Vec<String> {
    let mut faults = Vec::new();
    let reserved = Entity::ALL.iter().flat_map(|entity| entity.key_columns()).chain(&["event_id", "time"]);
    let mut taken: BTreeSet<&str> = reserved.copied().collect();
    for feature in features {
        for name in std::iter::once(&feature.name).chain(&feature.aliases) {
            if !taken.insert(name) {
                faults.push(format!("{name}: the name is taken"));
            }
        }
    }
    // An expression may use what stands before it, so there are no circles.
    let mut before: BTreeMap<(Entity, &str), ValueType> = BTreeMap::new();
    for feature in features {
        let mut names = Vec::new();
        if let Some(expression) = expressions.get(&feature.name) {
            expression.names(&mut names);
        }
        for name in names {
            match before.get(&(feature.entity, name)) {
                Some(ValueType::Number) => {}
                Some(_) => faults.push(format!("{}: {name} is no number", feature.name)),
                None => faults.push(format!(
                    "{}: the expression uses {name}, which is no feature of the same entity declared before it",
                    feature.name
                )),
            }
        }
        for name in std::iter::once(&feature.name).chain(&feature.aliases) {
            before.insert((feature.entity, name), feature.value_type());
        }
    }
    faults
}

/// The known name that differs least, if it differs by a third of its letters or less.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let near = known.map(|other| (distance(name, other), other)).min()?;
    (near.0 * 3 <= near.1.len()).then(|| near.1.to_owned())
}

/// Levenshtein's distance in characters, by the usual two rows.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (place, other) in b.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(row[place] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use crate::{Declarations, FeatureError};

    fn faults(text: &str) -> String {
        let Err(FeatureError::Faults { faults }) = Declarations::from_toml(text) else { panic!("accepted") };
        faults.join("\n")
    }

    #[test]
    fn all_faults_are_said_at_once() {
        let all = faults(
            r#"
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
            [[feature]]
            name = "dated"
            entity = "user"
            expression = "last_purchase_timestamp * 2"
            meaning = "x"
            [[feature]]
            name = "misspelt"
            entity = "user"
            agregate = "count"
            meaning = "x"
            [[feature]]
            name = "Not a name"
            entity = "robot"
            meaning = ""
            [[feature]]
            name = "conditional"
            entity = "user"
            aggregate = "count"
            events = ["view"]
            where = ["price is high"]
            meaning = "x"
            "#,
        );
        for words in [
            "user_views: events is empty",
            "user_views: the name is taken",
            "odd: expression",
            "strange: the expression uses product_views",
            "dated: last_purchase_timestamp is no number",
            "misspelt: unknown field `agregate`",
            "Not a name: unknown variant `robot`",
            "conditional: \"price is high\"",
        ] {
            assert!(all.contains(words), "{words} in\n{all}");
        }
    }

    #[test]
    fn keys_that_do_not_go_together_are_refused() {
        for (keys, words) in [
            ("aggregate = 'sum'\nevents = ['view']", "a sum needs of"),
            ("aggregate = 'count'\nevents = ['view']\nof = 'amount'", "takes no of"),
            ("aggregate = 'ratio'\nevents = ['view']", "a ratio needs it"),
            ("aggregate = 'count'\nevents = ['view']\nwindow_days = 0", "window_days is a number from 1"),
            ("aggregate = 'last'\nevents = ['view']\nhalf_life_days = 3", "goes with count and sum only"),
            ("aggregate = 'count'\nevents = ['view']\nhalf_life_days = -3", "above 0"),
            ("aggregate = 'last'\nof = 'item'\nevents = ['view']\nwindow_days = 3", "a window does not go"),
            ("aggregate = 'count'\nevents = ['view']\nstates = ['paid']", "states goes with"),
            ("expression = '1'\nwindow_days = 3", "go with an aggregate only"),
            ("attribute = 'price'", "belongs to items"),
            ("aggregate = 'count'\nevents = ['view']\nexpression = '1'", "exactly one of"),
        ] {
            let text = format!("[[feature]]\nname = 'x'\nentity = 'user'\nmeaning = 'x'\n{keys}");
            assert!(faults(&text).contains(words), "{keys}: {}", faults(&text));
        }
        let session = "[[feature]]\nname = 'x'\nentity = 'session'\nmeaning = 'x'\naggregate = 'count'\nevents = ['view']\nwindow_days = 3";
        assert!(faults(session).contains("a visit has its own window"));
    }

    #[test]
    fn what_is_no_declaration_at_all_is_refused() {
        assert!(matches!(Declarations::from_toml("[[feature"), Err(FeatureError::Syntax { .. })));
        assert!(faults("[feature]\nname = 'x'").contains("two brackets"));
        assert!(faults("[[features]]\nname = 'x'").contains("features: it is no part"));
        let taken = "[[feature]]\nname = 'user_id'\nentity = 'user'\nexpression = '1'\nmeaning = 'x'";
        assert!(faults(taken).contains("user_id: the name is taken"));
    }
}
