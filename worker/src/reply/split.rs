//! Long texts in pieces: split, never cut (facts T13). A pure function of the text; buttons and replies are
//! hung on the pieces by `calls`.
//!
//! A piece ends at the last paragraph in the second half of what may be sent at once, else at the last line
//! there, sentence, or word; else at the last word at all; and in the middle of a word only if the word
//! itself is too long. Whitespace at a seam is dropped, nothing else is.

#[cfg(test)]
mod tests;

/// How many code points a message's text may have, and a caption.
pub(super) const TEXT_LIMIT: usize = 4096;
pub(super) const CAPTION_LIMIT: usize = 1024;

/// What must not be torn, beside what a reader sees as one character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Markup {
    Plain,
    /// `<tags>` and `&entities;`.
    Html,
    /// A character and the backslash before it.
    Markdown,
}

impl Markup {
    pub fn of(parse_mode: Option<&str>) -> Self {
        match parse_mode.unwrap_or_default().to_ascii_lowercase().as_str() {
            "html" => Self::Html,
            "markdown" | "markdownv2" => Self::Markdown,
            _ => Self::Plain,
        }
    }
}

/// The pieces of a text: at most `first` code points in the first one, `TEXT_LIMIT` in the others. A text
/// that fits is left as it is.
pub(super) fn split(text: &str, first: usize, markup: Markup) -> Vec<&str> {
    if fits(text, first) {
        return vec![text];
    }
    let mut pieces = Vec::new();
    let mut limit = first;
    let mut rest = text.trim();
    while !fits(rest, limit) {
        let (piece, after) = rest.split_at(seam(rest, &cuts(rest, limit, markup), limit));
        pieces.push(piece.trim_end());
        rest = after.trim_start();
        limit = TEXT_LIMIT;
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

/// Whether a text has at most so many code points.
fn fits(text: &str, limit: usize) -> bool {
    text.len() <= limit || text.chars().nth(limit).is_none()
}

/// Where the first piece of a text ends. `cuts` are the places where it may, in their order.
fn seam(text: &str, cuts: &[usize], limit: usize) -> usize {
    let (early, late) = cuts.split_at(cuts.len() / 2);
    let last = |places: &[usize], is_end: fn(&str, &str) -> bool| {
        let at =
            |at: &&usize| is_end(text.get(..**at).unwrap_or_default(), text.get(**at..).unwrap_or_default());
        places.iter().rev().find(at).copied()
    };
    last(late, ends_paragraph)
        .or_else(|| last(late, ends_line))
        .or_else(|| last(late, ends_sentence))
        .or_else(|| last(late, ends_word))
        .or_else(|| last(early, ends_word))
        .or_else(|| last(early, ends_sentence))
        .or_else(|| cuts.last().copied())
        .unwrap_or_else(|| text.char_indices().nth(limit).map_or(text.len(), |(at, _)| at))
}

fn ends_paragraph(_: &str, after: &str) -> bool {
    after.starts_with("\n\n") || after.starts_with("\r\n\r\n")
}

fn ends_line(_: &str, after: &str) -> bool {
    after.starts_with(['\n', '\r'])
}

/// Scripts that write without spaces have full stops of their own.
fn ends_sentence(before: &str, after: &str) -> bool {
    if before.ends_with(['。', '！', '？']) {
        return true;
    }
    let before = before.trim_end_matches(['"', '\'', '”', '’', '»', ')']);
    before.ends_with(['.', '!', '?', '…']) && ends_word(before, after)
}

fn ends_word(_: &str, after: &str) -> bool {
    after.starts_with(char::is_whitespace)
}

/// Where a piece of at most `limit` code points may end without tearing anything.
fn cuts(text: &str, limit: usize, markup: Markup) -> Vec<usize> {
    let mut cuts = Vec::with_capacity(limit);
    let mut scan = Scan { markup, inside: Inside::Nothing, before: ' ', flags: 0 };
    for (count, (at, char)) in text.char_indices().enumerate() {
        if count > 0 && scan.may_end_before(char) {
            cuts.push(at);
        }
        if count == limit {
            break;
        }
        scan.step(char);
    }
    cuts
}

/// What was read last, as far as it says whether something would be torn.
struct Scan {
    markup: Markup,
    inside: Inside,
    before: char,
    /// How many regional indicators stand in a row: two make a flag.
    flags: usize,
}

#[derive(PartialEq)]
enum Inside {
    Nothing,
    Tag,
    Entity,
    Escape,
}

impl Scan {
    fn may_end_before(&self, after: char) -> bool {
        let ends_entity = self.inside == Inside::Entity && !is_of_entity(after);
        let torn_flag = is_flag(after) && self.flags % 2 == 1;
        let torn_line = self.before == '\r' && after == '\n';
        (self.inside == Inside::Nothing || ends_entity)
            && !sticks(self.before, after)
            && !torn_flag
            && !torn_line
    }

    fn step(&mut self, char: char) {
        self.inside = match (&self.inside, self.markup, char) {
            (Inside::Tag, _, '>') => Inside::Nothing,
            (Inside::Tag, ..) => Inside::Tag,
            (Inside::Entity, _, ';') => Inside::Nothing,
            (Inside::Entity, ..) if is_of_entity(char) => Inside::Entity,
            (_, Markup::Html, '<') => Inside::Tag,
            (_, Markup::Html, '&') => Inside::Entity,
            (Inside::Nothing, Markup::Markdown, '\\') => Inside::Escape,
            _ => Inside::Nothing,
        };
        self.flags = if is_flag(char) { self.flags + 1 } else { 0 };
        self.before = char;
    }
}

fn is_of_entity(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '#' || char == ';'
}

fn is_flag(char: char) -> bool {
    ('\u{1f1e6}'..='\u{1f1ff}').contains(&char)
}

/// Whether two characters are seen as one: marks, emoji that are joined or coloured. The common cases, not
/// all of Unicode's: an emoji torn here needs a word of 4096 to stand in.
fn sticks(before: char, after: char) -> bool {
    const JOINER: char = '\u{200d}';
    let is_mark = matches!(after,
        '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5bd}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}'
        | '\u{93a}'..='\u{94f}' | '\u{e31}' | '\u{e34}'..='\u{e3a}' | '\u{e47}'..='\u{e4e}'
        | '\u{1ab0}'..='\u{1aff}' | '\u{20d0}'..='\u{20ff}' | '\u{3099}' | '\u{309a}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0020}'..='\u{e007f}');
    is_mark || after == JOINER || before == JOINER
}
