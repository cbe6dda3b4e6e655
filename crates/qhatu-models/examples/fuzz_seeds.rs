//! Writes a small file of each model into `fuzz/corpus/tensors`, where the fuzzer begins:
//!
//! ```text
//! cargo run -p qhatu-models --example fuzz_seeds
//! ```
//!
//! Six items, eight shoppers and forty days, so that files stay small enough to be changed in every place.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use qhatu_models::{
    Interactions, ModelError, Purchase, Recommender, Vocabulary, bert4rec, blend, decayed_markov, ease,
    gru4rec, item_knn, lambda_mart, own_frequency, popularity, recent_popularity, sasrec, text_neighbours,
    vmis_knn, vstan,
};
use qhatu_schema::{ItemId, ItemIdx};

const DAY: i64 = 86_400_000;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/tensors");
    fs::create_dir_all(&folder)?;
    let data = shop();
    for model in models(&data)? {
        fs::write(folder.join(model.name()), model.save().to_bytes()?)?;
    }
    Ok(())
}

fn shop() -> Interactions {
    let mut lines = Vec::new();
    for user in 0..8 {
        for order in 0..10 {
            let item = ItemIdx(1 + (user + order * order) % 6);
            lines.push(Purchase { time: DAY * i64::from(4 * order), user, order: user * 10 + order, item });
        }
    }
    let names = (1..=6).filter_map(|number| ItemId::new(format!("i{number}")).ok());
    Interactions::from_purchases(Arc::new(Vocabulary::new(names)), &lines, 40 * DAY)
}

fn models(data: &Interactions) -> Result<Vec<Box<dyn Recommender>>, ModelError> {
    let mut short = blend::Config { horizon_days: 5.0, ..blend::Config::default() };
    (short.trees.rounds, short.trees.min_rows_in_leaf) = (3, 1);
    let mut small = sasrec::Config { hidden_size: 4, num_hidden_layers: 1, ..sasrec::Config::default() };
    (small.intermediate_size, small.max_length, small.epochs, small.validation_days) = (4, 8, 1, 10.0);
    let mut recurrent = gru4rec::Config { hidden_size: 4, max_length: 8, ..gru4rec::Config::default() };
    (recurrent.epochs, recurrent.validation_days) = (1, 10.0);
    let mut hidden = bert4rec::Config { hidden_size: 4, num_hidden_layers: 1, ..bert4rec::Config::default() };
    (hidden.intermediate_size, hidden.max_length, hidden.epochs, hidden.validation_days) = (4, 8, 1, 10.0);
    let models = vec![popularity::NAME.to_owned()];
    let mut sorted = lambda_mart::Config { models, held_out_days: 30.0, ..lambda_mart::Config::default() };
    (sorted.trees.rounds, sorted.trees.growth.min_rows_in_leaf) = (3, 1);
    let titles = text_neighbours::ItemVectors { width: 2, values: vec![0.5; 2 * data.items()] };
    Ok(vec![
        Box::new(popularity::Popularity::fit(data, &popularity::Config::default())),
        Box::new(recent_popularity::RecentPopularity::fit(data, &recent_popularity::Config::default())),
        Box::new(own_frequency::OwnFrequency::fit(data, &own_frequency::Config::default())),
        Box::new(decayed_markov::DecayedMarkov::fit(data, &decayed_markov::Config::default())),
        Box::new(item_knn::ItemKnn::fit(data, &item_knn::Config::default())),
        Box::new(ease::Ease::fit(data, &ease::Config::default())?),
        Box::new(vmis_knn::VmisKnn::fit(data, &vmis_knn::Config::default())?),
        Box::new(vstan::Vstan::fit(data, &vstan::Config::default())?),
        Box::new(text_neighbours::TextNeighbours::fit(data, titles, &text_neighbours::Config::default())?),
        Box::new(blend::Blend::fit(data, &short, 1)?),
        Box::new(lambda_mart::LambdaMart::fit(data, &sorted, 1, |_, data| {
            Ok::<_, ModelError>(Box::new(popularity::Popularity::fit(data, &popularity::Config::default())))
        })?),
        Box::new(sasrec::SasRec::fit(data, &small, 1)?),
        Box::new(gru4rec::Gru4Rec::fit(data, &recurrent, 1)?),
        Box::new(bert4rec::Bert4Rec::fit(data, &hidden, 1)?),
    ])
}
