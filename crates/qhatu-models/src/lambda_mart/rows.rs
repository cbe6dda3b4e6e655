//! The rows that the trees learn from, for whoever holds other trees to them.

use qhatu_schema::UserIdx;

use super::columns::{Part, names};
use super::{Config, gather};
use crate::error::ModelError;
use crate::interactions::Interactions;
use crate::recommender::Recommender;

/// The candidates of orders, a row each; those of an order stand together. Of each order at least one candidate was bought
/// and at least one was not.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// Names of the columns.
    pub names: Vec<String>,
    /// The columns: a number a row each, NaN where nothing is known. All of them are as of the moment of the order.
    pub columns: Vec<Vec<f64>>,
    /// 1 where the candidate was bought in the order, otherwise 0.
    pub labels: Vec<f32>,
    /// How many rows each order has, oldest order first.
    pub groups: Vec<u32>,
    /// Who ordered.
    pub users: Vec<UserIdx>,
}

impl Rows {
    /// What [`LambdaMart::fit`](super::LambdaMart::fit) with these settings learns from of orders, whatever lists were shown; no row
    /// where the data are too short to learn from.
    ///
    /// # Errors
    /// As [`LambdaMart::fit`](super::LambdaMart::fit).
    pub fn gather<E: From<ModelError>>(
        data: &Interactions,
        config: &Config,
        seed: u64,
        mut fit: impl FnMut(&str, &Interactions) -> Result<Box<dyn Recommender>, E>,
    ) -> Result<Self, E> {
        let config = Config { impressions: false, ..config.clone() };
        let mut all = |data: &Interactions| -> Result<Vec<Part>, E> {
            config.models.iter().map(|name| fit(name, data)).collect()
        };
        let (lessons, fold) = gather(data, &config, seed, &mut all)?;
        if !lessons.teach() {
            return Ok(Self::default());
        }
        Ok(Self {
            names: names(&config.models, &fold),
            users: lessons.users.into_iter().flatten().collect(),
            columns: lessons.columns,
            labels: lessons.labels,
            groups: lessons.groups,
        })
    }
}
