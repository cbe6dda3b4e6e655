//! Vectors of titles, for `cargo xtask bench beauty`: a title a line on standard input, and on standard output for each
//! a vector of as many numbers as said (little-endian `f32`), by latent semantic analysis.
//!
//! ```text
//! cargo run --release -p qhatu-text --example title_vectors -- 128 < titles.txt > text.f32
//! ```

use std::error::Error;
use std::io::{Write, stdin, stdout};

use qhatu_text::LatentSemantics;

fn main() -> Result<(), Box<dyn Error>> {
    let width = std::env::args().nth(1).ok_or("title_vectors WIDTH")?.parse()?;
    let titles = stdin().lines().collect::<Result<Vec<String>, _>>()?;
    let space = LatentSemantics::fit(&titles, width, 1);
    let bytes: Vec<u8> = space.encode(&titles).iter().flat_map(|number| number.to_le_bytes()).collect();
    stdout().write_all(&bytes)?;
    Ok(())
}
