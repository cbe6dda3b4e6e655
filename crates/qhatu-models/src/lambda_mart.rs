//! LambdaMART over the candidates of several models: a list for the whole out of lists of the parts.
//!
//! ```text
//! history ─► each part's best items, and what was bought before ─► a row a candidate: every part's score and rank,
//!            what the history says of it, what it had sold until then ─► trees that sort the rows
//! ```
//!
//! The parts are fitted on all but the last days of the data (`held_out_days`). Each order of these days asks: its history
//! gives the candidates, and what was bought the labels; boosted trees learn to sort each question's candidates by NDCG
//! ([`crate::trees::Objective::LambdaRank`]; Burges, "From RankNet to LambdaRank to LambdaMART", 2010). Then the parts are
//! fitted again on everything. So a part is trusted as far as it was right about what it had not seen.
//!
//! Lists that were shown in those days ask too (`impressions`): their items are the candidates, what was clicked the labels, and
//! a click counts as much more as its position is looked at less ([`crate::position_bias`]). They teach only where they help to
//! sort what is bought, which the latest orders judge.
//!
//! Beside [`blend`](crate::blend), which has parts and windows of its own for shops that sell the same things again: this
//! takes any models, asks at every order instead of once a window, and sorts instead of foretelling a probability. For
//! sessions of single items every item asks for the next.
//!
//! Behind the candidates, below 0, stand the other items as they sell. Data too short to learn from leave the sum of reciprocal ranks
//! of the parts (Cormack, Clarke and Büttcher, SIGIR 2009).
//!
//! Retailrocket's last 4,700 training sessions (`examples/sessions.rs` with `last:4700`), HR@20 / MRR@20: `vstan` alone
//! .558 / .302; sorted with rules, 10,000 questions .590 / .349, 25,000 .591 / .351. Sales as of the end of what the parts
//! learned from in place of the moment's, without the history's span and gaps: .590 / .348 and .591 / .351; with these columns
//! GRU4Rec too .607 / .352, 200 trees in place of 100 .585 / .345, 80 candidates of each in place of 40 .590 / .349.
//!
//! UCI Online Retail, NDCG@10 on all / new of the 28 days from 2011-10-15 (`qhatu evaluate --until 2011-11-12`): .323 / .094, with
//! `price_band` .327 / .094; with sales as of the end of what the parts learned from .325 / .088; `own_frequency` .324 / .076.
//! Intervals are .017 wide to each side.

mod columns;
mod fold;
mod rows;
mod sales;
mod training;

use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::ItemIdx;
use serde::{Deserialize, Serialize};

use self::columns::{Candidates, Items, Part, names, width};
use self::fold::Fold;
use self::training::Lessons;
use crate::error::{ModelError, misfit};
use crate::fold::FoldColumn;
use crate::interactions::Interactions;
use crate::recommender::{self, Barred, History, Reason, Recommender, Scored, own_reason, top_k};
use crate::trees::{BoostingConfig, Columns, Growth, Lesson, Objective, TreeEnsemble, fit_boosting};

pub use self::rows::Rows;

/// The name in settings and files.
pub const NAME: &str = "lambda_mart";

/// Hyper-parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The models whose candidates are sorted, each with its own settings.
    pub models: Vec<String>,
    /// Days at the end of the data that the trees learn from and, for that, the models do not.
    pub held_out_days: f64,
    /// The best items of each model that are candidates.
    pub retrieve: usize,
    /// Most orders that ask, the latest; bounds memory: about 20 bytes a column, candidate and order.
    pub most_questions: usize,
    /// Whether lists that were shown ask too, where there are clicks; at most as many as orders.
    pub impressions: bool,
    /// Whether the trees are told of the history's share in an item's category, where the catalogue has categories.
    pub category: bool,
    /// Whether they are told how much dearer it is than what the history holds, where the catalogue has prices.
    pub price_band: bool,
    /// The shop's features that the trees are told of, by name; `all`: every number of shoppers, of products, and of a shopper
    /// with either a product or its category. Data that come without features have none.
    pub features: Vec<String>,
    /// The trees.
    pub trees: BoostingConfig,
}

impl Default for Config {
    fn default() -> Self {
        let growth = Growth { leaves: 31, min_rows_in_leaf: 100, ..Growth::default() };
        Self {
            models: ["own_frequency", "decayed_markov", "item_knn", "vmis_knn"].map(str::to_owned).to_vec(),
            held_out_days: 28.0,
            retrieve: 40,
            most_questions: 25_000,
            impressions: true,
            category: false,
            price_band: false,
            features: vec![ALL.to_owned()],
            trees: BoostingConfig { rounds: 60, learning_rate: 0.1, growth, ..BoostingConfig::default() },
        }
    }
}

impl Config {
    /// Refuses what makes no sense.
    ///
    /// # Errors
    /// The first such setting.
    pub fn check(&self) -> Result<(), ModelError> {
        let fault = |key, value: String, hint| Err(ModelError::Setting { model: NAME, key, value, hint });
        if !(self.held_out_days.is_finite() && self.held_out_days > 0.0) {
            let hint = "a number of days above zero, such as 28";
            return fault("held_out_days", self.held_out_days.to_string(), hint);
        }
        if !(1..=10_000).contains(&self.retrieve) {
            return fault(
                "retrieve",
                self.retrieve.to_string(),
                "1 to 10000 items of each model, such as 40",
            );
        }
        if !(1..=64).contains(&self.models.len()) {
            return fault("models", format!("{:?}", self.models), "name 1 to 64 models");
        }
        if self.models.iter().any(|name| name == NAME) {
            return fault("models", NAME.to_owned(), "a model is no part of itself");
        }
        if let Some(place) = (1..self.models.len()).find(|&at| self.models[..at].contains(&self.models[at])) {
            return fault("models", self.models[place].clone(), "each model is named once");
        }
        let repeats = |at: &usize| self.features[..*at].contains(&self.features[*at]);
        if let Some(place) = (1..self.features.len()).find(repeats) {
            return fault("features", self.features[place].clone(), "each feature is named once");
        }
        if self.features.len() > 1 && self.features.iter().any(|name| name == ALL) {
            return fault("features", self.features.join(", "), "either \"all\" or the names of some");
        }
        self.trees.check()
    }
}

/// The fitted model.
pub struct LambdaMart {
    config: Config,
    parts: Vec<Box<dyn Recommender>>,
    items: Items,
    /// Absent where the data were too short to learn from.
    trees: Option<TreeEnsemble>,
    taught_by_lists: bool,
    /// The shop's features that the trees are told of, in the order of their columns.
    fold: Vec<FoldColumn>,
}

impl LambdaMart {
    /// Fits trees and parts; `fit` fits the part of a name. The same data, configuration and seed give the same model,
    /// where the parts' do.
    ///
    /// # Errors
    /// For settings that make no sense, and what fitting a part gives.
    pub fn fit<E: From<ModelError>>(
        data: &Interactions,
        config: &Config,
        seed: u64,
        mut fit: impl FnMut(&str, &Interactions) -> Result<Box<dyn Recommender>, E>,
    ) -> Result<Self, E> {
        let mut all = |data: &Interactions| -> Result<Vec<Part>, E> {
            config.models.iter().map(|name| fit(name, data)).collect()
        };
        let (lessons, fold) = gather(data, config, seed, &mut all)?;
        let lessons = lessons.choose(|taught, asked| {
            let columns = Columns::numbers(&asked.columns);
            sort(taught, &config.trees, seed)?.margins(columns)
        })?;
        let taught_by_lists = lessons.have_lists();
        let trees = lessons.teach().then(|| sort(&lessons, &config.trees, seed)).transpose()?;
        drop(lessons);
        let fold = if trees.is_some() { fold } else { Vec::new() };
        Ok(Self {
            config: config.clone(),
            parts: all(data)?,
            items: Items::fit(data, config),
            trees,
            taught_by_lists,
            fold,
        })
    }

    /// Loads what [`Recommender::save`] gave.
    ///
    /// # Errors
    /// Where the file does not hold it, or its parts are of different catalogues or columns.
    pub fn load(file: &TensorFile) -> Result<Self, ModelError> {
        let config: Config = recommender::config(NAME, file)?;
        config.check()?;
        let load = |(place, name): (usize, &String)| {
            let part = recommender::part(file, &part_name(place));
            // Before it is loaded: a file may not nest without end.
            if part.settings.get(recommender::MODEL) != Some(name) {
                return Err(misfit(NAME, format!("its part {place} is no {name:?}")));
            }
            recommender::load_model(&part)
        };
        let parts = config.models.iter().enumerate().map(load).collect::<Result<Vec<_>, _>>()?;
        let fold: Vec<FoldColumn> = match file.settings.get(FOLD) {
            None => Vec::new(),
            Some(text) => serde_json::from_str(text)
                .map_err(|fault| misfit(NAME, format!("its features cannot be read: {fault}")))?,
        };
        let columns = names(&config.models, &fold).join(" ");
        if file.settings.get(COLUMNS) != Some(&columns) {
            let known = file.settings.get(COLUMNS).map_or("others", String::as_str);
            return Err(misfit(
                NAME,
                format!("its trees know the columns {known}, not {columns}: train it again"),
            ));
        }
        let items = Items::load(file)?;
        if parts.iter().any(|part| part.catalogue_size() != items.len()) {
            return Err(misfit(NAME, "its parts are of different catalogues"));
        }
        let learned = file.u32("learned")?;
        let trees = match learned {
            [0] => None,
            [1 | 2] => Some(TreeEnsemble::load(file, TREES)?),
            other => return Err(misfit(NAME, format!("it says {other:?} of whether it learned"))),
        };
        if trees.is_none() && !fold.is_empty() {
            return Err(misfit(NAME, "it names features and has no trees that are told of them"));
        }
        if trees.as_ref().is_some_and(|trees| trees.width() != width(parts.len()) + fold.len()) {
            return Err(misfit(NAME, "its trees were fitted on other columns"));
        }
        Ok(Self { config, parts, items, trees, taught_by_lists: learned == [2], fold })
    }

    /// The columns that candidates are sorted by: each model's score, what share of its best that is and its rank, what the
    /// history says, what the item had sold, and what the fold says, `fold.` before the feature's name.
    pub fn columns(&self) -> Vec<String> {
        names(&self.config.models, &self.fold)
    }

    /// What each column adds to a candidate's place; `None` for an item that no model proposes, and where nothing was
    /// learned.
    pub fn contributions(&self, history: &History, item: ItemIdx) -> Option<Vec<(String, f64)>> {
        let candidates = self.candidates(history);
        let told = self.trees.as_ref()?.contributions(candidates.row(item)?);
        Some(self.columns().into_iter().zip(told.features).collect())
    }

    /// Whether the order was learned; otherwise the data were too short, and the parts' ranks are added up.
    pub fn is_learned(&self) -> bool {
        self.trees.is_some()
    }

    /// Whether it learned from lists that were shown too: where there were any, and they helped to sort what is bought.
    pub fn learned_from_lists(&self) -> bool {
        self.taught_by_lists && self.is_learned()
    }

    fn candidates(&self, history: &History) -> Candidates {
        let found = Candidates::new(history, &self.parts, &self.items, self.config.retrieve);
        found.with_fold(self.fold.len(), history.fold)
    }

    /// The scores of all items: candidates from 1 on, below 0 the others as they sell.
    fn put_scores(&self, candidates: &Candidates, scores: &mut [f32]) {
        recommender::clear(scores, self.catalogue_size());
        for (item, score) in scores.iter_mut().enumerate().skip(1) {
            *score = self.items.sales.share(ItemIdx(item as u32)) - 1.0;
        }
        let margins = self.margins(candidates);
        let lowest = margins.iter().copied().fold(f32::INFINITY, f32::min);
        for (item, margin) in candidates.items.iter().zip(margins) {
            scores[item.row()] = 1.0 + (margin - lowest);
        }
    }

    /// Why each item is in the list; each part is asked once for all of which it speaks.
    fn reasons(&self, history: &History, candidates: &Candidates, items: &[ItemIdx]) -> Vec<Reason> {
        let mut reasons: Vec<Reason> =
            items.iter().map(|item| own_reason(history, *item).unwrap_or(Reason::Popular)).collect();
        let speaks = |(item, reason): (&ItemIdx, &Reason)| match reason {
            Reason::Popular => candidates.best_part(*item, self.parts.len()),
            _ => None,
        };
        let speakers: Vec<Option<usize>> = items.iter().zip(&reasons).map(speaks).collect();
        for (number, part) in self.parts.iter().enumerate() {
            let places: Vec<usize> =
                (0..items.len()).filter(|place| speakers[*place] == Some(number)).collect();
            let own: Vec<ItemIdx> = places.iter().map(|place| items[*place]).collect();
            let said = part.because_each(history, &own);
            places.into_iter().zip(said).for_each(|(place, reason)| reasons[place] = reason);
        }
        reasons
    }

    /// What sorts the candidates.
    fn margins(&self, candidates: &Candidates) -> Vec<f32> {
        let fused = || candidates.fused_ranks(self.parts.len());
        let Some(trees) = &self.trees else { return fused() };
        // Columns are as many as the trees', and of one length.
        let mut margins = trees.margins(Columns::numbers(&candidates.columns())).unwrap_or_else(|_| fused());
        // A file may hold answers whose sum is no number any more.
        margins.iter_mut().for_each(|sum| *sum = if sum.is_nan() { 0.0 } else { sum.clamp(-MOST, MOST) });
        margins
    }
}

/// What the trees learn from, and which of the shop's features are among its columns.
fn gather<E: From<ModelError>>(
    data: &Interactions,
    config: &Config,
    seed: u64,
    fit: &mut dyn FnMut(&Interactions) -> Result<Vec<Part>, E>,
) -> Result<(Lessons, Vec<FoldColumn>), E> {
    config.check()?;
    if config.category || config.price_band {
        data.sides.check(NAME, data.items())?;
    }
    let fold = Fold::new(data, config, seed)?;
    let lessons = Lessons::gather(data, config, &fold, fit)?;
    Ok((lessons, fold.columns))
}

fn sort(lessons: &Lessons, config: &BoostingConfig, seed: u64) -> Result<TreeEnsemble, ModelError> {
    let (columns, target) = (Columns::numbers(&lessons.columns), lessons.target());
    let lesson = Lesson { columns, target, objective: Objective::LambdaRank, validation: None };
    Ok(fit_boosting(&lesson, config, seed)?.trees)
}

const TREES: &str = "trees.";
/// The setting of a file that names the columns.
const COLUMNS: &str = "columns";
/// The setting of a file that says which features of the fold it was taught by.
const FOLD: &str = "fold";
/// Stands for all features.
const ALL: &str = "all";
/// The highest margin.
const MOST: f32 = 1e30;

fn part_name(place: usize) -> String {
    format!("part{place}")
}

impl Recommender for LambdaMart {
    fn name(&self) -> &'static str {
        NAME
    }

    fn catalogue_size(&self) -> usize {
        self.items.len()
    }

    fn reads_acts(&self) -> bool {
        self.parts.iter().any(|part| part.reads_acts())
    }

    fn asks_department(&self) -> bool {
        self.parts.iter().any(|part| part.asks_department())
    }

    fn fold_columns(&self) -> &[FoldColumn] {
        &self.fold
    }

    fn score(&self, history: &History, scores: &mut [f32]) {
        self.put_scores(&self.candidates(history), scores);
    }

    fn similar_items(&self, item: ItemIdx, k: usize) -> Vec<Scored> {
        let lists = self.parts.iter().map(|part| part.similar_items(item, k));
        lists.into_iter().find(|list| !list.is_empty()).unwrap_or_default()
    }

    fn because(&self, history: &History, item: ItemIdx) -> Reason {
        self.because_each(history, &[item])[0]
    }

    /// What was bought before is bought again; of what was not, the part speaks in whose list it stands highest.
    fn because_each(&self, history: &History, items: &[ItemIdx]) -> Vec<Reason> {
        self.reasons(history, &self.candidates(history), items)
    }

    fn recommend_because(&self, history: &History, k: usize, barred: Barred) -> Vec<(Scored, Reason)> {
        let candidates = self.candidates(history);
        let mut scores = vec![0.0; self.catalogue_size() + 1];
        self.put_scores(&candidates, &mut scores);
        let list = top_k(&scores, k, barred);
        let items: Vec<ItemIdx> = list.iter().map(|scored| scored.item).collect();
        list.into_iter().zip(self.reasons(history, &candidates, &items)).collect()
    }

    fn save(&self) -> TensorFile {
        let mut file = recommender::new_file(NAME, &self.config);
        for (place, part) in self.parts.iter().enumerate() {
            recommender::put_part(&mut file, &part_name(place), part.save());
        }
        file.settings.insert(COLUMNS.to_owned(), self.columns().join(" "));
        if !self.fold.is_empty() {
            // Names and texts, which JSON always takes; without them loading says so.
            file.settings.insert(FOLD.to_owned(), serde_json::to_string(&self.fold).unwrap_or_default());
        }
        self.items.save(&mut file);
        file.put_u32(
            "learned",
            &[1],
            vec![u32::from(self.is_learned()) + u32::from(self.learned_from_lists())],
        );
        if let Some(trees) = &self.trees {
            trees.save(&mut file, TREES);
        }
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decayed_markov::{self, DecayedMarkov};
    use crate::interactions::{Purchase, Vocabulary};
    use crate::item_sides::{ItemLabels, ItemSides, category_path, price_bands};
    use crate::popularity::{self, Popularity};
    use qhatu_schema::ItemId;
    use std::sync::Arc;

    const DAY: i64 = 86_400_000;
    const ITEMS: u32 = 20;

    /// Visitors of some days, each walking from item to item in their order; and all end at item 1, the best seller.
    fn walks(days: u32) -> Interactions {
        let names = (1..=ITEMS).map(|item| ItemId::new(format!("i{item}")).expect("not empty"));
        let mut lines = Vec::new();
        for user in 0..days * 4 {
            let walk = (0..5).map(|step| 2 + (user * 7 + step) % (ITEMS - 1)).chain([1, 1, 1]);
            for (minute, item) in (0..).zip(walk) {
                let (order, time) = (lines.len() as u32, i64::from(user / 4) * DAY + minute * 60_000);
                lines.push(Purchase { time, user, order, item: ItemIdx(item) });
            }
        }
        Interactions::from_purchases(Arc::new(Vocabulary::new(names)), &lines, i64::from(days) * DAY)
    }

    fn config() -> Config {
        let models = [popularity::NAME, decayed_markov::NAME].map(str::to_owned).to_vec();
        let mut config = Config { models, held_out_days: 10.0, ..Config::default() };
        (config.trees.rounds, config.trees.growth.min_rows_in_leaf) = (20, 5);
        config
    }

    fn part(name: &str, data: &Interactions) -> Result<Box<dyn Recommender>, ModelError> {
        Ok(match name {
            popularity::NAME => Box::new(Popularity::fit(data, &popularity::Config::default())),
            _ => Box::new(DecayedMarkov::fit(data, &decayed_markov::Config::default())),
        })
    }

    fn first(model: &LambdaMart, items: &[u32]) -> u32 {
        let items: Vec<ItemIdx> = items.iter().copied().map(ItemIdx).collect();
        let times: Vec<i64> = (0..items.len() as i64).map(|minute| 99 * DAY + minute * 60_000).collect();
        let now = 99 * DAY + items.len() as i64 * 60_000;
        model.recommend(&History::bought(&items, &times, now), 1, &|_| false)[0].item.0
    }

    #[test]
    fn the_part_that_is_right_is_trusted_where_it_is() {
        let model = LambdaMart::fit(&walks(40), &config(), 1, part).expect("sound settings");
        assert!(model.is_learned());
        assert_eq!(first(&model, &[5, 6, 7]), 8);
        assert_eq!(first(&model, &[11, 12]), 13);
        // After five steps every walk ends at the best seller.
        assert_eq!(first(&model, &[5, 6, 7, 8, 9]), 1);
    }

    #[test]
    fn the_rows_are_what_the_trees_learn_from() {
        let data = walks(40);
        let rows = Rows::gather(&data, &config(), 1, part).expect("sound settings");
        assert_eq!((rows.names.len(), rows.users.len()), (rows.columns.len(), rows.groups.len()));
        let model = LambdaMart::fit(&data, &config(), 1, part).expect("sound settings");
        assert_eq!(rows.names, model.columns());
        let target = crate::trees::Target { labels: &rows.labels, weights: &[], groups: &rows.groups };
        let (columns, objective) = (Columns::numbers(&rows.columns), Objective::LambdaRank);
        let lesson = Lesson { columns, target, objective, validation: None };
        let fitted = fit_boosting(&lesson, &config().trees, 1).expect("sound settings");
        assert_eq!(Some(fitted.trees), model.trees);
        let none = Rows::gather(&walks(3), &config(), 1, part).expect("sound settings");
        assert_eq!(none, Rows::default(), "too short to learn from");
    }

    #[test]
    fn data_too_short_to_learn_from_leave_the_sum_of_ranks() {
        let model = LambdaMart::fit(&walks(3), &config(), 1, part).expect("sound settings");
        assert!(!model.is_learned());
        // Second by sales at most, but first of those that follow.
        let history = History::bought(&[ItemIdx(5), ItemIdx(6)], &[0, 60_000], 120_000);
        let list = model.recommend(&history, 3, &|_| false);
        assert!(list.iter().any(|scored| scored.item == ItemIdx(7)), "{list:?}");
    }

    /// Walks of 30 days; then visitors of two steps who are shown lists with the best seller on top, look at the k-th
    /// place with a chance of 1 ⁄ k, and want what follows their last step.
    fn shown() -> Interactions {
        let walks = walks(30);
        let stream = qhatu_nn::Stream::new(8);
        let unit = |of: u64, at: u64| (stream.child(of).at(at) >> 11) as f64 / (1_u64 << 53) as f64;
        let mut lines: Vec<Purchase> = Vec::new();
        for sequence in &walks.sequences {
            for (item, time) in sequence.items.iter().zip(&sequence.times) {
                let order = lines.len() as u32;
                lines.push(Purchase { time: *time, user: sequence.user.0, order, item: *item });
            }
        }
        let mut lists = Vec::new();
        for visitor in 0..600_u32 {
            let (user, last) = (1000 + visitor, 3 + visitor % (ITEMS - 3));
            for (minute, item) in [(0, last - 1), (1, last)] {
                let (order, time) = (lines.len() as u32, 29 * DAY + minute * 60_000);
                lines.push(Purchase { time, user, order, item: ItemIdx(item) });
            }
            let at = u64::from(visitor);
            let mut others: Vec<u32> = (0..5)
                .map(|draw| 2 + stream.child(100 + draw).below(at, ITEMS as usize - 1) as u32)
                .filter(|item| *item != last + 1)
                .collect();
            others.insert(stream.child(7).below(at, others.len() + 1), last + 1);
            // Nearly always: a place that shows one item alone cannot be told from it.
            others.insert(if visitor % 5 == 0 { others.len() } else { 0 }, 1);
            let click = |(place, item): (usize, &u32)| {
                let wanted = if *item == last + 1 { 0.9 } else { 0.1 };
                let seen = unit(place as u64, at) < wanted / (place + 1) as f64;
                seen.then_some(35 * DAY + 1)
            };
            let clicks = others.iter().enumerate().map(click).collect();
            let items = others.iter().map(|item| ItemIdx(*item)).collect();
            lists.push(crate::Shown { user: Some(user), time: 35 * DAY, items, clicks });
        }
        let vocabulary = Arc::clone(&walks.vocabulary);
        Interactions::from_purchases(vocabulary, &lines, 40 * DAY).with_shown(Arc::new(lists))
    }

    #[test]
    fn clicks_in_lists_teach_what_is_wanted_and_not_what_stood_on_top() {
        let data = shown();
        let model = LambdaMart::fit(&data, &config(), 1, part).expect("sound settings");
        assert!(model.is_learned());
        let right = (3..ITEMS).filter(|last| first(&model, &[last - 1, *last]) == last + 1).count();
        assert!(right >= 15, "{right} of 17");
        let only_orders = Config { impressions: false, ..config() };
        assert!(!LambdaMart::fit(&data, &only_orders, 1, part).expect("sound settings").is_learned());
        // Of what was clicked after the end nothing is known.
        let earlier = Interactions { until: 35 * DAY + 1, ..data };
        let since = Config { held_out_days: 5.0, ..config() };
        assert!(!LambdaMart::fit(&earlier, &since, 1, part).expect("sound settings").is_learned());
    }

    /// Walks of 40 days, and lists that were shown on their way, more of them than of steps, in which the visitor's next step is
    /// clicked, or always the best seller.
    fn shown_on_walks(next: bool) -> Interactions {
        let data = walks(40);
        let item = |number: u32| 2 + number % (ITEMS - 1);
        let mut lists = Vec::new();
        for (user, sequence) in (0_u32..).zip(&data.sequences) {
            for (place, minute) in (1..6_usize).zip(1_i64..).cycle().take(25) {
                let own = sequence.items[place - 1].0 - 2;
                let mut items: Vec<ItemIdx> = [1, 9, 12, 15].map(|on| ItemIdx(item(own + on))).to_vec();
                items.push(ItemIdx(1));
                let clicked = if next { sequence.items[place] } else { ItemIdx(1) };
                let turn = user as usize % items.len();
                items.rotate_left(turn);
                let clicks = items.iter().map(|item| (*item == clicked).then_some(0)).collect();
                let time = sequence.times[0] + minute * 60_000;
                lists.push(crate::Shown { user: Some(sequence.user.0), time, items, clicks });
            }
        }
        lists.sort_by_key(|list| list.time);
        data.with_shown(Arc::new(lists))
    }

    #[test]
    fn lists_teach_where_they_help_and_not_where_they_mislead() {
        let fit = |next| LambdaMart::fit(&shown_on_walks(next), &config(), 1, part).expect("sound settings");
        let (right, wrong) = (fit(true), fit(false));
        assert!(right.learned_from_lists() && !wrong.learned_from_lists());
        let without = LambdaMart::fit(&walks(40), &config(), 1, part).expect("sound settings");
        assert!(without.is_learned() && !without.learned_from_lists());
        assert_eq!(wrong.save(), without.save());
        assert!(LambdaMart::load(&right.save()).is_ok_and(|loaded| loaded.learned_from_lists()));
    }

    #[test]
    fn reasons_are_those_of_the_part_that_speaks_loudest() {
        let model = LambdaMart::fit(&walks(40), &config(), 1, part).expect("sound settings");
        let history = History::bought(&[ItemIdx(5), ItemIdx(6)], &[0, 60_000], 120_000);
        assert_eq!(model.because(&history, ItemIdx(7)), Reason::OftenBoughtAfter { item: ItemIdx(6) });
        assert_eq!(model.because(&history, ItemIdx(5)), Reason::BoughtBefore { times: 1, last: 0 });
        assert_eq!(model.because(&history, ItemIdx(1)), Reason::Popular);
    }

    /// A row that asks in the past is the same whatever came later.
    #[test]
    fn rows_see_nothing_of_what_came_later() {
        let data = walks(40);
        let past = data.before(20 * DAY);
        let parts =
            [popularity::NAME, decayed_markov::NAME].map(|name| part(name, &past).expect("sound settings"));
        let (all, then) = (Items::fit(&data, &config()), Items::fit(&past, &config()));
        for sequence in past.sequences.iter().filter(|own| own.times[0] > 15 * DAY) {
            let history = History::bought(&sequence.items[..3], &sequence.times[..3], sequence.times[3]);
            let rows = |items: &Items| Candidates::new(&history, &parts, items, 10);
            // Missing is no number, so bits are compared.
            let bits = |items| rows(items).rows.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!((rows(&all).items, bits(&all)), (rows(&then).items, bits(&then)));
        }
    }

    #[test]
    fn what_the_catalogue_says_stands_in_the_row_where_it_is_asked_for() {
        let data = walks(40);
        let even = |item: usize| if item.is_multiple_of(2) { "A > B" } else { "A" };
        let paths: Vec<Vec<String>> = (1..=ITEMS as usize).map(|item| category_path(even(item))).collect();
        let prices: Vec<Option<f64>> = (1..=ITEMS).map(|item| Some(f64::from(item))).collect();
        let (categories, bands) = (Some(ItemLabels::new(&paths)), Some(price_bands(&prices, 5)));
        let sides = ItemSides { text: None, categories, price_bands: bands };
        let data = data.with_sides(Arc::new(sides));
        let asked = Config { category: true, price_band: true, ..config() };
        let parts = [part(popularity::NAME, &data).expect("sound settings")];
        let bought = [2, 4, 5].map(ItemIdx);
        let history = History::bought(&bought, &[0, 2 * DAY, 2 * DAY], 4 * DAY);
        let value = |config: &Config, item: u32, name: &str| {
            let shown = [6, 7, 8, 20].map(ItemIdx);
            let items = Items::fit(&data, config);
            let candidates = Candidates::of_shown(&history, &parts, &items, (20, &shown));
            let place = names(&[popularity::NAME.to_owned()], &[]).iter().position(|own| own == name);
            candidates.row(ItemIdx(item)).expect("a candidate")[place.expect("a column")]
        };
        let category = |item| value(&asked, item, "own_share_of_category");
        assert!((category(6) - 2.0 / 3.0).abs() < 1e-6 && (category(7) - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(value(&asked, 8, "own_days_since_category"), 2.0);
        // Bands of four items: 2 and 4 lie in the first, 5 in the second.
        assert!((value(&asked, 20, "price_bands_above_own") - (4.0 - 1.0 / 3.0)).abs() < 1e-6);
        assert!(value(&config(), 6, "own_share_of_category").is_nan());
        let history = ["user_purchases", "user_days_since_first", "user_mean_gap_days"];
        assert_eq!(history.map(|name| value(&config(), 6, name)), [3.0, 4.0, 2.0]);
    }

    #[test]
    fn a_column_has_a_name_and_says_what_it_adds() {
        let model = LambdaMart::fit(&walks(40), &config(), 1, part).expect("sound settings");
        let history = History::bought(&[ItemIdx(5), ItemIdx(6)], &[40 * DAY, 40 * DAY + 60_000], 41 * DAY);
        let told = model.contributions(&history, ItemIdx(7)).expect("a candidate");
        assert_eq!(told.len(), width(2));
        let strongest = told.iter().max_by(|a, b| a.1.total_cmp(&b.1)).expect("columns");
        assert!(strongest.0.starts_with("decayed_markov"), "{told:?}");
        assert_eq!(model.contributions(&history, ItemIdx(99)), None);
    }

    #[test]
    fn files_whose_parts_are_others_are_refused() {
        let model = LambdaMart::fit(&walks(40), &config(), 1, part).expect("sound settings");
        let file = model.save();
        assert!(LambdaMart::load(&file).is_ok_and(|loaded| loaded.save() == file));
        let mut nested = file.clone();
        nested.settings.insert("part1.model".to_owned(), NAME.to_owned());
        let said = LambdaMart::load(&nested).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains("part 1 is no \"decayed_markov\""), "{said}");
        let mut other = file.clone();
        other.settings.insert("columns".to_owned(), "popularity_score".to_owned());
        let said = LambdaMart::load(&other).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains("train it again"), "{said}");
    }

    #[test]
    fn settings_that_make_no_sense_are_named() {
        let fault = |config: Config| config.check().unwrap_err().to_string();
        assert!(fault(Config { models: vec![NAME.to_owned()], ..config() }).contains("no part of itself"));
        assert!(
            fault(Config { models: vec!["als".to_owned(), "als".to_owned()], ..config() }).contains("once")
        );
        assert!(fault(Config { held_out_days: 0.0, ..config() }).contains("held_out_days"));
    }
}
