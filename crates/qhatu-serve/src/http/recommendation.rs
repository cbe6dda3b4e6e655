//! Lists: recommendations, similar items, what is bought together, what sells, and answers of before.

use std::str::FromStr;
use std::sync::Arc;

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use qhatu_schema::{ErrorKind, IdError, ItemId, SessionId, UserId};
use serde_json::Value;

use super::App;
use super::extract::{Json, Path, Query};
use super::fault::{Fault, Faults};
use crate::config::Source;
use crate::engine::{Answer, Request};

const NAMES: [&str; 15] = [
    "user_id",
    "session_id",
    "ubigeo",
    "placement",
    "k",
    "item_id",
    "cart",
    "exclude",
    "category",
    "price_min",
    "price_max",
    "in_stock",
    "exclude_bought",
    "diversity",
    "model",
];

/// Recommend for a shopper or a visit
///
/// `cart` and `exclude` may come more than once. The answer is kept under its `recommendation_id`.
#[utoipa::path(
    get, path = "/v1/recommendations", tag = "Recommendations", operation_id = "recommend",
    params(
        ("user_id" = Option<String>, Query, description = "The shopper", min_length = 1),
        ("session_id" = Option<String>, Query, description = "The visit, alone or beside user_id", min_length = 1),
        ("ubigeo" = Option<String>, Query, description = "Where a visitor is, six digits; over the shopper's record", pattern = "^(0[1-9]|1[0-9]|2[0-5])[0-9]{4}$"),
        ("placement" = Option<String>, Query, description = "`home`, `discover`, `product`, `cart`, `buy_again`, `email`, `popular` or one of the configuration", example = "home"),
        ("k" = Option<u32>, Query, description = "How many items", minimum = 1),
        ("item_id" = Option<String>, Query, description = "The item whose page it is", min_length = 1),
        ("cart" = Option<Vec<String>>, Query, description = "What lies in the cart; repeat it"),
        ("exclude" = Option<Vec<String>>, Query, description = "What must not come; repeat it"),
        ("category" = Option<String>, Query, description = "Only this category and those below it"),
        ("price_min" = Option<f64>, Query, description = "Lowest price", minimum = 0),
        ("price_max" = Option<f64>, Query, description = "Highest price", minimum = 0),
        ("in_stock" = Option<bool>, Query, description = "Leave out what has no stock"),
        ("exclude_bought" = Option<bool>, Query, description = "Leave out what the shopper bought before"),
        ("diversity" = Option<f32>, Query, description = "How much items that look alike are kept apart", minimum = 0, maximum = 1),
        ("model" = Option<String>, Query, description = "An alias, a live version or `popularity`"),
    ),
    responses((status = 200, description = "The list", body = Answer), Faults)
)]
pub(crate) async fn recommend(State(app): State<Arc<App>>, query: Query) -> Result<Response, Fault> {
    let request = request_of(&query, &NAMES)?;
    answer(&app, request, None).await
}

/// Recommend, asked with a body
///
/// The same as the GET, for carts and exclusions that do not fit into an address.
#[utoipa::path(
    post, path = "/v1/recommendations", tag = "Recommendations", operation_id = "recommend_by_body",
    request_body = Request,
    responses((status = 200, description = "The list", body = Answer), Faults)
)]
pub(crate) async fn recommend_by_body(
    State(app): State<Arc<App>>,
    Json(request): Json<Request>,
) -> Result<Response, Fault> {
    answer(&app, request, None).await
}

/// Fetch a served list again
///
/// Exactly as it was answered: items, reasons, model version, what was asked and what was known.
#[utoipa::path(
    get, path = "/v1/recommendations/{recommendation_id}", tag = "Recommendations",
    params(("recommendation_id" = String, Path, description = "From the answer")),
    responses((status = 200, description = "The list as it was answered", body = Answer), Faults)
)]
pub(crate) async fn served(State(app): State<Arc<App>>, Path(id): Path) -> Result<JsonAnswer<Value>, Fault> {
    let engine = Arc::clone(&app.engine);
    Ok(JsonAnswer(app.storage.run(move || engine.answer(&id)).await??))
}

/// What is like an item
#[utoipa::path(
    get, path = "/v1/items/{item_id}/similar", tag = "Recommendations",
    params(
        ("item_id" = String, Path, description = "The item"),
        ("k" = Option<u32>, Query, description = "How many items", minimum = 1),
        ("category" = Option<String>, Query, description = "Only this category and those below it"),
        ("model" = Option<String>, Query, description = "An alias, a live version or `popularity`"),
    ),
    responses((status = 200, description = "The list", body = Answer), Faults)
)]
pub(crate) async fn similar(
    State(app): State<Arc<App>>,
    Path(id): Path,
    query: Query,
) -> Result<Response, Fault> {
    of_item(&app, &id, &query, ("product", Source::Similar)).await
}

/// What is bought together with an item
#[utoipa::path(
    get, path = "/v1/items/{item_id}/bought_together", tag = "Recommendations",
    params(
        ("item_id" = String, Path, description = "The item"),
        ("k" = Option<u32>, Query, description = "How many items", minimum = 1),
        ("category" = Option<String>, Query, description = "Only this category and those below it"),
        ("model" = Option<String>, Query, description = "An alias, a live version or `popularity`"),
    ),
    responses((status = 200, description = "The list", body = Answer), Faults)
)]
pub(crate) async fn bought_together(
    State(app): State<Arc<App>>,
    Path(id): Path,
    query: Query,
) -> Result<Response, Fault> {
    of_item(&app, &id, &query, ("cart", Source::BoughtTogether)).await
}

/// What sells now
#[utoipa::path(
    get, path = "/v1/popular", tag = "Recommendations",
    params(
        ("k" = Option<u32>, Query, description = "How many items", minimum = 1),
        ("category" = Option<String>, Query, description = "Only this category and those below it"),
    ),
    responses((status = 200, description = "The list", body = Answer), Faults)
)]
pub(crate) async fn popular(State(app): State<Arc<App>>, query: Query) -> Result<Response, Fault> {
    let mut request = request_of(&query, &["k", "category"])?;
    request.placement = Some("popular".to_owned());
    answer(&app, request, Some(Source::Popular)).await
}

async fn of_item(
    app: &Arc<App>,
    id: &str,
    query: &Query,
    (placement, source): (&str, Source),
) -> Result<Response, Fault> {
    let mut request = request_of(query, &["k", "category", "model"])?;
    request.item_id = Some(id_of::<ItemId>(id)?);
    request.placement = Some(placement.to_owned());
    answer(app, request, Some(source)).await
}

async fn answer(app: &Arc<App>, request: Request, source: Option<Source>) -> Result<Response, Fault> {
    let engine = Arc::clone(&app.engine);
    let made = app.score.run(move || {
        let answer = engine.recommend(request, source)?;
        let body =
            serde_json::to_vec(&*answer).expect("texts, numbers and lists with text keys are always JSON");
        Ok::<_, crate::ServeError>((answer, body))
    });
    let (answer, body) = made.await??;
    app.metrics.served(&answer);
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn request_of(query: &Query, names: &[&str]) -> Result<Request, Fault> {
    query.only(names)?;
    let all = |name: &str| {
        let values = query.0.iter().filter(move |(known, _)| known == name);
        values.map(|(_, text)| id_of::<ItemId>(text)).collect::<Result<Vec<_>, _>>()
    };
    let one = |name: &str| query.take::<Text>(name).map(|text| text.map(|text| text.0));
    let mut request = Request {
        placement: one("placement")?,
        k: query.take("k")?,
        cart: all("cart")?,
        exclude: all("exclude")?,
        exclude_bought: query.take("exclude_bought")?,
        diversity: query.take("diversity")?,
        model: one("model")?,
        ubigeo: one("ubigeo")?,
        user_id: one("user_id")?.map(|id| id_of::<UserId>(&id)).transpose()?,
        session_id: one("session_id")?.map(|id| id_of::<SessionId>(&id)).transpose()?,
        item_id: one("item_id")?.map(|id| id_of::<ItemId>(&id)).transpose()?,
        ..Request::default()
    };
    request.filter.category = one("category")?;
    request.filter.price_min = query.take("price_min")?;
    request.filter.price_max = query.take("price_max")?;
    request.filter.in_stock = query.take("in_stock")?;
    Ok(request)
}

/// Any text, so that texts are taken like numbers.
struct Text(String);

impl FromStr for Text {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// Reads an id; the fault says which.
pub(crate) fn id_of<T: TryFrom<String, Error = IdError>>(text: &str) -> Result<T, Fault> {
    T::try_from(text.to_owned()).map_err(|error| Fault::new(ErrorKind::InvalidArgument, error.to_string()))
}
