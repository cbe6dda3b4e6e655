//! More from few purchases: in each epoch a shopper's history may be another one that could have been theirs.
//!
//! In this order, each where it is switched on:
//! * synthetic: in its place a walk from the first item along what is bought after what (decayed Markov), with the
//!   orders and times of the shopper;
//! * crop: a random stretch of its orders, at least half of them (Xie et al., "Contrastive Learning for Sequential
//!   Recommendation", ICDE 2022);
//! * reorder: the orders of a random stretch, half of them, change places (the same); one or two orders stay as they are;
//! * insert: behind an item another one of those that are bought by the same shoppers, or read like it (Liu et al.,
//!   "Contrastive Self-supervised Sequential Recommendation with Robust Augmentation", 2021).
//!
//! The papers contrast two such histories of a shopper; here they are what is learned from. Leaving items out of what is
//! read (mask) is `item_dropout_prob`. What is foretold is never asked of a history that is another one.

use std::ops::Range;

use qhatu_nn::{Layout, Stream, matmul};
use qhatu_schema::ItemIdx;
use serde::{Deserialize, Serialize};

use super::settings::Settings;
use crate::decayed_markov::{self, DecayedMarkov};
use crate::error::{ModelError, misfit};
use crate::interactions::{Interactions, Sequence};
use crate::item_knn::{self, ItemKnn};
use crate::recommender::{Recommender, top_k};

/// Items of which one is put behind another.
const SIMILAR: usize = 5;
/// Items whose texts are compared at a time.
const BLOCK: usize = 256;

/// By what items are similar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Similar {
    /// The same shoppers buy them.
    #[default]
    Bought,
    /// Their texts.
    Text,
}

/// How histories are changed in training.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Share of the shoppers, another one in each epoch, of whom a stretch of the history is taken.
    pub crop_prob: f32,
    /// Share of the shoppers in whose history some orders change places.
    pub reorder_prob: f32,
    /// Share of the items behind which a similar one is put.
    pub insert_prob: f32,
    /// By what it is similar.
    pub insert: Similar,
    /// Share of the shoppers in whose place a walk along what is bought after what is taken.
    pub synthetic_prob: f32,
}

impl Augmentation {
    /// Each share with its name.
    pub(super) fn shares(&self) -> [(&'static str, f32); 4] {
        [
            ("augmentation.crop_prob", self.crop_prob),
            ("augmentation.reorder_prob", self.reorder_prob),
            ("augmentation.insert_prob", self.insert_prob),
            ("augmentation.synthetic_prob", self.synthetic_prob),
        ]
    }

    /// Whether it wants vectors of the items' texts.
    pub fn reads_texts(&self) -> bool {
        self.insert_prob > 0.0 && self.insert == Similar::Text
    }

    fn is_off(&self) -> bool {
        self.shares().iter().all(|(_, share)| *share <= 0.0)
    }
}

/// A history: items, and when.
type Changed = (Vec<ItemIdx>, Vec<i64>);

/// What changes histories, fitted to what is learned from.
#[derive(Debug)]
pub(super) struct Augmenter {
    settings: Augmentation,
    sequences: Vec<Sequence>,
    /// Of each item, from item 1, some that are like it.
    similar: Vec<Vec<ItemIdx>>,
    walk: Option<DecayedMarkov>,
}

impl Augmenter {
    /// Nothing where nothing is switched on.
    ///
    /// # Errors
    /// Where similar texts are wanted and there are no vectors of them.
    pub(super) fn new(data: &Interactions, settings: &Settings) -> Result<Option<Self>, ModelError> {
        let own = settings.augmentation;
        if own.is_off() {
            return Ok(None);
        }
        let similar = match (own.insert_prob > 0.0, own.insert) {
            (false, _) => Vec::new(),
            (true, Similar::Bought) => bought(data),
            (true, Similar::Text) => texts(data, settings.name)?,
        };
        let walk =
            (own.synthetic_prob > 0.0).then(|| DecayedMarkov::fit(data, &decayed_markov::Config::default()));
        Ok(Some(Self { settings: own, sequences: data.sequences.clone(), similar, walk }))
    }

    /// A shopper's history in an epoch; nothing where it stays what it is.
    pub(super) fn changed(&self, shopper: usize, stream: Stream) -> Option<Changed> {
        let Augmentation { crop_prob, reorder_prob, insert_prob, synthetic_prob, .. } = self.settings;
        let sequence = &self.sequences[shopper];
        let baskets: Vec<Range<usize>> = sequence.baskets().collect();
        let drawn = |place: u64, share: f32| stream.at(place) < (f64::from(share) * u64::MAX as f64) as u64;
        let [walks, crops, reorders] = [(0, synthetic_prob), (1, crop_prob), (2, reorder_prob)]
            .map(|(place, share)| drawn(place, share));
        if !walks && !crops && !reorders && insert_prob <= 0.0 {
            return None;
        }
        let mut items = sequence.items.clone();
        if let Some(walk) = self.walk.as_ref().filter(|_| walks) {
            self.walk(walk, &baskets, stream.child(0), &mut items);
        }
        let kept = if crops { stretch(baskets.len(), stream.child(1), true) } else { 0..baskets.len() };
        let mut order: Vec<usize> = kept.clone().collect();
        if reorders {
            let moved = stretch(order.len(), stream.child(2), false);
            let shuffled = stream.child(3).shuffled(moved.len());
            let first: Vec<usize> = order[moved.clone()].to_vec();
            moved.zip(shuffled).for_each(|(place, from)| order[place] = first[from]);
        }
        let mut changed = (Vec::new(), Vec::new());
        for (place, basket) in kept.zip(order) {
            let time = sequence.times[baskets[place].start];
            for at in baskets[basket].clone() {
                changed.0.push(items[at]);
                changed.1.push(time);
                let put = self.beside(items[at], stream.child(4).child(at as u64));
                changed.0.extend(put);
                changed.1.extend(put.map(|_| time));
            }
        }
        Some(changed)
    }

    /// An item to be put behind another one, if any is.
    fn beside(&self, item: ItemIdx, stream: Stream) -> Option<ItemIdx> {
        let bar = (f64::from(self.settings.insert_prob) * u64::MAX as f64) as u64;
        let like = self.similar.get(item.row() - 1).filter(|like| !like.is_empty() && stream.at(0) < bar)?;
        Some(like[stream.below(1, like.len())])
    }

    /// Replaces all items but those of the first order: each follows one of the order before. Where nothing ever followed, the item
    /// stays.
    fn walk(&self, walk: &DecayedMarkov, baskets: &[Range<usize>], stream: Stream, items: &mut [ItemIdx]) {
        for pair in baskets.windows(2) {
            for place in pair[1].clone() {
                let from = items[pair[0].start + stream.below(2 * place as u64, pair[0].len())];
                let whole: f64 = walk.after(from).map(|next| f64::from(next.score)).sum();
                let mut left = whole * stream.at(2 * place as u64 + 1) as f64 / u64::MAX as f64;
                let next = walk.after(from).find(|next| {
                    left -= f64::from(next.score);
                    left <= 0.0
                });
                items[place] = next.map_or(items[place], |next| next.item);
            }
        }
    }
}

/// A random stretch of `length` places: at least half of them, or at most.
fn stretch(length: usize, stream: Stream, most: bool) -> Range<usize> {
    let half = length.div_ceil(2);
    let size = match most {
        true => half + stream.below(0, length - half + 1),
        false => half.min(2 + stream.below(0, half)),
    };
    let start = stream.below(1, length - size + 1);
    start..start + size
}

/// For each item those that the same shoppers buy most.
fn bought(data: &Interactions) -> Vec<Vec<ItemIdx>> {
    let knn = ItemKnn::fit(data, &item_knn::Config::default());
    let of = |item: u32| knn.similar_items(ItemIdx(item), SIMILAR).iter().map(|scored| scored.item).collect();
    (1..=data.items() as u32).map(of).collect()
}

/// For each item those whose texts are nearest, of those that were bought.
fn texts(data: &Interactions, model: &'static str) -> Result<Vec<Vec<ItemIdx>>, ModelError> {
    let wanted = "augmentation.insert = \"text\", and there are no vectors of texts of the items";
    let mut text = data.sides.text.clone().ok_or_else(|| misfit(model, wanted))?;
    text.check(model, data.items())?;
    text.normalize();
    let (items, width) = (data.items(), text.width);
    let mut is_bought = vec![false; items + 1];
    data.sequences.iter().flat_map(|own| &own.items).for_each(|item| is_bought[item.row()] = true);
    let mut similar = Vec::with_capacity(items);
    let mut scores = Vec::new();
    for (block, rows) in text.values.chunks(BLOCK * width.max(1)).enumerate() {
        let count = rows.len() / width.max(1);
        scores.clear();
        scores.resize(count * (items + 1), f32::NEG_INFINITY);
        let layout = Layout { row_stride: items + 1, offset: 1, ..Layout::dense(count, items) };
        let all = (text.values.as_slice(), Layout::dense(items, width).transposed());
        matmul((&mut scores, layout), 0.0, (rows, Layout::dense(count, width)), all, 1.0);
        for (place, scores) in scores.chunks_exact(items + 1).enumerate() {
            let own = ItemIdx((block * BLOCK + place + 1) as u32);
            let near = top_k(scores, SIMILAR, |item| item == own || !is_bought[item.row()]);
            similar.push(near.iter().filter(|scored| scored.score > 0.0).map(|scored| scored.item).collect());
        }
    }
    Ok(similar)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use qhatu_schema::ItemId;

    use super::*;
    use crate::sequence::SequenceConfig;
    use crate::{ItemSides, ItemVectors, Purchase, Vocabulary, sasrec};

    /// Ten shoppers, each with the items 1 to 8 in this order, one to a step.
    fn data() -> Interactions {
        let names = (1..=9).map(|item| ItemId::new(format!("i{item}")).expect("not empty"));
        let line = |user: u32, place: u32| Purchase {
            time: i64::from(place) * 10,
            user,
            order: user * 10 + place,
            item: ItemIdx(place + 1),
        };
        let lines: Vec<Purchase> =
            (0..10).flat_map(|user| (0..8).map(move |place| line(user, place))).collect();
        let text = (1..=9).flat_map(|item| [(item % 2) as f32, ((item + 1) % 2) as f32]).collect();
        let sides = ItemSides { text: Some(ItemVectors { width: 2, values: text }), ..Default::default() };
        let data = Interactions::from_purchases(Arc::new(Vocabulary::new(names)), &lines, 1000);
        data.with_sides(Arc::new(sides))
    }

    fn changed(augmentation: Augmentation) -> Vec<Changed> {
        let settings = sasrec::Config { augmentation, ..Default::default() }.settings();
        let own = Augmenter::new(&data(), &settings).unwrap().expect("something is switched on");
        (0..100).filter_map(|seed| own.changed(seed % 10, Stream::new(seed as u64))).collect()
    }

    fn numbers(items: &[ItemIdx]) -> Vec<u32> {
        items.iter().map(|item| item.0).collect()
    }

    #[test]
    fn nothing_is_changed_where_nothing_is_switched_on() {
        let settings = sasrec::Config::default().settings();
        assert!(Augmenter::new(&data(), &settings).unwrap().is_none());
        let some = changed(Augmentation { crop_prob: 0.3, ..Default::default() });
        assert!((15..45).contains(&some.len()), "{}", some.len());
    }

    #[test]
    fn a_crop_is_a_stretch_of_half_at_least() {
        let found = changed(Augmentation { crop_prob: 1.0, ..Default::default() });
        for (items, times) in &found {
            assert!((4..=8).contains(&items.len()));
            assert!(items.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1));
            assert_eq!(times[0], i64::from(items[0].0 - 1) * 10);
        }
        assert!(found.iter().any(|(items, _)| items.len() == 8) && found.iter().any(|own| own.0.len() == 4));
    }

    #[test]
    fn orders_change_places_and_times_stay() {
        let found = changed(Augmentation { reorder_prob: 1.0, ..Default::default() });
        for (items, times) in &found {
            let mut sorted = numbers(items);
            let apart = sorted.iter().zip(1..).filter(|(item, place)| **item != *place).count();
            assert!(apart <= 4, "{sorted:?}");
            sorted.sort_unstable();
            assert_eq!(sorted, [1, 2, 3, 4, 5, 6, 7, 8]);
            assert_eq!(*times, [0, 10, 20, 30, 40, 50, 60, 70]);
        }
        assert!(found.iter().any(|(items, _)| numbers(items) != [1, 2, 3, 4, 5, 6, 7, 8]));
    }

    #[test]
    fn what_is_put_in_is_like_the_item_before_it_and_was_bought() {
        for insert in [Similar::Bought, Similar::Text] {
            let found = changed(Augmentation { insert_prob: 0.5, insert, ..Default::default() });
            let mut put = 0;
            for (items, times) in &found {
                put += items.len() - 8;
                for place in 1..items.len() {
                    if times[place] == times[place - 1] {
                        assert!(items[place] != items[place - 1] && items[place].0 < 9);
                        let alike = items[place].0 % 2 == items[place - 1].0 % 2;
                        assert!(alike || insert == Similar::Bought, "{items:?}");
                    }
                }
            }
            assert!((300..500).contains(&put), "{put}");
        }
    }

    #[test]
    fn a_walk_goes_along_what_is_bought_after_what() {
        let found = changed(Augmentation { synthetic_prob: 1.0, ..Default::default() });
        for (items, times) in &found {
            assert_eq!((items[0].0, items.len(), times[7]), (1, 8, 70));
            // Nothing ever followed the last item.
            let goes_on =
                |pair: &[ItemIdx]| pair[0].0 == 8 || (1..=3).contains(&pair[1].0.wrapping_sub(pair[0].0));
            assert!(items.windows(2).all(goes_on), "{items:?}");
        }
        assert!(found.iter().any(|(items, _)| numbers(items) != [1, 2, 3, 4, 5, 6, 7, 8]));
        assert_eq!(found, changed(Augmentation { synthetic_prob: 1.0, ..Default::default() }));
    }

    #[test]
    fn texts_that_are_not_there_and_no_probabilities_are_refused() {
        let augmentation = Augmentation { insert_prob: 0.1, insert: Similar::Text, ..Default::default() };
        let settings = sasrec::Config { augmentation, ..Default::default() }.settings();
        let said = Augmenter::new(&data().with_sides(Arc::default()), &settings).unwrap_err().to_string();
        assert!(said.contains("augmentation.insert"), "{said}");
        let augmentation = Augmentation { reorder_prob: f32::NAN, ..Default::default() };
        let config = sasrec::Config { augmentation, ..Default::default() };
        let said = sasrec::SasRec::fit(&data(), &config, 1).unwrap_err().to_string();
        assert!(said.contains("augmentation.reorder_prob"), "{said}");
    }
}
