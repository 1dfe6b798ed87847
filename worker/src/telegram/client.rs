//! Calls of the Bot API over HTTP.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use reqwest::header::{self, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::error::{self, CallError};
use super::next::{GiveUp, LONGEST_WAIT, Next, Tried, next};
use super::pace::{Chat, Pace, Wait, weight};
use super::park::Note;
use super::replies::Replies;
use super::settings::{OURS, Settings};
use crate::connections::{Connections, IDLE, KEPT, Place};
use crate::events;
use crate::fence::Fence;
use crate::reply::Call;
use crate::services::http::{PING_EVERY, PING_TIMEOUT};
use crate::token::Token;

/// A connection that is not made by then is none, and nothing was sent.
const CONNECT: Duration = Duration::from_secs(5);

/// An answer is a message at most; more than this is not the Bot API.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

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
    /// `abort` was cancelled before the call was made, or made again; or `halt` while the chat was parked.
    Aborted,
}

/// What a call listens to while it is being made.
#[derive(Clone, Copy)]
pub struct Going<'a> {
    /// Cancelled: nothing more is put on the wire.
    pub abort: &'a CancellationToken,
    /// Cancelled: what Telegram makes wait, for up to a minute, is not waited for any more.
    pub halt: &'a CancellationToken,
    /// Where a wait is noted, so that who takes the update over knows of it.
    pub note: Option<Note<'a>>,
    /// It is one of many that nobody waits for, sent within their own budget (facts T14).
    pub bulk: bool,
    /// Rather lost than seen twice: it is not made again where it may have been carried out (facts T17).
    pub once: bool,
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
    connections: Arc<Connections>,
    settings: Arc<Settings>,
    token: watch::Sender<Token>,
    fence: Fence,
    pace: Arc<Mutex<Pace>>,
    /// For how long this worker had to park the bot.
    parks: watch::Sender<Duration>,
    replies: Arc<Replies>,
}

impl Telegram {
    pub fn new(settings: Settings, fence: Fence) -> Result<Self, reqwest::Error> {
        let mut http = reqwest::Client::builder()
            .timeout(settings.timeout())
            .connect_timeout(settings.timeout().min(CONNECT))
            .redirect(reqwest::redirect::Policy::none())
            .pool_idle_timeout(KEPT)
            .pool_max_idle_per_host(IDLE)
            // Over HTTP/2 all calls share a connection, which a time-out does not end.
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PING_TIMEOUT);
        // A company's proxy leads to Telegram, not to this machine.
        if settings.is_local() {
            http = http.no_proxy();
        }
        let (token, _) = watch::channel(Token::Asking);
        let (parks, _) = watch::channel(Duration::ZERO);
        let pace = Arc::new(Mutex::new(Pace::new(settings.private)));
        let replies = Arc::default();
        let (http, connections) = (http.build()?, Arc::default());
        Ok(Self { http, connections, settings: Arc::new(settings), token, fence, pace, parks, replies })
    }

    pub(super) fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells each time that this worker parks the bot, for how long.
    pub(super) fn parks(&self) -> watch::Receiver<Duration> {
        self.parks.subscribe()
    }

    /// What replies take of the bulk budget.
    pub fn replies(&self) -> &Replies {
        &self.replies
    }

    /// Until when nothing is sent to anybody.
    pub fn parked_until(&self) -> Option<Instant> {
        self.pace().bot_until(Instant::now())
    }

    /// What is known of the token: kept true by `token::keep`, and by each call that finds it wrong.
    pub fn token(&self) -> &watch::Sender<Token> {
        &self.token
    }

    pub fn bot(&self) -> u64 {
        self.settings.bot
    }

    /// Makes the call when its chat's time has come, with one retry. A request that is on the wire is seen to its
    /// end even if `abort` is cancelled meanwhile: dropped, it would be sent again.
    pub async fn send(&self, call: &Call, going: &Going<'_>) -> Sent {
        let mut params = Cow::Borrowed(&call.params);
        let mut tried = Tried::default();
        // Whose time it is that is waited for where the call names no chat.
        let mut not_before = None;
        loop {
            let chat = Chat::of(&params);
            let turn = self.wait_for_turn(chat.as_ref(), weight(&call.method, &params), not_before, going);
            let Some(place) = turn.await else { return Sent::Aborted };
            let result = self.call(&call.method, &params).await;
            drop(place);
            let Err(error) = result else {
                self.pace().served();
                if !going.bulk {
                    self.replies.sent(weight(&call.method, &params));
                }
                return Sent::Yes;
            };
            match next(error, tried, self.settings.resend && !going.once) {
                Next::Again(wait) => {
                    not_before = Some(Instant::now() + wait);
                    self.refused(chat.as_ref(), wait);
                    if let Some(note) = &going.note {
                        note.parked(wait).await;
                    }
                }
                Next::Retry { wait, copy } => {
                    tried.failures += 1;
                    events::telegram_retries(&call.method, copy);
                    // Cancelled or not: it is looked at before the call.
                    let _ = going.abort.run_until_cancelled(sleep(wait)).await;
                }
                Next::ToChat(chat) => {
                    tried.migrated = true;
                    params.to_mut().insert("chat_id".to_owned(), chat.into());
                }
                Next::WithoutParseMode => {
                    tried.unparsed = true;
                    params.to_mut().retain(|name, _| {
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

    /// Shows something that nobody misses if it fails: one request, and none where something has to wait. Where it is
    /// refused for longer than any call waits, nothing else waits for it: a call is told by itself.
    pub async fn hint(&self, call: &Call) {
        let chat = Chat::of(&call.params);
        let _place = self.connections.take().await;
        let asked = self.pace().ask(chat.as_ref(), 0, Instant::now());
        if asked.is_err() || self.fence.pass().now_or_never().is_none() {
            return;
        }
        if let Err(CallError::RetryAfter(wait)) = self.call(&call.method, &call.params).await
            && wait <= LONGEST_WAIT
        {
            self.refused(chat.as_ref(), wait);
        }
    }

    /// Until the call may be made, and a connection for it; nothing where it is not to be made any more.
    async fn wait_for_turn(
        &self,
        chat: Option<&Chat>,
        weight: u32,
        not_before: Option<Instant>,
        going: &Going<'_>,
    ) -> Option<Place<'_>> {
        loop {
            let now = Instant::now();
            let wait = match not_before.filter(|until| *until > now) {
                Some(until) => Wait::Parked(until),
                None => match self.pace().ask(chat, weight, now) {
                    Ok(()) => break,
                    Err(wait) => wait,
                },
            };
            let over = match wait {
                Wait::Paced(until) => going.abort.run_until_cancelled(sleep_until(until)).await,
                Wait::Parked(until) => {
                    let waited = going.abort.run_until_cancelled(sleep_until(until));
                    going.halt.run_until_cancelled(waited).await.flatten()
                }
            };
            over?;
        }
        let place = going.abort.run_until_cancelled(self.connections.take_behind(&self.fence)).await?;
        (!going.abort.is_cancelled()).then_some(place)
    }

    fn refused(&self, chat: Option<&Chat>, wait: Duration) {
        let is_bots = self.pace().refused(chat, wait, Instant::now());
        events::parked(is_bots, wait);
        if is_bots {
            self.parks.send_replace(wait);
        }
    }

    /// Nothing goes to the chats that the call writes to before that has passed: another worker was told so.
    pub fn park(&self, call: &Call, wait: Duration) {
        if let Some(chat) = Chat::of(&call.params) {
            self.pace().park(&chat, Instant::now() + wait);
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
        let begun = Instant::now();
        let exchanged = self.exchange(method, params).await;
        let result =
            exchanged.and_then(|(status, retry_after, body)| error::read(status, retry_after, &body));
        events::telegram_called(method, result.as_ref().err(), begun.elapsed());
        result
    }

    /// One request. Its address holds the token, so it is kept out of every error (facts T19).
    pub(super) async fn exchange(
        &self,
        method: &str,
        params: &Map<String, Value>,
    ) -> Result<(u16, Option<u64>, Vec<u8>), CallError> {
        let address = self.settings.address(method).ok_or_else(|| CallError::Failed {
            why: "the method is part of no address".to_owned(),
            ambiguous: false,
        })?;
        // The builder makes a header of an address's user and password.
        let mut request = self.http.post(address).build().map_err(failed)?;
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(serde_json::to_vec(params).unwrap_or_default().into());
        let mut response = self.http.execute(request).await.map_err(failed)?;
        self.connections.speaks(response.version());
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
