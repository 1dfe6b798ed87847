//! Typed reading of a TOML document that remembers where everything stands, so that every error names its
//! line, and goes on after an error, so that one run finds them all. Knows TOML, not what a route is.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::TableError;

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

pub(super) struct Reader<'a> {
    pub text: &'a str,
    pub file: &'a str,
    pub env: Lookup<'a>,
    pub errors: Vec<TableError>,
}

/// A TOML table, and where it begins.
#[derive(Clone, Copy)]
pub(super) struct Section<'s> {
    pub table: &'s DeTable<'s>,
    pub at: usize,
}

/// A value with its place in the file.
pub(super) struct Entry<T> {
    pub value: T,
    pub span: Range<usize>,
}

impl<'s> Section<'s> {
    pub fn new(spanned: &'s Spanned<DeValue<'_>>) -> Option<Self> {
        Some(Self { table: spanned.get_ref().as_table()?, at: spanned.span().start })
    }

    pub fn get(&self, key: &str) -> Option<&'s Spanned<DeValue<'s>>> {
        self.table.get(key)
    }
}

impl Reader<'_> {
    /// Notes an error about `key`, whose value stands at `span` and is shown. Never for what may be a secret.
    pub fn refuse(&mut self, key: &str, span: &Range<usize>, expected: impl Into<String>) {
        let written: String =
            self.text.get(span.clone()).unwrap_or_default().escape_debug().take(60).collect();
        self.push(span.start, key, written.replace("\\\"", "\""), expected.into());
    }

    /// Notes an error without showing any value: about a missing key, or where it may be a secret.
    pub fn refuse_unseen(&mut self, key: &str, at: usize, expected: impl Into<String>) {
        self.push(at, key, String::new(), expected.into());
    }

    /// Notes an error about the address `written`, of which no more is shown than where it leads.
    pub fn refuse_address(&mut self, key: &str, at: usize, written: &str, expected: impl Into<String>) {
        self.push(at, key, without_secrets(written).unwrap_or_default(), expected.into());
    }

    fn push(&mut self, at: usize, key: &str, value: String, expected: String) {
        let before = self.text.as_bytes().iter().take(at);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        let (file, key, expected) = (self.file.to_owned(), key.to_owned(), expected.replace('\n', " "));
        self.errors.push(TableError { file, line, key, value, expected });
    }

    /// All errors, by their lines.
    pub fn in_order(mut self) -> Vec<TableError> {
        self.errors.sort_by_key(|error| error.line);
        self.errors
    }

    /// Refuses keys that are not in the list: a slip must not become a route that never fits.
    pub fn only(&mut self, section: Section<'_>, keys: &[&str]) {
        for (key, _) in section.table.iter().filter(|(key, _)| !keys.contains(&key.get_ref().as_ref())) {
            let expected = format!("is not known here; there are {}", keys.join(", "));
            self.refuse_unseen(key.get_ref(), key.span().start, expected);
        }
    }

    /// A string, with the environment's variables put in.
    pub fn string(&mut self, section: Section<'_>, key: &str) -> Option<Entry<String>> {
        self.text(key, section.get(key)?)
    }

    fn text(&mut self, key: &str, found: &Spanned<DeValue<'_>>) -> Option<Entry<String>> {
        match self.filled(found) {
            Ok(value) => Some(Entry { value, span: found.span() }),
            Err(expected) => {
                self.refuse(key, &found.span(), expected);
                None
            }
        }
    }

    /// The string with its variables put in, or what is wrong, without its value.
    pub fn filled(&self, found: &Spanned<DeValue<'_>>) -> Result<String, String> {
        let written = found.get_ref().as_str().ok_or("must be a string in quotes")?;
        substitute(written, self.env)
    }

    /// Like `string`, of what is never shown, however wrong it is.
    pub fn secret(&mut self, section: Section<'_>, key: &str) -> Option<Entry<String>> {
        let found = section.get(key)?;
        match self.filled(found) {
            Ok(value) => Some(Entry { value, span: found.span() }),
            Err(expected) => {
                self.refuse_unseen(key, found.span().start, expected);
                None
            }
        }
    }

    /// The strings of a list, which must not be empty.
    pub fn strings(&mut self, section: Section<'_>, key: &str) -> Vec<Entry<String>> {
        let Some(found) = section.get(key) else { return Vec::new() };
        let list = found.get_ref().as_array().filter(|list| !list.is_empty());
        let Some(list) = list else {
            self.refuse(key, &found.span(), "must be a list of strings such as [\"a\", \"b\"]");
            return Vec::new();
        };
        list.iter().filter_map(|value| self.text(key, value)).collect()
    }

    /// Written as such, or as a string with a variable in it.
    pub fn boolean(&mut self, section: Section<'_>, key: &str) -> Option<bool> {
        let found = section.get(key)?;
        let value = if holds_variable(found) {
            self.text(key, found)?.value.parse().ok()
        } else {
            found.get_ref().as_bool()
        };
        if value.is_none() {
            self.refuse(key, &found.span(), "must be true or false");
        }
        value
    }

    /// Likewise.
    pub fn integer(&mut self, section: Section<'_>, key: &str, range: Range<u32>) -> Option<u32> {
        let found = section.get(key)?;
        let value = if holds_variable(found) {
            self.text(key, found)?.value.parse().ok()
        } else {
            let written = found.get_ref().as_integer();
            written.and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok())
        };
        let value = value.filter(|number| range.contains(number));
        if value.is_none() {
            let expected = format!("must be a whole number from {} to {}", range.start, range.end - 1);
            self.refuse(key, &found.span(), expected);
        }
        value
    }

    pub fn duration(&mut self, section: Section<'_>, key: &str) -> Option<Duration> {
        let Entry { value, span } = self.string(section, key)?;
        let duration = duration(&value);
        if duration.is_none() {
            self.refuse(
                key,
                &span,
                "must be a time over 0 and up to an hour, such as \"2s\", \"500ms\" or \"1m\"",
            );
        }
        duration
    }

    /// A table within a table. An inline one too.
    pub fn section<'s>(&mut self, section: Section<'s>, key: &str) -> Option<Section<'s>> {
        let found = section.get(key)?;
        let inner = Section::new(found);
        if inner.is_none() {
            self.refuse(key, &found.span(), "must be a table");
        }
        inner
    }

    /// Likewise, of one that has secrets in it: what stands in its place is not shown.
    pub fn secret_section<'s>(&mut self, section: Section<'s>, key: &str) -> Option<Section<'s>> {
        let found = section.get(key)?;
        let inner = Section::new(found);
        if inner.is_none() {
            self.refuse_unseen(key, found.span().start, "must be a table");
        }
        inner
    }
}

/// An address as an error may show it: a user, a password, a path and a query can be secrets. None where it is not
/// certain which is which.
fn without_secrets(written: &str) -> Option<String> {
    let variable = written.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    if variable.is_some_and(is_variable) {
        return Some(format!("\"{written}\""));
    }
    let address = reqwest::Url::parse(written).ok()?;
    // An @ that is not a user's is a slip, and what stands before it is anybody's guess.
    let has_user = !address.username().is_empty() || address.password().is_some();
    if written.contains('@') && !has_user {
        return None;
    }
    let port = address.port().map_or_else(String::new, |port| format!(":{port}"));
    Some(format!("\"{}://{}{port}/...\"", address.scheme(), address.host_str()?))
}

/// Whether it is a string in which `substitute` would put something.
fn holds_variable(found: &Spanned<DeValue<'_>>) -> bool {
    let written = found.get_ref().as_str().unwrap_or_default();
    written.match_indices("${").any(|(at, _)| !written.get(..at).unwrap_or_default().ends_with('$'))
}

/// Puts the values of `${VARIABLES}` in; `$${` stands for a plain `${`. Any other `$` is left alone, a
/// regular expression needs it. Errors say what is wrong, without a value.
fn substitute(written: &str, env: Lookup<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        let inside = from.get(2..).unwrap_or_default();
        if let Some(kept) = before.strip_suffix('$') {
            out.push_str(kept);
            out.push_str("${");
            rest = inside;
            continue;
        }
        let name = inside.split_once('}').filter(|(name, _)| is_variable(name));
        let (name, after) = name.ok_or("a variable is written ${NAME}, and a plain ${ as $${")?;
        out.push_str(before);
        out.push_str(&env(name).ok_or_else(|| format!("the environment has no variable {name}: set it"))?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn is_variable(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// `2s`, `1.5s`, `500ms`, `1m`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|char: char| !char.is_ascii_digit() && char != '.')?;
    let (number, unit) = text.split_at(digits);
    let seconds = match unit.trim() {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let seconds = number.parse::<f64>().ok()? * seconds;
    let whole = Duration::try_from_secs_f64(seconds).ok()?;
    (whole >= Duration::from_millis(1) && whole <= Duration::from_secs(3600)).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        for (text, ms) in
            [("2s", Some(2000)), ("500ms", Some(500)), ("1m", Some(60_000)), ("1.5s", Some(1500))]
        {
            assert_eq!(duration(text).map(|found| found.as_millis()), ms, "{text}");
        }
        for text in ["", "2", "s", "-1s", "0s", "2h", "1e9s", "1..5s", "2 days"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn variables_are_put_in() {
        let env = |name: &str| (name == "HOST").then(|| "weather".to_owned());
        assert_eq!(substitute("http://${HOST}:1/${HOST}", &env).unwrap(), "http://weather:1/weather");
        assert_eq!(substitute("^a$|$1|$${HOST}", &env).unwrap(), "^a$|$1|${HOST}");
        assert!(substitute("${NONE}", &env).unwrap_err().contains("NONE"));
        assert!(substitute("${HOST", &env).is_err());
        assert!(substitute("${}", &env).is_err());
    }
}
