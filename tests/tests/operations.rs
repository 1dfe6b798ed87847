//! Contract 2: health, readiness, metrics, SIGTERM; and the demo.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use harness::{
    Answer, Process, SHORT, Update, WorldBuilder, http_client, over_both_worlds, post_to, wait_for,
};
use serde_json::{Value, json};

over_both_worlds!(
    health_ready_and_metrics_are_served,
    sigterm_ends_what_is_in_hand_and_exits_0,
    what_is_not_served_is_404_or_405,
);

async fn health_ready_and_metrics_are_served(world: WorldBuilder) {
    let world = world.await;
    let user = world.user();
    world.accept(&Update::text(user, "hello")).await;
    world.telegram.wait_texts(user, 1).await;
    for process in [&world.ingress, world.worker()] {
        let health = http_client().get(format!("{}/health", process.base_url())).send().await.unwrap();
        assert_eq!(health.status(), 200);
        let body: Value = serde_json::from_str(&health.text().await.unwrap()).unwrap();
        assert_eq!(body, json!({"status": "ok"}));

        let (status, body) = process.ready().await;
        assert_eq!(status, 200);
        assert!(body.to_string().contains("since"), "each dependency says since when: {body}");

        let metrics = process.metrics().await;
        assert!(metrics.families().iter().any(|name| name.starts_with("tgw_")), "{}", metrics.0);
    }
}

async fn sigterm_ends_what_is_in_hand_and_exits_0(world: WorldBuilder) {
    let mut world = world.await;
    world.conversation.answer(Answer::text("finished").after(Duration::from_millis(1500)));
    let user = world.user();
    world.accept(&Update::text(user, "hello")).await;
    world.conversation.wait_for(1).await;
    world.worker_mut().term();
    assert_eq!(world.worker_mut().wait_exit().await, 0);
    assert_eq!(world.telegram.texts(user), ["finished"]);

    if world.worker.is_some() {
        world.ingress.term();
        let draining = || async {
            let answer =
                http_client().get(format!("{}/ready", world.ingress.base_url())).send().await.ok()?;
            (answer.status() == 503).then_some(())
        };
        wait_for("/ready turns 503 at once", SHORT, draining).await;
        // Requests are still taken for a few seconds: a load balancer needs them to learn of it.
        let posted = world.post_bytes(Update::text(user, "late").bytes()).await;
        assert_eq!(posted.status, 200);
        assert_eq!(posted.headers["connection"], "close");
        assert_eq!(world.ingress.wait_exit().await, 0);
    }
}

async fn what_is_not_served_is_404_or_405(world: WorldBuilder) {
    let world = world.await;
    let base = world.ingress.base_url();
    assert_eq!(http_client().get(format!("{base}/nothing")).send().await.unwrap().status(), 404);
    let get = http_client().get(format!("{base}/webhook/telegram")).send().await.unwrap().status();
    assert!(get == 404 || get == 405, "{get}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_prints_one_line_with_an_address_that_answers() {
    let mut demo = Process::of("tgw").arg("demo").start();
    let address = wait_for("an address", Duration::from_secs(30), || async {
        let text = demo.stdout();
        let from = text.find("http://")?;
        text[from..].contains('\n').then(|| text[from..].split_whitespace().next().unwrap().to_owned())
    })
    .await;
    assert_eq!(demo.stdout().lines().count(), 1, "{}", demo.stdout());
    let page = http_client().get(address).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().to_lowercase().contains("<html"));
    demo.interrupt();
    assert_eq!(demo.wait_exit().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_says_the_address_to_a_machine_too() {
    let mut demo = Process::of("tgw").arg("demo").arg("--json").start();
    demo.wait_stdout("\n").await;
    let told: Value = serde_json::from_str(&demo.stdout()).unwrap();
    let page = http_client().get(told["page"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(page.status(), 200);
    demo.interrupt();
    assert_eq!(demo.wait_exit().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn run_logs_json_where_it_is_asked_for_json() {
    let run = Process::of("tgw").arg("run").arg("--json").env("LOG_FORMAT", "text");
    let run = run.env("TELEGRAM_BOT_TOKEN", "123456:TOKEN").env("TELEGRAM_WEBHOOK_SECRET", "secret");
    let services = ["CONVERSATION", "MATCHING", "NOTIFICATION", "USER_PROFILE"];
    let run = services.iter().fold(run, |run, name| run.env(&format!("{name}_SERVICE_URL"), "sample:"));
    let mut run = run.env("TELEGRAM_API_URL", "http://127.0.0.1:9").start();
    run.wait_ready().await;
    run.term();
    assert_eq!(run.wait_exit().await, 0, "{}", run.stderr());
    for line in run.stdout().lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()), "{line}");
    }
    assert!(!run.logs().is_empty());
}

/// Whoever read the log has gone: of both streams, as where `2>&1 | head` has seen enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_takes_any_more_ends_nothing() {
    let unread = "exec 3>&1; { exec \"$0\" 2>&1; echo \"$?\" >&3; } | exec true";
    let mut process = Process::of("tgw-ingress")
        .in_shell(unread)
        .env("TELEGRAM_WEBHOOK_SECRET", "secret")
        .env("AMQP_URL", "amqp://127.0.0.1:9")
        .env("LOG_LEVEL", "debug")
        .start();
    process.wait_ready().await;
}

/// Of its file: what is longer is refused as on a disk that is full.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_disk_is_full_is_not_ready_until_there_is_room() {
    let limited = "trap '' XFSZ; ulimit -S -f 8192; exec \"$0\" run";
    let mut shell = Process::of("tgw").in_shell(limited);
    for service in ["CONVERSATION", "MATCHING", "NOTIFICATION", "USER_PROFILE"] {
        shell = shell.env(&format!("{service}_SERVICE_URL"), "sample:");
    }
    let mut process = shell
        .env("TELEGRAM_WEBHOOK_SECRET", "secret")
        .env("TELEGRAM_BOT_TOKEN", "123456:TESTTOKEN-abcdefghijklmnopqrstuvwxyz")
        .env("TELEGRAM_API_URL", "http://127.0.0.1:9")
        .start();
    process.wait_ready().await;
    let url = process.base_url();
    let post = async |user: i64| {
        let update = Update::text(user, &"x".repeat(200_000));
        post_to(&process, Some("secret"), update.bytes()).await.status
    };
    let mut user = 1;
    while post(user).await == 200 {
        user += 1;
        assert!(user < 1000, "its file has no end");
    }
    let ready = async || http_client().get(format!("{url}/ready")).send().await.unwrap().status().as_u16();
    wait_for("it says so", SHORT, async || (ready().await == 503).then_some(())).await;
    let more = ["--pid", &process.pid().to_string(), "--fsize=unlimited"];
    assert!(std::process::Command::new("prlimit").args(more).status().unwrap().success());
    wait_for("it is ready again", SHORT, async || (ready().await == 200).then_some(())).await;
    assert_eq!(post(user).await, 200);
}
