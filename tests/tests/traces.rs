//! Traces: one of each update, from the webhook to the chat and through the service, with nothing private in it; and
//! a collector that is not there, or hangs, delays nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use harness::{
    Answer, FakeCollector, LONG, Process, SECRET_HEADER, TraceSpan, Update, World, WorldBuilder, http_client,
    over_both_worlds, wait_until,
};
use serde_json::{Value, json};

over_both_worlds!(
    an_update_is_one_trace_from_the_webhook_to_the_chat,
    a_repeat_after_a_crash_and_a_replay_stay_in_the_trace,
    a_caller_with_the_secret_is_gone_on_with_and_a_stranger_is_not,
    nothing_private_is_in_a_span_or_told_of_the_collector,
    a_collector_that_hangs_delays_no_update_and_no_stop,
    what_the_sampler_leaves_out_is_not_sent,
    the_last_spans_are_sent_at_the_stop,
    without_the_setting_nobody_is_called,
);

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// What a process adds to its grace before it is gone, on a busy machine.
const GOODBYE: Duration = Duration::from_secs(5);

const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn traced(world: WorldBuilder, collector: &FakeCollector) -> WorldBuilder {
    world.set(ENDPOINT, collector.url())
}

/// The spans of the trace in which the update was accepted.
fn trace_of(spans: &[TraceSpan], update: &Update) -> Vec<TraceSpan> {
    let id = update.update_id().to_string();
    let accept = spans.iter().find(|span| span.name == "accept" && span.get("tgw.update_id") == id).unwrap();
    spans.iter().filter(|span| span.trace == accept.trace).cloned().collect()
}

/// All spans when an update has been handled, and its acceptance told of: where these are two processes' each tells in its
/// own time.
async fn of_both(collector: &FakeCollector) -> Vec<TraceSpan> {
    collector.wait_for("accept", 1).await;
    collector.wait_for("handle", 1).await
}

/// The only span of that name.
fn only<'a>(spans: &'a [TraceSpan], name: &str) -> &'a TraceSpan {
    let named: Vec<&TraceSpan> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(named.len(), 1, "{name}: {spans:#?}");
    named[0]
}

/// The trace and the span that a service was told of.
fn told(traceparent: &str) -> (&str, &str) {
    let parts: Vec<&str> = traceparent.split('-').collect();
    assert_eq!((parts.len(), parts[0]), (4, "00"), "{traceparent}");
    (parts[1], parts[2])
}

async fn an_update_is_one_trace_from_the_webhook_to_the_chat(world: WorldBuilder) {
    let collector = FakeCollector::start().await;
    let world = traced(world, &collector).await;
    let user = world.user();
    let update = Update::text(user, "hello");
    world.accept(&update).await;
    let asked = world.conversation.wait_for(1).await;
    let spans = trace_of(&of_both(&collector).await, &update);
    let accept = only(&spans, "accept");
    let handle = only(&spans, "handle");
    assert_eq!((&*accept.parent, accept.get("tgw.outcome")), ("", "published"));
    assert_eq!((&handle.parent, handle.get("tgw.outcome")), (&accept.id, "answered"));
    for (name, parent, outcome) in [
        ("publish", accept, "confirmed"),
        ("wait", accept, ""),
        ("begin", handle, ""),
        ("call", handle, "ok"),
        ("plan", handle, "kept"),
        ("send", handle, "sent"),
        ("finish", handle, ""),
    ] {
        let span = only(&spans, name);
        assert_eq!((&span.parent, span.get("tgw.outcome")), (&parent.id, outcome), "{name}");
        assert!(span.begun <= span.ended && !span.failed, "{name}");
        // The ingress's clock is of milliseconds where it tells of the receipt.
        assert!(span.begun + 1_000_000 >= parent.begun, "{name} began before its parent");
    }
    assert_eq!(spans.len(), 9, "{spans:#?}");
    let call = only(&spans, "call");
    assert_eq!(told(asked[0].header("traceparent").unwrap()), (&*call.trace, &*call.id));
    assert_eq!((call.get("tgw.service"), handle.get("tgw.route")), ("conversation", "text"));
    assert_eq!(handle.get("tgw.request_id"), asked[0].header("X-Request-Id").unwrap());
    let processes: Vec<&str> = [accept, handle].iter().map(|span| &*span.process).collect();
    let expected = if world.is_embedded() { ["tgw", "tgw"] } else { ["tgw-ingress", "tgw-worker"] };
    assert_eq!(processes, expected);
}

/// Kills what handles updates while the update is in hand, and starts it again.
async fn crash_in_the_call(world: &mut World, update: &Update) {
    world.conversation.answer(Answer::Hang);
    world.accept(update).await;
    world.conversation.wait_for(1).await;
    world.worker_mut().kill9();
    world.conversation.answer(Answer::Status(500, json!({})));
    world.worker_mut().start_again();
    world.worker_mut().wait_ready().await;
}

async fn a_repeat_after_a_crash_and_a_replay_stay_in_the_trace(world: WorldBuilder) {
    let collector = FakeCollector::start().await;
    let mut world = traced(world, &collector).set("CONVERSATION_SERVICE_TIMEOUT", 60).await;
    let user = world.user();
    let update = Update::text(user, "hello");
    crash_in_the_call(&mut world, &update).await;
    let spans = collector.wait_for("handle", 1).await;
    let died = spans.iter().find(|span| span.name == "handle").unwrap().clone();
    assert_eq!((died.get("tgw.outcome"), died.failed), ("service", true));
    assert!(spans.iter().any(|span| span.name == "bury" && span.parent == died.id), "{spans:#?}");
    // The first call, of the process that was killed, had no time to be told of; its service knows it.
    let asked = world.conversation.requests();
    for request in &asked {
        assert_eq!(told(request.header("traceparent").unwrap()).0, died.trace);
    }
    let calls = spans.iter().filter(|span| span.name == "call" && span.failed).count();
    assert_eq!((asked.len(), calls), (3, 2), "a call and its retry");

    world.conversation.answer(Answer::text("late"));
    let mut replay = world.command(&["dead", "replay", "--all"]).start();
    assert_eq!(replay.wait_exit().await, 0, "{}", replay.stderr());
    let spans = collector.wait_for("handle", 2).await;
    let again = spans.iter().find(|span| span.get("tgw.replay") == "1").unwrap();
    assert_eq!((&again.trace, again.get("tgw.outcome")), (&died.trace, "answered"));
    assert_eq!((&again.parent, &again.links), (&died.id, &vec![died.id.clone()]));
    // Beside its first turn it is waited for by nobody.
    assert!(!spans.iter().any(|span| span.name == "wait" && span.parent == died.id));
}

async fn post_with(world: &World, secret: &str, update: &Update) {
    let request = http_client()
        .post(format!("{}/webhook/telegram", world.ingress.base_url()))
        .header(SECRET_HEADER, secret)
        .header("traceparent", GIVEN);
    assert_eq!(request.body(update.bytes()).send().await.unwrap().status(), 200);
}

async fn a_caller_with_the_secret_is_gone_on_with_and_a_stranger_is_not(world: WorldBuilder) {
    let collector = FakeCollector::start().await;
    let world = traced(world, &collector).await;
    let (trace, span) = told(GIVEN);
    post_with(&world, "a-stranger", &Update::text(world.user(), "hello")).await;
    let update = Update::text(world.user(), "hello");
    post_with(&world, &world.secret, &update).await;
    let spans = of_both(&collector).await;
    let accept = only(&spans, "accept");
    assert_eq!((&*accept.trace, &*accept.parent), (trace, span));
    assert_eq!(accept.get("tgw.update_id"), update.update_id().to_string());
    assert!(spans.iter().all(|span| span.trace == trace), "{spans:#?}");
}

async fn nothing_private_is_in_a_span_or_told_of_the_collector(world: WorldBuilder) {
    let collector = FakeCollector::start().await;
    let with_password = collector.url().replace("http://", "http://collector:zebrapassword@");
    let world = world
        .set(ENDPOINT, with_password)
        .set("OTEL_EXPORTER_OTLP_HEADERS", "x-key=zebrakey")
        .set("LOG_LEVEL", "trace");
    let world = world.await;
    let user = world.user();
    let person = json!({"id": user, "is_bot": false, "first_name": "Zebraname", "username": "Zebraname"});
    let say = |text: &str| Update::text(user, text).set("/message/from", person.clone());
    world.conversation.answer(Answer::text("zebrareply"));
    world.accept(&say("zebratext")).await;
    world.telegram.wait_texts(user, 1).await;
    let press = Update::callback(user, "ACCEPT:zebradata").set("/callback_query/from", person.clone());
    world.accept(&press).await;
    world.telegram.wait_texts(user, 2).await;
    world.conversation.answer(Answer::Status(500, json!({"error": "zebraerror"})));
    world.accept(&say("zebratext")).await;
    world.telegram.wait_texts(user, 3).await;
    let dice = json!({"type": "method", "method": "sendDice", "params": {"emoji": "zebraparam"}});
    world.conversation.answer(Answer::Json(dice));
    world.accept(&say("zebratext")).await;
    world.conversation.answer(Answer::text("zebrareply"));
    world.telegram.fail("sendMessage", 2, 500, "Internal Server Error: zebratelegram", Value::Null);
    world.accept(&say("zebratext")).await;
    assert_eq!(world.post_bytes(b"{zebrabody".to_vec()).await.status, 200);
    collector.wait_for("accept", 6).await;
    collector.wait_for("answer", 1).await;
    collector.wait_for("handle", 5).await;
    // A collector that refuses what it gets is spoken of, and says things itself.
    collector.answer(Answer::Status(403, json!({"error": "zebracollector"})));
    world.accept(&say("zebratext")).await;
    let mut processes: Vec<&Process> = vec![&world.ingress];
    processes.extend(&world.worker);
    for process in &processes {
        let refused =
            |line: &Value| line["message"].as_str().unwrap().contains("the collector takes no traces");
        process.wait_log("the collector is spoken of", refused).await;
    }

    for request in collector.requests() {
        assert_eq!(request.header("x-key"), Some("zebrakey"));
        assert_not_in(&world, &String::from_utf8_lossy(&request.raw), "a span");
    }
    for process in processes {
        let written = format!("{}{}{}", process.stdout(), process.stderr(), process.metrics().await.0);
        assert_not_in(&world, &written, "what a process writes");
    }
}

fn assert_not_in(world: &World, written: &str, what: &str) {
    let token = world.token.split_once(':').unwrap().1;
    for private in
        ["zebra", "Zebra", token, &*world.secret, &*world.telegram.url(), &*world.conversation.url()]
    {
        let line = written.lines().find(|line| line.contains(private));
        assert_eq!(line, None, "{private} is in {what}");
    }
}

async fn a_collector_that_hangs_delays_no_update_and_no_stop(world: WorldBuilder) {
    let collector = FakeCollector::start().await;
    collector.answer(Answer::Hang);
    let mut world = traced(world, &collector).set("SHUTDOWN_GRACE", 3).await;
    let users: Vec<i64> = (0..20).map(|_| world.user()).collect();
    let begun = Instant::now();
    for _ in 0..10 {
        for user in &users {
            world.accept(&Update::text(*user, "hello")).await;
        }
    }
    for user in &users {
        world.telegram.wait_texts(*user, 10).await;
    }
    wait_until("a request hangs", LONG, || !collector.requests().is_empty()).await;
    println!("200 updates with a collector that hangs took {:?}", begun.elapsed());
    world.assert_no_dead_letters().await;
    let sent = world.metric("tgw_trace_spans_total", &[("outcome", "sent")]).await;
    assert!(sent.abs() < f64::EPSILON, "{sent} spans sent to nobody");
    let stopping = Instant::now();
    world.worker_mut().term();
    assert_eq!(world.worker_mut().wait_exit().await, 0);
    let took = stopping.elapsed();
    println!("SIGTERM took {took:?}");
    // The pages stay for a half of the grace in any case. What waits would take ten seconds for each request.
    assert!(took < Duration::from_secs(3) + GOODBYE, "it took {took:?}");
}

async fn what_the_sampler_leaves_out_is_not_sent(world: WorldBuilder) {
    let collector = FakeCollector::start().await;
    let world = traced(world, &collector).set("OTEL_TRACES_SAMPLER", "parentbased_always_off").await;
    let update = Update::text(world.user(), "left out");
    world.accept(&update).await;
    let left_out = world.conversation.wait_for(1).await;
    assert!(left_out[0].header("traceparent").unwrap().ends_with("-00"), "the service is told");
    // What the caller has decided holds.
    post_with(&world, &world.secret, &Update::text(world.user(), "taken")).await;
    let spans = collector.wait_for("handle", 1).await;
    assert!(spans.iter().all(|span| span.trace == told(GIVEN).0), "{spans:#?}");
}

async fn the_last_spans_are_sent_at_the_stop(world: WorldBuilder) {
    let collector = FakeCollector::start().await;
    let world = traced(world, &collector).set("SHUTDOWN_GRACE", 12).set("CONVERSATION_SERVICE_TIMEOUT", 60);
    let mut world = world.await;
    // The last thing of all, later than the pages are kept for: nothing comes after it that would give the spans time.
    world.conversation.answer(Answer::text("ok").after(Duration::from_secs(7)));
    world.accept(&Update::text(world.user(), "hello")).await;
    world.conversation.wait_for(1).await;
    world.worker_mut().term();
    assert_eq!(world.worker_mut().wait_exit().await, 0);
    let spans = collector.spans();
    assert_eq!(only(&spans, "handle").get("tgw.outcome"), "answered");
    assert_eq!(only(&spans, "finish").parent, only(&spans, "handle").id);
}

async fn without_the_setting_nobody_is_called(world: WorldBuilder) {
    // What a library would read by itself, and where it would look without being told.
    let named = TcpListener::bind("127.0.0.1:0").unwrap();
    let usual = TcpListener::bind("127.0.0.1:4318").ok();
    let address = format!("http://{}", named.local_addr().unwrap());
    let mut world = world
        .set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("{address}/v1/traces"))
        .set("OTEL_EXPORTER_OTLP_HEADERS", "x-key=1")
        .set("OTEL_SERVICE_NAME", "quiet")
        .set("SHUTDOWN_GRACE", 3)
        .await;
    let user = world.user();
    world.accept(&Update::text(user, "hello")).await;
    world.telegram.wait_texts(user, 1).await;
    let asked = world.conversation.wait_for(1).await;
    told(asked[0].header("traceparent").unwrap());
    assert_eq!(world.worker().metrics().await.count("tgw_trace_spans_total", &[]), 0);
    world.worker_mut().term();
    assert_eq!(world.worker_mut().wait_exit().await, 0);
    for listener in [Some(named), usual].into_iter().flatten() {
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "somebody called {listener:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_settings_are_told_and_headers_are_not_printed() {
    let cases = [
        (ENDPOINT, "collector:4318"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
    ];
    let settings = BTreeMap::from([("TELEGRAM_WEBHOOK_SECRET".to_owned(), "good-secret".to_owned())]);
    for (name, value) in cases {
        let ingress = Process::of("tgw-ingress").envs(&settings).env(name, value);
        for mut process in [ingress.clone().start(), ingress.command("tgw", &["check"]).start()] {
            assert_eq!(process.wait_exit().await, 2, "{name}: {}", process.stdout());
            let told = process.stderr();
            let line =
                told.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {told}"));
            assert_eq!(line.contains(value), name != "OTEL_EXPORTER_OTLP_HEADERS", "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_spooled_is_in_the_trace_too() {
    use harness::{Proxy, Rabbit};
    let collector = FakeCollector::start().await;
    let rabbit = Rabbit::shared().await;
    let proxy = Proxy::to(rabbit.address()).await;
    let world = World::distributed().rabbit(&proxy.before(rabbit.url(), rabbit.address()));
    let world = traced(world, &collector).set("ACCEPT_DEADLINE", "0.5").await;
    proxy.cut();
    // Where it is not known yet, the update may wait for the next connection and be published by that.
    world.ingress.wait_broker("away").await;
    let update = Update::text(world.user(), "hello");
    world.accept(&update).await;
    proxy.resume();
    collector.wait_for("drain", 1).await;
    let spans = trace_of(&of_both(&collector).await, &update);
    let accept = only(&spans, "accept");
    assert_eq!(accept.get("tgw.outcome"), "spooled");
    for name in ["spool", "drain", "handle"] {
        assert_eq!(only(&spans, name).parent, accept.id, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_only_a_worker_makes_spans_the_trace_is_the_requests() {
    let collector = FakeCollector::start().await;
    let mut world = World::distributed().without_worker().set("CONVERSATION_SERVICE_TIMEOUT", 60).await;
    let update = Update::text(world.user(), "hello");
    world.conversation.answer_first([Answer::Hang]);
    world.accept(&update).await;
    world.set(ENDPOINT, collector.url());
    let mut first = world.add_worker().await;
    let asked = world.conversation.wait_for(1).await;
    first.kill9();
    let _second = world.add_worker().await;
    let spans = collector.wait_for("handle", 1).await;
    let handle = only(&spans, "handle");
    assert_eq!((&*handle.parent, handle.trace.len()), ("", 32));
    assert_eq!(handle.trace, handle.get("tgw.request_id").replace('-', ""));
    // So the try of the worker that died is in it too.
    assert_eq!(told(asked[0].header("traceparent").unwrap()).0, handle.trace);
}
