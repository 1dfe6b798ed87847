//! parse_mode MarkdownV2: marks that must balance, and characters that must be escaped.

use super::{Builder, Formatted};

const RESERVED: &str = "_*[]()~`>#+-=|{}.!";
/// Longer marks first: `__` is underline, not two italics.
const MARKS: [(&str, &str, &str); 5] = [
    ("||", "spoiler", "Spoiler"),
    ("__", "underline", "Underline"),
    ("*", "bold", "Bold"),
    ("_", "italic", "Italic"),
    ("~", "strikethrough", "Strikethrough"),
];

struct Open {
    mark: &'static str,
    kind: &'static str,
    name: &'static str,
    start: usize,
    at: usize,
}

pub(super) fn parse(source: &str) -> Result<Formatted, String> {
    let (mut out, mut open) = (Builder::default(), Vec::<Open>::new());
    let mut at = 0;
    while let Some(c) = source[at..].chars().next() {
        let rest = &source[at..];
        let length = match c {
            '\\' => escaped(rest, &mut out),
            '`' => Some(code(rest, at, &mut out)?),
            '[' => {
                open.push(Open { mark: "[", kind: "text_link", name: "TextUrl", start: out.units, at });
                Some(1)
            }
            ']' if open.last().is_some_and(|top| top.mark == "[") => {
                Some(link(rest, at, &mut out, &mut open)?)
            }
            // A quotation is marked at the start of a line; a custom emoji is `![`.
            '>' if at == 0 || source[..at].ends_with('\n') => Some(1),
            '!' if rest.starts_with("![") => Some(1),
            _ => mark(rest, at, &mut out, &mut open),
        };
        at += match length {
            Some(length) => length,
            None if RESERVED.contains(c) => {
                return Err(format!(
                    "Character '{c}' is reserved and must be escaped with the preceding '\\'"
                ));
            }
            None => {
                out.push(c);
                c.len_utf8()
            }
        };
    }
    match open.pop() {
        Some(left) => Err(format!("Can't find end of {} entity at byte offset {}", left.name, left.at)),
        None => Ok(out.finish()),
    }
}

/// A backslash before any ASCII character but a letter or a digit takes its meaning away.
fn escaped(rest: &str, out: &mut Builder) -> Option<usize> {
    let next = rest[1..].chars().next().filter(|c| c.is_ascii_punctuation())?;
    out.push(next);
    Some(2)
}

fn mark(rest: &str, at: usize, out: &mut Builder, open: &mut Vec<Open>) -> Option<usize> {
    let &(mark, kind, name) = MARKS.iter().find(|(mark, ..)| rest.starts_with(mark))?;
    match open.pop_if(|top| top.mark == mark) {
        Some(opened) => out.entity(kind, opened.start, None),
        None => open.push(Open { mark, kind, name, start: out.units, at }),
    }
    Some(mark.len())
}

/// From a backtick, or three, to the same again. Inside, only a backslash means something.
fn code(rest: &str, at: usize, out: &mut Builder) -> Result<usize, String> {
    let (fence, kind, name) =
        if rest.starts_with("```") { ("```", "pre", "Pre") } else { ("`", "code", "Code") };
    let start = out.units;
    let mut inside = fence.len();
    while let Some(c) = rest[inside..].chars().next() {
        if rest[inside..].starts_with(fence) {
            out.entity(kind, start, None);
            return Ok(inside + fence.len());
        }
        let length = if c == '\\' { escaped(&rest[inside..], out) } else { None };
        inside += length.unwrap_or_else(|| {
            out.push(c);
            c.len_utf8()
        });
    }
    Err(format!("Can't find end of {name} entity at byte offset {at}"))
}

/// `](url)` ends a link; without an address the text stays plain.
fn link(rest: &str, at: usize, out: &mut Builder, open: &mut Vec<Open>) -> Result<usize, String> {
    let Some(opened) = open.pop() else { return Ok(1) };
    let Some(address) = rest.strip_prefix("](") else {
        return Ok(1);
    };
    let Some(end) = address.find(')') else {
        return Err(format!("Can't find end of a URL at byte offset {}", at + 2));
    };
    out.entity(opened.kind, opened.start, Some(("url", address[..end].replace('\\', ""))));
    Ok(2 + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn marks_become_entities_and_escapes_vanish() {
        let formatted = parse(r"*b _i_* __u__ ~s~ ||h|| `c\`` [l](https://x.y) 1\.5").unwrap();
        assert_eq!(formatted.text, "b i u s h c` l 1.5");
        let kinds: Vec<_> = formatted.entities.iter().map(|e| e["type"].as_str().unwrap()).collect();
        let expected = ["bold", "italic", "underline", "strikethrough", "spoiler", "code", "text_link"];
        assert_eq!(kinds, expected);
        assert_eq!(
            formatted.entities[6],
            json!({"type":"text_link","offset":13,"length":1,"url":"https://x.y"})
        );
    }

    #[test]
    fn what_is_not_escaped_or_not_closed_is_refused_in_telegrams_words() {
        let cases = [
            ("1.5", "Character '.' is reserved and must be escaped with the preceding '\\'"),
            ("a!", "Character '!' is reserved and must be escaped with the preceding '\\'"),
            ("a *b", "Can't find end of Bold entity at byte offset 2"),
            ("`c", "Can't find end of Code entity at byte offset 0"),
            ("[l](x", "Can't find end of a URL at byte offset 4"),
        ];
        for (source, expected) in cases {
            assert_eq!(parse(source).unwrap_err(), expected, "{source}");
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused_but_never_panics() {
        for source in ["\\", "\\é", "`", "```", "]", "[](", "|", "||", "_*_*", "![é](", ">é"] {
            drop(parse(source));
        }
    }
}
