//! The Bot API's server side: `/bot<token>/<method>`. Here a call is let in, written down, failed on cue
//! and answered; what a method does is in `methods`.

pub(crate) mod errors;
mod keyboard;
mod known;
mod methods;
mod params;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::BodyStream;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};

use crate::settings::TokenCheck;
use crate::state::calls::Call;
use crate::state::failures::Rule;
use crate::state::{World, now_ms};
use errors::ApiError;
use params::Params;

type Answer = Result<Value, ApiError>;

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.route("/bot{token}/{method}", web::route().to(call));
}

async fn call(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    body: web::Bytes,
    world: web::Data<World>,
) -> HttpResponse {
    let (token, named) = path.into_inner();
    let method = known::method(&named);
    let params = Params::read(&request, &body);
    let mut record = Record::open(world.into_inner(), method.unwrap_or(&named), &params);
    let world = record.world.clone();
    match world.settings.admit(&token) {
        TokenCheck::Admitted { bot_id } => world.name_bot(bot_id),
        TokenCheck::Unknown => return record.close(Err(ApiError::unauthorized())),
        TokenCheck::Malformed => return record.close(Err(ApiError::not_found())),
    }
    let Some(method) = method else {
        return record.close(Err(ApiError::not_found()));
    };
    if let Some(seconds) = world.punishments().left(method, params.integer("chat_id"), Instant::now()) {
        return record.close(Err(ApiError::too_many(seconds)));
    }
    let rule = world.failures().take(method, record.chat_id);
    match rule {
        None => record.close(methods::run(&world, method, &params).await),
        Some(rule) => fail_on_cue(&world, method, &params, rule, record).await,
    }
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
    let early = if rule.after { Some(methods::run(world, method, params).await) } else { None };
    if let Some(delay_ms) = rule.delay_ms {
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    }
    if rule.close {
        return record.drop_connection();
    }
    if fails {
        return record.close(Err(ApiError::of_rule(&rule)));
    }
    match early {
        Some(answer) => record.close(answer),
        None => record.close(methods::run(world, method, params).await),
    }
}

/// A call's entry in the journal, from its arrival to its answer. Dropped without one, because the caller
/// hung up, it says status 0.
struct Record {
    world: Arc<World>,
    seq: u64,
    at_ms: i64,
    chat_id: Option<i64>,
    closed: bool,
}

impl Record {
    fn open(world: Arc<World>, method: &str, params: &Params) -> Self {
        let (at_ms, chat_id) = (now_ms(), chat_of(&world, params));
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
        Self { world, seq, at_ms, chat_id, closed: false }
    }

    fn close(&mut self, answer: Answer) -> HttpResponse {
        let message_id = answer.as_ref().ok().and_then(|result| result["message_id"].as_i64());
        let (status, description) = match &answer {
            Ok(_) => (200, None),
            Err(error) => (error.status, Some(error.description.clone())),
        };
        self.write(status, description, message_id);
        match answer {
            Ok(result) => HttpResponse::Ok().json(json!({"ok": true, "result": result})),
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
            call.duration_ms = Some(now_ms() - self.at_ms);
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
