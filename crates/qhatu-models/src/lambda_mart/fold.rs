//! The shop's features in the rows: which are read, when each order asks, and what they were then.

use qhatu_nn::Stream;
use qhatu_schema::ItemIdx;

use super::columns::MOST_OWN;
use super::training::{Answered, Question};
use super::{ALL, Config, NAME};
use crate::error::ModelError;
use crate::fold::{FoldAsked, FoldColumn, FoldPast};
use crate::interactions::Interactions;

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

    /// Lets each order ask at one of the moments of the visit that ended with it, each as likely: the server too is asked all
    /// along a visit, and what lies in the cart at its end says little of what to show at its beginning.
    pub(super) fn draw(&self, questions: &mut [Question]) -> Result<(), ModelError> {
        let Some(past) = self.past else { return Ok(()) };
        let moments = past.moments(&questions.iter().map(Question::moment).collect::<Vec<_>>())?;
        let stream = Stream::new(self.seed);
        for (question, moments) in questions.iter_mut().zip(moments) {
            let of = stream.child(u64::from(question.sequence.user.0));
            let place = of.below(question.order.start as u64, moments.len().max(1));
            question.asked = moments.get(place).copied().unwrap_or(question.asked);
        }
        Ok(())
    }

    /// What the shopper of each question had dealt with when it was asked.
    pub(super) fn dealt_with(&self, questions: &[Question]) -> Result<Vec<Vec<ItemIdx>>, ModelError> {
        let mut items = vec![Vec::new(); questions.len()];
        let Some(past) = self.past else { return Ok(items) };
        let asked = |own: &Question| FoldAsked { user: Some(own.sequence.user), time: own.asked };
        let asked: Vec<FoldAsked> = questions.iter().map(asked).collect();
        past.replay(&self.columns, &asked, &mut |moment| {
            moment.iter().for_each(|(place, fold)| items[*place] = fold.dealt_with(MOST_OWN));
        })?;
        Ok(items)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use qhatu_schema::{ItemId, UserIdx};

    use super::*;
    use crate::fold::{FoldMoment, FoldNow, OrderMoment};
    use crate::interactions::{Purchase, Vocabulary};
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
        Interactions::from_purchases(vocabulary, &lines, 20 * DAY).with_fold(Some(Arc::new(Looks)))
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

        fn dealt_with(&self, _: usize) -> Vec<ItemIdx> {
            let Self(user, now) = self;
            vec![ItemIdx(wanted(user.0, (now + 60 * MINUTE - 1).div_euclid(DAY)))]
        }
    }

    impl FoldPast for Looks {
        fn columns(&self, names: &[String]) -> Result<Vec<FoldColumn>, ModelError> {
            assert_eq!(names, [ALL]);
            Ok(vec![FoldColumn { name: "looked_at".to_owned(), definition: "{}".to_owned() }])
        }

        fn moments(&self, orders: &[OrderMoment]) -> Result<Vec<Vec<i64>>, ModelError> {
            assert!(orders.iter().all(|order| order.after < order.time));
            Ok(orders.iter().map(|order| vec![order.time - 30 * MINUTE, order.time]).collect())
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
            let (items, now) = ([ItemIdx(1)], 20 * DAY - 10 * MINUTE);
            let looks = LooksOf(UserIdx(user), now);
            let fold = told.then_some(&looks as &dyn FoldNow);
            let history = History { fold, ..History::bought(&items, &[0], now) };
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
        let looks = LooksOf(UserIdx(3), 20 * DAY - 10 * MINUTE);
        let history = History { fold: Some(&looks), ..History::bought(&[], &[], 20 * DAY - 10 * MINUTE) };
        let told = model.contributions(&history, ItemIdx(wanted(3, 20))).expect("a candidate");
        let strongest = told.iter().max_by(|a, b| a.1.total_cmp(&b.1)).expect("columns");
        assert_eq!(strongest.0, "fold.looked_at");
        let loaded = LambdaMart::load(&model.save()).expect("what was saved");
        assert_eq!((loaded.fold_columns(), found(&loaded, true)), (model.fold_columns(), 40));
        let without = fit(&shop(), &Config { features: Vec::new(), ..config() }).expect("sound settings");
        assert!(without.fold_columns().is_empty() && found(&without, true) < 10);
    }

    #[test]
    fn an_order_asks_at_a_moment_of_its_visit() {
        let (data, mut config) = (shop(), config());
        config.most_questions = 300;
        let fold = Fold::new(&data, &config, 5).expect("sound settings");
        let mut questions = super::super::training::questions(&data, 10 * DAY, 300);
        fold.draw(&mut questions).expect("moments");
        let early = questions.iter().filter(|own| own.asked < own.moment().time).count();
        assert!((100..200).contains(&early), "{early} of {}", questions.len());
        assert!(questions.iter().all(|own| [0, 30 * MINUTE].contains(&(own.moment().time - own.asked))));
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
