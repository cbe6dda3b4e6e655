//! Our side of `cargo xtask bench bert`: encodes as many sequences of as many tokens as standard input asks
//! for, and answers with the milliseconds each repetition took.
//!
//! A line is `SEQUENCES TOKENS REPETITIONS`. The model has MiniLM-L6's shape and random weights, as the peers'.

use std::io::{BufRead, Write};
use std::time::Instant;

use qhatu_text::{Bert, BertConfig, Encoding, Normalizer, Parts, TextEncoder, Tokenizer, Vocabulary};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = BertConfig {
        hidden_size: 384,
        num_hidden_layers: 6,
        intermediate_size: 1_536,
        ..BertConfig::default()
    };
    let bert = Bert::new(config, Parts { pooler: false, masked_language_head: false, seed: Some(1) })?;
    let vocabulary = Vocabulary::from_lines("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")?;
    let encoder = TextEncoder::new(Tokenizer::new(vocabulary, Normalizer::UNCASED)?, bert)?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let numbers = line.split_whitespace().map(str::parse).collect::<Result<Vec<usize>, _>>()?;
        let [sequences, tokens, repetitions] = numbers[..] else { return Err("three numbers a line".into()) };
        let one = |place: usize| Encoding {
            ids: (0..tokens).map(|token| ((place * 31 + token * 97) % 30_000) as u32).collect(),
            type_ids: vec![0; tokens],
        };
        let batch: Vec<Encoding> = (0..sequences).map(one).collect();
        let mut answer = String::new();
        for _ in 0..repetitions {
            let start = Instant::now();
            std::hint::black_box(encoder.encode_sequences(&batch)?);
            answer += &format!("{:.4} ", start.elapsed().as_secs_f64() * 1e3);
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", answer.trim_end())?;
        out.flush()?;
    }
    Ok(())
}
