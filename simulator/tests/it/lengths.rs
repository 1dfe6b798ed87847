//! Facts T13: how long texts may be, and in what they are counted. The longest passes, one more is refused.

use serde_json::{Value, json};
use simulator::{ControlError, NewMessage, NewPress};

use crate::harness::{Bench, send};

async fn status(bench: &Bench, method: &str, params: Value) -> u16 {
    bench.call(method, params).await.0
}

#[tokio::test]
async fn a_text_has_4096_code_points_when_its_marks_are_taken_out() {
    let bench = Bench::start();
    // Each is one code point, two UTF-16 units and four bytes.
    for (length, expected) in [(4096, 200), (4097, 400)] {
        let text = format!("<b>{}</b>&amp;", "\u{1f642}".repeat(length - 1));
        let marked = json!({"chat_id": 7, "text": text, "parse_mode": "HTML"});
        assert_eq!(status(&bench, "sendMessage", marked).await, expected);
        let plain = json!({"chat_id": 7, "message_id": 1, "text": "é".repeat(length)});
        assert_eq!(status(&bench, "editMessageText", plain).await, expected);
    }
    let sent = bench.control.chat(7).messages;
    assert_eq!((sent.len(), sent[0].text.chars().count()), (1, 4096));
}

#[tokio::test]
async fn entities_count_utf16_units() {
    let bench = Bench::start();
    let text = json!({"chat_id": 7, "text": "\u{1f642}<b>\u{1f642}x</b>", "parse_mode": "HTML"});
    let message = bench.ok("sendMessage", text).await;
    assert_eq!(message["entities"], json!([{"type": "bold", "offset": 2, "length": 3}]));
}

#[tokio::test]
async fn a_caption_has_1024_code_points() {
    let bench = Bench::start();
    for (length, expected) in [(1024, 200), (1025, 400)] {
        let caption = format!("<i>{}</i>", "\u{1f642}".repeat(length));
        let photo = json!({"chat_id": 7, "photo": "a", "caption": caption, "parse_mode": "HTML"});
        assert_eq!(status(&bench, "sendPhoto", photo).await, expected);
    }
}

#[tokio::test]
async fn a_button_holds_64_bytes() {
    let bench = Bench::start();
    for (data, expected) in [("é".repeat(32), 200), ("é".repeat(33), 400)] {
        let keyboard = json!({"inline_keyboard": [[{"text": "a", "callback_data": data}]]});
        let message = json!({"chat_id": 7, "text": "a", "reply_markup": keyboard});
        assert_eq!(status(&bench, "sendMessage", message).await, expected);
    }
}

#[tokio::test]
async fn a_press_is_answered_with_200_code_points() {
    let bench = Bench::start();
    for (length, expected) in [(200, 200), (201, 400)] {
        let press = NewPress { chat_id: 7, user_id: None, message_id: 1, data: "A".to_owned() };
        let id = bench.control.press(press).unwrap().callback_query_id;
        let answer = json!({"callback_query_id": id, "text": "\u{1f642}".repeat(length)});
        assert_eq!(status(&bench, "answerCallbackQuery", answer).await, expected);
    }
}

#[tokio::test]
async fn a_deep_link_has_a_payload_of_64_letters_digits_and_two_signs() {
    let bench = Bench::start();
    let payload = "aZ09_-".to_owned() + &"x".repeat(58);
    let (code, _) = send(bench.post("/control/message", &json!({"chat_id": 7, "start": payload}))).await;
    assert_eq!(code, 200);
    let update = bench.ok("getUpdates", json!({})).await[0].clone();
    assert_eq!(update["message"]["text"], format!("/start {payload}"));
    assert_eq!(update["message"]["entities"][0]["length"], 6);
    for wrong in [String::new(), "x".repeat(65), "a b".to_owned(), "é".to_owned()] {
        let message = NewMessage { chat_id: 7, start: Some(wrong), ..NewMessage::default() };
        assert_eq!(bench.control.message(message), Err(ControlError::Payload));
    }
    assert_eq!(bench.control.pending(), 1);
}
