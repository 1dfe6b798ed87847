//! What a table's rows match and which of them goes first: tests that are meant to be read. Each has rows, by a
//! name and as a routes file writes them, and updates with the name of the row that takes each.

use super::*;

/// A row's name, and its conditions.
type Row<'a> = (&'a str, &'a str);

const NOBODY: &str = "nobody";

fn table(rows: &[Row<'_>]) -> Table {
    let row = |(name, conditions): &Row<'_>| {
        format!("[[routes]]\nname = \"{name}\"\n{conditions}\nservice = \"conversation\"\n")
    };
    let file: String = rows.iter().map(row).collect();
    Table::parse(&file, "routes.toml", &|_| None).unwrap()
}

/// For the bot @TheBot.
fn taken_by<'t>(table: &'t Table, update: &Incoming) -> Found<'t> {
    let nobody = Target::Reply("");
    let found = table.find(update, Some("TheBot"));
    found.unwrap_or(Found { route: NOBODY, target: nobody, action: None, param: None })
}

fn check(rows: &[Row<'_>], cases: &[(Incoming, &str)]) {
    let table = table(rows);
    for (at, (update, expected)) in cases.iter().enumerate() {
        assert_eq!(taken_by(&table, update).route, *expected, "case {at} of {rows:#?}");
    }
}

/// An update of that kind in a private chat, by a user without a language.
fn update(kind: &str, content: &str) -> Incoming {
    update_in("private", kind, content)
}

fn update_in(chat: &str, kind: &str, content: &str) -> Incoming {
    let update = format!(
        r#"{{"update_id":7,"{kind}":{{"chat":{{"id":1,"type":"{chat}"}},"from":{{"id":1}},{content}}}}}"#
    );
    Incoming::read(update.as_bytes())
}

fn text(text: &str) -> Incoming {
    update("message", &format!(r#""text":"{text}""#))
}

fn in_group(text: &str) -> Incoming {
    update_in("supergroup", "message", &format!(r#""text":"{text}""#))
}

fn photo(caption: &str) -> Incoming {
    update("message", &format!(r#""photo":[{{}}],"caption":"{caption}""#))
}

fn press(data: &str) -> Incoming {
    let message = r#"{"message_id":5,"text":"choose","chat":{"id":1,"type":"private"}}"#;
    let update = format!(
        r#"{{"update_id":7,"callback_query":{{"id":"9","from":{{"id":1}},"data":"{data}","message":{message}}}}}"#
    );
    Incoming::read(update.as_bytes())
}

/// By a user whose Telegram speaks that language.
fn speaking(code: &str, mut update: Incoming) -> Incoming {
    update.user.as_mut().unwrap().language_code = Some(code.to_owned());
    update
}

#[test]
fn commands() {
    let rows = [("start", r#"command = "/start""#), ("text", "text = true")];
    check(
        &rows,
        &[
            (text("/start"), "start"),
            (text("/Start"), "start"),
            (text("/start@thebot"), "start"),
            (in_group("/start@TheBot"), "start"),
            // With arguments, and with the payload of a deep link (t.me/thebot?start=ref_42).
            (text("/start now please"), "start"),
            (text("/start ref_42"), "start"),
            // A caption's command is one too.
            (photo("/start"), "start"),
            // For another bot: nobody's, not even a text.
            (in_group("/start@otherbot"), NOBODY),
            // A command that no row names is a text like any other, and so is one that is not at the start.
            (text("/started"), "text"),
            (text("/shrug"), "text"),
            (text("please /start"), "text"),
            // New messages only: an edit needs a row with `kind = "edited_message"`.
            (update("edited_message", r#""text":"/start""#), NOBODY),
        ],
    );
}

#[test]
fn buttons() {
    let rows = [("vote", r#"callback = "VOTE""#), ("vote up", r#"callback = "VOTE:up""#)];
    let table = table(&rows);
    for (data, route, action, param) in [
        ("VOTE", "vote", Some("VOTE"), None),
        ("VOTE:", "vote", Some("VOTE"), None),
        ("VOTE:42", "vote", Some("VOTE"), Some("42")),
        ("VOTE:42:x", "vote", Some("VOTE"), Some("42:x")),
        // The longest prefix, wherever it stands.
        ("VOTE:up", "vote up", Some("VOTE:up"), None),
        ("VOTE:up:42", "vote up", Some("VOTE:up"), Some("42")),
        // A prefix ends at a colon, and is compared with case.
        ("VOTE:upper", "vote", Some("VOTE"), Some("upper")),
        ("VOTES", NOBODY, None, None),
        ("vote:42", NOBODY, None, None),
    ] {
        let found = taken_by(&table, &press(data));
        assert_eq!(
            (found.route, found.action.as_deref(), found.param.as_deref()),
            (route, action, param),
            "{data}"
        );
    }
    // Every other button, with what stands before and behind its first colon.
    let any = self::table(&[("any", r#"kind = "callback_query""#)]);
    let found = taken_by(&any, &press("A:b:c"));
    assert_eq!(
        (found.route, found.action.as_deref(), found.param.as_deref()),
        ("any", Some("A"), Some("b:c"))
    );
}

#[test]
fn texts_and_patterns() {
    let rows = [
        ("text", "text = true"),
        ("weather", r#"text = "(?i)\\bweather\\b""#),
        ("greeting", r#"text = "^(hi|hello)""#),
    ];
    check(
        &rows,
        &[
            (text("what about the weather?"), "weather"),
            (text("WEATHER"), "weather"),
            (text("weathered"), "text"),
            (text("hello"), "greeting"),
            (text("oh hello"), "text"),
            // Both patterns fit: the first in the file.
            (text("hello weather"), "weather"),
            // A caption is no text, and neither is an edited text or a post.
            (photo("weather"), NOBODY),
            (update("edited_message", r#""text":"weather""#), NOBODY),
            (update_in("channel", "channel_post", r#""text":"weather""#), NOBODY),
        ],
    );
}

#[test]
fn kinds_of_content() {
    let rows = [
        ("photo", r#"content = "photo""#),
        ("voice", r#"content = "voice""#),
        ("place", r#"content = "location""#),
        ("joined", r#"content = "new_chat_members""#),
        ("for sale", "content = \"photo\"\ntext = \"#sell\""),
    ];
    check(
        &rows,
        &[
            (photo("me"), "photo"),
            // `text` beside a content is the caption's.
            (photo("my bike #sell"), "for sale"),
            (update("message", r#""voice":{}"#), "voice"),
            (update("message", r#""location":{}"#), "place"),
            (update("message", r#""new_chat_members":[]"#), "joined"),
            // What Telegram sends twice over is what it is: a venue is no location, an animation no document.
            (update("message", r#""location":{},"venue":{}"#), NOBODY),
            (update("message", r#""sticker":{}"#), NOBODY),
            (text("a photo"), NOBODY),
        ],
    );
}

#[test]
fn kinds_of_update() {
    let rows = [
        ("edit", r#"kind = "edited_message""#),
        ("edited command", "kind = \"edited_message\"\ncommand = \"/start\""),
        ("vote", r#"kind = "poll_answer""#),
        ("inline", r#"kind = "inline_query""#),
        ("of the future", r#"kind = "brand_new""#),
    ];
    check(
        &rows,
        &[
            (update("edited_message", r#""text":"oh""#), "edit"),
            (update("edited_message", r#""text":"/start""#), "edited command"),
            (Incoming::read(br#"{"update_id":7,"poll_answer":{"user":{"id":1}}}"#), "vote"),
            (Incoming::read(br#"{"update_id":7,"inline_query":{"id":"1","query":"cats"}}"#), "inline"),
            (update("brand_new", r#""x":1"#), "of the future"),
            (text("oh"), NOBODY),
        ],
    );
}

#[test]
fn kinds_of_chat() {
    let rows = [
        ("private", "chat = \"private\"\ntext = true"),
        ("group", "chat = \"group\"\ntext = true"),
        ("channel", "chat = \"channel\"\ntext = true"),
    ];
    check(
        &rows,
        &[
            (text("hi"), "private"),
            (update_in("group", "message", r#""text":"hi""#), "group"),
            (update_in("supergroup", "message", r#""text":"hi""#), "group"),
            // In a channel there are no messages but posts.
            (update_in("channel", "channel_post", r#""text":"hi""#), "channel"),
        ],
    );
}

#[test]
fn languages() {
    let rows = [
        ("anybody", r#"command = "/start""#),
        ("portuguese", "command = \"/start\"\nlanguage = \"pt\""),
        ("brazilian", "command = \"/start\"\nlanguage = \"pt-BR\""),
        ("european", "command = \"/start\"\nlanguages = [\"de\", \"fr\", \"it\"]"),
        ("german button", "callback = \"VOTE\"\nlanguage = \"de\""),
    ];
    check(
        &rows,
        &[
            (speaking("pt", text("/start")), "portuguese"),
            (speaking("pt-pt", text("/start")), "portuguese"),
            // The narrower language goes first, wherever it stands.
            (speaking("pt-br", text("/start")), "brazilian"),
            (speaking("PT_BR", text("/start")), "brazilian"),
            (speaking("fr", text("/start")), "european"),
            (speaking("it-CH", text("/start")), "european"),
            // Another language, or none.
            (speaking("ptx", text("/start")), "anybody"),
            (speaking("en", text("/start")), "anybody"),
            (text("/start"), "anybody"),
            // Who presses a button has a language too.
            (speaking("de-at", press("VOTE:1")), "german button"),
            (press("VOTE:1"), NOBODY),
        ],
    );
    // One row of several languages stands where each of them belongs.
    let rows = [
        ("wide", "text = true\nlanguages = [\"pt\", \"en-GB\"]"),
        ("brazilian", "text = true\nlanguage = \"pt-BR\""),
        ("english", "text = true\nlanguage = \"en\""),
    ];
    check(
        &rows,
        &[
            (speaking("pt-br", text("oi")), "brazilian"),
            (speaking("pt", text("oi")), "wide"),
            (speaking("en-gb", text("hi")), "wide"),
            (speaking("en-us", text("hi")), "english"),
        ],
    );
}

/// One update that all these rows fit. The file has them in the wrong order; each in turn is taken away when
/// it has won.
#[test]
fn the_most_specific_row_goes_first_whatever_the_order_of_the_file() {
    let mut ladder = vec![
        ("command, chat and language", "command = \"/sell\"\nchat = \"private\"\nlanguage = \"de\""),
        ("command and narrow language", "command = \"/sell\"\nlanguage = \"de-AT\""),
        ("command and language", "command = \"/sell\"\nlanguage = \"de\""),
        ("command and chat", "command = \"/sell\"\nchat = \"private\""),
        ("command", r#"command = "/sell""#),
        ("pattern and content", "text = \"bike\"\ncontent = \"text\""),
        ("pattern", r#"text = "bike""#),
        ("text and language", "text = true\nlanguage = \"de\""),
        ("text", "text = true"),
        ("content and chat", "content = \"text\"\nchat = \"private\""),
        ("content", r#"content = "text""#),
        ("kind", r#"kind = "message""#),
        ("chat", r#"chat = "private""#),
        ("anything", ""),
    ];
    let update = speaking("de-at", text("/sell my bike"));
    while !ladder.is_empty() {
        let file: Vec<_> = ladder.iter().rev().copied().collect();
        assert_eq!(taken_by(&table(&file), &update).route, ladder.remove(0).0, "{file:#?}");
    }
}

#[test]
fn among_equals_the_first_in_the_file() {
    for (first, second) in [
        ("command = \"/sell\"\nchat = \"private\"", "command = \"/sell\"\nkind = \"message\""),
        (r#"text = "bike""#, r#"text = "^/sell my bike$""#),
        (r#"text = "(?i)BIKE""#, r#"text = "b.ke""#),
        (r#"language = "de""#, r#"languages = ["fr", "de"]"#),
    ] {
        let update = speaking("de-at", text("/sell my bike"));
        assert_eq!(taken_by(&table(&[("a", first), ("b", second)]), &update).route, "a");
        assert_eq!(taken_by(&table(&[("a", second), ("b", first)]), &update).route, "a");
    }
}

/// `sticky` of contract 4: this user's free texts in this chat go to a service for a while.
#[test]
fn a_sticky_service_stands_after_commands_and_before_patterns() {
    let table = table(&[
        ("command", r#"command = "/weather""#),
        ("pattern", r#"text = "weather""#),
        ("photo", r#"content = "photo""#),
        ("edit", r#"kind = "edited_message""#),
    ]);
    for (update, expected) in [
        (text("/weather"), "command"),
        (text("the weather"), STICKY_ROUTE),
        (text("anything"), STICKY_ROUTE),
        (text("/shrug"), STICKY_ROUTE),
        (in_group("/weather@otherbot"), NOBODY),
        (photo("weather"), "photo"),
        (self::update("edited_message", r#""text":"weather""#), "edit"),
    ] {
        let found = table.find_with_sticky(&update, Some("TheBot"), Some("matching"));
        assert_eq!(found.map_or(NOBODY, |found| found.route), expected);
        // One that the table does not know any more is passed over.
        let gone = table.find_with_sticky(&update, Some("TheBot"), Some("gone"));
        assert_eq!(gone, table.find(&update, Some("TheBot")));
    }
}

#[test]
fn a_fixed_reply_is_in_the_users_language() {
    let file = r#"
        [[routes]]
        command = "/start"
        reply = { default = "Hello!", de = "Hallo!", pt = "Olá!", "pt-BR" = "Oi!" }

        [[routes]]
        command = "/help"
        [routes.reply]
        default = "Write to us."
        fr = "Écrivez-nous."
    "#;
    let table = Table::parse(file, "routes.toml", &|_| None).unwrap();
    for (code, command, expected) in [
        ("de", "/start", "Hallo!"),
        ("de-CH", "/start", "Hallo!"),
        ("pt-pt", "/start", "Olá!"),
        ("pt-br", "/start", "Oi!"),
        ("en", "/start", "Hello!"),
        ("", "/start", "Hello!"),
        ("fr", "/help", "Écrivez-nous."),
        ("de", "/help", "Write to us."),
    ] {
        let update = speaking(code, text(command));
        assert_eq!(taken_by(&table, &update).target, Target::Reply(expected), "{code} {command}");
    }
    assert_eq!(taken_by(&table, &text("/start")).target, Target::Reply("Hello!"), "no language");
}
