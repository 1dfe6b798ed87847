//! A user's language, as Telegram tells it in `language_code` (an IETF tag such as `pt-br`) and as a table names
//! it: "pt" takes every Portuguese, "pt-BR" the Brazilian only.

/// A language of the table, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Language(String);

impl Language {
    /// Reads `pt`, `pt-BR` or `pt_BR`; nothing else is a language.
    pub fn read(written: &str) -> Option<Self> {
        let tag = written.to_ascii_lowercase().replace('_', "-");
        let mut parts = tag.split('-');
        let is_part =
            |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
        // Of two or three letters, so that "german" is told as the slip that it is.
        let first = parts.next().filter(|first| (2..=3).contains(&first.len()))?;
        let is_language = first.bytes().all(|byte| byte.is_ascii_alphabetic()) && parts.all(is_part);
        is_language.then_some(Self(tag))
    }

    /// Whether a user of that `language_code` is meant: the same tag, or one that goes on where ours ends.
    pub fn takes(&self, code: &str) -> bool {
        let Some((head, rest)) = code.split_at_checked(self.0.len()) else {
            return false;
        };
        let folded = head.bytes().map(|byte| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() });
        folded.eq(self.0.bytes()) && (rest.is_empty() || rest.starts_with(['-', '_']))
    }

    /// How exactly it names a language: `pt-BR` goes before `pt`.
    pub fn parts(&self) -> usize {
        self.0.split('-').count()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_takes_itself_and_what_is_narrower() {
        for (written, code, takes) in [
            ("pt", "pt", true),
            ("pt", "pt-br", true),
            ("pt", "PT_BR", true),
            ("pt-BR", "pt-br", true),
            ("pt_BR", "pt-BR", true),
            ("zh", "zh-hans-cn", true),
            ("zh-Hans", "zh-hans-cn", true),
            // Narrower than the user's, another one, or only the same letters.
            ("pt-BR", "pt", false),
            ("pt-BR", "pt-pt", false),
            ("pt", "p", false),
            ("de", "den", false),
            ("de", "", false),
            ("de", "dé", false),
        ] {
            assert_eq!(Language::read(written).unwrap().takes(code), takes, "{written} {code}");
        }
    }

    #[test]
    fn what_is_no_tag_is_no_language() {
        for written in
            ["", "p", "pt-", "-pt", "pt--BR", "pt BR", "português", "p1", "portuguese", "german", "*"]
        {
            assert_eq!(Language::read(written), None, "{written}");
        }
    }
}
