//! What stands on top is clicked because it is seen: how often each position of a list is looked at, learned from logged
//! impressions and clicks, and what a click at a position then counts.
//!
//! The position-based model: a click wants the position to be looked at and the item to attract, independently, so that
//! `P(click) = θ_position · α_item`; both by expectation maximization (Chuklin, Markov and de Rijke, "Click Models for Web
//! Search", 2015, sections 3.3 and 4.2; Richardson, Dominowska and Ragno, WWW 2007). It tells the two apart only where
//! items were shown at several positions.
//!
//! A click counts `1 ⁄ θ` in a ranking that is learned from clicks (inverse propensity scoring; Joachims, Swaminathan and
//! Schnabel, "Unbiased Learning-to-Rank with Biased Feedback", WSDM 2017): [`crate::trees`] with
//! [`crate::trees::Objective::LambdaRank`] lets a pair count what its better row weighs.

use std::collections::BTreeMap;

use crate::error::{ModelError, misfit};

const NAME: &str = "position_bias";
/// Rounds of expectation and maximization.
const ROUNDS: usize = 200;
/// No change above this ends them.
const STILL: f64 = 1e-7;
/// The most that a click may count: a rare click far down shall not decide alone.
const MOST: f64 = 20.0;

/// An item that was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Impression {
    /// Which, in any numbering.
    pub item: u32,
    /// At which position, from 0.
    pub position: u32,
    /// Whether it was clicked.
    pub clicked: bool,
}

/// How often each position is looked at, beside the one that is looked at most.
#[derive(Debug, Clone, PartialEq)]
pub struct PositionBias {
    examined: Vec<f64>,
}

/// An item at a position: how often shown, how often clicked.
struct Cell {
    item: usize,
    position: usize,
    shown: f64,
    clicked: f64,
}

impl PositionBias {
    /// Learns from a log.
    ///
    /// # Errors
    /// Where there is no click, or positions reach beyond 10,000.
    pub fn fit(log: &[Impression]) -> Result<Self, ModelError> {
        let cells = cells(log)?;
        let count = |of: fn(&Cell) -> usize| cells.iter().map(of).max().map_or(0, |most| most + 1);
        let (positions, items) = (count(|cell| cell.position), count(|cell| cell.item));
        let mut examined = vec![0.5; positions];
        let mut attracts = vec![0.5; items];
        for _ in 0..ROUNDS {
            let moved = round(&cells, &mut examined, &mut attracts);
            if moved < STILL {
                break;
            }
        }
        let most = examined.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        Ok(Self { examined: examined.into_iter().map(|own| own / most).collect() })
    }

    /// How often a position is looked at, 0 to 1; of one that was never shown, as the last one that was.
    pub fn examined(&self, position: u32) -> f64 {
        let last = self.examined.len().saturating_sub(1);
        self.examined.get((position as usize).min(last)).copied().unwrap_or(1.0)
    }

    /// What an impression counts: a click `1 ⁄ θ`, at most 20; what was not clicked 1.
    pub fn weight(&self, impression: &Impression) -> f32 {
        if !impression.clicked {
            return 1.0;
        }
        (1.0 / self.examined(impression.position)).clamp(1.0, MOST) as f32
    }
}

/// The log by item and position; items numbered from 0 as they are sorted.
fn cells(log: &[Impression]) -> Result<Vec<Cell>, ModelError> {
    let mut counts: BTreeMap<(u32, u32), (f64, f64)> = BTreeMap::new();
    for Impression { item, position, clicked } in log {
        if *position > 10_000 {
            return Err(misfit(NAME, format!("an item was shown at position {position}; at most 10,000")));
        }
        let count = counts.entry((*item, *position)).or_default();
        count.0 += 1.0;
        count.1 += f64::from(u8::from(*clicked));
    }
    if !log.iter().any(|impression| impression.clicked) {
        return Err(misfit(NAME, "nothing was clicked, so that nothing tells how positions differ"));
    }
    let mut cells: Vec<Cell> = Vec::with_capacity(counts.len());
    let mut last = None;
    for ((item, position), (shown, clicked)) in counts {
        let number = match (last, cells.last()) {
            (Some(last), Some(cell)) if last == item => cell.item,
            (_, Some(cell)) => cell.item + 1,
            (_, None) => 0,
        };
        last = Some(item);
        cells.push(Cell { item: number, position: position as usize, shown, clicked });
    }
    Ok(cells)
}

/// One round; how far the positions' numbers moved at most. An item's own is drawn to one half by two impressions.
fn round(cells: &[Cell], examined: &mut [f64], attracts: &mut [f64]) -> f64 {
    let mut of_positions = vec![(0.0, 0.0); examined.len()];
    let mut of_items = vec![(1.0, 2.0); attracts.len()];
    for Cell { item, position, shown, clicked } in cells {
        let (theta, alpha) = (examined[*position], attracts[*item]);
        let (missed, not) = (shown - clicked, (1.0 - theta * alpha).max(1e-12));
        let (position, item) = (&mut of_positions[*position], &mut of_items[*item]);
        position.0 += clicked + missed * theta * (1.0 - alpha) / not;
        position.1 += shown;
        item.0 += clicked + missed * alpha * (1.0 - theta) / not;
        item.1 += shown;
    }
    let share = |(yes, all): (f64, f64), before: f64| if all > 0.0 { yes / all } else { before };
    let mut moved = 0.0_f64;
    for (own, sums) in examined.iter_mut().zip(of_positions) {
        let now = share(sums, *own);
        moved = moved.max((now - *own).abs());
        *own = now;
    }
    attracts.iter_mut().zip(of_items).for_each(|(own, sums)| *own = share(sums, *own));
    moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trees::{BoostingConfig, Columns, Lesson, Objective, Target, fit_boosting};
    use qhatu_nn::Stream;

    const PLACES: u64 = 8;
    const LISTS: u64 = 4000;
    const ITEMS: usize = 150;

    fn truth(position: u32) -> f64 {
        1.0 / f64::from(position + 1)
    }

    struct World {
        log: Vec<Impression>,
        /// What attracts; and what the old ranking went by.
        columns: Vec<Vec<f64>>,
        attracts: Vec<f64>,
    }

    /// Lists that an old ranking sorted by something that matters little, clicked as the model says.
    fn world() -> World {
        let stream = Stream::new(3);
        let unit = |of: u64, at: u64| (stream.child(of).at(at) >> 11) as f64 / (1_u64 << 53) as f64;
        let quality: Vec<f64> = (0..ITEMS as u64).map(|item| unit(0, item)).collect();
        let mut world = World { log: Vec::new(), columns: vec![Vec::new(); 2], attracts: Vec::new() };
        for list in 0..LISTS {
            let order = stream.child(1).child(list).shuffled(ITEMS);
            let mut shown: Vec<(f64, usize)> = order[..PLACES as usize]
                .iter()
                .map(|item| (unit(2, list * 1000 + *item as u64) + 0.2 * quality[*item], *item))
                .collect();
            shown.sort_by(|a, b| b.0.total_cmp(&a.0));
            for (position, (old, item)) in (0..).zip(shown) {
                let attracts = 0.1 + 0.8 * quality[item];
                let clicked = unit(4, list * 1000 + u64::from(position)) < truth(position) * attracts;
                world.log.push(Impression { item: item as u32, position, clicked });
                world.columns[0].push(quality[item] + 0.5 * (unit(5, list * 1000 + item as u64) - 0.5));
                world.columns[1].push(old);
                world.attracts.push(attracts);
            }
        }
        world
    }

    #[test]
    fn positions_are_told_apart_from_items() {
        let bias = PositionBias::fit(&world().log).unwrap();
        for position in 0..PLACES as u32 {
            let (found, truth) = (bias.examined(position), truth(position));
            assert!((found - truth).abs() < 0.05, "{position}: {found} {truth}");
        }
        assert_eq!(bias.examined(99), bias.examined(7));
        let seen = |position, clicked| bias.weight(&Impression { item: 0, position, clicked });
        assert!((seen(3, true) - 4.0).abs() < 0.8 && seen(3, false) == 1.0 && seen(0, true) == 1.0);
    }

    /// How often, of two items of a list, the better one stands first.
    fn sorted(world: &World, scores: &[f32]) -> f64 {
        let lists = world.attracts.chunks(PLACES as usize).zip(scores.chunks(PLACES as usize));
        let mut pairs = (0.0, 0.0);
        for (truth, scores) in lists {
            for a in 0..truth.len() {
                for b in 0..a {
                    pairs.0 += f64::from(u8::from((truth[a] > truth[b]) == (scores[a] > scores[b])));
                    pairs.1 += 1.0;
                }
            }
        }
        pairs.0 / pairs.1
    }

    #[test]
    fn a_ranking_learned_from_clicks_forgets_who_stood_on_top() {
        let world = world();
        let bias = PositionBias::fit(&world.log).unwrap();
        let labels: Vec<f32> = world.log.iter().map(|own| f32::from(u8::from(own.clicked))).collect();
        let corrected: Vec<f32> = world.log.iter().map(|own| bias.weight(own)).collect();
        let groups = vec![PLACES as u32; LISTS as usize];
        let fit = |weights: &[f32]| {
            let target = Target { labels: &labels, weights, groups: &groups };
            let columns = Columns::numbers(&world.columns);
            let lesson = Lesson { columns, target, objective: Objective::LambdaRank, validation: None };
            let config = BoostingConfig { rounds: 40, learning_rate: 0.1, ..BoostingConfig::default() };
            let trees = fit_boosting(&lesson, &config, 1).unwrap().trees;
            sorted(&world, &trees.margins(columns).unwrap())
        };
        let (plain, unbiased) = (fit(&[]), fit(&corrected));
        assert!(unbiased > plain + 0.05, "{plain} {unbiased}");
    }

    #[test]
    fn a_log_that_tells_nothing_is_refused() {
        let shown = Impression { item: 1, position: 0, clicked: false };
        assert!(PositionBias::fit(&[shown]).unwrap_err().to_string().contains("nothing was clicked"));
        assert!(PositionBias::fit(&[]).is_err());
        let far = Impression { position: 10_001, ..shown };
        assert!(PositionBias::fit(&[far]).unwrap_err().to_string().contains("position 10001"));
    }
}
