use proptest::prelude::*;

use super::answer::{Sticky, Toast};
use super::texts::{APOLOGY, TOO_FAST};
use super::*;
use crate::incoming::Incoming;

fn read(update: &str) -> Incoming {
    Incoming::read(format!(r#"{{"update_id":7,{update}}}"#).as_bytes())
}

/// A text in chat 42 by user 42.
fn message() -> Incoming {
    read(r#""message":{"message_id":5,"chat":{"id":42,"type":"private"},"from":{"id":42},"text":"hi"}"#)
}

/// A button pressed below message 6 of chat 42.
fn callback() -> Incoming {
    read(
        r#""callback_query":{"id":"99","from":{"id":42},"data":"A","message":{"message_id":6,"chat":{"id":42,"type":"private"}}}"#,
    )
}

/// A button pressed below a message that was sent inline.
fn inline_callback() -> Incoming {
    read(r#""callback_query":{"id":"99","from":{"id":42},"data":"A","inline_message_id":"in"}"#)
}

fn answer(body: &str) -> Result<Answer, AnswerError> {
    Answer::parse(200, Some("application/json"), body.as_bytes())
}

/// Each call as `method {params}`, or the error.
fn calls_of(body: &str, incoming: &Incoming) -> Vec<String> {
    match answer(body).and_then(|answer| calls(&answer, incoming)) {
        Ok(calls) => calls
            .iter()
            .map(|call| format!("{} {}", call.method, serde_json::to_string(&sorted(&call.params)).unwrap()))
            .collect(),
        Err(error) => vec![format!("error: {error}")],
    }
}

/// By name, whether or not some crate of the build switched serde_json's `preserve_order` on.
fn sorted(params: &Map<String, Value>) -> std::collections::BTreeMap<&String, &Value> {
    params.iter().collect()
}

#[test]
fn each_type_becomes_its_call() {
    for (body, expected) in [
        (r#"{"type":"text","content":"Hello"}"#, r#"sendMessage {"chat_id":42,"text":"Hello"}"#),
        (
            r#"{"type":"text","content":"<b>Hi</b>","parse_mode":"HTML","silent":true,"reply_to":5}"#,
            r#"sendMessage {"chat_id":42,"disable_notification":true,"parse_mode":"HTML","reply_parameters":{"message_id":5},"text":"<b>Hi</b>"}"#,
        ),
        (
            r#"{"type":"text","content":"?","buttons":[[{"text":"Yes","callback_data":"Y"},{"text":"Site","url":"https://a.example"}],[]]}"#,
            r#"sendMessage {"chat_id":42,"reply_markup":{"inline_keyboard":[[{"callback_data":"Y","text":"Yes"},{"text":"Site","url":"https://a.example"}]]},"text":"?"}"#,
        ),
        (r#"{"type":"edit","content":"New"}"#, r#"sendMessage {"chat_id":42,"text":"New"}"#),
        (
            r#"{"type":"edit","content":"New","message_id":3}"#,
            r#"editMessageText {"chat_id":42,"message_id":3,"text":"New"}"#,
        ),
        (r#"{"type":"delete"}"#, r#"deleteMessage {"chat_id":42,"message_id":5}"#),
        (r#"{"type":"delete","message_id":3}"#, r#"deleteMessage {"chat_id":42,"message_id":3}"#),
        (
            r#"{"type":"photo","url":"https://a.example/cat.jpg","caption":"A cat"}"#,
            r#"sendPhoto {"caption":"A cat","chat_id":42,"photo":"https://a.example/cat.jpg"}"#,
        ),
        (r#"{"type":"photo","content":"AgAC"}"#, r#"sendPhoto {"chat_id":42,"photo":"AgAC"}"#),
        (
            r#"{"type":"document","document":"BQAC","content":"The bill","silent":true}"#,
            r#"sendDocument {"caption":"The bill","chat_id":42,"disable_notification":true,"document":"BQAC"}"#,
        ),
        (r#"{"type":"voice","file_id":"AwAC"}"#, r#"sendVoice {"chat_id":42,"voice":"AwAC"}"#),
        (
            r#"{"type":"location","latitude":52.5,"longitude":13.4}"#,
            r#"sendLocation {"chat_id":42,"latitude":52.5,"longitude":13.4}"#,
        ),
        (
            r#"{"type":"method","method":"sendDice","params":{"emoji":"🎯"}}"#,
            r#"sendDice {"chat_id":42,"emoji":"🎯"}"#,
        ),
    ] {
        assert_eq!(calls_of(body, &message()), [expected], "{body}");
    }
    assert!(calls_of(r#"{"type":"none"}"#, &message()).is_empty());
}

#[test]
fn on_a_callback_an_edit_changes_the_message_with_the_button() {
    let edit = r#"{"type":"edit","content":"Done","buttons":[{"text":"Undo","callback_data":"U"}]}"#;
    let keyboard = r#""reply_markup":{"inline_keyboard":[[{"callback_data":"U","text":"Undo"}]]}"#;
    let expected = format!(r#"editMessageText {{"chat_id":42,"message_id":6,{keyboard},"text":"Done"}}"#);
    assert_eq!(calls_of(edit, &callback()), [expected]);
    let expected = format!(r#"editMessageText {{"inline_message_id":"in",{keyboard},"text":"Done"}}"#);
    assert_eq!(calls_of(edit, &inline_callback()), [expected]);
}

#[test]
fn a_method_gets_what_the_update_knows() {
    let query = read(r#""inline_query":{"id":"q","from":{"id":42},"query":"x"}"#);
    let checkout = read(r#""pre_checkout_query":{"id":"p","from":{"id":42}}"#);
    let topic = read(
        r#""message":{"message_id":5,"chat":{"id":-7,"type":"supergroup"},"is_topic_message":true,"message_thread_id":3,"text":"x"}"#,
    );
    for (incoming, method, params, expected) in [
        (&callback(), "editMessageReplyMarkup", "{}", r#"{"chat_id":42,"message_id":6}"#),
        (&inline_callback(), "editMessageReplyMarkup", "{}", r#"{"inline_message_id":"in"}"#),
        (&query, "answerInlineQuery", r#"{"results":[]}"#, r#"{"inline_query_id":"q","results":[]}"#),
        (&checkout, "answerPreCheckoutQuery", r#"{"ok":true}"#, r#"{"ok":true,"pre_checkout_query_id":"p"}"#),
        (&query, "getMe", "{}", "{}"),
        (&query, "sendMessage", r#"{"chat_id":1,"text":"x"}"#, r#"{"chat_id":1,"text":"x"}"#),
        (&message(), "setMessageReaction", "{}", r#"{"chat_id":42,"message_id":5}"#),
        (&message(), "sendGift", r#"{"user_id":1,"gift_id":"g"}"#, r#"{"gift_id":"g","user_id":1}"#),
        (&topic, "sendDice", "{}", r#"{"chat_id":-7,"message_thread_id":3}"#),
    ] {
        let body = format!(r#"{{"type":"method","method":"{method}","params":{params}}}"#);
        assert_eq!(calls_of(&body, incoming), [format!("{method} {expected}")], "{body}");
    }
}

#[test]
fn an_answer_is_one_message_or_several() {
    let hello = r#"{"type":"text","content":"a","unknown":[1]}"#;
    for (body, messages) in [
        (hello.to_owned(), 1),
        (format!("[{hello},{hello}]"), 2),
        (format!(r#"{{"messages":[{hello}],"more":1}}"#), 1),
        ("[]".to_owned(), 0),
        (r#"{"messages":[]}"#.to_owned(), 0),
        (r#"{"user_id":"u"}"#.to_owned(), 0),
        (r#" {"type":"text","content":"a lone \ud83d"} "#.to_owned(), 1),
    ] {
        assert_eq!(answer(&body).map(|answer| answer.messages.len()), Ok(messages), "{body}");
    }
}

#[test]
fn beside_the_messages_stand_the_session_the_toast_and_the_sticky_service() {
    let full = answer(
        r#"{"messages":[],"user_id":"u1","answer":{"text":"Saved","show_alert":true},"sticky":{"service":"quiz","seconds":60}}"#,
    )
    .unwrap();
    assert_eq!(full.user_id.as_deref(), Some("u1"));
    assert_eq!(full.answer, Some(Toast { text: Some("Saved".into()), show_alert: true, ..Toast::default() }));
    assert_eq!(full.sticky, Some(Sticky::To { service: "quiz".into(), seconds: 60 }));
    let sticky = |sticky: &str| answer(&format!(r#"{{"type":"none","sticky":{sticky}}}"#)).unwrap().sticky;
    assert_eq!(sticky("null"), Some(Sticky::End));
    assert_eq!(sticky(r#"{"service":"quiz","seconds":0}"#), Some(Sticky::End));
    let for_good = Sticky::To { service: "quiz".into(), seconds: 31_536_000 };
    assert_eq!(sticky(r#"{"service":"quiz","seconds":18446744073709551615}"#), Some(for_good));
    let wrong = answer(r#"{"type":"none","user_id":7,"answer":"x","sticky":{"service":"quiz"}}"#).unwrap();
    assert!(wrong.user_id.is_none() && wrong.answer.is_none() && wrong.sticky.is_none());
}

#[test]
fn the_method_answer_callback_query_is_the_callbacks_answer() {
    let body = r#"{"type":"method","method":"answerCallbackQuery","params":{"text":"ok","cache_time":5}}"#;
    let taken = answer(body).unwrap();
    assert!(taken.messages.is_empty());
    let call = answer_callback(&callback(), taken.answer.as_ref()).unwrap();
    let expected = serde_json::json!({"callback_query_id": "99", "text": "ok", "cache_time": 5});
    assert_eq!(Value::Object(call.params), expected);
    let another = r#"{"type":"method","method":"answerCallbackQuery","params":{"callback_query_id":"1"}}"#;
    assert_eq!(calls_of(another, &callback()), [r#"answerCallbackQuery {"callback_query_id":"1"}"#]);
}

#[test]
fn nonsense_is_named_and_never_quoted() {
    for (body, expected) in [
        ("", "the answer is empty"),
        (" \n", "the answer is empty"),
        ("<html>secret</html>", "the answer is a page of HTML, not JSON"),
        ("secret", "the answer is not JSON: line 1, column 1"),
        ("null", "the answer is neither a message, nor"),
        ("\"secret\"", "the answer is neither a message, nor"),
        ("{}", "the answer is neither a message, nor"),
        (r#"{"error":"secret"}"#, "the answer is neither a message, nor"),
        (r#"{"messages":{"type":"none"}}"#, "the answer is neither a message, nor"),
        (r#"["secret"]"#, "message 0 is not an object with a type"),
        (r#"[{"type":"none"},{"type":"hologram"}]"#, "message 1 has the unknown type hologram"),
        (r#"{"type":"my secret text"}"#, "message 0 has the unknown type (not a name)"),
        (r#"{"type":"text","text":"secret"}"#, "message 0 of type text has no content that can be used"),
        (r#"{"type":"text","content":" "}"#, "message 0 of type text has no content that can be used"),
        (r#"{"type":"photo"}"#, "message 0 of type photo has no url or file_id"),
        (r#"{"type":"location","latitude":95,"longitude":1}"#, "message 0 of type location has no latitude"),
        (r#"{"type":"method","method":"../secret"}"#, "message 0 of type method has no method"),
        (r#"{"type":"method","method":"sendDice","params":["secret"]}"#, "has no params that can be used"),
        (r#"{"type":"text","content":"a","buttons":"secret"}"#, "message 0 has buttons that are not rows"),
        (
            r#"{"type":"text","content":"a","buttons":[["secret"]]}"#,
            "message 0 has buttons that are not rows",
        ),
        (
            r#"{"type":"text","content":"a","buttons":[{"text":"secret"}]}"#,
            "message 0 has buttons that are not",
        ),
        (
            r#"{"type":"text","content":"a","buttons":[{"text":"a","callback_data":""}]}"#,
            "message 0 has a button with callback_data of 0 bytes",
        ),
    ] {
        let error = answer(body).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with(expected) || error.ends_with(expected), "{body}\n  {error}");
        assert!(!error.contains("secret"), "{error}");
    }
    let long = format!(
        r#"{{"type":"text","content":"a","buttons":[{{"text":"a","callback_data":"{}"}}]}}"#,
        "é".repeat(33)
    );
    assert_eq!(answer(&long).map(|_| ()), Err(AnswerError::CallbackData { index: 0, bytes: 66 }));
    assert_eq!(Answer::parse(500, None, br#"{"type":"none"}"#).map(|_| ()), Err(AnswerError::Status(500)));
}

#[test]
fn a_chat_is_missed_only_by_what_needs_one() {
    let query = read(r#""inline_query":{"id":"q","from":{"id":42},"query":"x"}"#);
    for body in [
        r#"{"type":"text","content":"a"}"#,
        r#"{"type":"edit","content":"a"}"#,
        r#"{"type":"delete"}"#,
        r#"{"type":"method","method":"sendDice"}"#,
    ] {
        let calls = answer(body).and_then(|answer| calls(&answer, &query));
        assert!(matches!(calls, Err(AnswerError::NoChat(_))), "{body}");
    }
    assert!(calls_of(r#"{"type":"none"}"#, &query).is_empty());
}

#[test]
fn a_long_text_replies_with_its_first_piece_and_has_buttons_on_its_last() {
    let long = format!("{}\\n\\n{}", "a".repeat(3000), "b".repeat(3000));
    let tail = r#""buttons":[{"text":"ok","callback_data":"o"}],"reply_to":5"#;
    let text = answer(&format!(r#"{{"type":"text","content":"{long}",{tail}}}"#)).unwrap();
    let calls_made = calls(&text, &message()).unwrap();
    let has = |call: &Call| {
        (call.params.contains_key("reply_parameters"), call.params.contains_key("reply_markup"))
    };
    assert_eq!(calls_made.iter().map(has).collect::<Vec<_>>(), [(true, false), (false, true)]);

    let edit = answer(&format!(r#"{{"type":"edit","content":"{long}",{tail}}}"#)).unwrap();
    let calls_made = calls(&edit, &callback()).unwrap();
    let named = |call: &Call| (call.method.clone(), call.params.contains_key("reply_markup"));
    let expected = [("editMessageText".to_owned(), false), ("sendMessage".to_owned(), true)];
    assert_eq!(calls_made.iter().map(named).collect::<Vec<_>>(), expected);

    let photo =
        answer(&format!(r#"{{"type":"photo","url":"u","caption":"{} {long}",{tail}}}"#, "c".repeat(600)));
    let calls_made = calls(&photo.unwrap(), &message()).unwrap();
    let methods: Vec<&str> = calls_made.iter().map(|call| call.method.as_str()).collect();
    assert_eq!(methods, ["sendPhoto", "sendMessage", "sendMessage"]);
    assert_eq!(
        calls_made.iter().map(has).collect::<Vec<_>>(),
        [(true, false), (false, false), (false, true)]
    );
    assert_eq!(calls_made[0].params["caption"], "c".repeat(600));
}

#[test]
fn the_gateways_own_words_find_their_way() {
    let show =
        |call: Option<Call>| call.map(|call| format!("{} {}", call.method, Value::Object(call.params)));
    let said = |text: &str| Some(format!("sendMessage {}", serde_json::json!({"chat_id": 42, "text": text})));
    let answered = |mut params: Value| {
        params["callback_query_id"] = "99".into();
        Some(params)
    };
    let params = |call: Option<Call>| call.map(|call| Value::Object(call.params));
    assert_eq!(show(apology(&message())), said(APOLOGY));
    assert_eq!(show(apology(&callback())), said(APOLOGY));
    let alert = serde_json::json!({"text": APOLOGY, "show_alert": true});
    assert_eq!(params(apology(&inline_callback())), answered(alert));
    assert_eq!(apology(&read(r#""poll_answer":{"user":{"id":4}}"#)), None);
    assert_eq!(show(notice(&message())), said(TOO_FAST));
    assert_eq!(params(notice(&callback())), answered(serde_json::json!({"text": TOO_FAST})));
    assert_eq!(params(answer_callback(&callback(), None)), answered(serde_json::json!({})));
    assert_eq!(answer_callback(&message(), None), None);
    let long = Toast { text: Some("x".repeat(300)), ..Toast::default() };
    let call = answer_callback(&callback(), Some(&long)).unwrap();
    assert_eq!(call.params["text"].as_str().map(|text| text.chars().count()), Some(200));
}

#[test]
fn a_stored_call_reads_back_and_shows_no_text() {
    let call = Call::new("sendMessage").with("chat_id", 42).with("text", "secret");
    let stored = serde_json::to_string(&call).unwrap();
    assert_eq!(serde_json::from_str::<Call>(&stored).unwrap(), call);
    assert!(!format!("{call:?}").contains("secret"));
}

proptest! {
    #[test]
    fn no_answer_makes_it_panic(status in 100_u16..600, body in proptest::collection::vec(any::<u8>(), 0..300)) {
        drop(Answer::parse(status, None, &body));
    }

    #[test]
    fn no_message_makes_it_panic(kind in "text|edit|delete|photo|voice|location|method|none", field in "[a-z_]{1,12}",
                                 value in r#"(\[|\{|\}|\]|"a"|:|,|null|-1|1e9|true){1,6}"#) {
        let body = format!(r#"{{"type":"{kind}","content":"x","method":"sendDice","{field}":{value}}}"#);
        if let Ok(answer) = answer(&body) {
            for incoming in [message(), callback(), inline_callback(), Incoming::default()] {
                drop(calls(&answer, &incoming));
            }
        }
    }
}
