//! The server from outside: requests against the router over a tiny shop, and once over a real socket.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use qhatu_models::department_popularity::{Config, DepartmentPopularity};
use qhatu_models::sequence::Steps;
use qhatu_models::{
    Act, Barred, Deed, History, Interactions, Journey, Purchase, Reason, Recommender, Scored, Told,
    Vocabulary, sasrec,
};
use qhatu_schema::{DenseColumn, DenseTable, Department, Event, EventKind, ItemId, ItemIdx};
use qhatu_serve::{
    Because, Clock, Engine, Foretold, LoadedModel, LoadedPropensity, ModelSource, Parts, PropensityFault,
    PropensityModel, PropensitySource, Secret, ServeConfig, ServeError, TableColumn, router, serve,
};
use qhatu_store::{Documents, EventLog, MemoryDocuments, MemoryLog, StoreError};
use serde_json::{Value, json};
use tower::ServiceExt;

mod tiny;

const KEY: &str = "a-key-of-the-tests-0123456789";

struct Shop {
    router: Router,
    engine: Arc<Engine>,
    documents: Arc<dyn Documents>,
}

fn config() -> ServeConfig {
    ServeConfig { clock: Clock::LastEvent, reload_seconds: 0, score_threads: 2, ..ServeConfig::default() }
}

fn parts() -> (Parts, Arc<dyn Documents>, tiny::TinyShop) {
    let shop = tiny::TinyShop::new(7);
    let documents: Arc<dyn Documents> = Arc::new(MemoryDocuments::default());
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::default());
    log.append(&shop.events).unwrap();
    let models = Box::new(shop.models());
    let parts = Parts {
        log,
        documents: Arc::clone(&documents),
        declarations: Arc::default(),
        models,
        propensity: None,
    };
    (parts, documents, shop)
}

fn open(config: ServeConfig) -> Shop {
    let (parts, documents, shop) = parts();
    let engine = Engine::open(parts, config.clone()).unwrap();
    engine.wait().unwrap();
    engine.put_items(&shop.items).unwrap();
    Shop { router: router(Arc::clone(&engine), config).unwrap(), engine, documents }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

impl Shop {
    fn send(&self, request: Request<Body>) -> (Response<()>, Vec<u8>) {
        block_on(async {
            let response = self.router.clone().oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            (Response::from_parts(parts, ()), body.collect().await.unwrap().to_bytes().to_vec())
        })
    }

    fn json(&self, method: &str, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let (response, bytes) = self.send(request.body(body).unwrap());
        (response.status(), serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.json("GET", path, None);
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.json("POST", path, Some(body));
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    fn list(&self, query: &str) -> Vec<String> {
        ids(&self.get(&format!("/v1/recommendations?{query}")))
    }
}

fn ids(answer: &Value) -> Vec<String> {
    let items = answer["items"].as_array().unwrap();
    items.iter().map(|item| item["item_id"].as_str().unwrap().to_owned()).collect()
}

fn view(id: &str, session: &str, item: &str) -> Value {
    json!({"event_id": id, "time": "2026-11-21T10:00:00-05:00", "kind": "view", "session_id": session, "item_id": item})
}

fn purchase(id: &str, user: &str, item: &str) -> Value {
    json!({"event_id": id, "time": "2026-11-21T11:00:00-05:00", "kind": "purchase", "user_id": user, "item_id": item})
}

#[test]
fn a_new_event_changes_the_very_next_answer() {
    let shop = open(config());
    let before = shop.get("/v1/recommendations?session_id=s-1");
    assert_eq!(before["model_version"], "popularity@live");
    shop.post("/v1/events", view("e-1", "s-1", "P018"));
    let after = shop.get("/v1/recommendations?session_id=s-1");
    assert_eq!(after["model_version"], "tiny@2");
    assert_ne!(ids(&before), ids(&after));
    assert_eq!(after["inputs"]["last_event_id"], "e-1");
    let reason = &after["items"][1]["reason"];
    assert_eq!((&reason["code"], &reason["item_id"]), (&json!("often_bought_after"), &json!("P018")));
    shop.post("/v1/events", view("e-2", "s-1", "P001"));
    assert_ne!(shop.list("session_id=s-1"), ids(&after));
}

/// Hands on to a model that reads acts, and keeps what it was told.
struct Recording {
    model: sasrec::SasRec,
    told: Arc<Mutex<Option<Told>>>,
}

impl Recommender for Recording {
    fn name(&self) -> &'static str {
        self.model.name()
    }

    fn catalogue_size(&self) -> usize {
        self.model.catalogue_size()
    }

    fn reads_acts(&self) -> bool {
        self.model.reads_acts()
    }

    fn score(&self, history: &History, scores: &mut [f32]) {
        self.model.score(history, scores);
    }

    fn recommend(&self, history: &History, k: usize, barred: Barred) -> Vec<Scored> {
        *self.told.lock().unwrap() = history.told.cloned();
        self.model.recommend(history, k, barred)
    }

    fn similar_items(&self, item: ItemIdx, k: usize) -> Vec<Scored> {
        self.model.similar_items(item, k)
    }

    fn because(&self, history: &History, item: ItemIdx) -> Reason {
        self.model.because(history, item)
    }

    fn save(&self) -> qhatu_models::TensorFile {
        self.model.save()
    }
}

/// Six items of the shop. In each visit one is put into the cart, another one looked at, and the first is bought.
struct Visits {
    told: Arc<Mutex<Option<Told>>>,
}

impl Visits {
    const ITEMS: u32 = 6;

    fn vocabulary() -> Arc<Vocabulary> {
        let names = (1..=Self::ITEMS).map(|item| ItemId::new(format!("P{item:03}")).unwrap());
        Arc::new(Vocabulary::new(names))
    }

    fn model() -> sasrec::SasRec {
        let journey = |visit: u32| {
            let (wanted, other) = (1 + visit % 6, 1 + (visit % 6 + 1 + visit / 6 % 5) % 6);
            let steps = [
                (EventKind::AddToCart, wanted),
                (EventKind::View, other),
                (EventKind::Purchase, wanted),
                (EventKind::View, 1 + visit / 3 % 6),
            ];
            let deed = |(minute, (kind, item)): (i64, (EventKind, u32))| {
                let time = i64::from(visit) * 86_400_000 + minute * 60_000;
                Deed { time, item: ItemIdx(item), order: 0, kind }
            };
            Journey { user: None, deeds: (0..).zip(steps).map(deed).collect() }
        };
        let line = Purchase { time: 0, user: 0, order: 0, item: ItemIdx(1) };
        let data = Interactions::from_purchases(Self::vocabulary(), &[line], 200 * 86_400_000);
        let data = data.with_journeys(Arc::new((0..180).map(journey).collect()));
        let mut config = sasrec::Config {
            hidden_size: 16,
            intermediate_size: 16,
            hidden_dropout_prob: 0.0,
            item_dropout_prob: 0.0,
            learning_rate: 1e-2,
            warmup_steps: 5,
            ema_decay: 0.5,
            batch_size: 16,
            epochs: 8,
            refit: false,
            recency_half_life_days: 0.0,
            trend: false,
            steps: Steps::Items,
            ..sasrec::Config::default()
        };
        config.inputs.event_kind = true;
        sasrec::SasRec::fit(&data, &config, 1).unwrap()
    }
}

impl ModelSource for Visits {
    fn current(&self, alias: &str) -> Result<Option<String>, ServeError> {
        Ok((alias == "champion").then(|| "visits@1".to_owned()))
    }

    fn load(&self, _: &str) -> Result<LoadedModel, ServeError> {
        let recommender = Box::new(Recording { model: Self::model(), told: Arc::clone(&self.told) });
        Ok(LoadedModel { version: "visits@1".to_owned(), vocabulary: Self::vocabulary(), recommender })
    }
}

/// A server that knows nothing but what it is sent, and what its model was told last.
fn visits() -> (Shop, Arc<Mutex<Option<Told>>>) {
    let (parts, documents, shop) = parts();
    let told = Arc::default();
    let models = Box::new(Visits { told: Arc::clone(&told) });
    let parts = Parts { log: Arc::new(MemoryLog::default()), models, ..parts };
    let engine = Engine::open(parts, config()).unwrap();
    engine.wait().unwrap();
    engine.put_items(&shop.items).unwrap();
    (Shop { router: router(Arc::clone(&engine), config()).unwrap(), engine, documents }, told)
}

#[test]
fn what_was_looked_at_and_what_lies_in_the_cart_are_different_things_to_a_model_that_reads_acts() {
    let (shop, told) = visits();
    let acts = || told.lock().unwrap().as_ref().unwrap().acts.clone();
    shop.post("/v1/events", view("e-1", "s-1", "P003"));
    let viewed = shop.get("/v1/recommendations?session_id=s-1");
    assert_eq!((viewed["model_version"].as_str(), acts()), (Some("visits@1"), vec![Act::Viewed]));
    let scores = |answer: &Value| -> Vec<Value> {
        answer["items"].as_array().unwrap().iter().map(|item| item["score"].clone()).collect()
    };
    let mut cart = view("e-2", "s-2", "P003");
    cart["kind"] = json!("add_to_cart");
    shop.post("/v1/events", cart);
    let carted = shop.get("/v1/recommendations?session_id=s-2");
    assert_eq!((ids(&carted)[0].as_str(), acts()), ("P003", vec![Act::Carted]));
    assert_ne!(scores(&carted), scores(&viewed));
    // One more look changes the list, and what lies in the cart stays first.
    shop.post("/v1/events", view("e-3", "s-2", "P005"));
    let looked = shop.get("/v1/recommendations?session_id=s-2");
    assert_eq!((ids(&looked)[0].as_str(), acts()), ("P003", vec![Act::Carted, Act::Viewed]));
    assert_ne!(scores(&carted), scores(&looked));
    // What the request says of the page and the cart counts as if an event had said it, but once.
    shop.list("session_id=s-2&item_id=P005");
    assert_eq!(acts(), [Act::Carted, Act::Viewed]);
    shop.post(
        "/v1/recommendations",
        json!({"session_id": "s-2", "item_id": "P002", "cart": ["P003", "P001"]}),
    );
    assert_eq!(acts(), [Act::Carted, Act::Viewed, Act::Carted, Act::Viewed]);
    let mut emptied = view("e-4", "s-2", "P003");
    emptied["kind"] = json!("remove_from_cart");
    shop.post("/v1/events", emptied);
    assert_ne!(shop.list("session_id=s-2")[0], "P003");
    assert_eq!(acts(), [Act::Viewed]);
}

/// Training is held against the same file.
#[test]
fn the_server_tells_what_training_was_told() {
    let (shop, told) = visits();
    let mut lines: Vec<Event> = include_str!("../../../tests/journeys/events.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // Events come in any order.
    lines.reverse();
    shop.post("/v1/events", json!({ "events": lines }));
    let wanted: Value = serde_json::from_str(include_str!("../../../tests/journeys/told.json")).unwrap();
    for (key, query) in [("users", "user_id"), ("visits", "session_id")] {
        for (who, wanted) in wanted[key].as_object().unwrap() {
            shop.list(&format!("{query}={who}"));
            let told = told.lock().unwrap().clone().unwrap();
            let steps = (0..told.len()).map(|place| {
                json!([format!("P{:03}", told.items[place].0), told.acts[place], told.times[place]])
            });
            assert_eq!(&Value::Array(steps.collect()), wanted, "{who}");
        }
    }
}

#[test]
fn each_event_of_a_batch_has_its_own_result() {
    let shop = open(config());
    let batch = json!({"events": [
        view("b-1", "s", "P001"), view("b-1", "s", "P001"), {"event_id": "b-2", "kind": "view"}, 7,
        {"event_id": "b-3", "time": "2099-01-01T00:00:00Z", "kind": "view", "session_id": "s", "item_id": "P001"},
        view("b-4", "s", "P002"),
    ]});
    let answer = shop.post("/v1/events", batch.clone());
    let results: Vec<&str> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["result"].as_str().unwrap())
        .collect();
    assert_eq!(results, ["accepted", "duplicate", "refused", "refused", "refused", "accepted"]);
    assert_eq!(
        (&answer["accepted"], &answer["duplicate"], &answer["refused"]),
        (&json!(2), &json!(1), &json!(3))
    );
    assert!(answer["results"][4]["reason"].as_str().unwrap().contains("2099"));
    assert_eq!(shop.post("/v1/events", batch)["accepted"], 0);
    assert_eq!(shop.get("/v1/sessions/s/history")["total"], 2);
}

#[test]
fn ga4_events_are_taken_as_they_are() {
    let shop = open(config());
    let event = json!({"client_id": "c-1", "user_id": "cliente-01", "timestamp_micros": 1_795_275_600_000_000_i64,
        "events": [{"name": "view_item", "params": {"session_id": "s-ga", "items": [{"item_id": "P003"}]}}]});
    let answer = shop.post("/v1/events", event);
    assert_eq!(answer["accepted"], 1, "{answer}");
    assert_eq!(shop.get("/v1/users/cliente-01/history?limit=1")["moves"][0]["item_id"], "P003");
}

#[test]
fn the_list_is_never_empty_while_the_catalogue_is_not() {
    let shop = open(config());
    for placement in ["home", "discover", "product", "cart", "buy_again", "email", "popular"] {
        for query in ["", "&user_id=nobody", "&session_id=nobody", "&user_id=cliente-03", "&item_id=unknown"]
        {
            let list = shop.list(&format!("placement={placement}&k=4{query}"));
            assert!(!list.is_empty(), "{placement} {query}");
        }
    }
    for item in 1..=32 {
        let item = format!("P{item:03}");
        shop.post("/v1/events", purchase(&format!("all-{item}"), "all", &item));
    }
    assert_eq!(shop.list("placement=discover&user_id=all&k=3").len(), 3);
}

#[test]
fn a_cold_item_is_answered_from_its_category() {
    let shop = open(config());
    let item = json!({"title": "Cucharón de palo", "category": "Hogar > Cocina", "price": {"amount": 9.9, "currency": "PEN"}});
    let (status, written) = shop.json("PUT", "/v1/items/N%2F1", Some(item));
    assert_eq!((status, &written["written"]), (StatusCode::OK, &json!(1)));
    assert_eq!(shop.get("/v1/items/N%2F1")["price"]["text"], "S/ 9.90");
    let answer = shop.get("/v1/items/N%2F1/similar?k=3");
    assert_eq!(answer["items"][0]["reason"]["code"], "popular_in_category");
    for id in ids(&answer) {
        assert_eq!(shop.get(&format!("/v1/items/{id}"))["category"], "Hogar > Cocina", "{id}");
    }
    assert_eq!(shop.json("DELETE", "/v1/items/N%2F1", None).0, StatusCode::NO_CONTENT);
    assert_eq!(shop.json("GET", "/v1/items/N%2F1", None).0, StatusCode::NOT_FOUND);
}

#[test]
fn filters_and_exclusions_hold() {
    let shop = open(config());
    let all = "user_id=cliente-03&k=32";
    let price = |id: &String| shop.get(&format!("/v1/items/{id}"))["price"]["amount"].as_f64().unwrap();
    let cheap = shop.list(&format!("{all}&price_min=20&price_max=100"));
    assert!(!cheap.is_empty() && cheap.iter().all(|id| (20.0..=100.0).contains(&price(id))));
    let food = shop.list(&format!("{all}&category=Alimentos"));
    assert_eq!(food.len(), 7, "one of eight is out of stock");
    assert_eq!(shop.list(&format!("{all}&category=Hogar")).len(), 15, "a category holds those below it");
    assert_eq!(shop.list(&format!("{all}&category=Alimentos&in_stock=false")).len(), 8);
    let with_all = shop.list(all);
    assert!(with_all.contains(&"P003".to_owned()));
    assert!(!shop.list(&format!("{all}&exclude=P003&exclude=P004")).contains(&"P003".to_owned()));
    assert!(!shop.list(&format!("{all}&exclude_bought=true")).contains(&"P003".to_owned()), "bought before");
    let kinds = |list: &[String]| {
        let category = |id: &String| shop.get(&format!("/v1/items/{id}"))["category"].to_string();
        list.iter().map(category).collect::<std::collections::BTreeSet<_>>().len()
    };
    let (best, spread) =
        (shop.list("user_id=cliente-03&k=6"), shop.list("user_id=cliente-03&k=6&diversity=0.9"));
    assert_eq!((best.len(), spread.len(), &best[0]), (6, 6, &spread[0]), "the best stays first");
    assert!(kinds(&spread) > kinds(&best), "{best:?} {spread:?}");
    let again = shop.get("/v1/recommendations?placement=buy_again&user_id=cliente-03&k=32");
    let codes = again["items"].as_array().unwrap().iter().map(|item| &item["reason"]["code"]);
    assert!(codes.into_iter().all(|code| code == "bought_before"));
    let cart = shop.post("/v1/recommendations", json!({"placement": "cart", "cart": ["P001", "P002"]}));
    assert_eq!(cart["items"][0]["reason"]["code"], "bought_together");
    assert!(!ids(&cart).contains(&"P001".to_owned()));
}

#[test]
fn a_refund_takes_the_purchase_back() {
    let shop = open(config());
    shop.post("/v1/events", purchase("r-1", "returner", "P020"));
    assert_eq!(shop.list("placement=buy_again&user_id=returner"), ["P020"]);
    let mut refund = purchase("r-2", "returner", "P020");
    refund["state"] = json!("refunded");
    shop.post("/v1/events", refund);
    assert_ne!(shop.list("placement=buy_again&user_id=returner&k=1"), ["P020"]);
}

#[test]
fn a_served_list_is_fetched_again_as_it_was() {
    let shop = open(config());
    let answer = shop.get("/v1/recommendations?user_id=cliente-03&k=5&exclude=P001");
    let path = format!("/v1/recommendations/{}", answer["recommendation_id"].as_str().unwrap());
    assert_eq!(shop.get(&path), answer, "from the buffer");
    shop.engine.close();
    assert_eq!(shop.documents.count("recommendation").unwrap(), 1, "the drain stores what waits");
    assert_eq!(shop.get(&path), answer, "from the store");
    assert_eq!(answer["request"]["exclude"], json!(["P001"]));
    assert_eq!(shop.json("GET", "/v1/recommendations/nothing", None).0, StatusCode::NOT_FOUND);
}

#[test]
fn every_fault_has_the_same_shape() {
    let shop = open(ServeConfig { max_body_bytes: 1_024, ..config() });
    let request = |method: &str, path: &str, kind: &str, body: &str| {
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, kind);
        shop.send(request.body(Body::from(body.to_owned())).unwrap())
    };
    let long = format!("[\"{}\"]", "x".repeat(2_000));
    let cases = [
        (400, "malformed", request("POST", "/v1/events", "application/json", "{")),
        (404, "not_found", request("GET", "/nowhere", "", "")),
        (404, "not_found", request("GET", "/v1/items/none", "", "")),
        (405, "method_not_allowed", request("DELETE", "/v1/events", "", "")),
        (413, "too_large", request("POST", "/v1/events", "application/json", &long)),
        (415, "unsupported_media_type", request("POST", "/v1/events", "text/plain", "{}")),
        (422, "invalid_argument", request("POST", "/v1/events", "application/json", "{\"kind\": \"view\"}")),
        (422, "invalid_argument", request("GET", "/v1/recommendations?k=0", "", "")),
        (422, "invalid_argument", request("GET", "/v1/recommendations?k=x", "", "")),
        (422, "invalid_argument", request("GET", "/v1/recommendations?placement=x", "", "")),
        (422, "invalid_argument", request("GET", "/v1/recommendations?user_id=", "", "")),
        (422, "invalid_argument", request("GET", "/v1/recommendations?model=x", "", "")),
        (422, "invalid_argument", request("GET", "/v1/recommendations?nothing=x", "", "")),
        (422, "invalid_argument", request("POST", "/v1/recommendations", "application/json", "{\"kk\": 1}")),
    ];
    for (status, code, (response, body)) in cases {
        let text = String::from_utf8_lossy(&body).into_owned();
        let body: Value = serde_json::from_slice(&body).unwrap_or_else(|_| panic!("not JSON: {text}"));
        assert_eq!((response.status().as_u16(), &body["code"]), (status, &json!(code)), "{body}");
        assert_eq!(
            response.headers()["x-request-id"].to_str().unwrap(),
            body["request_id"].as_str().unwrap()
        );
        assert!(!body["message"].as_str().unwrap().is_empty());
    }
    let (allowed, _) = request("DELETE", "/v1/events", "", "");
    assert_eq!(allowed.headers()[header::ALLOW], "POST");
}

#[test]
fn every_route_of_the_description_under_v1_asks_for_the_key() {
    let shop = open(ServeConfig { keys: vec![Secret::new(KEY)], ..config() });
    let api = shop.get("/openapi.json");
    let mut guarded = 0;
    for (path, operations) in api["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let at = path.replace(['{', '}'], "");
            let send = |key: Option<&str>| {
                let mut request = Request::builder().method(method.to_uppercase().as_str()).uri(&at);
                if let Some(key) = key {
                    request = request.header(header::AUTHORIZATION, key);
                }
                shop.send(request.body(Body::empty()).unwrap()).0.status()
            };
            if path.starts_with("/v1/") {
                guarded += 1;
                assert_eq!(operation["security"], json!([{"key": []}]), "{method} {path}");
                for key in [None, Some("Bearer wrong"), Some(KEY), Some("Basic a"), Some("Bearer ")] {
                    assert_eq!(send(key), StatusCode::UNAUTHORIZED, "{method} {path} {key:?}");
                }
                let right = format!("Bearer {KEY}");
                assert_ne!(send(Some(&right)), StatusCode::UNAUTHORIZED, "{method} {path}");
            } else {
                assert_eq!(send(None), StatusCode::OK, "{method} {path}");
            }
        }
    }
    assert_eq!(guarded, 23, "a new route must be counted here");
}

#[test]
fn without_a_key_only_this_machine_is_served() {
    let (parts, ..) = parts();
    let config = ServeConfig { address: "0.0.0.0".parse().unwrap(), ..config() };
    let engine = Engine::open(parts, config.clone()).unwrap();
    let error = router(engine, config).unwrap_err();
    assert!(matches!(error, ServeError::OpenWithoutKey { .. }) && error.to_string().contains("loopback"));
    let shop = open(self::config());
    let foreign = Request::builder().uri("/v1/models").header(header::HOST, "evil.example");
    assert_eq!(shop.send(foreign.body(Body::empty()).unwrap()).0.status(), StatusCode::FORBIDDEN);
}

#[test]
fn pages_come_whole_and_with_a_policy() {
    let shop = open(config());
    for path in ["/", "/console/console.js", "/console/console.css", "/docs/", "/docs/swagger-ui-bundle.js"] {
        let (response, body) = shop.send(Request::builder().uri(path).body(Body::empty()).unwrap());
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert!(body.len() > 300, "{path}");
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    }
    assert_eq!(shop.json("GET", "/console/none.js", None).0, StatusCode::NOT_FOUND);
}

#[test]
fn figures_count_what_happened() {
    let shop = open(config());
    shop.post("/v1/events", view("m-1", "s", "P001"));
    shop.list("session_id=s");
    let (_, body) = shop.send(Request::builder().uri("/metrics").body(Body::empty()).unwrap());
    let text = String::from_utf8(body).unwrap();
    for line in [
        "qhatu_events_total{result=\"accepted\"} 1",
        "qhatu_recommendations_total{model_version=\"tiny@2\",placement=\"home\"} 1",
        "qhatu_http_requests_total{method=\"POST\",route=\"/v1/events\",status=\"200\"} 1",
        "qhatu_http_request_seconds_count{method=\"GET\",route=\"/v1/recommendations\"} 1",
        "qhatu_model_live{alias=\"champion\",version=\"tiny@2\"} 1",
        "qhatu_ready 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

/// Gives the versions that the test tells it to, or fails.
struct Changing {
    models: tiny::Models,
    version: Arc<AtomicU32>,
}

impl ModelSource for Changing {
    fn current(&self, alias: &str) -> Result<Option<String>, ServeError> {
        let version = self.version.load(Ordering::Relaxed);
        Ok((alias == "champion" && version > 0).then(|| format!("tiny@{version}")))
    }

    fn load(&self, alias: &str) -> Result<LoadedModel, ServeError> {
        let version = self.current(alias)?.unwrap();
        if version == "tiny@13" {
            return Err(ServeError::Model { version, message: "damaged".to_owned() });
        }
        Ok(LoadedModel { version, ..self.models.load(alias)? })
    }
}

#[test]
fn a_model_is_swapped_and_a_damaged_one_leaves_the_earlier_in_place() {
    let (parts, _, tiny) = parts();
    let version = Arc::new(AtomicU32::new(0));
    let source = Changing { models: tiny.models(), version: Arc::clone(&version) };
    let engine = Engine::open(Parts { models: Box::new(source), ..parts }, config()).unwrap();
    engine.wait().unwrap();
    let documents: Arc<dyn Documents> = Arc::new(MemoryDocuments::default());
    let shop = Shop { router: router(Arc::clone(&engine), config()).unwrap(), engine, documents };
    let made_by = || shop.get("/v1/recommendations?user_id=cliente-03")["model_version"].clone();
    assert_eq!(made_by(), "popularity@live", "without a model the fallback answers");
    for (next, expected) in
        [(1, "tiny@1"), (2, "tiny@2"), (13, "tiny@2"), (3, "tiny@3"), (0, "popularity@live")]
    {
        version.store(next, Ordering::Relaxed);
        let reload = shop.json("POST", "/v1/models/reload", None).1;
        assert_eq!(reload["models"][0]["fault"].is_string(), next == 13, "{reload}");
        assert_eq!(made_by(), expected);
    }
}

/// Says a tenth for each order of a shopper.
struct Tenths([TableColumn; 1]);

impl PropensityModel for Tenths {
    fn kind(&self) -> &'static str {
        "tenths"
    }
    fn columns(&self) -> &[TableColumn] {
        &self.0
    }
    fn threshold(&self) -> f64 {
        0.5
    }
    fn probabilities(&self, table: &DenseTable) -> Result<Vec<f64>, PropensityFault> {
        let Some(DenseColumn::Float(orders)) = table.column(&self.0[0].name) else {
            return Err("no orders".into());
        };
        Ok(orders.iter().map(|orders| (orders / 10.0).min(1.0)).collect())
    }
    fn because(&self, table: &DenseTable) -> Result<Because, PropensityFault> {
        let columns = vec![(self.0[0].name.clone(), self.probabilities(table)?[0])];
        Ok(Because { expected: 0.0, columns })
    }
}

/// The versions that the test tells it to: 7 takes a feature that the shop does not have, 13 is damaged, and the first load
/// waits until the test lets it go on.
struct Foretelling {
    version: Arc<AtomicU32>,
    gate: Mutex<mpsc::Receiver<()>>,
}

impl PropensitySource for Foretelling {
    fn current(&self, alias: &str) -> Result<Option<String>, ServeError> {
        let version = self.version.load(Ordering::Relaxed);
        Ok((alias == "champion" && version > 0).then(|| format!("tenths@{version}")))
    }
    fn load(&self, alias: &str) -> Result<LoadedPropensity, ServeError> {
        let _ = self.gate.lock().unwrap().recv();
        let version = self.current(alias)?.unwrap();
        let name = if version == "tenths@7" { "user_luck" } else { "user_orders" };
        if version == "tenths@13" {
            return Err(ServeError::Model { version, message: "damaged".to_owned() });
        }
        let model = Box::new(Tenths([TableColumn { name: name.to_owned(), texts: false }]));
        Ok(LoadedPropensity { version, foretold: Foretold::Shoppers { days: 28 }, model })
    }
}

#[test]
fn lists_do_not_wait_for_a_propensity_model_and_a_damaged_one_leaves_the_earlier_in_place() {
    let (parts, documents, _) = parts();
    let version = Arc::new(AtomicU32::new(1));
    let (go, gate) = mpsc::channel();
    let source = Foretelling { version: Arc::clone(&version), gate: Mutex::new(gate) };
    let engine = Engine::open(Parts { propensity: Some(Box::new(source)), ..parts }, config()).unwrap();
    let shop = Shop { router: router(Arc::clone(&engine), config()).unwrap(), engine, documents };
    while !shop.engine.readiness().ready {
        std::thread::yield_now();
    }
    let ask = || shop.json("GET", "/v1/users/cliente-03/propensity?explain=true", None);
    let (status, fault) = ask();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(fault["message"], "not ready: the propensity model is being loaded");
    assert_eq!(shop.list("user_id=cliente-03").len(), 10);
    drop(go);
    shop.engine.wait().unwrap();
    let (status, told) = ask();
    let orders = shop.get("/v1/features/user?key=cliente-03")["user_orders"].as_f64().unwrap();
    assert_eq!((status, told["probability"].as_f64().unwrap()), (StatusCode::OK, orders / 10.0), "{told}");
    assert_eq!((&told["yes"], &told["days"]), (&json!(orders >= 5.0), &json!(28)), "{told}");
    let why = json!({"expected": 0.0, "columns": [{"column": "user_orders", "adds": orders / 10.0}]});
    assert_eq!(told["explanation"], why);

    let at = |next: u32| {
        version.store(next, Ordering::Relaxed);
        let reload = shop.post("/v1/models/reload", Value::Null);
        assert_eq!(reload["propensity"]["fault"].is_string(), next == 13, "{reload}");
        ask()
    };
    for (next, expected) in [(2, "tenths@2"), (13, "tenths@2"), (3, "tenths@3")] {
        assert_eq!(at(next).1["model_version"], expected);
    }
    let (status, fault) = at(7);
    assert_eq!((status, &fault["code"]), (StatusCode::CONFLICT, &json!("conflict")), "{fault}");
    assert!(fault["message"].as_str().unwrap().contains("takes the feature \"user_luck\""), "{fault}");
    assert_eq!(at(0).0, StatusCode::NOT_FOUND);
    let (status, fault) = at(13);
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{fault}");
    assert!(fault["message"].as_str().unwrap().contains("tenths@13 cannot be loaded"), "{fault}");
    assert_eq!(shop.get("/readyz")["ready"], true, "lists are answered all the same");
}

/// 50 shoppers of Lima bought the first item, 50 of Cusco the second, and everybody the third before.
struct ByDepartment;

impl ModelSource for ByDepartment {
    fn current(&self, alias: &str) -> Result<Option<String>, ServeError> {
        Ok((alias == "champion").then(|| "departments@1".to_owned()))
    }

    fn load(&self, alias: &str) -> Result<LoadedModel, ServeError> {
        let item = |number: u32| ItemId::new(format!("P00{number}")).unwrap();
        let vocabulary = Arc::new(Vocabulary::new((1..=3).map(item)));
        let line =
            |user: u32, item, time| Purchase { time, user, order: 2 * user + item % 2, item: ItemIdx(item) };
        let lines: Vec<Purchase> =
            (0..100).flat_map(|user| [line(user, 1 + user % 2, 1_000), line(user, 3, 0)]).collect();
        let departments = ["150101", "080101"].map(Department::of_ubigeo);
        let data = Interactions::from_purchases(Arc::clone(&vocabulary), &lines, 2_000)
            .with_departments(Arc::new((0..100).map(|user| departments[user % 2]).collect()));
        let config = Config { prior: 10.0, ..Config::default() };
        let model = DepartmentPopularity::fit(&data, &config).unwrap();
        let version = self.current(alias)?.unwrap();
        Ok(LoadedModel { version, vocabulary, recommender: Box::new(model) })
    }
}

#[test]
fn a_list_follows_the_department_of_the_record_or_of_the_request() {
    let (parts, documents, tiny) = parts();
    let log = Arc::clone(&parts.log);
    let started = |log: Arc<dyn EventLog>, documents: &Arc<dyn Documents>| {
        let (models, documents) = (Box::new(ByDepartment), Arc::clone(documents));
        let declarations = Arc::default();
        let parts = Parts { log, documents: Arc::clone(&documents), declarations, models, propensity: None };
        let engine = Engine::open(parts, config()).unwrap();
        engine.wait().unwrap();
        Shop { router: router(Arc::clone(&engine), config()).unwrap(), engine, documents }
    };
    let shop = started(Arc::clone(&log), &documents);
    shop.engine.put_items(&tiny.items).unwrap();
    let lives = |shop: &Shop, user: &str, body: Value| {
        let (status, answer) = shop.json("PUT", &format!("/v1/users/{user}"), Some(body));
        assert!(status.is_success(), "{answer}");
    };
    lives(&shop, "ana", json!({"ubigeo": "150101"}));
    lives(&shop, "luz", json!({"ubigeo": "080105"}));
    let two = |shop: &Shop, who: &str| shop.list(&format!("{who}&k=2"));
    let (lima, cusco) = (["P003", "P001"], ["P003", "P002"]);
    assert_eq!(two(&shop, "user_id=ana"), lima);
    assert_eq!(two(&shop, "user_id=luz"), cusco);
    let answer = shop.get("/v1/recommendations?user_id=luz&k=2");
    assert_eq!(answer["model_version"], "departments@1");
    assert_eq!(answer["items"][1]["reason"]["code"], "popular_in_department");
    assert_eq!(answer["items"][1]["reason"]["text"]["es"], "De lo más vendido en Cusco en estos días.");
    // Somebody with a history, and a visitor who says where they are.
    lives(&shop, "cliente-03", json!({"ubigeo": "080101"}));
    assert_eq!(two(&shop, "user_id=cliente-03"), cusco);
    assert_eq!(two(&shop, "session_id=v&ubigeo=150101"), lima);
    assert_eq!(two(&shop, "user_id=luz&ubigeo=150101"), lima);
    let said = shop.json("POST", "/v1/recommendations", Some(json!({"ubigeo": "080101", "k": 2}))).1;
    assert_eq!(ids(&said), cusco);
    let (status, fault) = shop.json("GET", "/v1/recommendations?ubigeo=260101", None);
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{fault}");
    // The record changes: an earlier one does not, a later one does, also in the next process; without one nothing is known.
    lives(&shop, "ana", json!({"ubigeo": "080101", "updated": "2020-01-01T00:00:00Z"}));
    assert_eq!(two(&shop, "user_id=ana"), lima);
    lives(&shop, "ana", json!({"ubigeo": "080101"}));
    assert_eq!(two(&shop, "user_id=ana"), cusco);
    let next = started(log, &documents);
    assert_eq!(two(&next, "user_id=ana"), cusco);
    assert_eq!(next.json("DELETE", "/v1/users/ana", None).0, StatusCode::NO_CONTENT);
    assert_eq!(next.get("/v1/recommendations?user_id=ana&k=2")["model_version"], "popularity@live");
    lives(&next, "luz", json!({"country": "Perú"}));
    assert_eq!(next.get("/v1/recommendations?user_id=luz&k=2")["model_version"], "popularity@live");
}

#[test]
fn the_server_is_not_ready_while_its_model_cannot_be_loaded() {
    let (parts, documents, tiny) = parts();
    let version = Arc::new(AtomicU32::new(13));
    let source = Changing { models: tiny.models(), version: Arc::clone(&version) };
    let engine = Engine::open(Parts { models: Box::new(source), ..parts }, config()).unwrap();
    engine.wait().unwrap();
    let shop = Shop { router: router(Arc::clone(&engine), config()).unwrap(), engine, documents };
    let (status, body) = shop.json("GET", "/readyz", None);
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body["message"].as_str().unwrap().contains("tiny@13"), "{body}");
    assert_eq!(shop.get("/v1/recommendations?user_id=cliente-03")["model_version"], "popularity@live");
    version.store(2, Ordering::Relaxed);
    shop.json("POST", "/v1/models/reload", None);
    assert_eq!(shop.get("/readyz")["model_version"], "tiny@2");
    version.store(13, Ordering::Relaxed);
    shop.json("POST", "/v1/models/reload", None);
    assert_eq!(shop.get("/readyz")["model_version"], "tiny@2", "the earlier one goes on, so it is ready");
}

/// A model that, once armed, tells that it was asked and waits until the test lets it go on.
struct Waiting {
    model: Box<dyn Recommender>,
    armed: Arc<AtomicBool>,
    begun: Mutex<mpsc::Sender<()>>,
    gate: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Recommender for Waiting {
    fn name(&self) -> &'static str {
        self.model.name()
    }
    fn catalogue_size(&self) -> usize {
        self.model.catalogue_size()
    }
    fn score(&self, history: &History, scores: &mut [f32]) {
        if self.armed.load(Ordering::Relaxed) {
            self.begun.lock().unwrap().send(()).unwrap();
            let _ = self.gate.lock().unwrap().recv();
        }
        self.model.score(history, scores);
    }
    fn similar_items(&self, item: ItemIdx, k: usize) -> Vec<Scored> {
        self.model.similar_items(item, k)
    }
    fn because(&self, history: &History, item: ItemIdx) -> Reason {
        self.model.because(history, item)
    }
    fn save(&self) -> qhatu_models::TensorFile {
        self.model.save()
    }
}

/// Loads the tiny shop's models inside [`Waiting`].
struct WaitingModels {
    models: tiny::Models,
    armed: Arc<AtomicBool>,
    begun: Mutex<mpsc::Sender<()>>,
    gate: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl ModelSource for WaitingModels {
    fn current(&self, alias: &str) -> Result<Option<String>, ServeError> {
        self.models.current(alias)
    }
    fn load(&self, alias: &str) -> Result<LoadedModel, ServeError> {
        let loaded = self.models.load(alias)?;
        let begun = Mutex::new(self.begun.lock().unwrap().clone());
        let (armed, gate) = (Arc::clone(&self.armed), Arc::clone(&self.gate));
        Ok(LoadedModel {
            recommender: Box::new(Waiting { model: loaded.recommender, armed, begun, gate }),
            ..loaded
        })
    }
}

#[test]
fn who_would_wait_too_long_hears_503_at_once() {
    let (parts, documents, tiny) = parts();
    let (armed, (begun, asked), (go, gate)) =
        (Arc::new(AtomicBool::new(false)), mpsc::channel(), mpsc::channel());
    let models = WaitingModels {
        models: tiny.models(),
        armed: Arc::clone(&armed),
        begun: Mutex::new(begun),
        gate: Arc::new(Mutex::new(gate)),
    };
    let config = ServeConfig { score_threads: 1, score_queue: 1, ..config() };
    let engine = Engine::open(Parts { models: Box::new(models), ..parts }, config.clone()).unwrap();
    engine.wait().unwrap();
    let shop = Shop { router: router(Arc::clone(&engine), config).unwrap(), engine, documents };
    armed.store(true, Ordering::Relaxed);
    let ask = || {
        let request = Request::builder().uri("/v1/recommendations?user_id=cliente-03");
        let (response, body) = shop.send(request.body(Body::empty()).unwrap());
        (response.status(), response.headers().get(header::RETRY_AFTER).cloned(), body)
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(ask);
        asked.recv().unwrap();
        // The one thread is taken and one request may wait: of three more, two are refused while both are.
        let (told, answers) = mpsc::channel();
        for _ in 0..3 {
            let told = told.clone();
            scope.spawn(move || told.send(ask()).unwrap());
        }
        for _ in 0..2 {
            let (status, retry_after, body) = answers.recv().unwrap();
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(retry_after.unwrap(), "1");
            assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["code"], "unavailable");
        }
        drop(go);
        assert_eq!(first.join().unwrap().0, StatusCode::OK);
        assert_eq!(answers.recv().unwrap().0, StatusCode::OK);
    });
}

/// A log whose first read waits until the test lets it go on.
struct Held {
    log: Arc<dyn EventLog>,
    gate: Mutex<mpsc::Receiver<()>>,
}

impl EventLog for Held {
    fn append(&self, events: &[Event]) -> Result<Vec<bool>, StoreError> {
        self.log.append(events)
    }
    fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Event)>, StoreError> {
        let _ = self.gate.lock().unwrap().recv();
        self.log.read(from, limit)
    }
    fn last_offset(&self) -> Result<u64, StoreError> {
        self.log.last_offset()
    }
}

#[test]
fn the_server_is_not_ready_before_the_log_is_replayed() {
    let (parts, documents, _) = parts();
    let (go, gate) = mpsc::channel();
    let log = Arc::new(Held { log: Arc::clone(&parts.log), gate: Mutex::new(gate) });
    let engine = Engine::open(Parts { log, ..parts }, config()).unwrap();
    let shop = Shop { router: router(Arc::clone(&engine), config()).unwrap(), engine, documents };
    assert_eq!(shop.json("GET", "/livez", None).0, StatusCode::OK);
    for path in ["/readyz", "/v1/recommendations", "/v1/users"] {
        let (status, body) = shop.json("GET", path, None);
        assert_eq!(
            (status, &body["code"]),
            (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")),
            "{path}"
        );
    }
    assert_eq!(
        shop.json("POST", "/v1/events", Some(view("e", "s", "P001"))).0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    drop(go);
    shop.engine.wait().unwrap();
    assert_eq!(shop.json("GET", "/readyz", None).0, StatusCode::OK);
}

/// A server on a socket of its own.
struct Listening {
    address: std::net::SocketAddr,
    documents: Arc<dyn Documents>,
    stop: tokio::sync::oneshot::Sender<()>,
    server: std::thread::JoinHandle<Result<(), ServeError>>,
}

fn listen(config: ServeConfig) -> Listening {
    let config = ServeConfig { port: 0, ..config };
    let (parts, documents, _) = parts();
    let engine = Engine::open(parts, config.clone()).unwrap();
    engine.wait().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (told, address) = mpsc::channel();
    let server = std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let shutdown = async {
            let _ = stopped.await;
        };
        runtime.block_on(serve(engine, config, shutdown, move |address| told.send(address).unwrap()))
    });
    Listening { address: address.recv().unwrap(), documents, stop, server }
}

impl Listening {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
        stream
    }

    /// The whole answer, on a connection that the server closes.
    fn ask(&self, path: &str) -> String {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn end(self) -> Arc<dyn Documents> {
        self.stop.send(()).unwrap();
        self.server.join().unwrap().unwrap();
        self.documents
    }
}

#[test]
fn a_real_socket_is_served_and_drained() {
    let server = listen(config());
    let address = server.address;
    assert!(server.ask("/readyz").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(server.ask("/v1/recommendations?user_id=cliente-03").contains("\"recommendation_id\""));
    let idle = server.connect();
    let documents = server.end();
    drop(idle);
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    assert_eq!(documents.count("recommendation").unwrap(), 1, "the drain stores what waits");
}

#[test]
fn a_request_in_progress_is_answered_while_the_server_stops() {
    let server = listen(config());
    let body = view("late", "s-late", "P001").to_string();
    let mut caller = server.connect();
    let head = "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue";
    write!(caller, "{head}\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
    let mut said = [0; 25];
    caller.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n", "it waits for the body");
    let Listening { stop, server, .. } = server;
    stop.send(()).unwrap();
    caller.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    caller.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("\"accepted\":1"), "{answer}");
    server.join().unwrap().unwrap();
}

#[test]
fn a_client_that_never_ends_its_headers_is_let_go() {
    let server = listen(ServeConfig { header_timeout_seconds: 1, ..config() });
    let mut slow = server.connect();
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost: local").unwrap();
    let mut said = Vec::new();
    // The server ends the connection, with or without a word; waiting for ever would time out instead.
    let ended = slow.read_to_end(&mut said);
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    assert!(server.ask("/livez").starts_with("HTTP/1.1 200 OK\r\n"));
    server.end();
}

#[test]
fn a_client_without_a_place_hears_so_and_the_next_one_gets_it() {
    let server = listen(ServeConfig { max_connections: 1, ..config() });
    let mut first = server.connect();
    write!(first, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(first.read(&mut [0; 12]).unwrap(), 12, "it has its place");
    let refused = server.ask("/livez");
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1\r\n"), "{refused}");
    assert!(refused.contains("\"code\":\"unavailable\"") && refused.contains("\"request_id\":"), "{refused}");
    drop(first);
    // The place is free as soon as the server has noticed.
    assert!((0..1000).any(|_| server.ask("/livez").starts_with("HTTP/1.1 200 OK\r\n")));
    server.end();
}
