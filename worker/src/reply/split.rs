//! Long texts in pieces: split, never cut (facts T13). A pure function of the text; buttons and replies are
//! hung on the pieces by `calls`.
//!
//! A piece ends at the last paragraph in the second half of what may be sent at once, else at the last line
//! there, sentence, or word; else at the last word at all; and in the middle of a word only if the word
//! itself is too long. Whitespace at a seam is dropped, nothing else is. What is bold on both sides of a seam is
//! closed before it and opened behind it (`markup`).

mod markup;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub(super) use self::markup::Markup;
use self::markup::{BETWEEN, Open, Scan, Step, join};

/// How many code points a message's text may have, and a caption. Telegram counts without the markup, we with it.
pub(super) const TEXT_LIMIT: usize = 4096;
pub(super) const CAPTION_LIMIT: usize = 1024;

/// The pieces of a text: at most `first` code points in the first one, `TEXT_LIMIT` in the others. A text
/// that fits is left as it is.
pub(super) fn split(text: &str, first: usize, markup: Markup) -> Vec<Cow<'_, str>> {
    if fits(text, first) {
        return vec![Cow::Borrowed(text)];
    }
    let mut pieces = Vec::new();
    let (mut rest, mut limit, mut open) = (text.trim(), first, Open::default());
    while !rest.is_empty() {
        let (piece, after, behind) = first_piece(rest, limit, markup, open);
        pieces.extend(piece.map(Cow::Owned));
        (rest, open, limit) = (after, behind, TEXT_LIMIT);
    }
    pieces
}

/// The first piece of what is left, none if there is nothing to see in it; then what follows, and what stands open there.
/// `open` stood open before.
fn first_piece(rest: &str, limit: usize, markup: Markup, mut open: Open) -> (Option<String>, &str, Open) {
    let mut opening = open.opening();
    if opening.chars().count() > limit / 4 {
        // More markup than text: it is left to whoever sends it to see what Telegram says.
        (opening, open) = (String::new(), Open::default());
    }
    // What is put between two marks is counted too.
    let room = limit - opening.chars().count() - if opening.is_empty() { 0 } else { BETWEEN.len() };
    let cuts = if fits(rest, room) { None } else { Some(cuts(rest, room, markup, &open)) };
    let end = cuts.as_ref().map_or(rest.len(), |cuts| seam(rest, cuts, room));
    let (piece, after) = rest.split_at(end);
    let mut scan = Scan::new(rest, markup, open);
    let mut is_seen = false;
    while scan.at < end {
        let from = scan.at;
        let Some(step) = scan.step() else { break };
        is_seen |= step == Step::Text && !rest[from..scan.at].trim().is_empty();
    }
    // Where nothing but a cut through the middle is short enough, closing would be too long: more markup than text again.
    let is_forced = cuts.is_some_and(|cuts| cuts.is_empty());
    let mut open = if is_forced { Open::default() } else { scan.open };
    let piece = is_seen.then(|| {
        let piece =
            if opening.is_empty() { piece.trim_end().to_owned() } else { join(opening, piece.trim_end()) };
        // The text's own end closes what it closes.
        if after.is_empty() { piece } else { open.close(piece) }
    });
    let ends_line = after.starts_with(['\n', '\r']);
    open.quoted &= !ends_line;
    // In code the next line's indentation says something.
    let after = match ends_line && open.keeps_spaces() {
        true => after.trim_start_matches(['\n', '\r']),
        false => after.trim_start(),
    };
    let after = open.skip_ends(after);
    (piece, after, open)
}

/// What a reader sees of a text, in their order: no markup, no spaces, and none of the signs that may be markup in one place
/// and text in another. None where there is no markup in it, and so all is seen.
#[cfg(any(test, fuzzing))]
pub fn seen(text: &str, parse_mode: Option<&str>) -> Option<String> {
    let markup = Markup::of(parse_mode);
    let mut scan = Scan::new(text, markup, Open::default());
    let mut seen = String::new();
    let mut from = 0;
    while let Some(step) = scan.step() {
        let piece = text.get(from..scan.at).filter(|_| step == Step::Text).unwrap_or_default();
        seen.extend(piece.chars().filter(|char| char.is_alphanumeric()));
        from = scan.at;
    }
    (markup != Markup::Plain).then_some(seen)
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

/// Where a piece of at most `limit` code points may end without tearing anything, with what has to be closed there.
fn cuts(text: &str, limit: usize, markup: Markup, open: &Open) -> Vec<usize> {
    let mut cuts = Vec::with_capacity(limit);
    let mut scan = Scan::new(text, markup, open.clone());
    let (mut count, mut flags, mut last) = (0, 0, Step::Begin);
    while count <= limit {
        let (at, cost) = (scan.at, scan.cost());
        let Some(step) = scan.step() else { break };
        let before = text[..at].chars().next_back().unwrap_or(' ');
        let Some(after) = text[at..].chars().next() else { break };
        let torn = sticks(before, after)
            || (is_flag(after) && flags % 2 == 1)
            || (before == '\r' && after == '\n')
            // An end or a beginning without a text would be left on one side.
            || last == Step::Begin
            || step == Step::End;
        if at > 0 && !torn && count + cost <= limit {
            cuts.push(at);
        }
        flags = if is_flag(after) { flags + 1 } else { 0 };
        count += text[at..scan.at].chars().count();
        last = step;
    }
    cuts
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
