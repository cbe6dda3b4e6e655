//! BERT: embeddings of tokens, positions and types, blocks of attention over the whole text, a pooler, and
//! the head that guesses hidden tokens.
//!
//! Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers (2018). The layers are
//! `qhatu-nn`'s, norm behind each sum; sequences are packed, not filled up, which gives the same numbers.

use std::sync::{Arc, OnceLock};

use qhatu_nn::layer::{
    Block, BlockConfig, BlockSaved, Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, LayerNormSaved,
    Linear, LinearConfig, NormPlace, PackedBlock, PackedBlockRoom, Precision,
};
use qhatu_nn::operation::attention::Pack;
use qhatu_nn::operation::dropout::Dropout;
use qhatu_nn::{Initial, Parameters, Slot, Stream, Team};

use crate::{Batch, BertConfig, TextError};

/// The head that guesses hidden tokens: a layer, its norm, then the tokens' own vectors and a bias.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaskedLanguageHead {
    /// The layer; its function is the model's `hidden_act`.
    pub transform: Linear,
    /// Its norm.
    pub norm: LayerNorm,
    /// A number for each token.
    pub bias: Slot,
}

/// Which parts a model has beside the encoder, and how its weights begin.
#[derive(Debug, Clone, Copy)]
pub struct Parts {
    /// The layer over `[CLS]`.
    pub pooler: bool,
    /// The head that guesses hidden tokens.
    pub masked_language_head: bool,
    /// Where first weights come from; without it they begin as 0, to be read from a checkpoint.
    pub seed: Option<u64>,
}

/// A BERT and its weights.
#[derive(Debug, Clone)]
pub struct Bert {
    config: BertConfig,
    parameters: Parameters,
    /// The blocks' weights laid out for encoding, by precision; made when they are first needed, gone when a
    /// weight changes.
    packed: [OnceLock<Arc<[PackedBlock]>>; 2],
    pub(crate) words: Embedding,
    pub(crate) positions: Embedding,
    pub(crate) types: Embedding,
    pub(crate) norm: LayerNorm,
    pub(crate) blocks: Vec<Block>,
    pub(crate) pooler: Option<Linear>,
    pub(crate) head: Option<MaskedLanguageHead>,
}

/// What the passes keep, and room to work; kept from call to call.
#[derive(Debug, Clone, Default)]
pub struct BertSaved {
    embedded: Vec<f32>,
    norm: LayerNormSaved,
    /// What goes into each block, and what comes out of the last.
    pub(crate) hidden: Vec<Vec<f32>>,
    /// One for each block where something is done with them, one for all otherwise.
    pub(crate) blocks: Vec<BlockSaved>,
}

impl BertSaved {
    /// The last forward pass's outputs: tokens × hidden size.
    pub fn output(&self) -> &[f32] {
        self.hidden.last().map_or(&[], Vec::as_slice)
    }
}

/// Room for [`Bert::encode`]; kept from call to call.
#[derive(Debug, Clone, Default)]
pub struct BertRoom {
    embedded: Vec<f32>,
    hidden: Vec<f32>,
    norm: LayerNormSaved,
    block: PackedBlockRoom,
}

impl BertRoom {
    /// The last outputs: tokens × hidden size.
    pub fn output(&self) -> &[f32] {
        &self.hidden
    }
}

/// What a forward pass is for.
#[derive(Debug, Clone, Copy)]
pub enum Pass {
    /// The outputs alone; the least memory.
    Output,
    /// A backward pass afterwards, or a look at the attention; nothing is dropped.
    Keep,
    /// A backward pass afterwards, with dropout by this stream.
    Train(Stream),
}

impl Pass {
    fn stream(self) -> Option<Stream> {
        match self {
            Self::Train(stream) => Some(stream),
            _ => None,
        }
    }
}

/// The streams of dropout: the embeddings' number; blocks have their own from 0.
const EMBEDDINGS: u64 = 1 << 32;

impl Bert {
    /// A BERT of this shape.
    ///
    /// # Errors
    /// Where [`BertConfig::check`] refuses the shape.
    pub fn new(config: BertConfig, parts: Parts) -> Result<Self, TextError> {
        config.check()?;
        let stream = Stream::new(parts.seed.unwrap_or(0));
        let deviation = if parts.seed.is_some() { config.initializer_range } else { 0.0 };
        let mut parameters = Parameters::default();
        let width = config.hidden_size;
        let mut table = |name: &str, rows: usize| {
            let table =
                EmbeddingConfig { num_embeddings: rows, embedding_dim: width, initializer_range: deviation };
            Embedding::new(&mut parameters, &format!("embeddings.{name}"), table, stream)
        };
        let words = table("word_embeddings", config.vocab_size);
        let positions = table("position_embeddings", config.max_position_embeddings);
        let types = table("token_type_embeddings", config.type_vocab_size);
        let norm_shape = LayerNormConfig { hidden_size: width, layer_norm_eps: config.layer_norm_eps };
        let norm = LayerNorm::new(&mut parameters, "embeddings.LayerNorm", norm_shape);
        let shape = block_config(&config, deviation);
        let blocks = (0..config.num_hidden_layers)
            .map(|layer| Block::new(&mut parameters, &format!("encoder.layer.{layer}"), shape, stream))
            .collect();
        let square = LinearConfig { in_features: width, out_features: width, initializer_range: deviation };
        let pooler = parts.pooler.then(|| Linear::new(&mut parameters, "pooler.dense", square, stream));
        let head = parts.masked_language_head.then(|| {
            let parameters = &mut parameters;
            let name = "cls.predictions.transform";
            MaskedLanguageHead {
                transform: Linear::new(parameters, &format!("{name}.dense"), square, stream),
                norm: LayerNorm::new(parameters, &format!("{name}.LayerNorm"), norm_shape),
                bias: parameters.add(
                    "cls.predictions.bias",
                    &[config.vocab_size],
                    Initial::Constant(0.0),
                    stream,
                ),
            }
        });
        let packed = Default::default();
        Ok(Self { config, parameters, packed, words, positions, types, norm, blocks, pooler, head })
    }

    /// The shape.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// The weights.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The weights, to write to.
    pub(crate) fn parameters_mut(&mut self) -> &mut Parameters {
        self.packed = Default::default();
        &mut self.parameters
    }

    /// The outputs of all tokens, in `room.output()`: tokens × hidden size; nothing is kept for a backward pass. The
    /// weights are laid out for it at the first call, which takes as much memory again as the blocks' weights (at
    /// most half of it in whole numbers). By a team, which changes nothing in the result.
    pub fn encode(&self, batch: &Batch, precision: Precision, team: &Team, room: &mut BertRoom) {
        let parameters = self.parameters.values();
        self.embed(batch, &mut room.embedded);
        self.norm.forward(parameters, &room.embedded, &mut room.hidden, &mut room.norm);
        let pack = Pack::bidirectional(&batch.starts);
        for block in self.packed(precision) {
            block.forward(parameters, pack, &mut room.hidden, team, &mut room.block);
        }
    }

    fn packed(&self, precision: Precision) -> &[PackedBlock] {
        let place = match precision {
            Precision::F32 => 0,
            Precision::Int8 => 1,
        };
        let one = |block: &Block| PackedBlock::new(block, self.parameters.values(), precision);
        self.packed[place].get_or_init(|| self.blocks.iter().map(one).collect())
    }

    /// The sum of each token's three vectors.
    fn embed(&self, batch: &Batch, embedded: &mut Vec<f32>) {
        let parameters = self.parameters.values();
        self.words.forward(parameters, &batch.ids, embedded);
        self.positions.add(parameters, &batch.positions, embedded);
        self.types.add(parameters, &batch.type_ids, embedded);
    }

    /// The outputs of all tokens, in `saved.output()`: tokens × hidden size.
    pub fn forward(&self, batch: &Batch, pass: Pass, saved: &mut BertSaved) {
        let parameters = self.parameters.values();
        let BertSaved { embedded, norm, hidden, blocks } = saved;
        self.embed(batch, embedded);
        let kept = if matches!(pass, Pass::Output) { 1 } else { self.blocks.len() };
        blocks.resize_with(kept, BlockSaved::default);
        hidden.resize_with(kept + 1, Vec::new);
        self.norm.forward(parameters, embedded, &mut hidden[0], norm);
        if let Some(dropout) = self.embedding_dropout(pass) {
            dropout.apply(&mut hidden[0]);
        }
        let pack = Pack::bidirectional(&batch.starts);
        for (layer, block) in self.blocks.iter().enumerate() {
            let place = layer.min(kept - 1);
            let [x, y] = hidden.get_disjoint_mut([place, place + 1]).expect("two neighbours");
            let training = pass.stream().map(|stream| stream.child(layer as u64));
            block.forward(parameters, (pack, training), x, y, &mut blocks[place]);
            if kept == 1 && layer + 1 < self.blocks.len() {
                std::mem::swap(x, y);
            }
        }
    }

    /// Adds to the gradients of the weights; `d` is the gradient of the outputs, and becomes that of what
    /// the first block gets, the normed embeddings. Batch and pass are those of the forward pass, which must have kept.
    ///
    /// # Panics
    /// After a forward pass for the outputs alone.
    pub fn backward(
        &self,
        batch: &Batch,
        pass: Pass,
        saved: &mut BertSaved,
        gradients: &mut [f32],
        d: &mut Vec<f32>,
    ) {
        let parameters = self.parameters.values();
        assert_eq!(saved.blocks.len(), self.blocks.len(), "a pass that keeps what each block needs");
        let pack = Pack::bidirectional(&batch.starts);
        for (layer, block) in self.blocks.iter().enumerate().rev() {
            let training = pass.stream().map(|stream| stream.child(layer as u64));
            let both = (parameters, &mut *gradients);
            block.backward(both, (pack, training), &saved.hidden[layer], d, &mut saved.blocks[layer]);
        }
        let mut d_embedded = Vec::new();
        if let Some(dropout) = self.embedding_dropout(pass) {
            dropout.apply(d);
        }
        let input = (saved.embedded.as_slice(), &saved.norm);
        self.norm.backward(parameters, gradients, input, d, &mut d_embedded);
        self.words.backward(gradients, &batch.ids, &d_embedded);
        self.positions.backward(gradients, &batch.positions, &d_embedded);
        self.types.backward(gradients, &batch.type_ids, &d_embedded);
    }

    /// `tanh` of the pooler's layer over each sequence's first output: sequences × hidden size; nothing where
    /// the model has no pooler.
    pub fn pooled(&self, batch: &Batch, output: &[f32]) -> Option<Vec<f32>> {
        let width = self.config.hidden_size;
        let first = |start: &usize| &output[start * width..][..width];
        let starts = &batch.starts[..batch.sequences()];
        let gathered: Vec<f32> = starts.iter().flat_map(first).copied().collect();
        let mut pooled = Vec::new();
        self.pooler?.forward(self.parameters.values(), &gathered, &mut pooled);
        pooled.iter_mut().for_each(|value| *value = value.tanh());
        Some(pooled)
    }

    fn embedding_dropout(&self, pass: Pass) -> Option<Dropout> {
        let training = pass.stream().map(|stream| stream.child(EMBEDDINGS));
        Dropout::of(self.config.hidden_dropout_prob, training)
    }
}

fn block_config(config: &BertConfig, deviation: f32) -> BlockConfig {
    BlockConfig {
        hidden_size: config.hidden_size,
        num_attention_heads: config.num_attention_heads,
        intermediate_size: config.intermediate_size,
        hidden_act: config.hidden_act,
        layer_norm_eps: config.layer_norm_eps,
        initializer_range: deviation,
        norm: NormPlace::Behind,
        relative_attention_num_buckets: 0,
        hidden_dropout_prob: config.hidden_dropout_prob,
        attention_probs_dropout_prob: config.attention_probs_dropout_prob,
    }
}
