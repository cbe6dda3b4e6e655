//! Random forest (Breiman, 2001): trees on bootstrap samples, each cut chosen among a draw of features.

use qhatu_nn::Stream;
use rayon::prelude::*;

use super::binning::{Binned, Columns};
use super::config::ForestConfig;
use super::ensemble::TreeEnsemble;
use super::grower::{Grower, Grown};
use super::histogram::round;
use super::objective::{Objective, Pair, Target};
use crate::error::ModelError;

/// Fits a forest; its margin is the mean of its trees' answers, each the weighted mean of the labels in a leaf: for
/// labels 0 and 1 a probability. The same rows, configuration and seed give the same trees to the bit.
///
/// Memory beside the columns: rows × 2 × features bytes; for each thread that grows a tree about 28 bytes a row; and
/// nodes: 24 bytes each for what is kept, 112 each for the four trees a thread that are grown before they join. A tree
/// that is fully grown has up to 1.3 nodes a row (two for each row drawn), where rows differ and labels do. The example
/// `trees_memory` measures it.
///
/// # Errors
/// Where a setting makes no sense, or columns and target do not fit together.
pub fn fit_forest(
    columns: Columns,
    target: &Target,
    config: &ForestConfig,
    seed: u64,
) -> Result<TreeEnsemble, ModelError> {
    config.check()?;
    columns.check()?;
    target.check(columns.rows(), Objective::Squared)?;
    let mut forest = TreeEnsemble::new(0.0, columns.values.len());
    if columns.rows() == 0 {
        return Ok(forest);
    }
    let growth = config.growth_for(columns.values.len());
    let binned = Binned::new(columns, growth.bins);
    let features: Vec<usize> = (0..columns.values.len()).collect();
    let stream = Stream::new(seed);
    let tree = |number: usize| {
        let stream = stream.child(number as u64);
        let drawn = bootstrap(binned.rows, stream.child(0));
        let pairs: Vec<Pair> = (0..binned.rows).map(|row| pair(target, row, drawn[row])).collect();
        let mut rounded = Vec::new();
        let unit = round(&pairs, &mut rounded);
        let rows: Vec<u32> = (0..binned.rows as u32).filter(|row| drawn[*row as usize] > 0).collect();
        let grower = Grower { binned: &binned, growth: &growth, rounded: &rounded, unit };
        let grown = grower.grow(rows, &features, stream.child(1));
        // Which rows are in which leaf is asked of no tree of a forest.
        Grown { rows: Vec::new(), leaves: Vec::new(), ..grown }
    };
    let together = AHEAD * rayon::current_num_threads();
    for first in (0..config.trees).step_by(together.max(1)) {
        let last = config.trees.min(first + together);
        let grown: Vec<Grown> = (first..last).into_par_iter().map(tree).collect();
        grown.iter().for_each(|tree| tree.join(&mut forest, &binned, 1.0 / config.trees as f64));
    }
    Ok(forest)
}

/// Trees that a thread grows before they join the forest, in their order.
const AHEAD: usize = 4;

fn pair(target: &Target, row: usize, times: u32) -> Pair {
    let weight = target.weight(row) * times as f32;
    Pair { gradient: -weight * target.labels[row], hessian: weight }
}

/// How often each row comes up when as many are drawn as there are.
fn bootstrap(rows: usize, stream: Stream) -> Vec<u32> {
    let mut times = vec![0; rows];
    (0..rows).for_each(|draw| times[stream.below(draw as u64, rows)] += 1);
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> (Vec<Vec<f64>>, Vec<f32>) {
        let noise = Stream::new(9);
        let column = |of: u64| {
            (0..600)
                .map(|row| (noise.child(of).at(row) >> 40) as f64 / (1 << 24) as f64)
                .collect::<Vec<f64>>()
        };
        let columns: Vec<Vec<f64>> = (0..5).map(column).collect();
        let label = |row: usize| f32::from(u8::from(columns[0][row] + columns[1][row] > 1.0));
        let labels = (0..600).map(label).collect();
        (columns, labels)
    }

    #[test]
    fn a_forest_answers_shares_and_separates() {
        let (columns, labels) = rows();
        let forest =
            fit_forest(Columns::numbers(&columns), &Target::new(&labels), &ForestConfig::default(), 1)
                .unwrap();
        assert_eq!(forest.trees(), 100);
        let margins = forest.margins(Columns::numbers(&columns)).unwrap();
        assert!(margins.iter().all(|share| (-1e-6..=1.000_001).contains(share)));
        let right = margins.iter().zip(&labels).filter(|(share, label)| (**share > 0.5) == (**label > 0.5));
        assert!(right.count() > 590);
        let unseen: Vec<Vec<f64>> =
            columns.iter().map(|column| column.iter().map(|v| 1.0 - v).collect()).collect();
        let margins = forest.margins(Columns::numbers(&unseen)).unwrap();
        let right = margins.iter().zip(&labels).filter(|(share, label)| (**share > 0.5) != (**label > 0.5));
        assert!(right.count() > 540);
    }

    #[test]
    fn a_seed_gives_the_same_forest() {
        let (columns, labels) = rows();
        let config = ForestConfig { trees: 7, ..ForestConfig::default() };
        let fit =
            |seed| fit_forest(Columns::numbers(&columns), &Target::new(&labels), &config, seed).unwrap();
        assert_eq!(fit(3), fit(3));
        assert_ne!(fit(3), fit(4));
    }

    #[test]
    fn a_fully_grown_tree_knows_the_rows_it_saw() {
        let (columns, labels) = rows();
        let config = ForestConfig { trees: 1, ..ForestConfig::default() };
        let forest = fit_forest(Columns::numbers(&columns), &Target::new(&labels), &config, 1).unwrap();
        let drawn = bootstrap(600, Stream::new(1).child(0).child(0));
        for row in (0..600).filter(|row| drawn[*row] > 0) {
            assert_eq!(forest.margin(&Columns::numbers(&columns).row(row)), labels[row]);
        }
        assert!((0.58..0.68).contains(&(drawn.iter().filter(|times| **times > 0).count() as f64 / 600.0)));
    }

    #[test]
    fn weights_move_the_shares() {
        let columns = [vec![0.0; 400]];
        let labels: Vec<f32> = (0..400).map(|row| f32::from(u8::from(row % 4 == 0))).collect();
        let weights: Vec<f32> = labels.iter().map(|label| 1.0 + 2.0 * label).collect();
        let target = Target { labels: &labels, weights: &weights, groups: &[] };
        let forest = fit_forest(Columns::numbers(&columns), &target, &ForestConfig::default(), 1).unwrap();
        assert!((forest.margin(&[0.0]) - 0.5).abs() < 0.02);
    }
}
