//! The control side over HTTP, for tests in other processes and for the page. JSON in and out; an error
//! is `{"error": "…"}` with 400, or 503 where the pending store is full.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::{Control, ControlError};
use crate::state::World;

/// So often an idle event stream says that it is alive, so that a page that went away is noticed.
const ALIVE: Duration = Duration::from_secs(15);

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    let control = web::scope("/control")
        .route("/message", web::post().to(message))
        .route("/press", web::post().to(press))
        .route("/update", web::post().to(update))
        .route("/block", web::post().to(block))
        .route("/unblock", web::post().to(unblock))
        .route("/missing", web::post().to(missing))
        .route("/deactivate", web::post().to(deactivate))
        .route("/fail", web::post().to(fail))
        .route("/punish", web::post().to(punish))
        .route("/clock", web::post().to(clock))
        .route("/reset", web::post().to(reset))
        .route("/calls", web::get().to(calls))
        .route("/deliveries", web::get().to(deliveries))
        .route("/chats/{id}", web::get().to(chat))
        .route("/pending", web::get().to(pending))
        .route("/bot", web::get().to(bot))
        .route("/events", web::get().to(events));
    config.service(control);
}

type Shared = web::Data<World>;

fn control(world: Shared) -> Control {
    Control::new(world.into_inner())
}

/// Bodies are read as JSON whatever their Content-Type says: curl's is a form.
fn read<T: for<'a> Deserialize<'a>>(body: &[u8], act: impl FnOnce(T) -> HttpResponse) -> HttpResponse {
    match serde_json::from_slice(body) {
        Ok(value) => act(value),
        Err(error) => HttpResponse::BadRequest().json(json!({"error": error.to_string()})),
    }
}

fn answer<T: Serialize>(result: Result<T, ControlError>) -> HttpResponse {
    match result {
        Ok(value) => HttpResponse::Ok().json(value),
        Err(error @ ControlError::Full) => {
            HttpResponse::ServiceUnavailable().json(json!({"error": error.to_string()}))
        }
        Err(error) => HttpResponse::BadRequest().json(json!({"error": error.to_string()})),
    }
}

async fn message(world: Shared, body: web::Bytes) -> HttpResponse {
    read(&body, |new| answer(control(world).message(new)))
}

async fn press(world: Shared, body: web::Bytes) -> HttpResponse {
    read(&body, |new| answer(control(world).press(new)))
}

async fn update(world: Shared, body: web::Bytes) -> HttpResponse {
    let text = std::str::from_utf8(&body).map_err(|_| ControlError::NotAnObject);
    answer(text.and_then(|text| control(world).update(text)).map(update_id))
}

#[derive(Deserialize)]
struct User {
    user_id: i64,
}

async fn block(world: Shared, body: web::Bytes) -> HttpResponse {
    read(&body, |user: User| answer(control(world).block(user.user_id).map(update_id)))
}

async fn unblock(world: Shared, body: web::Bytes) -> HttpResponse {
    read(&body, |user: User| answer(control(world).unblock(user.user_id).map(update_id)))
}

fn update_id(update_id: i64) -> Value {
    json!({"update_id": update_id})
}

#[derive(Deserialize)]
struct Missing {
    chat_id: i64,
    #[serde(default = "yes")]
    missing: bool,
}

fn yes() -> bool {
    true
}

async fn missing(world: Shared, body: web::Bytes) -> HttpResponse {
    read(&body, |told: Missing| {
        control(world).missing(told.chat_id, told.missing);
        done()
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deactivate {
    user_id: i64,
    #[serde(default = "yes")]
    deactivated: bool,
}

async fn deactivate(world: Shared, body: web::Bytes) -> HttpResponse {
    read(&body, |told: Deactivate| {
        control(world).deactivate(told.user_id, told.deactivated);
        done()
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Punishment {
    chat_id: Option<i64>,
    seconds: u32,
}

async fn punish(world: Shared, body: web::Bytes) -> HttpResponse {
    read(&body, |told: Punishment| {
        control(world).punish(told.chat_id, Duration::from_secs(told.seconds.into()));
        done()
    })
}

async fn fail(world: Shared, body: web::Bytes) -> HttpResponse {
    read(&body, |rule| {
        control(world).fail(rule);
        done()
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hands {
    #[serde(default)]
    advance_ms: u64,
    stop: Option<bool>,
}

async fn clock(world: Shared, body: web::Bytes) -> HttpResponse {
    read(&body, |hands: Hands| {
        let control = control(world);
        if let Some(stop) = hands.stop {
            control.stop_clock(stop);
        }
        control.advance(Duration::from_millis(hands.advance_ms));
        HttpResponse::Ok().json(json!({"now_ms": control.now_ms()}))
    })
}

fn done() -> HttpResponse {
    HttpResponse::Ok().json(json!({}))
}

async fn reset(world: Shared) -> HttpResponse {
    control(world).reset();
    done()
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

async fn calls(world: Shared, page: web::Query<Page>) -> HttpResponse {
    let calls = world.calls().after(page.after, page.limit.unwrap_or(usize::MAX));
    HttpResponse::Ok().json(calls)
}

async fn deliveries(world: Shared, page: web::Query<Page>) -> HttpResponse {
    let deliveries = world.deliveries().after(page.after, page.limit.unwrap_or(usize::MAX));
    HttpResponse::Ok().json(deliveries)
}

async fn chat(world: Shared, id: web::Path<i64>) -> HttpResponse {
    HttpResponse::Ok().json(control(world).chat(id.into_inner()))
}

async fn pending(world: Shared) -> HttpResponse {
    HttpResponse::Ok().json(json!({"pending": control(world).pending()}))
}

async fn bot(world: Shared) -> HttpResponse {
    HttpResponse::Ok().json(control(world).bot())
}

/// Server-sent events: the id of each chat that changed, or `0` when some were missed.
async fn events(world: Shared, stop: web::Data<CancellationToken>) -> HttpResponse {
    let changes = world.changes.subscribe();
    let stop = stop.get_ref().clone();
    let events = stream::unfold((changes, stop), |(mut changes, stop)| async {
        let event = next_event(&mut changes, &stop).await?;
        Some((Ok::<_, Infallible>(event), (changes, stop)))
    });
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(events)
}

async fn next_event(changes: &mut broadcast::Receiver<i64>, stop: &CancellationToken) -> Option<web::Bytes> {
    let event = tokio::select! {
        () = stop.cancelled() => return None,
        () = tokio::time::sleep(ALIVE) => ": alive\n\n".to_owned(),
        change = changes.recv() => match change {
            Ok(chat_id) => format!("data: {chat_id}\n\n"),
            Err(RecvError::Lagged(_)) => "data: 0\n\n".to_owned(),
            Err(RecvError::Closed) => return None,
        },
    };
    Some(event.into())
}
