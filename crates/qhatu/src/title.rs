//! What the report shows of the text model: how it reads the titles of the items that most shoppers bought in the test,
//! and what makes each like the title that it is most like.

use std::collections::BTreeMap;

use qhatu_eval::{PieceReading, TitleReading};
use qhatu_models::ItemVectors;
use qhatu_schema::ItemId;
use qhatu_text::{Explanation, TextEncoder};
use qhatu_train::{ShopData, TestSet};

use crate::fault::Fault;
use crate::shop::Shop;

/// How many titles are shown.
const SHOWN: usize = 3;

/// Readings for the report of a judgement of this data; none where no model that was fitted reads titles by a text model.
/// O(items × width) and a tokenizing of what is nearest, for each title shown.
pub(crate) fn readings(shop: &Shop, data: &ShopData) -> Result<Vec<TitleReading>, Fault> {
    let (Some(folder), Some(vectors)) = (shop.text_model(), &data.sides.text) else { return Ok(Vec::new()) };
    let described = shop.catalogue().items()?.into_iter();
    let mut named: BTreeMap<ItemId, String> = described.map(|item| (item.item_id, item.title)).collect();
    let items = data.vocabulary.items();
    let titles: Vec<String> = items.iter().map(|id| named.remove(id).unwrap_or_default()).collect();
    let reader = Reader { encoder: TextEncoder::read(&folder)?, titles, vectors };
    let mut found = Vec::new();
    for item in frequent(&TestSet::new(data, &shop.project.config.train)?, items.len()) {
        if found.len() == SHOWN {
            break;
        }
        if let Some((nearest, explanation)) = reader.read(item)? {
            let ids = (items[item].to_string(), items[nearest].to_string());
            found.push(reading(ids, (&reader.titles[item], &reader.titles[nearest]), &explanation));
        }
    }
    Ok(found)
}

/// The items, from 0, that somebody bought in the test, what most shoppers bought first.
fn frequent(test: &TestSet, items: usize) -> Vec<usize> {
    let mut buyers = vec![0_usize; items];
    for item in test.cases.iter().flat_map(|case| &case.relevant_all) {
        buyers[*item as usize - 1] += 1;
    }
    let mut order: Vec<usize> = (0..items).filter(|item| buyers[*item] > 0).collect();
    order.sort_by_key(|item| std::cmp::Reverse(buyers[*item]));
    order
}

/// A text model, and what it made of the titles of all items.
struct Reader<'a> {
    encoder: TextEncoder,
    titles: Vec<String>,
    vectors: &'a ItemVectors,
}

impl Reader<'_> {
    /// The item with another title that is nearest, and why; none for an item without a title, or the only one with it.
    fn read(&self, item: usize) -> Result<Option<(usize, Explanation)>, Fault> {
        let title = self.titles[item].as_str();
        if title.trim().is_empty() {
            return Ok(None);
        }
        let Some(nearest) = self.nearest(item) else { return Ok(None) };
        Ok(Some((nearest, self.encoder.explain(title, Some(&self.titles[nearest]))?)))
    }

    fn nearest(&self, item: usize) -> Option<usize> {
        let own = self.encoder.tokenized(&self.titles[item]).ids;
        let mut best: Option<(usize, f64)> = None;
        for other in (0..self.titles.len()).filter(|other| *other != item) {
            let cosine = self.cosine(item, other);
            let nearer = cosine.is_finite() && best.is_none_or(|(_, most)| cosine > most);
            // What reads the same is as near as can be, and says nothing.
            if nearer && self.encoder.tokenized(&self.titles[other]).ids != own {
                best = Some((other, cosine));
            }
        }
        best.map(|(other, _)| other)
    }

    /// No number where one of both has no title.
    fn cosine(&self, a: usize, b: usize) -> f64 {
        let vector = |item: usize| &self.vectors.values[item * self.vectors.width..][..self.vectors.width];
        let product = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let (a, b) = (vector(a), vector(b));
        product(a, b) / (product(a, a) * product(b, b)).sqrt()
    }
}

fn reading(ids: (String, String), titles: (&str, &str), explanation: &Explanation) -> TitleReading {
    let piece = |(place, text): (usize, &String)| PieceReading {
        text: text.clone(),
        share: rounded(explanation.rollout[place]),
        adds: explanation.attribution.get(place).map_or(0.0, |adds| rounded(*adds)),
    };
    TitleReading {
        item: ids.0,
        title: titles.0.to_owned(),
        nearest: ids.1,
        nearest_title: titles.1.to_owned(),
        likeness: rounded(explanation.similarity.unwrap_or(0.0)),
        pieces: explanation.tokens.iter().enumerate().map(piece).collect(),
        attention: mean_attention(explanation),
    }
}

/// Who looks at whom, mean over the blocks.
fn mean_attention(explanation: &Explanation) -> Vec<Vec<f64>> {
    let (length, blocks) = (explanation.tokens.len(), explanation.attention.len().max(1));
    let mean = |at: usize| explanation.attention.iter().map(|block| block[at]).sum::<f32>() / blocks as f32;
    let row = |row: usize| (0..length).map(|column| rounded(mean(row * length + column))).collect();
    (0..length).map(row).collect()
}

/// To four places, which a report needs no more than.
fn rounded(value: f32) -> f64 {
    (f64::from(value) * 1e4).round() / 1e4
}
