//! Commands, by the rule of contract 9: the `bot_command` entity at offset 0, or, where Telegram sent no
//! entities, a first word that starts with `/`. Whether a route knows the command is not asked here.

use serde_json::value::RawValue;
use shared::json::Json;

use super::{Text, raw};

#[derive(Clone)]
pub struct Command {
    /// In lower case, with the slash, without the mention: `/start`.
    pub name: String,
    /// The bot it is meant for, in lower case: `thebot` of `/start@TheBot`.
    pub bot: Option<String>,
    /// All after it, trimmed; none where nothing is left.
    pub args: Option<String>,
    /// The same as it came, where it holds what a Rust string cannot: a lone surrogate.
    pub raw_args: Option<Box<RawValue>>,
}

impl Command {
    pub(super) fn read(text: &Text, entities: Option<Json<'_>>) -> Option<Self> {
        let plain = text.plain.as_str();
        let entities = entities.and_then(Json::array).unwrap_or_default();
        let (word, rest) = if entities.is_empty() {
            let start = plain.trim_start();
            start.split_at(start.find(char::is_whitespace).unwrap_or(start.len()))
        } else {
            let length = entities.into_iter().find_map(command_length)?;
            plain.split_at(byte_offset(plain, length)?)
        };
        let (name, bot) = split_mention(word);
        let args = rest.trim();
        if name.len() < 2 || !name.starts_with('/') {
            return None;
        }
        let before = plain.get(..plain.len() - rest.len()).unwrap_or_default();
        let raw_args = args.contains('\u{fffd}').then(|| raw::rest(&text.raw, before.encode_utf16().count()));
        Some(Self {
            name: name.to_lowercase(),
            bot: bot.map(str::to_lowercase),
            args: (!args.is_empty()).then(|| args.to_owned()),
            raw_args: raw_args.flatten(),
        })
    }

    /// Whether it is meant for the bot of that name. As long as our name is not known, a mention counts as
    /// ours where only we can be meant, in a private chat.
    pub fn is_for(&self, username: Option<&str>, private: bool) -> bool {
        match (&self.bot, username) {
            (None, _) => true,
            (Some(bot), Some(ours)) => bot.eq_ignore_ascii_case(ours.trim_start_matches('@')),
            (Some(_), None) => private,
        }
    }
}

/// The length, in UTF-16 units, of a command entity at offset 0.
fn command_length(entity: Json<'_>) -> Option<u64> {
    let entity = entity.object()?;
    let is_command = entity.get("type")?.string()? == "bot_command" && entity.get("offset")?.i64()? == 0;
    entity.get("length").filter(|_| is_command)?.u64()
}

/// Where the first `units` UTF-16 units of a text end (facts T13); none if it has fewer, or if that is
/// inside a surrogate pair.
fn byte_offset(text: &str, units: u64) -> Option<usize> {
    let mut left = units;
    for (at, char) in text.char_indices() {
        if left == 0 {
            return Some(at);
        }
        left = left.checked_sub(char.len_utf16() as u64)?;
    }
    (left == 0).then_some(text.len())
}

/// `/start@TheBot` → `/start`, `TheBot`. What follows the `@` must look like a username: the first word of
/// a text without entities can be anything.
fn split_mention(word: &str) -> (&str, Option<&str>) {
    let is_username =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    match word.split_once('@') {
        Some((name, bot)) if is_username(bot) => (name, Some(bot)),
        _ => (word, None),
    }
}
