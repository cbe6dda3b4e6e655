//! From a model's score to a probability that holds: of those told 30 %, 30 % do.
//!
//! Platt's sigmoid σ(a·s + b) (1999, with his smoothed targets, which Lin, Lin and Weng, 2007, fit as here) needs few
//! rows; isotonic regression (Zadrozny and Elkan, KDD 2002) bends to any rising curve and needs a thousand or so. Its
//! steps would tie rows that the model tells apart, so a thousandth of the model's own probability is mixed in: the
//! order of rows, and all that is measured of it, stays the model's.
//! Both must be fitted on scores of rows that the model did not learn from.

use qhatu_nn::tensor_file::TensorFile;
use serde::{Deserialize, Serialize};

use crate::error::{ModelError, misfit};

const NAME: &str = "calibration";

/// Which curve is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The model's own probability stays.
    None,
    /// A sigmoid over the log-odds.
    Platt,
    /// The best rising steps, with straight lines between their middles.
    #[default]
    Isotonic,
}

/// A fitted curve from log-odds to probability.
#[derive(Debug, Clone, PartialEq)]
pub enum Calibration {
    /// σ(score).
    None,
    /// σ(slope · score + offset).
    Platt {
        /// Above 0 where higher scores mean more likely.
        slope: f64,
        /// What is added.
        offset: f64,
    },
    /// Straight lines between points, flat beyond the outermost.
    Isotonic {
        /// Rising scores.
        scores: Vec<f64>,
        /// The probability at each, never falling.
        probabilities: Vec<f64>,
    },
}

/// 1 ⁄ (1 + e⁻ˣ).
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// ln(p ⁄ (1 − p)), p kept 10⁻⁶ away from 0 and 1.
pub fn log_odds(p: f64) -> f64 {
    let p = p.clamp(1e-6, 1.0 - 1e-6);
    (p / (1.0 - p)).ln()
}

impl Calibration {
    /// Fits a curve on scores (log-odds) and what happened. Labels of one kind only teach nothing: the score stays.
    ///
    /// # Errors
    /// Where there are not as many labels as scores, or a score is not finite.
    pub fn fit(method: Method, scores: &[f64], labels: &[bool]) -> Result<Self, ModelError> {
        if scores.len() != labels.len() {
            return Err(misfit(NAME, format!("{} scores have {} labels", scores.len(), labels.len())));
        }
        if let Some(row) = scores.iter().position(|score| !score.is_finite()) {
            return Err(misfit(NAME, format!("row {row} has the score {}", scores[row])));
        }
        let of_one_kind = labels.iter().all(|label| *label) || !labels.contains(&true);
        Ok(match method {
            _ if of_one_kind => Self::None,
            Method::None => Self::None,
            Method::Platt => platt(scores, labels),
            Method::Isotonic => isotonic(scores, labels),
        })
    }

    /// The probability for a score. A higher score never gets a lower one.
    pub fn probability(&self, score: f64) -> f64 {
        match self {
            Self::None => sigmoid(score),
            Self::Platt { slope, offset } => sigmoid(slope * score + offset),
            Self::Isotonic { scores, probabilities } => {
                (1.0 - OWN) * along(scores, probabilities, score) + OWN * sigmoid(score)
            }
        }
    }

    /// Puts it into a file; numbers of 64 bits are kept as their bits.
    pub fn save(&self, file: &mut TensorFile, prefix: &str) {
        let (kind, first, second) = match self {
            Self::None => (0, vec![], vec![]),
            Self::Platt { slope, offset } => (1, vec![*slope], vec![*offset]),
            Self::Isotonic { scores, probabilities } => (2, scores.clone(), probabilities.clone()),
        };
        let bits = |values: Vec<f64>| values.into_iter().map(|value| value.to_bits() as i64).collect();
        file.put_u32(&format!("{prefix}kind"), &[1], vec![kind]);
        file.put_i64(&format!("{prefix}from"), &[first.len()], bits(first));
        file.put_i64(&format!("{prefix}to"), &[second.len()], bits(second));
    }

    /// Reads it back.
    ///
    /// # Errors
    /// Where a part is missing, or it is no rising curve of probabilities.
    pub fn load(file: &TensorFile, prefix: &str) -> Result<Self, ModelError> {
        let numbers = |name: &str| -> Result<Vec<f64>, ModelError> {
            let bits = file.i64(&format!("{prefix}{name}"))?;
            Ok(bits.iter().map(|bits| f64::from_bits(*bits as u64)).collect())
        };
        let (from, to) = (numbers("from")?, numbers("to")?);
        let rises = |values: &[f64]| values.windows(2).all(|pair| pair[0] <= pair[1]);
        let finite = from.iter().chain(&to).all(|value| value.is_finite());
        let kind = file.u32(&format!("{prefix}kind"))?;
        match (kind, from.len(), to.len()) {
            ([0], 0, 0) => Ok(Self::None),
            ([1], 1, 1) if finite => Ok(Self::Platt { slope: from[0], offset: to[0] }),
            ([2], points, values)
                if points == values
                    && points > 0
                    && finite
                    && from.windows(2).all(|pair| pair[0] < pair[1])
                    && rises(&to)
                    && to.iter().all(|p| (0.0..=1.0).contains(p)) =>
            {
                Ok(Self::Isotonic { scores: from, probabilities: to })
            }
            _ => Err(misfit(NAME, "it is no rising curve of probabilities")),
        }
    }
}

/// The model's own share in an isotonic probability.
const OWN: f64 = 1e-3;

/// The value at a place of a line through points, flat beyond the outermost.
fn along(places: &[f64], values: &[f64], place: f64) -> f64 {
    let behind = places.partition_point(|known| *known <= place);
    match (behind.checked_sub(1), places.get(behind)) {
        (None, _) => values.first().copied().unwrap_or(0.5),
        (Some(last), None) => values[last],
        (Some(before), Some(next)) => {
            let share = (place - places[before]) / (next - places[before]);
            values[before] + share * (values[behind] - values[before])
        }
    }
}

/// Newton's method on the log-loss of the smoothed targets.
fn platt(scores: &[f64], labels: &[bool]) -> Calibration {
    let yes = labels.iter().filter(|label| **label).count() as f64;
    let no = labels.len() as f64 - yes;
    let target = |label: bool| if label { (yes + 1.0) / (yes + 2.0) } else { 1.0 / (no + 2.0) };
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    let loss = |slope: f64, offset: f64| -> f64 {
        let of = |(score, label): (&f64, &bool)| {
            let x = slope * score + offset;
            softplus(x) - target(*label) * x
        };
        scores.iter().zip(labels).map(of).sum()
    };
    let (mut slope, mut offset) = (0.0, ((yes + 1.0) / (no + 1.0)).ln());
    let mut now = loss(slope, offset);
    for _ in 0..100 {
        let (mut g, mut h) = ([0.0; 2], [1e-12, 0.0, 1e-12]);
        for (score, label) in scores.iter().zip(labels) {
            let p = sigmoid(slope * score + offset);
            let (error, curve) = (p - target(*label), (p * (1.0 - p)).max(1e-12));
            g = [g[0] + error * score, g[1] + error];
            h = [h[0] + curve * score * score, h[1] + curve * score, h[2] + curve];
        }
        let determinant = h[0] * h[2] - h[1] * h[1];
        if determinant <= 0.0 {
            break;
        }
        let mut step = [(h[2] * g[0] - h[1] * g[1]) / determinant, (h[0] * g[1] - h[1] * g[0]) / determinant];
        while loss(slope - step[0], offset - step[1]) > now && step[0].abs() + step[1].abs() > 1e-12 {
            step = step.map(|step| step / 2.0);
        }
        (slope, offset) = (slope - step[0], offset - step[1]);
        now = loss(slope, offset);
        if step[0].abs() + step[1].abs() < 1e-10 {
            break;
        }
    }
    // A model whose higher scores mean less likely is told so by its figures; its order is not turned around.
    Calibration::Platt { slope: slope.max(0.0), offset }
}

/// Pool adjacent violators: neighbouring scores whose shares fall are pooled until none do.
fn isotonic(scores: &[f64], labels: &[bool]) -> Calibration {
    let mut rows: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    // First score, last score, rows that did, rows.
    let mut pools: Vec<(f64, f64, f64, f64)> = Vec::new();
    for tie in rows.chunk_by(|a, b| a.0 == b.0) {
        let yes = tie.iter().filter(|row| row.1).count() as f64;
        pools.push((tie[0].0, tie[0].0, yes, tie.len() as f64));
        while let [.., a, b] = pools[..]
            && a.2 * b.3 >= b.2 * a.3
        {
            pools.truncate(pools.len() - 2);
            pools.push((a.0, b.1, a.2 + b.2, a.3 + b.3));
        }
    }
    let (mut from, mut to) = (Vec::new(), Vec::new());
    for (first, last, yes, count) in pools {
        from.push(first);
        to.push(yes / count);
        if last > first {
            from.push(last);
            to.push(yes / count);
        }
    }
    Calibration::Isotonic { scores: from, probabilities: to }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_that_fall_are_pooled() {
        let scores = [1.0, 2.0, 2.0, 3.0, 4.0, 5.0];
        let labels = [false, true, false, false, true, true];
        let curve = Calibration::fit(Method::Isotonic, &scores, &labels).unwrap();
        assert_eq!(
            curve,
            Calibration::Isotonic {
                scores: vec![1.0, 2.0, 3.0, 4.0, 5.0],
                probabilities: vec![0.0, 1.0 / 3.0, 1.0 / 3.0, 1.0, 1.0],
            }
        );
        let told = [0.0, 1.5, 2.5, 9.0].map(|score| curve.probability(score));
        let near = |(told, expected): (&f64, f64)| (told - expected).abs() <= OWN;
        assert!(told.iter().zip([0.0, 1.0 / 6.0, 1.0 / 3.0, 1.0]).all(near), "{told:?}");
        assert!(curve.probability(2.5) < curve.probability(2.6), "rows of a step keep their order");
    }

    #[test]
    fn platt_finds_the_sigmoid_that_made_the_labels() {
        // For each score as many yes as the sigmoid of 0.5 s − 1 says.
        let (mut scores, mut labels) = (Vec::new(), Vec::new());
        for place in -40..=40 {
            let score = f64::from(place) / 5.0;
            let yes = (1000.0 * sigmoid(0.5 * score - 1.0)).round() as usize;
            scores.extend([score; 1000]);
            labels.extend((0..1000).map(|row| row < yes));
        }
        let Calibration::Platt { slope, offset } = Calibration::fit(Method::Platt, &scores, &labels).unwrap()
        else {
            panic!("another curve")
        };
        assert!((slope - 0.5).abs() < 0.01 && (offset + 1.0).abs() < 0.01, "{slope} {offset}");
    }

    #[test]
    fn labels_of_one_kind_teach_nothing() {
        for method in [Method::None, Method::Platt, Method::Isotonic] {
            let curve = Calibration::fit(method, &[1.0, 2.0], &[true, true]).unwrap();
            assert_eq!(curve.probability(0.0), 0.5);
        }
        assert!(Calibration::fit(Method::Platt, &[1.0], &[]).is_err());
        assert!(Calibration::fit(Method::Platt, &[f64::NAN], &[true]).is_err());
    }

    #[test]
    fn a_damaged_curve_is_refused() {
        let good = Calibration::Isotonic { scores: vec![0.0, 1.0], probabilities: vec![0.2, 0.7] };
        let refused = |from: &[f64], to: &[f64]| {
            let mut file = TensorFile::default();
            let bits =
                |values: &[f64]| values.iter().map(|value| value.to_bits() as i64).collect::<Vec<i64>>();
            good.save(&mut file, "");
            file.put_i64("from", &[from.len()], bits(from));
            file.put_i64("to", &[to.len()], bits(to));
            Calibration::load(&file, "").is_err()
        };
        assert!(!refused(&[0.0, 1.0], &[0.2, 0.7]));
        assert!(refused(&[1.0, 1.0], &[0.2, 0.7]));
        assert!(refused(&[0.0, 1.0], &[0.7, 0.2]));
        assert!(refused(&[0.0, 1.0], &[0.2, 1.7]));
        assert!(refused(&[0.0], &[0.2, 0.7]));
        assert!(refused(&[f64::NAN], &[0.2]));
    }

    proptest! {
        /// Of all rising curves none is nearer to the labels (in squares) than the mean of a pool, and what is kept
        /// gives the same numbers.
        #[test]
        fn a_curve_never_falls_and_comes_back(
            rows in prop::collection::vec((-20_i32..20, any::<bool>()), 2..60),
            method in prop::sample::select(vec![Method::Platt, Method::Isotonic]),
        ) {
            let scores: Vec<f64> = rows.iter().map(|row| f64::from(row.0) / 4.0).collect();
            let labels: Vec<bool> = rows.iter().map(|row| row.1).collect();
            let curve = Calibration::fit(method, &scores, &labels).unwrap();
            let asked: Vec<f64> = (-60..60).map(|place| f64::from(place) / 9.0).collect();
            let said: Vec<f64> = asked.iter().map(|score| curve.probability(*score)).collect();
            prop_assert!(said.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(said.iter().all(|p| (0.0..=1.0).contains(p)));
            let mut file = TensorFile::default();
            curve.save(&mut file, "c.");
            let read = Calibration::load(&file, "c.").unwrap();
            prop_assert_eq!(&read, &curve);
            // The mean probability is the share that happened, but for the model's own share.
            if let Calibration::Isotonic { .. } = curve {
                let mean = scores.iter().map(|score| curve.probability(*score)).sum::<f64>();
                let happened = labels.iter().filter(|label| **label).count() as f64;
                prop_assert!((mean - happened).abs() <= OWN * scores.len() as f64);
            }
        }
    }
}
