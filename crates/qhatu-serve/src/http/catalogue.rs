//! Items and shoppers: read and write, one or many.

use std::sync::Arc;

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::StatusCode;
use qhatu_features::Entity;
use qhatu_schema::{Currency, ErrorKind, Item, ItemId, Money, SessionId, Timestamp, User, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::App;
use super::extract::{Json, Path, Query};
use super::fault::{Fault, Faults};
use super::recommendation::id_of;
use crate::engine::MoveView;

/// An item as it is sent and answered.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = Item)]
pub(crate) struct ItemBody {
    /// The shop's code; in the path where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1)]
    item_id: Option<String>,
    /// Its name on the page.
    title: String,
    /// What the page says of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    /// From the widest to the narrowest, joined by ` > `.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Hogar > Cocina")]
    category: Option<String>,
    /// Its brand.
    #[serde(skip_serializing_if = "Option::is_none")]
    brand: Option<String>,
    /// What it costs now.
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<PriceBody>,
    /// Pieces at hand; nothing said counts as available.
    #[serde(skip_serializing_if = "Option::is_none")]
    stock: Option<u32>,
    /// When the shop changed it, in RFC 3339; the later description wins. Now, where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    updated: Option<Timestamp>,
}

/// A price as it is sent: `{"amount": 12.5, "currency": "PEN"}`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ItemPrice)]
struct PriceBody {
    /// In units of currency, with at most six decimals.
    #[schema(value_type = f64, minimum = 0, example = 12.5)]
    amount: serde_json::Number,
    /// ISO 4217.
    #[schema(example = "PEN")]
    currency: String,
    /// As it is written in Peru; answered, and not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

impl ItemBody {
    fn read(self, id: Option<&str>) -> Result<Item, Fault> {
        let refused = |message: String| Fault::new(ErrorKind::InvalidArgument, message);
        let own = self.item_id.as_deref();
        let id = match (id, own) {
            (Some(path), Some(body)) if path != body => {
                return Err(refused(format!("item_id is {body:?} in the body and {path:?} in the path")));
            }
            (Some(id), _) | (None, Some(id)) => id_of::<ItemId>(id)?,
            (None, None) => return Err(refused("an item needs item_id".to_owned())),
        };
        let price =
            self.price.map(|price| price.read()).transpose().map_err(|error| refused(error.to_string()))?;
        if let Some(price) = price.filter(|price| price.micros < 0) {
            return Err(refused(format!("price {price} is below zero")));
        }
        let (title, description, category, brand) = (self.title, self.description, self.category, self.brand);
        let updated = self.updated.unwrap_or_else(Timestamp::now);
        let category = category.filter(|name| !name.is_empty());
        Ok(Item { item_id: id, title, description, category, brand, price, stock: self.stock, updated })
    }
}

impl PriceBody {
    fn read(&self) -> Result<Money, qhatu_schema::MoneyError> {
        Money::parse(&self.amount.to_string(), Currency::parse(&self.currency)?)
    }
}

impl From<&Item> for ItemBody {
    fn from(item: &Item) -> Self {
        let item = item.clone();
        Self {
            item_id: Some(item.item_id.to_string()),
            title: item.title,
            description: item.description,
            category: item.category,
            brand: item.brand,
            price: item.price.map(|price| PriceBody {
                amount: serde_json::Number::from_f64(price.units()).unwrap_or_else(|| 0.into()),
                currency: price.currency.to_string(),
                text: Some(price.to_string()),
            }),
            stock: item.stock,
            updated: Some(item.updated),
        }
    }
}

/// What came of a write.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Written {
    /// Records taken; one that is older than what is stored is not.
    written: usize,
}

/// Many items.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ItemBatch {
    /// The items, at most `serve.max_events`.
    items: Vec<ItemBody>,
}

/// Read an item
#[utoipa::path(
    get, path = "/v1/items/{item_id}", tag = "Catalogue",
    params(("item_id" = String, Path, description = "The shop's code")),
    responses((status = 200, description = "The item", body = ItemBody), Faults)
)]
pub(crate) async fn item(State(app): State<Arc<App>>, Path(id): Path) -> Result<JsonAnswer<ItemBody>, Fault> {
    Ok(JsonAnswer(ItemBody::from(&*app.engine.item(&id)?)))
}

/// Put an item
#[utoipa::path(
    put, path = "/v1/items/{item_id}", tag = "Catalogue",
    params(("item_id" = String, Path, description = "The shop's code")),
    request_body = ItemBody,
    responses((status = 200, description = "It is in the catalogue and in the next list", body = Written), Faults)
)]
pub(crate) async fn put_item(
    State(app): State<Arc<App>>,
    Path(id): Path,
    Json(body): Json<ItemBody>,
) -> Result<JsonAnswer<Written>, Fault> {
    let item = body.read(Some(&id))?;
    let engine = Arc::clone(&app.engine);
    let written = app.storage.run(move || engine.put_items(&[item])).await??;
    Ok(JsonAnswer(Written { written }))
}

/// Put many items
///
/// All or none: one item that makes no sense is refused with its place in the list.
#[utoipa::path(
    post, path = "/v1/items", tag = "Catalogue",
    request_body = ItemBatch,
    responses((status = 200, description = "They are in the catalogue", body = Written), Faults)
)]
pub(crate) async fn put_items(
    State(app): State<Arc<App>>,
    Json(batch): Json<ItemBatch>,
) -> Result<JsonAnswer<Written>, Fault> {
    check_size(&app, batch.items.len())?;
    let read = |(place, body): (usize, ItemBody)| {
        body.read(None)
            .map_err(|fault| Fault { message: format!("items[{place}]: {}", fault.message), ..fault })
    };
    let items: Vec<Item> = batch.items.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
    let engine = Arc::clone(&app.engine);
    let written = app.storage.run(move || engine.put_items(&items)).await??;
    Ok(JsonAnswer(Written { written }))
}

pub(super) fn check_size(app: &App, count: usize) -> Result<(), Fault> {
    let most = app.config.max_events;
    if count <= most {
        return Ok(());
    }
    Err(Fault::new(ErrorKind::TooLarge, format!("{count} records in one request"))
        .hint(format!("send at most {most} at once (serve.max_events)")))
}

/// Take an item off
#[utoipa::path(
    delete, path = "/v1/items/{item_id}", tag = "Catalogue",
    params(("item_id" = String, Path, description = "The shop's code")),
    responses((status = 204, description = "It is in no list any more"), Faults)
)]
pub(crate) async fn delete_item(State(app): State<Arc<App>>, Path(id): Path) -> Result<StatusCode, Fault> {
    let id = id_of::<ItemId>(&id)?;
    let engine = Arc::clone(&app.engine);
    app.storage.run(move || engine.delete_item(&id)).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// A shopper as sent and answered.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = User)]
pub(crate) struct UserBody {
    /// The shop's code; in the path where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1)]
    user_id: Option<String>,
    /// Country, as the shop writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    /// Six digits of INEI's ubigeo.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9]{6}$", example = "150101")]
    ubigeo: Option<String>,
    /// When the shop changed it, in RFC 3339; the later record wins. Now, where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    updated: Option<Timestamp>,
}

impl UserBody {
    fn read(self, id: Option<&str>) -> Result<User, Fault> {
        let refused = |message: String| Fault::new(ErrorKind::InvalidArgument, message);
        let own = self.user_id.as_deref();
        let user_id = match (id, own) {
            (Some(path), Some(body)) if path != body => {
                return Err(refused("user_id differs between body and path".to_owned()));
            }
            (Some(id), _) | (None, Some(id)) => id_of::<UserId>(id)?,
            (None, None) => return Err(refused("a user needs user_id".to_owned())),
        };
        let ubigeo = self.ubigeo;
        if ubigeo.as_ref().is_some_and(|code| code.len() != 6 || !code.bytes().all(|b| b.is_ascii_digit())) {
            return Err(refused("ubigeo is not six digits".to_owned()).hint("such as 150101 for Lima"));
        }
        let updated = self.updated.unwrap_or_else(Timestamp::now);
        Ok(User { user_id, country: self.country, ubigeo, updated })
    }
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        let User { user_id, country, ubigeo, updated } = user;
        Self { user_id: Some(user_id.to_string()), country, ubigeo, updated: Some(updated) }
    }
}

/// Many shoppers.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserBatch {
    /// The shoppers, at most `serve.max_events`.
    users: Vec<UserBody>,
}

/// Shoppers known by their events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserList {
    /// How many there are in all.
    total: usize,
    /// Those asked for.
    users: Vec<KnownUser>,
}

/// A shopper and how much is known.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KnownUser {
    /// The shop's code.
    user_id: String,
    /// Actions in the history.
    moves: usize,
}

/// Find shoppers
///
/// Those with events, whose id holds `search`.
#[utoipa::path(
    get, path = "/v1/users", tag = "Shoppers",
    params(
        ("search" = Option<String>, Query, description = "Part of the id"),
        ("skip" = Option<u32>, Query, description = "Pass over so many"),
        ("limit" = Option<u32>, Query, description = "At most so many, 20 where nothing is said", minimum = 1, maximum = 200),
    ),
    responses((status = 200, description = "Shoppers", body = UserList), Faults)
)]
pub(crate) async fn users(State(app): State<Arc<App>>, query: Query) -> Result<JsonAnswer<UserList>, Fault> {
    query.only(&["search", "skip", "limit"])?;
    let limit: usize = query.take("limit")?.unwrap_or(20);
    if !(1..=200).contains(&limit) {
        return Err(Fault::new(ErrorKind::InvalidArgument, format!("limit is {limit}")).hint("1 to 200"));
    }
    let skip: u32 = query.take("skip")?.unwrap_or(0);
    let search: String = query.take("search")?.unwrap_or_default();
    app.engine.check_ready()?;
    let engine = Arc::clone(&app.engine);
    let found = app.score.run(move || engine.find_users(&search, skip as usize, limit)).await?;
    let (total, found) = found;
    let users = found.into_iter().map(|(id, moves)| KnownUser { user_id: id.to_string(), moves }).collect();
    Ok(JsonAnswer(UserList { total, users }))
}

/// Read a shopper's record
#[utoipa::path(
    get, path = "/v1/users/{user_id}", tag = "Shoppers",
    params(("user_id" = String, Path, description = "The shop's code")),
    responses((status = 200, description = "The record", body = UserBody), Faults)
)]
pub(crate) async fn user(State(app): State<Arc<App>>, Path(id): Path) -> Result<JsonAnswer<UserBody>, Fault> {
    let id = id_of::<UserId>(&id)?;
    let engine = Arc::clone(&app.engine);
    Ok(JsonAnswer(UserBody::from(app.storage.run(move || engine.user(&id)).await??)))
}

/// Put a shopper's record
#[utoipa::path(
    put, path = "/v1/users/{user_id}", tag = "Shoppers",
    params(("user_id" = String, Path, description = "The shop's code")),
    request_body = UserBody,
    responses((status = 200, description = "Written", body = Written), Faults)
)]
pub(crate) async fn put_user(
    State(app): State<Arc<App>>,
    Path(id): Path,
    Json(body): Json<UserBody>,
) -> Result<JsonAnswer<Written>, Fault> {
    let user = body.read(Some(&id))?;
    let engine = Arc::clone(&app.engine);
    let written = app.storage.run(move || engine.put_users(&[user])).await??;
    Ok(JsonAnswer(Written { written }))
}

/// Put many shoppers' records
#[utoipa::path(
    post, path = "/v1/users", tag = "Shoppers",
    request_body = UserBatch,
    responses((status = 200, description = "Written", body = Written), Faults)
)]
pub(crate) async fn put_users(
    State(app): State<Arc<App>>,
    Json(batch): Json<UserBatch>,
) -> Result<JsonAnswer<Written>, Fault> {
    check_size(&app, batch.users.len())?;
    let read = |(place, body): (usize, UserBody)| {
        body.read(None)
            .map_err(|fault| Fault { message: format!("users[{place}]: {}", fault.message), ..fault })
    };
    let users: Vec<User> = batch.users.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
    let engine = Arc::clone(&app.engine);
    let written = app.storage.run(move || engine.put_users(&users)).await??;
    Ok(JsonAnswer(Written { written }))
}

/// Delete a shopper's record
///
/// The record alone; the events stay in the log, and answers given before stay as long as answers are kept.
#[utoipa::path(
    delete, path = "/v1/users/{user_id}", tag = "Shoppers",
    params(("user_id" = String, Path, description = "The shop's code")),
    responses((status = 204, description = "Deleted"), Faults)
)]
pub(crate) async fn delete_user(State(app): State<Arc<App>>, Path(id): Path) -> Result<StatusCode, Fault> {
    let id = id_of::<UserId>(&id)?;
    let engine = Arc::clone(&app.engine);
    app.storage.run(move || engine.delete_user(&id)).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// A history, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct History {
    /// Actions in all.
    total: usize,
    /// The latest of them.
    moves: Vec<MoveView>,
}

/// What a shopper did
#[utoipa::path(
    get, path = "/v1/users/{user_id}/history", tag = "Shoppers",
    params(
        ("user_id" = String, Path, description = "The shop's code"),
        ("limit" = Option<u32>, Query, description = "At most so many, 50 where nothing is said", minimum = 1, maximum = 1000),
    ),
    responses((status = 200, description = "Newest first", body = History), Faults)
)]
pub(crate) async fn user_history(
    State(app): State<Arc<App>>,
    Path(id): Path,
    query: Query,
) -> Result<JsonAnswer<History>, Fault> {
    let id = id_of::<UserId>(&id)?;
    history(&app, &query, Some(&id), None)
}

/// What happened in a visit
#[utoipa::path(
    get, path = "/v1/sessions/{session_id}/history", tag = "Shoppers",
    params(
        ("session_id" = String, Path, description = "The visit"),
        ("limit" = Option<u32>, Query, description = "At most so many, 50 where nothing is said", minimum = 1, maximum = 1000),
    ),
    responses((status = 200, description = "Newest first", body = History), Faults)
)]
pub(crate) async fn session_history(
    State(app): State<Arc<App>>,
    Path(id): Path,
    query: Query,
) -> Result<JsonAnswer<History>, Fault> {
    let id = id_of::<SessionId>(&id)?;
    history(&app, &query, None, Some(&id))
}

fn history(
    app: &App,
    query: &Query,
    user: Option<&UserId>,
    session: Option<&SessionId>,
) -> Result<JsonAnswer<History>, Fault> {
    query.only(&["limit"])?;
    let limit: usize = query.take("limit")?.unwrap_or(50);
    if !(1..=1_000).contains(&limit) {
        return Err(Fault::new(ErrorKind::InvalidArgument, format!("limit is {limit}")).hint("1 to 1000"));
    }
    app.engine.check_ready()?;
    let (total, moves) = app.engine.history(user, session, limit);
    Ok(JsonAnswer(History { total, moves }))
}

/// An entity's features as they stand now
///
/// The same fold that makes the training rows, live. `entity` is `user`, `item` or `session`.
#[utoipa::path(
    get, path = "/v1/features/{entity}", tag = "Shoppers",
    params(
        ("entity" = String, Path, description = "`user`, `item` or `session`", example = "user"),
        ("key" = String, Query, description = "Its id", min_length = 1),
    ),
    responses((status = 200, description = "Names and values", body = Value), Faults)
)]
pub(crate) async fn features(
    State(app): State<Arc<App>>,
    Path(entity): Path,
    query: Query,
) -> Result<JsonAnswer<Value>, Fault> {
    query.only(&["key"])?;
    let entity = match entity.as_str() {
        "user" => Entity::User,
        "item" => Entity::Item,
        "session" => Entity::Session,
        _ => {
            let entity: String = entity.chars().take(64).collect();
            return Err(Fault::new(ErrorKind::NotFound, format!("there is no entity {entity:?}"))
                .hint("one of user, item, session"));
        }
    };
    let key: String = query.take("key")?.unwrap_or_default();
    if key.is_empty() {
        return Err(Fault::new(ErrorKind::InvalidArgument, "key is missing").hint("send ?key=ID"));
    }
    app.engine.check_ready()?;
    Ok(JsonAnswer(app.engine.features(entity, &key)))
}
