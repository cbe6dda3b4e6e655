//! The test set: what models may learn from, and what they are then asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use qhatu_eval::Case;
use qhatu_models::{Evidence, History, Interactions, Journey, Purchase, Told};
use qhatu_schema::{Department, ItemIdx, LimaDay, Timestamp, UserIdx};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::config::{Split, TrainConfig};
use crate::data::ShopData;
use crate::error::TrainError;

const DAY_MS: i64 = 86_400_000;

/// What is set aside to judge with.
#[derive(Debug, Clone)]
pub struct TestSet {
    /// What models learn from.
    pub train: Interactions,
    /// The shoppers who are asked for; as long as `cases`.
    pub shoppers: Vec<Asked>,
    /// What each of them bought then.
    pub cases: Vec<Case>,
    /// How it was set aside, in words.
    pub protocol: String,
    /// First and last day of the test window, where there is one for all.
    pub window: Option<(LimaDay, LimaDay)>,
}

/// A shopper as they stood when the test began.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Their number in the shop's data.
    pub user: u32,
    /// What they had bought, oldest first.
    pub items: Vec<ItemIdx>,
    /// What they had bought and looked at.
    pub evidence: Evidence,
    /// Where they live, where the data say so.
    pub department: Option<Department>,
    /// All that they had done, for models that read acts; empty where none does.
    pub told: Told,
    /// The moment of asking.
    pub now: i64,
}

impl Asked {
    /// What a model is told of them.
    pub fn history(&self) -> History<'_> {
        let told = (!self.told.is_empty()).then_some(&self.told);
        History { told, ..self.evidence.history(self.now).in_department(self.department) }
    }
}

/// The journeys of shoppers who bought anything, by their numbers.
struct Journeys<'a>(FxHashMap<u32, &'a Journey>);

impl<'a> Journeys<'a> {
    fn of(data: &'a ShopData) -> Self {
        Self(data.journeys.iter().filter_map(|own| Some((own.user?.0, own))).collect())
    }

    fn told_before(&self, user: u32, now: i64) -> Told {
        self.0.get(&user).map(|own| own.told_before(now)).unwrap_or_default()
    }
}

impl TestSet {
    /// Sets the test aside as the configuration says. Asked are the shoppers who bought in the test window; those
    /// without a history come last, with a history of length 0, and are judged in a slice of their own.
    ///
    /// # Errors
    /// Where too little lies before the window, or nobody with a history bought in it.
    pub fn new(data: &ShopData, config: &TrainConfig) -> Result<Self, TrainError> {
        match config.split {
            Split::Time => by_time(data, config),
            Split::LeaveOneOut => leave_one_out(data),
        }
    }

    /// The shoppers of the training data who bought each item, as rising numbers, by item index.
    pub fn buyers(&self) -> Vec<Vec<u32>> {
        let mut buyers = vec![Vec::new(); self.train.items() + 1];
        for (number, sequence) in (0..).zip(&self.train.sequences) {
            for item in &sequence.items {
                let own: &mut Vec<u32> = &mut buyers[item.row()];
                if own.last() != Some(&number) {
                    own.push(number);
                }
            }
        }
        buyers
    }

    /// Share of the shoppers of the training data who bought each item, from [`TestSet::buyers`].
    pub fn shares(&self, buyers: &[Vec<u32>]) -> Vec<f64> {
        let shoppers = self.train.sequences.len().max(1) as f64;
        buyers.iter().map(|own| own.len() as f64 / shoppers).collect()
    }

    /// How many of the shoppers have a history.
    pub fn returning(&self) -> usize {
        self.cases.iter().filter(|case| case.history_length > 0).count()
    }
}

fn by_time(data: &ShopData, config: &TrainConfig) -> Result<TestSet, TrainError> {
    let last_day = Timestamp::from_millis(data.end() - 1).lima_day();
    let days = i32::try_from(config.test_days).unwrap_or(i32::MAX);
    let first_test_day = last_day.plus(1 - days);
    let until = first_test_day.start().millis();
    let first = data.purchases.first().map_or(until, |purchase| purchase.time);
    let before = (until - first) / DAY_MS;
    if before < i64::from(config.test_days) {
        return Err(TrainError::TooShort { test_days: config.test_days, days: before.max(0) });
    }
    let end = data.purchases.partition_point(|purchase| purchase.time < until);
    let mut bought: BTreeMap<u32, Vec<ItemIdx>> = BTreeMap::new();
    for purchase in &data.purchases[end..] {
        bought.entry(purchase.user).or_default().push(purchase.item);
    }
    let train = data.interactions(until);
    let protocol = format!("time split: {first_test_day} to {last_day}, learned from {before} days before");
    let journeys = Journeys::of(data);
    let test = assemble(train, &bought, (&journeys, &|_| until), protocol)?;
    let test = TestSet { window: Some((first_test_day, last_day)), ..test };
    Ok(with_new_shoppers(test, &bought, (&journeys, until)))
}

/// Adds those who bought for the first time: no purchase of theirs is known, and everything is new to them.
fn with_new_shoppers(
    mut test: TestSet,
    bought: &BTreeMap<u32, Vec<ItemIdx>>,
    (journeys, now): (&Journeys, i64),
) -> TestSet {
    let known: FxHashSet<u32> = test.train.sequences.iter().map(|sequence| sequence.user.0).collect();
    for (&user, items) in bought.iter().filter(|(user, _)| !known.contains(user)) {
        let relevant = distinct(items);
        test.cases.push(Case { history_length: 0, relevant_all: relevant.clone(), relevant_new: relevant });
        let department = test.train.department(UserIdx(user));
        let told = journeys.told_before(user, now);
        let evidence = test.train.looked.evidence(UserIdx(user), [], now);
        test.shoppers.push(Asked { user, items: Vec::new(), evidence, department, told, now });
    }
    test
}

fn distinct(items: &[ItemIdx]) -> Vec<u32> {
    let mut own: Vec<u32> = items.iter().map(|item| item.0).collect();
    own.sort_unstable();
    own.dedup();
    own
}

fn leave_one_out(data: &ShopData) -> Result<TestSet, TrainError> {
    let all = data.interactions(i64::MAX);
    let mut bought: BTreeMap<u32, Vec<ItemIdx>> = BTreeMap::new();
    let mut asked_at: BTreeMap<u32, i64> = BTreeMap::new();
    let mut kept = Vec::new();
    for sequence in &all.sequences {
        let last = sequence.orders.last().copied().unwrap_or(0);
        for (place, item) in sequence.items.iter().enumerate() {
            let (user, order) = (sequence.user.0, sequence.orders[place]);
            if order == last && last > 0 {
                bought.entry(user).or_default().push(*item);
                asked_at.insert(user, sequence.times[place]);
            } else {
                kept.push(Purchase { time: sequence.times[place], user, order, item: *item });
            }
        }
    }
    let train = Interactions::from_purchases(Arc::clone(&data.vocabulary), &kept, data.end());
    let train = train.with_sides(Arc::clone(&data.sides)).with_departments(Arc::clone(&data.departments));
    let train = train.with_journeys(without_last(&data.journeys, &asked_at));
    let train = train.with_looked(Arc::clone(&data.looked)).with_fold(data.fold(&data.vocabulary));
    let protocol = "leave one out: the last order of each shopper with more than one".to_owned();
    let now = |user: u32| asked_at.get(&user).copied().unwrap_or(i64::MAX);
    assemble(train, &bought, (&Journeys::of(data), &now), protocol)
}

/// Journeys up to the moment at which each shopper is asked.
fn without_last(journeys: &Arc<Vec<Journey>>, asked_at: &BTreeMap<u32, i64>) -> Arc<Vec<Journey>> {
    if journeys.is_empty() {
        return Arc::clone(journeys);
    }
    let cut = |own: &Journey| {
        let mut own = own.clone();
        if let Some(now) = own.user.and_then(|user| asked_at.get(&user.0)) {
            own.deeds.retain(|deed| deed.time < *now);
        }
        own
    };
    Arc::new(journeys.iter().map(cut).collect())
}

fn assemble(
    train: Interactions,
    bought: &BTreeMap<u32, Vec<ItemIdx>>,
    (journeys, now): (&Journeys, &dyn Fn(u32) -> i64),
    protocol: String,
) -> Result<TestSet, TrainError> {
    let (mut shoppers, mut cases) = (Vec::new(), Vec::new());
    for sequence in &train.sequences {
        let user = sequence.user.0;
        let Some(items) = bought.get(&user) else { continue };
        let relevant_all = distinct(items);
        let known: FxHashSet<u32> = sequence.items.iter().map(|item| item.0).collect();
        let relevant_new = relevant_all.iter().copied().filter(|item| !known.contains(item)).collect();
        let history_length = sequence.orders.last().map_or(0, |last| *last as usize + 1);
        cases.push(Case { history_length, relevant_all, relevant_new });
        let (department, now) = (train.department(sequence.user), now(user));
        let told = journeys.told_before(user, now);
        let evidence = train.looked.evidence(sequence.user, sequence.steps(), now);
        let items = sequence.items.clone();
        shoppers.push(Asked { user, items, evidence, department, told, now });
    }
    if cases.is_empty() {
        return Err(TrainError::NobodyToJudge { from: protocol });
    }
    Ok(TestSet { train, shoppers, cases, protocol, window: None })
}
