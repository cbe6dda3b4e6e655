//! Ours in `cargo xtask bench trees`: answers lines on standard input with a line each.
//!
//! ```text
//! trees_bench SHOPPERS.parquet INVOICES.parquet FOLDER
//!                                         writes the matrix that everybody learns from to FOLDER
//! quality boosting|forest|logistic|attention|ensemble SEED all|no_page_values
//!                                     → ROC-AUC, PR-AUC, log-loss, F1, Brier, ECE: means over five folds
//! fit TIMES                               → seconds to fit the rows, repeated so often
//! row COUNT                               → microseconds to score a row, one at a time
//! rank orders|made_up SEED                → NDCG@10 by LambdaRank and row by row, each the mean over five folds and
//!                                           their deviation; writes the rows and folds to FOLDER before it answers
//! ```

use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;
use std::time::Instant;

use qhatu_eval::classification::ECE_BINS;
use qhatu_eval::metrics::{self, Confusion};
use qhatu_models::Stream;
use qhatu_models::calibration::sigmoid;
use qhatu_models::lambda_mart;
use qhatu_models::logistic_regression::{self, LogisticRegression};
use qhatu_models::propensity::{self, Classifier, Kind};
use qhatu_models::trees::{
    BoostingConfig, Columns, ForestConfig, Growth, Lesson, Objective, Target, TreeEnsemble, Walker,
    fit_boosting, fit_forest,
};
use qhatu_schema::{DenseColumn, DenseTable};

use self::ranking::Ranking;

mod orders;
mod ranking;

type Answer<T> = Result<T, Box<dyn Error>>;

/// The columns as numbers, categories by their place in the alphabet; for everybody the same.
struct Matrix {
    names: Vec<String>,
    columns: Vec<Vec<f64>>,
    labels: Vec<f32>,
}

fn main() -> Answer<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [shoppers, invoices, folder] = words.as_slice() else {
        return Err("SHOPPERS.parquet INVOICES.parquet FOLDER".into());
    };
    let matrix = Matrix::read(Path::new(shoppers))?;
    matrix.write(Path::new(folder))?;
    writeln!(stdout(), "qhatu {}", env!("CARGO_PKG_VERSION"))?;
    let folder = Path::new(folder);
    let mut bench = Bench { matrix, fitted: None, orders: orders::read(Path::new(invoices))? };
    for line in stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words.as_slice() {
            ["quality", kind, seed, columns] => bench.quality(kind, seed.parse()?, *columns == "all")?,
            ["fit", times] => vec![bench.fit(times.parse()?)?],
            ["row", count] => vec![bench.row(count.parse()?)?],
            ["rank", set, seed] => bench.rank(set, seed.parse()?, folder)?,
            _ => return Err(format!("{line:?} is not understood").into()),
        };
        let text: Vec<String> = answer.iter().map(|number| format!("{number:.6}")).collect();
        writeln!(stdout(), "{}", text.join(" "))?;
        stdout().flush()?;
    }
    Ok(())
}

impl Matrix {
    fn read(path: &Path) -> Answer<Self> {
        let table = DenseTable::from(&qhatu_store::read_table(path)?);
        let (mut names, mut columns, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for (name, column) in &table.columns {
            let numbers: Vec<f64> = match column {
                DenseColumn::Float(values) => values.clone(),
                DenseColumn::Label(texts) => {
                    let own = || (0..texts.codes.len()).map(|row| texts.get(row));
                    let mut known: Vec<&str> = own().collect();
                    known.sort_by_key(|text| (text.parse::<u32>().ok(), *text));
                    known.dedup();
                    let place = |text: &str| known.iter().position(|own| *own == text);
                    own().map(|text| place(text).map_or(f64::NAN, |place| place as f64)).collect()
                }
                _ => continue,
            };
            if name == "Revenue" {
                labels = numbers.iter().map(|label| *label as f32).collect();
            } else {
                names.push(name.clone());
                columns.push(numbers);
            }
        }
        Ok(Self { names, columns, labels })
    }

    /// Rows of `f32` side by side, the label last; and five folds for each of ten seeds, a byte a row.
    fn write(&self, folder: &Path) -> Answer<()> {
        std::fs::create_dir_all(folder)?;
        let row = |row: usize| {
            let own = self.columns.iter().map(move |column| column[row] as f32);
            own.chain([self.labels[row]]).flat_map(f32::to_le_bytes)
        };
        let rows: Vec<u8> = (0..self.labels.len()).flat_map(row).collect();
        std::fs::write(folder.join("matrix.f32"), rows)?;
        std::fs::write(folder.join("columns.txt"), self.names.join("\n"))?;
        let folds: Vec<u8> = (0..10).flat_map(|seed| self.folds(seed)).map(|fold| fold as u8).collect();
        Ok(std::fs::write(folder.join("folds.u8"), folds)?)
    }

    fn folds(&self, seed: u64) -> Vec<usize> {
        let mut fold_of = vec![0; self.labels.len()];
        for label in [0.0, 1.0] {
            let rows: Vec<usize> = (0..fold_of.len()).filter(|row| self.labels[*row] == label).collect();
            let order = Stream::new(seed).child(label as u64).shuffled(rows.len());
            order.into_iter().enumerate().for_each(|(turn, place)| fold_of[rows[place]] = turn % 5);
        }
        fold_of
    }
}

/// Depth 6, 200 trees, rate 0.05: the settings of everybody.
fn boosting() -> BoostingConfig {
    let growth = Growth { leaves: 31, depth: 6, l2: 0.0, ..Growth::default() };
    BoostingConfig { rounds: 200, learning_rate: 0.05, growth, ..BoostingConfig::default() }
}

struct Bench {
    matrix: Matrix,
    fitted: Option<TreeEnsemble>,
    orders: Ranking,
}

impl Bench {
    fn quality(&self, kind: &str, seed: u64, all: bool) -> Answer<Vec<f64>> {
        let fold_of = self.matrix.folds(seed);
        let used: Vec<usize> =
            (0..self.matrix.names.len()).filter(|at| all || self.matrix.names[*at] != "PageValues").collect();
        let mut sums = [0.0; 6];
        for fold in 0..5 {
            let pick = |judging: bool| {
                let rows: Vec<usize> =
                    (0..fold_of.len()).filter(|row| (fold_of[*row] == fold) == judging).collect();
                let column =
                    |at: &usize| rows.iter().map(|row| self.matrix.columns[*at][*row]).collect::<Vec<f64>>();
                let labels: Vec<f32> = rows.iter().map(|row| self.matrix.labels[*row]).collect();
                (used.iter().map(column).collect::<Vec<_>>(), labels)
            };
            let ((training, labels), (judging, truth)) = (pick(false), pick(true));
            let told = tell(kind, seed, (&training, &labels), &judging)?;
            let truth: Vec<bool> = truth.iter().map(|label| *label > 0.5).collect();
            let found = [
                metrics::auc_roc(&told, &truth),
                metrics::auc_pr(&told, &truth),
                metrics::log_loss(&told, &truth),
                Some(Confusion::at(&told, &truth, 0.5).f1()),
                metrics::brier(&told, &truth),
                metrics::ece(&told, &truth, ECE_BINS),
            ];
            sums.iter_mut().zip(found).for_each(|(sum, found)| *sum += found.unwrap_or(f64::NAN) / 5.0);
        }
        Ok(sums.to_vec())
    }

    fn fit(&mut self, times: usize) -> Answer<f64> {
        let columns: Vec<Vec<f64>> = self.matrix.columns.iter().map(|column| column.repeat(times)).collect();
        let labels = self.matrix.labels.repeat(times);
        let start = Instant::now();
        let trees = fit_boosting(&lesson(&columns, &labels), &boosting(), 1)?.trees;
        let seconds = start.elapsed().as_secs_f64();
        self.fitted = Some(trees);
        Ok(seconds)
    }

    fn row(&self, count: usize) -> Answer<f64> {
        let trees = self.fitted.as_ref().ok_or("fit first")?;
        let walker = Walker::new(trees);
        let columns = Columns::numbers(&self.matrix.columns);
        let rows: Vec<Vec<f32>> = (0..columns.rows().min(4096)).map(|row| columns.row(row)).collect();
        let start = Instant::now();
        let sum: f32 = (0..count).map(|at| walker.margin(&rows[at % rows.len()])).sum();
        let took = start.elapsed().as_secs_f64() * 1e6 / count as f64;
        if sum.is_finite() { Ok(took) } else { Err("a margin is not finite".into()) }
    }

    /// Orders are sorted by trees as `lambda_mart` has them, what is made up by those of everybody.
    fn rank(&self, set: &str, seed: u64, folder: &Path) -> Answer<Vec<f64>> {
        let made_up = Ranking::made_up(seed);
        let (ranking, config) = match set {
            "orders" => (&self.orders, lambda_mart::Config::default().trees),
            _ => (&made_up, boosting()),
        };
        let folds = ranking.folds(seed);
        ranking.write(folder, set, &folds)?;
        ranking.judge(&folds, &config, seed)
    }
}

fn lesson<'a>(columns: &'a [Vec<f64>], labels: &'a [f32]) -> Lesson<'a> {
    let (columns, target) = (Columns::numbers(columns), Target::new(labels));
    Lesson { columns, target, objective: Objective::Logistic, validation: None }
}

/// Probabilities of the judging rows.
fn tell(
    kind: &str,
    seed: u64,
    (columns, labels): (&[Vec<f64>], &[f32]),
    judging: &[Vec<f64>],
) -> Answer<Vec<f64>> {
    let judged = Columns::numbers(judging);
    Ok(match kind {
        "boosting" => {
            let trees = fit_boosting(&lesson(columns, labels), &boosting(), seed)?.trees;
            trees.margins(judged)?.into_iter().map(|margin| sigmoid(f64::from(margin))).collect()
        }
        "forest" => {
            let config = ForestConfig { trees: 100, ..ForestConfig::default() };
            let forest = fit_forest(Columns::numbers(columns), &Target::new(labels), &config, seed)?;
            forest.margins(judged)?.into_iter().map(|p| f64::from(p).clamp(0.0, 1.0)).collect()
        }
        "logistic" => {
            let scale: Vec<(f64, f64)> = columns.iter().map(|column| mean_and_deviation(column)).collect();
            let scaled = |columns: &[Vec<f64>]| -> Vec<Vec<f64>> {
                let own = columns.iter().zip(&scale);
                own.map(|(column, (mean, deviation))| column.iter().map(|v| (v - mean) / deviation).collect())
                    .collect()
            };
            let config = logistic_regression::Config::default();
            let fitted = LogisticRegression::fit(&scaled(columns), labels, &[], &config)?;
            let judged = scaled(judging);
            let row = |row: usize| judged.iter().map(|column| column[row]).collect::<Vec<f64>>();
            (0..judged[0].len()).map(|place| sigmoid(fitted.margin(&row(place)))).collect()
        }
        "attention" | "ensemble" => {
            let kind = if kind == "ensemble" { Kind::Ensemble } else { Kind::Attention };
            let config = propensity::Config { kind, boosting: boosting(), ..Default::default() };
            let target = Target::new(labels);
            let fitted = Classifier::fit(Columns::numbers(columns), &target, &config, seed)?;
            fitted.scores(judged)?.into_iter().map(sigmoid).collect()
        }
        _ => return Err(format!("there is no kind {kind:?}").into()),
    })
}

fn mean_and_deviation(column: &[f64]) -> (f64, f64) {
    let mean = column.iter().sum::<f64>() / column.len() as f64;
    let variance = column.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / column.len() as f64;
    (mean, if variance > 0.0 { variance.sqrt() } else { 1.0 })
}
