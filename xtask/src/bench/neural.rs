//! A neural sequence model over 100,000 items behind HTTP: how long a list takes at a fixed rate while events arrive.
//!
//! The shop is made up, by a fixed seed: 200 departments of 500 items each. A shopper likes three of them, buys in nine
//! orders over four months, and within a department what sells much more often than what sells little; besides,
//! everybody buys some items that nobody else needs to, so that every item is in the data. The model is `sasrec` with
//! the template's settings, full softmax, buying again and trend, trained for one epoch by `qhatu train`: what it costs
//! to answer does not depend on how good it is.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::http::{self, ROUNDS};
use super::server::Server;
use super::{Row, Spread, load};
use crate::process;

const ITEMS: u64 = 100_000;
const SHOPPERS: u64 = 4_000;
const DEPARTMENT: u64 = 500;
const ORDERS: u64 = 9;
const LINES: u64 = 4;

const CONFIG: &str = r#"[train]
models = ["recent_popularity", "sasrec"]
bootstrap_samples = 100
refit = false

[train.sasrec]
epochs = 1
refit = false

[serve]
clock = "last_event"
"#;

pub(crate) fn run(root: &Path) -> Result<Vec<Row>, String> {
    let folder = project(root)?;
    let mut rows = Vec::new();
    let server = started(root, &folder, &mut rows)?;
    let ask = |shopper: u64| load::get(&format!("/v1/recommendations?user_id=s{}&k=10", shopper % SHOPPERS));
    let requests: Arc<Vec<Vec<u8>>> = Arc::new((0..SHOPPERS).map(|place| ask(place * 7)).collect());
    let (_, body) = server.ask(&requests[0]).ok_or("the server does not answer")?;
    if !String::from_utf8_lossy(&body).contains(r#""source":"model""#) {
        return Err("the lists do not come from the model".to_owned());
    }
    let answering = format!("sasrec over {ITEMS} items: ");
    let events = |round: usize, rate: f64| events(round as u64 + 10 * rate as u64);
    rows.extend(http::at_rates(&server, &requests, &answering, &events)?);
    Ok(rows)
}

/// A server, and how long it took until it was ready and until its first list after that, each time anew.
fn started(root: &Path, folder: &Path, rows: &mut Vec<Row>) -> Result<Server, String> {
    let (mut ready, mut first) = (Vec::new(), Vec::new());
    let first_list = load::get("/v1/recommendations?user_id=s1&k=10");
    let mut running: Option<Server> = None;
    for _ in 0..ROUNDS {
        if let Some(server) = running.take() {
            server.stop()?;
        }
        let start = Instant::now();
        let server = Server::start(root, folder)?;
        ready.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        server.ask(&first_list).ok_or("the server does not answer")?;
        first.push(start.elapsed().as_secs_f64() * 1e3);
        running = Some(server);
    }
    for (what, unit, values) in
        [("start until ready, model and log read", "s", ready), ("first list after that", "ms", first)]
    {
        rows.push(Row {
            what: format!("sasrec over {ITEMS} items: {what}"),
            unit: unit.to_owned(),
            ours: Spread::of(&values),
            peer: None,
            ratio: None,
            goal: "reported".to_owned(),
            reached: None,
        });
    }
    running.ok_or_else(|| "no round was run".to_owned())
}

/// The shop with its champion, made where there is none yet of this very program.
fn project(root: &Path) -> Result<PathBuf, String> {
    let folder = root.join("target/bench/neural");
    let (maker, commit) = (folder.join("made_by"), super::commit(root)?);
    let is_of_this = std::fs::read_to_string(&maker).is_ok_and(|made_by| made_by == commit);
    if is_of_this && !commit.ends_with("-dirty") {
        return Ok(folder);
    }
    let said = |error: std::io::Error| format!("{}: {error}", folder.display());
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).map_err(said)?;
    std::fs::write(folder.join("qhatu.toml"), CONFIG).map_err(said)?;
    let file = folder.join("events.jsonl");
    std::fs::write(&file, purchases()).map_err(said)?;
    let (qhatu, dir) = (super::binary(root).to_string_lossy().into_owned(), folder.to_string_lossy());
    process::read(root, &qhatu, &["ingest", "--dir", &dir, &file.to_string_lossy()])?;
    process::read(root, &qhatu, &["train", "--dir", &dir])?;
    std::fs::write(&maker, commit).map_err(said)?;
    Ok(folder)
}

/// A number that a place in the made-up shop always has (splitmix64).
fn number(place: u64) -> u64 {
    let mut x = place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// An item that a shopper may like: from one of three departments, low numbers more often.
fn liked(shopper: u64, draw: u64) -> u64 {
    let department = number(shopper * 3 + number(draw) % 3) % (ITEMS / DEPARTMENT);
    let share = (number(draw + 1) % 1_000_000) as f64 / 1e6;
    department * DEPARTMENT + (share * share * share * DEPARTMENT as f64) as u64
}

fn purchases() -> String {
    let mut text = String::new();
    for shopper in 0..SHOPPERS {
        let own = ITEMS / SHOPPERS;
        for order in 0..ORDERS {
            let day = order * 13 + number(shopper * 31 + order) % 13;
            let liked =
                (0..LINES).map(|line| liked(shopper, 2 * ((shopper * ORDERS + order) * LINES + line)));
            let own = (0..own).filter(|line| line % ORDERS == order).map(|line| shopper * own + line);
            for (line, item) in liked.chain(own).enumerate() {
                // Writing to a String cannot fail.
                let _ = writeln!(
                    text,
                    r#"{{"event_id":"{shopper}-{order}-{line}","time":"{}","kind":"purchase","user_id":"s{shopper}","item_id":"i{item}","order_id":"{shopper}-{order}","quantity":1}}"#,
                    time(day)
                );
            }
        }
    }
    text
}

/// A day of the 120 before 2026, at noon.
fn time(day: u64) -> String {
    let months = [(9, 30), (10, 31), (11, 30), (12, 31)];
    let mut left = day;
    for (month, days) in months {
        if left < days {
            return format!("2025-{month:02}-{:02}T12:00:00Z", left + 1);
        }
        left -= days;
    }
    "2025-12-31T12:00:00Z".to_owned()
}

/// Views by the shop's shoppers of what they like, an event each.
fn events(round: u64) -> Vec<Vec<u8>> {
    let run = http::run_number();
    let event = |place: u64| {
        let shopper = number(place + round) % SHOPPERS;
        load::post(
            "/v1/events",
            &format!(
                r#"{{"event_id":"view-{run}-{round}-{place}","time":"2026-01-01T12:00:00Z","kind":"view","user_id":"s{shopper}","item_id":"i{}"}}"#,
                liked(shopper, 7 * place + round)
            ),
        )
    };
    (0..300).map(event).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_bought_and_every_line_is_an_event() {
        let text = purchases();
        let items: std::collections::HashSet<&str> =
            text.lines().filter_map(|line| line.split_once(r#""item_id":""#)?.1.split('"').next()).collect();
        assert_eq!(items.len() as u64, ITEMS);
        assert_eq!(text.lines().count() as u64, SHOPPERS * (ORDERS * LINES + ITEMS / SHOPPERS));
        assert_eq!(
            [time(0), time(30), time(116)].map(|time| time[5..10].to_owned()),
            ["09-01", "10-01", "12-26"]
        );
    }
}
