//! Masked-language model: tokens are hidden and guessed from both sides, so that a BERT learns the shop's
//! language from titles, descriptions and queries alone.
//!
//! Devlin et al. (2018), section 3.1, without next-sentence prediction, which later work found of no use
//! (RoBERTa, Liu et al., 2019); hidden anew in each epoch, as there. Of the tokens 15 % are to be guessed: 80 % of
//! them are replaced by `[MASK]`, 10 % by any token, 10 % stay.

use qhatu_nn::operation::cross_entropy::{CrossEntropy, Gradients, Targets};
use qhatu_nn::operation::layer_norm::Moments;
use qhatu_nn::{Slot, Stream};
use sha2::{Digest, Sha256};

use crate::bert::{Bert, MaskedLanguageHead, Pass};
use crate::training::{
    Next, Progress, SHARDS, Shard, Training, TrainingConfig, fill_shards, steps_per_epoch,
};
use crate::{Encoding, TextEncoder, TextError, Tokenizer};

/// Share of the tokens that are to be guessed.
const GUESSED: f64 = 0.15;

/// A sequence with hidden tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Masked {
    pub(crate) sequence: Encoding,
    /// Which places are to be guessed, and what stood there.
    pub(crate) places: Vec<usize>,
    pub(crate) targets: Vec<u32>,
}

/// Hides tokens of a sequence; special tokens stay. At least one is hidden where there is any.
pub(crate) fn masked(sequence: &Encoding, tokenizer: &Tokenizer, stream: Stream) -> Masked {
    let special = tokenizer.special_ids();
    let is_plain = |id: u32| ![special.cls, special.sep, special.pad].contains(&id);
    let plain: Vec<usize> = (0..sequence.ids.len()).filter(|place| is_plain(sequence.ids[*place])).collect();
    let count = if plain.is_empty() { 0 } else { ((plain.len() as f64 * GUESSED).round() as usize).max(1) };
    let mut places: Vec<usize> =
        stream.child(0).shuffled(plain.len())[..count].iter().map(|at| plain[*at]).collect();
    places.sort_unstable();
    let targets = places.iter().map(|place| sequence.ids[*place]).collect();
    let mut sequence = sequence.clone();
    for place in &places {
        match stream.child(1).below(*place as u64, 10) {
            0..8 => sequence.ids[*place] = special.mask,
            8 => {
                sequence.ids[*place] =
                    stream.child(2).below(*place as u64, tokenizer.vocabulary().len()) as u32
            }
            _ => {}
        }
    }
    Masked { sequence, places, targets }
}

/// What to guess in a shard: rows of its pack, and their tokens.
#[derive(Debug, Default, Clone)]
struct Guess {
    rows: Vec<usize>,
    targets: Vec<u32>,
}

impl TextEncoder {
    /// Pre-trains on texts. `after` is told of each step, and may stop; with `state`, the training's state is
    /// kept there every `every` steps and at a stop, and taken up from there where it is.
    ///
    /// # Errors
    /// Where the model has no head for hidden tokens, a text does not fit, a setting is outside its range,
    /// or the state cannot be read or written.
    pub fn pretrain<T: AsRef<str>>(
        &mut self,
        texts: &[T],
        config: TrainingConfig,
        state: Option<(&std::path::Path, u32)>,
        mut after: impl FnMut(Progress) -> Next,
    ) -> Result<(), TextError> {
        let missing =
            || TextError::tensor("cls.predictions", "is not in the model, so nothing can be guessed");
        let head = self.bert.head.ok_or_else(missing)?;
        let most = config.max_length.min(self.max_length());
        let sequences: Vec<Encoding> =
            texts.iter().map(|text| self.tokenizer.encode(text.as_ref(), most)).collect();
        let what = described("masked-language model", &config, &sequences);
        let mut training = Training::new(&self.bert, config, sequences.len(), what)?;
        if let Some((path, _)) = state.filter(|(path, _)| path.exists()) {
            training.load(&mut self.bert, path)?;
        }
        let mut shards: Vec<Shard> = (0..SHARDS).map(|_| Shard::default()).collect();
        let (mut step, steps) = training.place();
        while step < steps {
            let batch = self.masked_batch(&sequences, config, step);
            let loss = masked_step(&mut self.bert, head, &mut training, &mut shards, (&batch, step))?;
            step += 1;
            let next = after(Progress { step, steps, loss });
            let stops = next == Next::Stop || step == steps;
            if let Some((path, every)) = state
                && (stops || step.is_multiple_of(every.max(1)))
            {
                training.save(&self.bert, path)?;
            }
            if stops {
                break;
            }
        }
        Ok(())
    }

    fn masked_batch(&self, sequences: &[Encoding], config: TrainingConfig, step: u32) -> Vec<Masked> {
        let places = batch_places(sequences.len(), config, step);
        let stream = Stream::new(config.seed).child(2).child(u64::from(step));
        let one = |place: usize| masked(&sequences[place], &self.tokenizer, stream.child(place as u64));
        places.into_iter().map(one).collect()
    }
}

/// The examples of a step: each epoch has an order of its own.
pub(crate) fn batch_places(examples: usize, config: TrainingConfig, step: u32) -> Vec<usize> {
    let per_epoch = steps_per_epoch(examples, config.batch_size).max(1);
    let order = Stream::new(config.seed).child(1).child(u64::from(step / per_epoch)).shuffled(examples);
    let from = (step % per_epoch) as usize * config.batch_size;
    order.into_iter().skip(from).take(config.batch_size).collect()
}

/// What tells a training from others: its kind, settings and texts.
pub(crate) fn described(kind: &str, config: &TrainingConfig, sequences: &[Encoding]) -> String {
    let mut hash = Sha256::new();
    for sequence in sequences {
        hash.update((sequence.ids.len() as u64).to_le_bytes());
        sequence.ids.iter().for_each(|id| hash.update(id.to_le_bytes()));
    }
    let digest: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{kind} {config:?} {digest}")
}

fn masked_step(
    bert: &mut Bert,
    head: MaskedLanguageHead,
    training: &mut Training,
    shards: &mut [Shard],
    (batch, step): (&[Masked], u32),
) -> Result<f64, TextError> {
    let sequences: Vec<Encoding> = batch.iter().map(|masked| masked.sequence.clone()).collect();
    fill_shards(shards, &sequences, bert)?;
    let mut rest = batch.iter();
    let guesses: Vec<Guess> = shards.iter().map(|shard| guess(shard, &mut rest)).collect();
    let count: usize = guesses.iter().map(|guess| guess.targets.len()).sum();
    let scale = 1.0 / count.max(1) as f32;
    let stream = Stream::new(training.config.seed).child(3).child(u64::from(step));
    let shared: &Bert = bert;
    let losses = training.each_shard(shards, |place, shard, gradients| {
        let pass = Pass::Train(stream.child(place as u64));
        shared.forward(&shard.batch, pass, &mut shard.saved);
        let loss = shared.guess(head, &guesses[place], scale, shard, gradients);
        shared.backward(&shard.batch, pass, &mut shard.saved, gradients, &mut shard.d);
        loss
    });
    training.step(bert);
    Ok(losses.iter().sum::<f64>() / count.max(1) as f64)
}

/// A shard's rows to guess: the next sequences' places, moved to where each begins in the pack.
fn guess<'a>(shard: &Shard, rest: &mut impl Iterator<Item = &'a Masked>) -> Guess {
    let mut guess = Guess::default();
    for (start, masked) in shard.batch.starts.iter().take(shard.batch.sequences()).zip(rest) {
        guess.rows.extend(masked.places.iter().map(|place| start + place));
        guess.targets.extend_from_slice(&masked.targets);
    }
    guess
}

impl Bert {
    /// Loss of the guesses (a sum), gradients of the head's weights, and of the outputs in `shard.d`.
    fn guess(
        &self,
        head: MaskedLanguageHead,
        guess: &Guess,
        scale: f32,
        shard: &mut Shard,
        gradients: &mut [f32],
    ) -> f64 {
        let (parameters, width) = (self.parameters().values(), self.config().hidden_size);
        let output = shard.saved.output();
        let x: Vec<f32> =
            guess.rows.iter().flat_map(|row| &output[row * width..][..width]).copied().collect();
        let mut before = Vec::new();
        head.transform.forward(parameters, &x, &mut before);
        let mut after = vec![0.0; before.len()];
        self.config().hidden_act.forward(&before, &mut after);
        let mut normed = vec![0.0; after.len()];
        let mut moments: Vec<Moments> = vec![[0.0; 2]; guess.rows.len()];
        let weights = [head.norm.weight.of(parameters), head.norm.bias.of(parameters)];
        qhatu_nn::operation::layer_norm::forward(
            &after,
            weights,
            &mut normed,
            &mut moments,
            head.norm.epsilon,
        );
        let mut d_normed = vec![0.0; normed.len()];
        let loss = self.guess_loss(head, guess, scale, (&normed, &mut d_normed), gradients);
        let mut d_after = vec![0.0; after.len()];
        let d_weights = Slot::all_of_mut([head.norm.weight, head.norm.bias], gradients);
        let gain = head.norm.weight.of(parameters);
        qhatu_nn::operation::layer_norm::backward(
            (&after, &moments),
            gain,
            &d_normed,
            &mut d_after,
            d_weights,
        );
        self.config().hidden_act.backward(&before, &mut d_after);
        let mut d_x = Vec::new();
        head.transform.backward(parameters, gradients, &x, &d_after, &mut d_x);
        shard.d.clear();
        shard.d.resize(output.len(), 0.0);
        for (row, d) in guess.rows.iter().zip(d_x.chunks_exact(width)) {
            shard.d[row * width..][..width].copy_from_slice(d);
        }
        loss
    }

    fn guess_loss(
        &self,
        head: MaskedLanguageHead,
        guess: &Guess,
        scale: f32,
        (normed, d_normed): (&[f32], &mut [f32]),
        gradients: &mut [f32],
    ) -> f64 {
        let parameters = self.parameters().values();
        let loss = CrossEntropy {
            weights: self.words.weight.of(parameters),
            bias: Some(head.bias.of(parameters)),
            width: self.config().hidden_size,
            targets: Targets::Class(&guess.targets),
            offsets: None,
        };
        let [weights, bias] = Slot::all_of_mut([self.words.weight, head.bias], gradients);
        let mut to = Gradients { scale, x: d_normed, weights, bias: Some(bias), offsets: None };
        loss.forward_backward(normed, &mut to, &mut Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, Normalizer, Vocabulary};
    use qhatu_nn::tensor_file::TensorFile;

    fn golden(file: &str) -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
    }

    /// golden/make_bert.py: every token between the first and the last, with these targets.
    #[test]
    fn loss_and_gradients_are_those_of_pytorch() {
        let bert = TextEncoder::read(&golden("tiny_bert")).unwrap().bert;
        let bytes = std::fs::read(golden("tiny_bert_expected.safetensors")).unwrap();
        let expected = TensorFile::from_bytes(&bytes).unwrap();
        let ids: [&[u32]; 3] = [&[2, 10, 20, 30, 40, 3], &[2, 7, 3, 9, 11, 4, 150, 3], &[2, 3]];
        let types: [&[u32]; 3] = [&[0; 6], &[0, 0, 0, 1, 1, 1, 1, 1], &[0; 2]];
        let both = ids.iter().zip(types);
        let sequences: Vec<Encoding> =
            both.map(|(ids, types)| Encoding { ids: ids.to_vec(), type_ids: types.to_vec() }).collect();
        let batch = Batch::new(&sequences, bert.config()).unwrap();
        let mut guess = Guess::default();
        for (start, ids) in batch.starts.iter().zip(ids) {
            for place in 1..ids.len() - 1 {
                guess.rows.push(start + place);
                guess.targets.push((place * 13 + 5) as u32 % 200);
            }
        }
        let mut shard = Shard { batch, ..Shard::default() };
        let mut gradients = vec![0.0; bert.parameters().len()];
        bert.forward(&shard.batch, Pass::Keep, &mut shard.saved);
        let count = guess.rows.len() as f32;
        let loss = bert.guess(bert.head.unwrap(), &guess, 1.0 / count, &mut shard, &mut gradients);
        bert.backward(&shard.batch, Pass::Keep, &mut shard.saved, &mut gradients, &mut shard.d);
        let loss = loss as f32 / count;
        assert!((loss - expected.f32("loss").unwrap()[0]).abs() < 1e-5, "{loss}");
        let mut compared = 0;
        for (name, found) in crate::checkpoint::published_tensors(&bert, &gradients) {
            let name = if name.starts_with("cls.") { name } else { format!("bert.{name}") };
            // The pooler takes no part, so PyTorch has no gradient of it.
            let Ok(expected) = expected.f32(&format!("grad.{name}")) else { continue };
            let most = expected.iter().fold(1e-3_f32, |most, value| most.max(value.abs()));
            let gap = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(gap < 1e-4 * most.max(0.1), "{name}: {gap:e} of {most}");
            compared += 1;
        }
        assert_eq!(compared, 5 + 2 * 16 + 5, "embeddings, blocks and head");
    }

    fn tokenizer() -> Tokenizer {
        let words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\npolo\nrojo\nazul\ncasaca\nnegra\n";
        Tokenizer::new(Vocabulary::from_lines(words).unwrap(), Normalizer::UNCASED).unwrap()
    }

    #[test]
    fn some_tokens_are_hidden_and_never_the_frame() {
        let tokenizer = tokenizer();
        let text = "polo rojo azul casaca negra ".repeat(40);
        let sequence = tokenizer.encode(&text, 500);
        let found = masked(&sequence, &tokenizer, Stream::new(3));
        assert_eq!(found.places.len(), 30);
        assert_eq!((found.sequence.ids[0], *found.sequence.ids.last().unwrap()), (2, 3));
        let hidden = found.places.iter().filter(|place| found.sequence.ids[**place] == 4).count();
        assert!((18..30).contains(&hidden), "{hidden} of 30");
        for (place, target) in found.places.iter().zip(&found.targets) {
            assert_eq!(sequence.ids[*place], *target);
        }
        assert_eq!(found, masked(&sequence, &tokenizer, Stream::new(3)));
        assert_ne!(found, masked(&sequence, &tokenizer, Stream::new(4)));
        assert!(masked(&tokenizer.encode("", 5), &tokenizer, Stream::new(1)).places.is_empty());
        assert_eq!(masked(&tokenizer.encode("polo", 5), &tokenizer, Stream::new(1)).places, [1]);
    }

    #[test]
    fn every_text_is_seen_once_in_an_epoch() {
        let config = TrainingConfig { batch_size: 3, ..TrainingConfig::default() };
        let mut seen: Vec<usize> = (0..4).flat_map(|step| batch_places(10, config, step)).collect();
        assert_ne!(seen, (4..8).flat_map(|step| batch_places(10, config, step)).collect::<Vec<_>>());
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
    }
}
