//! Messages that services send of their own accord, or later than they were asked: `POST /v1/messages`. One is
//! read (`body`), formatted at once so that nothing broken is queued, and goes into its chat's partition as an
//! envelope of a kind of its own (`queued`); from there on it is handled like an update.

mod body;
mod id;
mod intake;
#[cfg(test)]
mod published;
mod queued;
mod receive;

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use shared::admin::Routes;
use shared::readiness::Readiness;
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::Parts;
use crate::events;
use crate::settings::Settings;
pub use body::Priority;
use intake::Intake;
pub use queued::{Queued, bulk_of, is_message};

/// Messages that are read and queued at once; each can be as large as a service's answer.
const AT_ONCE: usize = 32;

/// Who comes when that many are at it waits so long.
const WAIT: Duration = Duration::from_secs(5);

/// Seconds after which to come again, where the queue takes nothing.
const COME_AGAIN: u64 = 2;

/// No longer than a service's own names; it is kept for a day.
const LONGEST_KEY: usize = 255;

/// Why a message is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("set MESSAGES_TOKEN to switch this on")]
    Off,
    #[error("the Authorization is not Bearer and MESSAGES_TOKEN")]
    Stranger,
    /// What is wrong, in words that hold nothing of the message.
    #[error("{0}")]
    Bad(String),
    #[error("nobody is known to have this user_id")]
    UnknownUser,
    #[error("over {} bytes", receive::LARGEST)]
    TooLarge,
    #[error("this Idempotency-Key was given to another message")]
    AnotherMessage,
    /// Nothing is known to be queued; but something can be, so a repeat wants its Idempotency-Key.
    #[error("{0}; try again")]
    ComeAgain(&'static str),
}

impl Refusal {
    /// Of each its word.
    pub const WORDS: [&'static str; 7] =
        ["off", "stranger", "bad", "unknown_user", "too_large", "another_message", "come_again"];

    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Stranger => "stranger",
            Self::Bad(_) => "bad",
            Self::UnknownUser => "unknown_user",
            Self::TooLarge => "too_large",
            Self::AnotherMessage => "another_message",
            Self::ComeAgain(_) => "come_again",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Off => StatusCode::FORBIDDEN,
            Self::Stranger => StatusCode::UNAUTHORIZED,
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::UnknownUser => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::AnotherMessage => StatusCode::UNPROCESSABLE_ENTITY,
            Self::ComeAgain(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// The endpoint: who may use it, how many at once, and where messages go.
struct Endpoint {
    token: Option<SecretString>,
    slots: Semaphore,
    intake: Intake,
    readiness: Readiness,
}

/// The route, for the server that the worker has or shares.
pub fn messages(settings: &Settings, parts: &Parts) -> Routes {
    let endpoint = Endpoint {
        token: settings.messages_token.clone(),
        slots: Semaphore::new(AT_ONCE),
        intake: Intake::new(settings.telegram.bot, parts.store.clone(), parts.letters.clone()),
        readiness: parts.readiness.clone(),
    };
    let endpoint = web::Data::from(Arc::new(endpoint));
    Arc::new(move |config| {
        config.app_data(endpoint.clone());
        config.service(web::resource("/v1/messages").route(web::post().to(answer)));
    })
}

async fn answer(endpoint: web::Data<Endpoint>, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let taken = endpoint.take(&request, payload).await;
    let status = taken.as_ref().map_or_else(Refusal::status, |_| StatusCode::ACCEPTED);
    let mut response = HttpResponse::build(status);
    if endpoint.readiness.is_stopping() {
        response.force_close();
    }
    match taken {
        Ok(id) => response.json(json!({"id": id.to_string()})),
        Err(refusal) => refused(&mut response, &refusal),
    }
}

fn refused(response: &mut HttpResponseBuilder, refusal: &Refusal) -> HttpResponse {
    events::message_refused(refusal);
    match refusal {
        Refusal::Stranger => response.insert_header((WWW_AUTHENTICATE, "Bearer")),
        Refusal::ComeAgain(_) => response.insert_header((RETRY_AFTER, COME_AGAIN)),
        _ => response,
    };
    response.json(json!({"error": refusal.to_string()}))
}

impl Endpoint {
    async fn take(&self, request: &HttpRequest, payload: web::Payload) -> Result<u64, Refusal> {
        if let Err(refusal) = self.may_come(request) {
            // An answer that goes out before the body is here can be lost to a reset.
            receive::drop_all(payload).await;
            return Err(refusal);
        }
        let slot = timeout(WAIT, self.slots.acquire()).await;
        let Ok(Ok(_slot)) = slot else { return Err(Refusal::ComeAgain("too many messages at once")) };
        let key = idempotency_key(request);
        let body = receive::whole(payload).await?;
        self.intake.take(&body, key?.as_deref()).await
    }

    fn may_come(&self, request: &HttpRequest) -> Result<(), Refusal> {
        let token = self.token.as_ref().ok_or(Refusal::Off)?;
        let given = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
        let (scheme, given) = given.split_at_checked("Bearer ".len()).unwrap_or_default();
        // As long for a near miss as for a far one.
        let right = token.expose_secret().as_bytes().ct_eq(given.trim_ascii());
        if bool::from(right) && scheme.eq_ignore_ascii_case(b"Bearer ") {
            Ok(())
        } else {
            Err(Refusal::Stranger)
        }
    }
}

fn idempotency_key(request: &HttpRequest) -> Result<Option<String>, Refusal> {
    let Some(key) = request.headers().get("Idempotency-Key") else { return Ok(None) };
    let key = key.to_str().ok().map(str::trim).filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
    let wrong =
        || Refusal::Bad(format!("Idempotency-Key must be 1 to {LONGEST_KEY} visible ASCII characters"));
    key.map(str::to_owned).map(Some).ok_or_else(wrong)
}
