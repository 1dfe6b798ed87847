//! The Bot API's server side: `/bot<token>/<method>`. Here a call is let in, written down, failed on cue
//! and answered; what a method does is in `methods`.

pub(crate) mod errors;
mod keyboard;
mod known;
mod methods;
mod params;

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::BodyStream;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};

use crate::settings::TokenCheck;
use crate::state::World;
use crate::state::calls::Call;
use crate::state::failures::Rule;
use errors::ApiError;
use params::Params;

type Answer = Result<Value, ApiError>;

/// A result, and the few words that Telegram adds to it in some methods.
struct Reply {
    result: Value,
    description: Option<&'static str>,
}

impl Reply {
    fn done(description: &'static str) -> Self {
        Self { result: Value::Bool(true), description: Some(description) }
    }

    fn body(self) -> Value {
        let mut body = json!({"ok": true, "result": self.result});
        if let Some(description) = self.description {
            body["description"] = json!(description);
        }
        body
    }
}

impl From<Value> for Reply {
    fn from(result: Value) -> Self {
        Self { result, description: None }
    }
}

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.route("/bot{token}/{method}", web::route().to(call));
}

async fn call(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    body: Result<web::Bytes, actix_web::Error>,
    world: web::Data<World>,
) -> HttpResponse {
    let (token, named) = path.into_inner();
    let method = known::method(&named);
    let Ok(body) = body else { return ApiError::too_large().response() };
    let params = Params::read(&request, body).await;
    let mut record = Record::open(world.into_inner(), method.unwrap_or(&named), &params);
    let world = record.world.clone();
    match world.settings.admit(&token) {
        TokenCheck::Admitted { bot_id } => world.name_bot(bot_id),
        TokenCheck::Unknown => return record.close(Err(ApiError::unauthorized())),
        TokenCheck::Malformed => return record.close(Err(ApiError::not_found())),
    }
    let Some(method) = method else {
        return record.close(Err(ApiError::no_method()));
    };
    if let Some(seconds) = world.punishments().left(method, params.integer("chat_id"), world.clock.now()) {
        return record.close(Err(ApiError::too_many(seconds)));
    }
    let rule = world.failures().take(method, record.chat_id);
    match rule {
        None => record.close(methods::run(&world, method, &params, record.at).await),
        Some(rule) => fail_on_cue(&world, method, &params, rule, record).await,
    }
}

/// A webhook's answer may hold a call: it is carried out, and its result told to nobody.
pub(crate) fn answered(world: &Arc<World>, is_json: bool, is_form: bool, body: &[u8]) {
    let params = Params::of_body(is_json, is_form, body);
    let named = params.text("method").unwrap_or_default().to_ascii_lowercase();
    // What Telegram's own server does not take from there.
    let refused =
        named.starts_with("get") || ["deletewebhook", "setwebhook", "close", "logout"].contains(&&*named);
    let Some(method) = known::method(&named).filter(|_| !refused) else {
        return;
    };
    let mut record = Record::open(world.clone(), method, &params);
    tokio::spawn(async move {
        let world = record.world.clone();
        let punished = world.punishments().left(method, params.integer("chat_id"), world.clock.now());
        match punished {
            Some(seconds) => record.close(Err(ApiError::too_many(seconds))),
            None => record.close(methods::run(&world, method, &params, record.at).await),
        };
    });
}

async fn fail_on_cue(
    world: &World,
    method: &'static str,
    params: &Params,
    rule: Rule,
    mut record: Record,
) -> HttpResponse {
    let fails = rule.close || rule.failure_status().is_some();
    // An ambiguous failure: done, but the caller does not learn it (facts T17).
    let early = if rule.after { Some(methods::run(world, method, params, record.at).await) } else { None };
    if let Some(delay_ms) = rule.delay_ms {
        let delay = world.clock.sleep_until(world.clock.now() + Duration::from_millis(delay_ms));
        // The lock is let go before the wait.
        let ended = (method == "setWebhook").then(|| world.webhook().begin_setting());
        let other = async {
            match ended {
                Some(told) => drop(told.await),
                None => pending().await,
            }
        };
        tokio::select! {
            () = delay => (),
            // Telegram takes its time for it, here a rule does (facts T10).
            () = other => return record.close(Err(ApiError::conflict("terminated by other setWebhook"))),
        }
    }
    if rule.close {
        return record.drop_connection();
    }
    if fails {
        return record.close(Err(ApiError::of_rule(&rule)));
    }
    match early {
        Some(answer) => record.close(answer),
        None => record.close(methods::run(world, method, params, world.clock.now()).await),
    }
}

/// A call's entry in the journal, from its arrival to its answer. Dropped without one, because the caller
/// hung up, it says status 0.
struct Record {
    world: Arc<World>,
    seq: u64,
    at: Instant,
    at_ms: i64,
    chat_id: Option<i64>,
    closed: bool,
}

impl Record {
    fn open(world: Arc<World>, method: &str, params: &Params) -> Self {
        // Before it can be seen in the journal: whoever sees it there and moves the clock, moves it after this.
        let at = world.clock.now();
        let (at_ms, chat_id) = (world.clock.now_ms(), chat_of(&world, params));
        let seq = world.calls().add(|seq| Call {
            seq,
            at_ms,
            method: method.to_owned(),
            chat_id,
            params: params.fields().clone(),
            status: None,
            duration_ms: None,
            description: None,
            message_id: None,
        });
        Self { world, seq, at, at_ms, chat_id, closed: false }
    }

    fn close(&mut self, answer: Result<Reply, ApiError>) -> HttpResponse {
        let message_id = answer.as_ref().ok().and_then(|result| result.result["message_id"].as_i64());
        let (status, description) = match &answer {
            Ok(_) => (200, None),
            Err(error) => (error.status, Some(error.description.clone())),
        };
        self.write(status, description, message_id);
        match answer {
            Ok(reply) => HttpResponse::Ok().json(reply.body()),
            Err(error) => error.response(),
        }
    }

    /// A body that fails at once ends the connection before a byte of the answer was written.
    fn drop_connection(&mut self) -> HttpResponse {
        self.write(0, None, None);
        let broken = stream::once(async { Err::<Bytes, _>(std::io::Error::other("closed on cue")) });
        HttpResponse::Ok().force_close().body(BodyStream::new(Box::pin(broken)))
    }

    fn write(&mut self, status: u16, description: Option<String>, message_id: Option<i64>) {
        self.closed = true;
        if let Some(call) = self.world.calls().get_mut(self.seq) {
            call.status = Some(status);
            call.duration_ms = Some(self.world.clock.now_ms() - self.at_ms);
            call.description = description;
            call.message_id = message_id;
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.closed {
            self.write(0, None, None);
        }
    }
}

/// The chat that a call concerns: the one it names, or that of the button it answers.
fn chat_of(world: &World, params: &Params) -> Option<i64> {
    params.integer("chat_id").or_else(|| {
        let id = params.text("callback_query_id")?;
        world.chats().callbacks.get(&id)?.chat_id
    })
}
