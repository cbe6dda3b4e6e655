//! `qhatu.toml` with its mappings: read, or refused with every fault; a mapping that is accepted can be
//! used on a file.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "the program uses more of it")]
#[path = "../../crates/qhatu/src/config.rs"]
mod config;

const ROWS: &[u8] = b"date,customer,sku,order,pieces,unit_price,product,kind\n\
    2026-01-05 10:00:00,u1,sku-1,C12,-2,\"1.234,50\",Taza,compra\n2026-01-05,,10002,7,1.0,3,,view\n";

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match config::read(Path::new(config::FILE), text, std::iter::empty()) {
        Err(fault) => assert!(!fault.to_string().is_empty()),
        Ok(config) => {
            let path = qhatu_fuzz::file("orders.csv", ROWS);
            for mapping in config.ingest.mappings.values().take(2) {
                qhatu_fuzz::import(&path, Some(mapping));
            }
        }
    }
});
