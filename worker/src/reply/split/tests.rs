use proptest::prelude::*;

use super::*;

fn pieces(text: &str) -> Vec<&str> {
    split(text, TEXT_LIMIT, Markup::Plain)
}

fn lengths(text: &str, markup: Markup) -> Vec<usize> {
    split(text, TEXT_LIMIT, markup).iter().map(|piece| piece.chars().count()).collect()
}

#[test]
fn a_text_that_fits_is_left_as_it_is() {
    let text = format!(" {} ", "🙂".repeat(4094));
    assert_eq!(pieces(&text), [text.as_str()]);
}

#[test]
fn the_best_boundary_in_the_second_half_is_taken() {
    let (a, b) = ("a".repeat(2500), "b".repeat(500));
    for (seam, first) in [
        // Both a better and a later, worse boundary are there: the better one wins.
        ("\n\n", 2500),
        ("\r\n\r\n", 2500),
        ("\n", 2500),
        (". ", 2501),
        ("!” ", 2502),
        ("。", 2501),
    ] {
        let text = format!("{a}{seam}{b} {}", "c".repeat(3000));
        assert_eq!(lengths(&text, Markup::Plain)[0], first, "{seam:?}");
    }
    let words = format!("{a} {b} {}", "c".repeat(3000));
    assert_eq!(lengths(&words, Markup::Plain), [3001, 3000]);
}

#[test]
fn a_paragraph_in_the_first_half_makes_no_tiny_piece() {
    let text = format!("Hi!\n\n{}", "word ".repeat(1000));
    assert!(lengths(&text, Markup::Plain)[0] > 4000);
}

#[test]
fn an_early_word_goes_before_a_cut_and_a_cut_only_when_there_is_no_other_way() {
    assert_eq!(lengths(&format!("ab {}", "c".repeat(5000)), Markup::Plain), [2, 4096, 904]);
    assert_eq!(lengths(&"🙂".repeat(9000), Markup::Plain), [4096, 4096, 808]);
}

#[test]
fn what_is_seen_as_one_character_is_not_torn() {
    for one in ["e\u{301}", "👍🏽", "👩\u{200d}🚀", "🇩🇪", "❤\u{fe0f}"] {
        for shift in 0..3 {
            let text = format!("{}{}", "x".repeat(shift), one.repeat(4000));
            for piece in pieces(&text) {
                assert_eq!(piece.trim_start_matches('x').replace(one, ""), "", "{one} {shift}");
            }
        }
    }
}

#[test]
fn markup_is_not_torn() {
    for (markup, one) in [
        (Markup::Html, "&amp;"),
        (Markup::Html, "<a href=\"x y\">"),
        (Markup::Html, "&#128512;"),
        (Markup::Markdown, "\\_"),
        (Markup::Markdown, "\\\\"),
    ] {
        for shift in 0..8 {
            let text = format!("{}{}", "x".repeat(shift), one.repeat(2500));
            for piece in split(&text, TEXT_LIMIT, markup) {
                assert_eq!(piece.trim_start_matches('x').replace(one, ""), "", "{one} {shift}");
            }
        }
    }
    // Nowhere to end: a cut, and no endless loop.
    assert_eq!(lengths(&format!("<{}", "x".repeat(5000)), Markup::Html), [4096, 905]);
}

/// Texts of all that matters here, at a scale at which they are split.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just(" ".to_owned()),
        Just("\n\n".to_owned()),
        Just("\r\n".to_owned()),
        Just(". ".to_owned()),
        Just("<b>".to_owned()),
        Just("&lt;".to_owned()),
        Just("\\".to_owned()),
        Just("👩\u{200d}🚀".to_owned()),
        "[a-zé🙂]{1,9}",
        "\\PC{0,5}",
        Just("x".repeat(3000)),
        Just(" ".repeat(5000)),
        Just("\u{301}".repeat(4500)),
    ];
    proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat().repeat(3))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nothing_but_whitespace_at_seams_is_lost(text in text(), caption: bool, html: bool) {
        let first = if caption { CAPTION_LIMIT } else { TEXT_LIMIT };
        let markup = if html { Markup::Html } else { Markup::Markdown };
        let pieces = split(&text, first, markup);
        let mut rest = text.as_str();
        for (index, piece) in pieces.iter().enumerate() {
            let limit = if index == 0 { first } else { TEXT_LIMIT };
            prop_assert!(piece.chars().count() <= limit);
            prop_assert!(pieces.len() == 1 || !piece.trim().is_empty());
            let after = rest.strip_prefix(*piece).or_else(|| rest.trim_start().strip_prefix(*piece));
            prop_assert!(after.is_some(), "piece {} is not what follows", index);
            rest = after.unwrap_or_default();
        }
        prop_assert!(rest.trim().is_empty());
    }
}
