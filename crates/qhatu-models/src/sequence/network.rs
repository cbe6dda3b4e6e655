//! The network: embeddings, encoder, and the loss over the catalogue, forward and backward.

use qhatu_nn::layer::{LayerNorm, LayerNormConfig, LayerNormSaved};
use qhatu_nn::operation::attention::{Mask, Pack, Pairs};
use qhatu_nn::operation::cross_entropy::{CrossEntropy, Gradients, Sparse, Targets};
use qhatu_nn::operation::dropout::Dropout;
use qhatu_nn::operation::embedding;
use qhatu_nn::operation::sampled::{self, Kind, Sampled, calibrated_beta};
use qhatu_nn::{Initial, Layout, Parameters, Slot, Stream, matmul};

use super::encoder::{self, Encoder};
use super::example::{BUCKETS, Example, QUERY};
use super::kinds::{ACTS, Kinds, Work};
use super::own::{Own, Weights};
use super::settings::{self, Objective, Reading, Settings, Steps};
use super::trend::{SIGNS, Trend};
use crate::act::Act;

/// Deviation of the first weights.
pub(super) const DEVIATION: f32 = 0.02;
/// ε of layer norms.
pub(super) const EPSILON: f32 = 1e-5;

/// Where everything lies in the parameters.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Network {
    settings: Settings,
    /// Row 0: the query token; then a row per item, for input and output.
    items: Slot,
    item_bias: Slot,
    /// Factors of the trend's signs, where there is a trend.
    trend: Option<Slot>,
    /// For queries between orders, or for all tokens.
    gaps: Option<Slot>,
    /// Where acts are read.
    kinds: Option<Kinds>,
    /// Where buying again counts.
    own: Option<Weights<Slot>>,
    encoder: Encoder,
    norm: LayerNorm,
}

/// Some shoppers, one behind another.
#[derive(Debug, Default)]
pub(super) struct Batch {
    starts: Vec<usize>,
    pub(super) tokens: Vec<u32>,
    gaps: Vec<u32>,
    /// What was done at each token; empty where acts are not read.
    acts: Vec<u8>,
    visible: Vec<u32>,
    pairs: Vec<u8>,
    /// Rows of the queries, what they ask for, and what they should name.
    rows: Vec<usize>,
    asked: Vec<u8>,
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
    pub(super) encoder: encoder::Saved,
    queries: Vec<f32>,
    norm: LayerNormSaved,
    pub(super) hidden: Vec<f32>,
    pub(super) d_hidden: Vec<f32>,
    d_queries: Vec<f32>,
    kinds: Work,
    d_offsets: Vec<f32>,
    d_biases: Vec<f32>,
    pub(super) d: Vec<f32>,
    logits: Vec<f32>,
    sampled: sampled::Work,
}

impl Batch {
    pub(super) fn clear(&mut self, catalogue_size: usize) {
        let Self {
            starts, tokens, gaps, visible, pairs, rows, target_starts, targets, weights, weeks, ..
        } = self;
        starts.clear();
        starts.push(0);
        target_starts.clear();
        target_starts.push(0);
        [tokens, gaps, visible, targets, weeks].into_iter().for_each(Vec::clear);
        [pairs, &mut self.acts, &mut self.asked].into_iter().for_each(Vec::clear);
        rows.clear();
        weights.clear();
        self.own.clear(catalogue_size);
    }
}

impl Network {
    /// Adds the tensors for a catalogue of `size` items.
    pub(super) fn new(settings: &Settings, size: usize, stream: Stream) -> (Self, Parameters) {
        let mut parameters = Parameters::default();
        let width = settings.hidden_size;
        let normal = Initial::Normal(DEVIATION);
        let zero = Initial::Constant(0.0);
        let items = parameters.add("items.weight", &[size + 1, width], normal, stream);
        // Where each item has a probability of its own, it begins at one in as many as there are: from one half it would
        // be thousands of steps down to where they belong.
        let first = match settings.objective {
            Objective::Gbce => Initial::Constant(-(size.max(1) as f32).ln()),
            _ => zero,
        };
        let item_bias = parameters.add("items.bias", &[size], first, stream);
        let half = Initial::Constant(0.5);
        let trend = settings.trend.then(|| parameters.add("trend.factors", &[SIGNS], half, stream));
        let between = settings.reading == Reading::Next(Steps::Orders);
        let gaps = (between || settings.inputs.time_gap)
            .then(|| parameters.add("gaps.weight", &[BUCKETS, width], normal, stream));
        let event_kind = settings.inputs.event_kind;
        let own = settings.repeats.then(|| Weights {
            age: parameters.add("own.age", &[BUCKETS], Initial::Constant(1.0), stream),
            item: parameters.add("own.item", &[size], zero, stream),
            gate: parameters.add("own.gate", &[width], zero, stream),
            act: event_kind.then(|| parameters.add("own.act", &[ACTS * ACTS], zero, stream)),
        });
        let kinds = event_kind.then(|| Kinds::new(&mut parameters, width, stream));
        let encoder = Encoder::new(&mut parameters, settings, stream);
        let norm = LayerNormConfig { hidden_size: width, layer_norm_eps: EPSILON };
        let norm = LayerNorm::new(&mut parameters, "norm", norm);
        (Self { settings: *settings, items, item_bias, trend, gaps, kinds, own, encoder, norm }, parameters)
    }

    /// Adds a shopper to a batch; `asked` gives weight and week of a query from its time.
    pub(super) fn add(&self, batch: &mut Batch, example: &Example, asked: impl Fn(i64) -> (f32, u32)) {
        let first = batch.tokens.len();
        batch.tokens.extend(&example.tokens);
        batch.gaps.extend(example.gaps.iter().map(|gap| u32::from(*gap)));
        batch.acts.extend(&example.acts);
        batch.visible.extend(&example.visible);
        if let settings::Encoder::Attention { distance, .. } = self.settings.encoder {
            let sides = matches!(self.settings.reading, Reading::Hidden(_));
            example.add_pairs(distance, sides, &mut batch.pairs);
        }
        batch.starts.push(batch.tokens.len());
        for query in &example.queries {
            batch.rows.push(first + query.place);
            batch.asked.push(query.act as u8);
            match self.own {
                Some(_) => batch.own.add(example, query.place, query.act),
                None => batch.own.skip(),
            }
            let (weight, week) = asked(example.times[query.place]);
            let weight = weight * self.settings.weight_of(query);
            let named = example.named(query);
            let each = weight / named.clone().count().max(1) as f32;
            batch.targets.extend(named.clone().map(|item| item - 1));
            batch.weights.extend(named.map(|_| each));
            batch.weeks.push(week);
            batch.target_starts.push(batch.targets.len());
        }
    }

    pub(super) fn pack<'b>(&self, batch: &'b Batch) -> Pack<'b> {
        let mask = match self.settings.reading {
            Reading::Next(Steps::Orders) => Mask::Visible(&batch.visible),
            Reading::Next(Steps::Items) => Mask::Causal,
            Reading::Hidden(_) => Mask::Bidirectional,
        };
        let pairs = match self.settings.encoder {
            settings::Encoder::Attention { .. } => Some(Pairs { bucket: &batch.pairs, buckets: BUCKETS }),
            settings::Encoder::Recurrent { .. } => None,
        };
        Pack { starts: &batch.starts, mask, pairs }
    }

    /// The bias of each item, from item 1.
    pub(super) fn item_bias(&self) -> Slot {
        self.item_bias
    }

    /// The factors of the trend's signs.
    pub(super) fn trend(&self) -> Option<Slot> {
        self.trend
    }

    /// What reads the tokens.
    pub(super) fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The norm behind it.
    pub(super) fn norm(&self) -> &LayerNorm {
        &self.norm
    }

    /// Where the rows of query token and items lie.
    pub(super) fn item_rows(&self) -> Slot {
        self.items
    }

    /// The vectors of query token and items.
    pub(super) fn items<'a>(&self, parameters: &'a [f32]) -> &'a [f32] {
        self.items.of(parameters)
    }

    /// What reads acts.
    pub(super) fn kinds(&self) -> Option<&Kinds> {
        self.kinds.as_ref()
    }

    /// Hidden states of the queries, into `space.hidden`.
    fn forward(&self, parameters: &[f32], training: Option<Stream>, space: &mut Space) {
        self.forward_of((self.items.of(parameters), parameters), training, space);
    }

    /// The same with the vectors of query token and items from elsewhere.
    pub(super) fn forward_of(
        &self,
        (items, parameters): (&[f32], &[f32]),
        training: Option<Stream>,
        space: &mut Space,
    ) {
        let Space { batch, encoder, queries, norm, hidden, kinds: work, .. } = space;
        let width = self.settings.hidden_size;
        encoder.states.resize_with(1.max(encoder.states.len()), Vec::new);
        let x = &mut encoder.states[0];
        self.embed((items, parameters), batch, x);
        self.drop_inputs(&batch.tokens, training, x);
        let last = self.encoder.forward(parameters, (self.pack(batch), training), encoder);
        queries.clear();
        batch.rows.iter().for_each(|row| queries.extend_from_slice(&last[row * width..][..width]));
        if let Some(kinds) = &self.kinds {
            kinds.ask(parameters, &batch.asked, queries, work);
        }
        self.norm.forward(parameters, queries, hidden, norm);
    }

    /// What goes into the encoder.
    pub(super) fn embed(&self, (items, parameters): (&[f32], &[f32]), batch: &Batch, x: &mut Vec<f32>) {
        let width = self.settings.hidden_size;
        x.resize(batch.tokens.len() * width, 0.0);
        embedding::forward(items, &batch.tokens, x, width);
        let scale = (width as f32).sqrt();
        x.iter_mut().for_each(|x| *x *= scale);
        if let Some(gaps) = self.gaps {
            let gaps = gaps.of(parameters);
            for row in self.rows_with_gaps(batch) {
                let gap = &gaps[batch.gaps[row] as usize * width..][..width];
                x[row * width..][..width].iter_mut().zip(gap).for_each(|(x, gap)| *x += scale * gap);
            }
        }
        if let Some(kinds) = &self.kinds {
            kinds.add(parameters, &batch.acts, scale, x);
        }
    }

    /// From gradients of the hidden states (`space.d_hidden`) to those of the parameters; leaves those
    /// of the tokens in `space.d`.
    fn backward(&self, parameters: &[f32], training: Option<Stream>, space: &mut Space) {
        self.backward_to_tokens(parameters, training, space);
        let Space { batch, gradients, d, .. } = space;
        let width = self.settings.hidden_size;
        embedding::backward(d, &batch.tokens, self.items.of_mut(gradients), width);
        if let Some(gaps) = self.gaps {
            let d_gaps = gaps.of_mut(gradients);
            for row in self.rows_with_gaps(batch) {
                let to = &mut d_gaps[batch.gaps[row] as usize * width..][..width];
                to.iter_mut().zip(&d[row * width..][..width]).for_each(|(to, d)| *to += d);
            }
        }
        if let Some(kinds) = &self.kinds {
            kinds.add_backward(gradients, &batch.acts, d);
        }
    }

    /// The same up to the tokens.
    pub(super) fn backward_to_tokens(&self, parameters: &[f32], training: Option<Stream>, space: &mut Space) {
        let Space { batch, gradients, encoder, queries, norm, d_hidden, d_queries, d, kinds: work, .. } =
            space;
        let width = self.settings.hidden_size;
        self.norm.backward(parameters, gradients, (queries, norm), d_hidden, d_queries);
        if let Some(kinds) = &self.kinds {
            kinds.ask_backward((parameters, gradients), &batch.asked, d_queries, work);
        }
        d.clear();
        d.resize(batch.tokens.len() * width, 0.0);
        for (&row, from) in batch.rows.iter().zip(d_queries.chunks_exact(width)) {
            // A token may ask twice, where acts are read.
            d[row * width..][..width].iter_mut().zip(from).for_each(|(d, from)| *d += from);
        }
        self.encoder.backward((parameters, gradients), (self.pack(batch), training), d, encoder);
        self.drop_inputs(&batch.tokens, training, d);
        let scale = (width as f32).sqrt();
        d.iter_mut().for_each(|d| *d *= scale);
    }

    /// The rows that know the time since what was before: the queries, or all.
    fn rows_with_gaps<'b>(&self, batch: &'b Batch) -> impl Iterator<Item = usize> + 'b {
        let all = if self.settings.inputs.time_gap { 0..batch.tokens.len() } else { 0..0 };
        let queries: &[usize] = if all.is_empty() { &batch.rows } else { &[] };
        queries.iter().copied().chain(all)
    }

    /// In training whole items are left out of what is read, and numbers of what is left: who buys this
    /// must be known from any part of their history. Forward on inputs, backward on their gradients.
    fn drop_inputs(&self, tokens: &[u32], training: Option<Stream>, rows: &mut [f32]) {
        let Some(stream) = training.map(|stream| stream.child(u64::MAX)) else { return };
        Dropout { rate: self.settings.hidden_dropout_prob, stream }.apply(rows);
        let share = self.settings.item_dropout_prob.min(0.999);
        let bar = (f64::from(share) * u64::MAX as f64) as u64;
        if share <= 0.0 {
            return;
        }
        let items = stream.child(1);
        for (place, (token, row)) in
            tokens.iter().zip(rows.chunks_exact_mut(self.settings.hidden_size)).enumerate()
        {
            if *token != QUERY {
                let factor = if items.at(place as u64) < bar { 0.0 } else { 1.0 / (1.0 - share) };
                row.iter_mut().for_each(|number| *number *= factor);
            }
        }
    }

    /// The sum of the losses of the batch in `space`; its gradients times `scale` are added to
    /// `space.gradients`.
    pub(super) fn step(
        &self,
        parameters: &[f32],
        (trend, biases): (&Trend, &[f32]),
        training: Stream,
        scale: f32,
        space: &mut Space,
    ) -> f64 {
        if space.batch.rows.is_empty() {
            return 0.0;
        }
        self.forward(parameters, Some(training), space);
        space.d_hidden.resize(space.hidden.len(), 0.0);
        let loss = match self.settings.objective {
            Objective::Softmax => self.loss(parameters, (trend, biases), scale, space),
            _ => self.sampled_loss(parameters, training.child(u64::MAX - 1), scale, space),
        };
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
        let width = self.settings.hidden_size;
        d_offsets.resize(batch.own.len(), 0.0);
        let weights = self.own_weights(parameters);
        let targets =
            Sparse { starts: &batch.target_starts, classes: &batch.targets, values: &batch.weights };
        let offsets = weights.as_ref().map(|weights| batch.own.forward(weights, hidden));
        let entropy = CrossEntropy {
            weights: &self.items.of(parameters)[width..],
            bias: Some(biases),
            width,
            targets: Targets::Weighted(targets),
            offsets,
        };
        let mut into = Gradients {
            scale,
            x: d_hidden,
            weights: &mut self.items.of_mut(gradients)[width..],
            bias: Some(d_biases),
            offsets: offsets.is_some().then_some(d_offsets),
        };
        let loss = entropy.grouped(&batch.weeks).forward_backward(hidden, &mut into, logits);
        match self.trend {
            Some(factors) => {
                let [d_bias, d_factors] = Slot::all_of_mut([self.item_bias, factors], gradients);
                trend.backward(d_biases, d_bias, d_factors);
            }
            None => trend.backward(d_biases, self.item_bias.of_mut(gradients), &mut []),
        }
        if let (Some(weights), Some(own)) = (weights, self.own) {
            let ([age, item, gate], act) = match own.act {
                Some(act) => {
                    let [age, item, gate, act] =
                        Slot::all_of_mut([own.age, own.item, own.gate, act], gradients);
                    ([age, item, gate], Some(act))
                }
                None => (Slot::all_of_mut([own.age, own.item, own.gate], gradients), None),
            };
            let mut into = Weights { age, item, gate, act };
            batch.own.backward(&weights, &mut into, d_offsets, (hidden, d_hidden));
        }
        loss
    }

    /// Against negatives that all rows of the part share.
    fn sampled_loss(&self, parameters: &[f32], stream: Stream, scale: f32, space: &mut Space) -> f64 {
        let Space { batch, gradients, hidden, d_hidden, sampled: work, .. } = space;
        let (width, settings) = (self.settings.hidden_size, &self.settings);
        let biases = self.item_bias.of(parameters);
        let negatives = sampled::uniform(stream, settings.negatives, biases.len());
        let loss = Sampled {
            weights: &self.items.of(parameters)[width..],
            bias: Some(biases),
            width,
            targets: Sparse { starts: &batch.target_starts, classes: &batch.targets, values: &batch.weights },
            negatives: &negatives,
            kind: match settings.objective {
                Objective::Gbce => {
                    Kind::Binary { beta: calibrated_beta(negatives.len(), biases.len(), settings.gbce_t) }
                }
                _ => Kind::Softmax { corrected: true },
            },
        };
        let [d_items, d_bias] = Slot::all_of_mut([self.items, self.item_bias], gradients);
        let weights = &mut d_items[width..];
        let mut into = sampled::Gradients { scale, x: d_hidden, weights, bias: Some(d_bias) };
        loss.forward_backward(hidden, &mut into, work)
    }

    /// What buying again counts, where it does.
    pub(super) fn own_weights<'a>(&self, parameters: &'a [f32]) -> Option<Weights<&'a [f32]>> {
        let own = self.own?;
        Some(Weights {
            age: own.age.of(parameters),
            item: own.item.of(parameters),
            gate: own.gate.of(parameters),
            act: own.act.map(|act| act.of(parameters)),
        })
    }

    /// Adds the logits of all items for the last query of each example.
    ///
    /// # Shapes
    /// `scores` examples × (1 + items); padding's place is left alone.
    pub(super) fn logits(
        &self,
        parameters: &[f32],
        examples: &[&Example],
        space: &mut Space,
        scores: &mut [f32],
    ) {
        self.read(parameters, examples, space);
        let Space { batch, hidden, .. } = space;
        let (width, size) = (self.settings.hidden_size, self.item_bias.of(parameters).len());
        let layout = Layout { row_stride: size + 1, offset: 1, ..Layout::dense(examples.len(), size) };
        let items = (&self.items.of(parameters)[width..], Layout::dense(size, width).transposed());
        matmul((scores, layout), 1.0, (hidden, Layout::dense(examples.len(), width)), items, 1.0);
        let Some(weights) = self.own_weights(parameters) else { return };
        let offsets = batch.own.forward(&weights, hidden);
        for (row, scores) in scores.chunks_exact_mut(size + 1).enumerate() {
            let range = offsets.starts[row]..offsets.starts[row + 1];
            for (class, value) in offsets.classes[range.clone()].iter().zip(&offsets.values[range]) {
                scores[*class as usize + 1] += value;
            }
        }
    }

    /// Reads examples up to their last queries, which alone are then in the batch.
    pub(super) fn read(&self, parameters: &[f32], examples: &[&Example], space: &mut Space) {
        let size = self.item_bias.of(parameters).len();
        space.batch.clear(size);
        examples.iter().for_each(|example| self.add(&mut space.batch, example, |_| (0.0, 0)));
        self.forward(parameters, None, space);
        // Only the last query of each is asked; those before it were read for what they say to it.
        let width = self.settings.hidden_size;
        let mut row = 0;
        for (place, example) in examples.iter().enumerate() {
            row += example.queries.len();
            space.hidden.copy_within((row - 1) * width..row * width, place * width);
        }
        space.hidden.truncate(examples.len() * width);
        if self.own.is_some() {
            space.batch.own.clear(size);
            let last = |example: &&Example| example.tokens.len() - 1;
            examples.iter().for_each(|example| space.batch.own.add(example, last(example), Act::Bought));
        }
    }
}
