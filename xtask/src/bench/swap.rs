//! A model swap under load: `qhatu models promote` and `rollback` while 500 requests a second arrive at
//! their fixed times. No request may fail, and the slowest hundredth may not slow down by half.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::load::{self, Load, Outcome};
use super::server::Server;
use super::{Row, Spread, demo, knn};
use crate::process;

const RATE: f64 = 500.0;
/// When the champion is changed, in seconds from the start.
const SWAPS: [f64; 3] = [10.0, 20.0, 30.0];
/// The server looks every second; reading and warming the new model comes on top.
const A_SWAP_TAKES: f64 = 4.0;

pub(crate) fn run(root: &Path) -> Result<Vec<Row>, String> {
    let shop = Shop::open(root)?;
    let better = shop.lesser_is_champion()?;
    let server = Server::start(root, &shop.folder)?;
    let (outcome, versions) = swap_under_load(&shop, &server, better)?;
    if versions.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(format!("a swap did not happen: {versions:?} answered after each"));
    }
    let before = outcome.between(2.0, SWAPS[0]);
    let during: Vec<f64> = SWAPS.map(|at| outcome.between(at, at + A_SWAP_TAKES).percentile(0.99)).to_vec();
    let (before, during) = (Spread::of(&[before.percentile(0.99)]), Spread::of(&during));
    let ratio = during.median / before.median;
    let failed = Spread::of(&[outcome.failed as f64]);
    Ok(vec![
        Row {
            what: format!("failed of {:.0} requests over three swaps", RATE * outcome.seconds),
            unit: "requests".to_owned(),
            reached: Some(outcome.failed == 0),
            ours: failed,
            peer: None,
            ratio: None,
            goal: "0".to_owned(),
        },
        Row {
            what: format!("p99 in the {A_SWAP_TAKES:.0} s of a swap, {RATE:.0} requests/s, open loop"),
            unit: "ms".to_owned(),
            ours: during,
            peer: Some(("p99 in the 8 s before".to_owned(), before)),
            ratio: Some(1.0 / ratio),
            goal: "≤ 1.5 × before (ratio ≥ 0.67)".to_owned(),
            reached: Some(ratio <= 1.5),
        },
    ])
}

/// The latencies, and which version answered before, between and after the swaps.
fn swap_under_load(shop: &Shop, server: &Server, better: u64) -> Result<(Outcome, Vec<String>), String> {
    let ask = |user: &String| load::get(&format!("/v1/recommendations?user_id={user}&k=10"));
    let requests: Arc<Vec<Vec<u8>>> = Arc::new(demo::users().iter().map(ask).collect());
    let load = Load {
        address: server.address,
        requests: Arc::clone(&requests),
        rate: RATE,
        connections: 16,
        duration: Duration::from_secs(38),
    };
    std::thread::scope(|scope| {
        let start = Instant::now();
        let asked = scope.spawn(|| load::run(&load));
        let mut versions = vec![version(server)?];
        for (at, promote) in SWAPS.into_iter().zip([true, false, true]) {
            std::thread::sleep(Duration::from_secs_f64(at).saturating_sub(start.elapsed()));
            if promote {
                shop.promote(better)?
            } else {
                shop.rollback()?
            }
            std::thread::sleep(Duration::from_secs_f64(A_SWAP_TAKES + 1.0));
            versions.push(version(server)?);
        }
        Ok((asked.join().unwrap_or_default(), versions))
    })
}

/// The version that answers, as the server says it of itself.
fn version(server: &Server) -> Result<String, String> {
    let (_, body) = server.ask(&load::get("/readyz")).ok_or("the server does not answer")?;
    let answer: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    Ok(answer["model_version"].as_str().unwrap_or_default().to_owned())
}

/// A demo project with a session model (version 1) and two blends of different seeds.
struct Shop<'a> {
    root: &'a Path,
    folder: PathBuf,
}

impl<'a> Shop<'a> {
    fn open(root: &'a Path) -> Result<Self, String> {
        let folder = knn::project(root, "swap", r#""recent_popularity", "vmis_knn""#)?;
        let shop = Self { root, folder };
        for seed in shop.blends()?.len()..2 {
            shop.qhatu(&["train", "--models", "recent_popularity,blend", "--seed", &(seed + 1).to_string()])?;
        }
        Ok(shop)
    }

    fn qhatu(&self, words: &[&str]) -> Result<String, String> {
        let dir = self.folder.to_string_lossy();
        let args: Vec<&str> = words.iter().copied().chain(["--dir", &dir]).collect();
        process::read(self.root, &super::binary(self.root).to_string_lossy(), &args)
    }

    fn promote(&self, version: u64) -> Result<(), String> {
        self.qhatu(&["models", "promote", &version.to_string()]).map(drop)
    }

    fn rollback(&self) -> Result<(), String> {
        self.qhatu(&["models", "rollback"]).map(drop)
    }

    /// Number and figure of each blend, the lower figure first.
    fn blends(&self) -> Result<Vec<(u64, f64)>, String> {
        let listed = self.qhatu(&["models", "list"])?;
        let blend = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let figure = words.get(3)?.parse().ok()?;
            (*words.get(1)? == "blend").then_some((words[0].parse().ok()?, figure))
        };
        let mut blends: Vec<(u64, f64)> = listed.lines().filter_map(blend).collect();
        blends.sort_by(|a, b| a.1.total_cmp(&b.1));
        Ok(blends)
    }

    fn champion(&self) -> Result<String, String> {
        let listed = self.qhatu(&["models", "list"])?;
        let line = listed.lines().find(|line| line.contains("champion")).ok_or("nobody is champion")?;
        Ok(line.split_whitespace().next().unwrap_or_default().to_owned())
    }

    /// Makes the blend of the lower figure champion; the number of the other one, which beats it.
    fn lesser_is_champion(&self) -> Result<u64, String> {
        let blends = self.blends()?;
        let [(lesser, ..), .., (better, ..)] = blends.as_slice() else {
            return Err("the project has fewer than two blends".to_owned());
        };
        while self.champion()? != "1" {
            self.rollback()?;
        }
        self.promote(*lesser)?;
        Ok(*better)
    }
}
