//! Calls of the Bot API over HTTP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};
use shared::settings::{Problems, Values, http_url, seconds, token};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::{self, CallError};
use super::next::{GiveUp, Next, Tried, next};
use crate::events;
use crate::fence::Fence;
use crate::reply::Call;
use crate::token::Token;

/// The methods that the gateway itself calls: none of them is unknown.
const OURS: [&str; 8] = [
    "sendMessage",
    "editMessageText",
    "deleteMessage",
    "answerCallbackQuery",
    "sendPhoto",
    "sendDocument",
    "sendVoice",
    "sendLocation",
];

/// A connection that is not made by then is none, and nothing was sent.
const CONNECT: Duration = Duration::from_secs(5);

/// Connections that wait for the next call, after a burst.
const IDLE: usize = 256;

/// An answer is a message at most; more than this is not the Bot API.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

pub struct Settings {
    pub token: SecretString,
    /// The number at the start of the token.
    pub bot: u64,
    api: String,
    timeout: Duration,
    /// Whether a call that may have been carried out is made once more.
    resend: bool,
    /// Whether the API is on this machine.
    local: bool,
}

impl Settings {
    pub fn read(values: &Values) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let token = problems.take(token(values));
        let api = problems.take(values.parse("TELEGRAM_API_URL", "an http or https address", http_url));
        let timeout = problems.take(seconds(values, "TELEGRAM_TIMEOUT", 0.1..=300.0));
        let resend = problems.take(values.parse("TELEGRAM_RESEND", "always or never", |text| match text {
            "always" => Some(true),
            "never" => Some(false),
            _ => None,
        }));
        let (Some((bot, token)), Some(api), Some(timeout), Some(resend)) = (token, api, timeout, resend)
        else {
            return Err(problems);
        };
        let local = matches!(api.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let api = api.as_str().trim_end_matches('/').to_owned();
        Ok(Self { token, bot, api, timeout, resend, local })
    }
}

/// How a call ended, in the caller's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    Yes,
    /// This call was refused for good; others to the chat may still succeed.
    Refused(String),
    /// The chat takes nothing: blocked or gone.
    ChatClosed(String),
    /// Failed, also on the retry.
    Failed(String),
    /// The bot's token is wrong, or can't be told from a wrong one.
    WrongToken,
    /// `abort` was cancelled before the call was made, or made again; or `halt` while it had to wait.
    Aborted,
}

/// What getMe says of the bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BotName {
    /// The user name, where there is one.
    Known(Option<String>),
    WrongToken,
    Unreachable(String),
}

/// The Bot API for one bot. Cheap to clone.
#[derive(Clone)]
pub struct Telegram {
    http: reqwest::Client,
    settings: Arc<Settings>,
    token: watch::Sender<Token>,
    fence: Fence,
}

impl Telegram {
    pub fn new(settings: Settings, fence: Fence) -> Result<Self, reqwest::Error> {
        let mut http = reqwest::Client::builder()
            .timeout(settings.timeout)
            .connect_timeout(settings.timeout.min(CONNECT))
            .redirect(reqwest::redirect::Policy::none())
            .pool_idle_timeout(Duration::from_secs(60))
            .pool_max_idle_per_host(IDLE);
        // A company's proxy leads to Telegram, not to this machine.
        if settings.local {
            http = http.no_proxy();
        }
        let (token, _) = watch::channel(Token::Asking);
        Ok(Self { http: http.build()?, settings: Arc::new(settings), token, fence })
    }

    /// What is known of the token: kept true by `token::keep`, and by each call that finds it wrong.
    pub fn token(&self) -> &watch::Sender<Token> {
        &self.token
    }

    pub fn bot(&self) -> u64 {
        self.settings.bot
    }

    /// Makes the call, with one retry, waiting where Telegram says so. A request that is on the wire is
    /// seen to its end even if `abort` is cancelled meanwhile: dropped, it would be sent again. Once `halt` is
    /// cancelled a wait that Telegram asked for is not waited out, since it may take a minute.
    pub async fn send(&self, call: &Call, abort: &CancellationToken, halt: &CancellationToken) -> Sent {
        let mut params = call.params.clone();
        let mut tried = Tried::default();
        loop {
            let may_go = abort.run_until_cancelled(self.fence.pass()).await;
            if may_go.is_none() || abort.is_cancelled() {
                return Sent::Aborted;
            }
            let begun = Instant::now();
            let result = self.call(&call.method, &params).await;
            events::telegram_called(&call.method, result.as_ref().err(), begun.elapsed());
            let Err(error) = result else { return Sent::Yes };
            match next(error, tried, self.settings.resend) {
                Next::Again(wait) => {
                    if halt.run_until_cancelled(pause(wait, abort)).await.is_none() {
                        return Sent::Aborted;
                    }
                }
                Next::Retry { wait, copy } => {
                    tried.failures += 1;
                    events::telegram_retries(&call.method, copy);
                    pause(wait, abort).await;
                }
                Next::ToChat(chat) => {
                    tried.migrated = true;
                    params.insert("chat_id".to_owned(), chat.into());
                }
                Next::WithoutParseMode => {
                    tried.unparsed = true;
                    params.retain(|name, _| {
                        !matches!(name.as_str(), "parse_mode" | "entities" | "caption_entities")
                    });
                }
                Next::GiveUp(GiveUp::ChatClosed(why)) => return Sent::ChatClosed(why),
                Next::GiveUp(GiveUp::Refused(why)) => return Sent::Refused(why),
                Next::GiveUp(GiveUp::Failed(why)) => return Sent::Failed(why),
                Next::GiveUp(GiveUp::Token(code)) => return self.token_or_method(code, &call.method).await,
            }
        }
    }

    /// A 404 is what a wrong token gets, and what an unknown method gets that a service asked for: then
    /// getMe tells which. In doubt it is the token, since that loses nothing.
    async fn token_or_method(&self, code: u16, method: &str) -> Sent {
        if code == 404 && !OURS.contains(&method) && matches!(self.name().await, BotName::Known(_)) {
            return Sent::Refused("404: the method is unknown".to_owned());
        }
        self.token.send_replace(Token::Wrong);
        Sent::WrongToken
    }

    /// Asks for the bot's name, once.
    pub async fn name(&self) -> BotName {
        #[derive(Deserialize)]
        struct Me {
            result: Option<User>,
        }
        #[derive(Deserialize)]
        struct User {
            username: Option<String>,
        }
        match self.exchange("getMe", &Map::new()).await {
            Ok((status, retry_after, body)) => match error::read(status, retry_after, &body) {
                Ok(()) => {
                    let me = serde_json::from_slice::<Me>(&body).ok();
                    BotName::Known(me.and_then(|me| me.result).and_then(|user| user.username))
                }
                Err(CallError::Token(_)) => BotName::WrongToken,
                Err(error) => BotName::Unreachable(format!("{error:?}")),
            },
            Err(error) => BotName::Unreachable(format!("{error:?}")),
        }
    }

    async fn call(&self, method: &str, params: &Map<String, Value>) -> Result<(), CallError> {
        let (status, retry_after, body) = self.exchange(method, params).await?;
        error::read(status, retry_after, &body)
    }

    /// One request. Its address holds the token, so it is kept out of every error (facts T19).
    async fn exchange(
        &self,
        method: &str,
        params: &Map<String, Value>,
    ) -> Result<(u16, Option<u64>, Vec<u8>), CallError> {
        let address = format!("{}/bot{}/{method}", self.settings.api, self.settings.token.expose_secret());
        let body = serde_json::to_vec(params).unwrap_or_default();
        let request = self.http.post(address).header(header::CONTENT_TYPE, "application/json").body(body);
        let mut response = request.send().await.map_err(failed)?;
        let retry_after = response.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                break;
            }
            body.extend_from_slice(&chunk);
        }
        Ok((response.status().as_u16(), retry_after, body))
    }
}

async fn pause(wait: Duration, abort: &CancellationToken) {
    // Cancelled or not: the caller looks.
    let _ = abort.run_until_cancelled(tokio::time::sleep(wait)).await;
}

/// Without a connection nothing was sent; with one, nobody knows (facts T17).
fn failed(error: reqwest::Error) -> CallError {
    let ambiguous = !error.is_connect() && !error.is_builder();
    let why = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    };
    CallError::Failed { why: why.to_owned(), ambiguous }
}
