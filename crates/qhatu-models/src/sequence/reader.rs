//! How one history is read to be answered: the network without what only training needs. Weights of attention are laid
//! out for it, and of the last block only the last query's row is computed.
//!
//! The same hidden state as the network's, up to the order of sums, and one for every way of asking: scores, lists
//! and reasons of a history go by the same numbers.

use qhatu_nn::layer::{LastBlock, LastBlockRoom, LayerNormSaved, PackedBlock, PackedBlockRoom, Precision};
use qhatu_nn::{Parameters, Stream, Team};

use super::encoder::Encoder;
use super::example::{Example, QUERY};
use super::kinds::Work;
use super::network::{Network, Space};
use super::settings::Settings;
use crate::act::Act;

/// The network and its parameters without those of the items.
#[derive(Debug)]
pub(super) struct Reader {
    network: Network,
    parameters: Parameters,
    /// Where attention reads, its blocks and the last one.
    packed: Option<(Vec<PackedBlock>, LastBlock)>,
    width: usize,
}

/// Room of one thread, kept from request to request, and what was read last.
#[derive(Debug, Default)]
pub(super) struct Room {
    space: Space,
    x: Vec<f32>,
    y: Vec<f32>,
    block: PackedBlockRoom,
    last: LastBlockRoom,
    norm: LayerNormSaved,
    kinds: Work,
    /// The hidden state of the last query.
    pub(super) hidden: Vec<f32>,
}

impl Reader {
    /// Of a network's settings and parameters. Memory: twice the parameters that are not the items'.
    pub(super) fn new(settings: &Settings, all: &Parameters) -> Self {
        let settings = Settings { repeats: false, trend: false, ..*settings };
        let (network, mut parameters) = Network::new(&settings, 0, Stream::new(0));
        let places: Vec<_> = parameters.tensors().map(|(name, _, slot)| (name.to_owned(), slot)).collect();
        for (name, slot) in places {
            let own = slot.of_mut(parameters.values_mut());
            let from =
                all.tensors().find(|(other, ..)| *other == name).map(|(.., slot)| slot.of(all.values()));
            if let Some(from) = from.filter(|from| from.len() == own.len()) {
                own.copy_from_slice(from);
            }
        }
        let packed = packed(network.encoder(), parameters.values());
        Self { network, parameters, packed, width: settings.hidden_size }
    }

    /// Reads an example up to its last query, the last token; `items` are the vectors of the query token and the items.
    pub(super) fn read(&self, items: &[f32], example: &Example, room: &mut Room) {
        room.space.batch.clear(0);
        self.network.add(&mut room.space.batch, example, |_| (0.0, 0));
        let parameters = self.parameters.values();
        let Some((blocks, last)) = &self.packed else {
            self.network.forward_of((items, parameters), None, &mut room.space);
            let rows = &room.space.hidden;
            room.hidden.clear();
            return room.hidden.extend_from_slice(&rows[rows.len() - self.width..]);
        };
        let Room { space, x, y, block: kept, .. } = room;
        self.network.embed((items, parameters), &space.batch, x);
        let pack = self.network.pack(&space.batch);
        let team = Team::alone();
        blocks.iter().for_each(|block| block.forward(parameters, pack, x, &team, kept));
        last.forward(parameters, pack.pairs, x, y, &mut room.last);
        if let Some(kinds) = self.network.kinds() {
            kinds.ask(parameters, &[Act::Bought as u8], y, &mut room.kinds);
        }
        self.network.norm().forward(parameters, y, &mut room.hidden, &mut room.norm);
    }

    /// How much each token of what was read last said for an item of this vector; query tokens nothing.
    ///
    /// Of attention it is what the last block took from the token times the gradient of the item's logit; of other
    /// networks the token's vector times that gradient.
    pub(super) fn said(
        &self,
        items: &[f32],
        (example, item): (&Example, &[f32]),
        room: &mut Room,
    ) -> Vec<f32> {
        let mut said = match &self.packed {
            Some((_, last)) => self.said_to_attention(last, item, room),
            None => self.said_to_network(items, (example, item), room),
        };
        let tokens = said.iter_mut().zip(&example.tokens);
        tokens.filter(|(_, token)| **token == QUERY).for_each(|(said, _)| *said = f32::NEG_INFINITY);
        said
    }

    fn said_to_attention(&self, last: &LastBlock, item: &[f32], room: &mut Room) -> Vec<f32> {
        let Room { space, y, norm, kinds: work, .. } = room;
        let parameters = self.parameters.values();
        space.gradients.resize(parameters.len(), 0.0);
        self.network.norm().backward(parameters, &mut space.gradients, (y, norm), item, &mut space.d);
        if let Some(kinds) = self.network.kinds() {
            let into = (parameters, space.gradients.as_mut_slice());
            kinds.ask_backward(into, &[Act::Bought as u8], &mut space.d, work);
        }
        last.said(parameters, &mut space.gradients, &space.d, &mut room.last)
    }

    fn said_to_network(
        &self,
        items: &[f32],
        (example, item): (&Example, &[f32]),
        room: &mut Room,
    ) -> Vec<f32> {
        // What was saved for the gradient is used up by it.
        self.read(items, example, room);
        let (space, width) = (&mut room.space, self.width);
        space.gradients.resize(self.parameters.len(), 0.0);
        space.d_hidden.clear();
        space.d_hidden.resize(space.hidden.len(), 0.0);
        let last = space.hidden.len() - width;
        space.d_hidden[last..].copy_from_slice(item);
        self.network.backward_to_tokens(self.parameters.values(), None, space);
        let said = example
            .tokens
            .iter()
            .zip(space.d.chunks_exact(width))
            .map(|(token, d)| d.iter().zip(&items[*token as usize * width..]).map(|(d, x)| d * x).sum());
        said.collect()
    }
}

fn packed(encoder: &Encoder, parameters: &[f32]) -> Option<(Vec<PackedBlock>, LastBlock)> {
    let Encoder::Attention(blocks) = encoder else { return None };
    let (last, before) = blocks.split_last()?;
    let before = before.iter().map(|block| PackedBlock::new(block, parameters, Precision::F32));
    Some((before.collect(), LastBlock::new(last, parameters)?))
}

#[cfg(test)]
mod tests {
    use qhatu_schema::ItemIdx;

    use super::*;
    use crate::journey::Told;
    use crate::recommender::History;
    use crate::sequence::SequenceConfig;
    use crate::sequence::{Distance, Inputs, Steps};
    use crate::{bert4rec, gru4rec, sasrec};

    /// The network's own hidden state, by the logits of items whose vectors pick one of its numbers each.
    #[test]
    fn the_hidden_state_is_that_of_the_network() {
        let acts = Inputs { event_kind: true, ..Inputs::default() };
        let all = [
            sasrec::Config::default().settings(),
            sasrec::Config { num_hidden_layers: 0, ..Default::default() }.settings(),
            sasrec::Config {
                steps: Steps::Items,
                attention_bias: Distance::Steps,
                repeats: false,
                num_hidden_layers: 3,
                inputs: Inputs { time_gap: true, ..Inputs::default() },
                ..Default::default()
            }
            .settings(),
            sasrec::Config { steps: Steps::Items, inputs: acts, ..Default::default() }.settings(),
            gru4rec::Config { steps: Steps::Items, inputs: acts, ..Default::default() }.settings(),
            bert4rec::Config { inputs: acts, ..Default::default() }.settings(),
            bert4rec::Config::default().settings(),
            gru4rec::Config::default().settings(),
        ];
        for settings in all {
            let (network, mut parameters) = Network::new(&settings, 70, Stream::new(3));
            // Larger weights than the first ones, so that a fault shows.
            parameters.values_mut().iter_mut().for_each(|value| *value *= 4.0);
            let items: Vec<ItemIdx> = (0..40).map(|place| ItemIdx(1 + place * 13 % 70)).collect();
            let times: Vec<i64> = (0..40).map(|place| place / 3 * 86_400_000 * (1 + place % 2)).collect();
            let reader = Reader::new(&settings, &parameters);
            let mut room = Room::default();
            for known in [0, 1, 7, 40] {
                let mut told = Told::default();
                for place in 0..known {
                    told.push(items[place], times[place], Act::ALL[place % 3]);
                }
                let history = History::bought(&items[..known], &times[..known], 9_000_000_000);
                let history = History { told: Some(&told), ..history };
                let example = Example::new(&history, 70, &settings, true);
                let mut space = Space::default();
                network.read(parameters.values(), &[&example], &mut space);
                reader.read(network.items(parameters.values()), &example, &mut room);
                let pairs = room.hidden.iter().zip(&space.hidden);
                let gap = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(gap < 2e-5, "{settings:?} {known}: {gap}");
                assert_eq!(room.hidden.len(), settings.hidden_size);
            }
        }
    }
}
