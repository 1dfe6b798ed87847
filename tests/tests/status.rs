//! `tgw status` and `tgw top`: what flows, what waits and who works on it, without the management plugin.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use harness::{
    Answer, Gate, LONG, Process, ProcessBuilder, Proxy, Rabbit, Update, World, WorldBuilder,
    over_both_worlds, wait_for, wait_until,
};
use serde_json::{Value, json};

over_both_worlds!(
    what_waits_and_what_flows_is_told,
    a_breaker_that_is_open_and_a_chat_that_is_parked_are_told,
    top_tells_again_and_again_until_ctrl_c,
);

/// Exit code, stdout, stderr.
type Ended = (i32, String, String);

async fn ended(command: ProcessBuilder) -> Ended {
    let mut process = command.start();
    let code = process.wait_exit().await;
    (code, process.stdout(), process.stderr())
}

async fn status(world: &World) -> (i32, Value) {
    let (code, stdout, stderr) = ended(world.command(&["status", "--json"])).await;
    (code, serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{code}: {stdout}{stderr}")))
}

/// Until what is told fits.
async fn wait_status(world: &World, what: &str, fits: impl Fn(i32, &Value) -> bool) -> Value {
    wait_for(what, LONG, || async {
        let (code, view) = status(world).await;
        fits(code, &view).then_some(view)
    })
    .await
}

async fn what_waits_and_what_flows_is_told(world: WorldBuilder) {
    let world = world.set("CONCURRENCY", 16).set("CONVERSATION_SERVICE_TIMEOUT", 30).await;
    let gate = Gate::default();
    world.conversation.answer(Answer::Held(gate.clone(), Box::new(Answer::text("late"))));
    let users: Vec<i64> = (0..6).map(|_| world.user()).collect();
    for user in &users {
        world.accept(&Update::text(*user, "hello")).await;
        world.accept(&Update::text(*user, "again")).await;
    }
    world.accept(&Update::text(world.user(), "late").date(harness::now() - 100_000)).await;
    let view = wait_status(&world, "twelve are in hand", |_, view| view["in_hand"] == 12).await;
    assert_eq!(
        (&view["dead_letters"], &view["parked_chats"], &view["missing"]),
        (&json!(1), &json!(0), &json!([]))
    );
    assert!(view["oldest_seconds"].as_u64().unwrap() < 60, "{view}");
    let partitions = view["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 4);
    let worker = view["workers"][0]["name"].as_str().unwrap().to_owned();
    assert!(partitions.iter().all(|it| it["owner"] == json!(worker) && it["is_owned"] == true), "{view}");
    let in_hand: u64 = partitions.iter().filter_map(|it| it["in_hand"].as_u64()).sum();
    assert_eq!(in_hand, 12);
    assert_eq!(view["workers"][0]["partitions"], json!([0, 1, 2, 3]));
    assert_eq!((&view["workers"][0]["ready"], &view["ingresses"][0]["ready"]), (&json!(true), &json!(true)));
    gate.open();
    // What ends while it is looked shows as a flow: between the two looks of a status, not between two statuses.
    let flows = |_, view: &Value| view["flow"]["out_per_second"].as_f64() > Some(0.0);
    let view = tokio::select! {
        view = wait_status(&world, "some flow out", flows) => view,
        () = come_and_go(&world) => panic!("it has no end"),
    };
    assert!(view["flow"]["calls_per_second"].as_f64().unwrap() > 0.0, "{view}");
    let (code, page, stderr) = ended(world.command(&["status"])).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    for head in
        ["flow      in ", "lag       ", "waiting   ", "spools    empty", "dead      1", "parked    0 chats"]
    {
        assert!(page.contains(head), "{head:?} in {page}");
    }
    for head in ["WORKER", "INGRESS", "SERVICE", "PARTITION"] {
        assert!(page.lines().any(|line| line.starts_with(head)), "{head} in {page}");
    }
    assert!(page.contains("0-3\n") && page.contains("conversation"), "{page}");
}

async fn come_and_go(world: &World) {
    loop {
        let user = world.user();
        world.accept(&Update::text(user, "hello")).await;
        world.telegram.wait_texts(user, 1).await;
    }
}

async fn a_breaker_that_is_open_and_a_chat_that_is_parked_are_told(world: WorldBuilder) {
    let world = world.set("RATE_LIMIT_REQUESTS", 10_000).await;
    world.conversation.answer(Answer::Status(500, json!({})));
    for _ in 0..24 {
        world.accept(&Update::text(world.user(), "hello")).await;
    }
    let open = |view: &Value| {
        let services = view["services"].as_array().unwrap();
        services.iter().any(|it| it["service"] == "conversation" && it["breakers_open"] == 1)
    };
    wait_status(&world, "the breaker is open", |_, view| open(view)).await;
    let parked = world.user();
    world.telegram.fail(
        "sendMessage",
        1,
        429,
        "Too Many Requests: retry after 20",
        json!({"retry_after": 20}),
    );
    world.profile.answer(Answer::text("hello"));
    world.accept(&Update::command(parked, "/start")).await;
    wait_status(&world, "a chat is parked", |_, view| view["parked_chats"] == 1).await;
}

async fn top_tells_again_and_again_until_ctrl_c(world: WorldBuilder) {
    let world = world.await;
    let mut top = world.command(&["top", "--json"]).start();
    wait_until("three pictures", LONG, || top.stdout().lines().count() >= 3).await;
    top.interrupt();
    assert_eq!(top.wait_exit().await, 0, "{}", top.stderr());
    for line in top.stdout().lines() {
        let view: Value = serde_json::from_str(line).unwrap();
        assert_eq!(view["partitions"].as_array().unwrap().len(), 4);
    }
    let mut top = world.command(&["top"]).start();
    wait_until("two pictures", LONG, || top.stdout().matches("flow      in").count() >= 2).await;
    assert!(!top.stdout().contains('\u{1b}'), "no terminal, no control characters");
    top.term();
    assert_eq!(top.wait_exit().await, 0);
    assert_eq!(ended(world.command(&["top", "--interval", "0"])).await.0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_worker_and_every_ingress_is_told_and_who_is_gone_is_not() {
    let mut world = World::distributed().await;
    let (mut second, third, ingress) =
        (world.add_worker().await, world.add_worker().await, world.add_ingress().await);
    wait_status(&world, "three workers share four partitions, and there are two ingresses", |code, view| {
        let workers = view["workers"].as_array().unwrap();
        code == 0
            && workers.len() == 3
            && workers.iter().all(|it| !it["partitions"].as_array().unwrap().is_empty())
            && view["ingresses"].as_array().unwrap().len() == 2
    })
    .await;
    second.kill9();
    wait_status(&world, "two have all", |code, view| {
        let owned = view["partitions"].as_array().unwrap().iter().all(|it| it["is_owned"] == true);
        code == 0 && owned && view["workers"].as_array().unwrap().len() == 2
    })
    .await;
    drop((third, ingress));
    world.worker_mut().kill9();
    let view = wait_status(&world, "nobody has any", |_, view| view["workers"] == json!([])).await;
    assert!(view["partitions"].as_array().unwrap().iter().all(|it| it["is_owned"] == false), "{view}");
    world.accept(&Update::text(world.user(), "hello")).await;
    wait_status(&world, "it waits", |_, view| view["ready"] == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_does_not_answer_is_missed_and_the_exit_code_says_so() {
    let world = World::distributed().await;
    let other = world.add_worker().await;
    let both = |code: i32, view: &Value| code == 0 && view["workers"].as_array().unwrap().len() == 2;
    let mut other = other;
    // Five seconds after it froze its partitions have another owner, and nobody is missed: a slow look is made again.
    let begun = Instant::now();
    let view = loop {
        wait_status(&world, "both work", both).await;
        other.freeze();
        let (code, view) = status(&world).await;
        other.thaw();
        if code == 3 {
            break view;
        }
        assert!(begun.elapsed() < LONG, "it is not missed: {view}");
    };
    assert!(view["missing"][0].as_str().unwrap().contains("did not answer: "), "{view}");
}

/// Only the leases show that there is somebody, and an ingress that has answered at once knows nothing of workers.
#[tokio::test(flavor = "multi_thread")]
async fn an_only_worker_is_waited_for() {
    let mut world = World::distributed().await;
    let all = |code: i32, view: &Value| code == 0 && view["workers"].as_array().unwrap().len() == 1;
    let begun = Instant::now();
    loop {
        wait_status(&world, "it works", all).await;
        let mut questions = Rabbit::shared().await.hear(&format!("{}.workers", world.prefix)).await;
        world.worker_mut().freeze();
        let mut asked = world.command(&["status", "--json"]).start();
        // Two looks, and who waits asks once more in each. It thaws in the last of these four rounds.
        tokio::select! {
            () = questions.wait_for("tgw.status", 4) => {}
            code = asked.wait_exit() => panic!("it did not wait: {code}"),
        }
        world.worker_mut().thaw();
        let code = asked.wait_exit().await;
        let view: Value = serde_json::from_str(&asked.stdout()).unwrap();
        if all(code, &view) {
            return;
        }
        assert!(begun.elapsed() < LONG, "it is missed: {view}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_an_ingress_its_spool_is_told_though_the_broker_is_away() {
    let rabbit = Rabbit::shared().await;
    let proxy = Proxy::to(rabbit.address()).await;
    let url = proxy.before(rabbit.url(), rabbit.address());
    let world = World::distributed().rabbit(&url).set("ACCEPT_DEADLINE", "0.5").without_worker().await;
    proxy.cut();
    world.accept(&Update::text(world.user(), "hello")).await;
    let here = || world.command(&["status", "--json"]).env("DATA_DIR", world.ingress.data_dir().display());
    let view = wait_for("it is spooled", LONG, || async {
        let (code, stdout, _) = ended(here()).await;
        let view: Value = serde_json::from_str(&stdout).ok()?;
        (code == 3 && view["spool"]["updates"] == 1).then_some(view)
    })
    .await;
    assert!(view["missing"][0].as_str().unwrap().contains("can't be asked"), "{view}");
    assert_eq!((&view["partitions"], &view["dead_letters"]), (&json!([]), &Value::Null));
    // Elsewhere there is nothing to see.
    let (code, stdout, stderr) = ended(world.command(&["status"])).await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.starts_with("error: the broker at ") && !stderr.contains("guest:guest"), "{stderr}");
    // top waits for it.
    let mut top =
        here().command("tgw", &["top", "--json"]).env("DATA_DIR", world.ingress.data_dir().display()).start();
    wait_until("pictures of the ingress", LONG, || top.stdout().contains("can't be asked")).await;
    proxy.resume();
    wait_until("pictures of the queues", LONG, || top.stdout().contains("\"missing\":[]")).await;
    top.interrupt();
    assert_eq!(top.wait_exit().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_can_not_be_answered_costs_nobody_a_connection() {
    let world = World::distributed().await;
    let rabbit = Rabbit::shared().await;
    // There is no exchange for the answers.
    for kind in ["workers", "spools"] {
        for _ in 0..20 {
            let (exchange, answers) =
                (format!("{}.{kind}", world.prefix), format!("{}.status", world.prefix));
            rabbit.ask(&exchange, "tgw.status", &answers).await;
        }
    }
    wait_status(&world, "nobody is missed", |code, view| code == 0 && view["missing"] == json!([])).await;
    let user = world.user();
    world.accept(&Update::text(user, "hello")).await;
    world.telegram.wait_texts(user, 1).await;
    let lost = world.metric("tgw_broker_connections_lost_total", &[]).await;
    assert!(lost.abs() < f64::EPSILON, "{lost} connections");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_runs_that_is_said() {
    let rabbit = Rabbit::shared().await;
    let command =
        Process::of("tgw").arg("status").env("AMQP_URL", rabbit.url()).env("AMQP_PREFIX", "nobody-at-all");
    let (code, stdout, stderr) = ended(command).await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("nothing has run with AMQP_PREFIX \"nobody-at-all\" yet"), "{stderr}");
    let mut world = World::embedded().await;
    world.conversation.answer(Answer::text("late").after(Duration::from_secs(30)));
    world.accept(&Update::text(world.user(), "hello")).await;
    world.ingress.kill9();
    let (code, view) = status(&world).await;
    assert_eq!(
        (code, &view["ready"], &view["dead_letters"], &view["workers"]),
        (3, &json!(1), &json!(0), &json!([]))
    );
    assert!(view["oldest_seconds"].as_u64().unwrap() < 60, "{view}");
    let (code, stdout, stderr) = ended(world.command(&["status"])).await;
    assert!(code == 3 && stderr.contains("no gateway runs on this DATA_DIR"), "{stderr}");
    assert!(stdout.contains("in 0/s, out 0/s"), "{stdout}");
}
