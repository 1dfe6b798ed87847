//! Tea or coffee? A service of the gateway: it is asked with JSON and answers with JSON, and knows nothing of Telegram.

mod signature;

use std::collections::{HashMap, VecDeque};
use std::env;
use std::io::{Error, Result};
use std::sync::Mutex;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, post, web};
use serde::Deserialize;
use serde_json::{Value, json};

/// What the gateway sends, as far as this service reads it.
#[derive(Deserialize)]
struct Asked {
    user_id: Option<String>,
    telegram_user_id: Option<i64>,
    message: Option<String>,
    command: Option<String>,
    action: Option<String>,
    param: Option<String>,
}

#[derive(Default)]
struct Votes {
    tea: u32,
    coffee: u32,
    answers: Answers,
}

/// The answers that were given, by their Idempotency-Key. A service that books or pays keeps them in its database, in
/// the transaction that does the work; here the last few thousand in memory will do.
#[derive(Default)]
struct Answers {
    known: HashMap<String, Value>,
    order: VecDeque<String>,
}

const MOST_ANSWERS: usize = 10_000;

impl Answers {
    fn remember(&mut self, key: String, answer: Value) {
        self.order.push_back(key.clone());
        self.known.insert(key, answer);
        if self.order.len() > MOST_ANSWERS {
            self.order.pop_front().map(|oldest| self.known.remove(&oldest));
        }
    }
}

impl Votes {
    /// The same answer to the same question, however often it is asked. A failure is not remembered, so that a repeat
    /// tries again.
    fn answer_once(&mut self, key: &str, body: &[u8]) -> serde_json::Result<Value> {
        if let Some(known) = self.answers.known.get(key) {
            return Ok(known.clone());
        }
        let answer = self.answer_to(&serde_json::from_slice(body)?);
        self.answers.remember(key.to_owned(), answer.clone());
        Ok(answer)
    }

    fn answer_to(&mut self, asked: &Asked) -> Value {
        let pressed = (asked.action.as_deref(), asked.param.as_deref());
        match (asked.command.as_deref(), pressed, &asked.message) {
            (Some("/vote"), ..) => on_vote(asked),
            (_, (Some("VOTE"), Some(choice @ ("tea" | "coffee"))), _) => self.on_button(choice),
            (_, _, Some(message)) => {
                let user = asked.user_id.as_deref().unwrap_or("somebody");
                json!({"type": "text", "content": format!("{user} says: {message}")})
            }
            _ => json!({"type": "none"}),
        }
    }

    fn on_button(&mut self, choice: &str) -> Value {
        *(if choice == "tea" { &mut self.tea } else { &mut self.coffee }) += 1;
        let content = format!("Tea: {}, coffee: {}", self.tea, self.coffee);
        let edit = json!({"type": "edit", "content": content, "buttons": buttons()});
        json!({"messages": [edit], "answer": {"text": format!("One more for {choice}.")}})
    }
}

fn on_vote(asked: &Asked) -> Value {
    // Our own name for the user, which comes with every request from now on.
    let user_id = format!("member-{}", asked.telegram_user_id.unwrap_or_default());
    json!({"type": "text", "content": "Tea or coffee?", "buttons": buttons(), "user_id": user_id})
}

fn buttons() -> Value {
    let button = |text: &str, data: &str| json!({"text": text, "callback_data": data});
    json!([[button("Tea", "VOTE:tea"), button("Coffee", "VOTE:coffee")]])
}

struct State {
    secret: String,
    votes: Mutex<Votes>,
}

#[post("/ask")]
async fn ask(request: HttpRequest, body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    if !signature::is_from_the_gateway(request.headers(), &body, state.secret.as_bytes()) {
        return HttpResponse::Unauthorized().finish();
    }
    let key = request.headers().get("Idempotency-Key").and_then(|key| key.to_str().ok()).unwrap_or_default();
    let Ok(mut votes) = state.votes.lock() else { return HttpResponse::InternalServerError().finish() };
    match votes.answer_once(key, &body) {
        Ok(answer) => HttpResponse::Ok().json(answer),
        Err(_) => HttpResponse::BadRequest().finish(),
    }
}

#[actix_web::main]
async fn main() -> Result<()> {
    let secret = env::var("VOTES_SECRET").map_err(|_| Error::other("VOTES_SECRET is not set"))?;
    let port = env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(8080);
    let state = web::Data::new(State { secret, votes: Mutex::default() });
    let app = move || App::new().app_data(state.clone()).service(ask);
    HttpServer::new(app).bind(("127.0.0.1", port))?.run().await
}
