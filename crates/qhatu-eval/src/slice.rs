//! Slices: the same figure on a part of the shoppers or of what they bought, because a mean hides who is served badly.
//!
//! * `shopper`: `returning`, of whom something is known, and `new`, of whom nothing is. New shoppers stand in no other
//!   figure of the report: there all models show what is popular, and their share would only water down what differs.
//! * `history_length`: returning shoppers by how many orders they had.
//! * `item_popularity`: what was bought, by how well it had sold. Items are put in order of the shoppers who bought
//!   them; `head` are those that together make the first third of all pairs of shopper and item, `middle` and `tail` the other thirds,
//!   `unsold` what nobody had bought before. Only items of the group count as relevant, and the list is judged as it
//!   is: what it offers of other groups takes places from them, as it does on a page.

use rayon::prelude::*;

use crate::bootstrap::interval;
use crate::judge::{
    Case, Catalogue, Lists, Settings, Slice, TARGETS, is_returning, name, per_user, relevant,
};
use crate::metrics::ndcg_at_k;

/// Groups of shoppers by orders known before: (name, from, to).
const HISTORY: [(&str, usize, usize); 4] =
    [("1-2", 1, 2), ("3-5", 3, 5), ("6-20", 6, 20), ("21+", 21, usize::MAX)];
/// Groups of shoppers by whether anything is known of them.
const SHOPPER: [(&str, usize, usize); 2] = [("returning", 1, usize::MAX), ("new", 0, 0)];
/// Groups of items by how well they sold.
pub(crate) const POPULARITY: [&str; 4] = ["head", "middle", "tail", "unsold"];

/// All slices that occur, NDCG of each model.
pub(crate) fn slices(
    models: &[Lists],
    cases: &[Case],
    catalogue: &Catalogue,
    settings: &Settings,
) -> Vec<Slice> {
    let group_of = popularity_groups(catalogue.shares);
    let mut slices = Vec::new();
    for target in TARGETS {
        let by_shopper = |by: &str, groups: &[(&str, usize, usize)]| -> Vec<Slice> {
            let slice = |&(group, from, to): &(&str, usize, usize)| {
                let keep = |case: &Case| (from..=to).contains(&case.history_length);
                estimate((by, group, 0), models, settings, target, |model| {
                    per_user(model, cases, settings.k, target, ndcg_at_k, &keep)
                })
            };
            groups.iter().map(slice).collect()
        };
        slices.extend(by_shopper("shopper", &SHOPPER));
        slices.extend(by_shopper("history_length", &HISTORY));
        for (number, group) in POPULARITY.iter().enumerate() {
            let inside = |item: u32| group_of.get(item as usize) == Some(&number);
            let items = (1..group_of.len() as u32).filter(|item| inside(*item)).count();
            slices.push(estimate(("item_popularity", group, items), models, settings, target, |model| {
                per_user_and_group(model, cases, settings.k, target, &inside)
            }));
        }
    }
    slices.retain(|slice| slice.models.values().any(|found| found.n > 0));
    slices
}

fn estimate(
    (by, group, items): (&str, &str, usize),
    models: &[Lists],
    settings: &Settings,
    target: &str,
    values: impl Fn(&Lists) -> Vec<f64> + Sync,
) -> Slice {
    let of = |model: &Lists| {
        let values = values(model);
        (model.name.clone(), interval(&values, settings.bootstrap_samples, settings.seed))
    };
    Slice {
        by: by.to_owned(),
        group: group.to_owned(),
        target: target.to_owned(),
        metric: name("ndcg", settings.k),
        items,
        models: models.par_iter().map(of).collect(),
    }
}

/// NDCG of each returning shopper who bought something of a group of items, with only that relevant.
fn per_user_and_group(
    model: &Lists,
    cases: &[Case],
    k: usize,
    target: &str,
    inside: &dyn Fn(u32) -> bool,
) -> Vec<f64> {
    let of = |(at, case): (usize, &Case)| {
        let wanted: Vec<u32> = relevant(case, target).iter().copied().filter(|item| inside(*item)).collect();
        (is_returning(case) && !wanted.is_empty()).then(|| ndcg_at_k(model.list(target, at), &wanted, k))
    };
    cases.iter().enumerate().filter_map(of).collect()
}

/// The number in [`POPULARITY`] of each item's group, by index; padding is in none. Equal shares go by lower index.
pub(crate) fn popularity_groups(shares: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (1..shares.len()).filter(|item| shares[*item] > 0.0).collect();
    order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]).then(a.cmp(b)));
    let total: f64 = order.iter().map(|item| shares[*item]).sum();
    let mut groups = vec![POPULARITY.len() - 1; shares.len()];
    if let Some(padding) = groups.first_mut() {
        *padding = usize::MAX;
    }
    let mut sold = 0.0;
    for item in order {
        // By where the item's own third begins, so that a single item that sells most is head.
        groups[item] = ((sold * 3.0 / total) as usize).min(2);
        sold += shares[item];
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::popularity_groups;

    #[test]
    fn each_group_of_items_makes_a_third_of_the_sales() {
        let groups = popularity_groups(&[0.0, 0.125, 0.375, 0.0, 0.125, 0.125, 0.375]);
        assert_eq!(groups, [usize::MAX, 2, 0, 3, 2, 2, 1]);
        assert_eq!(popularity_groups(&[0.0, 0.0]), [usize::MAX, 3]);
        assert!(popularity_groups(&[]).is_empty());
    }
}
