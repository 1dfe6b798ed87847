//! Which letters a command is for.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Arg, ArgAction, ArgMatches};
use regex::Regex;
use shared::clock;
use shared::program::Failure;
use shared::queue::Reason;

use super::entry::Entry;

/// All conditions hold; of one that was given more than once, any.
#[derive(Debug, Default)]
pub struct Filter {
    reasons: Vec<Reason>,
    kinds: Vec<String>,
    routes: Vec<String>,
    chats: Vec<i64>,
    users: Vec<i64>,
    ids: Vec<String>,
    /// Bounds of the last failure, milliseconds since the epoch, both inclusive.
    since: Option<u64>,
    until: Option<u64>,
    error: Option<Regex>,
    limit: Option<usize>,
}

const NAMES: [&str; 10] =
    ["reason", "kind", "route", "chat", "user", "id", "since", "until", "error", "limit"];

pub fn arguments() -> Vec<Arg> {
    let many = |name: &'static str, value: &'static str, help: &'static str| {
        let arg = Arg::new(name).long(name).value_name(value).help(help).help_heading("Which letters");
        arg.action(ArgAction::Append).value_delimiter(',')
    };
    let one = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help).help_heading("Which letters")
    };
    let reason = many("reason", "REASON", "service, telegram, poison, expired or malformed");
    let number = |arg: Arg| arg.value_parser(clap::value_parser!(i64)).allow_negative_numbers(true);
    vec![
        reason.value_parser(Reason::ALL.map(Reason::as_str)),
        many("kind", "KIND", "The kind of update, such as message or callback_query"),
        many("route", "ROUTE", "The route that it took, as the list shows it"),
        number(many("chat", "ID", "The chat's id")),
        number(many("user", "ID", "The user's id at Telegram")),
        many("id", "ID", "The letter's id, as the list shows it"),
        one("since", "TIME", "Died at this time or later: 2026-01-31T12:00:00Z, or 2h for two hours ago"),
        one("until", "TIME", "Died at this time or earlier"),
        one("error", "REGEX", "The error's words hold a match of this"),
        one("limit", "N", "The first N of these, in the order of their updates")
            .value_parser(clap::value_parser!(usize)),
    ]
}

impl Filter {
    pub fn read(flags: &ArgMatches) -> Result<Self, Failure> {
        let texts =
            |name| -> Vec<String> { flags.get_many::<String>(name).into_iter().flatten().cloned().collect() };
        let numbers =
            |name| -> Vec<i64> { flags.get_many::<i64>(name).into_iter().flatten().copied().collect() };
        let time = |name: &str| {
            flags.get_one::<String>(name).map(|text| to_ms(name, text, clock::now_ms())).transpose()
        };
        let error = flags.get_one::<String>("error").map(|text| {
            Regex::new(text).map_err(|error| {
                Failure::Refused(format!("--error is {text:?}, but must be a regular expression: {error}"))
            })
        });
        Ok(Self {
            reasons: texts("reason").iter().filter_map(|word| Reason::of(word)).collect(),
            kinds: texts("kind"),
            routes: texts("route"),
            chats: numbers("chat"),
            users: numbers("user"),
            ids: texts("id"),
            since: time("since")?,
            until: time("until")?,
            error: error.transpose()?,
            limit: flags.get_one::<usize>("limit").copied(),
        })
    }

    pub fn of_ids(ids: Vec<String>) -> Self {
        Self { ids, ..Self::default() }
    }

    /// Whether the caller named any condition.
    pub fn is_given(flags: &ArgMatches) -> bool {
        NAMES.iter().any(|name| flags.contains_id(name))
    }

    pub fn fits(&self, entry: &Entry) -> bool {
        let letter = &entry.letter;
        let among =
            |wanted: &[i64], id: Option<i64>| wanted.is_empty() || id.is_some_and(|id| wanted.contains(&id));
        (self.reasons.is_empty() || self.reasons.contains(&letter.reason))
            && (self.kinds.is_empty() || self.kinds.contains(&letter.kind))
            && (self.routes.is_empty()
                || letter.route.as_ref().is_some_and(|route| self.routes.contains(route)))
            && among(&self.chats, letter.chat_id)
            && among(&self.users, letter.user_id)
            && (self.ids.is_empty() || self.ids.contains(&entry.id))
            && self.since.is_none_or(|since| letter.last_failed_ms >= since)
            && self.until.is_none_or(|until| letter.last_failed_ms <= until)
            && self.error.as_ref().is_none_or(|error| error.is_match(&letter.error))
    }

    /// Those that fit, in order.
    pub fn choose(&self, mut entries: Vec<Arc<Entry>>) -> Vec<Arc<Entry>> {
        entries.retain(|entry| self.fits(entry));
        entries.sort_by(|one, other| one.order().cmp(&other.order()));
        entries.truncate(self.limit.unwrap_or(usize::MAX));
        entries
    }
}

/// A time as RFC 3339 (the date alone will do), or a duration before now.
fn to_ms(name: &str, text: &str, now_ms: u64) -> Result<u64, Failure> {
    let ms = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let midnight = format!("{text}T00:00:00Z");
    let at =
        humantime::parse_rfc3339_weak(text).or_else(|_| humantime::parse_rfc3339_weak(&midnight)).map(ms);
    let before = || {
        let ago: Duration = humantime::parse_duration(text).ok()?;
        Some(now_ms.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)))
    };
    at.ok().or_else(before).ok_or_else(|| {
        Failure::Refused(format!(
            "--{name} is {text:?}, but must be a time such as 2026-01-31T12:00:00Z or 2026-01-31, or a duration such as 90s, 15m, 2h or 3d"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_437_296_000;

    #[test]
    fn a_time_is_a_date_or_so_long_ago() {
        let read = |text| to_ms("since", text, NOW).ok();
        assert_eq!(read("2026-11-23T12:34:56Z"), Some(NOW));
        assert_eq!(read("2026-11-23 12:34:56"), Some(NOW));
        assert_eq!(read("2026-11-23"), Some(1_795_392_000_000));
        assert_eq!(read("90s"), Some(NOW - 90_000));
        assert_eq!(read("2h 30m"), Some(NOW - 9_000_000));
        assert_eq!(read("yesterday"), None);
    }
}
