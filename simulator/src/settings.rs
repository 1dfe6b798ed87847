//! What a simulator can be told before it starts. Values only: nothing here binds or connects.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Start from `Settings::default()` and change what the test or demo needs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Port 0 picks a free one; ask `Application::address` for it.
    pub listen: SocketAddr,
    /// The tokens that are let in. Empty: any token shaped like one, `<digits>:<something>`.
    pub tokens: Vec<String>,
    /// Without the `@`.
    pub bot_username: String,
    /// Serve the page for a person at `/`.
    pub page: bool,
    /// Answer 429 to more than one setWebhook a second (facts T10). Off: tests set it often.
    pub limit_set_webhook: bool,
    /// Answer 429 to a bot that writes faster than facts T14 allows. Off: benchmarks do.
    pub limit_sending: bool,
    /// Open connections to the webhook only as fast as Telegram does (facts T7). Off: as many as are wanted, at once.
    pub limit_connections: bool,
    /// The first update's id. None: random, as Telegram starts (facts T8).
    pub first_update_id: Option<i64>,
    /// How long a webhook may take to answer. Telegram's own is 60 s (facts T6).
    pub delivery_timeout: Duration,
    /// The second pause between two attempts; it doubles from there. Telegram's own is 2 s (facts T2).
    pub first_pause: Duration,
    /// How long a pressed button waits for its answer.
    pub callback_lifetime: Duration,
    /// Threads that serve HTTP.
    pub threads: usize,
    /// How many calls, and how many deliveries, are remembered; the oldest are forgotten first.
    pub journal: usize,
    /// How many chat messages are remembered in all; the oldest are forgotten first.
    pub history: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            tokens: Vec::new(),
            bot_username: "sample_bot".to_owned(),
            page: true,
            limit_set_webhook: false,
            limit_sending: false,
            limit_connections: true,
            first_update_id: None,
            delivery_timeout: Duration::from_secs(60),
            first_pause: Duration::from_secs(2),
            callback_lifetime: Duration::from_secs(150),
            threads: 2,
            journal: 200_000,
            history: 200_000,
        }
    }
}

impl Settings {
    /// Whether this token is let in, and the bot's id that it carries.
    pub(crate) fn admit(&self, token: &str) -> TokenCheck {
        let Some(bot_id) = bot_id(token) else {
            return TokenCheck::Malformed;
        };
        match self.tokens.is_empty() || self.tokens.iter().any(|known| known == token) {
            true => TokenCheck::Admitted { bot_id },
            false => TokenCheck::Unknown,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TokenCheck {
    Admitted { bot_id: i64 },
    Unknown,
    Malformed,
}

/// A token is `<the bot's id>:<secret>`.
pub(crate) fn bot_id(token: &str) -> Option<i64> {
    let (digits, secret) = token.split_once(':')?;
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits || secret.is_empty() {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_list_any_token_of_the_right_shape_is_let_in() {
        let settings = Settings::default();
        assert_eq!(settings.admit("42:abc"), TokenCheck::Admitted { bot_id: 42 });
        for malformed in ["", "42", "42:", ":abc", "x2:abc"] {
            assert_eq!(settings.admit(malformed), TokenCheck::Malformed, "{malformed}");
        }
    }

    #[test]
    fn with_a_list_only_its_tokens_are_let_in() {
        let settings = Settings { tokens: vec!["42:abc".to_owned()], ..Settings::default() };
        assert_eq!(settings.admit("42:abc"), TokenCheck::Admitted { bot_id: 42 });
        assert_eq!(settings.admit("42:abd"), TokenCheck::Unknown);
    }
}
