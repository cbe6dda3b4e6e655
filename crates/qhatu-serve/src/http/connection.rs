//! Connections: accepted until the server is told to stop, each a task of its own.
//!
//! Two things a list of routes cannot know. A client that sends its headers a byte at a time (slow loris)
//! or keeps an idle connection costs a place: both end after `serve.header_timeout_seconds`. And places
//! are counted: beyond `serve.max_connections` a client hears 503 at once instead of waiting for nobody.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use ulid::Ulid;

use super::fault::FaultBody;

/// How long a client for whom there is no place may take to hear it.
const TURNED_AWAY_WITHIN: Duration = Duration::from_secs(2);
/// How long accepting rests where the system has no more files to give.
const REST: Duration = Duration::from_millis(200);

/// The connections of a server.
pub(super) struct Connections {
    router: Router,
    header_timeout: Duration,
    places: Arc<Semaphore>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Connections {
    /// None yet.
    pub(super) fn new(router: Router, header_timeout: Duration, most: usize) -> Self {
        let places = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { router, header_timeout, places, stop: watch::Sender::new(false), tasks: JoinSet::new() }
    }

    /// Accepts for ever; drop the future to stop accepting.
    pub(super) async fn accept(&mut self, listener: &TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.take(stream),
                // The client went away between knocking and being let in.
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "a connection could not be accepted");
                    tokio::time::sleep(REST).await;
                }
            }
            while self.tasks.try_join_next().is_some() {}
        }
    }

    fn take(&mut self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "small packets may wait");
        }
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => {
                let served = serve(stream, self.router.clone(), self.header_timeout, self.stop.subscribe());
                self.tasks.spawn(holding(place, served));
            }
            Err(_) => drop(self.tasks.spawn(turn_away(stream))),
        }
    }

    /// Tells all connections to finish what is in progress, and waits until they have, or until `within`
    /// has passed; whether all did.
    pub(super) async fn drain(mut self, within: Duration) -> bool {
        self.stop.send_replace(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout(within, all).await.is_ok()
    }
}

fn is_the_clients(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn holding(place: OwnedSemaphorePermit, served: impl Future<Output = ()>) {
    served.await;
    drop(place);
}

async fn serve(stream: TcpStream, router: Router, header_timeout: Duration, mut stop: watch::Receiver<bool>) {
    let service = TowerToHyperService::new(router);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(header_timeout);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    // Done also when the sender is gone.
    let stopping = async { drop(stop.wait_for(|stopping| *stopping).await) };
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stopping => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Says 503 in the one shape of every fault.
async fn turn_away(stream: TcpStream) {
    let answer = service_fn(|_: Request<hyper::body::Incoming>| async { Ok::<_, Infallible>(no_place()) });
    let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answer);
    if tokio::time::timeout(TURNED_AWAY_WITHIN, connection).await.is_err() {
        tracing::debug!("a client without a place said nothing");
    }
}

fn no_place() -> Response<Body> {
    let id = Ulid::generate().to_string();
    let body = FaultBody {
        code: "unavailable",
        message: "all serve.max_connections connections are taken",
        hint: Some("try again after the seconds of Retry-After"),
        request_id: &id,
    };
    let mut response = Response::new(Body::from(serde_json::to_vec(&body).unwrap_or_default()));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    for (name, value) in [(header::RETRY_AFTER, "1"), (header::CONTENT_TYPE, "application/json")] {
        headers.insert(name, axum::http::HeaderValue::from_static(value));
    }
    response
}
