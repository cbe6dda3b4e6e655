//! Serves a small made-up shop from memory, to try the API and the console without any data:
//!
//! ```text
//! cargo run -p qhatu-serve --example tiny_shop -- [PORT]
//! ```

use std::sync::Arc;

use qhatu_serve::{Clock, Engine, Parts, ServeConfig};
use qhatu_store::{Documents, EventLog, MemoryDocuments, MemoryLog};

#[expect(clippy::unwrap_used, reason = "the data is made here and always fits")]
#[path = "../tests/tiny/mod.rs"]
mod tiny;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).init();
    let port = std::env::args().nth(1).map_or(Ok(8686), |text| text.parse())?;
    let config = ServeConfig { port, clock: Clock::LastEvent, ..ServeConfig::default() };
    let shop = tiny::TinyShop::new(7);
    let documents: Arc<dyn Documents> = Arc::new(MemoryDocuments::default());
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::default());
    log.append(&shop.events)?;
    let parts = Parts {
        log,
        documents,
        declarations: Arc::default(),
        models: Box::new(shop.models()),
        propensity: None,
    };
    let engine = Engine::open(parts, config.clone())?;
    engine.wait()?;
    engine.put_items(&shop.items)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(qhatu_serve::serve(engine, config, interrupted(), |_| ())).map_err(Into::into)
}

async fn interrupted() {
    if let Err(error) = qhatu_serve::asked_to_end().await {
        tracing::error!(%error, "cannot wait for a signal; stopping");
    }
}
