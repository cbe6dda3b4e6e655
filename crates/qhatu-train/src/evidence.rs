//! What the gate is shown: the winner and the champion judged on the same test, or, where there is no champion yet, the
//! gate's baseline.
//!
//! The champion is judged by the model that was judged when it was registered, not by the one that was then fitted again
//! on all data and serves: that one has seen part of what judges.

use std::sync::Arc;

use qhatu_eval::{Lists, judge, paired_difference};
use qhatu_models::saved;
use qhatu_registry::{Evidence, ModelVersion, Registry};
use qhatu_schema::ItemIdx;

use crate::error::TrainError;
use crate::judged::{Judged, lists};
use crate::pipeline::{JUDGED_FILE, Measured, catalogue, settings};

/// Compares the winner with whoever it must beat.
pub(crate) fn evidence(
    measured: &Measured,
    winner: &Judged,
    judged: &[Judged],
    registry: &Registry,
) -> Result<Evidence, TrainError> {
    let (target, _) = measured.gate_metric();
    let candidate = measured.figure(&winner.lists.name).unwrap_or(f64::NAN);
    let against = |champion: Option<u64>, name: String, lists: &Lists, reference: f64| {
        let settings = settings(measured.task.config);
        let gap = paired_difference(&winner.lists, lists, &measured.task.test.cases, &settings, target);
        Evidence { candidate, against: name, reference, interval: Some((gap.low, gap.high)), champion }
    };
    if let Some(champion) = registry.alias(&measured.place.model, "champion")? {
        let lists = champion_lists(measured, registry, &champion)?;
        let reference = alone(measured, &lists)?;
        let name = format!("champion v{} ({})", champion.version, champion.new.kind);
        return Ok(against(Some(champion.version), name, &lists, reference));
    }
    let baseline = measured.place.gate.baseline.as_str();
    match judged.iter().find(|judged| judged.lists.name == baseline) {
        Some(found) => {
            let reference = measured.figure(baseline).unwrap_or(f64::NAN);
            Ok(against(None, baseline.to_owned(), &found.lists, reference))
        }
        None => Err(no_baseline(&measured.task.config.models)),
    }
}

/// Without its baseline among the models the gate has nothing to hold a first champion against.
pub(crate) fn no_baseline(models: &[String]) -> TrainError {
    TrainError::Setting {
        key: "models",
        value: models.join(", "),
        hint: "the gate's baseline must be among them, for the first champion is held against it",
    }
}

/// The gate's figure of lists that are not in the report.
fn alone(measured: &Measured, lists: &Lists) -> Result<f64, TrainError> {
    let (target, metric) = measured.gate_metric();
    let report = judge(
        std::slice::from_ref(lists),
        &measured.task.test.cases,
        &catalogue(&measured.buyers, &measured.shares),
        &settings(measured.task.config),
    )?;
    let found = report.models.first().and_then(|model| model.targets.get(target)?.get(metric));
    Ok(found.map_or(f64::NAN, |estimate| estimate.mean))
}

/// The champion's lists for this test. Its items have numbers of their own; what the shop no longer sells becomes padding.
fn champion_lists(
    measured: &Measured,
    registry: &Registry,
    champion: &ModelVersion,
) -> Result<Lists, TrainError> {
    let artifact = registry.open(champion)?;
    let judged = artifact.files.get(JUDGED_FILE).or(artifact.files.get(saved::MODEL_FILE));
    let file = |name: &str| match name {
        saved::MODEL_FILE => judged.map(Vec::as_slice),
        name => artifact.files.get(name).map(Vec::as_slice),
    };
    let (vocabulary, model) = saved::from_files(file)?;
    let vocabulary = Arc::new(vocabulary);
    let own = &measured.task.data.vocabulary;
    let theirs =
        |item: &ItemIdx| own.item(*item).and_then(|id| vocabulary.idx(id)).unwrap_or(ItemIdx::PADDING);
    let ours: Vec<u32> = std::iter::once(0)
        .chain(vocabulary.items().iter().map(|id| own.idx(id).map_or(0, |idx| idx.0)))
        .collect();
    let mut translated = measured.task.test.clone();
    for shopper in &mut translated.shoppers {
        let (told, evidence) = (shopper.told.items.iter_mut(), shopper.evidence.items.iter_mut());
        shopper.items.iter_mut().chain(told).chain(evidence).for_each(|item| *item = theirs(item));
    }
    translated.train.fold = measured.task.data.fold(&vocabulary);
    let mut lists = lists("champion", &*model, &translated, measured.task.config.k)?;
    for list in lists.all.iter_mut().chain(&mut lists.new) {
        list.iter_mut().for_each(|item| *item = ours[*item as usize]);
    }
    Ok(lists)
}
