//! Will they buy? Of a shopper, from what is known of them now; of rows that the caller sends.

use std::sync::Arc;

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use qhatu_schema::UserId;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::App;
use super::catalogue::check_size;
use super::extract::{JsonBytes, Path, Query, read_json};
use super::fault::{Fault, Faults};
use super::recommendation::id_of;
use crate::engine::{RowPropensities, ShopperPropensity};

/// Will a shopper buy?
///
/// From the live features, by the champion that `qhatu propensity fit --shoppers N --dir SHOP` made; 404 while there is none
/// and for a shopper without events, 409 where the champion foretells a table's column.
#[utoipa::path(
    get, path = "/v1/users/{user_id}/propensity", tag = "Propensity", operation_id = "shopper_propensity",
    params(
        ("user_id" = String, Path, description = "The shop's code"),
        ("explain" = Option<bool>, Query, description = "Say too what each feature adds to the score"),
    ),
    responses((status = 200, description = "The probability", body = ShopperPropensity), Faults)
)]
pub(crate) async fn of_shopper(
    State(app): State<Arc<App>>,
    Path(id): Path,
    query: Query,
) -> Result<JsonAnswer<ShopperPropensity>, Fault> {
    query.only(&["explain"])?;
    let explain = query.take("explain")?.unwrap_or(false);
    let user = id_of::<UserId>(&id)?;
    let engine = Arc::clone(&app.engine);
    let told = app.score.run(move || engine.shopper_propensity(&user, explain)).await??;
    app.metrics.told(&told.model_version, 1);
    Ok(JsonAnswer(told))
}

/// Rows to score.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RowBatch {
    /// At most `serve.max_events`, and as many as are scored within `serve.request_timeout_seconds`. Each has every column that the model was fitted on, null where nothing is known; others are
    /// passed over.
    #[schema(value_type = Vec<Object>, example = json!([{"PageValues": 12.5, "Month": "Nov", "BounceRates": null}]))]
    rows: Vec<Map<String, Value>>,
}

/// The probability of each row
///
/// By the champion that `qhatu propensity fit TABLE --target COLUMN --dir SHOP` made: what `qhatu propensity score` tells of the
/// same rows. 404 while there is none, 409 where the champion foretells what shoppers do.
#[utoipa::path(
    post, path = "/v1/propensity", tag = "Propensity", operation_id = "row_propensities",
    request_body = RowBatch,
    responses((status = 200, description = "One for each row, in order", body = RowPropensities), Faults)
)]
pub(crate) async fn of_rows(
    State(app): State<Arc<App>>,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Fault> {
    let own = Arc::clone(&app);
    let made = app.rows.run_wanted(move |wanted| {
        let RowBatch { rows } = read_json(&bytes)?;
        check_size(&own, rows.len())?;
        let told = own.engine.row_propensities(&rows, wanted)?;
        let body =
            serde_json::to_vec(&told).expect("texts, numbers and lists with text keys are always JSON");
        Ok::<_, Fault>((told.model_version, told.rows.len(), body))
    });
    let (version, count, body) = made.await??;
    app.metrics.told(&version, count);
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}
