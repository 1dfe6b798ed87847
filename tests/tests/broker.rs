//! Contract 2.1.4: what happens at the webhook when the broker is away, blocked, slow or refuses, and how the
//! gateway comes back by itself (invariant I8). Each update is taken in time, and handled once and in order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use harness::{Direction, LONG, Process, Proxy, Rabbit, Update, World, WorldBuilder, post_to, wait_for};

/// The default of ACCEPT_DEADLINE in seconds, and what a loaded test machine may add to it.
const ACCEPT_DEADLINE: &str = "0.5";
const DEADLINE: Duration = Duration::from_millis(500 + 700);

fn world_on(amqp_url: &str) -> WorldBuilder {
    World::distributed().rabbit(amqp_url).set("ACCEPT_DEADLINE", ACCEPT_DEADLINE)
}

/// Posts an update, which is taken in time, whatever the broker does.
async fn taken_in_time(world: &World, update: &Update) {
    let posted = world.post_bytes(update.bytes()).await;
    assert_eq!(posted.status, 200);
    assert!(posted.took < DEADLINE, "answered after {:?}", posted.took);
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
    ingress.wait_ready_is(200).await;
    worker.wait_ready_is(503).await;
    let update = Update::text(world.user(), "hello");
    taken_in_time(&world, &update).await;

    rabbit.start().await;
    world.worker_mut().wait_ready().await;
    world.conversation.wait_for(1).await;
    world.wait_metric("tgw_spool_drained_total", &[], 1.0).await;
}

/// Posts so many texts to one chat, each taken in time; the answers that are due.
async fn talk(world: &World, user: i64, what: &str, count: usize) -> Vec<String> {
    let mut due = Vec::new();
    for n in 0..count {
        taken_in_time(world, &Update::text(user, &format!("{what} {n}"))).await;
        due.push(format!("echo: {what} {n}"));
    }
    due
}

/// The chat reads just these, in this order, and the spool is empty again.
async fn reads(world: &World, user: i64, due: &[String]) {
    assert_eq!(world.telegram.wait_texts(user, due.len()).await, due);
    let empty = || async { (world.metric("tgw_spool_records", &[]).await < 1.0).then_some(()) };
    wait_for("the spool is empty", LONG, empty).await;
    assert_eq!(world.telegram.texts(user), due, "nothing came twice");
    world.assert_no_dead_letters().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_an_alarm_updates_are_taken_in_time_and_go_on_after_it() {
    let mut rabbit = Rabbit::private().await;
    let world = world_on(rabbit.url()).await;
    world.conversation.echo();
    let user = world.user();
    let mut due = talk(&world, user, "before", 1).await;
    rabbit.block();
    due.extend(talk(&world, user, "blocked", 5).await);
    world.ingress.wait_log("the alarm", |line| line.to_string().contains("alarm")).await;
    due.extend(talk(&world, user, "still blocked", 3).await);
    let (status, ready) = world.ingress.ready().await;
    assert_eq!((status, &ready["dependencies"]["broker"]["state"]), (200, &"blocked".into()));
    world.wait_metric("tgw_spool_records", &[("what", "updates")], 3.0).await;
    assert!(world.metric("tgw_spool_bytes", &[]).await > 0.0);
    rabbit.unblock();
    due.extend(talk(&world, user, "after", 2).await);
    reads(&world, user, &due).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_hangs_updates_are_taken_in_time_and_in_order() {
    let rabbit = Rabbit::shared().await;
    let proxy = Proxy::to(rabbit.address()).await;
    let world = world_on(&proxy.before(rabbit.url(), rabbit.address())).await;
    world.conversation.echo();
    let user = world.user();
    let mut due = talk(&world, user, "before", 1).await;
    proxy.freeze();
    due.extend(talk(&world, user, "hanging", 5).await);
    proxy.resume();
    due.extend(talk(&world, user, "after", 2).await);
    reads(&world, user, &due).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_broker_keeps_nobody_waiting() {
    let rabbit = Rabbit::shared().await;
    let proxy = Proxy::to(rabbit.address()).await;
    let world = world_on(&proxy.before(rabbit.url(), rabbit.address())).await;
    world.conversation.echo();
    let user = world.user();
    // An ingress is ready before its broker is: what is answered came by way of that.
    let mut due = talk(&world, user, "before", 1).await;
    reads(&world, user, &due).await;
    proxy.delay(Direction::Back, Duration::from_millis(700));
    due.extend(talk(&world, user, "slow", 6).await);
    // While one confirm is overdue nobody waits for another.
    let waited = world.metric("tgw_ingress_late_confirms_total", &[]).await;
    assert!((1.0..=3.0).contains(&waited), "{waited} of 6 waited for a confirm");
    proxy.delay(Direction::Back, Duration::ZERO);
    due.extend(talk(&world, user, "well", 1).await);
    reads(&world, user, &due).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broker_refuses_waits_and_nothing_overtakes_it() {
    let mut rabbit = Rabbit::private().await;
    let mut world = world_on(rabbit.url()).without_worker().await;
    world.conversation.echo();
    let user = world.user();
    // A queue with a message in it refuses the next (a nack), and takes it again when that is gone.
    let policy = r#"{"max-length":1,"overflow":"reject-publish"}"#;
    rabbit.control(&["set_policy", "--apply-to", "queues", "full", r"\.p\.", policy]);
    let due = talk(&world, user, "refused", 6).await;
    world.wait_metric("tgw_spool_records", &[("what", "updates")], 3.0).await;
    world.worker = Some(world.add_worker().await);
    reads(&world, user, &due).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_rebuilt_and_nothing_is_lost_or_handled_twice() {
    let rabbit = Rabbit::shared().await;
    let proxy = Proxy::to(rabbit.address()).await;
    let world = world_on(&proxy.before(rabbit.url(), rabbit.address())).await;
    world.conversation.echo();
    let user = world.user();
    let mut due = Vec::new();
    for round in 0..3 {
        due.extend(talk(&world, user, &format!("round {round} up"), 2).await);
        proxy.cut();
        due.extend(talk(&world, user, &format!("round {round} cut"), 3).await);
        proxy.resume();
    }
    reads(&world, user, &due).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_deleted_under_load_is_made_again_and_only_its_content_is_gone() {
    let mut rabbit = Rabbit::private().await;
    let world = world_on(rabbit.url()).await;
    world.conversation.echo();
    let user = world.user();
    let due = talk(&world, user, "before", 1).await;
    reads(&world, user, &due).await;
    for partition in 0..4 {
        rabbit.control(&["delete_queue", &format!("{}.p.{partition}", world.prefix)]);
    }
    let mut due = due;
    due.extend(talk(&world, user, "after", 4).await);
    reads(&world, user, &due).await;
}

/// `suspend` or `resume` for the process that has the log of each partition's queue: as if its node were frozen, with
/// all other processes of the broker at work.
fn queues(rabbit: &mut Rabbit, what: &str) {
    let each = format!(
        "[sys:{what}(whereis(element(1, amqqueue:get_pid(Q)))) \
         || Q <- rabbit_amqqueue:list(), amqqueue:get_type(Q) == rabbit_quorum_queue]."
    );
    rabbit.control(&["eval", &each]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_has_waited_long_for_a_partition_consumes_it_once() {
    let mut rabbit = Rabbit::private().await;
    let mut world = world_on(rabbit.url()).await;
    world.conversation.echo();
    let user = world.user();
    let mut due = talk(&world, user, "before", 1).await;
    reads(&world, user, &due).await;
    world.worker_mut().term();
    world.worker_mut().wait_exit().await;
    queues(&mut rabbit, "suspend");
    world.worker_mut().start_again();
    let is_silent = |line: &serde_json::Value| {
        line["message"].as_str().is_some_and(|text| text.contains("queue of a partition does not answer"))
    };
    wait_for("every partition is waited for", LONG, || async {
        (world.worker().logged(is_silent).len() >= 4).then_some(())
    })
    .await;
    queues(&mut rabbit, "resume");
    // A consumer too many would take its part of these.
    due.extend(talk(&world, user, "after", 20).await);
    reads(&world, user, &due).await;
}

/// The broker's end of every channel that publishes with confirms does nothing any more, as one that waits for a frozen
/// node.
const SUSPEND_CHANNELS: &str = "[sys:suspend(Channel) || Channel <- rabbit_channel:list_local(), \
                                 rabbit_channel:info(Channel, [confirm]) == [{confirm, true}]].";

#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_whose_channels_are_answered_no_more_publishes_on_others() {
    let mut rabbit = Rabbit::private().await;
    let mut world = world_on(rabbit.url()).await;
    world.conversation.echo();
    let user = world.user();
    let mut due = talk(&world, user, "before", 1).await;
    reads(&world, user, &due).await;
    world.worker_mut().term();
    world.worker_mut().wait_exit().await;
    rabbit.control(&["eval", SUSPEND_CHANNELS]);
    due.extend(talk(&world, user, "after", 4).await);
    world.worker_mut().start_again();
    reads(&world, user, &due).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_comes_back_empty_gets_its_topology_again() {
    let mut rabbit = Rabbit::private().await;
    let world = world_on(rabbit.url()).await;
    world.conversation.echo();
    let user = world.user();
    let mut due = talk(&world, user, "before", 1).await;
    reads(&world, user, &due).await;
    rabbit.control(&["stop_app"]);
    due.extend(talk(&world, user, "away", 3).await);
    rabbit.control(&["reset"]);
    rabbit.control(&["start_app"]);
    due.extend(talk(&world, user, "after", 2).await);
    reads(&world, user, &due).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_the_broker_closes_is_opened_again() {
    let rabbit = Rabbit::private().await;
    let world = world_on(rabbit.url()).await;
    world.conversation.echo();
    let user = world.user();
    let mut due = talk(&world, user, "before", 1).await;
    // Publishing to an exchange that is gone closes the channel with a 404.
    rabbit.delete_exchange(&format!("{}.updates", world.prefix)).await;
    due.extend(talk(&world, user, "after", 4).await);
    reads(&world, user, &due).await;
}

/// A fanout is how ingresses with something in their spools tell each other: no broker has to allow it.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_allows_no_words_between_ingresses_is_served_all_the_same() {
    let mut rabbit = Rabbit::private().await;
    rabbit.add_user("limited");
    let all_but_the_spools = "^(?!.*\\.spools).*$";
    let permissions = [all_but_the_spools; 3];
    rabbit.control(&[["set_permissions", "-p", "/", "limited"].as_slice(), &permissions].concat());
    let world = world_on(&rabbit.url().replace("guest:guest", "limited:limited")).await;
    world.conversation.echo();
    world.ingress.wait_log("nobody is heard", |line| line.to_string().contains("can't be heard")).await;
    let user = world.user();
    let mut due = talk(&world, user, "before", 1).await;
    rabbit.block();
    due.extend(talk(&world, user, "blocked", 3).await);
    rabbit.unblock();
    due.extend(talk(&world, user, "after", 2).await);
    reads(&world, user, &due).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_another_number_of_partitions_ends_with_2_and_an_ingress_is_not_ready() {
    let world = World::distributed().set("PARTITIONS", 6).await;
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
    assert!(said.contains("PARTITIONS disagrees") && said.contains("made with 6"), "{said}");

    let ingress = common("tgw-ingress").env("TELEGRAM_WEBHOOK_SECRET", &world.secret).start();
    let ready = ingress.wait_ready_is(503).await;
    ingress.wait_log("PARTITIONS disagrees", |line| line.to_string().contains("PARTITIONS")).await;
    assert!(ready.is_object());
    // Somebody who posts all the same is not turned away.
    let posted = post_to(&ingress, Some(&world.secret), Update::text(world.user(), "hello").bytes()).await;
    assert_eq!(posted.status, 200);
    let spooled = || async { (ingress.metrics().await.sum("tgw_spool_records", &[]) > 0.0).then_some(()) };
    wait_for("it is in the spool", LONG, spooled).await;
}
