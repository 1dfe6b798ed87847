//! The Bot API's methods as a bot meets them: results in Telegram's shapes, errors in its words.

use serde_json::{Value, json};
use simulator::{NewMessage, Settings};

use crate::harness::{Bench, TOKEN, send};

#[tokio::test]
async fn a_bot_learns_who_it_is() {
    let bench = Bench::start();
    let me = bench.ok("getMe", json!({})).await;
    assert_eq!(
        (&me["id"], &me["username"], &me["is_bot"]),
        (&json!(4242), &json!("sample_bot"), &json!(true))
    );
    let by_get = bench.get(&format!("/bot{TOKEN}/getme")).await;
    assert_eq!(by_get["result"], me);
}

#[tokio::test]
async fn a_wrong_token_is_401_and_an_unknown_method_404() {
    let bench = Bench::with(Settings { tokens: vec![TOKEN.to_owned()], ..Settings::default() });
    bench.ok("getMe", json!({})).await;
    let cases = [("/bot1:x/getMe", 401, "Unauthorized"), ("/botx/getMe", 404, "Not Found")];
    for (path, status, text) in cases {
        let answer = send(bench.post(path, &json!({}))).await;
        assert_eq!(answer, (status, json!({"ok": false, "error_code": status, "description": text})));
    }
    assert_eq!(
        bench.refused("sendNothing", json!({})).await,
        (404, "Not Found: method not found".to_owned())
    );
    assert_eq!(bench.ok("setMyCommands", json!({"commands": []})).await, json!(true));
}

#[tokio::test]
async fn a_message_is_answered_in_telegrams_shape() {
    let bench = Bench::start();
    let keyboard = json!({"inline_keyboard": [[{"text": "Yes", "callback_data": "ACCEPT:1"}]]});
    let params = json!({"chat_id": 7, "text": "<b>hi</b>", "parse_mode": "HTML", "reply_markup": keyboard.to_string()});
    let message = bench.ok("sendMessage", params).await;
    assert_eq!(message["message_id"], 1);
    assert_eq!(message["text"], "hi");
    assert_eq!(message["entities"], json!([{"type": "bold", "offset": 0, "length": 2}]));
    assert_eq!(message["reply_markup"], keyboard);
    assert_eq!(message["from"]["id"], 4242);
    assert_eq!(message["chat"]["type"], "private");
    assert!(message["date"].as_i64().unwrap() > 1_700_000_000);
}

#[tokio::test]
async fn what_telegram_refuses_is_refused_in_its_words() {
    let bench = Bench::start();
    bench.control.missing(404, true);
    bench.control.block(403).unwrap();
    bench.control.deactivate(410, true);
    let button = |data: &str| json!({"inline_keyboard": [[{"text": "a", "callback_data": data}]]});
    let cases: Vec<(&str, Value, u16, &str)> = vec![
        ("sendMessage", json!({"chat_id": 7}), 400, "Bad Request: message text is empty"),
        ("sendMessage", json!({"chat_id": 7, "text": " \n"}), 400, "Bad Request: message text is empty"),
        ("sendMessage", json!({"text": "a"}), 400, "Bad Request: chat_id is empty"),
        ("sendMessage", json!({"chat_id": 404, "text": "a"}), 400, "Bad Request: chat not found"),
        (
            "sendMessage",
            json!({"chat_id": 7, "text": "é".repeat(4097)}),
            400,
            "Bad Request: message is too long",
        ),
        ("sendMessage", json!({"chat_id": 403, "text": "a"}), 403, "Forbidden: bot was blocked by the user"),
        ("sendMessage", json!({"chat_id": 410, "text": "a"}), 403, "Forbidden: user is deactivated"),
        (
            "sendPhoto",
            json!({"chat_id": 7, "photo": "a", "caption": "é".repeat(1025)}),
            400,
            "Bad Request: message caption is too long",
        ),
        (
            "answerCallbackQuery",
            json!({"callback_query_id": "1", "text": "é".repeat(201)}),
            400,
            "Bad Request: MESSAGE_TOO_LONG",
        ),
        (
            "sendMessage",
            json!({"chat_id": 7, "text": "a.", "parse_mode": "MarkdownV2"}),
            400,
            "Bad Request: can't parse entities: Character '.' is reserved and must be escaped with the preceding '\\'",
        ),
        (
            "sendMessage",
            json!({"chat_id": 7, "text": "a", "reply_markup": button(&"x".repeat(65))}),
            400,
            "Bad Request: BUTTON_DATA_INVALID",
        ),
        ("sendPhoto", json!({"chat_id": 7}), 400, "Bad Request: there is no photo in the request"),
        (
            "sendChatAction",
            json!({"chat_id": 7, "action": "x"}),
            400,
            "Bad Request: wrong parameter action in request",
        ),
        (
            "editMessageText",
            json!({"chat_id": 7, "message_id": 9, "text": "a"}),
            400,
            "Bad Request: message to edit not found",
        ),
        (
            "deleteMessage",
            json!({"chat_id": 7, "message_id": 9}),
            400,
            "Bad Request: message to delete not found",
        ),
        ("setWebhook", json!({"url": "ftp://x"}), 400, "Bad Request: invalid webhook URL specified"),
        (
            "setWebhook",
            json!({"url": "http://x", "secret_token": "a b"}),
            400,
            "Bad Request: secret token contains unallowed characters",
        ),
        (
            "answerCallbackQuery",
            json!({"callback_query_id": "1"}),
            400,
            "Bad Request: query is too old and response timeout expired or query ID is invalid",
        ),
    ];
    for (method, params, status, text) in cases {
        assert_eq!(
            bench.refused(method, params.clone()).await,
            (status, text.to_owned()),
            "{method} {params}"
        );
    }
    bench.ok("sendMessage", json!({"chat_id": 7, "text": "é".repeat(4096)})).await;
}

#[tokio::test]
async fn a_message_is_edited_once_and_deleted_once() {
    let bench = Bench::start();
    let id = bench.ok("sendMessage", json!({"chat_id": 7, "text": "a"})).await["message_id"].clone();
    let edit = json!({"chat_id": 7, "message_id": id, "text": "b"});
    let edited = bench.ok("editMessageText", edit.clone()).await;
    assert_eq!(edited["text"], "b");
    assert!(edited["edit_date"].is_i64());
    let (status, text) = bench.refused("editMessageText", edit).await;
    assert!(
        status == 400 && text.starts_with("Bad Request: message is not modified: specified new"),
        "{text}"
    );
    assert!(bench.control.chat(7).messages[0].edited);
    bench.ok("deleteMessage", json!({"chat_id": 7, "message_id": id})).await;
    assert!(bench.control.chat(7).messages.is_empty());
}

#[tokio::test]
async fn a_person_s_message_cannot_be_edited_by_the_bot() {
    let bench = Bench::start();
    let sent = bench
        .control
        .message(NewMessage { chat_id: 7, text: Some("a".into()), ..Default::default() })
        .unwrap();
    let edit = json!({"chat_id": 7, "message_id": sent.message_id, "text": "b"});
    assert_eq!(bench.refused("editMessageText", edit).await.1, "Bad Request: message can't be edited");
}

#[tokio::test]
async fn files_places_and_dice_are_messages_too() {
    let bench = Bench::start();
    let photo =
        bench.ok("sendPhoto", json!({"chat_id": 7, "photo": "https://x.y/z.png", "caption": "c"})).await;
    assert!(photo["photo"][0]["file_id"].is_string());
    assert_eq!(photo["caption"], "c");
    bench.ok("sendDocument", json!({"chat_id": 7, "document": "file-1"})).await;
    bench.ok("sendVoice", json!({"chat_id": 7, "voice": "file-2"})).await;
    bench.ok("sendLocation", json!({"chat_id": 7, "latitude": 48.2, "longitude": 16.4})).await;
    assert!(
        (1..=6)
            .contains(&bench.ok("sendDice", json!({"chat_id": 7})).await["dice"]["value"].as_i64().unwrap())
    );
    let chat = bench.control.chat(7);
    let kinds: Vec<_> = chat.messages.iter().map(|message| message.kind.as_str()).collect();
    assert_eq!(kinds, ["photo", "document", "voice", "location", "dice"]);
    assert_eq!(chat.messages[0].media.as_deref(), Some("https://x.y/z.png"));
}

#[tokio::test]
async fn a_simulator_with_limits_slows_a_fast_bot_down() {
    let settings = Settings { limit_sending: true, limit_set_webhook: true, ..Settings::default() };
    let bench = Bench::with(settings);
    bench.control.stop_clock(true);
    for _ in 0..3 {
        bench.ok("sendMessage", json!({"chat_id": 7, "text": "a"})).await;
    }
    let (status, answer) = bench.call("sendMessage", json!({"chat_id": 7, "text": "a"})).await;
    assert_eq!((status, &answer["parameters"]["retry_after"]), (429, &json!(1)));
    let webhook = json!({"url": "http://127.0.0.1:1/"});
    bench.ok("setWebhook", webhook.clone()).await;
    assert_eq!(bench.refused("setWebhook", webhook).await.0, 429);
}

#[tokio::test]
async fn a_punished_chat_is_told_how_long_still_and_a_punished_bot_may_only_get_updates() {
    let bench = Bench::start();
    let (status, _) = send(bench.post("/control/punish", &json!({"chat_id": 7, "seconds": 45}))).await;
    assert_eq!(status, 200);
    let (status, answer) = bench.call("sendChatAction", json!({"chat_id": "7", "action": "typing"})).await;
    assert_eq!((status, &answer["parameters"]["retry_after"]), (429, &json!(45)));
    bench.ok("sendMessage", json!({"chat_id": 8, "text": "a"})).await;
    bench.control.punish(None, std::time::Duration::from_secs(10));
    assert_eq!(bench.call("sendMessage", json!({"chat_id": 8, "text": "a"})).await.0, 429);
    bench.ok("getMe", json!({})).await;
    bench.control.reset();
    bench.ok("sendMessage", json!({"chat_id": 7, "text": "a"})).await;
}
