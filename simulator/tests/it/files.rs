//! Files and albums, as a URL, as a file_id and as an upload, and what a poll and a chat always show.

use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::harness::{Bench, TOKEN, send};

/// A call as most libraries make it where a file may be: a form of parts, those with a name files.
async fn form(bench: &Bench, method: &str, parts: &[(&str, Option<&str>, &str)]) -> (u16, Value) {
    let part = |(name, file, content): &(&str, Option<&str>, &str)| {
        let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{content}\r\n")
    };
    let body = parts.iter().map(part).collect::<String>() + "--edge--\r\n";
    let request = bench.http.post(format!("{}/bot{TOKEN}/{method}", bench.base));
    send(request.header(CONTENT_TYPE, "multipart/form-data; boundary=edge").body(body)).await
}

#[tokio::test]
async fn a_form_of_parts_is_a_call_like_any_other() {
    let bench = Bench::start();
    let (status, answer) = form(&bench, "sendMessage", &[("chat_id", None, "7"), ("text", None, "hi")]).await;
    assert_eq!((status, &answer["result"]["text"]), (200, &json!("hi")));
    form(&bench, "setWebhook", &[("url", None, "http://127.0.0.1:1/w"), ("max_connections", None, "3")])
        .await;
    assert_eq!(bench.ok("getWebhookInfo", json!({})).await["max_connections"], 3);
}

#[tokio::test]
async fn a_file_is_uploaded_in_its_own_part_or_in_one_that_its_own_names() {
    let bench = Bench::start();
    let own = [("chat_id", None, "7"), ("document", Some("a.txt"), "12345"), ("caption", None, "c")];
    let document = form(&bench, "sendDocument", &own).await.1["result"].clone();
    assert_eq!(
        (&document["document"]["file_name"], &document["document"]["file_size"]),
        (&json!("a.txt"), &json!(5))
    );
    assert_eq!(document["caption"], "c");
    let named = [("chat_id", None, "7"), ("video", None, "attach://v"), ("v", Some("b.mp4"), "123")];
    let video = form(&bench, "sendVideo", &named).await.1["result"]["video"].clone();
    assert_eq!(video["file_size"], 3);
    // What was uploaded once is sent again by its id.
    let again = bench.ok("sendVideo", json!({"chat_id": 7, "video": video["file_id"]})).await;
    assert_eq!(again["video"]["file_id"], video["file_id"]);
}

#[tokio::test]
async fn an_upload_that_is_not_there_or_empty_is_refused_in_telegrams_words() {
    let bench = Bench::start();
    let lost = [("chat_id", None, "7"), ("video_note", None, "attach://v")];
    let empty = [("chat_id", None, "7"), ("photo", Some("a.png"), "")];
    for (method, parts, text) in [
        ("sendVideoNote", lost, "Bad Request: there is no video note in the request"),
        ("sendPhoto", empty, "Bad Request: file must be non-empty"),
    ] {
        let (status, answer) = form(&bench, method, &parts).await;
        assert_eq!((status, &answer["description"]), (400, &json!(text)));
    }
}

#[tokio::test]
async fn each_kind_of_file_has_the_fields_that_are_always_there() {
    let bench = Bench::start();
    let cases = [
        (
            "video",
            json!({"width": 10, "height": 20, "duration": 3}),
            json!({"width": 10, "height": 20, "duration": 3}),
        ),
        ("animation", json!({}), json!({"width": 640, "height": 360, "duration": 1})),
        ("video_note", json!({"length": 99}), json!({"length": 99, "duration": 1})),
        (
            "sticker",
            json!({}),
            json!({"type": "regular", "width": 512, "is_animated": false, "is_video": false}),
        ),
        ("audio", json!({"title": "t"}), json!({"title": "t", "duration": 1})),
    ];
    for (kind, mut params, expected) in cases {
        let method = format!("send{}", kind.replace("_n", "N"));
        params["chat_id"] = json!(7);
        params[kind] = json!("id");
        let file = bench.ok(&method, params).await[kind].clone();
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&file[name], value, "{kind}: {name}");
        }
    }
}

#[tokio::test]
async fn an_album_is_several_messages_of_one_group_or_none() {
    let bench = Bench::start();
    let media = json!([{"type": "photo", "media": "https://x.y/1.png", "caption": "<b>one</b>", "parse_mode": "HTML"},
        {"type": "video", "media": "attach://v"}])
    .to_string();
    let album = [("chat_id", None, "7"), ("media", None, media.as_str()), ("v", Some("v.mp4"), "123")];
    let messages = form(&bench, "sendMediaGroup", &album).await.1["result"].clone();
    assert_eq!((&messages[0]["caption"], &messages[1]["video"]["file_size"]), (&json!("one"), &json!(3)));
    assert!(messages[0]["media_group_id"].is_string());
    assert_eq!(messages[0]["media_group_id"], messages[1]["media_group_id"]);
    let (_, answer) = form(&bench, "sendMediaGroup", &album[..2]).await;
    assert_eq!(answer["description"], "Bad Request: can't parse InputMedia: media not found");
    assert_eq!(bench.control.chat(7).messages.len(), 2);
    let ids = json!([1, 2, 99]);
    let many = json!({"chat_id": 8, "from_chat_id": 7, "message_ids": ids});
    assert_eq!(bench.ok("copyMessages", many).await, json!([{"message_id": 1}, {"message_id": 2}]));
    bench.ok("deleteMessages", json!({"chat_id": 7, "message_ids": ids})).await;
    assert!(bench.control.chat(7).messages.is_empty());
}

#[tokio::test]
async fn a_photo_is_replaced_by_another_and_not_by_the_same() {
    let bench = Bench::start();
    let photo = bench.ok("sendPhoto", json!({"chat_id": 7, "photo": "a", "caption": "c"})).await;
    let edit =
        json!({"chat_id": 7, "message_id": photo["message_id"], "media": {"type": "video", "media": "b"}});
    let edited = bench.ok("editMessageMedia", edit.clone()).await;
    assert_eq!(
        (&edited["video"]["file_id"], edited.get("photo"), edited.get("caption")),
        (&json!("b"), None, None)
    );
    assert!(
        bench.refused("editMessageMedia", edit).await.1.starts_with("Bad Request: message is not modified")
    );
}

#[tokio::test]
async fn a_poll_and_a_chat_have_the_fields_that_are_always_there() {
    let bench = Bench::start();
    let ask = |more: Value| {
        let mut params = json!({"chat_id": 7, "question": "q", "options": ["a", {"text": "b"}]});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    let poll = bench.ok("sendPoll", ask(json!({}))).await["poll"].clone();
    assert_eq!((&poll["allows_revoting"], &poll["members_only"]), (&json!(true), &json!(false)));
    assert_eq!(poll["options"][1], json!({"persistent_id": "1", "text": "b", "voter_count": 0}));
    let quiz =
        bench.ok("sendPoll", ask(json!({"type": "quiz", "correct_option_id": 1}))).await["poll"].clone();
    assert_eq!((&quiz["allows_revoting"], &quiz["correct_option_ids"]), (&json!(false), &json!([1])));
    let wrong = bench.refused("sendPoll", ask(json!({"type": "other"}))).await;
    assert_eq!(wrong.1, "Bad Request: unsupported poll type specified");
    let chat = bench.ok("getChat", json!({"chat_id": 7})).await;
    assert!(
        ["accent_color_id", "max_reaction_count", "accepted_gift_types"].iter().all(|it| !chat[it].is_null())
    );
}

#[tokio::test]
async fn a_method_that_is_not_simulated_says_so_unless_it_would_say_true() {
    let bench = Bench::start();
    let (status, text) = bench.refused("getChatAdministrators", json!({"chat_id": 7})).await;
    assert_eq!(
        (status, text.as_str()),
        (501, "Not Implemented: the simulator does not simulate getChatAdministrators")
    );
    assert_eq!(bench.ok("pinChatMessage", json!({"chat_id": 7, "message_id": 1})).await, true);
    let lost = bench.refused("pinChatMessage", json!({"chat_id": 0, "message_id": 1})).await;
    assert_eq!(lost.1, "Bad Request: chat not found");
}

#[tokio::test]
async fn what_a_bot_says_about_itself_is_kept_by_language_and_scope() {
    let bench = Bench::start();
    let commands = json!([{"command": "start", "description": "begin"}]);
    bench.ok("setMyCommands", json!({"commands": commands, "language_code": "de"})).await;
    assert_eq!(bench.ok("getMyCommands", json!({"language_code": "de"})).await, commands);
    assert_eq!(bench.ok("getMyCommands", json!({})).await, json!([]));
    let wrong = json!({"commands": [{"command": "No!", "description": "x"}]});
    assert_eq!(bench.refused("setMyCommands", wrong).await.1, "Bad Request: BOT_COMMAND_INVALID");
    assert_eq!(bench.ok("getMyName", json!({})).await, json!({"name": "sample_bot"}));
    bench.ok("setMyName", json!({"name": "Bob"})).await;
    assert_eq!(bench.ok("getMyName", json!({"language_code": "de"})).await, json!({"name": "Bob"}));
}
