use proptest::prelude::*;

use super::*;

fn read(kind: &str, body: &str) -> Incoming {
    Incoming::read(format!(r#"{{"update_id":7,"{kind}":{body}}}"#).as_bytes())
}

/// `name|bot|args` of a message with this text (already escaped for JSON) and these entities.
fn command(text: &str, entities: &str) -> String {
    match read("message", &format!(r#"{{"chat":{{"id":9}},"text":"{text}"{entities}}}"#)).command {
        Some(Command { name, bot, args, .. }) => {
            format!("{name}|{}|{}", bot.unwrap_or_default(), args.unwrap_or_default())
        }
        None => "none".to_owned(),
    }
}

#[test]
fn a_command_is_read_by_its_entity_or_by_the_first_word() {
    let at = |offset: i64, length: i64| {
        format!(r#","entities":[{{"type":"bot_command","offset":{offset},"length":{length}}}]"#)
    };
    let bold = r#","entities":[{"type":"bold","offset":0,"length":6}]"#;
    for (text, entities, expected) in [
        ("/start", at(0, 6).as_str(), "/start||"),
        ("/Start@TheBot  a  b ", &at(0, 13), "/start|thebot|a  b"),
        ("/start\\nnew line", &at(0, 6), "/start||new line"),
        ("/start🙂", &at(0, 6), "/start||🙂"),
        // Somewhere else, too long, or within a surrogate pair: no command.
        ("say /start", &at(4, 6), "none"),
        ("/start", &at(0, 60), "none"),
        ("/star🙂", &at(0, 6), "none"),
        ("/", &at(0, 1), "none"),
        ("start", &at(0, 5), "none"),
        ("/start", &at(0, -6), "none"),
        // Telegram looked and found something else: what it says counts.
        ("/start", bold, "none"),
        // No entities at all: the first word.
        ("/start", "", "/start||"),
        ("/HELP me please", "", "/help||me please"),
        ("/start@TheBot x", "", "/start|thebot|x"),
        ("/a@b.example", "", "/a@b.example||"),
        ("/start", r#","entities":[]"#, "/start||"),
        ("/start", r#","entities":"odd""#, "/start||"),
        ("hello /start", "", "none"),
        ("/", "", "none"),
        ("", "", "none"),
    ] {
        assert_eq!(command(text, entities), expected, "{text} {entities}");
    }
}

#[test]
fn a_caption_holds_a_command_too() {
    let photo = read(
        "message",
        r#"{"chat":{"id":9},"photo":[{}],"caption":"/sell bike","caption_entities":[{"type":"bot_command","offset":0,"length":5}]}"#,
    );
    assert_eq!(photo.command.unwrap().name, "/sell");
    assert_eq!(photo.content, Content::Written("photo"));
    assert!(photo.text.is_none());
    assert_eq!(photo.caption.unwrap().plain, "/sell bike");
}

#[test]
fn a_message_tells_who_where_when_and_what() {
    let message = read(
        "message",
        r#"{"message_id":5,"date":1700000000,"message_thread_id":9,"is_topic_message":true,"media_group_id":"g",
           "chat":{"id":-100,"type":"supergroup"},"from":{"id":42,"language_code":"de"},"text":"hi"}"#,
    );
    assert_eq!((message.update_id, message.kind.as_str()), (7, "message"));
    assert_eq!(message.chat, Some(Chat { id: -100, kind: ChatKind::Group }));
    assert_eq!(message.user, Some(User { id: 42, language_code: Some("de".into()) }));
    assert_eq!((message.message_id, message.thread), (Some(5), Some(9)));
    assert_eq!((message.date, message.album.as_deref()), (Some(1_700_000_000), Some("g")));
    assert_eq!(message.text.unwrap().plain, "hi");
}

#[test]
fn the_content_is_the_member_that_tells_it() {
    for (body, expected, charged) in [
        (r#""text":"x""#, "text", true),
        (r#""document":{},"animation":{}"#, "animation", true),
        (r#""location":{},"venue":{}"#, "venue", true),
        (r#""text":null,"photo":5,"document":{}"#, "document", true),
        (r#""photo":null,"voice":"x","text":7"#, "other", false),
        (r#""pinned_message":{"text":"x"}"#, "pinned_message", false),
        (r#""new_chat_members":[]"#, "new_chat_members", false),
        (r#""brand_new":{}"#, "other", false),
    ] {
        let message = read("message", &format!(r#"{{"chat":{{"id":9}},{body}}}"#));
        assert_eq!((message.content.name(), message.is_charged_kind()), (expected, charged), "{body}");
    }
    assert!(!read("edited_message", r#"{"text":"x"}"#).is_charged_kind());
    assert!(read("callback_query", "{}").is_charged_kind());
}

#[test]
fn a_callback_has_its_messages_chat_and_no_date() {
    let pressed = read(
        "callback_query",
        r#"{"id":"99","data":"CONNECT:7","from":{"id":42},
           "message":{"message_id":5,"date":1700000000,"text":"the card","chat":{"id":42,"type":"private"}}}"#,
    );
    assert_eq!(pressed.chat, Some(Chat { id: 42, kind: ChatKind::Private }));
    assert_eq!((pressed.message_id, pressed.date), (Some(5), None));
    assert!(pressed.text.is_none());
    assert_eq!(pressed.pressed(), Some("CONNECT:7"));
    assert!(pressed.has_chat_to_apologize());

    let inline = read("callback_query", r#"{"id":"99","inline_message_id":"i","from":{"id":42}}"#);
    assert_eq!(inline.callback.as_ref().unwrap().inline_message_id.as_deref(), Some("i"));
    assert!(!inline.has_chat_to_apologize());
}

#[test]
fn an_edit_happened_when_it_was_edited() {
    let edit = read("edited_message", r#"{"date":1000,"edit_date":2000,"text":"x"}"#);
    assert_eq!(edit.date, Some(2000));
}

#[test]
fn blocking_shows_in_the_private_chat_only() {
    let change = |chat: &str, old: &str, new: &str| {
        let body = format!(
            r#"{{"chat":{{"id":1,"type":"{chat}"}},"from":{{"id":1}},
                "old_chat_member":{{"status":"{old}"}},"new_chat_member":{{"status":"{new}"}}}}"#
        );
        read("my_chat_member", &body).membership
    };
    assert_eq!(change("private", "member", "kicked"), Some(Membership::Blocked));
    assert_eq!(change("private", "kicked", "member"), Some(Membership::Unblocked));
    assert_eq!(change("private", "member", "member"), None);
    assert_eq!(change("group", "member", "kicked"), None);
}

#[test]
fn queries_and_poll_answers_are_read_too() {
    let query = read("inline_query", r#"{"id":"q1","from":{"id":3},"query":"cats"}"#);
    assert_eq!((query.query_id.as_deref(), query.user.unwrap().id), (Some("q1"), 3));
    assert_eq!(query.text.unwrap().plain, "cats");
    assert_eq!(read("poll_answer", r#"{"user":{"id":4}}"#).user.unwrap().id, 4);
}

#[test]
fn a_lone_surrogate_is_kept_as_it_came() {
    let message = read("message", r#"{"chat":{"id":9},"text":"a\ud83d"}"#);
    assert_eq!(message.text.unwrap().raw.get(), r#""a\ud83d""#);
}

#[test]
fn without_a_chat_a_message_says_nothing() {
    for chat in ["", r#""chat":{"id":"7"},"#] {
        let message = read("message", &format!(r#"{{{chat}"from":{{"id":5}},"text":"/start"}}"#));
        assert!(message.text.is_none() && message.command.is_none(), "{chat}");
        assert_eq!((message.content, message.user.unwrap().id), (Content::Other, 5), "{chat}");
    }
}

#[test]
fn wrong_types_read_as_nothing() {
    for body in [
        r#"{"chat":5,"from":"x","message_id":"1","date":-1,"text":7,"caption":[],"entities":{}}"#,
        r#"[1]"#,
        "null",
        r#"{"chat":{"id":"5","type":4},"from":{"id":1.5}}"#,
    ] {
        let odd = read("message", body);
        assert!(
            odd.chat.is_none() && odd.user.is_none() && odd.text.is_none() && odd.date.is_none(),
            "{body}"
        );
        assert!(odd.command.is_none() && odd.message_id.is_none(), "{body}");
    }
    assert_eq!(Incoming::read(b"\xff").kind, "");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Incoming::read(&body);
    }

    #[test]
    fn no_message_makes_it_panic(text in ".{0,30}", offset in -2_i64..4, length in -2_i64..40, kind in "[a-z_]{0,16}") {
        let text = serde_json::to_string(&text).unwrap();
        let entities = format!(r#"[{{"type":"bot_command","offset":{offset},"length":{length}}}]"#);
        let _ = read(&kind, &format!(r#"{{"text":{text},"entities":{entities}}}"#));
    }
}
