//! Requests: bodies of events, products, shoppers, recommendations and rows to be foretold, and queries, put
//! before the real router over a shop in memory. Whatever comes, the answer is JSON and never a fault of the server.

#![no_main]

use std::cell::RefCell;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use libfuzzer_sys::fuzz_target;
use qhatu_models::popularity::{Config, Popularity};
use qhatu_models::{Interactions, Vocabulary};
use qhatu_schema::{DenseTable, ItemId};
use qhatu_serve::{
    Because, Clock, Engine, Foretold, LoadedModel, LoadedPropensity, ModelSource, Parts, PropensityFault,
    PropensityModel, PropensitySource, ServeConfig, ServeError, TableColumn,
};
use qhatu_store::{Documents, EventLog, MemoryDocuments, MemoryLog};
use tower::ServiceExt;

/// Requests after which the shop is made anew, so that what it remembers stays small.
const REQUESTS: u32 = 5_000;

const ROUTES: [(&str, &str); 7] = [
    ("POST", "/v1/events"),
    ("POST", "/v1/recommendations"),
    ("GET", "/v1/recommendations?"),
    ("POST", "/v1/items"),
    ("POST", "/v1/users"),
    ("GET", "/v1/users?"),
    ("POST", "/v1/propensity"),
];

thread_local! {
    static SHOP: RefCell<Option<(u32, Shop)>> = const { RefCell::new(None) };
}

struct Shop {
    runtime: tokio::runtime::Runtime,
    router: axum::Router,
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, rest)) = bytes.split_first() else { return };
    let (method, path) = ROUTES[usize::from(choice) % ROUTES.len()];
    let in_query = path.ends_with('?');
    let uri = if in_query { format!("{path}{}", String::from_utf8_lossy(rest)) } else { path.to_owned() };
    let body = if in_query { Body::empty() } else { Body::from(rest.to_vec()) };
    let request = Request::builder().method(method).uri(uri).header("content-type", "application/json");
    let Ok(request) = request.body(body) else { return };
    SHOP.with_borrow_mut(|kept| {
        if kept.as_ref().is_none_or(|(left, _)| *left == 0) {
            *kept = Some((REQUESTS, Shop::open()));
        }
        let Some((left, shop)) = kept else { return };
        *left -= 1;
        shop.ask(request);
    });
});

impl Shop {
    fn open() -> Self {
        let documents: Arc<dyn Documents> = Arc::new(MemoryDocuments::default());
        let log: Arc<dyn EventLog> = Arc::new(MemoryLog::default());
        let config = ServeConfig { clock: Clock::LastEvent, score_threads: 1, ..ServeConfig::default() };
        let (models, propensity) = (Box::new(OneModel), Box::new(OneTable) as Box<dyn PropensitySource>);
        let parts =
            Parts { log, documents, declarations: Arc::default(), models, propensity: Some(propensity) };
        let engine = Engine::open(parts, config.clone()).expect("a shop in memory opens");
        engine.wait().expect("it becomes ready");
        let router = qhatu_serve::router(engine, config).expect("loopback needs no key");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let shop = Self { runtime, router };
        shop.wait();
        shop
    }

    /// Until the model of rows is loaded, which lists do not wait for.
    fn wait(&self) {
        let asked = || {
            let request = Request::builder().method("POST").uri("/v1/propensity");
            let request = request.header("content-type", "application/json");
            let request = request.body(Body::from(r#"{"rows":[]}"#)).expect("a request");
            let Ok(response) = self.runtime.block_on(self.router.clone().oneshot(request));
            response.status()
        };
        while asked().is_server_error() {
            std::thread::yield_now();
        }
    }

    fn ask(&self, request: Request<Body>) {
        let router = self.router.clone();
        self.runtime.block_on(async move {
            let Ok(response) = router.oneshot(request).await;
            let status = response.status();
            let body = to_bytes(response.into_body(), usize::MAX).await.expect("an answer ends");
            assert!(!status.is_server_error(), "{status}: {}", String::from_utf8_lossy(&body));
            serde_json::from_slice::<serde_json::Value>(&body).expect("an answer is JSON");
        });
    }
}

/// Popularity over nothing: every list comes from what the server itself knows.
struct OneModel;

impl ModelSource for OneModel {
    fn current(&self, alias: &str) -> Result<Option<String>, ServeError> {
        Ok((alias == "champion").then(|| "popularity@1".to_owned()))
    }

    fn load(&self, _alias: &str) -> Result<LoadedModel, ServeError> {
        let names = (1..=8).filter_map(|number| ItemId::new(format!("i{number}")).ok());
        let vocabulary = Arc::new(Vocabulary::new(names));
        let interactions = Interactions::from_purchases(Arc::clone(&vocabulary), &[], 0);
        let recommender = Box::new(Popularity::fit(&interactions, &Config {}));
        Ok(LoadedModel { version: "popularity@1".to_owned(), vocabulary, recommender })
    }
}

/// A model of a number and a text that says the same of every row.
struct OneTable;

/// What it takes.
struct Half([TableColumn; 2]);

impl PropensityModel for Half {
    fn kind(&self) -> &'static str {
        "half"
    }

    fn columns(&self) -> &[TableColumn] {
        &self.0
    }

    fn threshold(&self) -> f64 {
        0.5
    }

    fn probabilities(&self, table: &DenseTable) -> Result<Vec<f64>, PropensityFault> {
        Ok(vec![0.5; table.rows()])
    }

    fn because(&self, _: &DenseTable) -> Result<Because, PropensityFault> {
        Ok(Because { expected: 0.0, columns: Vec::new() })
    }
}

impl PropensitySource for OneTable {
    fn current(&self, alias: &str) -> Result<Option<String>, ServeError> {
        Ok((alias == "champion").then(|| "half@1".to_owned()))
    }

    fn load(&self, _alias: &str) -> Result<LoadedPropensity, ServeError> {
        let column = |name: &str, texts| TableColumn { name: name.to_owned(), texts };
        let model = Box::new(Half([column("views", false), column("source", true)]));
        let foretold = Foretold::Column { target: "bought".to_owned() };
        Ok(LoadedPropensity { version: "half@1".to_owned(), foretold, model })
    }
}
