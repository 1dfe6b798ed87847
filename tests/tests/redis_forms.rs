//! Redis in each of its forms: with a password and TLS, behind sentinels, as a cluster. Sessions and the rate limit
//! work over each, a fail-over is followed without a hand, and what is wrong is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use harness::{
    Answer, Certificates, Gate, LONG, Process, Redis, RedisCluster, RedisOptions, RedisSentinels, Update,
    World, WorldBuilder, introduce, now, pause, say, under_load, until_known, wait_for,
};
use serde_json::{Value, json};

const PASSWORD: &str = "PASSWORD-of-the-test";
const NOTICE: &str = "You're sending messages too fast, please slow down 🙂";

fn locked() -> RedisOptions {
    let tls = Some(Arc::new(Certificates::new()));
    RedisOptions { password: Some(PASSWORD.to_owned()), tls, settings: Vec::new() }
}

/// A deployment's processes find the files of its TLS here.
fn trusting(world: WorldBuilder, options: &RedisOptions) -> WorldBuilder {
    let files = options.tls.as_ref().unwrap();
    world
        .set("REDIS_CA_FILE", files.authority().display())
        .set("REDIS_CERT_FILE", files.certificate().display())
        .set("REDIS_KEY_FILE", files.key().display())
}

/// A call that took longer than its quarter of a second, as on a busy machine, is no reason to give up.
async fn sessions_and_limits_work(world: &World) {
    store_is_up(world).await;
    for _ in 0..6 {
        let user = world.user();
        wait_for("a session", LONG, || async {
            introduce(world, user, "internal-1").await;
            (say(world, user, "do you know me?").await["user_id"] == "internal-1").then_some(())
        })
        .await;
    }
    world.conversation.echo();
    // The bucket: 4 texts in 60 seconds pass, one notice tells of the rest.
    let limited: Vec<String> =
        ["echo: 0", "echo: 1", "echo: 2", "echo: 3", NOTICE].into_iter().map(str::to_owned).collect();
    wait_for("a limit", LONG, || async {
        let (user, date) = (world.user(), now());
        for n in 0..7 {
            world.accept(&Update::text(user, &format!("{n}")).date(date)).await;
        }
        (world.telegram.wait_texts(user, 5).await == limited).then_some(())
    })
    .await;
    // What was handled is known: Telegram sends it again.
    wait_for("a repeat that is known", LONG, || async {
        let user = world.user();
        let again = Update::text(user, "once");
        world.accept(&again).await;
        world.telegram.wait_texts(user, 1).await;
        world.accept(&again).await;
        world.accept(&Update::text(user, "last")).await;
        (world.telegram.wait_texts(user, 2).await == ["echo: once", "echo: last"]).then_some(())
    })
    .await;
    world.assert_no_dead_letters().await;
}

async fn store_is_up(world: &World) {
    wait_for("the store is up", LONG, || async {
        let (_, ready) = world.worker().ready().await;
        (ready["dependencies"]["store"]["state"] == "up").then_some(())
    })
    .await;
}

fn is_away(line: &Value) -> bool {
    line["level"] == "WARN" && line["message"].as_str().unwrap_or_default().starts_with("the store is away")
}

fn limited(world: WorldBuilder) -> WorldBuilder {
    world.set("RATE_LIMIT_REQUESTS", 4).set("RATE_LIMIT_WINDOW", 60).set("LOG_LEVEL", "trace")
}

/// Exit code, stdout and stderr.
async fn command(world: &World, arguments: &[&str]) -> (i32, String, String) {
    let mut process = world.command(arguments).env("TELEGRAM_WEBHOOK_SECRET", &world.secret).start();
    let code = process.wait_exit().await;
    (code, process.stdout(), process.stderr())
}

/// The commands that need Redis find it, and none prints a password.
async fn commands_work(world: &World, redis: &str) {
    world.conversation.answer_first([Answer::Status(500, json!({})), Answer::Status(500, json!({}))]);
    let user = world.user();
    world.accept(&Update::text(user, "will fail")).await;
    world.wait_dead("service", 1).await;
    world.conversation.echo();
    let (code, stdout, stderr) = command(world, &["dead", "replay", "--all"]).await;
    assert_eq!(code, 0, "{stdout}{stderr}");
    wait_for("the replay is answered", LONG, || async {
        world.telegram.texts(user).contains(&"echo: will fail".to_owned()).then_some(())
    })
    .await;
    let (code, check, stderr) = command(world, &["check"]).await;
    assert_eq!(code, 0, "{check}{stderr}");
    let (_, doctor, stderr) = command(world, &["doctor", "--json"]).await;
    let told: Value = serde_json::from_str(&doctor).unwrap_or_else(|_| panic!("{doctor}{stderr}"));
    let findings = told["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["check"] == "redis").unwrap();
    assert!(found["state"] == "ok" && found["what"].as_str().unwrap().contains(redis), "{found}");
    for text in [stdout, check, doctor, stderr, world.worker().stdout(), world.worker().stderr()] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
}

/// From the fail-over on for good: who was known still is.
async fn well_again(world: &World, user: i64, name: &str) {
    until_known(world, user, name).await;
    store_is_up(world).await;
    let rounds = 8;
    let mut known = 0;
    for n in 0..rounds {
        pause(Duration::from_millis(250)).await;
        known += usize::from(say(world, user, &format!("{n}")).await["user_id"] == name);
    }
    // On a busy machine one may take longer than its quarter of a second.
    assert!(known >= rounds * 3 / 4, "known {known} times of {rounds} after the fail-over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_with_a_password_and_tls_is_used() {
    let options = locked();
    let redis = Redis::with(options.clone()).await;
    let world = trusting(limited(World::distributed().redis(redis.url())), &options).await;
    sessions_and_limits_work(&world).await;
    commands_work(&world, "Redis 7").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_lets_nobody_in_is_away_and_the_log_says_why() {
    let options = locked();
    let redis = Redis::with(options.clone()).await;
    let strangers = locked();
    let wrong_password = redis.url().replace(PASSWORD, "PASSWORD-of-another");
    let cases = [
        (trusting(World::distributed().redis(&wrong_password), &options), "authentication failed"),
        (trusting(World::distributed().redis(redis.url()), &strangers), "certificate"),
        (World::distributed().redis(redis.url()), "certificate"),
        (World::distributed().redis(&format!("redis://{}", redis.address())), ""),
    ];
    for (world, why) in cases {
        let world = world.set("LOG_LEVEL", "trace").await;
        let user = world.user();
        assert_eq!(say(&world, user, "without Redis").await["user_id"], Value::Null);
        world.worker().wait_log("Redis is away", is_away).await;
        // The first call may have ended before the reason was known.
        let says_why = |line: &Value| line["error"].as_str().unwrap_or_default().to_lowercase().contains(why);
        world.worker().wait_log(&format!("{why:?}"), says_why).await;
        world.telegram.wait_texts(user, 1).await;
        let (code, stdout, stderr) = command(&world, &["doctor"]).await;
        assert!(code == 1 && stdout.contains("can't be used"), "{stdout}{stderr}");
        let (code, _, stderr) = command(&world, &["dead", "replay", "--all"]).await;
        assert!(code == 1 && stderr.contains("Redis is away"), "{stderr}");
        for text in [stdout, stderr, world.worker().stdout(), world.worker().stderr()] {
            assert!(!text.contains("PASSWORD"), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_master_that_sentinels_name_is_used() {
    let options = locked();
    let sentinels = RedisSentinels::start(options.clone(), Some("PASSWORD-of-sentinels")).await;
    let world = trusting(limited(World::distributed().redis(sentinels.url())), &options).await;
    sessions_and_limits_work(&world).await;
    commands_work(&world, &format!("at {}, as the sentinels say", sentinels.servers[0].address())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fail_over_of_sentinels_is_followed_under_load() {
    let mut sentinels = RedisSentinels::start(RedisOptions::default(), None).await;
    let world = World::distributed().redis(sentinels.url()).await;
    let user = world.user();
    introduce(&world, user, "internal-4").await;
    let (again, asked) = under_load(&world, async || {
        sentinels.servers[0].kill();
        sentinels.wait_promoted().await;
    })
    .await;
    assert_eq!((again, asked), (0, 0), "nothing is answered twice, no service is asked twice");
    well_again(&world, user, "internal-4").await;
    // And back: the old one returns as a replica, and the new one hangs.
    sentinels.servers.swap(0, 1);
    sentinels.servers[1].start().await;
    sentinels.wait_following().await;
    let (again, asked) = under_load(&world, async || {
        sentinels.servers[0].freeze();
        sentinels.wait_promoted().await;
    })
    .await;
    assert_eq!((again, asked), (0, 0), "nothing is answered twice, no service is asked twice");
    well_again(&world, user, "internal-4").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_used() {
    let options = locked();
    let cluster = RedisCluster::private(false, options.clone()).await;
    let world = trusting(limited(World::distributed().redis(cluster.url())), &options).await;
    sessions_and_limits_work(&world).await;
    commands_work(&world, "a cluster of 3 masters").await;
}

/// One of this deployment's users whose keys that master has.
async fn user_of(world: &World, cluster: &RedisCluster, master: usize) -> i64 {
    loop {
        let user = world.user();
        if cluster.master_of(&format!("{}:{user}", world.bot_id)).await == master {
            return user;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fail_over_in_a_cluster_is_followed_under_load() {
    let mut cluster = RedisCluster::private(true, RedisOptions::default()).await;
    let world = World::distributed().redis(cluster.url()).await;
    let (first, second) = (user_of(&world, &cluster, 0).await, user_of(&world, &cluster, 1).await);
    introduce(&world, first, "internal-5").await;
    introduce(&world, second, "internal-6").await;
    let (again, asked) = under_load(&world, async || {
        cluster.nodes[0].kill();
        cluster.wait_promoted(3).await;
    })
    .await;
    assert_eq!((again, asked), (0, 0), "nothing is answered twice, no service is asked twice");
    well_again(&world, first, "internal-5").await;
    // One that hangs tells nobody where its slots are now.
    let (again, asked) = under_load(&world, async || {
        cluster.nodes[1].freeze();
        cluster.wait_promoted(4).await;
    })
    .await;
    assert_eq!((again, asked), (0, 0), "nothing is answered twice, no service is asked twice");
    well_again(&world, second, "internal-6").await;
    well_again(&world, first, "internal-5").await;
    cluster.nodes[1].thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_a_cluster_that_hangs_takes_no_others_chats_with_it() {
    let settings = ["--cluster-require-full-coverage", "no"].map(str::to_owned).to_vec();
    let mut cluster =
        RedisCluster::private(false, RedisOptions { settings, ..RedisOptions::default() }).await;
    let world = World::distributed().redis(cluster.url()).await;
    let (lost, kept) = (user_of(&world, &cluster, 0).await, user_of(&world, &cluster, 2).await);
    introduce(&world, lost, "internal-7").await;
    introduce(&world, kept, "internal-8").await;
    cluster.nodes[0].freeze();
    wait_for("the frozen one counts as away", LONG, || async {
        (say(&world, lost, "lost").await["user_id"] == Value::Null).then_some(())
    })
    .await;
    let (mut known, rounds) = (0, 20);
    for n in 0..rounds {
        say(&world, lost, &format!("lost {n}")).await;
        known += usize::from(say(&world, kept, &format!("kept {n}")).await["user_id"] == "internal-8");
    }
    assert!(known >= rounds * 3 / 4, "the other server's chat was known {known} times of {rounds}");
    cluster.nodes[0].thaw();
    well_again(&world, lost, "internal-7").await;
}

/// Two users' updates of one chat are kept by two servers, and that of the first hangs when its end is to be kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_chats_next_update_is_handled_once_it_is_known_how_the_end_before_it_was_kept() {
    let mut cluster = RedisCluster::private(false, RedisOptions::default()).await;
    let world = World::distributed().redis(cluster.url()).await;
    let (one, other) = (user_of(&world, &cluster, 0).await, user_of(&world, &cluster, 1).await);
    for user in [one, other] {
        introduce(&world, user, "known").await;
    }
    let (chat, gate, asked) = (world.user(), Gate::default(), world.conversation.count());
    world.telegram.script("sendMessage", 1, gate.holds(Answer::Json(json!({"ok": true, "result": {}}))));
    for user in [one, other] {
        world.accept(&Update::text(user, "to all").set("/message/chat/id", json!(chat))).await;
    }
    world.wait_metric("tgw_partition_updates", &[("state", "in_hand")], 2.0).await;
    gate.wait_for(1).await;
    cluster.nodes[0].freeze();
    let failures = async || world.worker().metrics().await.sum("tgw_store_failures_total", &[]);
    let before = failures().await;
    gate.open();
    assert_eq!(world.conversation.wait_for(asked + 2).await[asked + 1].body()["user_id"], "known");
    assert!(failures().await > before, "it was not known yet that the end could not be kept");
    cluster.nodes[0].thaw();
    world.telegram.wait_texts(chat, 2).await;
    world.assert_no_dead_letters().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_moves_to_another_of_a_cluster_keeps_its_chats() {
    let cluster = RedisCluster::private(false, RedisOptions::default()).await;
    let world = World::distributed().redis(cluster.url()).await;
    let user = user_of(&world, &cluster, 0).await;
    introduce(&world, user, "internal-9").await;
    let slot = cluster.slot_of(&format!("{}:{user}", world.bot_id)).await;
    cluster
        .move_slot(slot, 0, 2, async || {
            // Of what is asked now, some keys are here and some are to be made there.
            world.accept(&Update::text(user, "half way")).await;
        })
        .await;
    well_again(&world, user, "internal-9").await;
    assert_eq!(cluster.nodes[2].keys(&format!("{user}}}:session")).await.len(), 1);
    world.assert_no_dead_letters().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_away_as_a_whole_costs_no_work_and_is_found_again() {
    let mut cluster = RedisCluster::private(false, RedisOptions::default()).await;
    let world = World::distributed().redis(cluster.url()).await;
    let user = world.user();
    introduce(&world, user, "internal-10").await;
    cluster.nodes.iter_mut().for_each(Redis::kill);
    assert_eq!(say(&world, user, "without").await["user_id"], Value::Null);
    world.worker().wait_log("Redis is away", is_away).await;
    // The library would ask the dead for their slots without a pause.
    wait_for("the worker has given up", LONG, || async {
        let before = world.worker().cpu_seconds();
        pause(Duration::from_secs(1)).await;
        (world.worker().cpu_seconds() - before < 0.25).then_some(())
    })
    .await;
    for node in &mut cluster.nodes {
        node.start().await;
    }
    well_again(&world, user, "internal-10").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_none_stops_the_start_with_one_line() {
    let world = World::distributed().without_worker().without_waiting();
    let world = world.await;
    for url in
        ["redis+sentinel://:PASSWORD@127.0.0.1:1", "rediss+cluster://:PASSWORD@h:x", "redis+x://:PASSWORD@h"]
    {
        for arguments in [&["run"][..], &["check"], &["dead", "replay", "--all"]] {
            let mut process =
                world.command(arguments).env("REDIS_URL", url).env("TELEGRAM_WEBHOOK_SECRET", "x").start();
            assert_eq!(process.wait_exit().await, 2, "{arguments:?} {}", process.stderr());
            let text = process.stderr();
            assert!(text.lines().any(|line| line.contains("REDIS_URL is \"redis")), "{arguments:?} {text}");
            assert!(!text.contains("PASSWORD") && !process.stdout().contains("PASSWORD"), "{text}");
        }
        let mut worker = Process::of("tgw-worker").env("REDIS_URL", url).start();
        assert_eq!(worker.wait_exit().await, 2);
        assert!(worker.stderr().contains("REDIS_URL is"), "{}", worker.stderr());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_cluster_that_is_taken_for_a_redis_is_told() {
    let cluster = RedisCluster::shared().await;
    let url = cluster.url().replace("redis+cluster", "redis");
    let (one, _) = url.split_once(',').unwrap();
    let world = World::distributed().redis(one).await;
    let (code, stdout, _) = command(&world, &["doctor", "--json"]).await;
    let told: Value = serde_json::from_str(&stdout).unwrap();
    let findings = told["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["check"] == "redis").unwrap();
    assert_eq!((code, &found["what"]), (1, &json!("it is a node of a cluster")), "{found}");
    assert!(found["advice"].as_str().unwrap().contains("redis+cluster"), "{found}");
}
