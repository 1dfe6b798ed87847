//! Where the Bot API is, whose bot this is, and how fast and how patiently it is called.

use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use shared::settings::{Problems, Values, http_url, seconds, token, whole};

use super::pace::Rate;

/// The methods that the gateway itself calls: none of them is unknown.
pub(super) const OURS: [&str; 8] = [
    "sendMessage",
    "editMessageText",
    "deleteMessage",
    "answerCallbackQuery",
    "sendPhoto",
    "sendDocument",
    "sendVoice",
    "sendLocation",
];

pub struct Settings {
    pub token: SecretString,
    /// The number at the start of the token.
    pub bot: u64,
    api: String,
    /// Those of our own methods, parsed once and not for each call.
    addresses: Vec<(&'static str, Url)>,
    timeout: Duration,
    /// Whether a call that may have been carried out is made once more.
    pub(super) resend: bool,
    local: bool,
    /// How fast a private chat is written to.
    pub(super) private: Rate,
}

impl Settings {
    pub fn api(&self) -> &str {
        &self.api
    }

    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether the API is on this machine.
    pub fn is_local(&self) -> bool {
        self.local
    }

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
        let expected = "messages a second, a number from 0.01 to 1000000";
        let every = problems.take(values.parse("CHAT_RATE", expected, |text| {
            let rate = text.parse::<f64>().ok().filter(|rate| (0.01..=1e6).contains(rate));
            rate.map(|rate| Duration::from_secs_f64(rate.recip()))
        }));
        let burst = problems.take(whole(values, "CHAT_BURST", 1..=1_000_000));
        let private = every.zip(burst).map(|(every, burst)| Rate { every, burst: burst as u32 });
        let read = (token, api, timeout, resend, private);
        let (Some((bot, token)), Some(api), Some(timeout), Some(resend), Some(private)) = read else {
            return Err(problems);
        };
        let local = matches!(api.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let api = api.as_str().trim_end_matches('/').to_owned();
        let parsed = OURS.map(|method| Url::parse(&address(&api, &token, method)).map(|url| (method, url)));
        let addresses = parsed.into_iter().flatten().collect();
        Ok(Self { token, bot, api, addresses, timeout, resend, local, private })
    }

    /// A call's, or none where it is no address: it holds the token, so no error is to name it (facts T19).
    pub(super) fn address(&self, method: &str) -> Option<Url> {
        let known = self.addresses.iter().find(|(ours, _)| *ours == method);
        known
            .map(|(_, url)| url.clone())
            .or_else(|| Url::parse(&address(&self.api, &self.token, method)).ok())
    }
}

fn address(api: &str, token: &SecretString, method: &str) -> String {
    format!("{api}/bot{}/{method}", token.expose_secret())
}
