//! Contract 2.1.4 and 2.1.5: what waits on an ingress's own disk. It outlives the process, several ingresses drain
//! as one, a full spool says so, and a damaged one stands in nobody's way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::time::Duration;

use harness::{
    Direction, LONG, Posted, Process, Proxy, Rabbit, Update, World, WorldBuilder, post_to, wait_for,
    wait_until,
};

fn world_on(proxy: &Proxy, rabbit: &Rabbit) -> WorldBuilder {
    World::distributed()
        .rabbit(&proxy.before(rabbit.url(), rabbit.address()))
        .set("ACCEPT_DEADLINE", "0.5")
        .set("RATE_LIMIT_REQUESTS", 100_000)
}

async fn post(ingress: &Process, world: &World, update: &Update) -> Posted {
    post_to(ingress, Some(&world.secret), update.bytes()).await
}

async fn holds(ingress: &Process) -> f64 {
    ingress.metrics().await.sum("tgw_spool_records", &[])
}

/// Until the spool holds so many.
async fn wait_holds(ingress: &Process, count: f64) {
    let look = || async { ((holds(ingress).await - count).abs() < 0.5).then_some(()) };
    wait_for(&format!("the spool holds {count}"), LONG, look).await;
}

/// Until it has heard of so many other ingresses.
async fn wait_peers(ingress: &Process, count: f64) {
    let look = || async { (ingress.metrics().await.sum("tgw_ingress_peers", &[]) >= count).then_some(()) };
    wait_for(&format!("{count} other ingresses are heard"), LONG, look).await;
}

/// Every chat read what it is due, in order and once.
async fn all_read(world: &World, due: &HashMap<i64, Vec<String>>) {
    for (user, due) in due {
        assert_eq!(world.telegram.wait_texts(*user, due.len()).await, *due, "chat {user}");
    }
    world.assert_no_dead_letters().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_spooled_outlives_kill_9_and_goes_before_what_comes_later() {
    let rabbit = Rabbit::shared().await;
    let proxy = Proxy::to(rabbit.address()).await;
    let mut world = world_on(&proxy, rabbit).await;
    world.conversation.echo();
    let users = [world.user(), world.user(), world.user()];
    let mut due: HashMap<i64, Vec<String>> = HashMap::new();
    proxy.cut();
    for n in 0..10 {
        for user in users {
            world.accept(&Update::text(user, &format!("{n}"))).await;
            due.entry(user).or_default().push(format!("echo: {n}"));
        }
        if n % 4 == 3 {
            world.ingress.kill9();
            world.ingress.start_again();
            wait_until("the ingress is back", LONG, || world.ingress.is_running()).await;
            world.ingress.wait_ready().await;
        }
    }
    wait_holds(&world.ingress, 30.0).await;
    proxy.resume();
    for user in users {
        world.accept(&Update::text(user, "last")).await;
        due.entry(user).or_default().push("echo: last".to_owned());
    }
    all_read(&world, &due).await;
    wait_holds(&world.ingress, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ingresses_drain_as_one() {
    let rabbit = Rabbit::shared().await;
    let proxy = Proxy::to(rabbit.address()).await;
    let world = world_on(&proxy, rabbit).await;
    world.conversation.echo();
    let (second, third) = (world.add_ingress().await, world.add_ingress().await);
    let ingresses = [&world.ingress, &second, &third];
    let users: Vec<i64> = (0..8).map(|_| world.user()).collect();
    let mut due: HashMap<i64, Vec<String>> = HashMap::new();
    for round in 0..2 {
        for (n, ingress) in ingresses.iter().cycle().take(9).enumerate() {
            let update = Update::text(users[n % users.len()], &format!("{round} up {n}"));
            assert_eq!(post(ingress, &world, &update).await.status, 200);
            due.entry(users[n % users.len()]).or_default().push(format!("echo: {round} up {n}"));
            world.telegram.wait_texts(users[n % users.len()], due[&users[n % users.len()]].len()).await;
        }
        // Before the cut they have to have heard of each other, as they do within a second.
        for ingress in ingresses {
            wait_peers(ingress, 2.0).await;
        }
        proxy.cut();
        for n in 0..12 {
            for (u, user) in users.iter().enumerate() {
                let ingress = ingresses[(n + u * n) % ingresses.len()];
                let update = Update::text(*user, &format!("{round} cut {n}"));
                assert_eq!(post(ingress, &world, &update).await.status, 200);
                due.entry(*user).or_default().push(format!("echo: {round} cut {n}"));
            }
        }
        for ingress in ingresses {
            let some = || async { (holds(ingress).await > 0.0).then_some(()) };
            wait_for("each holds some", LONG, some).await;
        }
        proxy.resume();
        // While they drain, new updates go behind, at whichever ingress they come in.
        for n in 0..6 {
            for (u, user) in users.iter().enumerate() {
                let update = Update::text(*user, &format!("{round} late {n}"));
                assert_eq!(post(ingresses[(n + u) % ingresses.len()], &world, &update).await.status, 200);
                due.entry(*user).or_default().push(format!("echo: {round} late {n}"));
            }
        }
        all_read(&world, &due).await;
        for ingress in ingresses {
            wait_holds(ingress, 0.0).await;
        }
    }
}

/// A broker whose machine is gone sends no goodbye: for some seconds it is just silent.
#[tokio::test(flavor = "multi_thread")]
async fn several_ingresses_drain_as_one_after_a_silence() {
    let rabbit = Rabbit::shared().await;
    let proxy = Proxy::to(rabbit.address()).await;
    let world = world_on(&proxy, rabbit).await;
    world.conversation.echo();
    let second = world.add_ingress().await;
    let ingresses = [&world.ingress, &second];
    for ingress in ingresses {
        wait_peers(ingress, 1.0).await;
    }
    let users: Vec<i64> = (0..8).map(|_| world.user()).collect();
    let mut due: HashMap<i64, Vec<String>> = HashMap::new();
    proxy.freeze();
    for n in 0..8 {
        for (u, user) in users.iter().enumerate() {
            let update = Update::text(*user, &format!("{n}"));
            assert_eq!(post(ingresses[(n + u) % 2], &world, &update).await.status, 200);
            due.entry(*user).or_default().push(format!("echo: {n}"));
        }
    }
    for ingress in ingresses {
        ingress.wait_broker("away").await;
        assert!(
            ingress.metrics().await.sum("tgw_ingress_peers", &[]) > 0.5,
            "the other one is not forgotten"
        );
    }
    proxy.resume();
    all_read(&world, &due).await;
    for ingress in ingresses {
        wait_holds(ingress, 0.0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_room_a_well_broker_serves_all_the_same() {
    let rabbit = Rabbit::shared().await;
    let proxy = Proxy::to(rabbit.address()).await;
    let world = world_on(&proxy, rabbit).set("SPOOL_MAX_BYTES", 0).await;
    world.conversation.echo();
    let user = world.user();
    // One confirm that is overdue, and nowhere to put its update.
    proxy.delay(Direction::Back, Duration::from_secs(1));
    let late = Update::text(user, "late");
    assert_eq!(world.post(&late).await, 503);
    proxy.delay(Direction::Back, Duration::ZERO);
    // A confirm that is overdue on a busy machine has nowhere to go either: Telegram sends such an update again.
    for update in [late, Update::text(user, "next")] {
        let again = || async { (world.post(&update).await == 200).then_some(()) };
        wait_for("it is taken, if it has to come again", LONG, again).await;
    }
    assert_eq!(world.telegram.wait_texts(user, 2).await, ["echo: late", "echo: next"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_small_updates_have_room_an_ingress_is_ready() {
    let rabbit = Rabbit::shared().await;
    let proxy = Proxy::to(rabbit.address()).await;
    let world = world_on(&proxy, rabbit).set("SPOOL_MAX_BYTES", "16KiB").await;
    let user = world.user();
    proxy.cut();
    assert_eq!(world.post(&Update::text(user, &"x".repeat(20_000))).await, 503);
    assert_eq!(world.ingress.wait_ready_is(503).await["dependencies"]["spool"]["state"], "full");
    assert_eq!(world.post(&Update::text(user, "small")).await, 200);
    assert_eq!(world.ingress.wait_ready_is(200).await["dependencies"]["spool"]["state"], "holding");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_and_without_a_broker_an_ingress_is_not_ready() {
    let rabbit = Rabbit::shared().await;
    let proxy = Proxy::to(rabbit.address()).await;
    let world = world_on(&proxy, rabbit).set("SPOOL_MAX_BYTES", 0).await;
    proxy.cut();
    world.ingress.wait_ready_is(503).await;
    proxy.resume();
    world.ingress.wait_ready_is(200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_come_back_is_not_waited_for() {
    let rabbit = Rabbit::shared().await;
    let proxy = Proxy::to(rabbit.address()).await;
    let world = world_on(&proxy, rabbit).await;
    world.conversation.echo();
    let mut second = world.add_ingress().await;
    wait_peers(&world.ingress, 1.0).await;
    let user = world.user();
    proxy.cut();
    assert_eq!(post(&second, &world, &Update::text(user, "0")).await.status, 200);
    assert_eq!(post(&world.ingress, &world, &Update::text(user, "1")).await.status, 200);
    second.kill9();
    proxy.resume();
    assert_eq!(world.telegram.wait_texts(user, 1).await, ["echo: 1"]);
    second.start_again();
    assert_eq!(world.telegram.wait_texts(user, 2).await, ["echo: 1", "echo: 0"], "late, but not lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_is_the_one_503_and_says_so() {
    let rabbit = Rabbit::shared().await;
    let proxy = Proxy::to(rabbit.address()).await;
    let world = world_on(&proxy, rabbit).set("SPOOL_MAX_BYTES", "4KiB").await;
    world.conversation.echo();
    let user = world.user();
    proxy.cut();
    let mut taken = Vec::new();
    let refused = loop {
        let posted = world.post_bytes(Update::text(user, &taken.len().to_string()).bytes()).await;
        if posted.status != 200 {
            break posted;
        }
        taken.push(format!("echo: {}", taken.len()));
        assert!(taken.len() < 50, "4 KiB hold no 50 updates");
    };
    assert!(taken.len() > 3, "4 KiB hold a few");
    assert_eq!(
        (refused.status, &refused.headers["retry-after"], refused.body.as_str()),
        (503, &"2".parse().unwrap(), "")
    );
    let ready = world.ingress.wait_ready_is(503).await;
    assert_eq!(ready["dependencies"]["spool"]["state"], "full");
    world.wait_metric("tgw_spool_failures_total", &[("why", "full")], 1.0).await;
    proxy.resume();
    world.ingress.wait_ready_is(200).await;
    assert_eq!(world.telegram.wait_texts(user, taken.len()).await, taken);
    wait_holds(&world.ingress, 0.0).await;
    world.accept(&Update::text(user, "again")).await;
    taken.push("echo: again".to_owned());
    assert_eq!(world.telegram.wait_texts(user, taken.len()).await, taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_update_are_spooled_too() {
    let rabbit = Rabbit::shared().await;
    let proxy = Proxy::to(rabbit.address()).await;
    let world = world_on(&proxy, rabbit).await;
    proxy.cut();
    for body in ["not json", "{\"no\":1}"] {
        assert_eq!(world.post_bytes(body.into()).await.status, 200);
    }
    wait_holds(&world.ingress, 2.0).await;
    proxy.resume();
    let letters = world.wait_dead("malformed", 2).await;
    let mut bodies: Vec<_> = letters.into_iter().map(|letter| letter.update).collect();
    bodies.sort();
    assert_eq!(bodies, [b"not json".to_vec(), b"{\"no\":1}".to_vec()]);
    wait_holds(&world.ingress, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_spool_is_set_aside_and_the_start_needs_no_hand() {
    let rabbit = Rabbit::shared().await;
    let proxy = Proxy::to(rabbit.address()).await;
    let mut world = world_on(&proxy, rabbit).await;
    world.conversation.echo();
    proxy.cut();
    let users: Vec<i64> = (0..40).map(|_| world.user()).collect();
    for user in &users {
        world.accept(&Update::text(*user, "before")).await;
    }
    world.ingress.kill9();
    let path = world.ingress.data_dir().join("spool.redb");
    let mut file = std::fs::read(&path).unwrap();
    // Everything that says where in the file is what.
    file[..4096].fill(0x5a);
    std::fs::write(&path, &file).unwrap();
    world.ingress.start_again();
    world.ingress.wait_ready().await;
    world
        .ingress
        .wait_log("the damage", |line| line["level"] == "ERROR" && line.to_string().contains("damaged"))
        .await;
    let aside = std::fs::read_dir(world.ingress.data_dir()).unwrap().flatten();
    let aside =
        aside.filter(|it| it.file_name().to_string_lossy().starts_with("spool.redb.damaged-")).count();
    assert_eq!(aside, 1);
    wait_holds(&world.ingress, 40.0).await;
    proxy.resume();
    for user in &users {
        world.accept(&Update::text(*user, "after")).await;
    }
    let due = users.iter().map(|user| (*user, vec!["echo: before".to_owned(), "echo: after".to_owned()]));
    all_read(&world, &due.collect()).await;
    wait_holds(&world.ingress, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_ingress_in_the_same_folder_ends_with_2() {
    let rabbit = Rabbit::shared().await;
    let proxy = Proxy::to(rabbit.address()).await;
    let world = world_on(&proxy, rabbit).await;
    let second = Process::of("tgw-ingress")
        .env("AMQP_URL", world.amqp_url.clone().unwrap())
        .env("AMQP_PREFIX", &world.prefix)
        .env("TELEGRAM_WEBHOOK_SECRET", &world.secret)
        .env("DATA_DIR", world.ingress.data_dir().display());
    let mut second = second.start();
    assert_eq!(second.wait_exit().await, 2);
    assert!(second.stderr().contains("DATA_DIR"), "{}", second.stderr());
}
