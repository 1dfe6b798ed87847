//! `/health`, `/ready` and `/metrics`: the same three for every program.

use std::net::TcpListener;

use actix_web::dev::Server;
use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, HttpServer, web};
use prometheus::{Encoder as _, TextEncoder};

use crate::readiness::Readiness;

/// Adds the three routes, `/ready` telling of `readiness`.
pub fn routes(readiness: Readiness) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        config
            .route("/health", web::get().to(health))
            .route("/metrics", web::get().to(metrics))
            .route("/ready", web::get().to(move || ready(readiness.clone())));
    }
}

/// Asks no other system: a process that answers this is alive.
async fn health() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(r#"{"status":"ok"}"#)
}

async fn ready(readiness: Readiness) -> HttpResponse {
    let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    HttpResponse::build(status).content_type("application/json").body(readiness.to_json().to_string())
}

async fn metrics() -> HttpResponse {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&prometheus::gather(), &mut text) {
        Ok(()) => HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

/// A server of nothing but these three, on one thread.
pub fn server(listener: TcpListener, readiness: Readiness) -> std::io::Result<Server> {
    let app = move || App::new().configure(routes(readiness.clone()));
    Ok(HttpServer::new(app).workers(1).disable_signals().listen(listener)?.run())
}
