//! The server's figures, in the names that dashboards and alerts go by.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::engine::{Answer, Engine};

/// From half a millisecond to two seconds; fine around the promise of 5 ms.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 2.0];

/// All figures of one server.
pub(crate) struct Metrics {
    registry: Registry,
    request_seconds: HistogramVec,
    requests: IntCounterVec,
    events: IntCounterVec,
    recommendations: IntCounterVec,
    probabilities: IntCounterVec,
    model: GaugeVec,
    ready: IntGauge,
    items: IntGauge,
    users: IntGauge,
    sessions: IntGauge,
    answers_waiting: IntGauge,
    answers_lost: IntGauge,
}

impl Metrics {
    /// All at zero.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let seconds = HistogramOpts::new("qhatu_http_request_seconds", "Time to answer, by route.")
            .buckets(SECONDS.to_vec());
        let request_seconds = HistogramVec::new(seconds, &["method", "route"])?;
        registry.register(Box::new(request_seconds.clone()))?;
        let model = GaugeVec::new(
            Opts::new("qhatu_model_live", "1 for each live model version."),
            &["alias", "version"],
        )?;
        registry.register(Box::new(model.clone()))?;
        Ok(Self {
            request_seconds,
            model,
            requests: counters(
                "qhatu_http_requests_total",
                "Answers, by route and status.",
                &["method", "route", "status"],
            )?,
            events: counters("qhatu_events_total", "Events received, by what came of them.", &["result"])?,
            recommendations: counters(
                "qhatu_recommendations_total",
                "Lists served.",
                &["placement", "model_version"],
            )?,
            probabilities: counters(
                "qhatu_probabilities_total",
                "Probabilities told by propensity models.",
                &["model_version"],
            )?,
            ready: gauge("qhatu_ready", "1 when requests are answered.")?,
            items: gauge("qhatu_items", "Items of the catalogue.")?,
            users: gauge("qhatu_users", "Shoppers with a history.")?,
            sessions: gauge("qhatu_sessions", "Visits with a history.")?,
            answers_waiting: gauge("qhatu_answers_waiting", "Served answers that wait to be stored.")?,
            answers_lost: gauge("qhatu_answers_lost", "Served answers that could not be stored.")?,
            registry,
        })
    }

    /// Counts an answered request.
    pub(crate) fn request(&self, method: &Method, route: &str, status: StatusCode, elapsed: Duration) {
        // A method that nobody defined must not make a series of its own.
        let method = match method.as_str() {
            known @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE") => known,
            _ => "other",
        };
        self.request_seconds.with_label_values(&[method, route]).observe(elapsed.as_secs_f64());
        self.requests.with_label_values(&[method, route, status.as_str()]).inc();
    }

    /// Counts events by what came of them.
    pub(crate) fn events(&self, accepted: usize, duplicate: usize, refused: usize) {
        for (result, count) in [("accepted", accepted), ("duplicate", duplicate), ("refused", refused)] {
            self.events.with_label_values(&[result]).inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        }
    }

    /// Counts a served list.
    pub(crate) fn served(&self, answer: &Answer) {
        self.recommendations
            .with_label_values(&[answer.placement.as_str(), answer.model_version.as_str()])
            .inc();
    }

    /// Counts probabilities that a propensity model told.
    pub(crate) fn told(&self, model_version: &str, count: usize) {
        let counter = self.probabilities.with_label_values(&[model_version]);
        counter.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// All figures in Prometheus' text format.
    pub(crate) fn text(&self, engine: &Engine) -> Result<Vec<u8>, prometheus::Error> {
        let readiness = engine.readiness();
        self.ready.set(i64::from(readiness.ready));
        self.items.set(whole(readiness.items));
        let (users, sessions, waiting, lost) = engine.sizes();
        self.users.set(whole(users));
        self.sessions.set(whole(sessions));
        self.answers_waiting.set(whole(waiting));
        self.answers_lost.set(i64::try_from(lost).unwrap_or(i64::MAX));
        self.model.reset();
        let live = engine.live_models();
        for live in live.models {
            if let Some(version) = live.version {
                self.model.with_label_values(&[live.alias, version]).set(1.0);
            }
        }
        if let Some(live) = live.propensity {
            self.model.with_label_values(&[live.alias, &live.version]).set(1.0);
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
