use super::*;
use crate::reply::schema::{REQUEST, examples, takes};
use crate::routes::Table;

const ROUTES: &str = r#"
    [services.own]
    url = "http://own"
    [[routes]]
    service = "own"
    [[routes]]
    callback = "VOTE"
    service = "own"
    update = true
    [[routes]]
    command = "/match"
    service = "own"
    body = "matching"
"#;

/// The body that the table's route for this update makes.
fn body(table: &Table, kind: &str, content: &str) -> String {
    body_for(table, kind, content, "u1", "r1")
}

fn body_for(table: &Table, kind: &str, content: &str, user_id: &str, request_id: &str) -> String {
    let incoming = Incoming::read(format!(r#"{{"update_id":7,"{kind}":{content}}}"#).as_bytes());
    let found = table.find(&incoming, None).unwrap();
    let Target::Service { shape, .. } = found.target else { panic!("a reply") };
    let asked = Asked { incoming: &incoming, album: &[], found: &found };
    let body = request_body(shape, &asked, Some(user_id), request_id);
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(takes(&body.replace("\\ud83d", "?"), REQUEST), "not as the schema says: {body}");
    body
}

#[test]
fn the_built_in_services_get_the_contracts_bodies() {
    let table = Table::builtin();
    for (kind, content, expected) in [
        (
            "message",
            r#"{"chat":{"id":42},"from":{"id":42},"text":"a\n\"b\" \ud83d\u00e9"}"#,
            r#"{"user_id":"u1","telegram_user_id":42,"message":"a\n\"b\" \ud83d\u00e9","request_id":"r1"}"#,
        ),
        (
            "callback_query",
            r#"{"id":"9","from":{"id":42},"data":"CONNECT:u2"}"#,
            r#"{"user_id":"u1","action":"CONNECT","target_user_id":"u2","request_id":"r1"}"#,
        ),
        (
            "callback_query",
            r#"{"id":"9","from":{"id":42},"data":"CONNECT:\ud83d "}"#,
            r#"{"user_id":"u1","action":"CONNECT","target_user_id":"\ud83d ","request_id":"r1"}"#,
        ),
        (
            "callback_query",
            r#"{"id":"9","from":{"id":42},"data":"SKIP"}"#,
            r#"{"user_id":"u1","action":"SKIP","target_user_id":null,"request_id":"r1"}"#,
        ),
        (
            "message",
            r#"{"chat":{"id":42},"from":{"id":42},"text":"/Help"}"#,
            r#"{"telegram_user_id":42,"command":"/help","request_id":"r1"}"#,
        ),
        (
            "message",
            r#"{"chat":{"id":42},"text":"/start ref 7 "}"#,
            r#"{"telegram_user_id":null,"command":"/start","request_id":"r1","args":"ref 7"}"#,
        ),
        (
            "message",
            r#"{"chat":{"id":42},"text":"/start \ud83d "}"#,
            r#"{"telegram_user_id":null,"command":"/start","request_id":"r1","args":"\ud83d"}"#,
        ),
        (
            "my_chat_member",
            r#"{"chat":{"id":42,"type":"private"},"from":{"id":42},"new_chat_member":{"status":"kicked"}}"#,
            r#"{"user_id":"u1","telegram_user_id":42,"event":"blocked","request_id":"r1"}"#,
        ),
    ] {
        assert_eq!(body(&table, kind, content), expected);
    }
}

#[test]
fn a_service_of_ones_own_gets_what_applies() {
    let table = Table::parse(ROUTES, "routes.toml", &|_| None).unwrap();
    for (kind, content, expected) in [
        (
            "message",
            r#"{"chat":{"id":-5},"from":{"id":42},"text":"/roll 2d6"}"#,
            r#"{"user_id":"u1","telegram_user_id":42,"chat_id":-5,"kind":"message","request_id":"r1","message":"/roll 2d6","command":"/roll","args":"2d6"}"#,
        ),
        (
            "message",
            r#"{"chat":{"id":-5},"photo":[],"caption":"me"}"#,
            r#"{"user_id":"u1","telegram_user_id":null,"chat_id":-5,"kind":"message","request_id":"r1","message":"me"}"#,
        ),
        (
            "callback_query",
            r#"{"id":"9","from":{"id":42},"data":"RATE:5"}"#,
            r#"{"user_id":"u1","telegram_user_id":42,"chat_id":null,"kind":"callback_query","request_id":"r1","action":"RATE","param":"5"}"#,
        ),
        (
            "callback_query",
            r#"{"id":"9","from":{"id":42},"data":"VOTE"}"#,
            r#"{"user_id":"u1","telegram_user_id":42,"chat_id":null,"kind":"callback_query","request_id":"r1","action":"VOTE","update":{"update_id":7,"callback_query":{"id":"9","from":{"id":42},"data":"VOTE"}}}"#,
        ),
        (
            "message",
            r#"{"chat":{"id":42},"from":{"id":42},"text":"/match"}"#,
            r#"{"user_id":"u1","action":"/match","target_user_id":null,"request_id":"r1"}"#,
        ),
    ] {
        assert_eq!(body(&table, kind, content), expected);
    }
}

fn part(update_id: u64, message: &str) -> Incoming {
    let place = r#""chat":{"id":42},"from":{"id":42},"media_group_id":"1""#;
    let update = format!(r#"{{"update_id":{update_id},"message":{{{place},{message}}}}}"#);
    Incoming::read(update.as_bytes())
}

#[test]
fn an_album_is_handed_over_whole_where_the_route_says_so() {
    let photo = part(7, r#""message_id":71,"photo":[{"file_id":"small"},{"file_id":"large"}]"#);
    let video = part(8, r#""message_id":72,"video":{"file_id":"film"},"caption":"see \ud83d""#);
    let parts = r#"[{"type":"photo","file_id":"large","message_id":71},{"type":"video","file_id":"film","caption":"see \ud83d","message_id":72}]"#;
    let raw = |part: &Incoming| String::from_utf8(part.raw.to_vec()).unwrap();
    for (row, others, expected) in [
        ("album = true", &[&video][..], format!(r#","message":"see \ud83d","album":{parts}}}"#)),
        (
            "album = true\nupdate = true",
            &[&video],
            format!(
                r#","message":"see \ud83d","album":{parts},"updates":[{},{}]}}"#,
                raw(&photo),
                raw(&video)
            ),
        ),
        ("update = true", &[], format!(r#","update":{}}}"#, raw(&photo))),
        ("", &[], "}".to_owned()),
    ] {
        let toml = format!("[services.own]\nurl = \"http://own\"\n[[routes]]\nservice = \"own\"\n{row}\n");
        let table = Table::parse(&toml, "routes.toml", &|_| None).unwrap();
        let found = table.find(&photo, None).unwrap();
        let asked = Asked { incoming: &photo, album: others, found: &found };
        let body = request_body(Shape::Own, &asked, Some("u1"), "r1");
        let body = String::from_utf8(body.to_vec()).unwrap();
        let own = r#"{"user_id":"u1","telegram_user_id":42,"chat_id":42,"kind":"message","request_id":"r1""#;
        assert_eq!(body, format!("{own}{expected}"), "{row}");
        assert!(takes(&body.replace("\\ud83d", "?"), REQUEST), "not as the schema says: {body}");
    }
}

#[test]
fn without_a_session_the_user_id_is_null() {
    let incoming = Incoming::read(br#"{"update_id":7,"message":{"chat":{"id":42},"text":"x"}}"#);
    let table = Table::builtin();
    let found = table.find(&incoming, None).unwrap();
    let asked = Asked { incoming: &incoming, album: &[], found: &found };
    let body = request_body(Shape::Conversation, &asked, None, "r1");
    assert_eq!(body, r#"{"user_id":null,"telegram_user_id":null,"message":"x","request_id":"r1"}"#);
}

const EXAMPLES: &str = r##"
    [services.own]
    url = "http://own"
    [[routes]]
    command = "/start"
    service = "user_profile"
    [[routes]]
    command = "/help"
    service = "user_profile"
    [[routes]]
    command = "/weather"
    service = "own"
    [[routes]]
    callback = "CONNECT"
    service = "matching"
    [[routes]]
    callback = "SKIP"
    service = "matching"
    [[routes]]
    callback = "VOTE"
    service = "own"
    [[routes]]
    text = "^own "
    service = "own"
    [[routes]]
    text = true
    service = "conversation"
    [[routes]]
    content = "photo"
    service = "own"
    album = true
    [[routes]]
    content = "location"
    service = "own"
    update = true
    [[routes]]
    kind = "my_chat_member"
    service = "notification"
"##;

#[test]
fn every_example_of_a_request_is_what_a_service_is_sent() {
    let table = Table::parse(EXAMPLES, "routes.toml", &|_| None).unwrap();
    let of = r#""chat":{"id":42,"type":"private"},"from":{"id":42}"#;
    let said = |more: &str| format!("{{{of},{more}}}");
    let pressed =
        |data: &str| format!(r#"{{"id":"9","from":{{"id":42}},"data":"{data}","message":{{{of}}}}}"#);
    let member = |from: &str, to: &str| {
        let status = |status: &str| format!(r#"{{"status":"{status}"}}"#);
        said(&format!(r#""old_chat_member":{},"new_chat_member":{}"#, status(from), status(to)))
    };
    let cases = [
        ("conversation", "message", said(r#""text":"hello""#)),
        ("matching", "callback_query", pressed("CONNECT:17")),
        ("matching-without-target", "callback_query", pressed("SKIP")),
        ("notification-blocked", "my_chat_member", member("member", "kicked")),
        ("notification-unblocked", "my_chat_member", member("kicked", "member")),
        (
            "own-album",
            "message",
            said(
                r#""message_id":71,"media_group_id":"1","photo":[{"file_id":"AgACAgIAAxkBAAI"}],"caption":"for sale""#,
            ),
        ),
        ("own-button", "callback_query", pressed("VOTE:42")),
        ("own-command", "message", said(r#""text":"/weather Rome tomorrow""#)),
        ("own-photo", "message", said(r#""photo":[{}],"caption":"for sale""#)),
        ("own-text", "message", said(r#""text":"own words""#)),
        ("own-with-update", "message", said(r#""location":{"latitude":52.52,"longitude":13.405}"#)),
        ("user_profile", "message", said(r#""text":"/help""#)),
        ("user_profile-with-args", "message", said(r#""text":"/start ref_42""#)),
    ];
    let examples = examples("requests");
    let names = |(name, _): &(String, String)| name.clone();
    assert_eq!(examples.iter().map(names).collect::<Vec<_>>(), cases.each_ref().map(|case| case.0));
    for ((name, example), (_, kind, content)) in examples.iter().zip(&cases) {
        let body = body_for(&table, kind, content, "user_42", "7b9fa372-ec48-506c-8022-a499a9839f5c");
        assert_eq!(format!("{body}\n"), *example, "{name}");
    }
}
