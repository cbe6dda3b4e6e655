//! What models want to know beside what was bought: each thing is read of a shop only where one of them wants it.

use qhatu_models::Recommender;

use crate::config::TrainConfig;

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wants {
    /// What the items' texts say.
    pub text: bool,
    /// Vectors of titles by a text model that the shop names, as a model of its own.
    pub titles: bool,
    /// The items' categories.
    pub category: bool,
    /// Their prices.
    pub price_band: bool,
    /// All that shoppers and visits did.
    pub acts: bool,
    /// Where shoppers live.
    pub departments: bool,
    /// The shop's features at every moment.
    pub fold: bool,
}

impl Wants {
    /// What either wants.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            text: self.text | other.text,
            titles: self.titles | other.titles,
            category: self.category | other.category,
            price_band: self.price_band | other.price_band,
            acts: self.acts | other.acts,
            departments: self.departments | other.departments,
            fold: self.fold | other.fold,
        }
    }

    /// What a fitted model wants to be told: what it knows of the items it carries with it.
    pub fn of_model(model: &dyn Recommender) -> Self {
        Self {
            acts: model.reads_acts(),
            departments: model.asks_department(),
            fold: !model.fold_columns().is_empty(),
            ..Self::default()
        }
    }

    /// Whether anything is wanted of the items.
    pub fn items(self) -> bool {
        self.text | self.titles | self.category | self.price_band
    }
}

impl TrainConfig {
    /// What the models that are to be fitted want, those that others are made of among them.
    pub fn wants(&self) -> Wants {
        self.fitted().map(|name| self.wanted_by(name)).fold(Wants::default(), Wants::with)
    }

    fn wanted_by(&self, name: &str) -> Wants {
        let inputs = self.item_inputs(name).unwrap_or_default();
        Wants {
            text: inputs.text,
            titles: name == "text_neighbours",
            category: inputs.category,
            price_band: inputs.price_band,
            acts: inputs.event_kind,
            departments: name == "department_popularity",
            fold: name == "lambda_mart" && !self.lambda_mart.features.is_empty(),
        }
    }
}
