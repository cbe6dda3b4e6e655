//! A model's name and settings become a fitted model.

use std::ops::ControlFlow;
use std::path::Path;

use qhatu_models::als::Als;
use qhatu_models::bert4rec::Bert4Rec;
use qhatu_models::blend::Blend;
use qhatu_models::decayed_markov::DecayedMarkov;
use qhatu_models::department_popularity::DepartmentPopularity;
use qhatu_models::ease::Ease;
use qhatu_models::gru4rec::Gru4Rec;
use qhatu_models::item_knn::ItemKnn;
use qhatu_models::lambda_mart::LambdaMart;
use qhatu_models::own_frequency::OwnFrequency;
use qhatu_models::popularity::{self, Popularity};
use qhatu_models::recent_popularity::RecentPopularity;
use qhatu_models::sasrec::SasRec;
use qhatu_models::sequence::{Context, Progress};
use qhatu_models::text_neighbours::{self, TextNeighbours};
use qhatu_models::vmis_knn::VmisKnn;
use qhatu_models::vstan::Vstan;
use qhatu_models::{Interactions, Recommender};
use serde_json::{Value, json};

use crate::config::{LEARNED, TrainConfig};
use crate::error::TrainError;
use crate::pipeline::Step;

/// Fits the model of a name. One that takes many epochs
/// keeps a checkpoint in the file given, goes on from it, and tells how far it is.
pub(crate) fn fit(
    name: &str,
    data: &Interactions,
    config: &TrainConfig,
    checkpoint: Option<&Path>,
    show: &mut dyn FnMut(Step),
) -> Result<Box<dyn Recommender>, TrainError> {
    Ok(match name {
        "popularity" => Box::new(Popularity::fit(data, &popularity::Config {})),
        "recent_popularity" => Box::new(RecentPopularity::fit(data, &config.recent_popularity)),
        "department_popularity" => Box::new(DepartmentPopularity::fit(data, &config.department_popularity)?),
        "own_frequency" => Box::new(OwnFrequency::fit(data, &config.own_frequency)),
        "decayed_markov" => Box::new(DecayedMarkov::fit(data, &config.decayed_markov)),
        "item_knn" => Box::new(ItemKnn::fit(data, &config.item_knn)),
        "ease" => Box::new(Ease::fit(data, &config.ease)?),
        "als" => Box::new(Als::fit(data, &config.als, config.seed)?),
        "text_neighbours" => {
            let vectors = data.sides.text.clone().ok_or(TrainError::NoItemVectors)?;
            let history_half_life_days = config.text_neighbours.history_half_life_days;
            let own = text_neighbours::Config { history_half_life_days };
            Box::new(TextNeighbours::fit(data, vectors, &own)?)
        }
        "vmis_knn" => Box::new(VmisKnn::fit(data, &config.vmis_knn)?),
        "vstan" => Box::new(Vstan::fit(data, &config.vstan)?),
        "lambda_mart" => {
            let part = |name: &str, data: &Interactions| fit(name, data, config, None, show);
            Box::new(LambdaMart::fit(data, &config.lambda_mart, config.seed, part)?)
        }
        "blend" => Box::new(Blend::fit(data, &config.blend, config.seed)?),
        "gru4rec" | "bert4rec" | "sasrec" => fit_sequence(name, data, config, checkpoint, show)?,
        name => return Err(crate::config::unknown(name)),
    })
}

/// Whether a model of a name depends on the seed.
pub(crate) fn is_seeded(name: &str) -> bool {
    name == "als" || LEARNED.contains(&name)
}

/// The models that are learned in epochs.
fn fit_sequence(
    name: &str,
    data: &Interactions,
    config: &TrainConfig,
    checkpoint: Option<&Path>,
    show: &mut dyn FnMut(Step),
) -> Result<Box<dyn Recommender>, TrainError> {
    let progress = &mut |now: &Progress| {
        show(Step::Epoch(name.to_owned(), *now));
        ControlFlow::Continue(())
    };
    let context = &mut Context { checkpoint, progress };
    let seed = config.seed;
    Ok(match name {
        "gru4rec" => Box::new(Gru4Rec::fit_with(data, &config.gru4rec, seed, context)?),
        "bert4rec" => Box::new(Bert4Rec::fit_with(data, &config.bert4rec, seed, context)?),
        _ => Box::new(SasRec::fit_with(data, &config.sasrec, seed, context)?),
    })
}

/// The settings of the model of a name, as the registry keeps them.
pub(crate) fn settings(name: &str, config: &TrainConfig) -> Value {
    match name {
        "recent_popularity" => json!(config.recent_popularity),
        "department_popularity" => json!(config.department_popularity),
        "own_frequency" => json!(config.own_frequency),
        "decayed_markov" => json!(config.decayed_markov),
        "item_knn" => json!(config.item_knn),
        "ease" => json!(config.ease),
        "als" => json!(config.als),
        "text_neighbours" => json!(config.text_neighbours),
        "vmis_knn" => json!(config.vmis_knn),
        "vstan" => json!(config.vstan),
        "lambda_mart" => json!(config.lambda_mart),
        "blend" => json!(config.blend),
        "gru4rec" => json!(config.gru4rec),
        "bert4rec" => json!(config.bert4rec),
        "sasrec" => json!(config.sasrec),
        _ => json!({}),
    }
}

/// The same with those of the models that it is made of, and how what it reads of the items was made: what the fitted
/// model depends on.
pub(crate) fn whole_settings(name: &str, config: &TrainConfig) -> Value {
    let mut own = settings(name, config);
    if name == "lambda_mart" {
        let parts = config.lambda_mart.models.iter();
        own["parts"] = parts.map(|part| (part.clone(), whole_settings(part, config))).collect();
    }
    if config.item_inputs(name).is_some_and(|inputs| inputs.has_sides()) {
        own["item_sides"] = json!(config.item_sides);
    }
    own
}
