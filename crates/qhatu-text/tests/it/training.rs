//! Pre-training and fine-tuning from end to end on a small shop: the loss falls, a seed gives the same, an
//! interrupted training ends where the other does, and what was taught is found.

use qhatu_text::{
    Bert, BertConfig, Next, Normalizer, Pair, Parts, TextEncoder, Tokenizer, TrainingConfig, VectorCache,
    WordPieceTrainer,
};

const THINGS: [&str; 8] = ["polo", "casaca", "zapatilla", "gorra", "mochila", "taza", "lampara", "cafe"];
const KINDS: [&str; 6] = ["rojo", "azul", "negro", "verde", "blanco", "gris"];

fn titles() -> Vec<String> {
    let title = |thing: &str, kind: &str| format!("{thing} de color {kind} para toda la familia");
    THINGS.iter().flat_map(|thing| KINDS.iter().map(move |kind| title(thing, kind))).collect()
}

fn encoder(seed: u64) -> TextEncoder {
    let titles = titles();
    let trainer = WordPieceTrainer { vocab_size: 200, ..WordPieceTrainer::default() };
    let vocabulary = trainer.train(titles.iter().map(String::as_str)).unwrap();
    let config = BertConfig {
        vocab_size: vocabulary.len(),
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 64,
        max_position_embeddings: 24,
        ..BertConfig::default()
    };
    let parts = Parts { pooler: false, masked_language_head: true, seed: Some(seed) };
    let tokenizer = Tokenizer::new(vocabulary, Normalizer::UNCASED).unwrap();
    TextEncoder::new(tokenizer, Bert::new(config, parts).unwrap()).unwrap()
}

fn config(epochs: u32) -> TrainingConfig {
    TrainingConfig { epochs, batch_size: 7, learning_rate: 3e-3, ..TrainingConfig::default() }
}

#[test]
fn guessing_hidden_tokens_is_learned_and_a_seed_gives_the_same() {
    let mut losses = Vec::new();
    let mut first = encoder(3);
    let all = |progress: qhatu_text::Progress| {
        losses.push(progress.loss);
        Next::Continue
    };
    first.pretrain(&titles(), config(30), None, all).unwrap();
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let (before, after) = (mean(&losses[..10]), mean(&losses[losses.len() - 10..]));
    println!("loss {before:.2} → {after:.2} in {} steps", losses.len());
    assert!(after < 0.5 * before, "{before} {after}");
    let mut again = encoder(3);
    again.pretrain(&titles(), config(30), None, |_| Next::Continue).unwrap();
    assert_eq!(first.bert.parameters(), again.bert.parameters());
}

#[test]
fn an_interrupted_training_ends_where_the_other_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let mut whole = encoder(5);
    whole.pretrain(&titles(), config(2), None, |_| Next::Continue).unwrap();
    let stop = |at: u32| {
        move |progress: qhatu_text::Progress| if progress.step == at { Next::Stop } else { Next::Continue }
    };
    for at in [3, 9] {
        encoder(5).pretrain(&titles(), config(2), Some((&path, 100)), stop(at)).unwrap();
    }
    let mut resumed = encoder(5);
    let mut steps = Vec::new();
    let see = |progress: qhatu_text::Progress| {
        steps.push(progress.step);
        Next::Continue
    };
    resumed.pretrain(&titles(), config(2), Some((&path, 100)), see).unwrap();
    assert_eq!(steps, [10, 11, 12, 13, 14]);
    assert_eq!(whole.bert.parameters(), resumed.bert.parameters());
    let fault =
        encoder(5).pretrain(&titles(), config(3), Some((&path, 100)), |_| Next::Continue).unwrap_err();
    assert!(fault.to_string().contains("another training"), "{fault}");
    std::fs::write(&path, b"nothing").unwrap();
    assert!(encoder(5).pretrain(&titles(), config(2), Some((&path, 100)), |_| Next::Continue).is_err());
}

#[test]
fn settings_by_which_nothing_is_learned_are_refused() {
    let mut encoder = encoder(1);
    let before = encoder.bert.parameters().clone();
    let faults = [
        encoder.pretrain(&titles(), config(0), None, |_| Next::Continue).unwrap_err(),
        encoder.finetune(&pairs(), (config(0), 0.1), None, |_| Next::Continue).unwrap_err(),
    ];
    for fault in faults {
        assert!(fault.to_string().contains("epochs is 0"), "{fault}");
    }
    assert_eq!(encoder.bert.parameters(), &before);
}

/// Queries in other words than the titles': only teaching can bring them together.
fn pairs() -> Vec<Pair> {
    let query = ["kolor a", "kolor b", "kolor c", "kolor d", "kolor e", "kolor f"];
    let pair = |(place, title): (usize, String)| Pair {
        query: format!("{} {}", query[place % 6], THINGS[place / 6].chars().rev().collect::<String>()),
        answer: title,
    };
    titles().into_iter().enumerate().map(pair).collect()
}

#[test]
fn what_belongs_together_is_found_after_fine_tuning() {
    let mut encoder = encoder(1);
    let first_place = |encoder: &TextEncoder| {
        let (pairs, width) = (pairs(), encoder.width());
        let queries: Vec<&str> = pairs.iter().map(|pair| pair.query.as_str()).collect();
        let answers: Vec<&str> = pairs.iter().map(|pair| pair.answer.as_str()).collect();
        let (queries, answers) = (encoder.encode(&queries).unwrap(), encoder.encode(&answers).unwrap());
        let score = |query: &[f32], at: usize| -> f32 {
            query.iter().zip(&answers[at * width..][..width]).map(|(a, b)| a * b).sum()
        };
        let best =
            |query: &[f32]| (0..pairs.len()).max_by(|a, b| score(query, *a).total_cmp(&score(query, *b)));
        queries.chunks_exact(width).enumerate().filter(|(place, query)| best(query) == Some(*place)).count()
    };
    let before = first_place(&encoder);
    let settings = TrainingConfig { batch_size: 16, ..config(60) };
    encoder.finetune(&pairs(), (settings, 0.1), None, |_| Next::Continue).unwrap();
    let after = first_place(&encoder);
    println!("{before} of 48 first before, {after} after");
    assert!(before < 8 && after >= 40, "{before} {after}");
}

#[test]
fn a_cache_answers_as_the_model_does_and_belongs_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.safetensors");
    let encoder = encoder(1);
    let texts = ["polo rojo", "taza azul", "polo rojo", ""];
    let mut cache = VectorCache::new(&encoder, 2);
    let found = cache.encode(&encoder, &texts).unwrap();
    let gap =
        found.iter().zip(encoder.encode(&texts).unwrap()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(gap < 1e-5, "{gap}");
    assert_eq!(cache.len(), 2, "two of three different texts fit");
    assert_eq!(cache.encode(&encoder, &texts).unwrap()[..64], found[..64]);
    cache.write(&path).unwrap();
    let mut read = VectorCache::read(&path, &encoder, 9).unwrap();
    assert_eq!((read.len(), read.encode(&encoder, &texts[..2]).unwrap()), (2, found[..64].to_vec()));
    assert!(VectorCache::read(&path, &self::encoder(2), 9).unwrap().is_empty(), "another model's");
    assert!(VectorCache::read(&folder.path().join("none"), &encoder, 9).unwrap().is_empty());
    std::fs::write(&path, b"nothing").unwrap();
    assert!(VectorCache::read(&path, &encoder, 9).is_err());
}

#[test]
fn an_explanation_shares_out_the_whole() {
    let encoder = encoder(1);
    let found = encoder.explain("polo de color rojo", Some("gorra de color rojo")).unwrap();
    assert_eq!(found.tokens.first().map(String::as_str), Some("[CLS]"));
    assert!((found.rollout.iter().sum::<f32>() - 1.0).abs() < 1e-4);
    let length = found.tokens.len();
    for row in found.attention.iter().flat_map(|block| block.chunks_exact(length)) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-4);
    }
    assert_eq!((found.attention.len(), found.attribution.len()), (2, length));
    let alone = encoder.explain("polo", None).unwrap();
    assert!(alone.similarity.is_none() && alone.attribution.is_empty());
}
