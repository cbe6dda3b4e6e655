//! HTTP: the router, built together with its description, and the server around it.

mod catalogue;
mod connection;
mod event;
mod extract;
mod fault;
mod guard;
pub(crate) mod model;
mod operation;
mod page;
mod propensity;
mod recommendation;
mod request;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tokio::net::TcpListener;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::config::ServeConfig;
use crate::engine::Engine;
use crate::error::ServeError;
use crate::metric::Metrics;
use crate::pool::Pool;
use connection::Connections;
use guard::Guard;

/// What every handler has at hand.
pub(crate) struct App {
    engine: Arc<Engine>,
    config: ServeConfig,
    guard: Guard,
    metrics: Metrics,
    /// Threads that score and decode.
    score: Pool,
    /// A thread apart that scores rows for propensity, however many, so that lists do not wait behind them.
    rows: Pool,
    /// Threads that wait for the store.
    storage: Pool,
    /// A thread that loads models when it is told to.
    reload: Pool,
    openapi: Bytes,
    draining: AtomicBool,
}

impl App {
    fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "qhatu",
        description = "Events in, recommendations out. Every answer of 400 and above has the body `Error`; every answer has the header `x-request-id`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    modifiers(&KeyScheme),
    tags(
        (name = "Events", description = "What shoppers did"),
        (name = "Recommendations", description = "Lists, each with a reason per item"),
        (name = "Propensity", description = "Will they buy?"),
        (name = "Catalogue", description = "The shop's products"),
        (name = "Shoppers", description = "What is known of a shopper"),
        (name = "Models", description = "Which versions answer"),
        (name = "Operation", description = "Health and figures"),
    )
)]
struct Description;

struct KeyScheme;

impl Modify for KeyScheme {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// The routes under `/v1`: all of them ask for the key where there is one.
fn guarded() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(event::receive))
        .routes(routes!(recommendation::recommend, recommendation::recommend_by_body))
        .routes(routes!(recommendation::served))
        .routes(routes!(recommendation::similar))
        .routes(routes!(recommendation::bought_together))
        .routes(routes!(recommendation::popular))
        .routes(routes!(catalogue::put_items))
        .routes(routes!(catalogue::item, catalogue::put_item, catalogue::delete_item))
        .routes(routes!(catalogue::users, catalogue::put_users))
        .routes(routes!(catalogue::user, catalogue::put_user, catalogue::delete_user))
        .routes(routes!(catalogue::user_history))
        .routes(routes!(catalogue::session_history))
        .routes(routes!(catalogue::features))
        .routes(routes!(propensity::of_shopper))
        .routes(routes!(propensity::of_rows))
        .routes(routes!(model::models))
        .routes(routes!(model::reload))
}

/// The routes that show no person and change nothing.
fn open() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(operation::livez))
        .routes(routes!(operation::readyz))
        .routes(routes!(operation::metrics))
        .route("/openapi.json", get(page::openapi))
        .route("/docs", get(page::docs))
        .route("/docs/", get(page::docs_index))
        .route("/docs/{file}", get(page::docs_file))
        .route("/", get(page::console))
        .route("/console/{file}", get(page::console_file))
        .route("/favicon.ico", get(page::favicon))
}

/// Everything that answers HTTP, before it listens.
pub(crate) struct Server {
    pub(crate) router: Router,
    app: Arc<App>,
}

impl Server {
    /// Builds the router over an engine.
    pub(crate) fn new(engine: Arc<Engine>, config: ServeConfig) -> Result<Self, ServeError> {
        let guard = Guard::new(&config)?;
        let (guarded, described) = guarded().split_for_parts();
        let (open, mut api) = open().split_for_parts();
        let mut described = described;
        for item in described.paths.paths.values_mut() {
            ask_for_key_in(item);
        }
        api.merge(described);
        let openapi = api.to_json().map_err(|error| ServeError::Argument {
            message: format!("the API's description cannot be written: {error}"),
            hint: None,
        })?;
        let threads = match config.score_threads {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            threads => threads,
        };
        let metrics = Metrics::new().map_err(|error| ServeError::Argument {
            message: format!("the figures cannot be named: {error}"),
            hint: None,
        })?;
        let app = Arc::new(App {
            engine,
            guard,
            metrics,
            score: Pool::start("score", threads, config.score_queue)?,
            rows: Pool::start_apart("rows", 64)?,
            storage: Pool::start("storage", 2, 256)?,
            reload: Pool::start("reload", 1, 16)?,
            openapi: Bytes::from(openapi),
            draining: AtomicBool::new(false),
            config,
        });
        let router = guarded
            .route_layer(from_fn_with_state(Arc::clone(&app), guard::ask_for_key))
            .merge(open)
            .method_not_allowed_fallback(request::method_not_allowed)
            .fallback(request::not_found)
            .layer(DefaultBodyLimit::max(app.config.max_body_bytes))
            .layer(from_fn_with_state(Arc::clone(&app), request::observe))
            .with_state(Arc::clone(&app));
        Ok(Self { router, app })
    }

    /// Listens until `shutdown` is done, then finishes the requests in progress, within the time that the
    /// configuration gives them, and closes the engine. `listening` is told the address.
    pub(crate) async fn run(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
        listening: impl FnOnce(SocketAddr),
    ) -> Result<(), ServeError> {
        let address = self.app.config.socket();
        let failed = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let keyless = !self.app.guard.has_keys();
        tracing::info!(address = %local, keyless, "listening");
        if keyless {
            tracing::warn!("no key is configured: listening on loopback only, and nobody is asked for a key");
        }
        listening(local);
        let config = &self.app.config;
        let header_timeout = Duration::from_secs(config.header_timeout_seconds);
        let mut connections = Connections::new(self.router, header_timeout, config.max_connections);
        tokio::select! {
            () = connections.accept(&listener) => {}
            () = shutdown => {}
        }
        drop(listener);
        self.app.draining.store(true, Ordering::Relaxed);
        tracing::info!("stopping: no new connections, finishing what is in progress");
        let seconds = config.drain_timeout_seconds;
        if !connections.drain(Duration::from_secs(seconds)).await {
            tracing::warn!(seconds, "requests were still in progress and were cut off");
        }
        self.app.engine.close();
        tracing::info!("stopped");
        Ok(())
    }
}

fn ask_for_key_in(item: &mut utoipa::openapi::PathItem) {
    let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
    for operation in operations.into_iter().flatten() {
        operation.security =
            Some(vec![utoipa::openapi::SecurityRequirement::new("key", Vec::<String>::new())]);
    }
}
