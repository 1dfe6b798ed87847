//! Failing on cue, as a test asks for it.

use std::time::{Duration, Instant};

use serde_json::json;
use simulator::Rule;

use crate::harness::{Bench, TOKEN, send, until};

fn rule(rule: serde_json::Value) -> Rule {
    serde_json::from_value(rule).unwrap()
}

#[tokio::test]
async fn a_rule_over_http_fails_as_often_as_it_says() {
    let bench = Bench::start();
    let fail = json!({"method": "sendMessage", "chat_id": 7, "times": 2, "status": 500});
    assert_eq!(send(bench.post("/control/fail", &fail)).await.0, 200);
    let send =
        async |chat_id: i64| bench.call("sendMessage", json!({"chat_id": chat_id, "text": "a"})).await.0;
    assert_eq!([send(8).await, send(7).await, send(7).await, send(7).await], [200, 500, 500, 200]);
    assert_eq!(bench.control.chat(7).messages.len(), 1);
}

#[tokio::test]
async fn retry_after_is_told_twice() {
    let bench = Bench::start();
    bench.control.fail(rule(json!({"retry_after": 3})));
    let call = bench.post(&format!("/bot{TOKEN}/sendMessage"), &json!({"chat_id": 7, "text": "a"}));
    let response = call.send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["Retry-After"]),
        (429, &"3".parse().unwrap())
    );
    let answer: serde_json::Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(answer["description"], "Too Many Requests: retry after 3");
    assert_eq!(answer["parameters"], json!({"retry_after": 3}));
}

#[tokio::test]
async fn a_chat_can_move() {
    let bench = Bench::start();
    bench.control.fail(rule(json!({"chat_id": -5, "migrate_to_chat_id": -1005})));
    let (status, answer) = bench.call("sendMessage", json!({"chat_id": -5, "text": "a"})).await;
    assert_eq!((status, &answer["parameters"]["migrate_to_chat_id"]), (400, &json!(-1005)));
}

#[tokio::test]
async fn a_connection_is_dropped_without_an_answer() {
    let bench = Bench::start();
    bench.control.fail(rule(json!({"method": "sendMessage", "close": true})));
    let call = || bench.post(&format!("/bot{TOKEN}/sendMessage"), &json!({"chat_id": 7, "text": "a"}));
    let error = call().send().await.unwrap_err();
    assert!(!error.is_connect() && !error.is_timeout() && error.status().is_none(), "{error:?}");
    assert_eq!(bench.control.calls(0)[0].status, Some(0));
    assert!(bench.control.chat(7).messages.is_empty());
    assert_eq!(send(call()).await.0, 200);
}

#[tokio::test]
async fn an_ambiguous_failure_was_done_all_the_same() {
    let bench = Bench::start();
    bench.control.fail(rule(json!({"after": true, "close": true})));
    let call = bench.post(&format!("/bot{TOKEN}/sendMessage"), &json!({"chat_id": 7, "text": "a"}));
    assert!(call.send().await.is_err());
    assert_eq!(bench.control.chat(7).messages.len(), 1);
}

#[tokio::test]
async fn a_delay_alone_ends_in_the_usual_answer() {
    let bench = Bench::start();
    bench.control.fail(rule(json!({"delay_ms": 100})));
    let begun = Instant::now();
    bench.ok("sendMessage", json!({"chat_id": 7, "text": "a"})).await;
    assert!(begun.elapsed() >= Duration::from_millis(100));
    assert!(bench.control.calls(0)[0].duration_ms.unwrap() >= 99);
}

#[tokio::test]
async fn a_caller_that_hangs_up_while_it_waits_has_sent_nothing() {
    let bench = Bench::start();
    bench.control.fail(rule(json!({"delay_ms": 60_000})));
    let call = bench.post(&format!("/bot{TOKEN}/sendMessage"), &json!({"chat_id": 7, "text": "a"}));
    let caller = tokio::spawn(call.send());
    until("the call has come", || !bench.control.calls(0).is_empty()).await;
    caller.abort();
    until("the call has ended", || bench.control.calls(0)[0].status == Some(0)).await;
    assert!(bench.control.chat(7).messages.is_empty());
}
