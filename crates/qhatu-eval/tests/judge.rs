//! A made-up test period small enough to judge by hand.

use qhatu_eval::{Case, Catalogue, Lists, Report, Settings, judge, paired_difference, text_table, to_json};

const SETTINGS: Settings = Settings { k: 10, bootstrap_samples: 200, seed: 7 };

fn case(history_length: usize, all: &[u32], new: &[u32]) -> Case {
    Case { history_length, relevant_all: all.to_vec(), relevant_new: new.to_vec() }
}

fn cases() -> Vec<Case> {
    (0..40).map(|at| if at % 4 == 0 { case(1, &[1], &[]) } else { case(8, &[1, 2], &[2]) }).collect()
}

fn lists(name: &str, baseline: bool, list: &[u32]) -> Lists {
    let each = vec![list.to_vec(); 40];
    Lists { name: name.to_owned(), baseline, all: each.clone(), new: each }
}

fn models() -> Vec<Lists> {
    vec![lists("popular", true, &[4, 1]), lists("silent", true, &[]), lists("good", false, &[2, 1, 3])]
}

fn judged(models: &[Lists]) -> Report {
    let shares = [0.0, 0.5, 0.25, 0.125, 0.0];
    judge(models, &cases(), &Catalogue { shares: &shares, categories: Some(&[0, 1, 1, 2, 2]) }, &SETTINGS)
}

#[test]
fn measures_are_those_worked_out_by_hand() {
    let report = judged(&models());
    let good = &report.models[2].targets;
    // A quarter of the shoppers want 1, found second; the others want both, found first and second.
    let ndcg = 0.25 / 3f64.log2() + 0.75;
    assert!((good["all"]["ndcg_at_10"].mean - ndcg).abs() < 1e-12);
    assert_eq!(good["all"]["ndcg_at_10"].n, 40);
    assert_eq!(good["new"]["ndcg_at_10"].n, 30, "shoppers without a new purchase are left out");
    assert_eq!(good["new"]["recall_at_10"].mean, 1.0);
    assert_eq!(good["all"]["coverage_at_10"].mean, 0.75);
    assert_eq!(good["all"]["novelty_at_10"].mean, 2.0);
    assert!((good["all"]["diversity_at_10"].mean - 2.0 / 3.0).abs() < 1e-12);
    assert_eq!(report.models[1].targets["all"]["ndcg_at_10"].mean, 0.0);
    assert_eq!(report.models[1].targets["all"]["novelty_at_10"].n, 0, "empty lists have no novelty");
}

#[test]
fn the_winner_meets_the_best_baseline_user_by_user() {
    let (models, cases) = (models(), cases());
    let report = judged(&models);
    assert_eq!(report.comparisons.len(), 6);
    let first = &report.comparisons[0];
    assert_eq!((first.winner.as_str(), first.best_baseline.as_str()), ("good", "popular"));
    assert_eq!(first.difference, paired_difference(&models[2], &models[0], &cases, &SETTINGS, "all"));
    assert!(first.is_better() && !first.is_worse());
}

#[test]
fn baselines_alone_elect_the_best_of_them() {
    let report = judged(&models()[..2]);
    assert!(report.comparisons.iter().all(|found| found.winner == found.best_baseline));
    assert!(report.comparisons.iter().all(|found| found.difference.mean == 0.0));
    assert!(
        judged(&models()[2..]).comparisons.is_empty(),
        "without a baseline there is nothing to compare with"
    );
}

#[test]
fn slices_hold_only_groups_that_occur() {
    let report = judged(&models());
    let groups: Vec<_> =
        report.slices.iter().map(|found| (found.target.as_str(), found.group.as_str())).collect();
    assert_eq!(groups, [("all", "1-2"), ("all", "6-20"), ("new", "6-20")]);
    assert_eq!(report.slices[0].models["good"].n, 10);
}

#[test]
fn json_comes_back_equal_and_the_table_fits() {
    let mut models = models();
    models[2].name = "a name much longer than any column can hold, ñandú".to_owned();
    let report = judged(&models);
    let back: Report = serde_json::from_str(&to_json(&report).unwrap()).unwrap();
    assert_eq!(to_json(&back).unwrap(), to_json(&report).unwrap());
    let table = text_table(&report);
    assert!(table.lines().all(|line| line.chars().count() <= 110), "{table}");
    assert!(table.contains("popular *"));
}

#[test]
fn bad_input_is_judged_as_empty_lists() {
    let short = Lists { name: "short".to_owned(), ..Lists::default() };
    let report = judge(&[short], &cases(), &Catalogue { shares: &[], categories: None }, &SETTINGS);
    assert_eq!(report.models[0].targets["all"]["hit_rate_at_10"].mean, 0.0);
    assert!(judge(&[], &[], &Catalogue { shares: &[], categories: None }, &SETTINGS).slices.is_empty());
}

/// The page holds every model and verdict in both languages, escapes names, and fetches nothing.
#[test]
fn the_page_stands_by_itself() {
    let lists = |name: &str, baseline, item: u32| Lists {
        name: name.to_owned(),
        baseline,
        all: vec![vec![item]; 50],
        new: vec![vec![item]; 50],
    };
    let case = Case { history_length: 3, relevant_all: vec![1], relevant_new: vec![1] };
    let models = [lists("popularity", true, 2), lists("<i>own</i>", false, 1)];
    let settings = Settings { k: 10, bootstrap_samples: 50, seed: 1 };
    let catalogue = Catalogue { shares: &[0.0, 0.5, 0.5], categories: None };
    let report = judge(&models, &vec![case; 50], &catalogue, &settings);
    let page = qhatu_eval::html(&report).unwrap();
    for words in ["&lt;i&gt;own", "es mejor que", "is better than", "<svg", "NDCG@10"] {
        assert!(page.contains(words), "{words}");
    }
    for words in ["<i>own", "http://", "https://", "src="] {
        assert!(!page.contains(words), "{words}");
    }
    assert!(qhatu_eval::html(&judge(&[], &[], &catalogue, &settings)).unwrap().contains("</html>"));
}
