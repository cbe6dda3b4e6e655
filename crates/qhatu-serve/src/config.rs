//! How the server behaves: section `[serve]` of the configuration tree. Unknown keys are refused,
//! defaults stand here, and [`ServeConfig::faults`] lists everything that does not fit at once.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};
use subtle::ConstantTimeEq;

/// A secret that prints as `***` wherever it is printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether `presented` is this secret, in time that depends on the lengths alone.
    pub fn matches(&self, presented: &str) -> bool {
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

/// What "now" is for ages and windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// This machine's clock: for a shop that is open.
    #[default]
    System,
    /// The time of the latest event: for data of the past, such as the demo's.
    LastEvent,
}

/// Where a placement's list comes from before filters, exclusions and the fallback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The live model over the shopper's history (and the cart or item at hand).
    #[default]
    Model,
    /// What is like the item at hand.
    Similar,
    /// What other orders held beside the items at hand.
    BoughtTogether,
    /// What the shopper bought before, likeliest first.
    BuyAgain,
    /// What sells now.
    Popular,
}

/// The rules of one placement: a spot of the shop where a list is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Placement {
    /// Where the list comes from.
    pub source: Source,
    /// Whether what the shopper has bought before is left out.
    pub exclude_bought: bool,
    /// How many items where the request does not say.
    pub k: usize,
    /// Whether items without stock are left out.
    pub in_stock_only: bool,
    /// How much a list avoids items that look alike (category, words of the title), from 0 (best first, whatever they
    /// are) to 1: maximal marginal relevance with λ = 1 − diversity.
    pub diversity: f32,
}

impl Default for Placement {
    fn default() -> Self {
        Self { source: Source::Model, exclude_bought: false, k: 10, in_stock_only: true, diversity: 0.0 }
    }
}

/// Section `[serve]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServeConfig {
    /// Address to listen on. Without a key only a loopback address is taken.
    pub address: IpAddr,
    /// Port to listen on; 0 lets the system choose.
    pub port: u16,
    /// Keys that callers show as `Authorization: Bearer KEY`. Empty: loopback only.
    pub keys: Vec<Secret>,
    /// A file with one key a line, read once at start, beside `keys`.
    pub key_file: Option<PathBuf>,
    /// Largest body of a request, in bytes.
    pub max_body_bytes: usize,
    /// Most events in one request.
    pub max_events: usize,
    /// Most items in one list.
    pub max_k: usize,
    /// Connections that may be open at once; more hear `unavailable`.
    pub max_connections: usize,
    /// How long a client may take to send a request's headers, and a connection may stay idle.
    pub header_timeout_seconds: u64,
    /// A request that takes longer is answered with `unavailable`.
    pub request_timeout_seconds: u64,
    /// How long requests in progress are waited for when the server stops.
    pub drain_timeout_seconds: u64,
    /// Threads that score; 0 takes one per core.
    pub score_threads: usize,
    /// Requests that may wait for a scoring thread; more hear `unavailable` at once.
    pub score_queue: usize,
    /// Registry aliases kept live. The first answers; the others can be asked for by name.
    pub aliases: Vec<String>,
    /// Seconds between looks at the registry; 0 looks only when told to (`POST /v1/models/reload`).
    pub reload_seconds: u64,
    /// The folder of the text model by which a propensity model reads texts, relative to the project.
    pub text_model: Option<PathBuf>,
    /// Days for which served answers can be fetched again; 0 keeps them for good.
    pub keep_answers_days: u32,
    /// What "now" is.
    pub clock: Clock,
    /// Half-life of an event's weight in "what sells now", in days.
    pub popularity_half_life_days: f64,
    /// The placements by name, beside the built-in ones, which an entry of the same name replaces.
    pub placements: BTreeMap<String, Placement>,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8686,
            keys: Vec::new(),
            key_file: None,
            max_body_bytes: 4 * 1024 * 1024,
            max_events: 5_000,
            max_k: 500,
            max_connections: 4_096,
            header_timeout_seconds: 30,
            request_timeout_seconds: 10,
            drain_timeout_seconds: 20,
            score_threads: 0,
            score_queue: 512,
            aliases: vec!["champion".to_owned(), "challenger".to_owned()],
            reload_seconds: 1,
            text_model: None,
            keep_answers_days: 90,
            clock: Clock::System,
            popularity_half_life_days: 7.0,
            placements: BTreeMap::new(),
        }
    }
}

impl ServeConfig {
    /// Where to listen.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    /// Everything that does not fit, one sentence each.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut need = |holds: bool, fault: &str| {
            if !holds {
                faults.push(fault.to_owned());
            }
        };
        need(self.max_body_bytes >= 1_024, "serve.max_body_bytes is below 1024: no event would fit");
        need(self.max_events > 0, "serve.max_events is 0: at least 1");
        need(self.max_k > 0, "serve.max_k is 0: at least 1");
        need(self.score_queue > 0, "serve.score_queue is 0: at least 1");
        need(self.max_connections > 0, "serve.max_connections is 0: at least 1");
        need(self.header_timeout_seconds > 0, "serve.header_timeout_seconds is 0: at least 1");
        need(self.request_timeout_seconds > 0, "serve.request_timeout_seconds is 0: at least 1");
        let half_life = self.popularity_half_life_days;
        need(
            half_life.is_finite() && half_life >= 0.1,
            "serve.popularity_half_life_days is not a number of at least 0.1",
        );
        need(!self.aliases.is_empty(), "serve.aliases is empty: name at least champion");
        need(
            self.keys.iter().all(|key| key.len() >= 16),
            "serve.keys has a key of fewer than 16 characters: make one with `openssl rand -hex 16`",
        );
        for (name, placement) in &self.placements {
            if placement.k == 0 || placement.k > self.max_k {
                faults.push(format!(
                    "serve.placements.{name}.k is {}: 1 to {} (serve.max_k)",
                    placement.k, self.max_k
                ));
            }
            if !(0.0..=1.0).contains(&placement.diversity) {
                faults.push(format!(
                    "serve.placements.{name}.diversity is {}: 0 (best first) to 1",
                    placement.diversity
                ));
            }
        }
        faults
    }

    /// All placements: the built-in ones with the configured ones over them.
    pub fn all_placements(&self) -> BTreeMap<String, Placement> {
        let mut all: BTreeMap<String, Placement> =
            built_in().into_iter().map(|(name, placement)| (name.to_owned(), placement)).collect();
        all.extend(self.placements.clone());
        all
    }
}

fn built_in() -> [(&'static str, Placement); 7] {
    let of = |source, exclude_bought| Placement { source, exclude_bought, ..Placement::default() };
    [
        ("home", of(Source::Model, false)),
        ("discover", of(Source::Model, true)),
        ("product", of(Source::Similar, false)),
        ("cart", of(Source::BoughtTogether, false)),
        ("buy_again", of(Source::BuyAgain, false)),
        ("email", of(Source::Model, true)),
        ("popular", of(Source::Popular, false)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints() {
        let config = ServeConfig { keys: vec![Secret::new("0123456789abcdef")], ..ServeConfig::default() };
        assert!(!format!("{config:?}").contains("0123456789abcdef"));
        assert!(!serde_json::to_string(&config).unwrap().contains("0123456789abcdef"));
        assert!(config.keys[0].matches("0123456789abcdef"));
        assert!(!config.keys[0].matches("0123456789abcdeg") && !config.keys[0].matches(""));
    }

    #[test]
    fn unknown_keys_are_refused_and_all_faults_are_listed() {
        assert!(serde_json::from_str::<ServeConfig>(r#"{"prot": 1}"#).is_err());
        let config: ServeConfig = serde_json::from_str(
            r#"{"max_k": 0, "keys": ["short"], "placements": {"home": {"k": 0, "diversity": 2}}}"#,
        )
        .unwrap();
        assert_eq!(config.faults().len(), 4, "{:?}", config.faults());
        assert_eq!(ServeConfig::default().faults(), Vec::<String>::new());
    }

    #[test]
    fn a_configured_placement_replaces_the_built_in_one() {
        let config: ServeConfig =
            serde_json::from_str(r#"{"placements": {"home": {"exclude_bought": true, "k": 4}}}"#).unwrap();
        let all = config.all_placements();
        assert!(all["home"].exclude_bought && all["home"].k == 4);
        assert_eq!(all["buy_again"].source, Source::BuyAgain);
    }
}
