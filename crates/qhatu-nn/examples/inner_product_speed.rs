//! Our side of `cargo xtask bench scan`: exact searches of the largest inner products, one query after the other.
//!
//! ```text
//! inner_product_speed ROWS WIDTH K QUERIES      prints {"p50": ms, "p90": ms, "p99": ms}
//! ```

use std::error::Error;
use std::io::Write;
use std::time::Instant;

use qhatu_nn::{InnerProductIndex, Stream};

fn main() -> Result<(), Box<dyn Error>> {
    let numbers = std::env::args().skip(1).map(|word| word.parse()).collect::<Result<Vec<usize>, _>>()?;
    let [rows, width, k, queries] = numbers[..] else { return Err("ROWS WIDTH K QUERIES".into()) };
    let mut values = vec![0.0; rows * width];
    Stream::new(1).fill_normal(&mut values, 0.1);
    let index = InnerProductIndex::new(&values, width, vec![0.0; rows])?;
    let mut query = vec![0.0; width];
    let mut took = Vec::with_capacity(queries);
    // The first ones warm up.
    for number in 0..queries + 5 {
        Stream::new(2).child(number as u64).fill_normal(&mut query, 1.0);
        let start = Instant::now();
        let found = index.search(&values, &query, k, &|_| false);
        took.push(start.elapsed().as_secs_f64() * 1e3);
        if found.len() != k.min(rows) {
            return Err(format!("{} of {k} rows were found", found.len()).into());
        }
    }
    let mut took = took.split_off(5);
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    writeln!(std::io::stdout(), r#"{{"p50": {}, "p90": {}, "p99": {}}}"#, at(0.5), at(0.9), at(0.99))?;
    Ok(())
}
