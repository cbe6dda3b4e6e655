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

use qhatu_models::calibration::Calibration;
use qhatu_models::principal_components::PrincipalComponents;
use qhatu_models::propensity::{self, Classifier, Kind, Propensity};
use qhatu_models::sequence::Steps;
use qhatu_models::trees::{Columns, Target};
use qhatu_models::{
    Deed, FoldAsked, FoldColumn, FoldMoment, FoldNow, FoldPast, Interactions, Journey, ModelError, Purchase,
    Recommender, Stream, TensorFile, Vocabulary, als, bert4rec, blend, decayed_markov, department_popularity,
    ease, gru4rec, item_knn, lambda_mart, own_frequency, popularity, recent_popularity, sasrec,
    text_neighbours, vmis_knn, vstan,
};
use qhatu_schema::{Department, EventKind, ItemId, ItemIdx};

const DAY: i64 = 86_400_000;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/tensors");
    fs::create_dir_all(&folder)?;
    let data = shop();
    for model in models(&data)? {
        fs::write(folder.join(model.name()), model.save().to_bytes()?)?;
    }
    fs::write(folder.join("lambda_mart_fold"), told(&data)?.save().to_bytes()?)?;
    fs::write(folder.join("sasrec_acts"), acts(data)?.save().to_bytes()?)?;
    let vectors: [f32; 12] = [1.0, 0.0, 2.0, 0.5, 1.5, 0.0, 1.0, 1.0, 0.0, 2.0, 1.0, 1.0];
    let mut map = TensorFile::default();
    PrincipalComponents::fit(&vectors, 3, &[1, 2, 1, 1], 2, Stream::new(1)).save(&mut map, "text.");
    fs::write(folder.join("principal_components"), map.to_bytes()?)?;
    for (name, model) in propensities()? {
        fs::write(folder.join(format!("propensity_{name}")), model.save().to_bytes()?)?;
    }
    Ok(())
}

/// A number, a category and a gap now and then.
fn propensities() -> Result<Vec<(&'static str, Propensity)>, ModelError> {
    let number = (0..40).map(|row| if row % 7 == 0 { f64::NAN } else { f64::from(row) }).collect();
    let columns: [Vec<f64>; 2] = [number, (0..40).map(|row| f64::from(row % 3)).collect()];
    let labels: Vec<f32> = (0..40).map(|row| f32::from(u8::from(row % 3 == 1 || row > 30))).collect();
    let kinds = [
        ("boosting", Kind::Boosting),
        ("forest", Kind::Forest),
        ("logistic", Kind::Logistic),
        ("attention", Kind::Attention),
        ("ensemble", Kind::Ensemble),
    ];
    let fit = |(name, kind)| {
        let mut config = propensity::Config { kind, ..Default::default() };
        (config.boosting.rounds, config.boosting.growth.min_rows_in_leaf, config.forest.trees) = (3, 1, 3);
        let attention = &mut config.attention;
        (attention.hidden_size, attention.intermediate_size, attention.num_attention_heads) = (4, 4, 2);
        (attention.num_hidden_layers, attention.bins, attention.epochs) = (1, 3, 1);
        let filled = columns
            .each_ref()
            .map(|column| column.iter().map(|v| if v.is_nan() { 0.0 } else { *v }).collect());
        let values: &[Vec<f64>] = if kind == Kind::Logistic { &filled } else { &columns };
        let categorical: &[bool] = if kind == Kind::Logistic { &[] } else { &[false, true] };
        let columns = Columns { values, categorical };
        let classifier = Classifier::fit(columns, &Target::new(&labels), &config, 1)?;
        let names = ["number", "kind"].map(str::to_owned).to_vec();
        Ok((name, Propensity { classifier, calibration: Calibration::None, threshold: 0.5, names }))
    };
    kinds.into_iter().map(fit).collect()
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
    let data = Interactions::from_purchases(Arc::new(Vocabulary::new(names)), &lines, 40 * DAY);
    // Of every third shopper nobody knows where they live.
    data.with_departments(Arc::new((0..8).map(|user| Department::try_from(user % 3).ok()).collect()))
}

/// One that is told what was done with each item.
fn acts(mut data: Interactions) -> Result<sasrec::SasRec, ModelError> {
    let journey = |own: &qhatu_models::Sequence| {
        let lines = own.items.iter().zip(&own.times).zip(&own.orders);
        let deed = |((item, time), order): ((&ItemIdx, &i64), &u32)| Deed {
            time: *time,
            item: *item,
            order: *order,
            kind: if order % 2 == 0 { EventKind::AddToCart } else { EventKind::Purchase },
        };
        Journey { user: Some(own.user), deeds: lines.map(deed).collect() }
    };
    let journeys = data.sequences.iter().map(journey).collect();
    data = data.with_journeys(Arc::new(journeys));
    let mut small = sasrec::Config { hidden_size: 4, num_hidden_layers: 1, ..sasrec::Config::default() };
    (small.intermediate_size, small.max_length, small.epochs, small.validation_days) = (4, 8, 1, 10.0);
    (small.steps, small.inputs.event_kind) = (Steps::Items, true);
    sasrec::SasRec::fit(&data, &small, 1)
}

/// Says of each item its number.
#[derive(Debug)]
struct Numbers;

impl FoldNow for Numbers {
    fn rows(&self, items: &[ItemIdx]) -> Vec<f32> {
        items.iter().map(|item| item.0 as f32).collect()
    }
}

impl FoldPast for Numbers {
    fn columns(&self, _: &[String]) -> Result<Vec<FoldColumn>, ModelError> {
        Ok(vec![FoldColumn { name: "number".to_owned(), definition: "{}".to_owned() }])
    }

    fn replay(
        &self,
        _: &[FoldColumn],
        asked: &[FoldAsked],
        show: &mut dyn FnMut(&FoldMoment<'_>),
    ) -> Result<(), ModelError> {
        (0..asked.len()).for_each(|place| show(&[(place, self)]));
        Ok(())
    }
}

/// One that is told of a feature.
fn told(data: &Interactions) -> Result<lambda_mart::LambdaMart, ModelError> {
    let models = vec![popularity::NAME.to_owned()];
    let mut sorted = lambda_mart::Config { models, held_out_days: 30.0, ..lambda_mart::Config::default() };
    (sorted.trees.rounds, sorted.trees.growth.min_rows_in_leaf) = (3, 1);
    lambda_mart::LambdaMart::fit(&data.clone().with_fold(Some(Arc::new(Numbers))), &sorted, 1, |_, data| {
        Ok::<_, ModelError>(Box::new(popularity::Popularity::fit(data, &popularity::Config::default())))
    })
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
    let few = als::Config { factors: 4, ..als::Config::default() };
    let titles = text_neighbours::ItemVectors { width: 2, values: vec![0.5; 2 * data.items()] };
    Ok(vec![
        Box::new(popularity::Popularity::fit(data, &popularity::Config::default())),
        Box::new(recent_popularity::RecentPopularity::fit(data, &recent_popularity::Config::default())),
        Box::new(department_popularity::DepartmentPopularity::fit(
            data,
            &department_popularity::Config::default(),
        )?),
        Box::new(own_frequency::OwnFrequency::fit(data, &own_frequency::Config::default())),
        Box::new(decayed_markov::DecayedMarkov::fit(data, &decayed_markov::Config::default())),
        Box::new(item_knn::ItemKnn::fit(data, &item_knn::Config::default())),
        Box::new(ease::Ease::fit(data, &ease::Config::default())?),
        Box::new(als::Als::fit(data, &few, 1)?),
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
