//! What a text says about its looks, as far as a seam has to know it: where nothing may be torn, and what stands open
//! there, to be closed before the seam and opened again behind it. It forgives what Telegram would refuse.

/// How a text says how it looks (facts T13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reply) enum Markup {
    Plain,
    /// `<tags>` and `&entities;`.
    Html,
    MarkdownV2,
    /// The old kind: no nesting, no underline, no quotes.
    Markdown,
}

impl Markup {
    pub fn of(parse_mode: Option<&str>) -> Self {
        match parse_mode.unwrap_or_default().to_ascii_lowercase().as_str() {
            "html" => Self::Html,
            "markdownv2" => Self::MarkdownV2,
            "markdown" => Self::Markdown,
            _ => Self::Plain,
        }
    }
}

/// Something that has begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// As it is written again: a tag with its attributes.
    opens: String,
    closes: String,
}

/// All that stands open at one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Open {
    marks: Vec<Mark>,
    /// The place is in a line that is quoted by its first character.
    pub quoted: bool,
}

/// Deeper than people nest: a text that goes on opening is no markup.
const DEPTH: usize = 16;

/// In bytes: what does not end by then is no tag, and is not looked for further.
const LONGEST_TAG: usize = 4096;
const LONGEST_ENTITY: usize = 12;

/// Between an underscore and two, which would be read as two and one: an empty bold, as the Bot API's manual has it.
pub(super) const BETWEEN: &str = "**";

impl Open {
    /// What opens it all again.
    pub fn opening(&self) -> String {
        let quote = if self.quoted { ">" } else { "" };
        self.marks.iter().fold(quote.to_owned(), |text, mark| join(text, &mark.opens))
    }

    /// What closes it all behind `text`.
    pub fn close(&self, text: String) -> String {
        self.marks.iter().rev().fold(text, |text, mark| join(text, &mark.closes))
    }

    /// What closing it takes at most, in code points.
    fn cost(&self) -> usize {
        self.marks.iter().map(|mark| mark.closes.len() + BETWEEN.len()).sum()
    }

    /// Without the marks that the text closes at once, and without their ends.
    pub fn skip_ends<'a>(&mut self, mut text: &'a str) -> &'a str {
        while let Some(mark) = self.marks.last() {
            let Some(rest) = text.strip_prefix(mark.closes.as_str()) else { break };
            if mark.closes == "_" && rest.starts_with('_') {
                break;
            }
            self.marks.pop();
            text = rest.trim_start();
        }
        text
    }

    /// Code that stands in lines: there an indentation says something.
    pub fn keeps_spaces(&self) -> bool {
        self.marks.iter().any(|mark| mark.closes == "</pre>" || mark.closes == "```")
    }

    fn is(&self, closes: &str) -> bool {
        self.marks.last().is_some_and(|mark| mark.closes == closes)
    }

    fn is_code(&self) -> bool {
        self.is("`") || self.is("```")
    }

    fn push(&mut self, opens: &str, closes: &str) {
        self.marks.push(Mark { opens: opens.to_owned(), closes: closes.to_owned() });
    }
}

pub(super) fn join(mut text: String, more: &str) -> String {
    if text.ends_with('_') && more.starts_with("__") {
        text.push_str(BETWEEN);
    }
    text.push_str(more);
    text
}

/// One step through a text: what is not torn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A reader sees it.
    Text,
    Begin,
    End,
}

/// Goes through a text, and knows at each place what stands open.
pub(super) struct Scan<'a> {
    text: &'a str,
    markup: Markup,
    pub at: usize,
    pub open: Open,
}

impl<'a> Scan<'a> {
    /// `open` stood open before.
    pub fn new(text: &'a str, markup: Markup, open: Open) -> Self {
        Self { text, markup, at: 0, open }
    }

    /// Closing what stands open here takes so many code points.
    pub fn cost(&self) -> usize {
        self.open.cost()
    }

    /// What comes next, and whether it is seen; none at the end.
    pub fn step(&mut self) -> Option<Step> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let (length, step) = match self.markup {
            Markup::Plain => None,
            Markup::Html => self.html(rest),
            Markup::MarkdownV2 | Markup::Markdown => self.markdown(rest),
        }
        .unwrap_or((rest.chars().next().map_or(1, char::len_utf8), Step::Text));
        if rest.starts_with('\n') {
            self.open.quoted = false;
        }
        self.at += length;
        Some(step)
    }

    fn html(&mut self, rest: &str) -> Option<(usize, Step)> {
        if rest.starts_with('&') {
            let end = find(rest, b';', LONGEST_ENTITY)?;
            let is_name = rest[1..end].bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'#');
            return is_name.then_some((end + 1, Step::Text));
        }
        if !rest.starts_with('<') {
            return None;
        }
        let tag = &rest[..=find(rest, b'>', LONGEST_TAG)?];
        let inner = &tag[1..tag.len() - 1];
        if let Some(name) = inner.strip_prefix('/') {
            if self.open.is(&format!("</{}>", name.trim())) {
                self.open.marks.pop();
            }
            return Some((tag.len(), Step::End));
        }
        let name = inner.split([' ', '\n', '\t']).next().unwrap_or_default();
        if self.open.marks.len() < DEPTH
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            self.open.push(tag, &format!("</{name}>"));
        }
        Some((tag.len(), Step::Begin))
    }

    fn markdown(&mut self, rest: &str) -> Option<(usize, Step)> {
        let is_v2 = self.markup == Markup::MarkdownV2;
        if let Some(escaped) = rest.strip_prefix('\\') {
            let length = escaped.chars().next().map_or(0, char::len_utf8);
            return Some((1 + length, Step::Text));
        }
        if rest.starts_with("```") {
            return Some((3, self.toggle("```", &fence(rest))));
        }
        if rest.starts_with('`') && !self.open.is("```") {
            return Some((1, self.toggle("`", "`")));
        }
        if self.open.is_code() {
            return None;
        }
        if let Some(length) = link(rest, is_v2) {
            return Some((length, Step::Text));
        }
        if is_v2 && rest.starts_with('>') && (self.at == 0 || self.text[..self.at].ends_with('\n')) {
            self.open.quoted = true;
            return Some((1, Step::Begin));
        }
        let signs: &[&str] = if is_v2 { &["__", "||", "*", "_", "~"] } else { &["*", "_"] };
        let sign = signs.iter().find(|sign| rest.starts_with(**sign))?;
        if !is_v2 && !self.open.marks.is_empty() && !self.open.is(sign) {
            return None;
        }
        // The end of a quote that can be unfolded.
        let ends_quote = *sign == "||" && self.open.quoted && !self.open.is("||") && {
            rest[2..].is_empty() || rest[2..].starts_with('\n')
        };
        Some((sign.len(), if ends_quote { Step::End } else { self.toggle(sign, sign) }))
    }

    fn toggle(&mut self, closes: &str, opens: &str) -> Step {
        if self.open.is(closes) {
            self.open.marks.pop();
            return Step::End;
        }
        if self.open.marks.len() < DEPTH {
            self.open.push(opens, closes);
        }
        Step::Begin
    }
}

fn find(text: &str, byte: u8, within: usize) -> Option<usize> {
    text.bytes().take(within).position(|it| it == byte)
}

/// How a block of code begins again: with its language, else with an end of line, or its first word would be the language.
fn fence(rest: &str) -> String {
    let language: String =
        rest[3..].chars().take_while(|char| !char.is_whitespace() && *char != '`').collect();
    let is_language = rest[3 + language.len()..].starts_with(['\n', '\r', ' ']);
    format!("```{}\n", if is_language { language.as_str() } else { "" })
}

/// The length of a link or of an emoji of its own that stands here: `[text](address)`.
fn link(rest: &str, is_v2: bool) -> Option<usize> {
    let begin = if is_v2 && rest.starts_with("![") { 2 } else { 1 };
    if begin == 1 && !rest.starts_with('[') {
        return None;
    }
    let unescaped = |from: usize, sign: char| {
        let mut escaped = false;
        rest[from..].char_indices().take(LONGEST_TAG).find_map(|(at, char)| {
            let found = char == sign && !escaped;
            escaped = char == '\\' && !escaped;
            found.then_some(from + at)
        })
    };
    let middle = unescaped(begin, ']').filter(|at| rest[at + 1..].starts_with('('))?;
    unescaped(middle + 2, ')').map(|end| end + 1)
}
