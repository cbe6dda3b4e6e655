//! Popularity by department and time: what those who live where the shopper does bought of late.
//!
//! With `n(d, i)` the shoppers of department `d` who bought item `i`, each by their latest purchase of it, faded by a
//! half-life, `N(d)` their sum over the items and `p(i)` the item's share of the whole country's,
//!
//! ```text
//! score(d, i) = (n(d, i) + prior · p(i)) / (N(d) + prior)
//! ```
//!
//! A department that sold little looks like the country, one that sold much like itself: additive smoothing toward a
//! background (Zhai and Lafferty, SIGIR 2001, "Dirichlet prior"). Where nobody knows where the shopper lives, the country
//! speaks alone. A purchase is counted where its shopper's record says that they live now, and of each shopper an item's
//! latest purchase, so that one who buys it daily is one.
//!
//! The half-life was chosen where the country speaks alone, for the demo's shoppers have no departments: 7 days, .114 / .068;
//! 3 days .107 / .060, 5 days .114 / .067, 10 days .113 / .065, 14 days .110 / .063 (UCI Online Retail, NDCG@10 on all / new of
//! the 28 days from 2011-10-15, by `qhatu evaluate --until 2011-11-12`). The prior is a guess that `qhatu train --search` tries.

use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::{Department, ItemIdx};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::error::{ModelError, misfit};
use crate::interactions::{Interactions, Sequence};
use crate::popularity::load_scores;
use crate::recommender::{self, History, Reason, Recommender, Scored, faded, top_k};

/// The name in settings and files.
pub const NAME: &str = "department_popularity";

/// Hyper-parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Days after which a purchase counts half; 0: it never fades.
    pub half_life_days: f64,
    /// How many of a department's sales the whole country's shares weigh.
    pub prior: f32,
}

impl Default for Config {
    fn default() -> Self {
        Self { half_life_days: 7.0, prior: 100.0 }
    }
}

impl Config {
    /// Refuses what makes no sense.
    ///
    /// # Errors
    /// The first such setting.
    pub fn check(&self) -> Result<(), ModelError> {
        let fault = |key, value: f64, hint| {
            Err(ModelError::Setting { model: NAME, key, value: value.to_string(), hint })
        };
        if !(self.half_life_days.is_finite() && self.half_life_days >= 0.0) {
            return fault(
                "half_life_days",
                self.half_life_days,
                "a number of days such as 7; 0: nothing fades",
            );
        }
        if !(self.prior.is_finite() && self.prior > 0.0) {
            return fault("prior", self.prior.into(), "a number of sales above zero, such as 100");
        }
        Ok(())
    }
}

/// What a purchase counts at least, so that what sold long ago stands above what never did.
const LEAST: f32 = 1e-6;

/// The fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct DepartmentPopularity {
    config: Config,
    /// The country's share of each item, from padding on.
    country: Vec<f32>,
    departments: Vec<Sales>,
}

/// What one department bought.
#[derive(Debug, Clone, PartialEq, Default)]
struct Sales {
    /// Rising numbers of items, each with its faded sales.
    counts: Vec<(u32, f32)>,
    sum: f32,
}

impl Sales {
    fn new(counts: Vec<(u32, f32)>) -> Self {
        let sum = counts.iter().map(|(_, count)| count).sum();
        Self { counts, sum }
    }

    fn of(&self, item: ItemIdx) -> f32 {
        let place = self.counts.binary_search_by_key(&item.0, |(item, _)| *item);
        place.map_or(0.0, |place| self.counts[place].1)
    }
}

impl DepartmentPopularity {
    /// Counts shoppers per item, in the country and in each department.
    ///
    /// # Errors
    /// For settings that make no sense.
    pub fn fit(data: &Interactions, config: &Config) -> Result<Self, ModelError> {
        config.check()?;
        let mut country = vec![0.0_f64; data.items() + 1];
        let mut counts: Vec<FxHashMap<u32, f32>> = vec![FxHashMap::default(); Department::COUNT];
        for sequence in &data.sequences {
            let department = data.department(sequence.user).map(place);
            for (item, time) in latest(sequence) {
                let weight = faded(data.until, time, config.half_life_days).max(LEAST);
                country[item as usize] += f64::from(weight);
                if let Some(department) = department {
                    *counts[department].entry(item).or_default() += weight;
                }
            }
        }
        let sum: f64 = country.iter().sum();
        let share = |sold: f64| if sum > 0.0 { (sold / sum) as f32 } else { 0.0 };
        let mut country: Vec<f32> = country.into_iter().map(share).collect();
        country[0] = f32::NEG_INFINITY;
        let sorted = |counts: FxHashMap<u32, f32>| {
            let mut counts: Vec<(u32, f32)> = counts.into_iter().collect();
            counts.sort_unstable_by_key(|(item, _)| *item);
            Sales::new(counts)
        };
        Ok(Self { config: *config, country, departments: counts.into_iter().map(sorted).collect() })
    }

    /// Loads what [`Recommender::save`] gave.
    ///
    /// # Errors
    /// Where the file does not hold it.
    pub fn load(file: &TensorFile) -> Result<Self, ModelError> {
        let config: Config = recommender::config(NAME, file)?;
        config.check()?;
        let country = load_scores(NAME, file)?;
        if country[1..].iter().any(|share| !(0.0..=1.0).contains(share)) {
            return Err(misfit(NAME, "the country's shares do not lie between 0 and 1"));
        }
        let (starts, items, counts) = (file.u32("starts")?, file.u32("items")?, file.f32("counts")?);
        let rising = starts.windows(2).all(|pair| pair[0] <= pair[1]);
        let ends = starts.first() == Some(&0) && starts.last() == Some(&(items.len() as u32));
        if starts.len() != Department::COUNT + 1 || !rising || !ends || items.len() != counts.len() {
            return Err(misfit(NAME, "its departments' sales do not fit together"));
        }
        let mut departments = Vec::with_capacity(Department::COUNT);
        for bounds in starts.windows(2) {
            let range = bounds[0] as usize..bounds[1] as usize;
            let pairs = items[range.clone()].iter().copied().zip(counts[range].iter().copied());
            departments.push(Sales::new(pairs.collect()));
        }
        let own = Self { config, country, departments };
        if own.departments.iter().all(|sales| own.is_sound(sales)) {
            return Ok(own);
        }
        Err(misfit(
            NAME,
            "an item of a department lies outside the catalogue, or its sales are no number above 0",
        ))
    }

    fn is_sound(&self, sales: &Sales) -> bool {
        let known = |(item, count): &(u32, f32)| {
            (1..=self.catalogue_size()).contains(&(*item as usize)) && *count > 0.0
        };
        sales.sum.is_finite()
            && sales.counts.iter().all(known)
            && sales.counts.windows(2).all(|pair| pair[0].0 < pair[1].0)
    }

    /// A department's sales, where it has any.
    fn sales(&self, history: &History) -> Option<(Department, &Sales)> {
        let department = history.department?;
        Some((department, &self.departments[place(department)])).filter(|(_, sales)| sales.sum > 0.0)
    }
}

/// The place of a department in a list of all.
fn place(department: Department) -> usize {
    usize::from(department.number()) - 1
}

/// What a shopper bought, each item once, with when they did last.
fn latest(sequence: &Sequence) -> impl Iterator<Item = (u32, i64)> {
    let mut last: FxHashMap<u32, i64> = FxHashMap::default();
    for (item, time) in sequence.items.iter().zip(&sequence.times) {
        // Times never fall.
        last.insert(item.0, *time);
    }
    let mut last: Vec<(u32, i64)> = last.into_iter().collect();
    last.sort_unstable();
    last.into_iter()
}

impl Recommender for DepartmentPopularity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn catalogue_size(&self) -> usize {
        self.country.len() - 1
    }

    fn asks_department(&self) -> bool {
        true
    }

    fn score(&self, history: &History, scores: &mut [f32]) {
        scores.copy_from_slice(&self.country);
        let Some((_, sales)) = self.sales(history) else { return };
        let all = sales.sum + self.config.prior;
        let of_country = self.config.prior / all;
        scores[1..].iter_mut().for_each(|score| *score *= of_country);
        for (item, count) in &sales.counts {
            scores[*item as usize] += count / all;
        }
    }

    fn similar_items(&self, item: ItemIdx, k: usize) -> Vec<Scored> {
        top_k(&self.country, k, |other| other == item)
    }

    /// The department, where it buys the item at least as much as the country does; where nothing fades, nothing is said of
    /// these days.
    fn because(&self, history: &History, item: ItemIdx) -> Reason {
        if self.config.half_life_days <= 0.0 {
            return Reason::Popular;
        }
        match (self.sales(history), self.country.get(item.row())) {
            (Some((department, sales)), Some(share)) if sales.of(item) > 0.0 => {
                let own = sales.of(item) / sales.sum >= *share;
                if own { Reason::PopularInDepartment { department } } else { Reason::PopularRecently }
            }
            _ => Reason::PopularRecently,
        }
    }

    fn save(&self) -> TensorFile {
        let mut file = recommender::new_file(NAME, &self.config);
        file.put_f32("scores", &[self.country.len()], self.country.clone());
        let (mut starts, mut items, mut counts) = (vec![0], Vec::new(), Vec::new());
        for sales in &self.departments {
            items.extend(sales.counts.iter().map(|(item, _)| *item));
            counts.extend(sales.counts.iter().map(|(_, count)| *count));
            starts.push(items.len() as u32);
        }
        file.put_u32("starts", &[starts.len()], starts);
        file.put_u32("items", &[items.len()], items);
        file.put_f32("counts", &[counts.len()], counts);
        file
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use qhatu_schema::ItemId;

    use super::*;
    use crate::interactions::{Purchase, Vocabulary};

    const DAY: i64 = 86_400_000;
    const LIMA: u8 = 15;
    const CUSCO: u8 = 8;
    const PUNO: u8 = 21;

    fn department(number: u8) -> Option<Department> {
        Department::try_from(number).ok()
    }

    /// `(department, item, day, shoppers)`: so many who buy it once each.
    fn shop(lines: &[(u8, u32, i64, u32)]) -> Interactions {
        let (mut purchases, mut departments) = (Vec::new(), Vec::new());
        for &(number, item, day, shoppers) in lines {
            for _ in 0..shoppers {
                let user = departments.len() as u32;
                purchases.push(Purchase { time: day * DAY, user, order: user, item: ItemIdx(item) });
                departments.push(department(number));
            }
        }
        let names = (1..=4).map(|number| ItemId::new(format!("i{number}")).expect("not empty"));
        let data = Interactions::from_purchases(Arc::new(Vocabulary::new(names)), &purchases, 100 * DAY);
        data.with_departments(Arc::new(departments))
    }

    fn scores(model: &DepartmentPopularity, number: u8) -> Vec<f32> {
        let mut scores = vec![0.0; 5];
        model.score(&History::bought(&[], &[], 100 * DAY).in_department(department(number)), &mut scores);
        scores
    }

    fn best(model: &DepartmentPopularity, number: u8) -> u32 {
        top_k(&scores(model, number), 1, |_| false)[0].item.0
    }

    /// Lima buys item 1, Cusco item 2, and of Puno one shopper is known, who bought item 3.
    fn three() -> Interactions {
        shop(&[
            (LIMA, 1, 99, 900),
            (LIMA, 2, 99, 100),
            (CUSCO, 2, 99, 300),
            (CUSCO, 1, 99, 100),
            (PUNO, 3, 99, 1),
        ])
    }

    #[test]
    fn each_department_gets_what_it_buys_and_one_of_few_sales_what_the_country_does() {
        let model = DepartmentPopularity::fit(&three(), &Config::default()).unwrap();
        assert_eq!([LIMA, CUSCO, PUNO, 0, 1].map(|number| best(&model, number)), [1, 2, 1, 1, 1]);
        let gap = |number| {
            let pairs = scores(&model, number).into_iter().zip(scores(&model, 0)).skip(1);
            pairs.map(|(own, country)| (own - country).abs()).fold(0.0, f32::max)
        };
        assert!(gap(PUNO) < 0.01 && gap(CUSCO) > 0.3, "{} {}", gap(PUNO), gap(CUSCO));
        let bold = DepartmentPopularity::fit(&three(), &Config { prior: 0.1, ..Config::default() }).unwrap();
        assert_eq!(best(&bold, PUNO), 3);
    }

    #[test]
    fn scores_are_the_formulas() {
        let config = Config { half_life_days: 10.0, prior: 6.0 };
        let data = shop(&[(LIMA, 1, 90, 4), (CUSCO, 2, 100 - 20, 8), (0, 1, 90, 2)]);
        let data = data.of_sequences(data.sequences.clone(), 100 * DAY);
        let model = DepartmentPopularity::fit(&data, &config).unwrap();
        // Halves: item 1 has 3 and item 2 has 2, of 5; of these Lima has 2 of item 1, Cusco 2 of item 2.
        let near = |found: Vec<f32>, want: [f32; 4]| {
            let pairs = found[1..].iter().zip(want);
            assert!(pairs.clone().all(|(found, want)| (found - want).abs() < 1e-6), "{found:?} {want:?}");
        };
        near(scores(&model, 0), [0.6, 0.4, 0.0, 0.0]);
        near(scores(&model, LIMA), [(2.0 + 3.6) / 8.0, 2.4 / 8.0, 0.0, 0.0]);
        near(scores(&model, CUSCO), [3.6 / 8.0, (2.0 + 2.4) / 8.0, 0.0, 0.0]);
        near(scores(&model, PUNO), [0.6, 0.4, 0.0, 0.0]);
    }

    #[test]
    fn what_sold_long_ago_stands_above_what_never_did() {
        let long_ago = shop(&[(LIMA, 1, 99, 3), (LIMA, 3, -90_000, 1)]);
        let model = DepartmentPopularity::fit(&long_ago, &Config::default()).unwrap();
        let scores = scores(&model, LIMA);
        assert!(scores[1] > scores[3] && scores[3] > scores[2] && scores[2] == 0.0, "{scores:?}");
    }

    #[test]
    fn who_buys_an_item_daily_is_one_who_bought_it() {
        let daily: Vec<Purchase> = (0..50)
            .map(|day| Purchase { time: (50 + day) * DAY, user: 0, order: day as u32, item: ItemIdx(4) })
            .collect();
        let data = shop(&[(LIMA, 1, 99, 2)]);
        let names = Arc::clone(&data.vocabulary);
        let one = Interactions::from_purchases(names, &daily, 100 * DAY).sequences.remove(0);
        let sequences = data.sequences.iter().cloned().chain([one]).collect();
        let model = DepartmentPopularity::fit(&data.of_sequences(sequences, 100 * DAY), &Config::default());
        assert_eq!(best(&model.unwrap(), LIMA), 1);
    }

    #[test]
    fn the_department_is_named_where_it_buys_more_than_the_country() {
        let model = DepartmentPopularity::fit(&three(), &Config::default()).unwrap();
        let because = |number, item| {
            model.because(&History::bought(&[], &[], 0).in_department(department(number)), ItemIdx(item))
        };
        let cusco = department(CUSCO).unwrap();
        assert_eq!(because(CUSCO, 2), Reason::PopularInDepartment { department: cusco });
        assert_eq!([1, 3, 4, 9].map(|item| because(CUSCO, item)), [Reason::PopularRecently; 4]);
        assert_eq!(because(0, 2), Reason::PopularRecently);
    }

    #[test]
    fn settings_and_files_that_make_no_sense_are_refused() {
        for (half_life_days, prior) in [(-1.0, 1.0), (f64::NAN, 1.0), (14.0, 0.0), (14.0, f32::INFINITY)] {
            assert!(DepartmentPopularity::fit(&three(), &Config { half_life_days, prior }).is_err());
        }
        let file = DepartmentPopularity::fit(&three(), &Config::default()).unwrap().save();
        assert!(DepartmentPopularity::load(&file).is_ok());
        let damage = |change: &dyn Fn(&mut TensorFile)| {
            let mut file = file.clone();
            change(&mut file);
            assert!(DepartmentPopularity::load(&file).is_err());
        };
        let (items, counts) = (file.u32("items").unwrap(), file.f32("counts").unwrap());
        let of = items.len();
        let items = |change: fn(&mut Vec<u32>)| {
            let mut items = items.to_vec();
            change(&mut items);
            items
        };
        damage(&|file| file.put_u32("starts", &[2], vec![0, of as u32]));
        damage(&|file| file.put_u32("items", &[of], items(|items| items[0] = 5)));
        damage(&|file| file.put_u32("items", &[of], items(|items| items[0] = 0)));
        damage(&|file| file.put_u32("items", &[of], items(|items| items.swap(0, 1))));
        damage(&|file| file.put_f32("counts", &[of], vec![-1.0; of]));
        damage(&|file| file.put_f32("counts", &[of], vec![f32::MAX; of]));
        damage(&|file| file.put_f32("counts", &[of - 1], counts[1..].to_vec()));
        damage(&|file| file.put_f32("scores", &[5], vec![f32::NEG_INFINITY, 2.0, 0.0, 0.0, 0.0]));
    }
}
