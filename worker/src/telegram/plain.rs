//! One call of the Bot API and its result as it came, for the operators' commands: no pace, no retry but Telegram's own.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, DATE};
use reqwest::multipart::{Form, Part};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::Value;
use shared::settings::{Problems, Values};

use super::Settings;

/// A person waits: a longer refusal is told and not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no result, in words without the token.
#[derive(Debug, thiserror::Error)]
pub enum PlainError {
    #[error("Telegram can't be asked: {0}")]
    Away(String),
    #[error("Telegram knows no bot with this token: check TELEGRAM_BOT_TOKEN")]
    WrongToken,
    /// Its own words.
    #[error("Telegram refuses: {0}")]
    Refused(String),
}

/// The bot, as its owner sees it.
pub struct Bot {
    http: reqwest::Client,
    settings: Settings,
}

/// A file that goes with a call.
pub struct Upload {
    /// The parameter that it is.
    pub field: &'static str,
    pub file_name: String,
    pub bytes: Vec<u8>,
}

/// A result, and the clock of who gave it.
pub struct Looked {
    pub result: Value,
    /// The `Date` of the answer, as it was sent.
    pub date: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default)]
    result: Value,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
struct Parameters {
    #[serde(default)]
    retry_after: u64,
}

impl Bot {
    pub fn read(values: &Values) -> Result<Result<Self, PlainError>, Problems> {
        let settings = Settings::read(values)?;
        let mut http = reqwest::Client::builder()
            .timeout(settings.timeout())
            .redirect(reqwest::redirect::Policy::none());
        // A company's proxy leads to Telegram, not to this machine.
        if settings.is_local() {
            http = http.no_proxy();
        }
        Ok(http.build().map(|http| Self { http, settings }).map_err(away))
    }

    /// The result of one call. A 429 of a few seconds is waited for, once.
    pub async fn call(&self, method: &str, params: &Value) -> Result<Value, PlainError> {
        self.look(method, params).await.map(|looked| looked.result)
    }

    /// The same with a file.
    pub async fn call_with(
        &self,
        method: &str,
        params: &Value,
        upload: Option<&Upload>,
    ) -> Result<Value, PlainError> {
        self.look_with(method, params, upload).await.map(|looked| looked.result)
    }

    /// The number in the token.
    pub fn number(&self) -> u64 {
        self.settings.bot
    }

    /// Whether it is Telegram's own, not a server of one's own or the simulator.
    pub fn is_telegrams(&self) -> bool {
        self.settings.api() == "https://api.telegram.org"
    }

    /// The same with the answer's date.
    pub async fn look(&self, method: &str, params: &Value) -> Result<Looked, PlainError> {
        self.look_with(method, params, None).await
    }

    async fn look_with(
        &self,
        method: &str,
        params: &Value,
        upload: Option<&Upload>,
    ) -> Result<Looked, PlainError> {
        let (status, answer, date) = self.ask(method, params, upload).await?;
        let wait = Duration::from_secs(answer.parameters.retry_after);
        let (status, answer, date) = if status == StatusCode::TOO_MANY_REQUESTS && wait <= PATIENCE {
            tokio::time::sleep(wait).await;
            self.ask(method, params, upload).await?
        } else {
            (status, answer, date)
        };
        match status {
            _ if answer.ok => Ok(Looked { result: answer.result, date }),
            StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND => Err(PlainError::WrongToken),
            _ => Err(PlainError::Refused(answer.description)),
        }
    }

    async fn ask(
        &self,
        method: &str,
        params: &Value,
        upload: Option<&Upload>,
    ) -> Result<(StatusCode, Answer, Option<String>), PlainError> {
        // The address holds the token (facts T19).
        let address = format!("{}/bot{}/{method}", self.settings.api(), self.settings.token.expose_secret());
        let asking = self.http.post(address);
        let asking = match upload {
            Some(upload) => asking.multipart(form(params, upload)),
            None => asking.header(CONTENT_TYPE, "application/json").body(params.to_string()),
        };
        let answer = asking.send().await.map_err(away)?;
        let status = answer.status();
        let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
        let body = answer.bytes().await.map_err(away)?;
        let nonsense = |_| PlainError::Away(format!("it answers {status}, and no JSON of the Bot API's"));
        Ok((status, serde_json::from_slice(&body).map_err(nonsense)?, date))
    }
}

/// A file comes in a form, in which everything else is text; objects and arrays are JSON.
fn form(params: &Value, upload: &Upload) -> Form {
    let file = Part::bytes(upload.bytes.clone()).file_name(upload.file_name.clone());
    let form = Form::new().part(upload.field, file);
    params.as_object().into_iter().flatten().fold(form, |form, (name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        form.text(name.clone(), text)
    })
}

fn away(error: reqwest::Error) -> PlainError {
    PlainError::Away(error.without_url().to_string())
}
