//! One list: retrieve → filter → rank → fill → say why.
//!
//! Candidates come from the placement's source (the live model, similar items, orders, the shopper's
//! own purchases, popularity), pass one sieve (offered, stock, category, price, exclusions), and what
//! is missing to `k` is filled from the item's category, then from what sells now, then from the shelf:
//! the list is empty only when nothing of the catalogue passes what the caller asked for.

use std::sync::Arc;

use qhatu_models::mmr::mmr;
use qhatu_models::{Act, Evidence, FoldNow, History, Reason, Scored, Told};
use qhatu_schema::{Department, EventKind, ItemId, ItemIdx, Money, SessionId, Timestamp, UserId};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};
use ulid::Ulid;
use utoipa::ToSchema;

use super::diversity::Look;
use super::fold::LiveFold;
use super::live_model::LiveModel;
use super::order::Together;
use super::reason::{On, ReasonView, Why};
use super::shelf::{ItemNo, Shelf};
use super::shopper::{Bought, Move, Shopper};
use super::{Engine, Live};
use crate::config::{Placement, Source};
use crate::error::ServeError;

/// The name under which the built-in popularity answers where no model does.
pub const FALLBACK: &str = "popularity@live";
/// Candidates for each place of a list that is spread.
const POOL: usize = 5;
const HALF_LIFE_BUY_AGAIN_MS: f64 = 120.0 * 86_400_000.0;

/// What a list must keep to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Only this category and those below it (`Hogar` holds `Hogar > Cocina`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Lowest price, in units of currency. Items without a price do not pass a price filter.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub price_min: Option<f64>,
    /// Highest price, in units of currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    pub price_max: Option<f64>,
    /// Whether items without stock are left out; the placement decides where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_stock: Option<bool>,
}

/// A request for a list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// The shopper, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, min_length = 1, example = "17850")]
    pub user_id: Option<UserId>,
    /// The visit; alone for an anonymous shopper, or beside `user_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, min_length = 1)]
    pub session_id: Option<SessionId>,
    /// Six digits of INEI's ubigeo: where a visitor is, or another place than the shopper's record says. Models that know
    /// what sells in a department go by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(0[1-9]|1[0-9]|2[0-5])[0-9]{4}$", example = "080101")]
    pub ubigeo: Option<String>,
    /// Where the list is shown: `home` where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "home")]
    pub placement: Option<String>,
    /// How many items; the placement decides where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub k: Option<usize>,
    /// The item whose page the list stands on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, min_length = 1)]
    pub item_id: Option<ItemId>,
    /// What lies in the cart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub cart: Vec<ItemId>,
    /// What must not be in the list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub exclude: Vec<ItemId>,
    /// What the list must keep to.
    #[serde(skip_serializing_if = "is_default")]
    pub filter: Filter,
    /// Whether what the shopper bought before is left out; the placement decides where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude_bought: Option<bool>,
    /// How much items that look alike are kept apart, from 0 (best first) to 1; the placement decides where nothing
    /// is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub diversity: Option<f32>,
    /// Which model: an alias (`champion`, `challenger`), a live version (`name@3`) or `popularity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

fn is_default(filter: &Filter) -> bool {
    *filter == Filter::default()
}

/// A price as answered.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Price {
    /// In units of currency.
    pub amount: f64,
    /// ISO 4217.
    #[schema(example = "PEN")]
    pub currency: String,
    /// As it is written in Peru.
    #[schema(example = "S/ 1,234.50")]
    pub text: String,
}

impl From<Money> for Price {
    fn from(money: Money) -> Self {
        Self { amount: money.units(), currency: money.currency.to_string(), text: money.to_string() }
    }
}

/// One item of a list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AnswerItem {
    /// The item.
    #[schema(value_type = String)]
    pub item_id: ItemId,
    /// Its name, empty where the catalogue has none.
    pub title: String,
    /// What it costs now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// Higher is better; comparable only within one list and one source.
    pub score: f64,
    /// What put it here: `model`, `similar`, `bought_together`, `buy_again`, `popular`, `category`, `shelf`.
    #[schema(example = "model")]
    pub source: &'static str,
    /// Why.
    pub reason: ReasonView,
}

/// What was known when the list was made.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Inputs {
    /// Actions of this shopper or visit that were known.
    pub moves: usize,
    /// Those that the model was told of.
    pub evidence: usize,
    /// The latest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_event_id: Option<String>,
    /// Its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_event_time: Option<Timestamp>,
    /// What "now" was for the model.
    #[schema(value_type = String, format = DateTime)]
    pub now: Timestamp,
}

/// A list as answered, and as stored under its id.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Answer {
    /// Fetch the list again by it, and send it with clicks and purchases that came of it.
    #[schema(example = "01JDFQ4T3N8Z5V0W6X9Y2A7B1C")]
    pub recommendation_id: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// Where it is shown.
    pub placement: String,
    /// The version that made it, as `name@number`; `popularity@live` where no item came from a model.
    #[schema(example = "recommender@3")]
    pub model_version: String,
    /// Best first.
    pub items: Vec<AnswerItem>,
    /// What was asked.
    pub request: Request,
    /// What was known.
    pub inputs: Inputs,
}

/// A candidate with its place of origin.
struct Candidate {
    number: ItemNo,
    score: f32,
    source: &'static str,
    why: Why,
}

/// Everything a source needs, gathered before any scoring so that no lock is held meanwhile; a model that is told of the
/// shop's features reads them under a lock of theirs, for as long as that takes.
struct Context<'a> {
    live: &'a Live,
    shelf: Arc<Shelf>,
    shopper: &'a Shopper,
    bought: FxHashMap<ItemNo, Bought>,
    evidence: Vec<&'a Move>,
    at_hand: Vec<ItemNo>,
    /// How many of these the page shows; the others lie in the cart.
    on_page: usize,
    department: Option<Department>,
    user: Option<UserId>,
    session: Option<SessionId>,
    now: i64,
    k: usize,
    /// From 0 to 1.
    diversity: f32,
    model: Option<Arc<LiveModel>>,
}

impl Context<'_> {
    /// Candidates that a source gives: more than are shown where some are left out for being alike.
    fn pool(&self) -> usize {
        if self.diversity > 0.0 { self.k.saturating_mul(POOL) } else { self.k }
    }
}

/// What passes into a list.
struct Sieve {
    shelf: Arc<Shelf>,
    excluded: FxHashSet<ItemNo>,
    categories: Option<Vec<bool>>,
    price: Option<(i64, i64)>,
    in_stock: bool,
}

impl Sieve {
    fn passes(&self, number: ItemNo) -> bool {
        if self.excluded.contains(&number) || !self.shelf.offers(number) {
            return false;
        }
        if let Some(wanted) = &self.categories {
            let category = self.shelf.category_of(number);
            if category.is_none_or(|category| wanted.get(category as usize) != Some(&true)) {
                return false;
            }
        }
        let item = self.shelf.item(number);
        let priced = self.price.is_none_or(|(low, high)| {
            item.and_then(|item| item.price).is_some_and(|price| (low..=high).contains(&price.micros))
        });
        priced && (!self.in_stock || item.is_none_or(|item| item.in_stock()))
    }
}

impl Engine {
    /// Makes a list and keeps it under its id. `source` overrides the placement's.
    ///
    /// # Errors
    /// [`ServeError::Argument`] when the request makes no sense, [`ServeError::NotReady`] before the log
    /// is replayed.
    pub fn recommend(&self, request: Request, source: Option<Source>) -> Result<Arc<Answer>, ServeError> {
        self.check_ready()?;
        let name = request.placement.clone().unwrap_or_else(|| "home".to_owned());
        let placement = self.placement(&name)?;
        let k = self.wanted(&request, placement)?;
        let model = self.model_for(&request)?;
        let shopper = self.live.shopper(request.user_id.as_ref(), request.session_id.as_ref());
        let bought = shopper.bought();
        let on_page = self.live.numbers(request.item_id.iter());
        let context = Context {
            live: &self.live,
            shelf: self.live.shelf(),
            evidence: shopper.evidence(&bought),
            shopper: &shopper,
            bought,
            on_page: on_page.len(),
            at_hand: on_page.into_iter().chain(self.live.numbers(request.cart.iter())).collect(),
            department: self.department(&request)?,
            user: request.user_id.clone(),
            session: request.session_id.clone(),
            now: self.now().millis(),
            k,
            diversity: diversity(&request, placement)?,
            model,
        };
        let sieve = sieve(&context, &request, placement)?;
        let candidates = list(&context, sieve, source.unwrap_or(placement.source));
        let answer = Arc::new(finish(&context, candidates, name, request));
        self.answers.push(Arc::clone(&answer));
        Ok(answer)
    }

    fn placement(&self, name: &str) -> Result<&Placement, ServeError> {
        self.placements.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.placements.keys().map(String::as_str).collect();
            let name: String = name.chars().take(64).collect();
            ServeError::argument(
                format!("there is no placement {name:?}"),
                format!("one of {}", known.join(", ")),
            )
        })
    }

    fn wanted(&self, request: &Request, placement: &Placement) -> Result<usize, ServeError> {
        let (k, most) = (request.k.unwrap_or(placement.k), self.config.max_k);
        if k == 0 || k > most {
            return Err(ServeError::argument(format!("k is {k}"), format!("1 to {most}")));
        }
        Ok(k)
    }

    /// Where the shopper is: by the request, or else by their record.
    fn department(&self, request: &Request) -> Result<Option<Department>, ServeError> {
        let Some(ubigeo) = &request.ubigeo else {
            return Ok(request.user_id.as_ref().and_then(|id| self.live.department(id)));
        };
        let unknown = || {
            let ubigeo: String = ubigeo.chars().take(64).collect();
            let hint = "six digits that begin with a department, 01 to 25, such as 080101 for Cusco";
            ServeError::argument(format!("ubigeo is {ubigeo:?}"), hint)
        };
        Department::of_ubigeo(ubigeo).map(Some).ok_or_else(unknown)
    }

    fn model_for(&self, request: &Request) -> Result<Option<Arc<LiveModel>>, ServeError> {
        let Some(name) = request.model.as_deref() else { return Ok(self.models.first()) };
        if name == "popularity" || name == FALLBACK {
            return Ok(None);
        }
        let all = self.models.all();
        let found = all.iter().find_map(|(alias, model)| {
            let model = model.as_ref()?;
            (alias == name || model.version == name).then(|| Arc::clone(model))
        });
        let unknown = || {
            let mut known: Vec<String> = vec!["popularity".to_owned()];
            for (alias, model) in &all {
                known.extend(model.iter().flat_map(|model| [alias.clone(), model.version.clone()]));
            }
            let name: String = name.chars().take(64).collect();
            ServeError::argument(format!("no model {name:?} is live"), format!("one of {}", known.join(", ")))
        };
        found.map(Some).ok_or_else(unknown)
    }
}

fn diversity(request: &Request, placement: &Placement) -> Result<f32, ServeError> {
    match request.diversity.unwrap_or(placement.diversity) {
        diversity if (0.0..=1.0).contains(&diversity) => Ok(diversity),
        other => Err(ServeError::argument(format!("diversity is {other}"), "0 (best first) to 1")),
    }
}

fn sieve(context: &Context, request: &Request, placement: &Placement) -> Result<Sieve, ServeError> {
    let mut excluded: FxHashSet<ItemNo> = context.at_hand.iter().copied().collect();
    excluded.extend(context.live.numbers(request.exclude.iter()));
    if request.exclude_bought.unwrap_or(placement.exclude_bought) && placement.source != Source::BuyAgain {
        excluded.extend(context.bought.keys());
    }
    let filter = &request.filter;
    let categories = filter.category.as_deref().map(|wanted| context.shelf.categories_within(wanted));
    let price = match (filter.price_min, filter.price_max) {
        (None, None) => None,
        (low, high) => {
            Some((micros(low.unwrap_or(0.0), "price_min")?, micros(high.unwrap_or(9e12), "price_max")?))
        }
    };
    let in_stock = filter.in_stock.unwrap_or(placement.in_stock_only);
    Ok(Sieve { shelf: Arc::clone(&context.shelf), excluded, categories, price, in_stock })
}

#[expect(clippy::cast_possible_truncation, reason = "checked to lie within 64 bits")]
fn micros(units: f64, name: &str) -> Result<i64, ServeError> {
    if !(0.0..=9e12).contains(&units) {
        return Err(ServeError::argument(format!("{name} is {units}"), "a price of zero or more"));
    }
    Ok((units * 1e6).round() as i64)
}

fn list(context: &Context, mut sieve: Sieve, source: Source) -> Vec<Candidate> {
    let mut found = match source {
        Source::Model => from_model(context, &sieve),
        Source::Similar => from_similar(context, &sieve),
        Source::BoughtTogether => from_orders(context, &sieve),
        Source::BuyAgain => from_purchases(context, &sieve),
        Source::Popular => Vec::new(),
    };
    if matches!(source, Source::Similar | Source::BoughtTogether)
        && context.at_hand.is_empty()
        && found.is_empty()
    {
        found = from_model(context, &sieve);
    }
    if context.diversity > 0.0 {
        found = spread(context, found);
    }
    // "Buy again" holds what was bought; only a shopper without any purchase gets what sells.
    if source != Source::BuyAgain || found.is_empty() {
        fill(context, &sieve, &mut found);
    }
    if found.is_empty() {
        // Who has bought everything is better shown what they bought than nothing.
        let bought: FxHashSet<ItemNo> = context.bought.keys().copied().collect();
        sieve.excluded.retain(|number| !bought.contains(number));
        fill(context, &sieve, &mut found);
    }
    found.truncate(context.k);
    found
}

/// The `k` candidates to show, alike ones kept apart.
fn spread(context: &Context, found: Vec<Candidate>) -> Vec<Candidate> {
    let item = |candidate: &Candidate| context.shelf.item(candidate.number).map(|item| &**item);
    let looks: Vec<Look> = found.iter().map(|candidate| Look::new(item(candidate))).collect();
    let scores: Vec<f32> = found.iter().map(|candidate| candidate.score).collect();
    let order = mmr(&scores, context.k, context.diversity, |a, b| looks[a].similarity(&looks[b]));
    let mut found: Vec<Option<Candidate>> = found.into_iter().map(Some).collect();
    order.into_iter().filter_map(|place| found[place].take()).collect()
}

fn from_model(context: &Context, sieve: &Sieve) -> Vec<Candidate> {
    let Some(model) = &context.model else { return Vec::new() };
    let evidence = evidence(context, model);
    let placed = context.department.is_some() && model.recommender.asks_department();
    let told = model.recommender.reads_acts().then(|| told(context, model));
    if evidence.items.is_empty() && !placed && told.as_ref().is_none_or(Told::is_empty) {
        return Vec::new();
    }
    let now = context.now.max(evidence.times.last().copied().unwrap_or(context.now));
    let history = evidence.history(now).in_department(context.department);
    let (user, session) = (context.user.as_ref(), context.session.as_ref());
    let fold = LiveFold { live: context.live, model, user, session, now };
    let fold = (model.reading.width() > 0).then_some(&fold as &dyn FoldNow);
    let history = History { told: told.as_ref(), fold, ..history };
    let barred = |idx: ItemIdx| !model.number(idx).is_some_and(|number| sieve.passes(number));
    let best = model.recommender.recommend_because(&history, context.pool(), &barred);
    // A score of exactly zero says that nothing is known of the item.
    let known = |(scored, _): &(Scored, Reason)| scored.score != 0.0 && scored.score.is_finite();
    let candidate = |(scored, reason): (Scored, Reason)| {
        let number = model.number(scored.item)?;
        let why = because(context, model, reason, number);
        Some(Candidate { number, score: scored.score, source: "model", why })
    };
    best.into_iter().take_while(known).filter_map(candidate).collect()
}

/// What was bought, at the time of its order, what was shown interest in, and what is at hand.
fn evidence(context: &Context, model: &LiveModel) -> Evidence {
    let starts = context.shopper.order_starts();
    let start = |step: &Move| starts.get(&step.order()).copied().unwrap_or(step.time);
    let known = |time: i64, step: &Move| Some((model.idx(step.item)?, time));
    let (looks, bought): (Vec<&Move>, Vec<&Move>) =
        context.evidence.iter().copied().partition(|step| step.is_interest());
    let mut own = Evidence::new(
        bought.iter().filter_map(|step| known(start(step), step)),
        looks.iter().filter_map(|step| known(step.time, step)),
    );
    let at_hand = context.at_hand.iter().filter_map(|&number| model.idx(number));
    at_hand.for_each(|idx| own.push(idx, context.now, true));
    own
}

/// What a model that reads acts is told: what the shopper did, then what lies in the cart and what is looked at now, as far
/// as no event told of it.
fn told(context: &Context, model: &LiveModel) -> Told {
    let mut told = context.shopper.told(|number| model.idx(number));
    let now = context.now.max(told.times.last().copied().unwrap_or(context.now));
    let (page, cart) = context.at_hand.split_at(context.on_page);
    for item in cart.iter().filter_map(|&number| model.idx(number)) {
        if !told.in_cart(item) {
            told.push(item, now, Act::Carted);
        }
    }
    for item in page.iter().filter_map(|&number| model.idx(number)) {
        if !told.ends_with(item, Act::Viewed) {
            told.push(item, now, Act::Viewed);
        }
    }
    told
}

fn because(context: &Context, model: &LiveModel, reason: Reason, number: ItemNo) -> Why {
    let own =
        || context.bought.get(&number).map(|bought| Why::Bought { times: bought.times, last: bought.last });
    let viewed = || context.evidence.iter().any(|step| step.item == number).then_some(Why::Viewed);
    let on = |idx: ItemIdx, why: fn(On) -> Why| match model.number(idx) {
        Some(other) if other != number => why(on(context, other)),
        _ => own().or_else(viewed).unwrap_or(Why::Mixed),
    };
    match reason {
        Reason::BoughtBefore { .. } | Reason::LookedAt { .. } => own().or_else(viewed).unwrap_or(Why::Mixed),
        Reason::SimilarTo { item: other } => on(other, Why::Similar),
        Reason::OftenBoughtAfter { item: other } => on(other, Why::After),
        Reason::Sequence { item: other } => on(other, Why::Sequence),
        Reason::PopularRecently => own().unwrap_or(Why::PopularRecently),
        Reason::PopularInDepartment { department } => own().unwrap_or(Why::PopularInDepartment(department)),
        Reason::Popular => own().unwrap_or(Why::Popular),
        _ => own().unwrap_or(Why::Mixed),
    }
}

fn on(context: &Context, number: ItemNo) -> On {
    let item_id = context.live.item_id(number);
    let title = context.shelf.item(number).map(|item| item.title.clone()).unwrap_or_default();
    On { item_id, title }
}

fn from_similar(context: &Context, sieve: &Sieve) -> Vec<Candidate> {
    let (Some(model), Some(&of)) = (&context.model, anchor(context).first()) else { return Vec::new() };
    let Some(idx) = model.idx(of) else { return Vec::new() };
    let enough = context.pool() + sieve.excluded.len() + 100;
    let why = Why::Similar(on(context, of));
    let similar = model.recommender.similar_items(idx, enough).into_iter();
    let passing = similar.filter(|scored| scored.score > 0.0).filter_map(|scored| {
        let number = model.number(scored.item)?;
        let passes = number != of && sieve.passes(number);
        passes.then(|| Candidate { number, score: scored.score, source: "similar", why: why.clone() })
    });
    passing.take(context.pool()).collect()
}

/// The items a list goes by: those at hand, else the shopper's latest one.
fn anchor(context: &Context) -> Vec<ItemNo> {
    match context.at_hand.is_empty() {
        false => context.at_hand.clone(),
        true => context.evidence.last().map(|step| step.item).into_iter().collect(),
    }
}

fn from_orders(context: &Context, sieve: &Sieve) -> Vec<Candidate> {
    let mut sums: FxHashMap<ItemNo, (f32, ItemNo, Together)> = FxHashMap::default();
    for of in anchor(context) {
        for pair in context.live.together(of) {
            let entry = sums.entry(pair.item).or_insert((0.0, of, pair));
            entry.0 += pair.score;
            if pair.score > entry.2.score {
                (entry.1, entry.2) = (of, pair);
            }
        }
    }
    let mut sums: Vec<_> = sums.into_iter().filter(|(number, _)| sieve.passes(*number)).collect();
    sums.sort_unstable_by(|a, b| b.1.0.total_cmp(&a.1.0).then(a.0.cmp(&b.0)));
    sums.truncate(context.pool());
    let candidate = |(number, (score, of, pair)): (ItemNo, (f32, ItemNo, Together))| {
        let why = Why::Together { on: on(context, of), both: pair.both, of: pair.of };
        Candidate { number, score, source: "bought_together", why }
    };
    sums.into_iter().map(candidate).collect()
}

/// Each purchase weighs half after 120 days: what is bought often and lately comes first.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a weight of 24 bits is enough"
)]
fn from_purchases(context: &Context, sieve: &Sieve) -> Vec<Candidate> {
    let mut scores: FxHashMap<ItemNo, f64> = FxHashMap::default();
    let purchases = context.evidence.iter().filter(|step| context.bought.contains_key(&step.item));
    for step in purchases.filter(|step| step.kind == EventKind::Purchase) {
        let age = (context.now - step.time).max(0) as f64;
        *scores.entry(step.item).or_default() += (-age / HALF_LIFE_BUY_AGAIN_MS).exp2();
    }
    let mut found: Vec<Candidate> = scores
        .into_iter()
        .filter(|&(number, _)| sieve.passes(number))
        .filter_map(|(number, score)| {
            let bought = context.bought.get(&number)?;
            let why = Why::Bought { times: bought.times, last: bought.last };
            Some(Candidate { number, score: score as f32, source: "buy_again", why })
        })
        .collect();
    found.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.number.cmp(&b.number)));
    found
}

fn fill(context: &Context, sieve: &Sieve, found: &mut Vec<Candidate>) {
    if found.len() >= context.k {
        return;
    }
    let mut taken: FxHashSet<ItemNo> = found.iter().map(|candidate| candidate.number).collect();
    let ranked = context.live.popularity.ranked();
    if let Some((name, members)) = category_at_hand(context) {
        let why = Why::PopularInCategory(name);
        let near = ranked.iter().copied().chain(context.shelf.numbers());
        let near = near.filter(|&number| {
            context
                .shelf
                .category_of(number)
                .is_some_and(|category| members.get(category as usize) == Some(&true))
        });
        take(context.k, near, sieve, &mut taken, found, ("category", &why));
    }
    take(context.k, ranked.iter().copied(), sieve, &mut taken, found, ("popular", &Why::PopularRecently));
    take(context.k, context.shelf.numbers(), sieve, &mut taken, found, ("shelf", &Why::Catalogue));
}

/// The category of the item that the list goes by, and which categories are that one or below it.
fn category_at_hand(context: &Context) -> Option<(String, Vec<bool>)> {
    let of = *anchor(context).first()?;
    let name = context.shelf.item(of)?.category.clone()?;
    let members = context.shelf.categories_within(&name);
    Some((name, members))
}

#[expect(clippy::cast_precision_loss, reason = "a place in a list needs no more than 24 bits")]
fn take(
    k: usize,
    from: impl Iterator<Item = ItemNo>,
    sieve: &Sieve,
    taken: &mut FxHashSet<ItemNo>,
    found: &mut Vec<Candidate>,
    (source, why): (&'static str, &Why),
) {
    for number in from {
        if found.len() >= k {
            return;
        }
        if sieve.passes(number) && taken.insert(number) {
            let score = 1.0 / (found.len() + 1) as f32;
            found.push(Candidate { number, score, source, why: why.clone() });
        }
    }
}

fn finish(context: &Context, candidates: Vec<Candidate>, placement: String, request: Request) -> Answer {
    let from_model = candidates.iter().any(|candidate| matches!(candidate.source, "model" | "similar"));
    let model_version = match &context.model {
        Some(model) if from_model => model.version.clone(),
        _ => FALLBACK.to_owned(),
    };
    let last = context.shopper.moves().last();
    Answer {
        recommendation_id: Ulid::generate().to_string(),
        time: Timestamp::now(),
        placement,
        model_version,
        items: candidates.into_iter().map(|candidate| answer_item(context, &candidate)).collect(),
        request,
        inputs: Inputs {
            moves: context.shopper.moves().len(),
            evidence: context.evidence.len(),
            last_event_id: last.map(|step| step.event_id.to_string()),
            last_event_time: last.map(|step| Timestamp::from_millis(step.time)),
            now: Timestamp::from_millis(context.now),
        },
    }
}

fn answer_item(context: &Context, candidate: &Candidate) -> AnswerItem {
    let item = context.shelf.item(candidate.number);
    AnswerItem {
        item_id: item.map_or_else(|| context.live.item_id(candidate.number), |item| item.item_id.clone()),
        title: item.map(|item| item.title.clone()).unwrap_or_default(),
        price: item.and_then(|item| item.price).map(Price::from),
        // Six decimals: the same in every format that the answer passes through.
        score: (f64::from(candidate.score) * 1e6).round() / 1e6,
        source: candidate.source,
        reason: candidate.why.view(),
    }
}
