//! Contract 2.1: what the webhook answers, what it keeps, and what it turns away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use harness::{Posted, SHORT, Update, World, WorldBuilder, over_both_worlds, wait_until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

over_both_worlds!(
    a_wrong_or_missing_secret_is_warned_about_and_nothing_is_kept,
    the_previous_secret_is_accepted_too,
    what_is_no_update_gets_200_an_error_and_a_dead_letter,
    nesting_of_128_is_taken_and_of_129_is_not,
    a_body_over_1_mib_gets_200_and_a_closed_connection,
    a_body_just_under_1_mib_is_taken,
    a_repeated_update_is_handled_once,
);

fn assert_plain_200(posted: &Posted) {
    assert_eq!(posted.status, 200);
    assert_eq!(posted.body, "");
    assert_eq!(posted.headers["content-length"], "0");
    assert!(!posted.headers.contains_key("content-encoding"));
}

async fn wait_lines(world: &World, level: &str, count: usize) {
    let seen = || world.ingress.logs().iter().filter(|line| line["level"] == level).count();
    wait_until(&format!("{count} log lines of level {level}"), SHORT, || seen() >= count).await;
}

async fn a_wrong_or_missing_secret_is_warned_about_and_nothing_is_kept(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    let update = Update::text(user, "not from Telegram");
    let almost = format!("{}x", world.secret);
    for secret in [None, Some(""), Some("wrong"), Some(&*almost), Some(&world.secret[1..])] {
        assert_plain_200(&world.post_as(secret, update.bytes()).await);
    }
    assert_plain_200(&world.post_as(Some("wrong"), b"not JSON".to_vec()).await);
    wait_lines(&world, "WARN", 6).await;

    // What comes after it in the same chat is handled; by then what came before would have been.
    world.accept(&Update::text(user, "from Telegram")).await;
    world.telegram.wait_texts(user, 1).await;
    let bodies = world.conversation.bodies();
    assert_eq!(bodies.len(), 1);
    assert_eq!(bodies[0]["message"], "from Telegram");
    world.assert_no_dead_letters().await;
}

async fn the_previous_secret_is_accepted_too(world: WorldBuilder) {
    let world = world.set("TELEGRAM_WEBHOOK_SECRET_PREVIOUS", "OLD-secret_1").await;
    let user = world.user();
    let old = world.post_as(Some("OLD-secret_1"), Update::text(user, "old").bytes()).await;
    assert_plain_200(&old);
    world.accept(&Update::text(user, "new")).await;
    let requests = world.conversation.wait_for(2).await;
    assert_eq!(requests[0].body()["message"], "old");
    assert_eq!(requests[1].body()["message"], "new");
}

async fn what_is_no_update_gets_200_an_error_and_a_dead_letter(world: WorldBuilder) {
    let world = world.await;
    let good = Update::text(world.user(), "hello").bytes();
    let mut with_mark = b"\xef\xbb\xbf".to_vec();
    with_mark.extend(&good);
    let mut not_utf8 = good.clone();
    let last = not_utf8.len() - 2;
    not_utf8[last] = 0xff;
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"not JSON".to_vec(),
        good[..good.len() - 1].to_vec(),
        [&good[..], b"{}"].concat(),
        b"[]".to_vec(),
        b"{\"message\":{}}".to_vec(),
        b"{\"update_id\":null,\"message\":{}}".to_vec(),
        b"{\"update_id\":\"5\",\"message\":{}}".to_vec(),
        b"{\"update_id\":-1,\"message\":{}}".to_vec(),
        b"{\"update_id\":1.5,\"message\":{}}".to_vec(),
        b"{\"update_id\":9223372036854775808,\"message\":{}}".to_vec(),
        with_mark,
        not_utf8,
    ];
    for body in &bodies {
        assert_plain_200(&world.post_bytes(body.clone()).await);
    }
    wait_lines(&world, "ERROR", bodies.len()).await;
    let letters = world.wait_dead("malformed", bodies.len()).await;
    if !world.is_embedded() {
        let mut kept: Vec<_> = letters.into_iter().map(|letter| letter.update).collect();
        let mut sent = bodies;
        kept.sort();
        sent.sort();
        assert!(kept == sent, "the letters hold the bodies, byte for byte");
    }
}

/// A text whose deepest value is inside `depth` objects and arrays.
fn nested(depth: usize, user: i64) -> Vec<u8> {
    // The update and its message are two of them.
    let deep = format!("{}{}", "[".repeat(depth - 2), "]".repeat(depth - 2));
    let update = Update::text(user, "deep").set("/message/deep", json!("DEEP"));
    let text = String::from_utf8(update.bytes()).unwrap();
    text.replace("\"DEEP\"", &deep).into_bytes()
}

async fn nesting_of_128_is_taken_and_of_129_is_not(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    assert_plain_200(&world.post_bytes(nested(129, user)).await);
    assert_plain_200(&world.post_bytes(nested(100_000, user)).await);
    assert_plain_200(&world.post_bytes(nested(128, user)).await);
    world.telegram.wait_texts(user, 1).await;
    assert_eq!(world.conversation.count(), 1);
    world.wait_dead("malformed", 2).await;
}

async fn a_body_over_1_mib_gets_200_and_a_closed_connection(world: WorldBuilder) {
    let world = world.await;
    let stream = TcpStream::connect(world.ingress.address()).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let length = 3 * 1024 * 1024;
    let head = format!(
        "POST /webhook/telegram HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         X-Telegram-Bot-Api-Secret-Token: {}\r\nContent-Length: {length}\r\n\r\n",
        world.secret
    );
    let write = tokio::spawn(async move {
        writing.write_all(head.as_bytes()).await.ok();
        // The gateway may close before it has all, so that this fails: that is its right.
        writing.write_all(&vec![b' '; length]).await.ok();
        writing
    });
    let mut answer = Vec::new();
    // A reset after the answer is a closed connection too.
    reading.read_to_end(&mut answer).await.ok();
    let answer = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    drop(write.await.unwrap());

    wait_lines(&world, "ERROR", 1).await;
    for letter in world.wait_dead("malformed", 1).await {
        assert_eq!(letter.update.len(), 0, "the letter of a body that is too large goes without it");
    }
}

async fn a_body_just_under_1_mib_is_taken(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    let padding = "x".repeat(1024 * 1024 - 1000);
    let update = Update::text(user, "small").set("/message/padding", Value::String(padding));
    assert_plain_200(&world.post_bytes(update.bytes()).await);
    world.telegram.wait_texts(user, 1).await;
}

async fn a_repeated_update_is_handled_once(world: WorldBuilder) {
    let world = world.await;
    world.conversation.echo();
    let user = world.user();
    let update = Update::text(user, "one");
    for _ in 0..3 {
        world.accept(&update).await;
    }
    world.accept(&Update::text(user, "two")).await;
    assert_eq!(world.telegram.wait_texts(user, 2).await, ["echo: one", "echo: two"]);
    world.accept(&update).await;
    world.accept(&Update::text(user, "three")).await;
    assert_eq!(world.telegram.wait_texts(user, 3).await, ["echo: one", "echo: two", "echo: three"]);
    assert_eq!(world.conversation.count(), 3);
}
