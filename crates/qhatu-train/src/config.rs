//! `[train]`: what is fitted, on what, and how it is judged.

use qhatu_models::sequence::Inputs;
use qhatu_models::{
    als, bert4rec, blend, decayed_markov, department_popularity, ease, gru4rec, item_knn, lambda_mart,
    own_frequency, recent_popularity, sasrec, text_neighbours, vmis_knn, vstan,
};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::search::SearchConfig;

/// Every model that purchases suffice for, in the order of the report: baselines first, learned ones last.
pub const MODELS: [&str; 14] = [
    "popularity",
    "recent_popularity",
    "own_frequency",
    "decayed_markov",
    "item_knn",
    "ease",
    "als",
    "vmis_knn",
    "vstan",
    "gru4rec",
    "bert4rec",
    "sasrec",
    "lambda_mart",
    "blend",
];

/// Those that are fitted only where they are asked for: for comparison with `ease` and `sasrec`, and `vstan` for shops that
/// record visits, whose order says more than that of purchases; `lambda_mart` for those whose models say different things.
pub const ON_DEMAND: [&str; 5] = ["als", "vstan", "gru4rec", "bert4rec", "lambda_mart"];

/// Models that are fitted when they are named, for they need more than purchases: titles, or where shoppers live.
pub const OPTIONAL: [&str; 2] = ["text_neighbours", "department_popularity"];

/// The models that are learned; the others are the baselines that these must beat.
pub const LEARNED: [&str; 5] = ["gru4rec", "bert4rec", "sasrec", "lambda_mart", "blend"];

/// How the test set is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// The last `test_days` days, for everyone at once: what a shop would have seen.
    #[default]
    Time,
    /// The last order of each shopper: for comparison with papers.
    LeaveOneOut,
}

/// The section `[train.text_neighbours]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextNeighboursConfig {
    /// The folder of the text model whose vectors of titles are used, relative to the project.
    pub model: String,
    /// Days after which a purchase of the history counts half; 0: it never fades.
    pub history_half_life_days: f64,
}

impl Default for TextNeighboursConfig {
    fn default() -> Self {
        let text_neighbours::Config { history_half_life_days } = text_neighbours::Config::default();
        Self { model: String::new(), history_half_life_days }
    }
}

/// The section `[train.item_sides]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ItemSidesConfig {
    /// Numbers of a title's vector where no text model makes it.
    pub latent_width: usize,
    /// How many bands of equally many items prices are put into.
    pub price_bands: usize,
}

impl Default for ItemSidesConfig {
    fn default() -> Self {
        Self { latent_width: 128, price_bands: 10 }
    }
}

/// The section `[train]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Seed of everything random.
    pub seed: u64,
    /// The models to fit, by name.
    pub models: Vec<String>,
    /// How the test set is cut off.
    pub split: Split,
    /// Days at the end of the data that judge the models (split `time`).
    pub test_days: u32,
    /// Length of the judged lists.
    pub k: usize,
    /// Resamples of the bootstrap intervals.
    pub bootstrap_samples: usize,
    /// Whether the winner is fitted again on all data, the test window included, before it is registered.
    pub refit: bool,
    /// How `qhatu train --search` looks for settings.
    pub search: SearchConfig,
    /// Hyper-parameters of recent popularity.
    pub recent_popularity: recent_popularity::Config,
    /// Hyper-parameters of popularity by department.
    pub department_popularity: department_popularity::Config,
    /// Hyper-parameters of own frequency.
    pub own_frequency: own_frequency::Config,
    /// Hyper-parameters of the decayed Markov model.
    pub decayed_markov: decayed_markov::Config,
    /// Hyper-parameters of item-kNN.
    pub item_knn: item_knn::Config,
    /// Hyper-parameters of EASE.
    pub ease: ease::Config,
    /// Hyper-parameters of ALS.
    pub als: als::Config,
    /// Hyper-parameters of session-kNN.
    pub vmis_knn: vmis_knn::Config,
    /// Hyper-parameters of session-kNN by place and time.
    pub vstan: vstan::Config,
    /// Hyper-parameters of the recurrent model.
    pub gru4rec: gru4rec::Config,
    /// Hyper-parameters of the model of hidden items.
    pub bert4rec: bert4rec::Config,
    /// How what the catalogue says of the items becomes numbers.
    pub item_sides: ItemSidesConfig,
    /// Where the text neighbours' vectors come from, and their hyper-parameters.
    pub text_neighbours: TextNeighboursConfig,
    /// Hyper-parameters of the attention model.
    pub sasrec: sasrec::Config,
    /// Which models' candidates are sorted by learned trees, and how.
    pub lambda_mart: lambda_mart::Config,
    /// Hyper-parameters of the blend.
    pub blend: blend::Config,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            seed: 42,
            models: MODELS.into_iter().filter(|name| !ON_DEMAND.contains(name)).map(str::to_owned).collect(),
            split: Split::Time,
            test_days: 28,
            k: 10,
            bootstrap_samples: 1000,
            refit: true,
            search: Default::default(),
            recent_popularity: Default::default(),
            department_popularity: Default::default(),
            own_frequency: Default::default(),
            decayed_markov: Default::default(),
            item_knn: Default::default(),
            ease: Default::default(),
            als: Default::default(),
            vmis_knn: Default::default(),
            vstan: Default::default(),
            gru4rec: Default::default(),
            bert4rec: Default::default(),
            item_sides: Default::default(),
            text_neighbours: Default::default(),
            sasrec: Default::default(),
            lambda_mart: Default::default(),
            blend: Default::default(),
        }
    }
}

impl TrainConfig {
    /// The models that are to be fitted, those that others are made of among them.
    pub fn fitted(&self) -> impl Iterator<Item = &str> {
        let is_mixed = self.models.iter().any(|name| name == "lambda_mart");
        let parts = self.lambda_mart.models.iter().filter(move |_| is_mixed);
        self.models.iter().chain(parts).map(String::as_str)
    }

    /// What a model wants to know of the items: a sequence model for its inputs and its augmentation, `lambda_mart` for its
    /// columns.
    pub(crate) fn item_inputs(&self, name: &str) -> Option<Inputs> {
        let (inputs, augmentation) = match name {
            "gru4rec" => (self.gru4rec.inputs, self.gru4rec.augmentation),
            "bert4rec" => (self.bert4rec.inputs, self.bert4rec.augmentation),
            "sasrec" => (self.sasrec.inputs, self.sasrec.augmentation),
            "lambda_mart" => {
                let (category, price_band) = (self.lambda_mart.category, self.lambda_mart.price_band);
                return Some(Inputs { category, price_band, ..Inputs::default() });
            }
            _ => return None,
        };
        Some(Inputs { text: inputs.text || augmentation.reads_texts(), ..inputs })
    }

    /// Checks what single values cannot: names, and numbers that must not be zero.
    ///
    /// # Errors
    /// The first setting that makes no sense.
    pub fn check(&self) -> Result<(), TrainError> {
        for (place, name) in self.models.iter().enumerate() {
            known(name)?;
            if self.models[..place].contains(name) {
                let (key, hint) = ("models", "each model is named once");
                return Err(TrainError::Setting { key, value: self.models.join(", "), hint });
            }
        }
        if self.models.is_empty() {
            let (key, hint) = ("models", "name at least one model");
            return Err(TrainError::Setting { key, value: "[]".to_owned(), hint });
        }
        self.lambda_mart.models.iter().try_for_each(|name| known(name))?;
        let zero = |key, hint| Err(TrainError::Setting { key, value: "0".to_owned(), hint });
        match self {
            Self { test_days: 0, .. } => zero("test_days", "at least one day must judge"),
            Self { k: 0, .. } => zero("k", "a list has at least one place"),
            Self { bootstrap_samples: 0, .. } => zero("bootstrap_samples", "an interval needs resamples"),
            Self { item_sides: ItemSidesConfig { latent_width: 0, .. }, .. } => {
                zero("item_sides.latent_width", "a vector has at least one number, such as 128")
            }
            Self { item_sides: ItemSidesConfig { price_bands: 0, .. }, .. } => {
                zero("item_sides.price_bands", "there is at least one band, such as 10")
            }
            _ => Ok(()),
        }
    }
}

/// Refuses a model's name that does not exist.
fn known(name: &str) -> Result<(), TrainError> {
    if MODELS.contains(&name) || OPTIONAL.contains(&name) { Ok(()) } else { Err(unknown(name)) }
}

pub(crate) fn unknown(name: &str) -> TrainError {
    TrainError::UnknownModel { name: name.to_owned(), known: [&MODELS[..], &OPTIONAL].concat().join(", ") }
}
