//! Fitted models and their lists for the test's shoppers; models of an interrupted training are taken up again.

use std::fs;
use std::path::Path;

use qhatu_eval::Lists;
use qhatu_models::{
    FoldAsked, FoldNow, FoldPast, History, ModelError, Recommender, TensorFile, load_model, top_k,
};
use qhatu_schema::{ItemIdx, UserIdx};
use qhatu_store::write_atomic;
use rayon::prelude::*;
use rustc_hash::FxHashSet;
use sha2::{Digest, Sha256};

use crate::config::{LEARNED, TrainConfig};
use crate::data::ShopData;
use crate::error::TrainError;
use crate::fit;
use crate::pipeline::Step;
use crate::split::{Asked, TestSet};

/// A fitted model with its lists.
pub(crate) struct Judged {
    pub(crate) model: Box<dyn Recommender>,
    pub(crate) lists: Lists,
}

/// What is fitted on what.
pub(crate) struct Task<'a> {
    pub(crate) data: &'a ShopData,
    pub(crate) test: &'a TestSet,
    pub(crate) config: &'a TrainConfig,
    /// Where fitted models are kept.
    pub(crate) work: &'a Path,
    /// The program that fits: another one starts anew.
    pub(crate) code_version: &'a str,
}

/// Told of each model when its fitting begins, and of how it failed.
pub(crate) trait Watch {
    fn begin(&mut self, name: &str) -> Result<(), TrainError>;
    fn failed(&mut self, name: &str, fault: &TrainError) -> Result<(), TrainError>;
}

/// Fits all models of the configuration, one after the other.
pub(crate) fn fit_all(
    task: &Task,
    watch: &mut dyn Watch,
    show: &mut dyn FnMut(Step),
) -> Result<Vec<Judged>, TrainError> {
    let mut judged = Vec::new();
    for (number, name) in task.config.models.iter().enumerate() {
        show(Step::Fit(name.clone(), number, task.config.models.len()));
        watch.begin(name)?;
        match judged_one(name, task, show) {
            Ok(one) => judged.push(one),
            Err(fault) => {
                watch.failed(name, &fault)?;
                return Err(fault);
            }
        }
    }
    Ok(judged)
}

fn judged_one(name: &str, task: &Task, show: &mut dyn FnMut(Step)) -> Result<Judged, TrainError> {
    let model = fit_or_load(name, task, show)?;
    let lists = lists(name, &*model, task.test, task.config.k)?;
    Ok(Judged { model, lists })
}

/// A model that an earlier training of the same data, split, settings and program fitted is loaded. Only the test's
/// training rows are given to a model; the rows that judge are not within its reach.
fn fit_or_load(
    name: &str,
    task: &Task,
    show: &mut dyn FnMut(Step),
) -> Result<Box<dyn Recommender>, TrainError> {
    let stamp = task.stamp(name, &task.test.protocol);
    let path = task.work.join(format!("{name}-{stamp}.safetensors"));
    if let Ok(bytes) = fs::read(&path) {
        let damaged = |fault: ModelError| TrainError::Work { path: path.clone(), fault: fault.to_string() };
        let file = TensorFile::from_bytes(&bytes).map_err(|fault| damaged(fault.into()))?;
        return load_model(&file).map_err(damaged);
    }
    let checkpoint = task.work.join(format!("{name}-{stamp}.checkpoint"));
    let model = fit::fit(name, &task.test.train, task.config, Some(&checkpoint), show)?;
    write_atomic(&path, &model.save().to_bytes().map_err(ModelError::from)?)?;
    // The whole model stands; how far it was is of no more use.
    drop(fs::remove_file(checkpoint));
    Ok(model)
}

impl Task<'_> {
    /// Fits a model on all data, the test window included.
    pub(crate) fn refit(
        &self,
        name: &str,
        show: &mut dyn FnMut(Step),
    ) -> Result<Box<dyn Recommender>, TrainError> {
        let all = self.data.interactions(self.data.end());
        let checkpoint = self.work.join(format!("{name}-{}.checkpoint", self.stamp(name, "all data")));
        let model = fit::fit(name, &all, self.config, Some(&checkpoint), show)?;
        drop(fs::remove_file(checkpoint));
        Ok(model)
    }

    /// What a fitted model depends on, as a short name. The seed only matters to some.
    fn stamp(&self, name: &str, rows: &str) -> String {
        let mut hash = Sha256::new();
        let settings = fit::whole_settings(name, self.config).to_string();
        let seed = if fit::is_seeded(name) { self.config.seed.to_string() } else { String::new() };
        for text in [&self.data.fingerprint, rows, &settings, &seed, self.code_version] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The lists of a model for every shopper of a test, `k` items each: on all threads, or, where the model is told of the shop's
/// features, all those at once who were asked at one moment.
///
/// # Errors
/// Where features are wanted and the past cannot be read.
pub fn lists(name: &str, model: &dyn Recommender, test: &TestSet, k: usize) -> Result<Lists, TrainError> {
    let listed = match (&test.train.fold, model.fold_columns().is_empty()) {
        (_, true) => {
            test.shoppers.par_iter().map(|shopper| list(model, shopper, &shopper.history(), k)).collect()
        }
        (Some(fold), false) => told_lists(model, &**fold, test, k)?,
        (None, false) => {
            let fault = format!("{name} is told of the shop's features, and the data were read without them");
            return Err(ModelError::Fold { fault }.into());
        }
    };
    let (all, new) = listed.into_iter().unzip();
    Ok(Lists { name: name.to_owned(), baseline: !LEARNED.contains(&name), all, new })
}

/// A shopper's list of all items, and that of what they had not bought.
type Listed = (Vec<u32>, Vec<u32>);

fn told_lists(
    model: &dyn Recommender,
    fold: &dyn FoldPast,
    test: &TestSet,
    k: usize,
) -> Result<Vec<Listed>, TrainError> {
    let asked = |own: &Asked| FoldAsked { user: Some(UserIdx(own.user)), time: own.now };
    let asked: Vec<FoldAsked> = test.shoppers.iter().map(asked).collect();
    let mut lists = vec![Listed::default(); test.shoppers.len()];
    fold.replay(model.fold_columns(), &asked, &mut |moment| {
        let of = |(place, fold): &(usize, &dyn FoldNow)| {
            let shopper = &test.shoppers[*place];
            let history = History { fold: Some(*fold), ..shopper.history() };
            (*place, list(model, shopper, &history, k))
        };
        let made: Vec<(usize, Listed)> = moment.par_iter().map(of).collect();
        made.into_iter().for_each(|(place, made)| lists[place] = made);
    })?;
    Ok(lists)
}

fn list(model: &dyn Recommender, shopper: &Asked, history: &History, k: usize) -> Listed {
    let mut scores = vec![0.0; model.catalogue_size() + 1];
    model.score(history, &mut scores);
    let known: FxHashSet<ItemIdx> = shopper.items.iter().copied().collect();
    let items = |exclude: &dyn Fn(ItemIdx) -> bool| -> Vec<u32> {
        top_k(&scores, k, exclude).into_iter().map(|scored| scored.item.0).collect()
    };
    (items(&|_| false), items(&|item| known.contains(&item)))
}
