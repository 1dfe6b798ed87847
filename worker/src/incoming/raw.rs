//! Parts of a JSON string token, taken without unescaping it: so a lone surrogate in a command's arguments
//! is passed on as it came (contract 9), as it is in a whole text.

use serde_json::value::RawValue;

/// What follows the first `units` UTF-16 units of a string, trimmed, as a token of its own; none where
/// nothing is left.
pub(super) fn rest(token: &RawValue, units: usize) -> Option<Box<RawValue>> {
    let inner = token.get().strip_prefix('"')?.strip_suffix('"')?;
    let (mut at, mut passed) = (0, 0);
    let mut kept: Option<(usize, usize)> = None;
    while let Some(piece) = Piece::read(inner.get(at..)?) {
        let end = at + piece.bytes;
        if passed >= units && !piece.blank {
            kept = Some((kept.map_or(at, |(start, _)| start), end));
        }
        passed += piece.units;
        at = end;
    }
    let (start, end) = kept?;
    token_of(inner.get(start..end)?)
}

/// What follows the first `units` UTF-16 units of a string, as a token of its own.
pub(super) fn end(token: &RawValue, units: usize) -> Option<Box<RawValue>> {
    let inner = token.get().strip_prefix('"')?.strip_suffix('"')?;
    let (mut at, mut passed) = (0, 0);
    while passed < units {
        let piece = Piece::read(inner.get(at..)?)?;
        passed += piece.units;
        at += piece.bytes;
    }
    token_of(inner.get(at..)?)
}

fn token_of(inner: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(format!("\"{inner}\"")).ok()
}

/// A character or an escape. Each half of an escaped pair is one.
struct Piece {
    bytes: usize,
    units: usize,
    blank: bool,
}

impl Piece {
    fn read(rest: &str) -> Option<Self> {
        let first = rest.chars().next()?;
        if first != '\\' {
            return Some(Self {
                bytes: first.len_utf8(),
                units: first.len_utf16(),
                blank: first.is_whitespace(),
            });
        }
        let Some(code) = rest.strip_prefix("\\u") else {
            let blank = rest.get(1..2).is_some_and(|escape| matches!(escape, "n" | "r" | "t" | "f"));
            return Some(Self { bytes: 2, units: 1, blank });
        };
        let unit = u32::from_str_radix(code.get(..4)?, 16).ok()?;
        Some(Self { bytes: 6, units: 1, blank: char::from_u32(unit).is_some_and(char::is_whitespace) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rest_of(token: &str, units: usize) -> Option<String> {
        let token = RawValue::from_string(token.to_owned()).unwrap();
        rest(&token, units).map(|rest| rest.get().to_owned())
    }

    #[test]
    fn escapes_are_kept_and_whitespace_trimmed() {
        for (token, units, expected) in [
            (r#""/start \ud83d x""#, 6, Some(r#""\ud83d x""#)),
            (r#""/start\n\u0020 a\u0020\"b\" \t""#, 6, Some(r#""a\u0020\"b\"""#)),
            (r#""\/start 🙂\\ ""#, 6, Some(r#""🙂\\""#)),
            (r#""/start \n""#, 6, None),
            (r#""/start""#, 60, None),
        ] {
            assert_eq!(rest_of(token, units).as_deref(), expected, "{token}");
        }
    }

    #[test]
    fn an_end_is_as_it_came() {
        for (token, units, expected) in [
            (r#""ACCEPT:\ud83d ""#, 7, r#""\ud83d ""#),
            (r#""A\u003a\"\ud83dx""#, 2, r#""\"\ud83dx""#),
            (r#""\ud83d\ude00:\udc00""#, 3, r#""\udc00""#),
            (r#""ab""#, 2, r#""""#),
        ] {
            let token = RawValue::from_string(token.to_owned()).unwrap();
            assert_eq!(end(&token, units).unwrap().get(), expected, "{token}");
        }
        assert!(end(&RawValue::from_string(r#""ab""#.to_owned()).unwrap(), 3).is_none());
    }

    proptest! {
        #[test]
        fn it_says_the_same_as_the_unescaped_text(head in "/[a-z]{1,5}", tail in "[ \n\t]\\PC{0,10}[ \n\\\\\"]{0,3}") {
            let token = serde_json::to_string(&format!("{head}{tail}")).unwrap();
            let read = rest_of(&token, head.len()).map(|rest| serde_json::from_str::<String>(&rest).unwrap());
            prop_assert_eq!(read.unwrap_or_default(), tail.trim());
        }
    }
}
