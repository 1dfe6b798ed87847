//! What goes out stays whole: marked texts over seams, captions, calls whose answer never came, edits that change nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use harness::{Answer, LONG, Simulator, Update, WorldBuilder, over_both_worlds, wait_for};
use serde_json::json;

over_both_worlds!(
    marked_texts_stay_marked_on_both_sides_of_a_seam,
    a_caption_that_is_too_long_goes_on_as_a_message,
    a_call_that_may_have_been_carried_out_is_made_once_more_and_said,
    where_it_is_not_to_be_made_again_it_is_a_dead_letter,
    an_edit_that_changes_nothing_is_no_failure,
);

/// Some 6,000 code points in words.
fn words() -> String {
    let words: Vec<String> = (0..900).map(|n| format!("word{n}")).collect();
    words.join(" ")
}

/// A kind of markup, a text in it, and the text that a reader sees.
fn marked() -> [(&'static str, String, String); 3] {
    let (words, seen) = (words(), format!("Title {0} code {0} link end", words()));
    let html = format!(
        "<b>Title <i>{words}</i></b> <code>code</code> <blockquote>{words}</blockquote> \
         <a href=\"https://a.example/?a=1&amp;b=2\">link</a> end"
    );
    let v2 = format!("*Title __{words}__* `code` ||~{words}~|| [link](https://a.example/) _end_");
    let old = format!("Title *{words}* `code` _{words}_ [link](https://a.example/) end");
    [("HTML", html, seen.clone()), ("MarkdownV2", v2, seen.clone()), ("Markdown", old, seen)]
}

async fn marked_texts_stay_marked_on_both_sides_of_a_seam(world: WorldBuilder) {
    let simulator = Simulator::start().await;
    // The simulator holds the bot to Telegram's pace.
    let world = world.set("TELEGRAM_API_URL", simulator.url()).set("CHAT_RATE", 1).set("CHAT_BURST", 3).await;
    let url = format!("{}/webhook/telegram", world.ingress.base_url());
    simulator.set_webhook(&world.token, &url, &world.secret).await;
    world.conversation.answer_with(|request| {
        let mode = request.body()["message"].as_str().unwrap().to_owned();
        let (_, text, _) = marked().into_iter().find(|(name, ..)| *name == mode).unwrap();
        Answer::Json(json!({"type": "text", "content": text, "parse_mode": mode}))
    });
    let mut chats = Vec::new();
    for (mode, _, seen) in marked() {
        let chat = world.user();
        simulator.message(chat, mode).await;
        chats.push((mode, chat, seen));
    }
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    for (mode, chat, seen) in chats {
        let told = wait_for("the whole text", LONG, || async {
            let told = simulator.texts(chat).await;
            told.last().is_some_and(|last| last.ends_with("end")).then_some(told)
        })
        .await;
        assert!(told.len() > 2, "{mode}");
        assert_eq!(squeezed(&told.concat()), squeezed(&seen), "{mode}");
    }
    for call in simulator.calls(0).await.iter().filter(|call| call.method == "sendMessage") {
        // On a busy machine they can come closer together than they were sent.
        let taken = matches!(call.status, Some(200 | 429));
        assert!(taken, "Telegram could not read a piece: {:?} {}", call.status, call.text);
        assert!(call.text.chars().count() <= 4096);
    }
}

async fn a_caption_that_is_too_long_goes_on_as_a_message(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    let words = words();
    let photo = json!({"type": "photo", "url": "https://a.example/cat.jpg", "caption": format!("<b>{words}</b>"),
                       "parse_mode": "HTML", "buttons": [[{"text": "Yes", "callback_data": "Y"}]]});
    world.conversation.answer(Answer::Json(photo));
    world.accept(&Update::text(user, "a photo")).await;
    let texts = world.telegram.wait_texts(user, 2).await;
    let photo = world.telegram.calls_of("sendPhoto").remove(0);
    let caption = photo.params["caption"].as_str().unwrap().to_owned();
    assert!((512..=1024).contains(&caption.chars().count()), "{caption}");
    let pieces = [vec![caption], texts].concat();
    assert!(pieces.iter().all(|piece| piece.starts_with("<b>") && piece.ends_with("</b>")), "{pieces:?}");
    let told = pieces.concat().replace("<b>", "").replace("</b>", " ");
    assert_eq!(told.split_whitespace().collect::<Vec<_>>(), words.split(' ').collect::<Vec<_>>());
    // The buttons hang below the last of it.
    assert!(photo.params["reply_markup"].is_null());
    assert!(!world.telegram.sent(user).last().unwrap().keyboard().is_null());
}

async fn a_call_that_may_have_been_carried_out_is_made_once_more_and_said(world: WorldBuilder) {
    let world = world.set("TELEGRAM_TIMEOUT", 1).await;
    let user = world.user();
    world.telegram.script("sendMessage", 1, Answer::Hang);
    let begun = Instant::now();
    world.accept(&Update::text(user, "hello")).await;
    assert_eq!(world.telegram.wait_texts(user, 2).await, ["ok", "ok"]);
    let said = |line: &serde_json::Value| {
        line["message"].as_str().unwrap_or_default().contains("a copy is possible")
    };
    world.worker().wait_log("that a copy is possible", said).await;
    let (given_up, again) = (world.worker().logged(said)[0], world.telegram.sent(user)[1].at);
    let second = Duration::from_secs(1);
    assert!(given_up - begun >= second, "for the answer: {:?}", given_up - begun);
    assert!(again - given_up >= second, "before the retry: {:?}", again - given_up);
    world.assert_no_dead_letters().await;
}

async fn where_it_is_not_to_be_made_again_it_is_a_dead_letter(world: WorldBuilder) {
    let world = world.set("TELEGRAM_TIMEOUT", 1).set("TELEGRAM_RESEND", "never").await;
    let user = world.user();
    world.telegram.script("sendMessage", 1, Answer::Hang);
    world.accept(&Update::text(user, "hello")).await;
    world.wait_dead("telegram", 1).await;
    world.accept(&Update::text(user, "again")).await;
    assert_eq!(world.telegram.wait_texts(user, 2).await, ["ok", "ok"]);
    let (code, stdout) = {
        let mut list = world.command(&["dead", "list", "--json"]).start();
        (list.wait_exit().await, list.stdout())
    };
    assert!(code == 0 && stdout.contains("it may have been sent, and is not sent again"), "{stdout}");
}

async fn an_edit_that_changes_nothing_is_no_failure(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    let description = "Bad Request: message is not modified: specified new message content and reply markup are \
                       exactly the same as a current content and reply markup of the message";
    world.telegram.fail("editMessageText", 1, 400, description, serde_json::Value::Null);
    world.matching.answer(Answer::Json(json!([
        {"type": "edit", "content": "as it was"},
        {"type": "text", "content": "and on"},
    ])));
    world.accept(&Update::callback(user, "SKIP:1")).await;
    assert_eq!(world.telegram.wait_texts(user, 1).await, ["and on"]);
    assert_eq!(world.telegram.calls_of("editMessageText").len(), 1);
    let refused = |line: &serde_json::Value| line["message"].as_str().unwrap_or_default().contains("refuses");
    assert!(world.worker().logged(refused).is_empty());
    world.assert_no_dead_letters().await;
}
