//! `/health`, `/ready` and `/metrics`: the same three for every program.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, HttpServer, web};
use prometheus::TextEncoder;

use crate::program::Failure;
use crate::readiness::Readiness;

/// After SIGTERM requests are taken for up to this long, so that a load balancer can notice (contract 9).
const LINGER: Duration = Duration::from_secs(5);

/// Routes of a program's own beside the three pages, for each of its server's threads.
pub type Routes = Arc<dyn Fn(&mut web::ServiceConfig) + Send + Sync>;

/// Takes the address where a program listens. What connects waits until it is served. To be done before anything else is
/// begun: lapin's thread panics where the runtime ends while it connects, and says so in the log.
pub fn bind(listen: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(listen).map_err(|error| Failure::Failed(format!("can't listen on {listen}: {error}")))
}

/// How long requests are taken after the signal, within the grace.
pub fn linger(grace: Duration) -> Duration {
    LINGER.min(grace / 2)
}

/// Adds the three routes, `/ready` telling of `readiness`. A process that stops closes its connections.
pub fn routes(readiness: Readiness) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        let (health, metrics, ready) = (readiness.clone(), readiness.clone(), readiness);
        config
            .route("/health", web::get().to(move || answer(health.clone(), Page::Health)))
            .route("/metrics", web::get().to(move || answer(metrics.clone(), Page::Metrics)))
            .route("/ready", web::get().to(move || answer(ready.clone(), Page::Ready)));
    }
}

#[derive(Clone, Copy)]
enum Page {
    /// Asks no other system: a process that answers this is alive.
    Health,
    Ready,
    Metrics,
}

async fn answer(readiness: Readiness, page: Page) -> HttpResponse {
    let json = "application/json";
    let (status, kind, body) = match page {
        Page::Health => (StatusCode::OK, json, r#"{"status":"ok"}"#.to_owned()),
        Page::Ready if readiness.is_ready() => (StatusCode::OK, json, readiness.to_json().to_string()),
        Page::Ready => (StatusCode::SERVICE_UNAVAILABLE, json, readiness.to_json().to_string()),
        Page::Metrics => (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics()),
    };
    let mut response = HttpResponse::build(status);
    if readiness.is_stopping() {
        response.force_close();
    }
    response.content_type(kind).body(body)
}

fn metrics() -> String {
    TextEncoder::new().encode_to_string(&prometheus::gather()).unwrap_or_else(|error| {
        tracing::error!(%error, "the metrics can't be written");
        String::new()
    })
}

/// A server of these three and of `more`, on one thread.
pub fn server(listener: TcpListener, readiness: Readiness, more: Routes) -> std::io::Result<Server> {
    let app = move || {
        App::new()
            .configure(routes(readiness.clone()))
            .configure(|config: &mut web::ServiceConfig| more(config))
    };
    Ok(HttpServer::new(app).workers(1).disable_signals().listen(listener)?.run())
}
