//! Vectors of texts without a network: what words occur together says what they are about.
//!
//! Latent semantic analysis (Deerwester et al., JASIS 1990): each text is a row of its words' TF-IDF weights, of length 1;
//! its vector are the row's coordinates in the directions in which the rows differ most. The directions come from a
//! random start by a few multiplications with the rows and their transpose, each made orthogonal again (Halko,
//! Martinsson and Tropp, SIAM Review 2011, algorithm 4.4). They span what the largest singular vectors span and
//! are not turned onto them: products of vectors are the same.
//!
//! Beside [`crate::TextEncoder`] for shops that have no text model: it takes a second for ten thousand titles.

use std::collections::BTreeMap;

use qhatu_nn::Stream;

use crate::normalizer::{Normalizer, words};

/// Multiplications with the rows and their transpose.
const TURNS: usize = 4;
/// A word of fewer texts than this says nothing of what they share.
const FEWEST: u32 = 2;

/// A fitted space.
#[derive(Debug, Clone, PartialEq)]
pub struct LatentSemantics {
    width: usize,
    /// Number and inverse document frequency of each word.
    terms: BTreeMap<String, (usize, f32)>,
    /// Words × width.
    directions: Vec<f32>,
}

/// A text's words with their weights.
type Row = Vec<(usize, f32)>;

impl LatentSemantics {
    /// Finds the directions of texts; at most `width`, fewer where there are fewer words. Time: O(words of the texts × width +
    /// distinct words × width²).
    pub fn fit<T: AsRef<str>>(texts: &[T], width: usize, seed: u64) -> Self {
        let mut held: BTreeMap<String, u32> = BTreeMap::new();
        for text in texts {
            let mut own: Vec<String> = split(text.as_ref());
            own.sort_unstable();
            own.dedup();
            own.into_iter().for_each(|word| *held.entry(word).or_default() += 1);
        }
        let held = held.into_iter().filter(|(_, held)| *held >= FEWEST).enumerate();
        let count = texts.len() as f32;
        let terms: BTreeMap<String, (usize, f32)> = held
            .map(|(number, (word, held))| (word, (number, ((1.0 + count) / (1.0 + held as f32)).ln() + 1.0)))
            .collect();
        let width = width.min(terms.len()).min(texts.len());
        let mut directions = vec![0.0; terms.len() * width];
        Stream::new(seed).fill_normal(&mut directions, 1.0);
        let mut own = Self { width, terms, directions };
        let rows: Vec<Row> = texts.iter().map(|text| own.row(text.as_ref())).collect();
        for _ in 0..TURNS {
            own.turn(&rows);
        }
        own
    }

    /// Numbers of a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The vector of each text, one behind another; zeros for a text of unknown words alone.
    ///
    /// # Shapes
    /// Texts × width.
    pub fn encode<T: AsRef<str>>(&self, texts: &[T]) -> Vec<f32> {
        let mut vectors = vec![0.0; texts.len() * self.width];
        for (text, vector) in texts.iter().zip(vectors.chunks_exact_mut(self.width.max(1))) {
            self.project(&self.row(text.as_ref()), vector);
        }
        vectors
    }

    fn row(&self, text: &str) -> Row {
        let mut counts: BTreeMap<usize, f32> = BTreeMap::new();
        for (number, rare) in split(text).iter().filter_map(|word| self.terms.get(word)) {
            *counts.entry(*number).or_default() += rare;
        }
        let length = counts.values().map(|weight| weight * weight).sum::<f32>().sqrt();
        counts.into_iter().map(|(number, weight)| (number, weight / length)).collect()
    }

    fn project(&self, row: &Row, vector: &mut [f32]) {
        vector.fill(0.0);
        for (number, weight) in row {
            let direction = &self.directions[number * self.width..][..self.width];
            vector.iter_mut().zip(direction).for_each(|(v, d)| *v += weight * d);
        }
    }

    /// One multiplication with the rows and their transpose, made orthogonal.
    fn turn(&mut self, rows: &[Row]) {
        let mut turned = vec![0.0; self.directions.len()];
        let mut vector = vec![0.0; self.width];
        for row in rows {
            self.project(row, &mut vector);
            for (number, weight) in row {
                let to = &mut turned[number * self.width..][..self.width];
                to.iter_mut().zip(&vector).for_each(|(to, v)| *to += weight * v);
            }
        }
        self.directions = turned;
        orthogonal(&mut self.directions, self.width);
    }
}

/// Makes columns orthogonal and of length 1, one after another, twice for the rounding (Giraud et al., 2005); one that depends
/// on those before it becomes zero.
fn orthogonal(matrix: &mut [f32], width: usize) {
    let rows = matrix.len() / width.max(1);
    let mut columns: Vec<Vec<f32>> =
        (0..width).map(|column| (0..rows).map(|row| matrix[row * width + column]).collect()).collect();
    for place in 0..width {
        let (before, rest) = columns.split_at_mut(place);
        let own = &mut rest[0];
        let first = product(own, own).sqrt();
        for _ in 0..2 {
            for other in before.iter() {
                let share = product(own, other) as f32;
                own.iter_mut().zip(other).for_each(|(own, other)| *own -= share * other);
            }
        }
        let length = product(own, own).sqrt();
        let scale = if length > 1e-6 * first { (1.0 / length) as f32 } else { 0.0 };
        own.iter_mut().for_each(|own| *own *= scale);
    }
    for (row, numbers) in matrix.chunks_exact_mut(width.max(1)).enumerate() {
        numbers.iter_mut().zip(&columns).for_each(|(number, column)| *number = column[row]);
    }
}

fn product(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn split(text: &str) -> Vec<String> {
    words(&Normalizer::UNCASED.normalize(text)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 6] =
        ["red mug", "blue mug", "Red cup mug", "oak desk", "oak desk lamp", "desk lamp blue"];

    fn cosine(vectors: &[f32], width: usize, a: usize, b: usize) -> f64 {
        let row = |text: usize| &vectors[text * width..][..width];
        product(row(a), row(b)) / (product(row(a), row(a)) * product(row(b), row(b))).sqrt()
    }

    #[test]
    fn texts_about_the_same_lie_near_each_other() {
        let space = LatentSemantics::fit(&TEXTS, 2, 1);
        assert_eq!(space.width(), 2);
        let vectors = space.encode(&TEXTS);
        assert!(cosine(&vectors, 2, 0, 2) > 0.9 && cosine(&vectors, 2, 3, 4) > 0.9);
        assert!(cosine(&vectors, 2, 0, 3) < 0.3, "{vectors:?}");
        assert_eq!(space.encode(&["sofa"]), [0.0, 0.0]);
    }

    #[test]
    fn with_all_directions_products_are_those_of_the_rows() {
        let space = LatentSemantics::fit(&TEXTS, 100, 7);
        let width = space.width();
        let vectors = space.encode(&TEXTS);
        for (a, b) in [(0, 1), (1, 5), (3, 3), (2, 4)] {
            let (left, right) = (space.row(TEXTS[a]), space.row(TEXTS[b]));
            let whole: f32 = left
                .iter()
                .flat_map(|(at, x)| {
                    right.iter().filter(move |(other, _)| other == at).map(move |(_, y)| x * y)
                })
                .sum();
            let found = product(&vectors[a * width..][..width], &vectors[b * width..][..width]);
            assert!((found - f64::from(whole)).abs() < 1e-4, "{a} {b}: {found} {whole}");
        }
        assert_eq!(space, LatentSemantics::fit(&TEXTS, 100, 7));
        assert_eq!(LatentSemantics::fit::<&str>(&[], 8, 1).width(), 0);
    }
}
