//! Will this shopper, this session buy? A classifier, the curve that makes its score a probability, and the
//! probability from which on the answer is yes.
//!
//! It takes numbers that a preparation made of a table's columns; the preparation is kept beside it by whoever
//! trains it, so that a row is prepared alike when scoring.

use qhatu_nn::tensor_file::TensorFile;
use serde::{Deserialize, Serialize};

use crate::calibration::{Calibration, Method, log_odds};
use crate::error::{ModelError, misfit};
use crate::feature_transformer::{self, FeatureTransformer, Features};
use crate::logistic_regression::{self, LogisticRegression};
use crate::recommender::{config, new_file};
use crate::trees::{
    BoostingConfig, Columns, Contributions, ForestConfig, Lesson, Objective, Target, TreeEnsemble,
    fit_boosting, fit_forest,
};

/// Its name in files.
pub const NAME: &str = "propensity";

/// What classifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Gradient boosted trees.
    #[default]
    Boosting,
    /// A random forest.
    Forest,
    /// Logistic regression.
    Logistic,
    /// Attention over the features.
    Attention,
    /// Boosted trees and attention: the mean of their log-odds.
    Ensemble,
}

impl Kind {
    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boosting => "boosting",
            Self::Forest => "forest",
            Self::Logistic => "logistic",
            Self::Attention => "attention",
            Self::Ensemble => "ensemble",
        }
    }
}

/// How each kind is fitted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which of them.
    pub kind: Kind,
    /// Gradient boosting.
    pub boosting: BoostingConfig,
    /// Random forest.
    pub forest: ForestConfig,
    /// Logistic regression.
    pub logistic: logistic_regression::Config,
    /// Attention over the features.
    pub attention: feature_transformer::Config,
}

#[derive(Debug, Clone, PartialEq)]
enum Fitted {
    /// Margins are log-odds.
    Boosting(TreeEnsemble),
    /// Margins are probabilities.
    Forest(TreeEnsemble),
    Logistic(LogisticRegression),
    Attention(Box<FeatureTransformer>),
    Ensemble(TreeEnsemble, Box<FeatureTransformer>),
}

/// A classifier without its calibration.
#[derive(Debug, Clone, PartialEq)]
pub struct Classifier {
    fitted: Fitted,
}

impl Classifier {
    /// Fits the kind that the configuration names to labels 0 and 1. To attention numbers that are a vector are one token; the
    /// other kinds take each by itself.
    ///
    /// # Errors
    /// Where a setting makes no sense or the numbers do not fit together.
    pub fn fit<'a>(
        features: impl Into<Features<'a>>,
        target: &Target,
        config: &Config,
        seed: u64,
    ) -> Result<Self, ModelError> {
        let features = features.into();
        let columns = features.columns;
        let boosting = || -> Result<TreeEnsemble, ModelError> {
            let lesson =
                Lesson { columns, target: *target, objective: Objective::Logistic, validation: None };
            Ok(fit_boosting(&lesson, &config.boosting, seed)?.trees)
        };
        let attention = || FeatureTransformer::fit(features, target, &config.attention, seed).map(Box::new);
        let fitted = match config.kind {
            Kind::Boosting => Fitted::Boosting(boosting()?),
            Kind::Forest => Fitted::Forest(fit_forest(columns, target, &config.forest, seed)?),
            Kind::Logistic => {
                let (labels, counts) = (target.labels, target.weights);
                Fitted::Logistic(LogisticRegression::fit(columns.values, labels, counts, &config.logistic)?)
            }
            Kind::Attention => Fitted::Attention(attention()?),
            Kind::Ensemble => Fitted::Ensemble(boosting()?, attention()?),
        };
        Ok(Self { fitted })
    }

    /// The log-odds of each row, before calibration. A forest's shares are kept 10⁻⁶ away from 0 and 1.
    ///
    /// # Errors
    /// Where the columns are not those it was fitted on, in number.
    pub fn scores(&self, columns: Columns) -> Result<Vec<f64>, ModelError> {
        if columns.values.len() != self.width() {
            let fault = format!("it takes {} features, {} were given", self.width(), columns.values.len());
            return Err(misfit(NAME, fault));
        }
        Ok(match &self.fitted {
            Fitted::Boosting(trees) => trees.margins(columns)?.into_iter().map(f64::from).collect(),
            Fitted::Forest(trees) => {
                trees.margins(columns)?.into_iter().map(|p| log_odds(f64::from(p))).collect()
            }
            Fitted::Logistic(regression) => {
                let row = |row: usize| columns.values.iter().map(|column| column[row]).collect::<Vec<f64>>();
                (0..columns.rows()).map(|place| regression.margin(&row(place))).collect()
            }
            Fitted::Attention(network) => network.margins(columns),
            Fitted::Ensemble(trees, network) => {
                let both = trees.margins(columns)?.into_iter().zip(network.margins(columns));
                both.map(|(tree, network)| (f64::from(tree) + network) / 2.0).collect()
            }
        })
    }

    /// What each feature of a row adds to the score (log-odds; for a forest its share of yes), before calibration:
    /// Shapley values for trees; weight times value for a regression, whose expected score is that of a row of zeros;
    /// integrated gradients for attention, whose expected score is that of the mean training row.
    pub fn contributions(&self, row: &[f64]) -> Contributions {
        let of_trees = |trees: &TreeEnsemble| {
            trees.contributions(&row.iter().map(|value| *value as f32).collect::<Vec<f32>>())
        };
        match &self.fitted {
            Fitted::Boosting(trees) | Fitted::Forest(trees) => of_trees(trees),
            Fitted::Logistic(regression) => {
                Contributions { expected: regression.intercept(), features: regression.contributions(row) }
            }
            Fitted::Attention(network) => network.contributions(row),
            Fitted::Ensemble(trees, network) => {
                let (trees, network) = (of_trees(trees), network.contributions(row));
                let mean = |(a, b): (&f64, &f64)| (a + b) / 2.0;
                Contributions {
                    expected: mean((&trees.expected, &network.expected)),
                    features: trees.features.iter().zip(&network.features).map(mean).collect(),
                }
            }
        }
    }

    /// Number of features.
    pub fn width(&self) -> usize {
        match &self.fitted {
            Fitted::Boosting(trees) | Fitted::Forest(trees) => trees.width(),
            Fitted::Logistic(regression) => regression.width(),
            Fitted::Attention(network) | Fitted::Ensemble(_, network) => network.width(),
        }
    }

    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        match &self.fitted {
            Fitted::Boosting(_) => Kind::Boosting,
            Fitted::Forest(_) => Kind::Forest,
            Fitted::Logistic(_) => Kind::Logistic,
            Fitted::Attention(_) => Kind::Attention,
            Fitted::Ensemble(..) => Kind::Ensemble,
        }
    }
}

/// A calibrated classifier with its threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct Propensity {
    /// What scores.
    pub classifier: Classifier,
    /// From score to probability.
    pub calibration: Calibration,
    /// From this probability on the answer is yes.
    pub threshold: f64,
    /// The features' names.
    pub names: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    kind: Kind,
    calibration: Method,
    threshold: f64,
    names: Vec<String>,
}

impl Propensity {
    /// The probability of each row.
    ///
    /// # Errors
    /// As [`Classifier::scores`].
    pub fn probabilities(&self, columns: Columns) -> Result<Vec<f64>, ModelError> {
        let scores = self.classifier.scores(columns)?;
        Ok(scores.into_iter().map(|score| self.calibration.probability(score)).collect())
    }

    /// Everything needed to load it again.
    pub fn save(&self) -> TensorFile {
        let calibration = match &self.calibration {
            Calibration::None => Method::None,
            Calibration::Platt { .. } => Method::Platt,
            Calibration::Isotonic { .. } => Method::Isotonic,
        };
        let kept = Kept {
            kind: self.classifier.kind(),
            calibration,
            threshold: self.threshold,
            names: self.names.clone(),
        };
        let mut file = new_file(NAME, &kept);
        self.calibration.save(&mut file, "calibration.");
        match &self.classifier.fitted {
            Fitted::Boosting(trees) | Fitted::Forest(trees) => trees.save(&mut file, "trees."),
            Fitted::Logistic(regression) => regression.save(&mut file, "logistic."),
            Fitted::Attention(network) => network.save(&mut file, "attention."),
            Fitted::Ensemble(trees, network) => {
                trees.save(&mut file, "trees.");
                network.save(&mut file, "attention.");
            }
        }
        file
    }

    /// Reads it back.
    ///
    /// # Errors
    /// Where the file holds something else, or its parts do not fit together.
    pub fn load(file: &TensorFile) -> Result<Self, ModelError> {
        let name = file.settings.get("model").map_or("", String::as_str);
        if name != NAME {
            return Err(ModelError::Unknown { name: name.to_owned() });
        }
        let kept: Kept = config(NAME, file)?;
        let trees = || TreeEnsemble::load(file, "trees.");
        let attention = || FeatureTransformer::load(file, "attention.").map(Box::new);
        let fitted = match kept.kind {
            Kind::Boosting => Fitted::Boosting(trees()?),
            Kind::Forest => Fitted::Forest(trees()?),
            Kind::Logistic => Fitted::Logistic(LogisticRegression::load(file, "logistic.")?),
            Kind::Attention => Fitted::Attention(attention()?),
            Kind::Ensemble => match (trees()?, attention()?) {
                (trees, network) if trees.width() == network.width() => Fitted::Ensemble(trees, network),
                _ => return Err(misfit(NAME, "its trees and its attention take features in other numbers")),
            },
        };
        let own = Self {
            classifier: Classifier { fitted },
            calibration: Calibration::load(file, "calibration.")?,
            threshold: kept.threshold,
            names: kept.names,
        };
        if own.names.len() != own.classifier.width() {
            let (names, width) = (own.names.len(), own.classifier.width());
            return Err(misfit(NAME, format!("{names} features have names, the model takes {width}")));
        }
        if own.threshold.is_nan() {
            return Err(misfit(NAME, "its threshold is no number"));
        }
        Ok(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> (Vec<Vec<f64>>, Vec<f32>) {
        let column = |by: usize| (0..400).map(|row| (row * by % 23) as f64 / 23.0).collect::<Vec<f64>>();
        let columns = vec![column(5), column(7), column(11)];
        let labels =
            (0..400).map(|row| f32::from(u8::from(columns[0][row] + columns[1][row] > 1.1))).collect();
        (columns, labels)
    }

    fn fitted(kind: Kind) -> (Propensity, Vec<Vec<f64>>) {
        let (columns, labels) = rows();
        let config = Config {
            kind,
            boosting: BoostingConfig { rounds: 20, ..BoostingConfig::default() },
            forest: ForestConfig { trees: 10, ..ForestConfig::default() },
            attention: feature_transformer::Config {
                hidden_size: 8,
                epochs: 40,
                batch_size: 32,
                learning_rate: 3e-3,
                ..Default::default()
            },
            ..Config::default()
        };
        let classifier =
            Classifier::fit(Columns::numbers(&columns), &Target::new(&labels), &config, 1).unwrap();
        let scores = classifier.scores(Columns::numbers(&columns)).unwrap();
        let happened: Vec<bool> = labels.iter().map(|label| *label > 0.5).collect();
        let calibration = Calibration::fit(Method::Isotonic, &scores, &happened).unwrap();
        let names = ["a", "b", "c"].map(str::to_owned).to_vec();
        (Propensity { classifier, calibration, threshold: 0.4, names }, columns)
    }

    #[test]
    fn every_kind_comes_back_and_scores_equally() {
        for kind in [Kind::Boosting, Kind::Forest, Kind::Logistic, Kind::Attention, Kind::Ensemble] {
            let (model, columns) = fitted(kind);
            let file = TensorFile::from_bytes(&model.save().to_bytes().unwrap()).unwrap();
            let read = Propensity::load(&file).unwrap();
            assert_eq!(read, model);
            let columns = Columns::numbers(&columns);
            let said = model.probabilities(columns).unwrap();
            assert_eq!(said, read.probabilities(columns).unwrap());
            for place in [0, 200] {
                let row: Vec<f64> = columns.values.iter().map(|column| column[place]).collect();
                let found = model.classifier.contributions(&row);
                let sum = found.expected + found.features.iter().sum::<f64>();
                let score = model.classifier.scores(columns).unwrap()[place];
                let score = if kind == Kind::Forest { crate::calibration::sigmoid(score) } else { score };
                assert!(
                    (sum - score).abs()
                        < if matches!(kind, Kind::Attention | Kind::Ensemble) { 1e-2 } else { 1e-5 },
                    "{kind:?} {sum} {score}"
                );
            }
            let (_, labels) = rows();
            let right = said.iter().zip(&labels).filter(|(p, label)| (**p > 0.5) == (**label > 0.5)).count();
            assert!(right > 380, "{kind:?} {right}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (model, columns) = fitted(Kind::Logistic);
        assert!(model.probabilities(Columns::numbers(&columns[..2])).is_err());
        let mut short = model.clone();
        short.names.pop();
        assert!(Propensity::load(&short.save()).unwrap_err().to_string().contains("2 features have names"));
        let mut other = model.save();
        other.settings.insert("model".to_owned(), "ease".to_owned());
        assert!(matches!(Propensity::load(&other), Err(ModelError::Unknown { .. })));
        let mut cut = model.save();
        cut.tensors.remove("logistic.weights");
        assert!(Propensity::load(&cut).is_err());
    }
}
