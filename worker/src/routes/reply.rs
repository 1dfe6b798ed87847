//! A row's fixed answer: one text, or one for each language and a default for everybody else.

use super::language::Language;
use super::reader::{Reader, Section};

const DEFAULT: &str = "default";

#[derive(Clone, Debug)]
pub(super) struct Reply {
    default: String,
    /// The narrowest first.
    localized: Vec<(Language, String)>,
}

impl Reply {
    /// `reply = "Hello!"`, or `reply = { default = "Hello!", de = "Hallo!" }`.
    pub fn read(reader: &mut Reader<'_>, row: Section<'_>) -> Option<Self> {
        if !row.get("reply")?.get_ref().is_table() {
            let default = text(reader, row, "reply")?;
            return Some(Self { default, localized: Vec::new() });
        }
        let table = reader.section(row, "reply")?;
        let mut localized = Vec::new();
        for (name, _) in table.table.iter().filter(|(name, _)| name.get_ref() != DEFAULT) {
            let Some(language) = Language::read(name.get_ref()) else {
                let expected = "must be a language such as pt or pt-BR, or default";
                reader.refuse_unseen(name.get_ref(), name.span().start, expected);
                continue;
            };
            localized.extend(text(reader, table, name.get_ref()).map(|text| (language, text)));
        }
        localized.sort_by_key(|(language, _)| std::cmp::Reverse(language.parts()));
        if table.get(DEFAULT).is_none() {
            let expected = "is missing: what do users of any other language read?";
            reader.refuse_unseen(DEFAULT, table.at, expected);
        }
        Some(Self { default: text(reader, table, DEFAULT)?, localized })
    }

    /// What a user of that `language_code` reads.
    pub fn text(&self, code: Option<&str>) -> &str {
        let fits = |(language, _): &&(Language, String)| code.is_some_and(|code| language.takes(code));
        self.localized.iter().find(fits).map_or(&self.default, |(_, text)| text)
    }
}

fn text(reader: &mut Reader<'_>, section: Section<'_>, key: &str) -> Option<String> {
    let entry = reader.string(section, key)?;
    if entry.value.trim().is_empty() {
        reader.refuse(key, &entry.span, "must not be empty");
        return None;
    }
    Some(entry.value)
}
