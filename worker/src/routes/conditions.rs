//! The conditions of one row, read and checked: each key's own rule, and what cannot stand together.

use regex::RegexBuilder;

use super::language::Language;
use super::reader::{Entry, Reader, Section};
use super::route::{Conditions, TextRule};
use crate::incoming::{ChatKind, Content};

/// A pattern may compile to this many bytes: a table is trusted, but not to be small.
const PATTERN_BYTES: usize = 1024 * 1024;

/// What is wrong is told to the reader and reads as no condition; the caller then drops the row.
pub(super) fn read(reader: &mut Reader<'_>, row: Section<'_>) -> Conditions {
    check_together(reader, row);
    Conditions {
        command: reader.string(row, "command").and_then(|entry| command(reader, entry)),
        callback: reader.string(row, "callback").and_then(|entry| callback(reader, entry)),
        text: text(reader, row),
        content: reader.string(row, "content").and_then(|entry| content(reader, entry)),
        kind: reader.string(row, "kind").and_then(|entry| kind(reader, entry)),
        chat: reader.string(row, "chat").and_then(|entry| chat(reader, entry)),
    }
}

/// `language = "pt"`, or `languages = ["pt", "es"]`: any of them.
pub(super) fn languages(reader: &mut Reader<'_>, row: Section<'_>) -> Vec<Language> {
    const EXPECTED: &str = "must be a language such as \"pt\" or \"pt-BR\"";
    if let (Some(_), Some(list)) = (row.get("language"), row.get("languages")) {
        reader.refuse("languages", &list.span(), "a row has a language or languages, not both");
    }
    let one = reader.string(row, "language").map(|entry| ("language", entry));
    let several = reader.strings(row, "languages").into_iter().map(|entry| ("languages", entry));
    let written: Vec<_> = one.into_iter().chain(several).collect();
    let mut languages = Vec::with_capacity(written.len());
    for (key, Entry { value, span }) in written {
        match Language::read(&value) {
            Some(language) if !languages.contains(&language) => languages.push(language),
            Some(_) => {}
            None => reader.refuse(key, &span, EXPECTED),
        }
    }
    languages
}

/// Conditions that no update could fulfil together are a slip, not a row.
fn check_together(reader: &mut Reader<'_>, row: Section<'_>) {
    let Some(callback) = row.get("callback") else {
        return;
    };
    for key in ["command", "text", "content", "kind"] {
        if row.get(key).is_some() {
            let expected = format!("a button that was pressed has no {key}: take one of the two away");
            reader.refuse("callback", &callback.span(), expected);
        }
    }
}

fn command(reader: &mut Reader<'_>, entry: Entry<String>) -> Option<String> {
    let Entry { value, span } = entry;
    let name = value.strip_prefix('/').unwrap_or_default();
    if name.is_empty() || name.contains(|char: char| char.is_whitespace() || char == '@') {
        reader.refuse("command", &span, "must be a command such as \"/weather\"");
        return None;
    }
    Some(value.to_lowercase())
}

fn callback(reader: &mut Reader<'_>, entry: Entry<String>) -> Option<String> {
    let Entry { value, span } = entry;
    // A button's data has at most 64 bytes (facts T13).
    if value.is_empty() || value.len() > 64 || value.ends_with(':') {
        reader.refuse(
            "callback",
            &span,
            "must be a prefix of 1 to 64 bytes without its colon, such as \"VOTE\"",
        );
        return None;
    }
    Some(value)
}

fn text(reader: &mut Reader<'_>, row: Section<'_>) -> Option<TextRule> {
    const EXPECTED: &str = "must be true, or a regular expression in quotes";
    let found = row.get("text")?;
    match found.get_ref().as_bool() {
        Some(true) => return Some(TextRule::Any),
        Some(false) => {
            reader.refuse("text", &found.span(), EXPECTED);
            return None;
        }
        None => {}
    }
    if found.get_ref().as_str().is_none() {
        reader.refuse("text", &found.span(), EXPECTED);
        return None;
    }
    let Entry { value, span } = reader.string(row, "text")?;
    let pattern = RegexBuilder::new(&value).size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES).build();
    match pattern {
        Ok(pattern) => Some(TextRule::Pattern(pattern)),
        Err(error) => {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            reader.refuse("text", &span, format!("is no regular expression that can be used: {why}"));
            None
        }
    }
}

fn kind(reader: &mut Reader<'_>, entry: Entry<String>) -> Option<String> {
    let is_kind = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if is_kind(&entry.value) {
        return Some(entry.value);
    }
    reader.refuse(
        "kind",
        &entry.span,
        "must be an update's kind such as \"edited_message\" or \"poll_answer\"",
    );
    None
}

fn content(reader: &mut Reader<'_>, entry: Entry<String>) -> Option<Content> {
    let content = Content::named(&entry.value);
    if content.is_none() {
        let names = Content::written_names().join(", ");
        reader.refuse(
            "content",
            &entry.span,
            format!("must be one of {names}, or a service event of Telegram's"),
        );
    }
    content
}

fn chat(reader: &mut Reader<'_>, entry: Entry<String>) -> Option<ChatKind> {
    match entry.value.as_str() {
        "private" => Some(ChatKind::Private),
        "group" => Some(ChatKind::Group),
        "channel" => Some(ChatKind::Channel),
        _ => {
            reader.refuse("chat", &entry.span, "must be private, group or channel");
            None
        }
    }
}
