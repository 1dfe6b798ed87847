//! parse_mode Markdown, the old one: no nesting, and a mark that is not closed is an error.

use super::{Builder, Formatted};

pub(super) fn parse(source: &str) -> Result<Formatted, String> {
    let mut out = Builder::default();
    let mut at = 0;
    while let Some(c) = source[at..].chars().next() {
        let rest = &source[at..];
        at += match c {
            '\\' => match rest[1..].chars().next().filter(|c| "_*`[".contains(*c)) {
                Some(next) => {
                    out.push(next);
                    2
                }
                None => {
                    out.push(c);
                    1
                }
            },
            '_' | '*' | '`' => span(rest, at, &mut out)?,
            '[' => link(rest, at, &mut out)?,
            c => {
                out.push(c);
                c.len_utf8()
            }
        };
    }
    Ok(out.finish())
}

fn span(rest: &str, at: usize, out: &mut Builder) -> Result<usize, String> {
    let (mark, kind) = match rest {
        _ if rest.starts_with("```") => ("```", "pre"),
        _ if rest.starts_with('`') => ("`", "code"),
        _ if rest.starts_with('*') => ("*", "bold"),
        _ => ("_", "italic"),
    };
    let inside = &rest[mark.len()..];
    let end = inside.find(mark).ok_or_else(|| unclosed(at))?;
    let start = out.units;
    inside[..end].chars().for_each(|c| out.push(c));
    out.entity(kind, start, None);
    Ok(2 * mark.len() + end)
}

fn link(rest: &str, at: usize, out: &mut Builder) -> Result<usize, String> {
    let end = rest.find(']').ok_or_else(|| unclosed(at))?;
    let start = out.units;
    rest[1..end].chars().for_each(|c| out.push(c));
    let address = rest[end + 1..].strip_prefix('(').and_then(|after| after.split_once(')'));
    let Some((url, _)) = address else {
        return Ok(end + 1);
    };
    out.entity("text_link", start, Some(("url", url.to_owned())));
    Ok(end + 1 + url.len() + 2)
}

fn unclosed(at: usize) -> String {
    format!("Can't find end of the entity starting at byte offset {at}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_entities_or_are_refused() {
        let formatted = parse("*b* _i_ `c` [l](https://x.y) \\_ 1.5").unwrap();
        assert_eq!(formatted.text, "b i c l _ 1.5");
        assert_eq!(formatted.entities.len(), 4);
        let refused = parse("snake_case").unwrap_err();
        assert_eq!(refused, "Can't find end of the entity starting at byte offset 5");
    }
}
