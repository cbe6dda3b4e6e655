//! Attention over the features of a row: each feature is a token, blocks of attention let them look at each other, and a
//! token of its own reads what they say.
//!
//! FT-Transformer (Gorishniy, Rubachev, Khrulkov and Babenko, "Revisiting Deep Learning Models for Tabular Data", NeurIPS
//! 2021, section 3.3), with numbers encoded piecewise linearly (the same authors, NeurIPS 2022, section 3.2): so it takes
//! numbers of any scale, gaps, and categories, as trees do. A vector (a text's) is one token, a linear map of its numbers.
//!
//! Trained with binary cross-entropy or focal loss, a fixed number of epochs under a cosine schedule; what is kept is the
//! parameters' moving average. Memory of a training: parameters eight times (values, gradients of four parts, two moments, average),
//! and of a batch about 30 numbers a token, block and column.
//!
//! What a feature adds to a score is found by integrated gradients (Sundararajan, Taly and Yan, "Axiomatic Attribution
//! for Deep Networks", ICML 2017) from the tokens of the mean training row, over Gauss–Legendre nodes.

mod network;
mod tokens;
mod training;

use qhatu_nn::tensor_file::TensorFile;
use qhatu_nn::{Parameters, Stream};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::network::{Network, Space};
pub use self::tokens::Features;
use self::tokens::Tokenizer;
use crate::error::{ModelError, misfit};
use crate::recommender::check_layers;
use crate::trees::{Columns, Contributions, Target};

pub(super) const NAME: &str = "feature_transformer";
/// Rows that are scored together.
const TOGETHER: usize = 64;
/// A product of fewer rows than about four adds up in another order; where so few are scored, the last is scored again up to
/// this number, so that a row has one score, whatever is scored with it.
const AT_LEAST: usize = 8;
/// Nodes of the integral over gradients: contributions add up to the score within about a hundredth.
const NODES: usize = 128;

/// How it is fitted; names as in published `config.json` files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Columns of tokens and blocks.
    pub hidden_size: usize,
    /// Transformer blocks.
    pub num_hidden_layers: usize,
    /// Heads of each; must divide `hidden_size`.
    pub num_attention_heads: usize,
    /// Inner width of the feed-forward layers.
    pub intermediate_size: usize,
    /// Dropout of tokens and layers.
    pub hidden_dropout_prob: f32,
    /// Dropout of attention.
    pub attention_probs_dropout_prob: f32,
    /// Most shares into which quantiles cut a number.
    pub bins: usize,
    /// AdamW's highest rate.
    pub learning_rate: f32,
    /// AdamW's decay of weights.
    pub weight_decay: f32,
    /// Share of the parameters' moving average that stays from step to step.
    pub ema_decay: f32,
    /// Rows of a step.
    pub batch_size: usize,
    /// Times that each row is seen.
    pub epochs: u32,
    /// γ of focal loss; 0 is plain cross-entropy.
    pub focal_gamma: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hidden_size: 32,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            intermediate_size: 64,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            bins: 16,
            learning_rate: 1e-3,
            weight_decay: 0.01,
            ema_decay: 0.99,
            batch_size: 128,
            epochs: 12,
            focal_gamma: 0.0,
        }
    }
}

impl Config {
    fn check(&self) -> Result<(), ModelError> {
        let fault = |key, value: String, hint| Err(ModelError::Setting { model: NAME, key, value, hint });
        let share = |rate: f32| (0.0..1.0).contains(&rate);
        if !(1..=1024).contains(&self.hidden_size) {
            return fault("hidden_size", self.hidden_size.to_string(), "1 to 1024");
        }
        if self.num_attention_heads == 0 || !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return fault(
                "num_attention_heads",
                self.num_attention_heads.to_string(),
                "a divisor of hidden_size",
            );
        }
        if self.num_hidden_layers > 64 {
            return fault("num_hidden_layers", self.num_hidden_layers.to_string(), "at most 64");
        }
        if !(1..=65_536).contains(&self.intermediate_size) {
            return fault("intermediate_size", self.intermediate_size.to_string(), "1 to 65536");
        }
        for (key, rate) in [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
            ("ema_decay", self.ema_decay),
        ] {
            if !share(rate) {
                return fault(key, rate.to_string(), "0 to below 1");
            }
        }
        if !(1..=1024).contains(&self.bins) {
            return fault("bins", self.bins.to_string(), "1 to 1024, such as 16");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate < 1.0) {
            return fault(
                "learning_rate",
                self.learning_rate.to_string(),
                "above 0 and below 1, such as 0.001",
            );
        }
        if self.batch_size == 0 {
            return fault("batch_size", "0".to_owned(), "at least 1, such as 128");
        }
        if self.epochs == 0 {
            return fault("epochs", "0".to_owned(), "at least 1, such as 12");
        }
        if !(0.0..=10.0).contains(&self.focal_gamma) {
            return fault("focal_gamma", self.focal_gamma.to_string(), "0 to 10; 0 is plain cross-entropy");
        }
        Ok(())
    }
}

/// A fitted network.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureTransformer {
    config: Config,
    tokenizer: Tokenizer,
    network: Network,
    parameters: Parameters,
    /// What each row of the tokens' table counts in the mean training row.
    mean: Vec<f32>,
}

impl FeatureTransformer {
    /// Fits labels 0 and 1.
    ///
    /// # Errors
    /// Where a setting makes no sense, numbers do not fit together, or the loss is no number any more.
    pub fn fit<'a>(
        features: impl Into<Features<'a>>,
        target: &Target,
        config: &Config,
        seed: u64,
    ) -> Result<Self, ModelError> {
        config.check()?;
        let features = features.into();
        features.check()?;
        let columns = features.columns;
        if target.labels.len() != columns.rows() {
            let fault = format!("{} labels for {} rows", target.labels.len(), columns.rows());
            return Err(misfit(NAME, fault));
        }
        let stream = Stream::new(seed);
        let tokenizer = Tokenizer::fit(features, config.bins)?;
        let (network, parameters) = Network::new(config, &tokenizer, stream.child(0));
        let parts = (&network, parameters);
        let parameters = training::train(parts, &tokenizer, (columns, target), config, stream.child(1))?;
        let mean = tokenizer.mean(columns);
        Ok(Self { config: config.clone(), tokenizer, network, parameters, mean })
    }

    /// The log-odds of each row.
    ///
    /// # Panics
    /// Where there are not as many columns as features.
    pub fn margins(&self, columns: Columns) -> Vec<f64> {
        assert_eq!(columns.values.len(), self.width(), "a column for each feature");
        let rows: Vec<usize> = (0..columns.rows()).collect();
        let scored = rows.par_chunks(TOGETHER).map_init(Space::default, |space, rows| {
            space.clear();
            let again = rows.last().into_iter().cycle().take(AT_LEAST.saturating_sub(rows.len()));
            rows.iter().chain(again).for_each(|row| {
                self.tokenizer.encode(|feature| columns.values[feature][*row], &mut space.tokens);
            });
            self.network.forward(self.parameters.values(), None, space);
            let logits = space.logits.iter().take(rows.len());
            logits.map(|logit| f64::from(*logit)).collect::<Vec<f64>>()
        });
        scored.collect::<Vec<_>>().concat()
    }

    /// What each number of a row adds to the score, against the mean training row. Of a vector's numbers the first bears what
    /// all of them add.
    pub fn contributions(&self, row: &[f64]) -> Contributions {
        let value = |feature: usize| row.get(feature).copied().unwrap_or(f64::NAN);
        let nodes = gauss_legendre(NODES);
        let mut space = Space::default();
        space.clear();
        // The last two are the mean and the row themselves, between which gradients are taken.
        let shares = nodes.iter().map(|node| node.0 as f32).chain([0.0, 1.0]);
        shares.for_each(|share| self.tokenizer.between(&self.mean, value, share, &mut space.tokens));
        let values = self.parameters.values();
        self.network.forward(values, None, &mut space);
        space.gradients.resize(values.len(), 0.0);
        space.d_logits.clear();
        space.d_logits.extend(nodes.iter().map(|node| node.1 as f32).chain([0.0; 2]));
        self.network.backward(values, None, &mut space);
        let width = self.config.hidden_size;
        let tokens = self.tokenizer.tokens();
        let all = (tokens + 1) * width;
        let x = self.network.inputs(&space);
        let (from, to) = (&x[NODES * all..][..all], &x[(NODES + 1) * all..][..all]);
        let mut features = vec![0.0; self.width()];
        for d in space.d.chunks_exact(all).take(NODES) {
            for token in 0..tokens {
                let range = (token + 1) * width..(token + 2) * width;
                let moved = to[range.clone()].iter().zip(&from[range.clone()]);
                let along = moved.zip(&d[range]).map(|((to, from), d)| f64::from(to - from) * f64::from(*d));
                features[self.tokenizer.column(token)] += along.sum::<f64>();
            }
        }
        Contributions { expected: f64::from(space.logits[NODES]), features }
    }

    /// Numbers of a row.
    pub fn width(&self) -> usize {
        self.tokenizer.width()
    }

    /// Puts it into a file.
    pub fn save(&self, file: &mut TensorFile, prefix: &str) {
        // Settings are plain numbers, which JSON always takes; without them loading says so.
        let config = serde_json::to_string(&self.config).unwrap_or_default();
        file.settings.insert(format!("{prefix}config"), config);
        self.tokenizer.save(file, prefix);
        self.parameters.put(file, prefix, self.parameters.values());
        file.put_f32(&format!("{prefix}mean"), &[self.mean.len()], self.mean.clone());
    }

    /// Reads it back.
    ///
    /// # Errors
    /// Where a part is missing or they do not fit together.
    pub fn load(file: &TensorFile, prefix: &str) -> Result<Self, ModelError> {
        let text = file.settings.get(&format!("{prefix}config"));
        let text = text.ok_or_else(|| misfit(NAME, "its settings are missing"))?;
        let config: Config = serde_json::from_str(text)
            .map_err(|fault| misfit(NAME, format!("its settings cannot be read: {fault}")))?;
        config.check()?;
        let tokenizer = Tokenizer::load(file, prefix)?;
        // Before anything is made in the size that the settings ask for.
        let table = file.f32(&format!("{prefix}tokens.weight"))?.len();
        if table != tokenizer.rows() * config.hidden_size {
            return Err(misfit(NAME, "its tokens are not those of its features"));
        }
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        check_layers(NAME, file, (config.num_hidden_layers, 4 * width * width + 2 * width * inner))?;
        let (network, mut parameters) = Network::new(&config, &tokenizer, Stream::new(0));
        let mut values = vec![0.0; parameters.len()];
        parameters.take(file, prefix, &mut values)?;
        parameters.values_mut().copy_from_slice(&values);
        let mean = file.f32(&format!("{prefix}mean"))?.to_vec();
        if mean.len() != tokenizer.rows() || !mean.iter().all(|count| count.is_finite()) {
            return Err(misfit(NAME, "its mean row is not of its features"));
        }
        Ok(Self { config, tokenizer, network, parameters, mean })
    }
}

/// Nodes and weights of Gauss–Legendre quadrature over 0 to 1 (Newton's method on the Legendre polynomial).
fn gauss_legendre(count: usize) -> Vec<(f64, f64)> {
    let node = |number: usize| {
        let n = count as f64;
        let mut x = (std::f64::consts::PI * (number as f64 + 0.75) / (n + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..100 {
            let (mut before, mut now) = (1.0, x);
            for degree in 2..=count {
                let degree = degree as f64;
                (before, now) = (now, ((2.0 * degree - 1.0) * x * now - (degree - 1.0) * before) / degree);
            }
            slope = n * (x * now - before) / (x * x - 1.0);
            let step = now / slope;
            x -= step;
            if step.abs() < 1e-15 {
                break;
            }
        }
        ((1.0 + x) / 2.0, 1.0 / ((1.0 - x * x) * slope * slope))
    };
    (0..count).map(node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize) -> (Vec<Vec<f64>>, Vec<f32>) {
        let stream = Stream::new(5);
        let number = |row: usize, column: u64| stream.child(column).below(row as u64, 1000) as f64 / 1000.0;
        let mut columns: Vec<Vec<f64>> =
            (0..3).map(|column| (0..count).map(|row| number(row, column)).collect()).collect();
        columns.push((0..count).map(|row| (row % 4) as f64).collect());
        columns[2].iter_mut().step_by(3).for_each(|value| *value = f64::NAN);
        // A product and a category decide: neither alone says it.
        let label = |row: usize| {
            let product = (columns[0][row] - 0.5) * (columns[1][row] - 0.5);
            f32::from(u8::from((product > 0.0) == (columns[3][row] < 2.0)))
        };
        let labels = (0..count).map(label).collect();
        (columns, labels)
    }

    fn small() -> Config {
        Config { hidden_size: 16, batch_size: 64, epochs: 20, learning_rate: 3e-3, ..Config::default() }
    }

    const CATEGORICAL: &[bool] = &[false, false, false, true];

    #[test]
    fn features_that_say_something_only_together_are_learned() {
        let (values, labels) = rows(3000);
        let columns = Columns { values: &values, categorical: CATEGORICAL };
        let model = FeatureTransformer::fit(columns, &Target::new(&labels), &small(), 1).unwrap();
        let margins = model.margins(columns);
        let right =
            margins.iter().zip(&labels).filter(|(margin, label)| (**margin > 0.0) == (**label > 0.5)).count();
        assert!(right > 2700, "{right} of 3000");
        let mut file = TensorFile::default();
        model.save(&mut file, "attention.");
        let read = FeatureTransformer::load(&file, "attention.").unwrap();
        assert_eq!((&read, read.margins(columns)), (&model, margins.clone()));
        for row in [0, 7, 1999] {
            let values: Vec<f64> = values.iter().map(|column| column[row]).collect();
            let found = model.contributions(&values);
            let sum = found.expected + found.features.iter().sum::<f64>();
            assert!((sum - margins[row]).abs() < 1e-2, "{sum} {}", margins[row]);
            assert!(found.features[2].abs() < found.features[0].abs().max(found.features[3].abs()));
        }
    }

    #[test]
    fn a_row_has_one_score_whatever_is_scored_with_it() {
        let (values, labels) = rows(200);
        let columns = Columns { values: &values, categorical: CATEGORICAL };
        for hidden_size in [16, 48, 192] {
            let config = Config { epochs: 1, hidden_size, ..small() };
            let model = FeatureTransformer::fit(columns, &Target::new(&labels), &config, 1).unwrap();
            let all = model.margins(columns);
            for (count, row) in [1, 2, 3, 7, 8, 65].into_iter().flat_map(|count| [(count, 0), (count, 99)]) {
                let some: Vec<Vec<f64>> =
                    values.iter().map(|column| column[row..row + count].to_vec()).collect();
                let own = model.margins(Columns { values: &some, categorical: CATEGORICAL });
                assert_eq!(own, all[row..row + count], "{hidden_size}: {count} from {row}");
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
        let (values, labels) = rows(300);
        let columns = Columns { values: &values, categorical: CATEGORICAL };
        let config = Config { epochs: 2, ..small() };
        let fit = |threads: usize, seed: u64| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| FeatureTransformer::fit(columns, &Target::new(&labels), &config, seed).unwrap())
        };
        assert_eq!(fit(1, 3), fit(3, 3));
        assert_ne!(fit(1, 3), fit(1, 4));
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let (values, labels) = rows(12);
        let columns = Columns { values: &values, categorical: CATEGORICAL };
        let config = Config { hidden_size: 8, num_attention_heads: 2, intermediate_size: 8, ..small() };
        // The first two numbers are a vector.
        let tokenizer =
            Tokenizer::fit(Features { columns, vectors: std::slice::from_ref(&(0..2)) }, 4).unwrap();
        let (network, mut parameters) = Network::new(&config, &tokenizer, Stream::new(2));
        let mut space = Space::default();
        space.clear();
        (0..12).for_each(|row| tokenizer.encode(|feature| values[feature][row], &mut space.tokens));
        let mut loss = |parameters: &[f32]| -> f64 {
            network.forward(parameters, None, &mut space);
            space.logits.iter().zip(&labels).map(|(z, y)| f64::from(z * y)).sum()
        };
        let at: Vec<usize> = (0..parameters.len()).step_by(7).collect();
        let step = 1e-2;
        let found: Vec<f64> = at
            .iter()
            .map(|place| {
                let mut moved = |by: f32| {
                    parameters.values_mut()[*place] += by;
                    let loss = loss(parameters.values());
                    parameters.values_mut()[*place] -= by;
                    loss
                };
                (moved(step) - moved(-step)) / (2.0 * f64::from(step))
            })
            .collect();
        network.forward(parameters.values(), None, &mut space);
        space.gradients = vec![0.0; parameters.len()];
        space.d_logits = labels.clone();
        network.backward(parameters.values(), None, &mut space);
        for (place, found) in at.into_iter().zip(found) {
            let own = f64::from(space.gradients[place]);
            assert!((own - found).abs() < 2e-3 + 0.02 * found.abs(), "{place}: {own} {found}");
        }
    }

    #[test]
    fn a_vector_is_learned_from_as_a_whole_and_explained_as_one() {
        let mut values = vec![vec![0.0; 1200]; 6];
        let mut noise = vec![0.0; 6 * 1200];
        Stream::new(8).fill_normal(&mut noise, 1.0);
        for (column, noise) in values.iter_mut().zip(noise.chunks_exact(1200)) {
            column.iter_mut().zip(noise).for_each(|(value, noise)| *value = f64::from(*noise));
        }
        // Only the sum of the vector's numbers says it.
        let labels: Vec<f32> = (0..1200)
            .map(|row| f32::from(u8::from(values[1..5].iter().map(|column| column[row]).sum::<f64>() > 0.0)))
            .collect();
        values[2][5] = f64::NAN;
        let columns = Columns::numbers(&values);
        let features = Features { columns, vectors: std::slice::from_ref(&(1..5)) };
        let model = FeatureTransformer::fit(features, &Target::new(&labels), &small(), 1).unwrap();
        assert_eq!((model.width(), model.tokenizer.tokens()), (6, 3));
        let margins = model.margins(columns);
        let right = margins.iter().zip(&labels).filter(|(margin, label)| (**margin > 0.0) == (**label > 0.5));
        let right = right.count();
        assert!(right > 1100, "{right} of 1200");
        let mut file = TensorFile::default();
        model.save(&mut file, "attention.");
        assert_eq!(FeatureTransformer::load(&file, "attention.").unwrap(), model);
        for row in [0, 5, 700] {
            let found = model.contributions(&values.iter().map(|column| column[row]).collect::<Vec<f64>>());
            let sum = found.expected + found.features.iter().sum::<f64>();
            assert!((sum - margins[row]).abs() < 1e-2, "{sum} {}", margins[row]);
            assert_eq!(found.features[2..5], [0.0; 3], "the first bears it");
        }
    }

    #[test]
    fn nodes_integrate_polynomials_exactly() {
        let nodes = gauss_legendre(NODES);
        for power in [0, 1, 5, 40] {
            let sum: f64 = nodes.iter().map(|(x, weight)| weight * x.powi(power)).sum();
            assert!((sum - 1.0 / f64::from(power + 1)).abs() < 1e-12, "{power}: {sum}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let (values, labels) = rows(20);
        let columns = Columns { values: &values, categorical: CATEGORICAL };
        let fit = |config: &Config, labels: &[f32]| {
            FeatureTransformer::fit(columns, &Target::new(labels), config, 1).unwrap_err().to_string()
        };
        assert!(
            fit(&Config { num_attention_heads: 5, ..small() }, &labels).contains("num_attention_heads = 5")
        );
        assert!(fit(&Config { bins: 0, ..small() }, &labels).contains("bins = 0"));
        assert!(fit(&Config { focal_gamma: -1.0, ..small() }, &labels).contains("focal_gamma"));
        assert!(fit(&small(), &labels[1..]).contains("19 labels for 20 rows"));
        assert!(fit(&Config { epochs: 0, ..small() }, &labels).contains("epochs = 0"));
        let config = Config { epochs: 1, ..small() };
        let model = FeatureTransformer::fit(columns, &Target::new(&labels), &config, 1).unwrap();
        let mut whole = TensorFile::default();
        model.save(&mut whole, "");
        for (name, tensor) in whole.tensors.clone() {
            let mut cut = whole.clone();
            cut.tensors.remove(&name);
            assert!(FeatureTransformer::load(&cut, "").is_err(), "{name}");
            cut.tensors.insert(name, tensor);
        }
        let mut other = whole.clone();
        let wide = serde_json::to_string(&Config { hidden_size: 1024, ..small() }).unwrap();
        other.settings.insert("config".to_owned(), wide);
        assert!(FeatureTransformer::load(&other, "").unwrap_err().to_string().contains("tokens"));
        let deep = Config { num_hidden_layers: 64, intermediate_size: 65_536, ..small() };
        other.settings.insert("config".to_owned(), serde_json::to_string(&deep).unwrap());
        let fault = FeatureTransformer::load(&other, "").unwrap_err().to_string();
        assert!(fault.contains("want 64 layers of 2098176 weights"), "{fault}");
    }
}
