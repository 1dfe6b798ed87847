//! parse_mode HTML: Telegram's small set of tags, balanced, and its few entities.

use super::{Builder, Formatted};

struct Open {
    tag: String,
    start: usize,
    extra: Option<(&'static str, String)>,
}

pub(super) fn parse(source: &str) -> Result<Formatted, String> {
    let (mut out, mut open) = (Builder::default(), Vec::<Open>::new());
    let mut at = 0;
    while let Some(c) = source[at..].chars().next() {
        let rest = &source[at..];
        at += match c {
            '<' => tag(rest, at, &mut out, &mut open)?,
            '&' => match escape(rest) {
                Some((c, length)) => {
                    out.push(c);
                    length
                }
                None => {
                    out.push('&');
                    1
                }
            },
            c => {
                out.push(c);
                c.len_utf8()
            }
        };
    }
    match open.pop() {
        Some(left) => Err(format!("Can't find end tag corresponding to start tag \"{}\"", left.tag)),
        None => Ok(out.finish()),
    }
}

/// Reads the tag that `rest` starts with, at byte `at` of the source; returns its length.
fn tag(rest: &str, at: usize, out: &mut Builder, open: &mut Vec<Open>) -> Result<usize, String> {
    let closing = rest.starts_with("</");
    let Some(end) = rest.find('>') else {
        let which = if closing { "end" } else { "start" };
        return Err(format!("Unclosed {which} tag at byte offset {at}"));
    };
    let inside = &rest[if closing { 2 } else { 1 }..end];
    let name_end = inside.find(char::is_whitespace).unwrap_or(inside.len());
    let name = inside[..name_end].to_ascii_lowercase();
    if closing {
        close(&name, at, out, open)?;
        return Ok(end + 1);
    }
    if kind(&name).is_none() {
        return Err(format!("Unsupported start tag \"{name}\" at byte offset {at}"));
    }
    let extra = match name.as_str() {
        "a" => attribute(inside, "href").map(|url| ("url", url)),
        "code" | "pre" => attribute(inside, "class").and_then(|class| {
            class.strip_prefix("language-").map(|language| ("language", language.to_owned()))
        }),
        "tg-emoji" => attribute(inside, "emoji-id").map(|id| ("custom_emoji_id", id)),
        _ => None,
    };
    open.push(Open { tag: name, start: out.units, extra });
    Ok(end + 1)
}

fn close(name: &str, at: usize, out: &mut Builder, open: &mut Vec<Open>) -> Result<(), String> {
    let Some(opened) = open.pop() else {
        return Err(format!("Unexpected end tag at byte offset {at}"));
    };
    if !name.is_empty() && name != opened.tag {
        let expected = &opened.tag;
        return Err(format!(
            "Unmatched end tag at byte offset {at}, expected \"</{expected}>\", found \"</{name}>\""
        ));
    }
    // A link without an address is plain text.
    if opened.tag == "a" && opened.extra.is_none() {
        return Ok(());
    }
    if let Some(kind) = kind(&opened.tag) {
        out.entity(kind, opened.start, opened.extra);
    }
    Ok(())
}

fn kind(tag: &str) -> Option<&'static str> {
    Some(match tag {
        "b" | "strong" => "bold",
        "i" | "em" => "italic",
        "u" | "ins" => "underline",
        "s" | "strike" | "del" => "strikethrough",
        "tg-spoiler" | "span" => "spoiler",
        "a" => "text_link",
        "code" => "code",
        "pre" => "pre",
        "blockquote" => "blockquote",
        "tg-emoji" => "custom_emoji",
        _ => return None,
    })
}

/// The value of `name="…"` or `name='…'`.
fn attribute(inside: &str, name: &str) -> Option<String> {
    let after = inside.split_once(&format!("{name}="))?.1;
    let quote = after.chars().next().filter(|c| ['"', '\''].contains(c))?;
    let value = after[1..].split_once(quote)?.0;
    let mut out = String::new();
    let mut rest = value;
    while let Some(c) = rest.chars().next() {
        let (c, length) = escape(rest).filter(|_| c == '&').unwrap_or((c, c.len_utf8()));
        out.push(c);
        rest = &rest[length..];
    }
    Some(out)
}

/// `&lt;` and its kin at the start of `rest`, and its length.
fn escape(rest: &str) -> Option<(char, usize)> {
    let end = rest.find(';').filter(|&end| end <= 10)?;
    let name = rest.get(1..end)?;
    let c = match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).filter(|&c| c != '\0')?
        }
    };
    Some((c, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tags_become_entities_and_escapes_become_characters() {
        let formatted =
            parse(r#"a &lt; <b>b <i>c</i></b> <a href="https://x.y/?a&amp;b">d</a> &#128512; AT&T"#).unwrap();
        assert_eq!(formatted.text, "a < b c d 😀 AT&T");
        let expected = [
            json!({"type": "bold", "offset": 4, "length": 3}),
            json!({"type": "italic", "offset": 6, "length": 1}),
            json!({"type": "text_link", "offset": 8, "length": 1, "url": "https://x.y/?a&b"}),
        ];
        assert_eq!(formatted.entities, expected);
    }

    #[test]
    fn unbalanced_tags_are_refused_in_telegrams_words() {
        let cases = [
            ("<b>x", r#"Can't find end tag corresponding to start tag "b""#),
            ("<b>x</i>", r#"Unmatched end tag at byte offset 4, expected "</b>", found "</i>""#),
            ("x</b>", "Unexpected end tag at byte offset 1"),
            ("1 < 2", "Unclosed start tag at byte offset 2"),
            ("<h1>x</h1>", r#"Unsupported start tag "h1" at byte offset 0"#),
        ];
        for (source, expected) in cases {
            assert_eq!(parse(source).unwrap_err(), expected, "{source}");
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused_but_never_panics() {
        for source in ["<", "</", "<>", "&", "&;", "&é;", "<é>", "<a href=>x</a>", "<a href=\"é>x</a>", "</>"]
        {
            drop(parse(source));
        }
    }
}
