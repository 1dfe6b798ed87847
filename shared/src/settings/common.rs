//! The readers of single values that more than one program uses.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use secrecy::SecretString;
use tracing::level_filters::LevelFilter;

use super::{Problems, SettingError, Values};

/// A whole number within `range`.
pub fn whole(values: &Values, name: &str, range: RangeInclusive<u64>) -> Result<u64, SettingError> {
    let expected = format!("a whole number from {} to {}", range.start(), range.end());
    values.parse(name, &expected, |text| text.parse().ok().filter(|number| range.contains(number)))
}

/// Seconds within `range`; fractions are taken.
pub fn seconds(values: &Values, name: &str, range: RangeInclusive<f64>) -> Result<Duration, SettingError> {
    let expected = format!("seconds, a number from {} to {}", range.start(), range.end());
    let read = |text: &str| text.parse().ok().filter(|number| range.contains(number));
    values.parse(name, &expected, read).map(Duration::from_secs_f64)
}

/// A number of bytes: `1000000`, `512 MiB`.
pub fn bytes(values: &Values, name: &str) -> Result<u64, SettingError> {
    values.parse(name, "a number of bytes, such as 1000000, 512 MiB or 2 GiB", |text| {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(factor)
    })
}

/// An address to listen on.
pub fn address(values: &Values, name: &str, default: &str) -> Result<SocketAddr, SettingError> {
    let expected = "an address and a port, such as 0.0.0.0:8000";
    let text = values.text(name).unwrap_or(default);
    text.parse().map_err(|_| values.error(name, expected))
}

/// An http or https URL, if it is one.
pub fn http_url(text: &str) -> Option<url::Url> {
    url::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// The bot's number and its token.
pub fn token(values: &Values) -> Result<(u64, SecretString), SettingError> {
    let read = |text: &str| {
        let (number, rest) = text.split_once(':')?;
        let plain = !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        let number = number.parse().ok().filter(|number| *number > 0 && plain)?;
        Some((number, SecretString::from(text)))
    };
    values.parse("TELEGRAM_BOT_TOKEN", "a bot's token, such as 123456:ABC-DEF", read)
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Text,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug)]
pub struct Logs {
    pub level: LevelFilter,
    pub format: LogFormat,
}

impl Logs {
    /// `terminal` is whether stdout is one.
    pub fn read(values: &Values, terminal: bool) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let level = problems.take(values.parse("LOG_LEVEL", "error, warn, info, debug or trace", |text| {
            let known =
                ["error", "warn", "info", "debug", "trace"].contains(&text.to_ascii_lowercase().as_str());
            text.parse().ok().filter(|_| known)
        }));
        let format = problems.take(values.optional("LOG_FORMAT", "json or text", |text| match text {
            "json" => Some(LogFormat::Json),
            "text" => Some(LogFormat::Text),
            _ => None,
        }));
        let (Some(level), Some(format)) = (level, format) else { return Err(problems) };
        let default = if terminal { LogFormat::Text } else { LogFormat::Json };
        Ok(Self { level, format: format.unwrap_or(default) })
    }
}
