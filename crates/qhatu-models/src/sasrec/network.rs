//! The network: embeddings, transformer blocks, and the loss over the catalogue, forward and backward.

use qhatu_nn::layer::{Block, BlockConfig, BlockSaved, LayerNorm, LayerNormSaved, NormPlace};
use qhatu_nn::operation::activation::Activation;
use qhatu_nn::operation::attention::{Mask, Pack, Pairs};
use qhatu_nn::operation::cross_entropy::{CrossEntropy, Gradients, Sparse, Targets};
use qhatu_nn::operation::dropout::Dropout;
use qhatu_nn::operation::embedding;
use qhatu_nn::{Initial, Parameters, Slot, Stream};

use super::Config;
use super::example::{BUCKETS, Example, QUERY};
use super::own::{Own, Weights};
use super::trend::{SIGNS, Trend};

/// Deviation of the first weights.
const DEVIATION: f32 = 0.02;

/// Where everything lies in the parameters.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Network {
    hidden_size: usize,
    dropout: f32,
    item_dropout: f32,
    /// Row 0: the query token; then a row per item, for input and output.
    items: Slot,
    item_bias: Slot,
    trend: Slot,
    gaps: Slot,
    own: Weights<Slot>,
    blocks: Vec<Block>,
    norm: LayerNorm,
}

/// Some shoppers, one behind another.
#[derive(Debug, Default)]
pub(super) struct Batch {
    starts: Vec<usize>,
    tokens: Vec<u32>,
    gaps: Vec<u32>,
    visible: Vec<u32>,
    pairs: Vec<u8>,
    /// Rows of the queries, and what they should name.
    rows: Vec<usize>,
    target_starts: Vec<usize>,
    targets: Vec<u32>,
    weights: Vec<f32>,
    weeks: Vec<u32>,
    own: Own,
}

/// Room of one thread, kept from step to step.
#[derive(Debug, Default)]
pub(super) struct Space {
    pub(super) batch: Batch,
    pub(super) gradients: Vec<f32>,
    states: Vec<Vec<f32>>,
    blocks: Vec<BlockSaved>,
    queries: Vec<f32>,
    norm: LayerNormSaved,
    hidden: Vec<f32>,
    d_hidden: Vec<f32>,
    d_queries: Vec<f32>,
    d_offsets: Vec<f32>,
    d_biases: Vec<f32>,
    d: Vec<f32>,
    logits: Vec<f32>,
}

impl Batch {
    pub(super) fn clear(&mut self, catalogue_size: usize) {
        let Self { starts, tokens, gaps, visible, pairs, rows, target_starts, targets, weights, weeks, own } =
            self;
        starts.clear();
        starts.push(0);
        target_starts.clear();
        target_starts.push(0);
        [tokens, gaps, visible, targets, weeks].into_iter().for_each(Vec::clear);
        pairs.clear();
        rows.clear();
        weights.clear();
        own.clear(catalogue_size);
    }

    /// Adds a shopper; `asked` gives weight and week of a query from its time.
    pub(super) fn add(&mut self, example: &Example, asked: impl Fn(i64) -> (f32, u32)) {
        let first = self.tokens.len();
        self.tokens.extend(&example.tokens);
        self.gaps.extend(example.gaps.iter().map(|gap| u32::from(*gap)));
        self.visible.extend(&example.visible);
        example.add_pairs(&mut self.pairs);
        self.starts.push(self.tokens.len());
        for query in &example.queries {
            self.rows.push(first + query.place);
            self.own.add(example, query.place);
            let (weight, week) = asked(example.times[query.place]);
            let named = example.named(query);
            let each = weight / named.clone().count().max(1) as f32;
            self.targets.extend(named.clone().map(|item| item - 1));
            self.weights.extend(named.map(|_| each));
            self.weeks.push(week);
            self.target_starts.push(self.targets.len());
        }
    }

    fn pack(&self) -> Pack<'_> {
        let pairs = Some(Pairs { bucket: &self.pairs, buckets: BUCKETS });
        Pack { starts: &self.starts, mask: Mask::Visible(&self.visible), pairs }
    }
}

impl Network {
    /// Adds the tensors for a catalogue of `size` items.
    pub(super) fn new(config: &Config, size: usize, stream: Stream) -> (Self, Parameters) {
        let mut parameters = Parameters::default();
        let width = config.hidden_size;
        let normal = Initial::Normal(DEVIATION);
        let zero = Initial::Constant(0.0);
        let items = parameters.add("items.weight", &[size + 1, width], normal, stream);
        let item_bias = parameters.add("items.bias", &[size], zero, stream);
        let trend = parameters.add("trend.factors", &[SIGNS], Initial::Constant(0.5), stream);
        let gaps = parameters.add("gaps.weight", &[BUCKETS, width], normal, stream);
        let own = Weights {
            age: parameters.add("own.age", &[BUCKETS], Initial::Constant(1.0), stream),
            item: parameters.add("own.item", &[size], zero, stream),
            gate: parameters.add("own.gate", &[width], zero, stream),
        };
        let block = block_config(config);
        let blocks = (0..config.num_hidden_layers)
            .map(|number| Block::new(&mut parameters, &format!("blocks.{number}"), block, stream))
            .collect();
        let norm = LayerNorm::new(&mut parameters, "norm", width, block.layer_norm_eps);
        let (dropout, item_dropout) = (config.hidden_dropout_prob, config.item_dropout_prob);
        (
            Self {
                hidden_size: width,
                dropout,
                item_dropout,
                items,
                item_bias,
                trend,
                gaps,
                own,
                blocks,
                norm,
            },
            parameters,
        )
    }

    /// The bias of each item, from item 1.
    pub(super) fn item_bias(&self) -> Slot {
        self.item_bias
    }

    /// The factors of the trend's signs.
    pub(super) fn trend(&self) -> Slot {
        self.trend
    }

    /// The vectors of query token and items.
    pub(super) fn items<'a>(&self, parameters: &'a [f32]) -> &'a [f32] {
        self.items.of(parameters)
    }

    /// Hidden states of the queries, into `space.hidden`.
    fn forward(&self, parameters: &[f32], training: Option<Stream>, space: &mut Space) {
        let Space { batch, states, blocks, queries, norm, hidden, .. } = space;
        let width = self.hidden_size;
        states.resize_with(self.blocks.len() + 1, Vec::new);
        blocks.resize_with(self.blocks.len(), BlockSaved::default);
        let x = &mut states[0];
        x.resize(batch.tokens.len() * width, 0.0);
        embedding::forward(self.items.of(parameters), &batch.tokens, x, width);
        let scale = (width as f32).sqrt();
        x.iter_mut().for_each(|x| *x *= scale);
        let gaps = self.gaps.of(parameters);
        for &row in &batch.rows {
            let gap = &gaps[batch.gaps[row] as usize * width..][..width];
            x[row * width..][..width].iter_mut().zip(gap).for_each(|(x, gap)| *x += scale * gap);
        }
        self.drop_inputs(&batch.tokens, training, x);
        let pack = batch.pack();
        for (number, block) in self.blocks.iter().enumerate() {
            let (before, behind) = states.split_at_mut(number + 1);
            let context = (pack, training.map(|stream| stream.child(number as u64)));
            block.forward(parameters, context, &before[number], &mut behind[0], &mut blocks[number]);
        }
        let last = &states[self.blocks.len()];
        queries.clear();
        batch.rows.iter().for_each(|row| queries.extend_from_slice(&last[row * width..][..width]));
        self.norm.forward(parameters, queries, hidden, norm);
    }

    /// From gradients of the hidden states (`space.d_hidden`) to those of the parameters; leaves those
    /// of the tokens in `space.d`.
    fn backward(&self, parameters: &[f32], training: Option<Stream>, space: &mut Space) {
        let Space { batch, gradients, states, blocks, queries, norm, d_hidden, d_queries, d, .. } = space;
        let width = self.hidden_size;
        self.norm.backward(parameters, gradients, (queries, norm), d_hidden, d_queries);
        d.clear();
        d.resize(batch.tokens.len() * width, 0.0);
        for (&row, from) in batch.rows.iter().zip(d_queries.chunks_exact(width)) {
            d[row * width..][..width].copy_from_slice(from);
        }
        let pack = batch.pack();
        for (number, block) in self.blocks.iter().enumerate().rev() {
            let context = (pack, training.map(|stream| stream.child(number as u64)));
            block.backward((parameters, gradients), context, &states[number], d, &mut blocks[number]);
        }
        self.drop_inputs(&batch.tokens, training, d);
        let scale = (width as f32).sqrt();
        d.iter_mut().for_each(|d| *d *= scale);
        embedding::backward(d, &batch.tokens, self.items.of_mut(gradients), width);
        let d_gaps = self.gaps.of_mut(gradients);
        for &row in &batch.rows {
            let to = &mut d_gaps[batch.gaps[row] as usize * width..][..width];
            to.iter_mut().zip(&d[row * width..][..width]).for_each(|(to, d)| *to += d);
        }
    }

    /// In training whole items are left out of what is read, and numbers of what is left: who buys this
    /// must be known from any part of their history. Forward on inputs, backward on their gradients.
    fn drop_inputs(&self, tokens: &[u32], training: Option<Stream>, rows: &mut [f32]) {
        let Some(stream) = training.map(|stream| stream.child(u64::MAX)) else { return };
        Dropout { rate: self.dropout, stream }.apply(rows);
        let share = self.item_dropout.min(0.999);
        let bar = (f64::from(share) * u64::MAX as f64) as u64;
        let items = stream.child(1);
        for (place, (token, row)) in tokens.iter().zip(rows.chunks_exact_mut(self.hidden_size)).enumerate() {
            if *token != QUERY {
                let factor = if items.at(place as u64) < bar { 0.0 } else { 1.0 / (1.0 - share) };
                row.iter_mut().for_each(|number| *number *= factor);
            }
        }
    }

    /// The sum of the losses of the batch in `space`, and its gradients times `scale` in
    /// `space.gradients`.
    pub(super) fn step(
        &self,
        parameters: &[f32],
        (trend, biases): (&Trend, &[f32]),
        training: Stream,
        scale: f32,
        space: &mut Space,
    ) -> f64 {
        space.gradients.clear();
        space.gradients.resize(parameters.len(), 0.0);
        if space.batch.rows.is_empty() {
            return 0.0;
        }
        self.forward(parameters, Some(training), space);
        let loss = self.loss(parameters, (trend, biases), scale, space);
        self.backward(parameters, Some(training), space);
        loss
    }

    fn loss(
        &self,
        parameters: &[f32],
        (trend, biases): (&Trend, &[f32]),
        scale: f32,
        space: &mut Space,
    ) -> f64 {
        let Space { batch, gradients, hidden, d_hidden, d_offsets, d_biases, logits, .. } = space;
        d_biases.clear();
        d_biases.resize(biases.len(), 0.0);
        let width = self.hidden_size;
        d_hidden.resize(hidden.len(), 0.0);
        d_offsets.resize(batch.own.len(), 0.0);
        let weights = self.own_weights(parameters);
        let offsets = batch.own.forward(&weights, hidden);
        let targets =
            Sparse { starts: &batch.target_starts, classes: &batch.targets, values: &batch.weights };
        let entropy = CrossEntropy {
            weights: &self.items.of(parameters)[width..],
            bias: Some(biases),
            width,
            targets: Targets::Weighted(targets),
            offsets: Some(offsets),
        };
        let Weights { age, item, gate } = self.own;
        let slots = [self.items, self.item_bias, self.trend, age, item, gate];
        let [d_items, d_bias, d_factors, age, item, gate] = Slot::all_of_mut(slots, gradients);
        let mut into = Gradients {
            scale,
            x: d_hidden,
            weights: &mut d_items[width..],
            bias: Some(d_biases),
            offsets: Some(d_offsets),
        };
        let loss = entropy.grouped(&batch.weeks).forward_backward(hidden, &mut into, logits);
        trend.backward(d_biases, d_bias, d_factors);
        batch.own.backward(&weights, &mut Weights { age, item, gate }, d_offsets, (hidden, d_hidden));
        loss
    }

    fn own_weights<'a>(&self, parameters: &'a [f32]) -> Weights<&'a [f32]> {
        Weights {
            age: self.own.age.of(parameters),
            item: self.own.item.of(parameters),
            gate: self.own.gate.of(parameters),
        }
    }

    /// Logits of all items, padding's place left alone, for the last query of an example.
    pub(super) fn logits(
        &self,
        parameters: &[f32],
        example: &Example,
        space: &mut Space,
        scores: &mut [f32],
    ) {
        self.read(parameters, example, space);
        let Space { batch, hidden, .. } = space;
        let width = self.hidden_size;
        let rows = self.items.of(parameters).chunks_exact(width).skip(1);
        for (score, row) in scores[1..].iter_mut().zip(rows) {
            *score += row.iter().zip(hidden.iter()).map(|(a, b)| a * b).sum::<f32>();
        }
        let offsets = batch.own.forward(&self.own_weights(parameters), hidden);
        for (class, value) in offsets.classes.iter().zip(offsets.values) {
            scores[*class as usize + 1] += value;
        }
    }

    /// Reads an example up to its last query, which alone is then in the batch.
    fn read(&self, parameters: &[f32], example: &Example, space: &mut Space) {
        let size = self.item_bias.of(parameters).len();
        space.batch.clear(size);
        space.batch.add(example, |_| (0.0, 0));
        self.forward(parameters, None, space);
        // Only the last query is asked; those before it were read for what they say to it.
        let width = self.hidden_size;
        let last = space.hidden.len() - width;
        space.hidden.drain(..last);
        space.batch.own.clear(size);
        space.batch.own.add(example, example.tokens.len() - 1);
    }

    /// What each token of an example says for one item: gradient of its logit times input.
    pub(super) fn attributions(
        &self,
        parameters: &[f32],
        example: &Example,
        item: usize,
        space: &mut Space,
    ) -> Vec<f32> {
        let width = self.hidden_size;
        space.gradients.clear();
        space.gradients.resize(parameters.len(), 0.0);
        space.batch.clear(self.item_bias.of(parameters).len());
        space.batch.add(example, |_| (0.0, 0));
        self.forward(parameters, None, space);
        space.d_hidden.clear();
        space.d_hidden.resize(space.hidden.len(), 0.0);
        let last = space.hidden.len() - width;
        let row = &self.items.of(parameters)[item * width..][..width];
        space.d_hidden[last..].copy_from_slice(row);
        self.backward(parameters, None, space);
        let table = self.items.of(parameters);
        let said = example.tokens.iter().zip(space.d.chunks_exact(width)).map(|(token, d)| match *token {
            QUERY => f32::NEG_INFINITY,
            token => d.iter().zip(&table[token as usize * width..]).map(|(d, x)| d * x).sum(),
        });
        said.collect()
    }
}

fn block_config(config: &Config) -> BlockConfig {
    BlockConfig {
        hidden_size: config.hidden_size,
        num_attention_heads: config.num_attention_heads,
        intermediate_size: config.intermediate_size,
        hidden_act: Activation::Gelu,
        layer_norm_eps: 1e-5,
        initializer_range: DEVIATION,
        norm: NormPlace::Before,
        buckets: BUCKETS,
        hidden_dropout_prob: config.hidden_dropout_prob,
        attention_probs_dropout_prob: config.attention_probs_dropout_prob,
    }
}
