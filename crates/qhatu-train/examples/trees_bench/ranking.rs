//! Graded rows in groups: five folds by shopper, and how well trees sort the groups that they did not learn from.

use std::path::Path;

use qhatu_models::Stream;
use qhatu_models::trees::{BoostingConfig, Columns, Lesson, Objective, Target, fit_boosting};

use crate::Answer;

/// Rows; those of a group stand together.
#[derive(Default)]
pub(crate) struct Ranking {
    pub(crate) columns: Vec<Vec<f64>>,
    pub(crate) labels: Vec<f32>,
    pub(crate) groups: Vec<u32>,
    /// Whose each group is.
    pub(crate) shoppers: Vec<u32>,
}

impl Ranking {
    /// Graded rows in groups whose levels differ, so that the groups matter.
    pub(crate) fn made_up(seed: u64) -> Self {
        let random = Stream::new(seed);
        let unit = |of: u64, at: u64| (random.child(of).at(at) >> 11) as f64 / (1_u64 << 53) as f64;
        let mut own = Self { columns: vec![Vec::new(); 6], ..Self::default() };
        for group in 0..2000_u64 {
            let size = 8 + random.below(group, 25) as u64;
            let level = 6.0 * unit(0, group);
            for row in group * 100..group * 100 + size {
                let (quality, fit, noise) = (unit(1, row), unit(2, row), unit(3, row));
                let worth = 0.6 * quality + 0.4 * (1.0 - (2.0 * fit - 1.0).abs()) + 0.25 * (noise - 0.5);
                // A group's level is in its rows' first feature and, the other way round, in their grades, and nowhere
                // by itself: row by row the feature misleads, within a group it does not.
                let values = [
                    quality + level,
                    noise * unit(4, row),
                    fit,
                    unit(5, row),
                    unit(6, row),
                    noise * unit(7, row),
                ];
                own.columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
                own.labels.push((4.0 * worth + (6.0 - level) / 2.0).floor().clamp(0.0, 6.0) as f32);
            }
            own.groups.push(size as u32);
            own.shoppers.push(group as u32);
        }
        own
    }

    /// The fold of each group: all groups of a shopper are in one.
    pub(crate) fn folds(&self, seed: u64) -> Vec<usize> {
        let mut known = self.shoppers.clone();
        known.sort_unstable();
        known.dedup();
        let mut folds = vec![0; known.len()];
        let order = Stream::new(seed).shuffled(known.len());
        order.into_iter().enumerate().for_each(|(turn, place)| folds[place] = turn % 5);
        // Each shopper is among the known.
        self.shoppers.iter().map(|shopper| folds[known.partition_point(|own| own < shopper)]).collect()
    }

    /// Rows of `f32` side by side, the label last; and of each group, a line each, its size and its fold.
    pub(crate) fn write(&self, folder: &Path, name: &str, folds: &[usize]) -> Answer<()> {
        let row = |row: usize| {
            let own = self.columns.iter().map(move |column| column[row] as f32);
            own.chain([self.labels[row]]).flat_map(f32::to_le_bytes)
        };
        let rows: Vec<u8> = (0..self.labels.len()).flat_map(row).collect();
        std::fs::write(folder.join(format!("{name}.f32")), rows)?;
        let groups = self.groups.iter().zip(folds);
        let lines: Vec<String> = groups.map(|(size, fold)| format!("{size} {fold}")).collect();
        Ok(std::fs::write(folder.join(format!("{name}.groups")), lines.join("\n"))?)
    }

    /// NDCG@10, its mean over the folds and their standard deviation; by LambdaRank, then by the same trees that learn row by row.
    pub(crate) fn judge(&self, folds: &[usize], config: &BoostingConfig, seed: u64) -> Answer<Vec<f64>> {
        let mut answer = Vec::new();
        for objective in [Objective::LambdaRank, Objective::Squared] {
            let mut found = Vec::new();
            for fold in 0..5 {
                let (taught, judged) =
                    (self.part(folds, |own| own != fold), self.part(folds, |own| own == fold));
                let target = Target { labels: &taught.labels, weights: &[], groups: &taught.groups };
                let columns = Columns::numbers(&taught.columns);
                let lesson = Lesson { columns, target, objective, validation: None };
                let trees = fit_boosting(&lesson, config, seed)?.trees;
                found.push(judged.ndcg(&trees.margins(Columns::numbers(&judged.columns))?));
            }
            let of = qhatu_eval::OverFolds::of(&found).ok_or("no folds")?;
            answer.extend([of.mean, of.deviation]);
        }
        Ok(answer)
    }

    /// The groups of some folds.
    fn part(&self, folds: &[usize], is_in: impl Fn(usize) -> bool) -> Self {
        let mut own = Self { columns: vec![Vec::new(); self.columns.len()], ..Self::default() };
        let mut start = 0;
        for (group, size) in self.groups.iter().enumerate() {
            let rows = start..start + *size as usize;
            start = rows.end;
            if !is_in(folds[group]) {
                continue;
            }
            let columns = own.columns.iter_mut().zip(&self.columns);
            columns.for_each(|(to, from)| to.extend_from_slice(&from[rows.clone()]));
            own.labels.extend_from_slice(&self.labels[rows]);
            own.groups.push(*size);
            own.shoppers.push(self.shoppers[group]);
        }
        own
    }

    /// The mean over groups.
    fn ndcg(&self, margins: &[f32]) -> f64 {
        let (mut start, mut sum) = (0, 0.0);
        for size in &self.groups {
            let rows = start..start + *size as usize;
            start = rows.end;
            sum += ndcg(&self.labels[rows.clone()], &margins[rows]);
        }
        sum / self.groups.len().max(1) as f64
    }
}

fn ndcg(labels: &[f32], margins: &[f32]) -> f64 {
    let dcg = |order: &[usize]| -> f64 {
        let gains = order.iter().take(10).enumerate();
        gains.map(|(place, row)| (f64::from(labels[*row]).exp2() - 1.0) / (place as f64 + 2.0).log2()).sum()
    };
    let (mut by_margin, mut best): (Vec<usize>, Vec<usize>) =
        ((0..labels.len()).collect(), (0..labels.len()).collect());
    by_margin.sort_by(|a, b| margins[*b].total_cmp(&margins[*a]));
    best.sort_by(|a, b| labels[*b].total_cmp(&labels[*a]));
    if dcg(&best) > 0.0 { dcg(&by_margin) / dcg(&best) } else { 1.0 }
}
