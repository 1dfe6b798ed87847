//! From what a bot writes to what a person reads: plain text and its entities, or Telegram's
//! complaint about unbalanced marks (facts T13, T16). Pure. Offsets count UTF-16 units.

mod html;
mod markdown;
mod markdown_v2;

use serde_json::{Value, json};

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Formatted {
    pub text: String,
    pub entities: Vec<Value>,
}

/// The text under its parse_mode; an error is what follows "can't parse entities: ".
pub(crate) fn parse(text: &str, mode: &str) -> Result<Formatted, String> {
    match mode.to_ascii_lowercase().as_str() {
        "html" => html::parse(text),
        "markdownv2" => markdown_v2::parse(text),
        "markdown" => markdown::parse(text),
        _ => Ok(Formatted { text: text.to_owned(), entities: Vec::new() }),
    }
}

pub(crate) fn known(mode: &str) -> bool {
    ["", "html", "markdownv2", "markdown"].contains(&mode.to_ascii_lowercase().as_str())
}

/// The `bot_command` entity of a text that starts with one, as Telegram marks it.
pub(crate) fn leading_command(text: &str) -> Option<Value> {
    let word = text.split(|c: char| c.is_whitespace()).next()?;
    let rest = word.strip_prefix('/')?;
    let (name, bot) = rest.split_once('@').map_or((rest, None), |(name, bot)| (name, Some(bot)));
    let letters = |text: &str| text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    let name_length = letters(name);
    if name_length == 0 || name_length > 64 {
        return None;
    }
    let bot_length = bot.filter(|_| name_length == name.len()).map_or(0, letters);
    let length = 1 + name_length + if bot_length >= 3 { 1 + bot_length } else { 0 };
    Some(json!({"type": "bot_command", "offset": 0, "length": length}))
}

/// A text under construction, which knows where it is in UTF-16 units.
#[derive(Default)]
struct Builder {
    done: Formatted,
    units: usize,
}

impl Builder {
    fn push(&mut self, c: char) {
        self.done.text.push(c);
        self.units += c.len_utf16();
    }

    /// Adds an entity from `start` to here; one that is empty is left out, as Telegram does.
    fn entity(&mut self, kind: &str, start: usize, extra: Option<(&str, String)>) {
        if self.units == start {
            return;
        }
        let mut entity = json!({"type": kind, "offset": start, "length": self.units - start});
        if let Some((name, value)) = extra {
            entity[name] = Value::String(value);
        }
        self.done.entities.push(entity);
    }

    fn finish(mut self) -> Formatted {
        let place = |entity: &Value, field: &str| entity[field].as_u64().unwrap_or(0);
        self.done.entities.sort_by_key(|e| (place(e, "offset"), std::cmp::Reverse(place(e, "length"))));
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leading_command_is_marked_with_its_bot() {
        for (text, length) in [("/start", 6), ("/start now", 6), ("/help@sample_bot x", 16), ("/a-b", 2)] {
            assert_eq!(leading_command(text).unwrap()["length"], length, "{text}");
        }
        for text in ["", "/", "hello", " /start", "//x", "/é"] {
            assert_eq!(leading_command(text), None, "{text}");
        }
    }

    #[test]
    fn offsets_count_utf16_units() {
        let formatted = parse("😀<b>x</b>", "HTML").unwrap();
        assert_eq!(formatted.text, "😀x");
        assert_eq!(formatted.entities, [json!({"type": "bold", "offset": 2, "length": 1})]);
    }
}
