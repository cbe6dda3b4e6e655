//! ALS: factors of shoppers and items for counts of purchases, by alternating least squares. (Hu, Koren and
//! Volinsky, Collaborative filtering for implicit feedback datasets, ICDM 2008.)
//!
//! With `r` how often a shopper bought an item, preference `p` is 1 where `r > 0` and 0 elsewhere, confidence
//! `c = 1 + α r`. With the items' factors `Y` held, a shopper's are `x = (YᵀY + Yᵀ(C − I)Y + λI)⁻¹ YᵀCp`, and the
//! other way round; `YᵀY` is shared, so that a row costs as much as it has entries. Score: `Yx`. While fitting a row is
//! not solved for but improved by a few steps of conjugate gradients from where it stood (Takács, Pilászy & Tikk,
//! Applications of the conjugate gradient method for implicit feedback collaborative filtering, RecSys 2011), which never
//! raises the objective.
//!
//! Departures: purchases fade (`history_half_life_days`) before they are counted, when fitting by the end of what
//! is known and when scoring by the moment of asking; shoppers' factors are not kept but solved for at each
//! request, so that a new shopper and a new purchase are known at once. A reason is the item of the history with the
//! largest share of the score: `yᵢᵀ W⁻¹ yⱼ cⱼ`, with `W` the matrix that is solved with. (The same, section 5.)
//!
//! Defaults: .282 / .094; λ 10 and 5: .273 / .089 and .265 / .088; 64 factors and λ 10: .268 / .093; α 1, 3 and 10 with
//! λ 10: .270, .273 and .263 on all (UCI Online Retail, NDCG@10 on all / new of the 28 days from 2011-10-15, by
//! `qhatu evaluate --until 2011-11-12 --models als`).

use qhatu_nn::linalg::{Cholesky, least_squares_product};
use qhatu_nn::tensor_file::TensorFile;
use qhatu_nn::{InnerProductIndex, Layout, Stream, inner_products_of, matmul};
use qhatu_schema::ItemIdx;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::error::{ModelError, misfit};
use crate::interactions::{Interactions, Sequence};
use crate::recommender::{self, Barred, History, Reason, Recommender, Scored, own_reason, top_k};

/// The name in settings and files.
pub const NAME: &str = "als";
/// Factors beyond which solving takes longer than a request may.
const FACTORS_MAX: usize = 256;
/// Steps of conjugate gradients for a row in an iteration.
const STEPS: usize = 3;
/// Rows whose products are summed up together, in their order, so that threads change nothing.
const BLOCK: usize = 512;

/// Hyper-parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Numbers per shopper and per item.
    pub factors: usize,
    /// λ: how strongly factors are drawn to zero.
    pub regularization: f32,
    /// α: how much a purchase adds to the confidence of 1 that what was not bought has.
    pub alpha: f32,
    /// Times that shoppers and items are solved for in turn.
    pub iterations: u32,
    /// Days after which a purchase counts half; 0: it never fades.
    pub history_half_life_days: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { factors: 128, regularization: 20.0, alpha: 2.0, iterations: 15, history_half_life_days: 60.0 }
    }
}

/// The fitted model: factors of the items, and their products. Lists come from an exact search over 8-bit codes of the
/// factors, made when it is fitted or loaded, items × (factors + 12.5) bytes.
#[derive(Debug, Clone)]
pub struct Als {
    config: Config,
    items: usize,
    /// items × factors; row 0 is item 1. Zero for an item that nobody bought.
    factors: Vec<f32>,
    /// `YᵀY + λI`.
    gram: Vec<f32>,
    /// Of the factors; none where they are not finite.
    index: Option<InnerProductIndex>,
}

/// A shopper's row of what was bought: places of items and `α r`.
type Row = Vec<(u32, f32)>;

impl Als {
    /// Solves in turn for shoppers and items. The same data, configuration and seed give the same model.
    /// Memory: factors of all shoppers and items, and each pair of shopper and item twice.
    ///
    /// # Errors
    /// [`ModelError::Setting`] for settings that make no sense.
    pub fn fit(data: &Interactions, config: &Config, seed: u64) -> Result<Self, ModelError> {
        check(config)?;
        let (items, width) = (data.items(), config.factors);
        let by_shopper: Vec<Row> =
            data.sequences.iter().map(|sequence| bought(sequence, data.until, items, config)).collect();
        let by_item = transposed(&by_shopper, items);
        let mut factors = vec![0.0; items * width];
        Stream::new(seed).fill_normal(&mut factors, 0.1);
        for (own, row) in factors.chunks_mut(width).zip(&by_item) {
            if row.is_empty() {
                own.fill(0.0);
            }
        }
        let mut shoppers = vec![0.0; by_shopper.len() * width];
        for _ in 0..config.iterations {
            improve_all(&mut shoppers, &factors, &by_shopper, config);
            improve_all(&mut factors, &shoppers, &by_item, config);
        }
        Ok(Self::new(*config, gram(&factors, config), factors))
    }

    /// Loads what [`Recommender::save`] gave.
    ///
    /// # Errors
    /// Where the file does not hold it.
    pub fn load(file: &TensorFile) -> Result<Self, ModelError> {
        let config: Config = recommender::config(NAME, file)?;
        check(&config)?;
        let factors = file.f32("factors")?.to_vec();
        if factors.len() % config.factors != 0 || factors.iter().any(|factor| !factor.is_finite()) {
            return Err(misfit(NAME, format!("its factors are no rows of {} numbers", config.factors)));
        }
        let gram = gram(&factors, &config);
        if gram.iter().any(|product| !product.is_finite()) {
            return Err(misfit(NAME, "its factors are too large to be multiplied"));
        }
        Ok(Self::new(config, gram, factors))
    }

    fn new(config: Config, gram: Vec<f32>, factors: Vec<f32>) -> Self {
        let items = factors.len() / config.factors;
        let index = InnerProductIndex::new(&factors, config.factors, vec![0.0; items]).ok();
        Self { config, items, factors, gram, index }
    }

    /// Whether nobody bought what is in a row: it has no factors.
    fn is_unknown(&self, row: usize) -> bool {
        self.factors[row * self.config.factors..][..self.config.factors].iter().all(|factor| *factor == 0.0)
    }

    /// The list by the index, with the scores of [`Recommender::score`]; nothing where there are fewer than `k` that
    /// somebody bought.
    fn searched(&self, history: &History, k: usize, barred: Barred) -> Option<Vec<Scored>> {
        let (system, row) = self.system(history)?;
        let own = solved(&system, &self.factors, &row);
        let item = |row: usize| ItemIdx(row as u32 + 1);
        let out = |row: usize| self.is_unknown(row) || barred(item(row));
        let found = self.index.as_ref()?.search(&self.factors, &own, k, &out);
        let list = found.iter().map(|found| Scored { item: item(found.row), score: found.score });
        (found.len() == k).then(|| list.collect())
    }

    fn row(&self, item: ItemIdx) -> Option<&[f32]> {
        let width = self.config.factors;
        let start = item.row().checked_sub(1)? * width;
        self.factors.get(start..start + width)
    }

    /// What is solved with for a history, and the history's row; nothing where it knows nothing.
    fn system(&self, history: &History) -> Option<(Cholesky, Row)> {
        let row = weighed(history.known(self.items), history.now, &self.config);
        if row.is_empty() {
            return None;
        }
        let matrix = with_row(&self.gram, &self.factors, &row);
        Cholesky::factor(&matrix, self.config.factors).ok().map(|system| (system, row))
    }
}

impl Recommender for Als {
    fn name(&self) -> &'static str {
        NAME
    }

    fn catalogue_size(&self) -> usize {
        self.items
    }

    fn score(&self, history: &History, scores: &mut [f32]) {
        recommender::clear(scores, self.items);
        let Some((system, row)) = self.system(history) else { return };
        let own = solved(&system, &self.factors, &row);
        inner_products_of(&self.factors, &own, &mut scores[1..]);
        let below = scores[1..].iter().copied().fold(f32::INFINITY, f32::min).next_down();
        // What nobody bought has no factors, and goes below what somebody did.
        let unknown = (0..self.items).filter(|row| self.is_unknown(*row));
        unknown.for_each(|row| scores[row + 1] = below);
    }

    fn recommend(&self, history: &History, k: usize, barred: Barred) -> Vec<Scored> {
        self.searched(history, k, barred).unwrap_or_else(|| recommender::plainly(self, history, k, barred))
    }

    fn similar_items(&self, item: ItemIdx, k: usize) -> Vec<Scored> {
        let Some(own) = self.row(item).filter(|row| row.iter().any(|factor| *factor != 0.0)) else {
            return Vec::new();
        };
        let length = |row: &[f32]| dot(row, row).sqrt();
        let cosine = |row: &[f32]| match length(row) {
            other if other > 0.0 => dot(row, own) / (other * length(own)),
            _ => -1.0,
        };
        let cosines = self.factors.chunks_exact(self.config.factors).map(cosine);
        let scores: Vec<f32> = std::iter::once(f32::NEG_INFINITY).chain(cosines).collect();
        top_k(&scores, k, |other| other == item)
    }

    fn because(&self, history: &History, item: ItemIdx) -> Reason {
        self.because_each(history, &[item])[0]
    }

    fn because_each(&self, history: &History, items: &[ItemIdx]) -> Vec<Reason> {
        let Some((system, row)) = self.system(history) else { return vec![Reason::Popular; items.len()] };
        let reason = |item: &ItemIdx| {
            let Some(own) = self.row(*item) else { return Reason::Popular };
            let mut shared: Vec<f64> = own.iter().copied().map(f64::from).collect();
            system.solve(&mut shared);
            let shared: Vec<f32> = shared.into_iter().map(|share| share as f32).collect();
            let share = |(place, confidence): &(u32, f32)| {
                let other = ItemIdx(place + 1);
                (other, (1.0 + confidence) * self.row(other).map_or(0.0, |row| dot(row, &shared)))
            };
            let strongest = row.iter().map(share).max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
            match strongest {
                Some((other, share)) if share > 0.0 && other == *item => {
                    own_reason(history, other).unwrap_or(Reason::Mixed)
                }
                Some((item, share)) if share > 0.0 => Reason::SimilarTo { item },
                _ => Reason::Popular,
            }
        };
        items.iter().map(reason).collect()
    }

    fn save(&self) -> TensorFile {
        let mut file = recommender::new_file(NAME, &self.config);
        file.put_f32("factors", &[self.items, self.config.factors], self.factors.clone());
        file
    }
}

fn check(config: &Config) -> Result<(), ModelError> {
    let setting = |key, value: String, hint| ModelError::Setting { model: NAME, key, value, hint };
    if !(1..=FACTORS_MAX).contains(&config.factors) {
        return Err(setting(
            "factors",
            config.factors.to_string(),
            "a whole number from 1 to 256, such as 64",
        ));
    }
    if !(config.regularization > 0.0 && config.regularization.is_finite()) {
        let value = config.regularization.to_string();
        return Err(setting("regularization", value, "a number above zero, such as 10"));
    }
    if !(config.alpha > 0.0 && config.alpha.is_finite()) {
        return Err(setting("alpha", config.alpha.to_string(), "a number above zero, such as 10"));
    }
    Ok(())
}

fn bought(sequence: &Sequence, until: i64, items: usize, config: &Config) -> Row {
    let history = History::bought(&sequence.items, &sequence.times, until);
    weighed(history.known(items), until, config)
}

/// `α r` of each distinct item, in order of items, with purchases faded.
fn weighed(known: impl Iterator<Item = (ItemIdx, i64)>, now: i64, config: &Config) -> Row {
    let mut sums: FxHashMap<u32, f32> = FxHashMap::default();
    for (item, time) in known {
        *sums.entry(item.0 - 1).or_default() += recommender::faded(now, time, config.history_half_life_days);
    }
    let mut row: Row = sums.into_iter().map(|(place, sum)| (place, config.alpha * sum)).collect();
    row.sort_unstable_by_key(|(place, _)| *place);
    row
}

/// The rows of items, each with its shoppers in their order.
fn transposed(rows: &[Row], items: usize) -> Vec<Row> {
    let mut columns = vec![Row::new(); items];
    for (number, row) in (0..).zip(rows) {
        row.iter().for_each(|(place, confidence)| columns[*place as usize].push((number, *confidence)));
    }
    columns
}

/// Improves the factors of each row of confidences, with the other side's factors held; zero for an empty row.
fn improve_all(factors: &mut [f32], fixed: &[f32], rows: &[Row], config: &Config) {
    let gram = whole(&gram(fixed, config), config.factors);
    factors.par_chunks_mut(config.factors).zip(rows).for_each(|(own, row)| match row.is_empty() {
        true => own.fill(0.0),
        false => improve(own, &gram, fixed, row),
    });
}

/// Steps of conjugate gradients towards the solution of `W x = YᵀCp`, `W = gram + Yᵀ(C − I)Y`, which is never made.
fn improve(x: &mut [f32], gram: &[f32], fixed: &[f32], row: &Row) {
    let width = x.len();
    let of = |place: u32| &fixed[place as usize * width..][..width];
    let product = |v: &[f32], out: &mut [f32]| least_squares_product(out, gram, (fixed, row), v);
    let mut product_of = vec![0.0; width];
    product(x, &mut product_of);
    let mut rest: Vec<f32> = product_of.iter().map(|value| -value).collect();
    row.iter().for_each(|(place, confidence)| add(&mut rest, of(*place), 1.0 + confidence));
    let mut way = rest.clone();
    let mut size = dot(&rest, &rest);
    for _ in 0..STEPS {
        product(&way, &mut product_of);
        let bend = dot(&way, &product_of);
        // Where nothing is left to improve there is no way to go.
        if !(size > f32::MIN_POSITIVE && bend > 0.0) {
            return;
        }
        let step = size / bend;
        add(x, &way, step);
        add(&mut rest, &product_of, -step);
        let left = dot(&rest, &rest);
        way.iter_mut().zip(&rest).for_each(|(way, rest)| *way = rest + left / size * *way);
        size = left;
    }
}

/// `values += factor · other`.
fn add(values: &mut [f32], other: &[f32], factor: f32) {
    values.iter_mut().zip(other).for_each(|(value, other)| *value += factor * other);
}

/// A symmetric matrix of which what lies below the diagonal is known.
fn whole(lower: &[f32], width: usize) -> Vec<f32> {
    let entry = |place: usize| {
        let (row, column) = (place / width, place % width);
        lower[row.max(column) * width + row.min(column)]
    };
    (0..width * width).map(entry).collect()
}

/// `YᵀY + λI`: of blocks of rows side by side, the blocks added up in their order.
fn gram(factors: &[f32], config: &Config) -> Vec<f32> {
    let width = config.factors;
    let of_block = |rows: &[f32]| {
        let mut sums = vec![0.0_f32; width * width];
        let layout = Layout::dense(rows.len() / width, width);
        let whole = (&mut sums[..], Layout::dense(width, width));
        matmul(whole, 0.0, (rows, layout.transposed()), (rows, layout), 1.0);
        sums
    };
    let blocks: Vec<Vec<f32>> = factors.par_chunks(BLOCK * width).map(of_block).collect();
    let mut gram = vec![0.0; width * width];
    blocks.iter().for_each(|block| gram.iter_mut().zip(block).for_each(|(sum, part)| *sum += part));
    (0..width).for_each(|place| gram[place * width + place] += config.regularization);
    gram
}

/// The matrix that a row is solved with: `gram + Yᵀ(C − I)Y`, below and on the diagonal.
fn with_row(gram: &[f32], factors: &[f32], row: &Row) -> Vec<f32> {
    let mut matrix = gram.to_vec();
    let width = gram.len().isqrt();
    for (place, confidence) in row {
        add_product(&mut matrix, &factors[*place as usize * width..][..width], *confidence);
    }
    matrix
}

/// Adds `weight · y yᵀ`, below and on the diagonal.
fn add_product(matrix: &mut [f32], y: &[f32], weight: f32) {
    for (row, entries) in matrix.chunks_exact_mut(y.len()).enumerate() {
        let scale = weight * y[row];
        entries[..=row].iter_mut().zip(y).for_each(|(entry, other)| *entry += scale * other);
    }
}

/// The factors of a row: the system solved for `YᵀCp`.
fn solved(system: &Cholesky, factors: &[f32], row: &Row) -> Vec<f32> {
    let width = system.size();
    let mut sums = vec![0.0_f64; width];
    for (place, confidence) in row {
        let other = &factors[*place as usize * width..][..width];
        let weight = 1.0 + f64::from(*confidence);
        sums.iter_mut().zip(other).for_each(|(sum, factor)| *sum += weight * f64::from(*factor));
    }
    system.solve(&mut sums);
    sums.into_iter().map(|sum| sum as f32).collect()
}

/// In eight sums, so that they go side by side.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use qhatu_schema::ItemId;

    use super::*;
    use crate::interactions::{Purchase, Vocabulary};

    const CONFIG: Config =
        Config { factors: 3, regularization: 0.5, alpha: 2.0, iterations: 40, history_half_life_days: 0.0 };

    fn shop(lines: &[(u32, u32)]) -> Interactions {
        let vocabulary =
            Vocabulary::new((1..=6).map(|item| ItemId::new(format!("i{item}")).expect("a name")));
        let lines: Vec<Purchase> = (0..)
            .zip(lines)
            .map(|(order, (user, item))| Purchase {
                time: i64::from(order),
                user: *user,
                order,
                item: ItemIdx(*item),
            })
            .collect();
        Interactions::from_purchases(Arc::new(vocabulary), &lines, 1000)
    }

    /// The objective of the paper's equation 3, over shoppers solved for.
    fn objective(model: &Als, data: &Interactions) -> f64 {
        let mut sum = 0.0;
        for sequence in &data.sequences {
            let row = bought(sequence, data.until, model.items, &model.config);
            let matrix = with_row(&model.gram, &model.factors, &row);
            let own = solved(&Cholesky::factor(&matrix, 3).expect("positive"), &model.factors, &row);
            for place in 0..model.items as u32 {
                let confidence = row.iter().find(|(other, _)| *other == place).map(|(_, c)| *c);
                let wanted = f32::from(confidence.is_some());
                let fault = wanted - dot(&own, &model.factors[place as usize * 3..][..3]);
                sum += f64::from((1.0 + confidence.unwrap_or(0.0)) * fault * fault);
            }
            sum += f64::from(model.config.regularization * dot(&own, &own));
        }
        sum + f64::from(model.config.regularization * dot(&model.factors, &model.factors))
    }

    #[test]
    fn each_iteration_lowers_the_objective_of_the_paper() {
        let data = shop(&[(0, 1), (0, 2), (0, 2), (1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (3, 5), (3, 4)]);
        let after = |iterations| {
            let model = Als::fit(&data, &Config { iterations, ..CONFIG }, 7).expect("sound settings");
            objective(&model, &data)
        };
        let found: Vec<f64> = (0..8).map(after).collect();
        assert!(found.windows(2).all(|pair| pair[1] <= pair[0] + 1e-4), "{found:?}");
        assert!(found[7] < 0.7 * found[0], "{found:?}");
    }

    #[test]
    fn shares_of_the_history_add_up_to_the_score_and_the_largest_is_the_reason() {
        let data = shop(&[(0, 1), (0, 2), (1, 1), (1, 2), (1, 3), (2, 4), (2, 5), (3, 5), (3, 4), (4, 1)]);
        let model = Als::fit(&data, &CONFIG, 7).expect("sound settings");
        let history = History::bought(&[ItemIdx(1), ItemIdx(4), ItemIdx(1)], &[5, 6, 7], 8);
        let mut scores = vec![0.0; 7];
        model.score(&history, &mut scores);
        let (system, row) = model.system(&history).expect("known items");
        for item in 1..=5 {
            let mut shared: Vec<f64> =
                model.row(ItemIdx(item)).expect("known").iter().copied().map(f64::from).collect();
            system.solve(&mut shared);
            let share = |(place, confidence): &(u32, f32)| {
                let other = model.row(ItemIdx(place + 1)).expect("known").iter();
                let dot: f64 = other.zip(&shared).map(|(a, b)| f64::from(*a) * b).sum();
                (1.0 + f64::from(*confidence)) * dot
            };
            let sum: f64 = row.iter().map(share).sum();
            assert!((sum - f64::from(scores[item as usize])).abs() < 1e-4, "item {item}");
        }
        assert_eq!(model.because(&history, ItemIdx(2)), Reason::SimilarTo { item: ItemIdx(1) });
        assert_eq!(model.because(&history, ItemIdx(5)), Reason::SimilarTo { item: ItemIdx(4) });
        assert_eq!(model.because(&history, ItemIdx(1)), Reason::BoughtBefore { times: 2, last: 7 });
        assert!(scores[1..6].iter().all(|score| *score >= scores[6]), "nobody bought item 6: {scores:?}");
    }

    proptest! {
        #[test]
        fn a_list_by_the_index_is_that_of_all_scores(
            items in prop::collection::vec(0..82_u32, 0..12), k in 0..40_usize, out in 1..8_u32, seed in 0..100_u64,
        ) {
            let config = Config { factors: 9, history_half_life_days: 0.0, ..Config::default() };
            let mut factors = vec![0.0; 80 * 9];
            Stream::new(seed).fill_normal(&mut factors, 1.0);
            // Some that nobody bought, and two that are alike.
            factors.chunks_exact_mut(9).step_by(3).for_each(|row| row.fill(0.0));
            factors.copy_within(9..18, 36);
            let model = Als::new(config, gram(&factors, &config), factors);
            let items: Vec<ItemIdx> = items.into_iter().map(ItemIdx).collect();
            let times = vec![0; items.len()];
            let history = History::bought(&items, &times, 1);
            let barred = |item: ItemIdx| item.0 % 7 == out;
            let want = recommender::plainly(&model, &history, k, &barred);
            prop_assert_eq!(model.recommend(&history, k, &barred), want);
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let data = shop(&[(0, 1)]);
        let with = |change: fn(&mut Config)| {
            let mut config = CONFIG;
            change(&mut config);
            Als::fit(&data, &config, 1).expect_err("no sense").to_string()
        };
        assert!(with(|config| config.factors = 0).contains("factors = 0"));
        assert!(with(|config| config.regularization = f32::NAN).contains("regularization = NaN"));
        assert!(with(|config| config.alpha = -1.0).contains("alpha = -1"));
    }
}
