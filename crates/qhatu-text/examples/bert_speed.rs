//! Our side of `cargo xtask bench bert`: encodes as many sequences of as many tokens as standard input asks
//! for, or takes steps of fine-tuning on them, and answers with the milliseconds each repetition took.
//!
//! A line is `f32|int8|step SEQUENCES TOKENS REPETITIONS`. The model has MiniLM-L6's shape and random weights, as
//! the peers'; a step has the first half of the sequences against the second.

use std::io::{BufRead, Write};
use std::time::Instant;

use qhatu_text::{
    Bert, BertConfig, Encoding, Next, Normalizer, Pair, Parts, Precision, TextEncoder, TextError, Tokenizer,
    TrainingConfig, Vocabulary,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = BertConfig {
        hidden_size: 384,
        num_hidden_layers: 6,
        intermediate_size: 1_536,
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        ..BertConfig::default()
    };
    let special = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n".to_owned();
    let words: String = (5..config.vocab_size).map(|word| format!("w{word}\n")).collect();
    let vocabulary = Vocabulary::from_lines(&(special + &words))?;
    let bert = Bert::new(config, Parts { pooler: false, masked_language_head: false, seed: Some(1) })?;
    let mut encoder = TextEncoder::new(Tokenizer::new(vocabulary, Normalizer::UNCASED)?, bert)?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (kind, numbers) = line.split_once(' ').ok_or("a kind and three numbers a line")?;
        let numbers = numbers.split_whitespace().map(str::parse).collect::<Result<Vec<usize>, _>>()?;
        let [sequences, tokens, repetitions] = numbers[..] else { return Err("three numbers a line".into()) };
        encoder.precision = if kind == "int8" { Precision::Int8 } else { Precision::F32 };
        let took = match kind {
            "step" => steps(&mut encoder, (sequences, tokens, repetitions))?,
            _ => encodings(&encoder, (sequences, tokens, repetitions))?,
        };
        let answer: Vec<String> = took.iter().map(|took| format!("{took:.4}")).collect();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", answer.join(" "))?;
        out.flush()?;
    }
    Ok(())
}

type Shape = (usize, usize, usize);

fn encodings(encoder: &TextEncoder, (sequences, tokens, repetitions): Shape) -> Result<Vec<f64>, TextError> {
    let one = |place: usize| Encoding {
        ids: (0..tokens).map(|token| ((place * 31 + token * 97) % 30_000) as u32).collect(),
        type_ids: vec![0; tokens],
    };
    let batch: Vec<Encoding> = (0..sequences).map(one).collect();
    let once = |_| {
        let start = Instant::now();
        std::hint::black_box(encoder.encode_sequences(&batch)?);
        Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    (0..repetitions).map(once).collect()
}

fn steps(encoder: &mut TextEncoder, (sequences, tokens, repetitions): Shape) -> Result<Vec<f64>, TextError> {
    // `[CLS]` and `[SEP]` stand around the words.
    let text = |place: usize| {
        let word = |token: usize| format!("w{}", 5 + (place * 31 + token * 97) % 30_000);
        (0..tokens - 2).map(word).collect::<Vec<_>>().join(" ")
    };
    let pair = |place: usize| Pair { query: text(2 * place), answer: text(2 * place + 1) };
    let batch_size = sequences / 2;
    let pairs: Vec<Pair> = (0..batch_size * repetitions).map(pair).collect();
    let config = TrainingConfig { batch_size, ..TrainingConfig::default() };
    let mut took = Vec::new();
    let mut start = Instant::now();
    encoder.finetune(&pairs, (config, 0.05), None, |_| {
        took.push(start.elapsed().as_secs_f64() * 1e3);
        start = Instant::now();
        Next::Continue
    })?;
    // The first one has the tokenizer's work and the optimizer's memory in it.
    if took.len() > 1 {
        took.remove(0);
    }
    Ok(took)
}
