//! `POST /webhook/telegram`: secret, body, answer. The answer is an empty 200 in every case but one
//! (contract 2.1), since anything else makes Telegram hold the whole chat back (facts T2).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use shared::readiness::Readiness;

use crate::accept::{Accepted, Acceptor};
use crate::body::{self, Body, Room};
use crate::events;
use crate::secret::Secrets;

const SECRET_HEADER: &str = "X-Telegram-Bot-Api-Secret-Token";

/// What a request is answered with. Clones share the room and the count.
#[derive(Clone)]
pub struct Webhook {
    pub secrets: Secrets,
    pub acceptor: Acceptor,
    pub room: Room,
    /// While the process stops, requests are still taken, each as its connection's last.
    pub readiness: Readiness,
    pub in_flight: Arc<AtomicUsize>,
}

impl Webhook {
    /// One for the thread of the server's that calls this.
    pub fn seated_here(&self) -> Self {
        let mut webhook = self.clone();
        webhook.acceptor.publisher = self.acceptor.publisher.seated_here();
        webhook
    }
}

pub async fn handle(
    webhook: web::Data<Webhook>,
    request: HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    let _counted = Counted::new(webhook.in_flight.clone());
    let (accepted, last) = answer(&webhook, &request, payload).await;
    let mut response = match accepted {
        Accepted::Safe => HttpResponse::Ok(),
        Accepted::NotSafe => HttpResponse::ServiceUnavailable(),
    };
    if accepted == Accepted::NotSafe {
        // Telegram honours it (facts T3); a long one would make it drop what expires meanwhile.
        response.insert_header((header::RETRY_AFTER, "2"));
    }
    if last || webhook.readiness.is_stopping() {
        response.force_close();
    }
    response.finish()
}

/// What came of the request, and whether its connection is to be closed.
async fn answer(webhook: &Webhook, request: &HttpRequest, payload: web::Payload) -> (Accepted, bool) {
    let given = request.headers().get(SECRET_HEADER).map_or(&b""[..], |value| value.as_bytes());
    let authentic = webhook.secrets.accept(given);
    let body = body::read(payload, length(request), authentic.then_some(&webhook.room)).await;
    if !authentic {
        events::wrong_secret(request.peer_addr());
        // A stranger's update need not be safe to be answered 200.
        return (Accepted::Safe, !matches!(body, Body::Whole(_)));
    }
    match body {
        Body::Whole(bytes) => (webhook.acceptor.accept(bytes, traceparent(request)).await, false),
        Body::TooLarge => (webhook.acceptor.too_large().await, true),
        Body::Broken => {
            events::body_broken();
            (Accepted::NotSafe, true)
        }
        Body::NoRoom => {
            events::no_room();
            (Accepted::NotSafe, true)
        }
    }
}

/// The length that the request announces; the server has checked that it is a number.
fn length(request: &HttpRequest) -> Option<usize> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The caller's trace, if it sent a header of the right length: of a proxy in front, since Telegram sends none. Asked for
/// only of who knows the secret: a stranger is not to choose in which trace something shows.
fn traceparent(request: &HttpRequest) -> Option<String> {
    let value = request.headers().get("traceparent")?.to_str().ok()?;
    (value.len() == 55 && value.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'))
        .then(|| value.to_owned())
}

/// Counts a request for as long as it is being answered.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
