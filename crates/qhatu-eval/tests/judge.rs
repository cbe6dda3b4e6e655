//! A made-up test period small enough to judge by hand.
#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

use qhatu_eval::{
    Case, Catalogue, JudgeError, Lists, PieceReading, Report, Settings, TitleReading, judge,
    paired_difference, text_table, to_json,
};

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

const EMPTY: Catalogue = Catalogue { shares: &[], buyers: &[], categories: None };

fn judged(models: &[Lists]) -> Report {
    judged_on(models, &cases())
}

fn judged_on(models: &[Lists], cases: &[Case]) -> Report {
    let shares = [0.0, 0.5, 0.25, 0.125, 0.0];
    let buyers = [vec![], vec![0, 1, 2, 3], vec![0, 1], vec![2], vec![]];
    let catalogue = Catalogue { shares: &shares, buyers: &buyers, categories: Some(&[0, 1, 1, 2, 2]) };
    judge(models, cases, &catalogue, &SETTINGS).unwrap()
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
    assert!((good["all"]["category_diversity_at_10"].mean - 2.0 / 3.0).abs() < 1e-12);
    // The list is 2, 1, 3: two of four buyers in common, none, one of four.
    let apart = (1.0 - 2.0 / 8f64.sqrt()) + 1.0 + (1.0 - 1.0 / 2.0);
    assert!((good["all"]["diversity_at_10"].mean - apart / 3.0).abs() < 1e-12);
    assert_eq!(report.models[1].targets["all"]["ndcg_at_10"].mean, 0.0);
    assert_eq!(report.models[1].targets["all"]["novelty_at_10"].n, 0, "empty lists have no novelty");
}

#[test]
fn the_winner_meets_the_best_baseline_user_by_user() {
    let (models, cases) = (models(), cases());
    let report = judged(&models);
    assert_eq!(report.comparisons.len(), 6);
    let first = &report.comparisons[0];
    assert_eq!((first.model.as_str(), first.best_baseline.as_str()), ("good", "popular"));
    assert_eq!(first.difference, paired_difference(&models[2], &models[0], &cases, &SETTINGS, "all"));
    assert!(first.is_better() && !first.is_worse());
}

#[test]
fn baselines_alone_elect_the_best_of_them() {
    let report = judged(&models()[..2]);
    assert!(report.comparisons.iter().all(|found| found.model == found.best_baseline));
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
    let all = ["returning", "1-2", "6-20", "head", "middle"].map(|group| ("all", group));
    let new = ["returning", "6-20", "middle"].map(|group| ("new", group));
    assert_eq!(groups, [&all[..], &new[..]].concat());
    let good = |group: usize| report.slices[group].models["good"];
    assert_eq!(good(1).n, 10);
    // Only item 1 is head; the list has it in the second place. Item 2 is middle and stands first.
    assert!((good(3).mean - 1.0 / 3f64.log2()).abs() < 1e-12);
    assert_eq!((good(3).n, good(4).n, good(4).mean), (40, 30, 1.0));
    assert_eq!(report.slices[3].items, 1);
}

#[test]
fn new_shoppers_stand_in_their_slice_and_nowhere_else() {
    let mut with_new = cases();
    with_new.extend((0..20).map(|_| case(0, &[4], &[4])));
    let mut models = models();
    for model in &mut models {
        model.all.resize(60, vec![4]);
        model.new.resize(60, vec![4]);
    }
    let (report, before) = (judged_on(&models, &with_new), judged(&models));
    assert_eq!(report.models, before.models);
    assert_eq!(report.comparisons, before.comparisons);
    let group = |found: &&qhatu_eval::Slice| found.group == "new" && found.target == "all";
    let slice = report.slices.iter().find(group).unwrap();
    assert_eq!((slice.models["silent"].n, slice.models["silent"].mean), (20, 1.0));
    let other = |slices: &[qhatu_eval::Slice]| -> Vec<_> {
        slices.iter().filter(|found| found.group != "new").cloned().collect()
    };
    assert_eq!(other(&report.slices), other(&before.slices));
}

#[test]
fn a_list_that_names_an_item_twice_is_refused() {
    let mut models = models();
    models[1].new[7] = vec![3, 5, 3];
    let refused = judge(&models, &cases(), &EMPTY, &SETTINGS);
    let expected = JudgeError::Duplicate { model: "silent".to_owned(), target: "new", case: 7, item: 3 };
    assert_eq!(refused, Err(expected));
    models[1].new[7] = vec![0, 5, 0];
    assert!(judge(&models, &cases(), &EMPTY, &SETTINGS).is_ok(), "padding stands for what is not there");
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
    let report = judge(&[short], &cases(), &EMPTY, &SETTINGS).unwrap();
    assert_eq!(report.models[0].targets["all"]["hit_rate_at_10"].mean, 0.0);
    assert!(judge(&[], &[], &EMPTY, &SETTINGS).unwrap().slices.is_empty());
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
    let catalogue = Catalogue { shares: &[0.0, 0.5, 0.5], ..EMPTY };
    let report = judge(&models, &vec![case; 50], &catalogue, &settings).unwrap();
    let page = qhatu_eval::html(&report).unwrap();
    for words in ["&lt;i&gt;own", "es mejor que", "is better than", "<svg", "NDCG@10"] {
        assert!(page.contains(words), "{words}");
    }
    for words in ["<i>own", "http://", "https://", "src="] {
        assert!(!page.contains(words), "{words}");
    }
    assert!(qhatu_eval::html(&judge(&[], &[], &catalogue, &settings).unwrap()).unwrap().contains("</html>"));
}

/// What the text model reads stands on the page and in the JSON; a report without it has neither.
#[test]
fn titles_that_a_text_model_read_are_shown() {
    let plain = judged(&models());
    assert!(!qhatu_eval::html(&plain).unwrap().contains("h-titles"));
    assert!(!to_json(&plain).unwrap().contains("titles"));
    let piece = |text: &str, adds| PieceReading { text: text.to_owned(), share: 0.5, adds };
    let title = TitleReading {
        item: "i1".to_owned(),
        title: "<b>café</b>".to_owned(),
        nearest: "i2".to_owned(),
        nearest_title: "café & té".to_owned(),
        likeness: 0.75,
        pieces: vec![piece("caf", 0.5), piece("##é", -0.25)],
        attention: vec![vec![0.5, 0.5], vec![0.0, 1.0]],
    };
    let report = Report { titles: vec![title], ..plain };
    let page = qhatu_eval::html(&report).unwrap();
    for words in ["&lt;b&gt;café", "café &amp; té", "cosine 0.750", "-0.250", "+0.500", "caf → ##é: 50 %"]
    {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("<b>café"));
    assert_eq!(serde_json::from_str::<Report>(&to_json(&report).unwrap()).unwrap(), report);
}
