//! Where each tensor of Hugging Face's `BertModel` and `BertForMaskedLM` lies in our parameters.

use std::ops::Range;

use qhatu_nn::Slot;
use qhatu_nn::layer::{LayerNorm, Linear};

use super::weights::Weights;
use crate::{Bert, BertConfig, Parts, TextError};

/// A published tensor, and which numbers of which of ours it is. Queries, keys and values are three
/// published tensors and one of ours.
pub(super) struct Place {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) slot: Slot,
    pub(super) part: Range<usize>,
}

fn whole(name: impl Into<String>, shape: &[usize], slot: Slot) -> Place {
    Place { name: name.into(), shape: shape.to_vec(), slot, part: 0..shape.iter().product() }
}

fn linear(name: &str, layer: &Linear) -> [Place; 2] {
    let (outputs, inputs) = (layer.widths.outputs, layer.widths.inputs);
    [
        whole(format!("{name}.weight"), &[outputs, inputs], layer.weight),
        whole(format!("{name}.bias"), &[outputs], layer.bias),
    ]
}

fn norm(name: &str, layer: &LayerNorm) -> [Place; 2] {
    [
        whole(format!("{name}.weight"), &[layer.width], layer.weight),
        whole(format!("{name}.bias"), &[layer.width], layer.bias),
    ]
}

/// One of queries (0), keys (1) and values (2).
fn third(name: &str, layer: &Linear, which: usize) -> [Place; 2] {
    let width = layer.widths.inputs;
    let square = width * width;
    let weight = which * square..(which + 1) * square;
    let bias = which * width..(which + 1) * width;
    [
        Place { name: format!("{name}.weight"), shape: vec![width, width], slot: layer.weight, part: weight },
        Place { name: format!("{name}.bias"), shape: vec![width], slot: layer.bias, part: bias },
    ]
}

/// All tensors of a model.
pub(super) fn places(bert: &Bert) -> Vec<Place> {
    let config = bert.config();
    let width = config.hidden_size;
    let table =
        |name: &str, rows: usize, slot| whole(format!("embeddings.{name}.weight"), &[rows, width], slot);
    let mut places = vec![
        table("word_embeddings", config.vocab_size, bert.words.weight),
        table("position_embeddings", config.max_position_embeddings, bert.positions.weight),
        table("token_type_embeddings", config.type_vocab_size, bert.types.weight),
    ];
    places.extend(norm("embeddings.LayerNorm", &bert.norm));
    for (layer, block) in bert.blocks.iter().enumerate() {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        for (which, part) in ["query", "key", "value"].into_iter().enumerate() {
            places.extend(third(&name(&format!("attention.self.{part}")), &block.attention.qkv, which));
        }
        places.extend(linear(&name("attention.output.dense"), &block.attention.output));
        places.extend(norm(&name("attention.output.LayerNorm"), &block.attention_norm));
        places.extend(linear(&name("intermediate.dense"), &block.feed_forward.up));
        places.extend(linear(&name("output.dense"), &block.feed_forward.down));
        places.extend(norm(&name("output.LayerNorm"), &block.feed_forward_norm));
    }
    places.extend(bert.pooler.iter().flat_map(|pooler| linear("pooler.dense", pooler)));
    if let Some(head) = &bert.head {
        places.extend(linear("cls.predictions.transform.dense", &head.transform));
        places.extend(norm("cls.predictions.transform.LayerNorm", &head.norm));
        places.push(whole("cls.predictions.bias", &[config.vocab_size], head.bias));
    }
    places
}

/// Numbers that a model may have more than its checkpoint before a look at each tensor.
const ROOM: usize = 1 << 20;

/// A model of this shape with the weights of a checkpoint under Hugging Face's names. It has the parts that
/// the checkpoint has.
pub(super) fn assembled(config: BertConfig, mut weights: Weights) -> Result<Bert, TextError> {
    let pooler = weights.has("pooler.dense.weight");
    // A few bytes of settings must not take gigabytes that no checkpoint backs.
    let (needs, holds) = (config.weights(), weights.count());
    if needs > holds.saturating_mul(2).saturating_add(ROOM) {
        let fault = format!("its shape has {needs} weights, but the checkpoint holds {holds}");
        return Err(TextError::file("config.json", fault));
    }
    let masked_language_head = weights.has("cls.predictions.transform.dense.weight");
    let mut bert = Bert::new(config, Parts { pooler, masked_language_head, seed: None })?;
    for place in places(&bert) {
        let values = weights.take(&place.name, &place.shape)?;
        let slot = place.slot.of_mut(bert.parameters_mut().values_mut());
        slot[place.part].copy_from_slice(&values);
    }
    Ok(bert)
}
