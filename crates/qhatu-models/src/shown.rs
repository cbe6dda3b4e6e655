//! Lists that were shown, and what of them was clicked: what a ranking learns from beside what was bought.

use qhatu_schema::ItemIdx;

use crate::position_bias::Impression;

/// A list that was shown to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// To whom, by number; absent for a visit of nobody.
    pub user: Option<u32>,
    /// To which visit of nobody, by its number in [`Looked`](crate::Looked), where anything is known of it.
    pub visit: Option<u32>,
    /// When, in milliseconds.
    pub time: i64,
    /// What, from the top; padding for items that the vocabulary has not.
    pub items: Vec<ItemIdx>,
    /// For each of them when it was first clicked, in milliseconds; absent where it was not.
    pub clicks: Vec<Option<i64>>,
}

impl Shown {
    /// The known items with their positions, as it stood at `until`. Of an item that stands there twice the first counts.
    pub fn impressions(&self, until: i64) -> Vec<Impression> {
        let mut found: Vec<Impression> = Vec::with_capacity(self.items.len());
        for ((position, item), click) in (0_u32..).zip(&self.items).zip(&self.clicks) {
            if item.0 != 0 && !found.iter().any(|known| known.item == item.0) {
                let clicked = click.is_some_and(|time| time < until);
                found.push(Impression { item: item.0, position, clicked });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clicks_before_the_moment_count_and_positions_stay() {
        let items = [3, 0, 5, 3].map(ItemIdx).to_vec();
        let shown =
            Shown { user: None, visit: None, time: 1, items, clicks: vec![Some(7), Some(2), None, Some(3)] };
        let at = |until: i64| {
            let found = shown.impressions(until).into_iter();
            found.map(|own| (own.item, own.position, own.clicked)).collect::<Vec<_>>()
        };
        assert_eq!(at(8), [(3, 0, true), (5, 2, false)]);
        assert_eq!(at(7), [(3, 0, false), (5, 2, false)]);
    }
}
