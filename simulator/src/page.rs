//! The page at `/`, where a person talks to the bot. Its files are built into the binary; it uses the
//! control side like any other client.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use rust_embed::RustEmbed;

/// Only what this address serves: a message can never make the page load or run something.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' \
    data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(RustEmbed)]
#[folder = "page/"]
struct Files;

pub(crate) fn routes(config: &mut web::ServiceConfig, enabled: bool) {
    if enabled {
        config.route("/", web::get().to(|| async { file("index.html", "text/html; charset=utf-8") }));
        config.route("/style.css", web::get().to(|| async { file("style.css", "text/css; charset=utf-8") }));
        config.route(
            "/script.js",
            web::get().to(|| async { file("script.js", "text/javascript; charset=utf-8") }),
        );
    }
}

fn file(name: &str, kind: &str) -> HttpResponse {
    let Some(file) = Files::get(name) else {
        return HttpResponse::NotFound().finish();
    };
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, kind))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(file.data.into_owned())
}
