//! Contract 2.1.4 and 2.1.5, while there is no spool: what happens at the webhook when the broker is away
//! or blocked, and how the gateway comes back by itself (invariant I8).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use harness::{LONG, Posted, Process, Proxy, Rabbit, Update, World, WorldBuilder, wait_for};

/// The default of ACCEPT_DEADLINE in seconds, and what a loaded test machine may add to it.
const ACCEPT_DEADLINE: &str = "0.5";
const DEADLINE: Duration = Duration::from_millis(500 + 700);

fn world_on(amqp_url: &str) -> WorldBuilder {
    World::distributed().rabbit(amqp_url).set("ACCEPT_DEADLINE", ACCEPT_DEADLINE)
}

fn assert_turned_away(posted: &Posted) {
    assert_eq!(posted.status, 503);
    assert_eq!(posted.headers["retry-after"], "2");
    assert!(posted.took < DEADLINE, "answered after {:?}", posted.took);
}

/// As Telegram does: again until it is taken.
async fn post_until_taken(world: &World, update: &Update) {
    wait_for("an update is taken", LONG, || async { (world.post(update).await == 200).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_at_the_start_is_waited_for() {
    let mut rabbit = Rabbit::stopped();
    let mut world = world_on(rabbit.url()).without_waiting().await;
    let (ingress, worker) = (&world.ingress, world.worker());
    let about_the_broker = |line: &serde_json::Value| {
        line["level"] == "WARN" && line["message"].as_str().is_some_and(|text| text.contains("broker"))
    };
    ingress.wait_log("the broker can't be reached", about_the_broker).await;
    worker.wait_log("the broker can't be reached", about_the_broker).await;
    ingress.wait_ready_is(503).await;
    worker.wait_ready_is(503).await;
    let update = Update::text(world.user(), "hello");
    assert_turned_away(&world.post_bytes(update.bytes()).await);

    rabbit.start().await;
    world.ingress.wait_ready().await;
    world.worker_mut().wait_ready().await;
    post_until_taken(&world, &update).await;
    world.conversation.wait_for(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_broker_is_a_503_in_time_and_then_forgotten() {
    let mut rabbit = Rabbit::private().await;
    let world = world_on(rabbit.url()).await;
    let user = world.user();
    world.accept(&Update::text(user, "before")).await;
    rabbit.block();
    for n in 0..5 {
        assert_turned_away(&world.post_bytes(Update::text(user, &format!("blocked {n}")).bytes()).await);
    }
    world.ingress.wait_ready_is(503).await;
    rabbit.unblock();
    world.ingress.wait_ready_is(200).await;
    post_until_taken(&world, &Update::text(user, "after")).await;
    let last =
        || async { world.conversation.bodies().iter().any(|body| body["message"] == "after").then_some(()) };
    wait_for("the update after the alarm is handled", LONG, last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_is_a_503_in_time() {
    let rabbit = Rabbit::shared().await;
    let proxy = Proxy::to(rabbit.address()).await;
    let world = world_on(&proxy.before(rabbit.url(), rabbit.address())).await;
    let update = Update::text(world.user(), "hello");
    proxy.freeze();
    assert_turned_away(&world.post_bytes(update.bytes()).await);
    proxy.resume();
    post_until_taken(&world, &update).await;
    world.conversation.wait_for(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_rebuilt_and_nothing_is_handled_twice() {
    let rabbit = Rabbit::shared().await;
    let proxy = Proxy::to(rabbit.address()).await;
    let world = world_on(&proxy.before(rabbit.url(), rabbit.address())).await;
    world.conversation.echo();
    let user = world.user();
    for round in 0..3 {
        let update = Update::text(user, &format!("round {round}"));
        post_until_taken(&world, &update).await;
        world.telegram.wait_texts(user, round + 1).await;
        proxy.cut();
        assert_turned_away(&world.post_bytes(Update::text(user, "lost").bytes()).await);
        proxy.resume();
    }
    assert_eq!(world.telegram.texts(user), ["echo: round 0", "echo: round 1", "echo: round 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_another_number_of_partitions_ends_with_2_and_an_ingress_is_not_ready() {
    let world = World::distributed().await;
    let amqp_url = world.amqp_url.clone().unwrap();
    let common = |binary: &str| {
        Process::of(binary).env("AMQP_URL", &amqp_url).env("AMQP_PREFIX", &world.prefix).env("PARTITIONS", 5)
    };
    let worker = common("tgw-worker")
        .env("TELEGRAM_BOT_TOKEN", &world.token)
        .env("TELEGRAM_API_URL", world.telegram.url())
        .env("REDIS_URL", harness::Redis::shared().await.url());
    let services = ["CONVERSATION", "MATCHING", "NOTIFICATION", "USER_PROFILE"];
    let worker =
        services.iter().fold(worker, |worker, name| worker.env(&format!("{name}_SERVICE_URL"), "sample:"));
    let mut worker = worker.start();
    assert_eq!(worker.wait_exit().await, 2);
    let said = format!("{}{}", worker.stdout(), worker.stderr());
    assert!(said.contains("PARTITIONS"), "{said}");

    let ingress = common("tgw-ingress").env("TELEGRAM_WEBHOOK_SECRET", &world.secret).start();
    let ready = ingress.wait_ready_is(503).await;
    ingress.wait_log("PARTITIONS disagrees", |line| line.to_string().contains("PARTITIONS")).await;
    assert!(ready.is_object());
}
