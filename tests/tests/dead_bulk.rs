//! A hundred thousand dead letters: listed and replayed in seconds, in bounded memory, and a few can be taken out of them.
//!
//! By default at a size that a busy machine does in seconds, where times are printed and only numbers and memory are held
//! to. For the full size, and the times too:
//! `cargo build --release --workspace && TGW_TEST_FULL=1 cargo test --release --workspace --test dead_bulk -- --nocapture`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::time::{Duration, Instant};

use harness::{ProcessBuilder, World, pause};
use serde_json::{Value, json};

/// Of an update, in bytes.
const BYTES: usize = 700;

/// In MiB, at the full size; a list of fewer letters has no more.
const MOST_MEMORY: f64 = 200.0;

struct Ran {
    stdout: String,
    took: Duration,
    memory: f64,
}

async fn run(command: ProcessBuilder) -> Ran {
    let begun = Instant::now();
    let mut process = command.start();
    let mut memory: f64 = 0.0;
    while process.is_running() {
        memory = memory.max(process.try_most_memory().unwrap_or(0.0));
        pause(Duration::from_millis(10)).await;
    }
    let took = begun.elapsed();
    assert_eq!(process.wait_exit().await, 0, "{}", process.stderr());
    Ran { stdout: process.stdout(), took, memory }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let four = |chunk: &[u8]| {
        let at = |n: usize| u32::from(chunk.get(n).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        let letter = |n: usize| {
            if n > chunk.len() { '=' } else { LETTERS[(bits >> (18 - 6 * n) & 63) as usize] as char }
        };
        (0..4).map(letter).collect::<String>()
    };
    bytes.chunks(3).map(four).collect()
}

fn archive(world: &World, count: usize) -> String {
    let update = |n: usize| {
        let bare = json!({"update_id": n, "message": {"message_id": n, "chat": {"id": n, "type": "private"}, "text": ""}});
        let text = "x".repeat(BYTES.saturating_sub(bare.to_string().len()));
        bare.to_string().replace(r#""text":"""#, &format!(r#""text":"{text}""#))
    };
    let line = |n: usize| {
        json!({"id": "", "reason": if n.is_multiple_of(2) { "expired" } else { "service" }, "error": "late", "update_id": n,
            "bot": world.bot_id, "kind": "message", "lane": n, "chat_id": n, "user_id": n, "attempts": 1,
            "received_ms": 1, "first_failed_ms": 1, "last_failed_ms": 1, "replays": 0,
            "update_base64": base64(update(n).as_bytes())})
    };
    (0..count).map(|n| format!("{}\n", line(n))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_letters_are_listed_and_replayed_in_seconds() {
    let full = std::env::var_os("TGW_TEST_FULL").is_some();
    let count = if full { 100_000 } else { 5_000 };
    let world = World::distributed().without_worker().await;
    let mut declares = world.add_worker().await;
    declares.term();
    assert_eq!(declares.wait_exit().await, 0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letters.jsonl");
    std::fs::write(&file, archive(&world, count)).unwrap();
    let dead = |arguments: &[&str]| world.command(&[&["dead"], arguments].concat());
    let rate = |took: Duration| count as f64 / took.as_secs_f64();

    let import = run(dead(&["import", file.to_str().unwrap()])).await;
    assert_eq!(import.stdout, format!("imported: {count} of {count}\n"));
    let list = run(dead(&["list", "--json"])).await;
    let letters: Vec<Value> = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!(letters.len(), count);
    assert!(list.memory < MOST_MEMORY, "the list had {} MiB", list.memory);
    run(dead(&["replay", "--limit", "3"])).await;
    let left = run(dead(&["list", "--json"])).await;
    let left: Vec<Value> = serde_json::from_str(&left.stdout).unwrap();
    assert_eq!((left.len(), &left[0]["update_id"]), (count - 3, &json!(3)));
    let replay = run(dead(&["replay", "--all"])).await;
    assert!(replay.stdout.starts_with(&format!("replayed: {} of {0}\n", count - 3)), "{}", replay.stdout);
    assert_eq!(run(dead(&["list", "--json"])).await.stdout, "[]\n");

    println!(
        "{count} letters of {BYTES} bytes: published at {:.0}/s; listed in {:.1} s with {:.0} MiB; replayed in {:.1} s \
         at {:.0}/s with {:.0} MiB, {:.2} of the rate at which they were published",
        rate(import.took),
        list.took.as_secs_f64(),
        list.memory,
        replay.took.as_secs_f64(),
        rate(replay.took),
        replay.memory,
        rate(replay.took) / rate(import.took)
    );
    if full {
        assert!(list.took < Duration::from_secs(15), "the list took {:?}", list.took);
        assert!(rate(replay.took) >= 0.5 * rate(import.took), "{:?} and {:?}", replay.took, import.took);
    }
}
