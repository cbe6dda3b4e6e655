//! What every recommender does: score the catalogue for a history, say why, be saved and loaded.

use std::cell::RefCell;
use std::cmp::Ordering;

use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::{Department, ItemIdx};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::DAY_MS;
use crate::error::{ModelError, misfit};
use crate::fold::{FoldColumn, FoldNow};
use crate::journey::Told;
use crate::{
    als, bert4rec, blend, decayed_markov, department_popularity, ease, gru4rec, item_knn, lambda_mart,
    own_frequency, popularity, recent_popularity, sasrec, text_neighbours, vmis_knn, vstan,
};

/// What is known of a shopper when they ask. Empty for one who is new.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    /// What they bought or showed interest in, oldest first.
    pub items: &'a [ItemIdx],
    /// When, in milliseconds; as long as `items`.
    pub times: &'a [i64],
    /// Which of `items` they showed interest in and did not buy; what lies beyond its end was bought.
    pub only_seen: &'a [bool],
    /// All that they did, step by step, for models that [read acts](Recommender::reads_acts); without it these take all of
    /// `items` for bought.
    pub told: Option<&'a Told>,
    /// Where they live, as far as that is known.
    pub department: Option<Department>,
    /// The shop's features, for models that are [told of them](Recommender::fold_columns).
    pub fold: Option<&'a dyn FoldNow>,
    /// The moment of asking.
    pub now: i64,
}

impl<'a> History<'a> {
    /// The history of somebody who bought all of these, and of whom nothing else is known.
    pub const fn bought(items: &'a [ItemIdx], times: &'a [i64], now: i64) -> Self {
        Self { items, times, only_seen: &[], told: None, department: None, fold: None, now }
    }

    /// The same of somebody who lives there, where that is known.
    #[must_use]
    pub const fn in_department(self, department: Option<Department>) -> Self {
        Self { department, ..self }
    }

    /// Item and time of each purchase that a catalogue of `size` items knows, oldest first. Lists of
    /// unequal length end with the shorter one.
    pub(crate) fn known(&self, size: usize) -> impl DoubleEndedIterator<Item = (ItemIdx, i64)> + '_ {
        let length = self.items.len().min(self.times.len());
        let pairs = self.items[..length].iter().copied().zip(self.times[..length].iter().copied());
        pairs.filter(move |(item, _)| (1..=size).contains(&item.row()))
    }

    /// Item and time of what was looked at and not bought, of the items that a catalogue of `size` items knows, oldest first.
    pub(crate) fn known_seen(&self, size: usize) -> impl Iterator<Item = (ItemIdx, i64)> + '_ {
        let steps = self.items.iter().copied().zip(self.times.iter().copied()).zip(self.only_seen);
        let seen = steps.filter(|(_, seen)| **seen).map(|(step, _)| step);
        seen.filter(move |(item, _)| (1..=size).contains(&item.row()))
    }

    /// The same of what was bought alone.
    pub(crate) fn known_bought(&self, size: usize) -> impl DoubleEndedIterator<Item = (ItemIdx, i64)> + '_ {
        let length = self.items.len().min(self.times.len());
        let bought = (0..length).filter(|place| !self.only_seen.get(*place).copied().unwrap_or(false));
        let pairs = bought.map(|place| (self.items[place], self.times[place]));
        pairs.filter(move |(item, _)| (1..=size).contains(&item.row()))
    }
}

/// An item with its score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// The item.
    pub item: ItemIdx,
    /// Higher fits better; comparable within one list only.
    pub score: f32,
}

/// Why an item is in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Reason {
    /// Many buy it.
    Popular,
    /// Many bought it of late.
    PopularRecently,
    /// Many bought it of late where the shopper lives.
    PopularInDepartment {
        /// Where that is.
        department: Department,
    },
    /// The shopper bought it before.
    BoughtBefore {
        /// How often.
        times: u32,
        /// When last, in milliseconds.
        last: i64,
    },
    /// The shopper looked at it, and did not buy it since.
    LookedAt {
        /// When last, in milliseconds.
        last: i64,
    },
    /// Who bought that item buys this one too.
    SimilarTo {
        /// That item.
        item: ItemIdx,
    },
    /// It is often bought after that item.
    OftenBoughtAfter {
        /// That item.
        item: ItemIdx,
    },
    /// It follows from the order of what the shopper did; this item weighed most.
    Sequence {
        /// That item.
        item: ItemIdx,
    },
    /// Several signs together, none by itself.
    Mixed,
}

/// How often and when last the shopper bought it, if ever.
pub(crate) fn bought_before(history: &History, item: ItemIdx) -> Option<Reason> {
    let own = history.known_bought(item.row()).filter(|(other, _)| *other == item);
    let (times, last) = own.fold((0, i64::MIN), |(times, last), (_, time)| (times + 1, time.max(last)));
    (times > 0).then_some(Reason::BoughtBefore { times, last })
}

/// The same, or when they looked at it.
pub(crate) fn own_reason(history: &History, item: ItemIdx) -> Option<Reason> {
    let looks = || history.known_seen(item.row()).filter(|(other, _)| *other == item).map(|(_, time)| time);
    bought_before(history, item).or_else(|| looks().max().map(|last| Reason::LookedAt { last }))
}

/// Which items may not be in a list; asked on several threads where the catalogue is large.
pub type Barred<'a> = &'a (dyn Fn(ItemIdx) -> bool + Sync);

/// A fitted model.
pub trait Recommender: Send + Sync {
    /// The model's name, as in `[train] models`.
    fn name(&self) -> &'static str;

    /// How many items it knows, padding not counted.
    fn catalogue_size(&self) -> usize;

    /// Whether it reads [`History::told`]; a caller need not gather it for others.
    fn reads_acts(&self) -> bool {
        false
    }

    /// Whether scores depend on where the shopper lives, so that even of one who is new something is known.
    fn asks_department(&self) -> bool {
        false
    }

    /// The shop's features that it is told of, in [`History::fold`]; without them it takes them for missing.
    fn fold_columns(&self) -> &[FoldColumn] {
        &[]
    }

    /// Writes a score for every item.
    ///
    /// `scores[0]` (padding) becomes −∞, every other one finite. An item of which the model knows
    /// nothing gets a score not above that of any item of which it does. Items of the history that the model
    /// does not know are passed over.
    ///
    /// # Panics
    /// When `scores.len() != catalogue_size() + 1`: a fault of the calling code.
    fn score(&self, history: &History, scores: &mut [f32]);

    /// The `k` best items that are not barred, as [`top_k`] of the scores gives them; a model that touches few
    /// items may leave out those of which it knows nothing. One that scores by probabilities may leave out what it would
    /// divide all by, so that scores are those of [`Recommender::score`] up to a summand.
    fn recommend(&self, history: &History, k: usize, barred: Barred) -> Vec<Scored> {
        plainly(self, history, k, barred)
    }

    /// Scores several histories: row `i` of `scores` for history `i`. The same numbers as one by one.
    fn score_batch(&self, histories: &[History], scores: &mut [f32]) {
        let rows = scores.chunks_mut(self.catalogue_size() + 1);
        histories.iter().zip(rows).for_each(|(history, row)| self.score(history, row));
    }

    /// The `k` items most like one item, the item itself left out; fewer where there are no more.
    fn similar_items(&self, item: ItemIdx, k: usize) -> Vec<Scored>;

    /// Why `item` is in the list for `history`.
    fn because(&self, history: &History, item: ItemIdx) -> Reason;

    /// Why each of `items`, which are distinct, is in the list for `history`: what [`Recommender::because`]
    /// says of each, with what they share done once.
    fn because_each(&self, history: &History, items: &[ItemIdx]) -> Vec<Reason> {
        items.iter().map(|&item| self.because(history, item)).collect()
    }

    /// The list of [`Recommender::recommend`], each item with what [`Recommender::because_each`] says of it.
    fn recommend_because(&self, history: &History, k: usize, barred: Barred) -> Vec<(Scored, Reason)> {
        let list = self.recommend(history, k, barred);
        let items: Vec<ItemIdx> = list.iter().map(|scored| scored.item).collect();
        list.into_iter().zip(self.because_each(history, &items)).collect()
    }

    /// Everything needed to load it again.
    fn save(&self) -> TensorFile;
}

/// The list from the scores of all items.
pub(crate) fn plainly<R: Recommender + ?Sized>(
    model: &R,
    history: &History,
    k: usize,
    barred: Barred,
) -> Vec<Scored> {
    let mut scores = SCORES.take();
    scores.clear();
    scores.resize(model.catalogue_size() + 1, 0.0);
    model.score(history, &mut scores);
    let best = top_k(&scores, k, barred);
    SCORES.set(scores);
    best
}

thread_local! {
    /// A thread's scores, kept so that a request need not ask for memory.
    static SCORES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Loads the model that a file holds.
///
/// # Errors
/// [`ModelError`] where the model is unknown or its parts do not fit together.
pub fn load_model(file: &TensorFile) -> Result<Box<dyn Recommender>, ModelError> {
    let name = file.settings.get(MODEL).map_or("", String::as_str);
    Ok(match name {
        popularity::NAME => Box::new(popularity::Popularity::load(file)?),
        recent_popularity::NAME => Box::new(recent_popularity::RecentPopularity::load(file)?),
        department_popularity::NAME => Box::new(department_popularity::DepartmentPopularity::load(file)?),
        own_frequency::NAME => Box::new(own_frequency::OwnFrequency::load(file)?),
        decayed_markov::NAME => Box::new(decayed_markov::DecayedMarkov::load(file)?),
        item_knn::NAME => Box::new(item_knn::ItemKnn::load(file)?),
        als::NAME => Box::new(als::Als::load(file)?),
        ease::NAME => Box::new(ease::Ease::load(file)?),
        blend::NAME => Box::new(blend::Blend::load(file)?),
        lambda_mart::NAME => Box::new(lambda_mart::LambdaMart::load(file)?),
        gru4rec::NAME => Box::new(gru4rec::Gru4Rec::load(file)?),
        bert4rec::NAME => Box::new(bert4rec::Bert4Rec::load(file)?),
        sasrec::NAME => Box::new(sasrec::SasRec::load(file)?),
        text_neighbours::NAME => Box::new(text_neighbours::TextNeighbours::load(file)?),
        vmis_knn::NAME => Box::new(vmis_knn::VmisKnn::load(file)?),
        vstan::NAME => Box::new(vstan::Vstan::load(file)?),
        name => return Err(ModelError::Unknown { name: name.to_owned() }),
    })
}

/// The setting that names the model.
pub(crate) const MODEL: &str = "model";
const CONFIG: &str = "config";

/// A file with a model's name and settings, and no tensors yet.
pub(crate) fn new_file(name: &str, config: &impl Serialize) -> TensorFile {
    let mut file = TensorFile::default();
    file.settings.insert(MODEL.to_owned(), name.to_owned());
    // Settings are plain numbers and names, which JSON always takes; without them loading says so.
    let text = serde_json::to_string(config).unwrap_or_default();
    file.settings.insert(CONFIG.to_owned(), text);
    file
}

/// The settings in a file.
pub(crate) fn config<T: DeserializeOwned>(name: &'static str, file: &TensorFile) -> Result<T, ModelError> {
    let text = file.settings.get(CONFIG).ok_or_else(|| misfit(name, "its settings are missing"))?;
    serde_json::from_str(text).map_err(|fault| misfit(name, format!("its settings cannot be read: {fault}")))
}

/// Adds a component's file, each name behind the component's.
pub(crate) fn put_part(file: &mut TensorFile, name: &str, part: TensorFile) {
    file.settings.extend(part.settings.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
    file.tensors.extend(part.tensors.into_iter().map(|(key, tensor)| (format!("{name}.{key}"), tensor)));
}

/// The file of a component, as [`put_part`] took it.
pub(crate) fn part(file: &TensorFile, name: &str) -> TensorFile {
    let own = |key: &str| Some(key.strip_prefix(name)?.strip_prefix('.')?.to_owned());
    TensorFile {
        settings: file.settings.iter().filter_map(|(key, value)| Some((own(key)?, value.clone()))).collect(),
        tensors: file.tensors.iter().filter_map(|(key, tensor)| Some((own(key)?, tensor.clone()))).collect(),
    }
}

/// Refuses a file that cannot hold so many layers of so many weights, before a network is made in their size.
pub(crate) fn check_layers(
    model: &'static str,
    file: &TensorFile,
    (layers, weights): (usize, usize),
) -> Result<(), ModelError> {
    let held: usize = file.tensors.values().map(|tensor| tensor.shape.iter().product::<usize>()).sum();
    match layers.checked_mul(weights) {
        Some(wanted) if wanted <= held => Ok(()),
        _ => Err(misfit(
            model,
            format!("its settings want {layers} layers of {weights} weights, it holds {held}"),
        )),
    }
}

/// Sets all scores to 0 and the padding's to −∞.
///
/// # Panics
/// When there are not as many scores as items and padding.
pub(crate) fn clear(scores: &mut [f32], catalogue_size: usize) {
    assert_eq!(scores.len(), catalogue_size + 1, "a score for every item and for padding");
    scores.fill(0.0);
    scores[0] = f32::NEG_INFINITY;
}

/// The weight at `now` of what happened at `time` (both in milliseconds): 1 for what is new, half after each half-life.
/// A half-life that is not above 0 means that nothing fades.
pub(crate) fn faded(now: i64, time: i64, half_life_days: f64) -> f32 {
    match half_life_days {
        half_life if half_life > 0.0 => {
            let days = now.saturating_sub(time).max(0) as f64 / DAY_MS;
            (-days / half_life).exp2() as f32
        }
        _ => 1.0,
    }
}

/// The `k` best items in falling order; ties go to the lower index; padding and what `exclude` takes out
/// never appear. `O(items + k log k)`.
pub fn top_k(scores: &[f32], k: usize, exclude: impl Fn(ItemIdx) -> bool) -> Vec<Scored> {
    let scored = |(place, &score): (usize, &f32)| Scored { item: ItemIdx(place as u32), score };
    best_of(scores.iter().enumerate().skip(1).map(scored), k, falling, |scored| exclude(scored.item))
}

/// The `k` first of things in any order, sorted by `order`; `exclude` is only asked of those that would be among them.
pub(crate) fn best_of<T: Copy>(
    all: impl ExactSizeIterator<Item = T>,
    k: usize,
    order: fn(&T, &T) -> Ordering,
    exclude: impl Fn(&T) -> bool,
) -> Vec<T> {
    let k = k.min(all.len());
    let mut best: Vec<T> = Vec::with_capacity(2 * k + 1);
    let mut bar: Option<T> = None;
    if k == 0 {
        return best;
    }
    for one in all {
        if bar.is_some_and(|bar| order(&bar, &one).is_lt()) || exclude(&one) {
            continue;
        }
        best.push(one);
        if best.len() >= 2 * k {
            best.select_nth_unstable_by(k - 1, order);
            best.truncate(k);
            bar = best.last().copied();
        }
    }
    best.sort_unstable_by(order);
    best.truncate(k);
    best
}

/// The order of a list: by score falling, then by index.
pub(crate) fn falling(a: &Scored, b: &Scored) -> Ordering {
    b.score.total_cmp(&a.score).then(a.item.cmp(&b.item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_best_are_those_of_a_full_sort(
            scores in prop::collection::vec(-3i8..4, 1..200), k in 0..60_usize, out in 0..7_u32,
        ) {
            let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
            let exclude = |item: ItemIdx| out > 0 && item.0 % 7 == out;
            let mut all: Vec<Scored> = (1..scores.len())
                .map(|place| Scored { item: ItemIdx(place as u32), score: scores[place] })
                .filter(|scored| !exclude(scored.item))
                .collect();
            all.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.0.cmp(&b.item.0)));
            all.truncate(k);
            prop_assert_eq!(top_k(&scores, k, exclude), all);
        }
    }

    #[test]
    fn a_file_of_an_unknown_model_is_refused_by_name() {
        let mut file = TensorFile::default();
        file.settings.insert(MODEL.into(), "oracle".into());
        let error = load_model(&file).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("oracle"), "{error}");
    }
}
