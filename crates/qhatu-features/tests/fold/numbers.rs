//! Numbers for many products at once against the rows of each.

use proptest::prelude::*;
use qhatu_features::{Asking, Declarations, Entity, Feature, FeatureValue, Reading, State};
use qhatu_schema::Timestamp;

use super::{DAY, EXTRA, START, declarations, events, fold};

/// What a feature says of a shopper, a visit or a product, as a column holds it.
fn expected(state: &State, feature: &Feature, asking: Asking<'_>, item: &str, now: Timestamp) -> f32 {
    let category = match item {
        "i0" | "i1" => "mugs",
        "i2" => "lamps",
        _ => "",
    };
    let (key, other) = match feature.entity {
        Entity::User => (asking.user, ""),
        Entity::Session if asking.session.is_empty() => return f32::NAN,
        Entity::Session => (asking.session, ""),
        Entity::Item => (item, ""),
        Entity::UserItem => (asking.user, item),
        Entity::UserCategory if category.is_empty() => return f32::NAN,
        Entity::UserCategory => (asking.user, category),
    };
    match &state.pair_row(feature.entity, key, other, now)[&feature.name] {
        Some(FeatureValue::Number(number)) => *number as f32,
        Some(FeatureValue::Time(time)) => ((now.millis() - time.millis()).max(0) as f64 / DAY as f64) as f32,
        _ => f32::NAN,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// A column by name or alias, in any order and twice, says what the row says; texts and names that are no feature's
    /// say nothing.
    #[test]
    fn numbers_are_those_of_the_rows(
        events in events(), day in 0..120_i64, shift in 0..40_usize, user in 0..3_u8, visit in 0..3_u8,
    ) {
        let now = Timestamp::from_millis(START + day * DAY);
        let state = fold(&events);
        let (user, session) = (["", "u1", "nobody"][user as usize], ["", "s0", "nowhere"][visit as usize]);
        let asking = Asking { user, session };
        let mut names: Vec<&str> = state.declarations().features().iter().map(|own| own.name.as_str()).collect();
        let turn = shift % names.len();
        names.rotate_left(turn);
        names.extend(["num_clicks", "user_clicks", "no such feature"]);
        // A column does not need the others.
        let names = &names[shift % 7..];
        let reading = Reading::of(state.declarations(), names.iter().copied());
        let products = ["i3", "i0", "nothing", "i2", "i0", ""];
        let rows = state.numbers(&reading, asking, products, now);
        prop_assert_eq!(rows.len(), products.len() * reading.width());
        for (item, row) in products.iter().zip(rows.chunks(reading.width())) {
            for (name, found) in names.iter().zip(row) {
                let expected = match state.declarations().find(name) {
                    Ok(feature) => expected(&state, feature, asking, item, now),
                    Err(_) => f32::NAN,
                };
                prop_assert!(found.to_bits() == expected.to_bits(), "{} of {}: {}, {}", name, item, found, expected);
            }
        }
    }
}

#[test]
fn a_definition_holds_all_that_matters_and_nothing_else() {
    let own = declarations();
    let define = |text: &str, name: &str| Declarations::from_toml(text).unwrap().definition(name).unwrap();
    let said = EXTRA.replace("Days on which the shopper did anything", "Días con actividad");
    assert_eq!(define(&said, "active_days"), own.definition("active_days").unwrap());
    let other = EXTRA.replace("half_life_days = 7.5", "half_life_days = 7");
    assert_ne!(define(&other, "views_faded"), own.definition("views_faded").unwrap());
    // An expression is what it is made of.
    let spent = EXTRA.replace(
        "category_spent\"\nentity = \"user_category\"\naggregate = \"sum\"\nof = \"amount\"",
        "category_spent\"\nentity = \"user_category\"\naggregate = \"sum\"\nof = \"quantity\"",
    );
    assert_ne!(spent, EXTRA);
    assert_ne!(
        define(&spent, "category_spent_per_order"),
        own.definition("category_spent_per_order").unwrap()
    );
    assert_eq!(own.definition("num_clicks"), own.definition("user_clicks"));
    assert!(own.definition("user_click").unwrap_err().to_string().contains("did you mean user_clicks?"));
}

#[test]
fn what_a_model_may_be_told_are_numbers_and_times() {
    let own = declarations();
    let names: Vec<&str> = own.of_shoppers_and_products().map(|feature| feature.name.as_str()).collect();
    assert!(
        ["user_spent", "last_purchase_date", "product_price", "category_faded"]
            .iter()
            .all(|name| names.contains(name))
    );
    assert!(["product_category", "session_views", "last_item"].iter().all(|name| !names.contains(name)));
}
