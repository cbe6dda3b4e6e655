//! Numbers of the shop's fold in a model: what shoppers and products are known for at the moment of asking, beside what was
//! bought. A model names them ([`FoldColumn`]); whoever has the fold answers, at the moment of asking ([`FoldNow`]) and, for
//! training, at every moment of the past ([`FoldPast`]).

use std::fmt::Debug;

use qhatu_schema::{ItemIdx, UserIdx};
use serde::{Deserialize, Serialize};

use crate::error::ModelError;

/// A feature of the fold that a model was taught by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoldColumn {
    /// Its name.
    pub name: String,
    /// What it was then: one of the same name that is defined otherwise is another one.
    pub definition: String,
}

/// The fold as it stands for one who asks.
pub trait FoldNow: Debug + Sync {
    /// A row for each item, one behind another: a number for each of the asked model's [`FoldColumn`]s, NaN where there is
    /// nothing to say.
    fn rows(&self, items: &[ItemIdx]) -> Vec<f32>;
}

/// Those who asked at one moment, by their places, each with the fold as it was.
pub type FoldMoment<'a> = [(usize, &'a dyn FoldNow)];

/// The fold at all moments of the past.
pub trait FoldPast: Debug + Send + Sync {
    /// The features of these names; `all` stands for every number of shoppers, of products, and of a shopper with either a
    /// product or its category.
    ///
    /// # Errors
    /// For a name that no feature has, or that of a text.
    fn columns(&self, names: &[String]) -> Result<Vec<FoldColumn>, ModelError>;

    /// Goes through the past once, and shows, moment by moment, those who asked then with the fold as it was: what was known
    /// strictly before. Who asked is said by the place in `asked`, which may stand in any order.
    ///
    /// # Errors
    /// Where the past cannot be read.
    fn replay(
        &self,
        columns: &[FoldColumn],
        asked: &[FoldAsked],
        show: &mut dyn FnMut(&FoldMoment<'_>),
    ) -> Result<(), ModelError>;
}

/// Somebody who asked for a list in the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoldAsked {
    /// Who, where that is known.
    pub user: Option<UserIdx>,
    /// When, in milliseconds.
    pub time: i64,
}
