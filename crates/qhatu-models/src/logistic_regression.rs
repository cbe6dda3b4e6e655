//! Logistic regression: log-odds as a weighted sum, with a penalty on the weights, by Newton's method.
//!
//! Minimizes Σ weight · log-loss + λ⁄2 · ‖w‖², the intercept free of penalty: scikit-learn's with λ = 1 ⁄ C. A step
//! that would raise this sum is halved. (Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 2nd
//! ed., section 4.4.1.) Inputs should be of one scale, since all weights bear the same penalty, and without gaps;
//! the preparation beside the model sees to both.

use qhatu_nn::linalg;
use qhatu_nn::tensor_file::TensorFile;
use serde::{Deserialize, Serialize};

use crate::error::{ModelError, misfit};

const NAME: &str = "logistic_regression";

/// How it is fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// λ, above 0.
    pub l2: f64,
    /// Most steps.
    pub steps: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { l2: 1.0, steps: 100 }
    }
}

/// A fitted regression.
#[derive(Debug, Clone, PartialEq)]
pub struct LogisticRegression {
    intercept: f64,
    weights: Vec<f64>,
}

/// Steps that change no weight by more than this are the last.
const STILL: f64 = 1e-9;

impl LogisticRegression {
    /// Fits a column a feature, all of one length without gaps, to labels 0 and 1; `counts` is what each row counts,
    /// empty where each counts 1.
    ///
    /// # Errors
    /// Where numbers do not fit together, one is not finite, or λ is not above 0.
    pub fn fit(
        columns: &[Vec<f64>],
        labels: &[f32],
        counts: &[f32],
        config: &Config,
    ) -> Result<Self, ModelError> {
        check(columns, labels, counts, config)?;
        let lesson = Lesson { columns, labels, counts, l2: config.l2 };
        // The intercept stands behind the weights.
        let mut weights = vec![0.0; columns.len() + 1];
        let mut loss = lesson.loss(&weights);
        for _ in 0..config.steps {
            let mut step = lesson.newton_step(&weights)?;
            let (next, lower) = loop {
                let next: Vec<f64> = weights.iter().zip(&step).map(|(weight, step)| weight - step).collect();
                let lower = lesson.loss(&next);
                if lower <= loss || step.iter().all(|step| step.abs() <= STILL) {
                    break (next, lower);
                }
                step.iter_mut().for_each(|step| *step /= 2.0);
            };
            (weights, loss) = (next, lower);
            if step.iter().all(|step| step.abs() <= STILL) {
                break;
            }
        }
        let intercept = weights.pop().unwrap_or(0.0);
        Ok(Self { intercept, weights })
    }

    /// The log-odds of a row of features; one that is missing counts 0.
    pub fn margin(&self, row: &[f64]) -> f64 {
        self.intercept + self.contributions(row).iter().sum::<f64>()
    }

    /// What each feature of a row adds to the log-odds.
    pub fn contributions(&self, row: &[f64]) -> Vec<f64> {
        let value = |place: usize| row.get(place).copied().filter(|value| value.is_finite()).unwrap_or(0.0);
        self.weights.iter().enumerate().map(|(place, weight)| weight * value(place)).collect()
    }

    /// Number of features of a row.
    pub fn width(&self) -> usize {
        self.weights.len()
    }

    /// The log-odds of a row of zeros.
    pub fn intercept(&self) -> f64 {
        self.intercept
    }

    /// A weight a feature.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Puts it into a file. Numbers of 64 bits are kept as their bits.
    pub fn save(&self, file: &mut TensorFile, prefix: &str) {
        let bits = |value: &f64| value.to_bits() as i64;
        file.put_i64(&format!("{prefix}intercept"), &[1], vec![bits(&self.intercept)]);
        let weights = self.weights.iter().map(bits).collect();
        file.put_i64(&format!("{prefix}weights"), &[self.weights.len()], weights);
    }

    /// Reads it back.
    ///
    /// # Errors
    /// Where a tensor is missing or a number not finite.
    pub fn load(file: &TensorFile, prefix: &str) -> Result<Self, ModelError> {
        let numbers = |name: &str| -> Result<Vec<f64>, ModelError> {
            let bits = file.i64(&format!("{prefix}{name}"))?;
            Ok(bits.iter().map(|bits| f64::from_bits(*bits as u64)).collect())
        };
        let (intercept, weights) = (numbers("intercept")?, numbers("weights")?);
        match intercept[..] {
            [intercept] if intercept.is_finite() && weights.iter().all(|weight| weight.is_finite()) => {
                Ok(Self { intercept, weights })
            }
            _ => Err(misfit(NAME, "its weights are no finite numbers")),
        }
    }
}

fn check(columns: &[Vec<f64>], labels: &[f32], counts: &[f32], config: &Config) -> Result<(), ModelError> {
    let rows = labels.len();
    if !(config.l2 > 0.0 && config.l2.is_finite()) {
        let hint = "a penalty above 0 keeps the weights finite";
        return Err(ModelError::Setting { model: NAME, key: "l2", value: config.l2.to_string(), hint });
    }
    if !counts.is_empty() && counts.len() != rows {
        return Err(misfit(NAME, format!("{rows} rows have {} counts", counts.len())));
    }
    for (place, column) in columns.iter().enumerate() {
        let fault = match column.iter().position(|value| !value.is_finite()) {
            _ if column.len() != rows => format!("{} rows, there are {rows} labels", column.len()),
            Some(row) => format!("a gap in row {row}: fill it first"),
            None => continue,
        };
        return Err(misfit(NAME, format!("feature {place} has {fault}")));
    }
    match labels.iter().position(|label| *label != 0.0 && *label != 1.0) {
        Some(row) => Err(misfit(NAME, format!("row {row} has the label {}: 0 or 1", labels[row]))),
        None => Ok(()),
    }
}

struct Lesson<'a> {
    columns: &'a [Vec<f64>],
    labels: &'a [f32],
    counts: &'a [f32],
    l2: f64,
}

/// log(1 + eˣ) without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

impl Lesson<'_> {
    fn count(&self, row: usize) -> f64 {
        self.counts.get(row).map_or(1.0, |count| f64::from(*count))
    }

    fn margins(&self, weights: &[f64]) -> Vec<f64> {
        let mut margins = vec![weights[self.columns.len()]; self.labels.len()];
        for (column, weight) in self.columns.iter().zip(weights) {
            margins.iter_mut().zip(column).for_each(|(margin, value)| *margin += weight * value);
        }
        margins
    }

    fn loss(&self, weights: &[f64]) -> f64 {
        let margins = self.margins(weights);
        let rows = margins.iter().zip(self.labels).enumerate();
        let losses: f64 = rows
            .map(|(row, (margin, label))| self.count(row) * (softplus(*margin) - f64::from(*label) * margin))
            .sum();
        let squares: f64 = weights[..self.columns.len()].iter().map(|weight| weight * weight).sum();
        losses + self.l2 / 2.0 * squares
    }

    /// Hessian⁻¹ · gradient.
    fn newton_step(&self, weights: &[f64]) -> Result<Vec<f64>, ModelError> {
        let size = self.columns.len() + 1;
        let p: Vec<f64> = self.margins(weights).iter().map(|margin| 1.0 / (1.0 + (-margin).exp())).collect();
        let ones = vec![1.0; self.labels.len()];
        let column = |place: usize| self.columns.get(place).unwrap_or(&ones);
        let error: Vec<f64> = p
            .iter()
            .zip(self.labels)
            .enumerate()
            .map(|(row, (p, label))| self.count(row) * (p - f64::from(*label)))
            .collect();
        let curve: Vec<f64> =
            p.iter().enumerate().map(|(row, p)| self.count(row) * (p * (1.0 - p)).max(1e-12)).collect();
        let mut hessian = vec![0.0; size * size];
        let mut gradient = vec![0.0; size];
        for i in 0..size {
            let bent: Vec<f64> = column(i).iter().zip(&curve).map(|(value, curve)| value * curve).collect();
            gradient[i] = dot(column(i), &error);
            for j in 0..=i {
                let entry = dot(&bent, column(j));
                (hessian[i * size + j], hessian[j * size + i]) = (entry, entry);
            }
            if i < self.columns.len() {
                gradient[i] += self.l2 * weights[i];
                hessian[i * size + i] += self.l2;
            }
        }
        linalg::solve(&hessian, &mut gradient)
            .map_err(|fault| misfit(NAME, format!("the weights cannot be solved for: {fault}")))?;
        Ok(gradient)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 300 rows of two features; labels by chance around log-odds of 1 + 2a − b.
    fn rows() -> (Vec<Vec<f64>>, Vec<f32>) {
        let chance =
            |row: u64, of: u64| (qhatu_nn::Stream::new(of).at(row) >> 11) as f64 / (1_u64 << 53) as f64;
        let column = |of: u64| (0..300).map(|row| 4.0 * chance(row, of) - 2.0).collect::<Vec<f64>>();
        let columns = vec![column(1), column(7)];
        let label = |row: usize| {
            let margin = 1.0 + 2.0 * columns[0][row] - columns[1][row];
            f32::from(u8::from(chance(row as u64, 99) < 1.0 / (1.0 + (-margin).exp())))
        };
        let labels = (0..300).map(label).collect();
        (columns, labels)
    }

    #[test]
    fn the_gradient_is_zero_where_it_ends() {
        let (columns, labels) = rows();
        let counts: Vec<f32> = (0..300).map(|row| 0.5 + (row % 3) as f32).collect();
        let fitted = LogisticRegression::fit(&columns, &labels, &counts, &Config::default()).unwrap();
        let lesson = Lesson { columns: &columns, labels: &labels, counts: &counts, l2: 1.0 };
        let mut weights = fitted.weights.clone();
        weights.push(fitted.intercept);
        let least = lesson.loss(&weights);
        for place in 0..3 {
            for step in [-1e-3, 1e-3] {
                let mut other = weights.clone();
                other[place] += step;
                assert!(lesson.loss(&other) > least);
            }
        }
        assert!(fitted.weights[0] > 1.0 && fitted.weights[1] < -0.5, "{fitted:?}");
    }

    #[test]
    fn separable_rows_stay_finite_and_what_adds_up_is_the_margin() {
        let columns = [vec![-2.0, -1.0, 1.0, 2.0]];
        let labels = [0.0, 0.0, 1.0, 1.0];
        let config = Config { l2: 1e-6, ..Config::default() };
        let fitted = LogisticRegression::fit(&columns, &labels, &[], &config).unwrap();
        assert!(fitted.weights[0].is_finite() && fitted.weights[0] > 1.0);
        let row = [1.5];
        assert_eq!(fitted.margin(&row), fitted.intercept() + fitted.contributions(&row)[0]);
        assert_eq!(fitted.margin(&[f64::NAN]), fitted.intercept());
    }

    #[test]
    fn what_is_kept_is_read_back_to_the_bit_and_damage_is_refused() {
        let (columns, labels) = rows();
        let fitted = LogisticRegression::fit(&columns, &labels, &[], &Config::default()).unwrap();
        let mut file = TensorFile::default();
        fitted.save(&mut file, "l.");
        assert_eq!(LogisticRegression::load(&file, "l.").unwrap(), fitted);
        file.put_i64("l.intercept", &[1], vec![f64::NAN.to_bits() as i64]);
        assert!(LogisticRegression::load(&file, "l.").is_err());
        assert!(LogisticRegression::load(&TensorFile::default(), "l.").is_err());
    }

    #[test]
    fn what_cannot_be_learned_from_is_said() {
        let fault = |columns: &[Vec<f64>], labels: &[f32], l2| {
            let config = Config { l2, ..Config::default() };
            LogisticRegression::fit(columns, labels, &[], &config).unwrap_err().to_string()
        };
        assert!(fault(&[vec![1.0]], &[0.0, 1.0], 1.0).contains("feature 0 has 1 rows"));
        assert!(fault(&[vec![1.0, f64::NAN]], &[0.0, 1.0], 1.0).contains("gap in row 1"));
        assert!(fault(&[vec![1.0, 2.0]], &[0.0, 0.3], 1.0).contains("label 0.3"));
        assert!(fault(&[], &[], 0.0).contains("l2 = 0"));
    }
}
