//! What makes a recommender: every model passes this suite. A new model adds one line to [`MODELS`].

#![expect(clippy::unwrap_used, reason = "a test may stop where it fails")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use qhatu_models::sequence::{
    ActWeights, Augmentation, Context, Distance, Inputs, Objective, Progress, SequenceConfig, SequenceModel,
    Similar, Steps,
};
use qhatu_models::{
    Deed, History, Interactions, ItemSides, Journey, ModelError, Purchase, Recommender, Scored, Sequence,
    Vocabulary, als, bert4rec, blend, decayed_markov, department_popularity, ease, gru4rec, item_knn,
    lambda_mart, load_model, own_frequency, popularity, recent_popularity, sasrec, text_neighbours, top_k,
    vmis_knn, vstan,
};
use qhatu_nn::tensor_file::TensorFile;
use qhatu_schema::{Department, EventKind, ItemId, ItemIdx};

type Fit = fn(&Interactions) -> Box<dyn Recommender>;

/// Name, how it is fitted here, and whether it learns from others what fits a history.
const MODELS: &[(&str, Fit, bool)] = &[
    ("popularity", |d| Box::new(popularity::Popularity::fit(d, &popularity::Config::default())), false),
    (
        "recent_popularity",
        |d| Box::new(recent_popularity::RecentPopularity::fit(d, &recent_popularity::Config::default())),
        false,
    ),
    (
        "department_popularity",
        |d| {
            // Shoppers of odd numbers live in Amazonas, the others in Áncash.
            let departments = (0..ITEMS as u8).map(|user| department(2 - user % 2)).collect();
            let d = d.clone().with_departments(Arc::new(departments));
            let config = department_popularity::Config::default();
            Box::new(department_popularity::DepartmentPopularity::fit(&d, &config).unwrap())
        },
        false,
    ),
    (
        "own_frequency",
        |d| Box::new(own_frequency::OwnFrequency::fit(d, &own_frequency::Config::default())),
        false,
    ),
    (
        "decayed_markov",
        |d| Box::new(decayed_markov::DecayedMarkov::fit(d, &decayed_markov::Config::default())),
        true,
    ),
    // On the checkerboard all neighbours are equally near, so all of them must vote.
    (
        "item_knn",
        |d| Box::new(item_knn::ItemKnn::fit(d, &item_knn::Config { k: 50, ..Default::default() })),
        true,
    ),
    ("ease", |d| Box::new(ease::Ease::fit(d, &ease::Config::default()).unwrap()), true),
    (
        "als",
        |d| Box::new(als::Als::fit(d, &als::Config { factors: 8, ..Default::default() }, 1).unwrap()),
        true,
    ),
    ("blend", |d| Box::new(blend::Blend::fit(d, &blend::Config::default(), 1).unwrap()), true),
    ("sasrec", |d| Box::new(sasrec::SasRec::fit(d, &SASREC, 1).unwrap()), true),
    ("sasrec", |d| Box::new(sasrec::SasRec::fit(d, &sasrec_items("sampled_softmax"), 1).unwrap()), true),
    (
        "sasrec",
        |d| {
            let text = Some(titles(d.items()));
            let sides = ItemSides { text, ..ItemSides::default() };
            let inputs = Inputs { text: true, id_dropout_prob: 0.2, ..Inputs::default() };
            let augmentation = Augmentation { crop_prob: 0.2, insert_prob: 0.1, ..PLAIN };
            let config = sasrec::Config { inputs, augmentation, ..SASREC };
            Box::new(sasrec::SasRec::fit(&d.clone().with_sides(Arc::new(sides)), &config, 1).unwrap())
        },
        true,
    ),
    ("sasrec", |d| Box::new(sasrec::SasRec::fit(&with_carts(d), &sasrec_acts(true), 1).unwrap()), true),
    ("gru4rec", |d| Box::new(gru4rec::Gru4Rec::fit(d, &gru4rec_config("gru"), 1).unwrap()), true),
    ("bert4rec", |d| Box::new(bert4rec::Bert4Rec::fit(d, &bert4rec_config(true), 1).unwrap()), true),
    (
        "text_neighbours",
        |d| {
            let config = text_neighbours::Config::default();
            Box::new(text_neighbours::TextNeighbours::fit(d, titles(d.items()), &config).unwrap())
        },
        true,
    ),
    ("vmis_knn", |d| Box::new(vmis_knn::VmisKnn::fit(d, &vmis_knn::Config::default()).unwrap()), true),
    (
        "lambda_mart",
        |d| {
            let models = ["own_frequency", "decayed_markov", "vmis_knn"].map(str::to_owned).to_vec();
            let config = lambda_mart::Config { models, held_out_days: 80.0, ..Default::default() };
            let fit = |name: &str, d: &Interactions| Ok::<_, ModelError>(named(name)(d));
            Box::new(lambda_mart::LambdaMart::fit(d, &config, 1, fit).unwrap())
        },
        true,
    ),
    ("vstan", |d| Box::new(vstan::Vstan::fit(d, &vstan::Config::default()).unwrap()), true),
];

/// How the model of a name is fitted here.
fn named(name: &str) -> Fit {
    MODELS.iter().find(|(own, ..)| *own == name).unwrap().1
}

/// Titles of two words, of which one is every item's own and the other its kind's.
fn titles(items: usize) -> text_neighbours::ItemVectors {
    let width = items + 2;
    let mut values = vec![0.0; items * width];
    for (place, vector) in values.chunks_exact_mut(width).enumerate() {
        vector[place] = 0.5;
        vector[items + place % 2] = 1.0;
    }
    text_neighbours::ItemVectors { width, values }
}

/// A training's outcome, after so many epochs at most; with a path it goes on from a checkpoint, and with a number of steps
/// it is stopped after so many.
type Train = fn(&Interactions, u32, Option<&Path>, Option<u32>) -> Option<Box<dyn Recommender>>;

/// The models that are learned in epochs, and how many they need to know a batch by heart: those that are told from a few
/// negatives at a time, or asked for a few items at a time, need more.
const LEARNED: &[(&str, u32, Train)] = &[
    ("sasrec", 50, |data, epochs, checkpoint, most| {
        train(data, &sasrec::Config { epochs, ..SASREC }, checkpoint, most)
    }),
    ("sasrec, sampled", 50, |data, epochs, checkpoint, most| {
        let config = sasrec::Config { epochs, ..sasrec_items("sampled_softmax") };
        train(data, &config, checkpoint, most)
    }),
    ("sasrec, gbce", 200, |data, epochs, checkpoint, most| {
        train(data, &sasrec::Config { epochs, ..sasrec_items("gbce") }, checkpoint, most)
    }),
    ("sasrec, acts", 100, |data, epochs, checkpoint, most| {
        train(&with_carts(data), &sasrec::Config { epochs, ..sasrec_acts(false) }, checkpoint, most)
    }),
    ("gru4rec", 50, |data, epochs, checkpoint, most| {
        train(data, &gru4rec::Config { epochs, ..gru4rec_config("gru") }, checkpoint, most)
    }),
    ("gru4rec, lstm", 50, |data, epochs, checkpoint, most| {
        train(data, &gru4rec::Config { epochs, ..gru4rec_config("lstm") }, checkpoint, most)
    }),
    ("bert4rec", 800, |data, epochs, checkpoint, most| {
        train(data, &bert4rec::Config { epochs, ..bert4rec_config(false) }, checkpoint, most)
    }),
];

fn train<C: SequenceConfig + 'static>(
    data: &Interactions,
    config: &C,
    checkpoint: Option<&Path>,
    most: Option<u32>,
) -> Option<Box<dyn Recommender>> {
    let mut steps = 0;
    let progress = &mut |now: &Progress| {
        assert!(now.loss.is_finite() && now.epoch < now.epochs && now.step <= now.steps);
        steps += 1;
        if most.is_some_and(|most| steps > most) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    match SequenceModel::fit_with(data, config, 1, &mut Context { checkpoint, progress }) {
        Ok(model) => Some(Box::new(model)),
        Err(ModelError::Cancelled { .. }) => None,
        Err(other) => panic!("{other}"),
    }
}

/// The settings of the papers' protocol, small, with the objective of a name.
fn sasrec_items(objective: &str) -> sasrec::Config {
    sasrec::Config {
        steps: Steps::Items,
        attention_bias: Distance::Steps,
        repeats: false,
        trend: false,
        refit: false,
        objective: serde_json::from_value(objective.into()).unwrap(),
        negatives: 16,
        ..SASREC
    }
}

/// One that is told what was done with each item, with or without the parts for shops.
fn sasrec_acts(shop: bool) -> sasrec::Config {
    let inputs = Inputs { event_kind: true, ..Inputs::default() };
    sasrec::Config { inputs, steps: Steps::Items, repeats: shop, trend: shop, ..SASREC }
}

/// The purchases as events, now and then with a cart before.
fn with_carts(data: &Interactions) -> Interactions {
    let journey = |own: &Sequence| {
        let mut deeds = Vec::new();
        for (place, item) in own.items.iter().enumerate() {
            let deed = Deed {
                time: own.times[place],
                item: *item,
                order: own.orders[place],
                kind: EventKind::Purchase,
            };
            if place % 4 == 1 {
                deeds.push(Deed { kind: EventKind::AddToCart, ..deed });
            }
            deeds.push(deed);
        }
        Journey { user: Some(own.user), deeds }
    };
    data.clone().with_journeys(Arc::new(data.sequences.iter().map(journey).collect()))
}

fn gru4rec_config(cell: &str) -> gru4rec::Config {
    gru4rec::Config {
        hidden_size: 32,
        cell: serde_json::from_value(cell.into()).unwrap(),
        max_length: 64,
        hidden_dropout_prob: 0.1,
        item_dropout_prob: 0.0,
        learning_rate: 1e-2,
        weight_decay: 0.0,
        warmup_steps: 5,
        ema_decay: 0.5,
        batch_size: 5,
        accumulation_steps: 2,
        epochs: 50,
        validation_days: 3.0,
        recency_half_life_days: 0.0,
        horizon_days: 0.0,
        parts: 3,
        ..gru4rec::Config::default()
    }
}

/// With or without the parts for shops.
fn bert4rec_config(shop: bool) -> bert4rec::Config {
    bert4rec::Config {
        hidden_size: 32,
        num_hidden_layers: 1,
        intermediate_size: 32,
        max_length: 64,
        hidden_dropout_prob: 0.1,
        attention_probs_dropout_prob: 0.0,
        learning_rate: 1e-2,
        weight_decay: 0.0,
        warmup_steps: 5,
        ema_decay: 0.5,
        batch_size: 5,
        epochs: 100,
        validation_days: 3.0,
        recency_half_life_days: 0.0,
        attention_bias: if shop { Distance::Time } else { Distance::Steps },
        repeats: shop,
        trend: shop,
        parts: 3,
        ..bert4rec::Config::default()
    }
}

/// No history is changed.
const PLAIN: Augmentation = Augmentation {
    crop_prob: 0.0,
    reorder_prob: 0.0,
    insert_prob: 0.0,
    insert: Similar::Bought,
    synthetic_prob: 0.0,
};

/// Small and quick, for the small data of this suite.
const SASREC: sasrec::Config = sasrec::Config {
    hidden_size: 32,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    intermediate_size: 32,
    max_length: 64,
    hidden_dropout_prob: 0.1,
    item_dropout_prob: 0.0,
    attention_probs_dropout_prob: 0.0,
    learning_rate: 1e-2,
    weight_decay: 0.0,
    warmup_steps: 5,
    max_grad_norm: 1.0,
    ema_decay: 0.5,
    batch_size: 5,
    epochs: 50,
    patience: 3,
    validation_days: 3.0,
    recency_half_life_days: 0.0,
    horizon_days: 0.0,
    parts: 3,
    accumulation_steps: 1,
    refit: true,
    steps: Steps::Orders,
    attention_bias: Distance::Time,
    repeats: true,
    trend: true,
    inputs: Inputs {
        item_id: true,
        text: false,
        category: false,
        price_band: false,
        time_gap: false,
        event_kind: false,
        id_dropout_prob: 0.0,
    },
    act_weights: ActWeights { viewed: 0.2, carted: 0.5, bought: 1.0 },
    augmentation: PLAIN,
    objective: Objective::Softmax,
    negatives: 16,
    gbce_t: 0.75,
};

const ITEMS: u32 = 50;
const DAY: i64 = 86_400_000;

/// The department of a number; for 0 it is unknown.
fn department(number: u8) -> Option<Department> {
    Department::try_from(number).ok()
}

fn vocabulary(items: u32) -> Arc<Vocabulary> {
    Arc::new(Vocabulary::new((1..=items).map(|item| ItemId::new(format!("i{item}")).unwrap())))
}

/// Shoppers of even numbers buy even items, those of odd numbers odd ones, each all but one of their
/// kind, two to an order.
fn checkerboard() -> Interactions {
    let mut lines = Vec::new();
    for user in 0..ITEMS {
        let kind = (1..=ITEMS).filter(|item| item % 2 == user % 2 && item - 1 != user);
        for (place, item) in kind.enumerate() {
            let order = user * ITEMS + place as u32 / 2;
            lines.push(Purchase {
                time: DAY * i64::from(place as u32 / 2),
                user,
                order,
                item: ItemIdx(item),
            });
        }
    }
    Interactions::from_purchases(vocabulary(ITEMS), &lines, 100 * DAY)
}

fn scores(model: &dyn Recommender, history: &History) -> Vec<f32> {
    let mut scores = vec![f32::NAN; model.catalogue_size() + 1];
    model.score(history, &mut scores);
    scores
}

fn each(check: impl Fn(&str, &Fit, &dyn Recommender)) {
    let data = checkerboard();
    for (name, fit, _) in MODELS {
        let model = fit(&data);
        assert_eq!(model.name(), *name);
        assert_eq!(model.catalogue_size(), ITEMS as usize);
        check(name, fit, &*model);
    }
}

/// From implicit's tests: the one item of a shopper's kind that they lack comes first among the new.
#[test]
fn the_missing_square_of_the_checkerboard_comes_first() {
    let data = checkerboard();
    for (name, fit, _) in MODELS.iter().filter(|(.., learns)| *learns) {
        let model = fit(&data);
        for sequence in &data.sequences {
            let missing = sequence.user.0 + 1;
            if missing % 2 != sequence.user.0 % 2 {
                continue;
            }
            let history = History::bought(&sequence.items, &sequence.times, data.until);
            let list = top_k(&scores(&*model, &history), 1, |item| sequence.items.contains(&item));
            assert_eq!(list[0].item, ItemIdx(missing), "{name}, shopper {}", sequence.user.0);
        }
        let kind = [ItemIdx(2), ItemIdx(4)];
        let list = top_k(&scores(&*model, &History::bought(&kind, &[0, DAY], 2 * DAY)), 10, |_| false);
        let other_kind = |scored: &&Scored| scored.score > 0.0 && scored.item.0 % 2 == 1;
        assert_eq!(list.iter().find(other_kind), None, "{name}");
        assert_eq!(list[0].item.0 % 2, 0, "{name}");
    }
}

#[test]
fn every_score_is_a_number_whatever_the_history() {
    each(|name, _, model| {
        let far = [ItemIdx(0), ItemIdx(u32::MAX), ItemIdx(ITEMS + 1), ItemIdx(3)];
        let long: Vec<ItemIdx> = (0..5000).map(|place| ItemIdx(place % (ITEMS + 2))).collect();
        let times: Vec<i64> = (0..5000).collect();
        let histories = [
            History::bought(&[], &[], 0),
            History::bought(&far, &[i64::MIN, i64::MAX, 0, 7], i64::MIN),
            History::bought(&far, &[1], i64::MAX),
            History::bought(&long, &times, 6000),
            History::bought(&far, &[1], 0).in_department(department(1)),
            History::bought(&[], &[], 0).in_department(department(25)),
        ];
        for history in &histories {
            let scores = scores(model, history);
            assert_eq!(scores[0], f32::NEG_INFINITY, "{name}");
            assert!(scores[1..].iter().all(|score| score.is_finite()), "{name}");
            (1..=ITEMS).for_each(|item| {
                model.because(history, ItemIdx(item));
            });
            model.because(history, ItemIdx(0));
            model.because(history, ItemIdx(u32::MAX));
        }
    });
}

#[test]
fn many_at_once_is_one_by_one() {
    each(|name, _, model| {
        let items: Vec<ItemIdx> = (1..=20).map(ItemIdx).collect();
        let times: Vec<i64> = (0..20).map(|place| place * DAY).collect();
        let of = |end: usize| {
            let history = History::bought(&items[..end], &times[..end], 30 * DAY);
            history.in_department(department(end as u8 % 3))
        };
        let histories: Vec<History> = (0..20).map(of).collect();
        let mut batch = vec![0.0; histories.len() * (ITEMS as usize + 1)];
        model.score_batch(&histories, &mut batch);
        let single: Vec<f32> = histories.iter().flat_map(|history| scores(model, history)).collect();
        assert_eq!(batch, single, "{name}");
    });
}

#[test]
fn lists_hold_what_may_be_in_them_and_no_more_than_there_is() {
    each(|name, _, model| {
        let history = History::bought(&[ItemIdx(1), ItemIdx(3)], &[0, 1], 2);
        let scores = scores(model, &history);
        let all = top_k(&scores, 1000, |_| false);
        assert_eq!(all.len(), ITEMS as usize, "{name}");
        let new = top_k(&scores, 1000, |item| history.items.contains(&item));
        assert_eq!(new.len(), ITEMS as usize - 2, "{name}");
        for item in 0..=ITEMS + 1 {
            let similar = model.similar_items(ItemIdx(item), 5);
            assert!(similar.len() <= 5, "{name}");
            assert!(similar.iter().all(|scored| scored.item != ItemIdx(item)), "{name}");
        }
    });
}

/// The same items, with scores that are the same up to one summand.
#[track_caller]
fn assert_same_list(found: &[Scored], want: &[Scored], name: &str) {
    let items = |list: &[Scored]| list.iter().map(|scored| scored.item).collect::<Vec<_>>();
    assert_eq!(items(found), items(want), "{name}");
    for (found, want) in found.windows(2).zip(want.windows(2)) {
        let gap = (found[0].score - found[1].score) - (want[0].score - want[1].score);
        assert!(gap.abs() < 1e-4, "{name}: {found:?} {want:?}");
    }
}

#[test]
fn a_list_is_the_same_however_it_is_asked() {
    each(|name, _, model| {
        for known in [&[][..], &[ItemIdx(1)], &[ItemIdx(5), ItemIdx(2), ItemIdx(5), ItemIdx(8)]] {
            let times: Vec<i64> = (0..known.len() as i64).map(|day| day * DAY).collect();
            let history = History::bought(known, &times, 9 * DAY).in_department(department(1));
            let barred = |item: ItemIdx| item.0 % 5 == 3;
            let whole = top_k(&scores(model, &history), 7, barred);
            let asked = model.recommend(&history, 7, &barred);
            assert_same_list(&asked, &whole[..asked.len()], name);
            assert!(whole[asked.len()..].iter().all(|scored| scored.score == 0.0), "{name}");
            let told: Vec<_> = asked.iter().map(|it| (*it, model.because(&history, it.item))).collect();
            assert_eq!(model.recommend_because(&history, 7, &barred), told, "{name}");
            let items: Vec<ItemIdx> = (0..=ITEMS + 1).map(ItemIdx).collect();
            let one_by_one: Vec<_> = items.iter().map(|&item| model.because(&history, item)).collect();
            assert_eq!(model.because_each(&history, &items), one_by_one, "{name}");
        }
    });
}

#[test]
fn a_model_loaded_again_is_the_same_model() {
    each(|name, _, model| {
        let bytes = model.save().to_bytes().unwrap();
        let loaded = load_model(&TensorFile::from_bytes(&bytes).unwrap()).unwrap();
        assert_eq!(loaded.name(), name);
        let history = History::bought(&[ItemIdx(2), ItemIdx(4)], &[0, DAY], 3 * DAY);
        let history = history.in_department(department(2));
        assert_eq!(scores(&*loaded, &history), scores(model, &history), "{name}");
        assert_eq!(loaded.because(&history, ItemIdx(6)), model.because(&history, ItemIdx(6)), "{name}");
        assert_eq!(loaded.similar_items(ItemIdx(2), 9), model.similar_items(ItemIdx(2), 9), "{name}");
        assert_eq!(loaded.save(), model.save(), "{name}");
    });
}

#[test]
fn fitted_twice_is_equal_to_the_bit() {
    each(|name, fit, model| assert_eq!(fit(&checkerboard()).save(), model.save(), "{name}"));
}

/// Nothing after `until` is learned, and scores do not depend on anything but the history.
#[test]
fn the_future_does_not_leak() {
    let data = checkerboard();
    let cut = data.before(5 * DAY);
    for (name, fit, _) in MODELS {
        let mut lines = Vec::new();
        for sequence in &data.sequences {
            for (place, item) in sequence.items.iter().enumerate() {
                let order = sequence.user.0 * ITEMS + sequence.orders[place];
                lines.push(Purchase {
                    time: sequence.times[place],
                    user: sequence.user.0,
                    order,
                    item: *item,
                });
            }
        }
        let early = Interactions::from_purchases(vocabulary(ITEMS), &lines, 5 * DAY);
        assert_eq!(fit(&early).save(), fit(&cut).save(), "{name}");
    }
}

/// What a model has seen again and again it must know: ten ways through the items, each gone by three
/// shoppers.
#[test]
fn a_learned_model_overfits_one_batch() {
    let way = |user: u32| (0..6).map(move |place| ItemIdx(1 + (7 * user + place * (user + 3)) % ITEMS));
    let lines: Vec<Purchase> = (0..30)
        .flat_map(|user| {
            way(user % 10).zip(0..).map(move |(item, place)| Purchase {
                time: DAY * i64::from(place),
                user,
                order: user * ITEMS + place,
                item,
            })
        })
        .collect();
    let data = Interactions::from_purchases(vocabulary(ITEMS), &lines, 100 * DAY);
    for (name, epochs, train) in LEARNED {
        let model = train(&data, *epochs, None, None).unwrap();
        let (mut right, mut asked) = (0, 0);
        for sequence in &data.sequences {
            for known in 1..sequence.items.len() {
                let (items, times) = (&sequence.items[..known], &sequence.times[..known]);
                let history = History::bought(items, times, sequence.times[known]);
                let list = top_k(&scores(&*model, &history), 1, |_| false);
                right += u32::from(list[0].item == sequence.items[known]);
                asked += 1;
            }
        }
        assert!(right * 100 >= asked * 90, "{name} knows {right} of {asked}");
    }
}

/// Stopped and started again, wherever it was: the same model to the bit.
#[test]
fn a_training_that_was_stopped_is_the_same_training() {
    let whole = checkerboard();
    let validated = whole.before(13 * DAY);
    for (name, _, train) in LEARNED {
        for data in [&whole, &validated] {
            let wanted = train(data, 30, None, None).unwrap().save();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("work").join("model.checkpoint");
            let (mut model, mut starts) = (None, 0);
            while model.is_none() {
                starts += 1;
                assert!(starts < 1000, "{name} does not go on");
                model = train(data, 30, Some(&path), Some(11 + starts % 7));
            }
            assert!(starts > 2, "{name} was not stopped");
            assert_eq!(model.unwrap().save(), wanted, "{name}");
        }
    }
}

#[test]
fn damaged_files_are_refused_and_nothing_panics() {
    each(|name, _, model| {
        let file = model.save();
        for tensor in file.tensors.keys() {
            let mut without = file.clone();
            without.tensors.remove(tensor);
            assert!(load_model(&without).is_err(), "{name} without {tensor}");
            let mut other = file.clone();
            other.put_i64(tensor, &[1], vec![7]);
            assert!(load_model(&other).is_err(), "{name} with another {tensor}");
            let mut large = file.clone();
            if file.u32(tensor).is_ok_and(|numbers| !numbers.is_empty()) {
                large.put_u32(tensor, &[2], vec![u32::MAX, 0]);
                assert!(load_model(&large).is_err(), "{name} with entries of {tensor} beyond all bounds");
            }
        }
        let mut settings = file.clone();
        settings.settings.insert("config".into(), "{\"no_such_key\":1}".into());
        assert!(load_model(&settings).is_err(), "{name} with unknown settings");
    });
}

#[test]
fn an_empty_shop_is_no_panic() {
    let data = Interactions::from_purchases(vocabulary(0), &[], 0);
    for (name, fit, _) in MODELS {
        let model = fit(&data);
        assert_eq!(model.catalogue_size(), 0, "{name}");
        assert_eq!(scores(&*model, &History::bought(&[], &[], 0)), [f32::NEG_INFINITY], "{name}");
        assert!(model.similar_items(ItemIdx(1), 3).is_empty(), "{name}");
    }
}
