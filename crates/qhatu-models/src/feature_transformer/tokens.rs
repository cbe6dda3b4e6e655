//! A row of features as tokens: each feature becomes a vector that is a weighted sum of rows of one table.
//!
//! Numbers are encoded piecewise linearly: between the quantiles `e_0 < … < e_T` of training the `t`-th share
//! is `clamp((x − e_{t−1}) ⁄ (e_t − e_{t−1}), 0, 1)`, each share with a vector of its own (Gorishniy, Rubachev and
//! Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning", NeurIPS 2022, section 3.2). A category has a
//! vector of its own; so has what is missing, and a category that training did not see is as good as missing. Numbers that
//! are a vector (a text's) make one token together, a linear map of them.

use std::ops::Range;

use qhatu_nn::tensor_file::TensorFile;

use crate::error::{ModelError, misfit};
use crate::trees::Columns;

/// The rows of the table of a feature: what all its values share, what is missing, then its shares or categories.
const SHARED: usize = 0;
const MISSING: usize = 1;
const FIRST: usize = 2;
/// As many categories as a column may have.
const MOST_CATEGORIES: usize = 65_536;
/// As many numbers as a vector may have.
const MOST_NUMBERS: usize = 65_536;

/// What the numbers of a row are: each a feature, but for those that are one vector.
#[derive(Debug, Clone, Copy)]
pub struct Features<'a> {
    /// A column a number.
    pub columns: Columns<'a>,
    /// Which columns are a vector together, rising, none of them a category.
    pub vectors: &'a [Range<usize>],
}

impl<'a> From<Columns<'a>> for Features<'a> {
    fn from(columns: Columns<'a>) -> Self {
        Self { columns, vectors: &[] }
    }
}

impl Features<'_> {
    /// Refuses vectors that overlap or reach beyond the columns, and columns that do not fit together.
    pub(super) fn check(&self) -> Result<(), ModelError> {
        self.columns.check()?;
        let mut from = 0;
        for Range { start, end } in self.vectors.iter().cloned() {
            let numbers = end.saturating_sub(start);
            if start < from || end > self.columns.values.len() || !(1..=MOST_NUMBERS).contains(&numbers) {
                return Err(misfit(
                    super::NAME,
                    format!("columns {start} to {end} are no vector of their own"),
                ));
            }
            from = end;
        }
        Ok(())
    }
}

/// How a feature is encoded.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Feature {
    /// Quantiles, rising; fewer than two where there is nothing to tell apart.
    Number(Vec<f32>),
    /// How many categories there are.
    Category(usize),
    /// Of how many numbers a vector is.
    Vector(usize),
}

impl Feature {
    fn of(values: &[f64], category: bool, bins: usize) -> Result<Self, ModelError> {
        let mut known: Vec<f32> =
            values.iter().map(|value| *value as f32).filter(|value| value.is_finite()).collect();
        if category {
            let largest = known.iter().copied().fold(-1.0, f32::max);
            let count = (largest + 1.0) as usize;
            let whole = known.iter().all(|value| *value >= 0.0 && value.fract() == 0.0);
            return match whole && count <= MOST_CATEGORIES {
                true => Ok(Self::Category(count)),
                false => Err(misfit(super::NAME, "categories are whole numbers from 0, below 65,536")),
            };
        }
        known.sort_by(f32::total_cmp);
        let at = |bin: usize| known.get(bin * known.len().saturating_sub(1) / bins).copied();
        let mut edges: Vec<f32> = (0..=bins).filter_map(at).collect();
        edges.dedup();
        Ok(Self::Number(edges))
    }

    /// Rows of the table.
    fn rows(&self) -> usize {
        FIRST
            + match self {
                Self::Number(edges) => edges.len().saturating_sub(1),
                Self::Category(count) | Self::Vector(count) => *count,
            }
    }

    /// Columns that it is read from.
    fn numbers(&self) -> usize {
        match self {
            Self::Vector(count) => *count,
            _ => 1,
        }
    }

    /// Says of each row of the feature's part of the table what it counts, where that is not 0. `value` gives each of its
    /// numbers. A vector's count so much less that a vector of numbers of deviation 1 weighs as much as one row.
    fn encode(&self, value: impl Fn(usize) -> f64, mut counts: impl FnMut(usize, f32)) {
        counts(SHARED, 1.0);
        if let Self::Vector(numbers) = self {
            if (0..*numbers).any(|number| !value(number).is_finite()) {
                return counts(MISSING, 1.0);
            }
            let scale = 1.0 / (*numbers as f32).sqrt();
            return (0..*numbers).for_each(|number| counts(FIRST + number, scale * value(number) as f32));
        }
        let value = value(0);
        match self {
            _ if !value.is_finite() => counts(MISSING, 1.0),
            Self::Category(count) if value >= 0.0 && value < *count as f64 => {
                counts(FIRST + value as usize, 1.0);
            }
            Self::Category(_) | Self::Vector(_) => counts(MISSING, 1.0),
            Self::Number(edges) => {
                let value = value as f32;
                for (bin, edge) in edges.windows(2).enumerate() {
                    if value <= edge[0] {
                        break;
                    }
                    counts(FIRST + bin, ((value - edge[0]) / (edge[1] - edge[0])).min(1.0));
                }
            }
        }
    }
}

/// Tokens of several rows of features: for each token rows of the table and what each counts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tokens {
    entries: Vec<(u32, f32)>,
    starts: Vec<usize>,
}

impl Tokens {
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.starts.clear();
        self.starts.push(0);
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    fn each(&self) -> impl Iterator<Item = &[(u32, f32)]> {
        self.starts.windows(2).map(|range| &self.entries[range[0]..range[1]])
    }

    /// The vectors: tokens × width.
    pub(super) fn forward(&self, table: &[f32], x: &mut Vec<f32>, width: usize) {
        x.clear();
        x.resize(self.len() * width, 0.0);
        for (token, x) in self.each().zip(x.chunks_exact_mut(width)) {
            for (row, count) in token {
                let row = &table[*row as usize * width..][..width];
                x.iter_mut().zip(row).for_each(|(x, weight)| *x += count * weight);
            }
        }
    }

    /// Adds to the table's gradients.
    pub(super) fn backward(&self, d: &[f32], d_table: &mut [f32], width: usize) {
        for (token, d) in self.each().zip(d.chunks_exact(width)) {
            for (row, count) in token {
                let row = &mut d_table[*row as usize * width..][..width];
                row.iter_mut().zip(d).for_each(|(weight, d)| *weight += count * d);
            }
        }
    }
}

/// The encoding of all features. A row has a token that reads them all, then one a feature.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tokenizer {
    features: Vec<Feature>,
    /// The first row of each feature in the table; row 0 is the reading token's.
    firsts: Vec<usize>,
    rows: usize,
    /// The first column of each feature, and at last the number of columns.
    columns: Vec<usize>,
}

impl Tokenizer {
    pub(super) fn fit<'a>(features: impl Into<Features<'a>>, bins: usize) -> Result<Self, ModelError> {
        let Features { columns, vectors } = features.into();
        let category = |feature: usize| columns.categorical.get(feature).copied().unwrap_or(false);
        let mut found = Vec::new();
        let mut column = 0;
        while let Some(values) = columns.values.get(column) {
            let feature = match vectors.iter().find(|vector| vector.start == column) {
                Some(vector) => Feature::Vector(vector.len()),
                None => Feature::of(values, category(column), bins)?,
            };
            column += feature.numbers();
            found.push(feature);
        }
        Ok(Self::new(found))
    }

    fn new(features: Vec<Feature>) -> Self {
        let mut rows = 1;
        let mut next = |feature: &Feature| {
            let first = rows;
            rows += feature.rows();
            first
        };
        let firsts = features.iter().map(&mut next).collect();
        let mut columns = vec![0];
        features.iter().for_each(|feature| columns.push(columns[columns.len() - 1] + feature.numbers()));
        Self { features, firsts, rows, columns }
    }

    /// Features of a row, each a token.
    pub(super) fn tokens(&self) -> usize {
        self.features.len()
    }

    /// Numbers of a row.
    pub(super) fn width(&self) -> usize {
        self.columns[self.features.len()]
    }

    /// The first number of a feature.
    pub(super) fn column(&self, feature: usize) -> usize {
        self.columns[feature]
    }

    fn each(&self) -> impl Iterator<Item = (&Feature, usize, usize)> {
        let places = self.firsts.iter().zip(&self.columns);
        self.features.iter().zip(places).map(|(feature, (first, column))| (feature, *first, *column))
    }

    /// Rows of the table.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds the tokens of a row of features.
    pub(super) fn encode(&self, value: impl Fn(usize) -> f64, tokens: &mut Tokens) {
        let Tokens { entries, starts } = tokens;
        entries.push((0, 1.0));
        starts.push(entries.len());
        for (feature, first, column) in self.each() {
            let own = |number: usize| value(column + number);
            feature.encode(own, |row, count| entries.push(((first + row) as u32, count)));
            starts.push(entries.len());
        }
    }

    /// What each row of the table counts for a row of features in the mean: the tokens of nobody in particular.
    pub(super) fn mean(&self, columns: Columns) -> Vec<f32> {
        let rows = columns.rows();
        let mut sums = vec![0.0_f64; self.rows];
        sums[0] = rows as f64;
        for (feature, first, column) in self.each() {
            for row in 0..rows {
                let own = |number: usize| columns.values[column + number][row];
                feature.encode(own, |row, count| sums[first + row] += f64::from(count));
            }
        }
        sums.into_iter().map(|sum| (sum / rows.max(1) as f64) as f32).collect()
    }

    /// Tokens between those of `mean` (share 0) and those of a row of features (share 1).
    pub(super) fn between(
        &self,
        mean: &[f32],
        value: impl Fn(usize) -> f64,
        share: f32,
        tokens: &mut Tokens,
    ) {
        let mut own = Tokens::default();
        own.clear();
        self.encode(value, &mut own);
        let Tokens { entries, starts } = tokens;
        for (token, counts) in own.each().enumerate() {
            let of_mean = match token.checked_sub(1) {
                None => 0..1,
                Some(feature) => {
                    let first = self.firsts[feature];
                    first..first + self.features[feature].rows()
                }
            };
            entries.extend(of_mean.map(|row| (row as u32, (1.0 - share) * mean[row])));
            entries.extend(counts.iter().map(|(row, count)| (*row, share * count)));
            starts.push(entries.len());
        }
    }

    pub(super) fn save(&self, file: &mut TensorFile, prefix: &str) {
        let counts = self.features.iter().map(|feature| match feature {
            Feature::Category(count) => *count as i64,
            Feature::Number(edges) => -1 - edges.len() as i64,
            Feature::Vector(numbers) => (MOST_CATEGORIES + numbers) as i64,
        });
        file.put_i64(&format!("{prefix}features"), &[self.features.len()], counts.collect());
        let edges: Vec<f32> = self.features.iter().flat_map(Feature::edges).copied().collect();
        file.put_f32(&format!("{prefix}edges"), &[edges.len()], edges);
    }

    pub(super) fn load(file: &TensorFile, prefix: &str) -> Result<Self, ModelError> {
        let mut edges = file.f32(&format!("{prefix}edges"))?;
        let fault = || misfit(super::NAME, "its features and their quantiles do not fit together");
        let mut feature = |count: &i64| match *count {
            count if count >= 0 && count as u64 <= MOST_CATEGORIES as u64 => {
                Ok(Feature::Category(count as usize))
            }
            count if count > 0 && count as u64 <= (MOST_CATEGORIES + MOST_NUMBERS) as u64 => {
                Ok(Feature::Vector(count as usize - MOST_CATEGORIES))
            }
            count => {
                let length = count.checked_add(1).and_then(i64::checked_neg).ok_or_else(fault)?;
                let length = usize::try_from(length).map_err(|_| fault())?;
                let (own, rest) = edges.split_at_checked(length).ok_or_else(fault)?;
                edges = rest;
                let rising = own.windows(2).all(|pair| pair[0] < pair[1]);
                let finite = own.iter().all(|edge| edge.is_finite());
                if rising && finite { Ok(Feature::Number(own.to_vec())) } else { Err(fault()) }
            }
        };
        let counts = file.i64(&format!("{prefix}features"))?;
        let features = counts.iter().map(&mut feature).collect::<Result<Vec<_>, _>>()?;
        if edges.is_empty() { Ok(Self::new(features)) } else { Err(fault()) }
    }
}

impl Feature {
    fn edges(&self) -> &[f32] {
        match self {
            Self::Number(edges) => edges,
            Self::Category(_) | Self::Vector(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(feature: &Feature, value: f64) -> Vec<(usize, f32)> {
        let mut found = Vec::new();
        feature.encode(|_| value, |row, count| found.push((row, count)));
        found
    }

    #[test]
    fn numbers_fill_the_shares_below_them() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        let feature = Feature::of(&values, false, 4).unwrap();
        assert_eq!(feature, Feature::Number(vec![0.0, 25.0, 50.0, 75.0, 100.0]));
        assert_eq!(counts(&feature, -5.0), [(SHARED, 1.0)]);
        assert_eq!(counts(&feature, 30.0), [(SHARED, 1.0), (2, 1.0), (3, 0.2)]);
        assert_eq!(counts(&feature, 1e9)[4], (5, 1.0));
        assert_eq!(counts(&feature, f64::NAN), [(SHARED, 1.0), (MISSING, 1.0)]);
        assert_eq!(Feature::of(&[7.0; 9], false, 4).unwrap().rows(), FIRST);
        assert_eq!(Feature::of(&[f64::NAN], false, 4).unwrap().rows(), FIRST);
    }

    #[test]
    fn categories_have_their_own_row_and_unseen_ones_are_missing() {
        let feature = Feature::of(&[0.0, 2.0, f64::NAN], true, 4).unwrap();
        assert_eq!(counts(&feature, 2.0)[1], (4, 1.0));
        for unseen in [3.0, -1.0, f64::NAN] {
            assert_eq!(counts(&feature, unseen)[1], (MISSING, 1.0));
        }
        assert!(Feature::of(&[0.5], true, 4).is_err());
        assert!(Feature::of(&[1e9], true, 4).is_err());
    }

    #[test]
    fn a_vector_is_one_token_and_one_gap_makes_it_missing() {
        let feature = Feature::Vector(4);
        let counts = |values: [f64; 4]| {
            let mut found = Vec::new();
            feature.encode(|number| values[number], |row, count| found.push((row, count)));
            found
        };
        assert_eq!(counts([1.0, -2.0, 0.0, 4.0]), [(SHARED, 1.0), (2, 0.5), (3, -1.0), (4, 0.0), (5, 2.0)]);
        assert_eq!(counts([1.0, 2.0, f64::NAN, 4.0]), [(SHARED, 1.0), (MISSING, 1.0)]);
        let values = vec![vec![0.5; 3]; 5];
        let columns = Columns::numbers(&values);
        let tokenizer =
            Tokenizer::fit(Features { columns, vectors: std::slice::from_ref(&(1..4)) }, 4).unwrap();
        assert_eq!((tokenizer.tokens(), tokenizer.width(), tokenizer.column(2)), (3, 5, 4));
        let mut file = TensorFile::default();
        tokenizer.save(&mut file, "");
        assert_eq!(Tokenizer::load(&file, "").unwrap(), tokenizer);
        for vectors in [vec![0..1, 3..6], vec![1..3, 2..4], vec![0..1, 2..2]] {
            let vectors = vectors.as_slice();
            assert!(Features { columns, vectors }.check().is_err(), "{vectors:?}");
        }
    }

    #[test]
    fn the_tokens_between_end_at_the_mean_and_at_the_row() {
        let values =
            [(0..50).map(f64::from).collect::<Vec<_>>(), (0..50).map(|row| f64::from(row % 3)).collect()];
        let columns = Columns { values: &values, categorical: &[false, true] };
        let tokenizer = Tokenizer::fit(columns, 4).unwrap();
        let mean = tokenizer.mean(columns);
        let table: Vec<f32> = (0..tokenizer.rows()).map(|row| (row as f32).sin()).collect();
        let at = |row: usize, share: f32| {
            let (mut tokens, mut x) = (Tokens::default(), Vec::new());
            tokens.clear();
            tokenizer.between(&mean, |feature| values[feature][row], share, &mut tokens);
            tokens.forward(&table, &mut x, 1);
            x
        };
        let (mut own, mut x) = (Tokens::default(), Vec::new());
        own.clear();
        (0..50).for_each(|row| tokenizer.encode(|feature| values[feature][row], &mut own));
        own.forward(&table, &mut x, 1);
        for token in 0..3 {
            let mean = (0..50).map(|row| x[3 * row + token]).sum::<f32>() / 50.0;
            assert!((at(7, 0.0)[token] - mean).abs() < 1e-5);
            assert!((at(7, 1.0)[token] - x[21 + token]).abs() < 1e-6);
        }
    }
}
