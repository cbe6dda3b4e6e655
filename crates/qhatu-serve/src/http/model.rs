//! The models that are live, and looking at the registry at once.

use std::sync::Arc;

use axum::Json as JsonAnswer;
use axum::extract::State;
use qhatu_schema::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::fault::{Fault, Faults};
use crate::engine::{LivePropensityVersion, Reloaded};

/// A live model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LiveVersion {
    /// The registry's alias.
    pub(crate) alias: String,
    /// The version under it, `name@number`; empty while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// What kind of model it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<&'static str>,
    /// Items that it knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) items: Option<usize>,
    /// Since when it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) since: Option<Timestamp>,
}

/// The live models and placements.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Models {
    /// One entry per alias; the first answers where a request names none.
    pub(crate) models: Vec<LiveVersion>,
    /// The propensity model; absent while none is live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) propensity: Option<LivePropensityVersion>,
    /// The placements that can be asked for.
    pub(crate) placements: Vec<String>,
    /// What "now" is for ages and windows.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) now: Timestamp,
}

/// Which models answer
#[utoipa::path(
    get, path = "/v1/models", tag = "Models",
    responses((status = 200, description = "Live versions", body = Models), Faults)
)]
pub(crate) async fn models(State(app): State<Arc<App>>) -> JsonAnswer<Models> {
    JsonAnswer(app.engine.live_models())
}

/// What came of looking at the registry.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reload {
    /// One entry per alias.
    models: Vec<Reloaded>,
    /// The propensity model's; absent where the server asks for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    propensity: Option<Reloaded>,
}

/// Look at the registry now
///
/// Answers when what is new is warm; the old versions answer meanwhile.
#[utoipa::path(
    post, path = "/v1/models/reload", tag = "Models",
    responses((status = 200, description = "What is live now", body = Reload), Faults)
)]
pub(crate) async fn reload(State(app): State<Arc<App>>) -> Result<JsonAnswer<Reload>, Fault> {
    app.engine.check_ready()?;
    let engine = Arc::clone(&app.engine);
    let look = move || Reload { models: engine.reload_models(), propensity: engine.reload_propensity() };
    Ok(JsonAnswer(app.reload.run(look).await?))
}
