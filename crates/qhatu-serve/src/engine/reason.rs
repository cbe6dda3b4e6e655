//! Why an item stands in a list: a stable code, what it rests on, and a sentence in Spanish (Peru)
//! and English. A sentence says only what is true of this shopper; when a model's reason rests on a
//! purchase that was a view, it is put right before it is told.

use qhatu_schema::{Department, ItemId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

/// A reason, as answered and stored.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ReasonView {
    /// Stable code: `bought_before`, `viewed`, `similar_to`, `often_bought_after`, `bought_together`,
    /// `sequence`, `mixed`, `popular_recently`, `popular`, `popular_in_category`, `popular_in_department`,
    /// `catalogue`.
    #[schema(example = "bought_before")]
    pub code: &'static str,
    /// The item it rests on, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub item_id: Option<ItemId>,
    /// How often it was bought, or in how many orders it was seen beside the item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// The sentence.
    pub text: Sentence,
}

/// The same sentence in both languages.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Sentence {
    /// Spanish of Peru.
    #[schema(example = "Lo compró 3 veces; la última, el 3 nov 2011.")]
    pub es: String,
    /// English.
    #[schema(example = "You bought it 3 times, last on 3 Nov 2011.")]
    pub en: String,
}

/// A reason before it is put into words. `On` is what it rests on: an item's id and title.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Why {
    Bought { times: u32, last: i64 },
    Viewed,
    Similar(On),
    After(On),
    Together { on: On, both: u32, of: u32 },
    Sequence(On),
    Mixed,
    PopularRecently,
    Popular,
    PopularInCategory(String),
    PopularInDepartment(Department),
    Catalogue,
}

/// An item to point at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct On {
    pub(crate) item_id: ItemId,
    pub(crate) title: String,
}

impl On {
    fn name(&self) -> &str {
        if self.title.is_empty() { self.item_id.as_str() } else { &self.title }
    }
}

impl Why {
    /// In words.
    pub(crate) fn view(&self) -> ReasonView {
        let (code, es, en) = self.words();
        let (item_id, times) = match self {
            Self::Bought { times, .. } => (None, Some(*times)),
            Self::Similar(on) | Self::After(on) | Self::Sequence(on) => (Some(on.item_id.clone()), None),
            Self::Together { on, both, .. } => (Some(on.item_id.clone()), Some(*both)),
            _ => (None, None),
        };
        ReasonView { code, item_id, times, text: Sentence { es, en } }
    }

    fn words(&self) -> (&'static str, String, String) {
        match self {
            Self::Bought { times, last } => bought(*times, *last),
            Self::Viewed => ("viewed", "Lo vio hace poco.".into(), "You looked at it recently.".into()),
            Self::Similar(on) => {
                ("similar_to", format!("Va con «{}».", on.name()), format!("Goes with “{}”.", on.name()))
            }
            Self::After(on) => (
                "often_bought_after",
                format!("Suele comprarse después de «{}».", on.name()),
                format!("Often bought after “{}”.", on.name()),
            ),
            Self::Together { on, both, of } => (
                "bought_together",
                format!("Estuvo en {both} de {of} pedidos con «{}».", on.name()),
                format!("In {both} of {of} orders with “{}”.", on.name()),
            ),
            Self::Sequence(on) => (
                "sequence",
                format!("Por sus compras recientes, sobre todo «{}».", on.name()),
                format!("From your recent history, above all “{}”.", on.name()),
            ),
            Self::Mixed => {
                ("mixed", "Por el conjunto de sus compras.".into(), "From all that you bought.".into())
            }
            Self::PopularRecently => (
                "popular_recently",
                "De lo más vendido en estos días.".into(),
                "Among what sells best these days.".into(),
            ),
            Self::Catalogue => ("catalogue", "Del catálogo.".into(), "From the catalogue.".into()),
            Self::Popular => ("popular", "De lo más vendido.".into(), "Among what sells best.".into()),
            Self::PopularInCategory(category) => (
                "popular_in_category",
                format!("De lo más vendido en {category}."),
                format!("Among what sells best in {category}."),
            ),
            Self::PopularInDepartment(department) => (
                "popular_in_department",
                format!("De lo más vendido en {} en estos días.", department.name()),
                format!("Among what sells best in {} these days.", department.name()),
            ),
        }
    }
}

fn bought(times: u32, last: i64) -> (&'static str, String, String) {
    let (es, en) = (date(last, &MONTHS_ES), date(last, &MONTHS_EN));
    match times {
        0 | 1 => ("bought_before", format!("Lo compró el {es}."), format!("You bought it on {en}.")),
        _ => (
            "bought_before",
            format!("Lo compró {times} veces; la última, el {es}."),
            format!("You bought it {times} times, last on {en}."),
        ),
    }
}

const MONTHS_ES: [&str; 12] =
    ["ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "set", "oct", "nov", "dic"];
const MONTHS_EN: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `3 nov 2011`: the day in Lima on which `ms` falls.
fn date(ms: i64, months: &[&str; 12]) -> String {
    let day = Timestamp::from_millis(ms).lima_day().to_string();
    let part =
        |range| day.get(range).and_then(|digits: &str| digits.parse::<usize>().ok()).unwrap_or_default();
    let month = months.get(part(5..7).wrapping_sub(1)).copied().unwrap_or_default();
    format!("{} {month} {}", part(8..10), part(0..4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_in_both_languages_with_lima_dates() {
        // 2011-11-04T02:00Z is still the evening of the 3rd in Lima.
        let last = Timestamp::parse("2011-11-04T02:00:00Z").unwrap().millis();
        let view = Why::Bought { times: 3, last }.view();
        assert_eq!(view.text.es, "Lo compró 3 veces; la última, el 3 nov 2011.");
        assert_eq!(view.text.en, "You bought it 3 times, last on 3 Nov 2011.");
        let on = On { item_id: ItemId::new("85123A").unwrap(), title: String::new() };
        assert_eq!(Why::Similar(on).view().text.en, "Goes with “85123A”.");
        let cusco = Department::of_ubigeo("080101").unwrap();
        assert_eq!(
            Why::PopularInDepartment(cusco).view().text.es,
            "De lo más vendido en Cusco en estos días."
        );
    }
}
