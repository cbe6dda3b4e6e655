//! The server's answers to "will they buy?" are those of `qhatu propensity score` and `explain`, of every shopper and row.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Map, Value, json};

use crate::propensity::{searches, sessions, text_model};
use crate::server::Server;
use crate::shop::Shop;

/// The moment of the latest event is "now", so that the command can be asked of the same moment.
const CLOCK: (&str, &str) = ("QHATU__SERVE__CLOCK", "last_event");
const KEY: &str = "a-key-of-the-tests-0123456789";
/// The moment of the latest event, which is somebody's of whom nothing else is known: all before it is known.
const LAST: &str = "2026-06-29T00:00:00Z";

/// What `propensity score` says of everybody at a moment, by name.
fn scored(shop: &Shop, as_of: &str) -> BTreeMap<String, Value> {
    let told = shop.succeed(&["propensity", "score", "--shoppers", "--dir", ".", "--as-of", as_of]);
    let line = |line: &str| -> Value { serde_json::from_str(line).unwrap() };
    told.lines().map(line).map(|told| (told["user_id"].as_str().unwrap().to_owned(), told)).collect()
}

fn of(user: &str) -> String {
    format!("/v1/users/{user}/propensity")
}

/// The server's answer of each.
fn asked<'a>(server: &Server, users: impl Iterator<Item = &'a String>) -> BTreeMap<String, Value> {
    users.map(|user| (user.clone(), server.get(&of(user)))).collect()
}

/// Holds every answer to the command's.
fn hold(
    answers: &BTreeMap<String, Value>,
    expected: &BTreeMap<String, Value>,
    (version, as_of): (&str, &str),
) {
    assert!(
        expected.len() >= 90 && answers.keys().eq(expected.keys()),
        "{} {}",
        answers.len(),
        expected.len()
    );
    for (answer, expected) in answers.values().zip(expected.values()) {
        for key in ["user_id", "probability", "yes"] {
            assert_eq!(answer[key], expected[key], "{answer}: {expected}");
        }
        assert_eq!(
            (&answer["model_version"], &answer["as_of"]),
            (&json!(version), &json!(as_of)),
            "{answer}"
        );
    }
    // They differ, so that one shopper cannot be taken for another.
    let different: BTreeSet<String> =
        answers.values().map(|answer| answer["probability"].to_string()).collect();
    assert!(different.len() > 2, "{different:?}");
}

/// Why, as the command says it of the same features.
fn hold_reasons(shop: &Shop, server: &Server, users: &BTreeMap<String, Value>) {
    for (row, user) in users.keys().enumerate().step_by(30) {
        let row = (row + 1).to_string();
        let of_table =
            ["propensity", "explain", "data/features/user.parquet", "--dir", ".", "--json", "--row"];
        let said = shop.json(&[&of_table[..], &[row.as_str()]].concat());
        let answer = server.get(&(of(user) + "?explain=true"));
        assert_eq!(answer["probability"], said["probability"], "{user}");
        assert_eq!(answer["explanation"]["expected"], said["expected"], "{user}");
        let pair = |added: &Value| json!([added["column"], added["adds"]]);
        let columns = answer["explanation"]["columns"].as_array().unwrap().iter().map(pair);
        assert!(columns.eq(said["columns"].as_array().unwrap().iter().cloned()), "{user}: {answer} {said}");
    }
}

#[test]
fn a_shopper_has_the_commands_probability_and_reasons() {
    let shop = Shop::new();
    let last =
        format!(r#"{{"event_id":"end","time":"{LAST}","kind":"search","user_id":"nobody","query":"mug"}}"#);
    shop.ingest("end.jsonl", &last);
    let fit = [
        "propensity",
        "fit",
        "--shoppers",
        "7",
        "--windows",
        "5",
        "--dir",
        ".",
        "--past-gate",
        "--trees",
        "20",
    ];
    // Platt's curve keeps apart what the scores do.
    let fit = [&fit[..], &["--calibration", "platt"]].concat();
    shop.succeed(&fit);
    let by_trees = scored(&shop, LAST);
    shop.succeed(&[&fit[..], &["--model", "ensemble", "--epochs", "1"]].concat());
    let by_ensemble = scored(&shop, LAST);
    shop.succeed(&["features", "--as-of", LAST]);

    let server = Server::start(&shop, &[CLOCK], None);
    let answers = asked(&server, by_ensemble.keys());
    hold(&answers, &by_ensemble, ("propensity@2", LAST));
    hold_reasons(&shop, &server, &answers);
    let first = &answers["u0"];
    assert_eq!((&first["days"], &first["kind"]), (&json!(7), &json!("ensemble")));
    assert_eq!(first.get("explanation"), None);
    assert!(first["threshold"].as_f64().is_some_and(|threshold| threshold > 0.0), "{first}");

    // Another champion answers without a restart, and says so.
    let mut rollback = shop.command(&["models", "rollback"]);
    assert!(rollback.env("QHATU__REGISTRY__MODEL", "propensity").output().unwrap().status.success());
    let found = server.reload();
    assert_eq!(found["propensity"]["version"], "propensity@1", "{found}");
    let answers = asked(&server, by_trees.keys());
    hold(&answers, &by_trees, ("propensity@1", LAST));
    hold_reasons(&shop, &server, &answers);
    let live = &server.get("/v1/models")["propensity"];
    assert_eq!(
        (&live["version"], &live["kind"], &live["foretells"]),
        (&json!("propensity@1"), &json!("boosting"), &json!("a purchase within 7 days"))
    );
    let figures = server.get("/metrics");
    let figures = figures.as_str().unwrap();
    for line in [
        "qhatu_model_live{alias=\"champion\",version=\"propensity@1\"} 1",
        &format!("qhatu_probabilities_total{{model_version=\"propensity@2\"}} {}", by_ensemble.len() + 3),
    ] {
        assert!(figures.contains(line), "{line}: {figures}");
    }
    refuses_what_it_cannot_say(&server);

    // What is sent is known to the very next answer, and to the command.
    let event = |user: &str, time: &str, kind: &str| json!({"event_id": format!("sent-{user}"), "time": time, "kind": kind, "user_id": user, "item_id": "i4"});
    let sent = json!({"events": [
        event("u0", "2026-07-20T10:00:00-05:00", "purchase"),
        event("newcomer", "2026-07-20T11:00:00-05:00", "view"),
        event("late", "2026-07-20T12:00:00-05:00", "view"),
    ]});
    assert_eq!(server.post("/v1/events", &sent)["accepted"], 3);
    let users: BTreeSet<String> =
        by_trees.keys().cloned().chain(["newcomer", "nobody"].map(str::to_owned)).collect();
    let later = asked(&server, users.iter());
    assert!(
        later
            .iter()
            .any(|(user, own)| answers.get(user).is_some_and(|was| was["probability"] != own["probability"]))
    );
    drop(server);
    let as_of = "2026-07-20T17:00:00Z";
    hold(&later, &scored(&shop, as_of), ("propensity@1", as_of));
}

fn refuses_what_it_cannot_say(server: &Server) {
    let nobody = (404, "not_found");
    server.refuses(("GET", &of("stranger"), None), nobody, &["shopper with events", "stranger"]);
    // A record without events says nothing to the features.
    assert_eq!(server.ask("PUT", "/v1/users/paper", Some(&json!({"country": "Perú"}))).0, 200);
    server.refuses(("GET", &of("paper"), None), nobody, &["shopper with events"]);
    let wrong = (422, "invalid_argument");
    server.refuses(("GET", &(of("u0") + "?explain=maybe"), None), wrong, &["explain is"]);
    server.refuses(("GET", &(of("u0") + "?why=true"), None), wrong, &["why"]);
    let rows = json!({"rows": [{"views": 1}]});
    let other =
        ["propensity@1 foretells", "a purchase within 7 days", "not a column of a table", "GET /v1/users"];
    server.refuses(("POST", "/v1/propensity", Some(&rows)), (409, "conflict"), &other);
}

/// The rows of a table as a request sends them: numbers where a column holds numbers, null for a gap.
fn rows_of(csv: &str, texts: &[&str]) -> Vec<Map<String, Value>> {
    let mut lines = csv.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let cell = |(name, text): (&&str, &str)| {
        let value = match text {
            "" => Value::Null,
            "true" | "false" => json!(text == "true"),
            _ if texts.contains(name) => json!(text),
            _ => json!(text.parse::<f64>().unwrap()),
        };
        ((*name).to_owned(), value)
    };
    lines.map(|line| names.iter().zip(line.split(',')).map(cell).collect()).collect()
}

/// Probability and answer of each row, as the command prints them.
fn told(shop: &Shop, words: &[&str]) -> Vec<(Value, Value)> {
    let said = shop.succeed(&[&["propensity", "score"], words].concat());
    let line = |line: &str| -> Value { serde_json::from_str(line).unwrap() };
    said.lines().map(line).map(|told| (told["probability"].clone(), told["yes"].clone())).collect()
}

fn answered(answer: &Value) -> Vec<(Value, Value)> {
    let rows = answer["rows"].as_array().unwrap().iter();
    rows.map(|row| (row["probability"].clone(), row["yes"].clone())).collect()
}

#[test]
fn rows_have_the_commands_probabilities_in_their_order() {
    let shop = Shop::bare();
    let csv = sessions();
    fs::write(shop.dir().join("sessions.csv"), &csv).unwrap();
    let mut server = Server::start(&shop, &[("QHATU__SERVE__KEYS", &format!("[\"{KEY}\"]"))], Some(KEY));
    let rows = json!({ "rows": rows_of(&csv, &["source"]) });
    let asked = ("POST", "/v1/propensity", Some(&rows));
    server.refuses(asked, (404, "not_found"), &["no propensity model", "qhatu propensity fit"]);
    server.refuses(("GET", "/v1/users/u0/propensity", None), (404, "not_found"), &["no propensity model"]);
    assert_eq!(server.get("/v1/models").get("propensity"), None);

    let fit =
        ["propensity", "fit", "sessions.csv", "--target", "bought", "--dir", ".", "--categories", "browser"];
    let score = ["sessions.csv", "--dir", ".", "--categories", "browser"];
    for (version, kind) in ["boosting", "logistic", "forest", "attention"].into_iter().enumerate() {
        let how = ["--model", kind, "--trees", "20", "--epochs", "2", "--past-gate"];
        shop.succeed(&[&fit[..], &how[..]].concat());
        server.reload();
        let answer = server.post("/v1/propensity", &rows);
        assert_eq!(answer["model_version"], format!("propensity@{}", version + 1));
        assert_eq!((&answer["kind"], &answer["target"]), (&json!(kind), &json!("bought")));
        let expected = told(&shop, &score);
        // A row by itself, as beside others.
        for row in [0, 17, 399] {
            let answer = server.post("/v1/propensity", &json!({ "rows": [rows["rows"][row]] }));
            assert_eq!(answered(&answer), expected[row..=row], "{kind}");
        }
        assert_eq!((expected.len(), answered(&answer)), (400, expected), "{kind}");
    }
    assert_eq!(server.post("/v1/propensity", &json!({"rows": []}))["rows"], json!([]));

    let refuses = |server: &Server, row: Value, parts: &[&str]| {
        let good = json!({"views": 1, "source": "mail", "browser": 2});
        let body = json!({ "rows": [good, row] });
        server.refuses(("POST", "/v1/propensity", Some(&body)), (422, "invalid_argument"), parts);
    };
    refuses(
        &server,
        json!({"source": "mail", "browser": 2}),
        &["rows[1] has no column", "views", "send null", "views, source, browser"],
    );
    refuses(
        &server,
        json!({"views": "many", "source": "mail", "browser": 2}),
        &["rows[1].views is a text", "holds numbers"],
    );
    refuses(
        &server,
        json!({"views": 1, "source": false, "browser": 2}),
        &["rows[1].source is a truth value", "holds texts"],
    );
    refuses(&server, json!({"views": [1], "source": "mail", "browser": 2}), &["rows[1].views is a list"]);
    refuses(&server, json!(7), &["invalid type"]);
    let many = json!({ "rows": vec![json!({}); 5_001] });
    let most = ["5001 records in one request", "serve.max_events"];
    server.refuses(("POST", "/v1/propensity", Some(&many)), (413, "too_large"), &most);
    let unknown = json!({"rows": [], "model": "x"});
    server.refuses(("POST", "/v1/propensity", Some(&unknown)), (422, "invalid_argument"), &["unknown field"]);
    let other = ["foretells", "bought", "not what a shopper will do", "POST /v1/propensity"];
    server.refuses(("GET", "/v1/users/u0/propensity", None), (409, "conflict"), &other);
    let description = server.get("/openapi.json");
    for (path, method) in [("/v1/users/{user_id}/propensity", "get"), ("/v1/propensity", "post")] {
        assert_eq!(description["paths"][path][method]["security"], json!([{"key": []}]), "{path}");
    }
    server.key = None;
    for (method, path) in [("GET", "/v1/users/u0/propensity"), ("POST", "/v1/propensity")] {
        server.refuses((method, path, Some(&rows)), (401, "unauthenticated"), &["asks for a key"]);
    }
}

#[test]
fn a_model_that_reads_texts_needs_its_text_model() {
    let shop = Shop::bare();
    let (csv, model) = (searches(), text_model());
    fs::write(shop.dir().join("searches.csv"), &csv).unwrap();
    let fit =
        ["propensity", "fit", "searches.csv", "--target", "bought", "--dir", ".", "--leave-out", "code"];
    let read = ["--text", "query", "--text-model", &model];
    shop.succeed(&[&fit[..], &read[..], &["--trees", "20", "--past-gate"]].concat());
    let rows = json!({ "rows": rows_of(&csv, &["query"]) });
    let asked = ("POST", "/v1/propensity", Some(&rows));
    let server = Server::start(&shop, &[], None);
    let missing =
        ["propensity@1 reads the texts of query", "no text model is configured", "serve.text_model"];
    server.refuses(asked, (409, "conflict"), &missing);
    drop(server);
    let server = Server::start(&shop, &[("QHATU__SERVE__TEXT_MODEL", "nowhere")], None);
    server.refuses(asked, (409, "conflict"), &["the configured text model cannot be read"]);
    drop(server);
    let server = Server::start(&shop, &[("QHATU__SERVE__TEXT_MODEL", &model)], None);
    let expected = told(&shop, &["searches.csv", "--dir", ".", "--text-model", &model]);
    let one = json!({ "rows": [rows["rows"][8]] });
    assert_eq!(answered(&server.post("/v1/propensity", &one)), expected[8..=8]);
    assert_eq!((expected.len(), answered(&server.post("/v1/propensity", &rows))), (400, expected));
}
