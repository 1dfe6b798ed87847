use proptest::prelude::*;

use super::*;

fn pieces(text: &str) -> Vec<Cow<'_, str>> {
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
        (Markup::Html, "<tg-emoji emoji-id=\"1\">x</tg-emoji>"),
        (Markup::Html, "&#128512;"),
        (Markup::MarkdownV2, "[a b](https://a.example/x y)"),
        (Markup::MarkdownV2, "![x](tg://emoji?id=1)"),
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

/// The pieces of a text of `before`, some 6,000 code points in words, and `after`.
fn around(before: &str, after: &str, markup: Markup) -> Vec<String> {
    let text = format!("{before}{}{after}", "word ".repeat(1200).trim_end());
    split(&text, TEXT_LIMIT, markup).into_iter().map(Cow::into_owned).collect()
}

#[test]
fn what_is_marked_on_both_sides_of_a_seam_is_closed_and_opened_again() {
    for (markup, opens, again, closes) in [
        (Markup::Html, "<b>", "<b>", "</b>"),
        (
            Markup::Html,
            "<i><a href=\"https://a.example/?a=1\">",
            "<i><a href=\"https://a.example/?a=1\">",
            "</a></i>",
        ),
        (
            Markup::Html,
            "<pre><code class=\"language-rust\">",
            "<pre><code class=\"language-rust\">",
            "</code></pre>",
        ),
        (Markup::MarkdownV2, "*", "*", "*"),
        (Markup::MarkdownV2, "||~", "||~", "~||"),
        (Markup::MarkdownV2, "___", "___", "_**__"),
        (Markup::MarkdownV2, "```rust\n", "```rust\n", "```"),
        (Markup::MarkdownV2, "`", "`", "`"),
        (Markup::MarkdownV2, ">_", ">_", "_"),
        (Markup::Markdown, "*", "*", "*"),
        (Markup::Markdown, "```\n", "```\n", "```"),
    ] {
        let pieces = around(&format!("A {}start ", opens), &format!("{closes} end"), markup);
        // A quote begins at a line.
        let pieces =
            if opens.starts_with('>') { around(&format!("{opens}start "), closes, markup) } else { pieces };
        let is_quote = opens.starts_with('>');
        assert_eq!(pieces.len(), 2, "{opens}");
        assert!(
            pieces[0].starts_with(&format!("{}{opens}start", if is_quote { "" } else { "A " })),
            "{opens}"
        );
        assert!(
            pieces[0].ends_with(&format!("word{closes}")),
            "{opens} {}",
            &pieces[0][pieces[0].len() - 30..]
        );
        assert!(pieces[1].starts_with(&format!("{again}word")), "{opens} {}", &pieces[1][..30]);
        assert!(
            pieces[1].ends_with(&format!("word{closes}{}", if is_quote { "" } else { " end" })),
            "{opens}"
        );
        assert!(pieces.iter().all(|piece| piece.chars().count() <= TEXT_LIMIT), "{opens}");
    }
}

#[test]
fn a_mark_that_ends_at_the_seam_is_not_opened_again() {
    let (a, b) = ("a".repeat(3000), "b".repeat(3000));
    for (markup, opens, closes) in [(Markup::Html, "<b>", "</b>"), (Markup::MarkdownV2, "__", "__")] {
        for text in [
            format!("{opens}{a}{closes} {b}"),
            format!("{opens}{a} {closes}{b}"),
            format!("{a} {opens}{b}{closes}"),
        ] {
            let pieces = split(&text, TEXT_LIMIT, markup);
            let marked = |text: &str| format!("{opens}{text}{closes}");
            let (first, second) =
                if text.starts_with(opens) { (marked(&a), b.clone()) } else { (a.clone(), marked(&b)) };
            assert_eq!(pieces, [first, second], "{opens}");
        }
    }
}

#[test]
fn a_quote_of_several_lines_goes_on_behind_the_seam() {
    let line = format!(">{}\n", "word ".repeat(100).trim_end());
    let text = line.repeat(12);
    for piece in split(&text, TEXT_LIMIT, Markup::MarkdownV2) {
        assert!(piece.lines().all(|line| line.starts_with('>') && !line.starts_with(">>")), "{piece}");
    }
}

#[test]
fn code_keeps_its_indentation_at_a_seam() {
    let text = format!("<pre>{}\n    {}</pre>", "a".repeat(3000), "b".repeat(3000));
    let pieces = split(&text, TEXT_LIMIT, Markup::Html);
    assert!(pieces[1].starts_with("<pre>    bbb"), "{}", &pieces[1][..20]);
}

/// Marked texts that nest as they may, some of them long.
fn marked(markup: Markup) -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "[a-zé🙂]{1,9}",
        Just(" ".to_owned()),
        Just("\n\n".to_owned()),
        Just(" word".repeat(700)),
        Just("x".repeat(3000)),
    ];
    let signs: &[(&str, &str)] = match markup {
        Markup::Html => &[
            ("<b>", "</b>"),
            ("<a href=\"https://a.example\">", "</a>"),
            ("<u>", "</u>"),
            ("<pre>", "</pre>"),
        ],
        _ => &[("*", "*"), ("||", "||"), ("~", "~")],
    };
    let of = move |inner: BoxedStrategy<String>| {
        (prop::sample::select(signs), prop::collection::vec(inner, 1..5)).prop_map(
            |((opens, closes), inner)| {
                // Nothing within itself: that would end it.
                let inner = inner.concat();
                if inner.contains(opens) { inner } else { format!("{opens}{inner}{closes}") }
            },
        )
    };
    let nested = word.prop_recursive(4, 24, 5, move |inner| of(inner).boxed());
    prop::collection::vec(nested, 1..8).prop_map(|parts| parts.concat())
}

/// What a reader sees, without spaces, and whether everything that begins also ends.
fn seen(text: &str, markup: Markup) -> (String, bool) {
    let (mut scan, mut seen) = (Scan::new(text, markup, Open::default()), String::new());
    loop {
        let from = scan.at;
        match scan.step() {
            Some(Step::Text) => seen.push_str(text[from..scan.at].trim()),
            Some(_) => {}
            None => return (seen, scan.open == Open::default()),
        }
    }
}

fn holds(text: &str, markup: Markup) -> Result<(), TestCaseError> {
    let (whole, balanced) = seen(text, markup);
    let mut all = String::new();
    for piece in split(text, TEXT_LIMIT, markup) {
        prop_assert!(piece.chars().count() <= TEXT_LIMIT);
        let (seen, whole) = seen(&piece, markup);
        prop_assert!(whole || !balanced, "{piece}");
        all += &seen;
    }
    prop_assert_eq!(all, whole);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn the_pieces_of_a_marked_text_are_marked_texts(html in marked(Markup::Html), v2 in marked(Markup::MarkdownV2)) {
        holds(&html, Markup::Html)?;
        holds(&v2, Markup::MarkdownV2)?;
    }
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
    fn nothing_but_whitespace_at_seams_is_lost(text in text(), caption: bool) {
        let first = if caption { CAPTION_LIMIT } else { TEXT_LIMIT };
        let pieces = split(&text, first, Markup::Plain);
        let mut rest = text.as_str();
        for (index, piece) in pieces.iter().enumerate() {
            let limit = if index == 0 { first } else { TEXT_LIMIT };
            prop_assert!(piece.chars().count() <= limit);
            prop_assert!(pieces.len() == 1 || !piece.trim().is_empty());
            let after = rest.strip_prefix(piece.as_ref()).or_else(|| rest.trim_start().strip_prefix(piece.as_ref()));
            prop_assert!(after.is_some(), "piece {} is not what follows", index);
            rest = after.unwrap_or_default();
        }
        prop_assert!(rest.trim().is_empty());
    }
}
