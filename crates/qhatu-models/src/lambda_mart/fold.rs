//! The shop's features in the rows: which are read, when each order asks, and what they were then.

use qhatu_nn::Stream;
use qhatu_schema::EventKind;

use super::training::{Answered, Question};
use super::{ALL, Config, NAME};
use crate::error::ModelError;
use crate::evidence::Looked;
use crate::fold::{FoldAsked, FoldColumn, FoldPast};
use crate::interactions::Interactions;
use crate::journey::Journey;

/// After so long without an event what led to an order is over, as a session of GA4 is.
const VISIT_PAUSE_MS: i64 = 30 * 60_000;

/// What the fold tells beside the data: its columns, and what they were.
pub(super) struct Fold<'a> {
    pub(super) columns: Vec<FoldColumn>,
    past: Option<&'a dyn FoldPast>,
    seed: u64,
}

impl<'a> Fold<'a> {
    pub(super) fn new(data: &'a Interactions, config: &Config, seed: u64) -> Result<Self, ModelError> {
        let past = data.fold.as_deref().filter(|_| !config.features.is_empty());
        let columns = match past {
            Some(past) => past.columns(&config.features)?,
            None if config.features.iter().any(|name| name != ALL) => {
                let (key, value) = ("features", config.features.join(", "));
                let hint = "these data come without the shop's features: leave it empty, or \"all\"";
                return Err(ModelError::Setting { model: NAME, key, value, hint });
            }
            None => Vec::new(),
        };
        Ok(Self { columns, past, seed })
    }

    /// Lets each order ask at one of the moments of the visit that ended with it, each as likely, not before `start`: the server
    /// too is asked all along a visit, and what lies in the cart at its end says little of what to show at its beginning.
    pub(super) fn draw(&self, questions: &mut [Question], start: i64, looked: &Looked) {
        let stream = Stream::new(self.seed);
        for question in questions.iter_mut() {
            let user = question.sequence.user;
            let Some(journey) = looked.journey(user) else { continue };
            let mut moments = visit(journey, question.time());
            moments.retain(|time| *time >= start);
            let place =
                stream.child(u64::from(user.0)).below(question.order.start as u64, moments.len().max(1));
            question.asked = moments.get(place).copied().unwrap_or(question.asked);
        }
        questions.sort_by_key(|question| (question.asked, question.sequence.user.0));
    }

    /// The rows of all candidates, one behind another.
    pub(super) fn rows(&self, answered: &[Answered]) -> Result<Vec<f32>, ModelError> {
        let Some(past) = self.past else { return Ok(Vec::new()) };
        let width = self.columns.len();
        let starts: Vec<usize> = std::iter::once(0)
            .chain(answered.iter().scan(0, |end, own| {
                *end += own.items.len() * width;
                Some(*end)
            }))
            .collect();
        let asked: Vec<FoldAsked> =
            answered.iter().map(|own| FoldAsked { user: own.user, time: own.time }).collect();
        let mut rows = vec![f32::NAN; starts.last().copied().unwrap_or(0)];
        past.replay(&self.columns, &asked, &mut |moment| {
            for (place, fold) in moment {
                let own = &mut rows[starts[*place]..starts[*place + 1]];
                own.iter_mut().zip(fold.rows(&answered[*place].items)).for_each(|(own, said)| *own = said);
            }
        })?;
        Ok(rows)
    }
}

/// The moments, rising, at which a shopper did anything in what led to an order, that of the order among them: since their order
/// before it, with no pause of more than half an hour.
fn visit(journey: &Journey, order: i64) -> Vec<i64> {
    let end = journey.deeds.partition_point(|deed| deed.time < order);
    let before = journey.deeds[..end].iter().rev();
    let mut moments = vec![order];
    for deed in before.take_while(|deed| deed.kind != EventKind::Purchase) {
        let last = moments[moments.len() - 1];
        if last.saturating_sub(deed.time) > VISIT_PAUSE_MS {
            break;
        }
        if deed.time < last {
            moments.push(deed.time);
        }
    }
    moments.reverse();
    moments
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use qhatu_schema::{ItemId, ItemIdx, UserIdx};

    use super::*;
    use crate::evidence::Evidence;
    use crate::fold::{FoldMoment, FoldNow};
    use crate::interactions::{Purchase, Vocabulary};
    use crate::journey::Deed;
    use crate::lambda_mart::LambdaMart;
    use crate::popularity::{self, Popularity};
    use crate::recommender::{History, Recommender};

    const DAY: i64 = 86_400_000;
    const ITEMS: u32 = 30;
    const MINUTE: i64 = 60_000;

    /// What a shopper buys an hour after looking at it; drawn anew for each order, so that what was bought says nothing.
    fn wanted(user: u32, order: i64) -> u32 {
        1 + Stream::new(77).child(u64::from(user)).below(order as u64, ITEMS as usize) as u32
    }

    /// Forty shoppers who buy one thing a day, at noon, and looked at it an hour before.
    fn shop() -> Interactions {
        let names = (1..=ITEMS).map(|item| ItemId::new(format!("i{item}")).expect("not empty"));
        let mut lines = Vec::new();
        for user in 0..40_u32 {
            for day in 0..20_i64 {
                let (order, item) = (lines.len() as u32, ItemIdx(wanted(user, day)));
                lines.push(Purchase { time: day * DAY, user, order, item });
            }
        }
        let vocabulary = Arc::new(Vocabulary::new(names));
        let data = Interactions::from_purchases(vocabulary, &lines, 20 * DAY);
        data.with_looked(Arc::new(looked())).with_fold(Some(Arc::new(Looks)))
    }

    /// What they did.
    fn looked() -> Looked {
        let journey = |user: u32| {
            let day = |day: i64| {
                let item = ItemIdx(wanted(user, day));
                let deed = |kind, time| Deed { time, item, order: day as u32, kind };
                [deed(EventKind::View, day * DAY - 30 * MINUTE), deed(EventKind::Purchase, day * DAY)]
            };
            Journey { user: Some(UserIdx(user)), deeds: (0..20).flat_map(day).collect() }
        };
        Looked::new(Arc::new((0..40).map(journey).collect()))
    }

    /// Says which item was looked at within the hour before.
    #[derive(Debug)]
    struct Looks;

    #[derive(Debug)]
    struct LooksOf(UserIdx, i64);

    impl FoldNow for LooksOf {
        fn rows(&self, items: &[ItemIdx]) -> Vec<f32> {
            let Self(user, now) = self;
            let order = (now + 60 * MINUTE - 1).div_euclid(DAY);
            let looked = now + 60 * MINUTE > order * DAY;
            let hot = |item: &ItemIdx| looked && item.0 == wanted(user.0, order);
            items.iter().map(|item| f32::from(u8::from(hot(item)))).collect()
        }
    }

    impl FoldPast for Looks {
        fn columns(&self, names: &[String]) -> Result<Vec<FoldColumn>, ModelError> {
            assert_eq!(names, [ALL]);
            Ok(vec![FoldColumn { name: "looked_at".to_owned(), definition: "{}".to_owned() }])
        }

        fn replay(
            &self,
            _: &[FoldColumn],
            asked: &[FoldAsked],
            show: &mut dyn FnMut(&FoldMoment<'_>),
        ) -> Result<(), ModelError> {
            for (place, own) in asked.iter().enumerate().rev() {
                show(&[(place, &LooksOf(own.user.expect("shoppers are known"), own.time))]);
            }
            Ok(())
        }
    }

    fn config() -> Config {
        let mut config = Config { models: vec![popularity::NAME.to_owned()], ..Config::default() };
        (config.held_out_days, config.retrieve) = (10.0, 5);
        (config.trees.rounds, config.trees.growth.min_rows_in_leaf) = (20, 5);
        config
    }

    fn fit(data: &Interactions, config: &Config) -> Result<LambdaMart, ModelError> {
        LambdaMart::fit(data, config, 1, |_, data| {
            Ok::<_, ModelError>(
                Box::new(Popularity::fit(data, &popularity::Config {})) as Box<dyn Recommender>
            )
        })
    }

    /// Shoppers of the last day whose next item stands first.
    fn found(model: &LambdaMart, told: bool) -> usize {
        let first = |user: u32| {
            let now = 20 * DAY - 10 * MINUTE;
            let looks = LooksOf(UserIdx(user), now);
            let fold = told.then_some(&looks as &dyn FoldNow);
            let seen = told.then_some((ItemIdx(wanted(user, 20)), now - 20 * MINUTE));
            let evidence = Evidence::new([(ItemIdx(1), 0)], seen);
            let history = History { fold, ..evidence.history(now) };
            model.recommend(&history, 1, &|_| false)[0].item.0 == wanted(user, 20)
        };
        (0..40).filter(|user| first(*user)).count()
    }

    #[test]
    fn what_the_fold_says_sorts_where_nothing_else_can() {
        let model = fit(&shop(), &config()).expect("sound settings");
        assert_eq!(model.fold_columns()[0].name, "looked_at");
        // Most of it popularity does not propose: it is known because it was looked at.
        assert_eq!(found(&model, true), 40);
        assert!(found(&model, false) < 10);
        let now = 20 * DAY - 10 * MINUTE;
        let looks = LooksOf(UserIdx(3), now);
        let evidence = Evidence::new([], [(ItemIdx(wanted(3, 20)), now)]);
        let history = History { fold: Some(&looks), ..evidence.history(now) };
        let told = model.contributions(&history, ItemIdx(wanted(3, 20))).expect("a candidate");
        let strongest = told.iter().max_by(|a, b| a.1.total_cmp(&b.1)).expect("columns");
        assert_eq!(strongest.0, "fold.looked_at");
        let loaded = LambdaMart::load(&model.save()).expect("what was saved");
        assert_eq!((loaded.fold_columns(), found(&loaded, true)), (model.fold_columns(), 40));
        let silent = Config { features: Vec::new(), ..config() };
        let without = fit(&shop(), &silent).expect("sound settings");
        // What is a candidate though no part proposes it was looked at.
        assert!(without.fold_columns().is_empty());
        assert!((20..40).contains(&found(&without, true)), "{}", found(&without, true));
        let blind = fit(&shop().with_looked(Arc::default()), &silent).expect("sound settings");
        assert!(found(&blind, true) < 10);
    }

    #[test]
    fn an_order_asks_at_a_moment_of_its_visit() {
        let (data, mut config) = (shop(), config());
        config.most_questions = 300;
        let fold = Fold::new(&data, &config, 5).expect("sound settings");
        let mut questions = super::super::training::questions(&data, 10 * DAY, 300);
        fold.draw(&mut questions, 10 * DAY, &data.looked);
        let early = questions.iter().filter(|own| own.asked < own.time()).count();
        assert!((100..200).contains(&early), "{early} of {}", questions.len());
        assert!(questions.iter().all(|own| [0, 30 * MINUTE].contains(&(own.time() - own.asked))));
        assert!(questions.iter().all(|own| own.asked >= 10 * DAY));
        assert!(questions.is_sorted_by_key(|own| own.asked));
    }

    #[test]
    fn what_led_to_an_order_ends_at_a_pause_and_at_the_order_before() {
        let deed = |minute: i64, kind| Deed { time: minute * MINUTE, item: ItemIdx(1), order: 0, kind };
        let kinds =
            [(0, EventKind::View), (31, EventKind::View), (40, EventKind::Purchase), (41, EventKind::View)];
        let later = [
            (60, EventKind::AddToCart),
            (90, EventKind::Click),
            (90, EventKind::View),
            (95, EventKind::Purchase),
        ];
        let deeds = kinds.into_iter().chain(later).map(|(minute, kind)| deed(minute, kind)).collect();
        let journey = Journey { user: None, deeds };
        let of = |minute: i64| {
            visit(&journey, minute * MINUTE).iter().map(|time| time / MINUTE).collect::<Vec<_>>()
        };
        assert_eq!(of(40), [31, 40]);
        assert_eq!(of(95), [41, 60, 90, 95]);
        // Half an hour is no pause yet.
        assert_eq!((of(30), of(32)), (vec![0, 30], vec![31, 32]));
    }

    #[test]
    fn features_that_the_data_have_not_are_refused_by_name() {
        let data = shop().with_fold(None);
        assert!(fit(&data, &config()).expect("data without features").fold_columns().is_empty());
        let fault = |features: &[&str]| {
            let features = features.iter().map(ToString::to_string).collect();
            fit(&data, &Config { features, ..config() }).map(|_| ()).unwrap_err().to_string()
        };
        assert!(fault(&["user_views"]).contains("features = user_views: these data come without"));
        assert!(fault(&["user_views", "user_views"]).contains("named once"));
        assert!(fault(&["all", "user_views"]).contains("either"));
    }
}
