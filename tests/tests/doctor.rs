//! `tgw doctor`: all that the gateway leans on is asked, what is wrong is told with what to do, and the exit code says
//! whether something is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use harness::{LONG, ProcessBuilder, Rabbit, Simulator, Update, World, WorldBuilder, wait_for};
use serde_json::{Value, json};

/// Exit code, stdout, stderr.
type Ended = (i32, String, String);

async fn ended(command: ProcessBuilder) -> Ended {
    let mut process = command.start();
    let code = process.wait_exit().await;
    (code, process.stdout(), process.stderr())
}

/// What both parts are told, as an operator's machine has it.
fn doctor(world: &World, arguments: &[&str]) -> ProcessBuilder {
    let command = world.command(&[&["doctor"], arguments].concat());
    command.env("TELEGRAM_WEBHOOK_SECRET", &world.secret).env("SPOOL_MAX_BYTES", "1MiB")
}

/// Exit code, and by what was checked: how it is and what was said of it, with the advice.
async fn found(command: ProcessBuilder) -> (i32, Vec<(String, String, String)>) {
    let (code, stdout, stderr) = ended(command.arg("--json")).await;
    let told: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}"));
    assert_eq!(told["ok"], json!(code == 0), "{told}");
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let findings = told["findings"].as_array().unwrap().iter().map(|it| {
        assert_eq!(it["advice"].is_null(), it["state"] == "ok", "{it}");
        (text(it, "check"), text(it, "state"), text(it, "what"))
    });
    (code, findings.collect())
}

/// A finding whose words hold `words`.
fn has(findings: &[(String, String, String)], check: &str, state: &str, words: &str) {
    let fits = |it: &(String, String, String)| it.0 == check && it.1 == state && it.2.contains(words);
    assert!(findings.iter().any(fits), "{check} {state} {words:?} in {findings:#?}");
}

/// With a simulated Telegram that posts to it.
async fn healthy(world: WorldBuilder) -> (World, Simulator) {
    let simulator = Simulator::start().await;
    let world = world.set("TELEGRAM_API_URL", simulator.url()).await;
    let url = format!("{}/webhook/telegram", world.ingress.base_url());
    simulator.set_webhook(&world.token, &url, &world.secret).await;
    (world, simulator)
}

/// The text without what is another one each time: versions, ports, sizes.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    for word in text.split_inclusive([' ', '\n', ':', '/', ';']) {
        let is_number = word.starts_with(|first: char| first.is_ascii_digit());
        let end = word.trim_start_matches(|it: char| it.is_ascii_digit() || it == '.');
        masked += &if is_number { format!("#{end}") } else { word.to_owned() };
    }
    masked
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_is_well_that_is_said() {
    let (world, _telegram) = healthy(World::distributed()).await;
    wait_for("each partition has its worker", LONG, || async {
        (world.worker().metrics().await.sum("tgw_partitions_held", &[]) > 3.5).then_some(())
    })
    .await;
    let (code, stdout, stderr) = ended(doctor(&world, &[])).await;
    let expected = "\
settings    ok       each is right, and none fights another
broker      ok       RabbitMQ # at #:#
queues      ok       # partitions; # updates wait in them
partitions  ok       each has a worker
letters     ok       no dead letters
redis       ok       Redis #
service     ok       conversation at #:# answers
service     ok       matching at #:# answers
service     ok       notification at #:# answers
service     ok       user_profile at #:# answers
telegram    ok       @sample_bot, bot #
webhook     ok       http://#:#/webhook/telegram; # updates wait at Telegram
outside     ok       http://#:# answers
secret      ok       each ingress takes the configured one
clock       ok       within # s of ...
disk        ok       # GiB left for ...
";
    let lines = masked(&stdout);
    for (line, expected) in lines.lines().zip(expected.lines()) {
        assert!(line.starts_with(expected.trim_end_matches("...")), "{line:?} is not {expected:?}\n{stdout}");
    }
    assert_eq!((code, stderr.as_str(), lines.lines().count()), (0, "", expected.lines().count()), "{stdout}");
    for secret in [&world.token, &world.secret] {
        assert!(!stdout.contains(secret.as_str()), "{stdout}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_on_its_own_file_is_well_too() {
    let (world, _telegram) = healthy(World::embedded()).await;
    let (code, findings) = found(doctor(&world, &[])).await;
    assert_eq!(code, 0, "{findings:#?}");
    has(&findings, "broker", "ok", "the queue is in a file");
    has(&findings, "redis", "ok", "the store is in a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_away_is_told_at_once() {
    let world = World::embedded().await;
    let away = doctor(&world, &[])
        .env("AMQP_URL", "amqp://guest:PASSWORD@127.0.0.1:9/%2f")
        .env("REDIS_URL", "redis://:PASSWORD@127.0.0.1:9")
        .env("CONVERSATION_SERVICE_URL", "http://127.0.0.1:9/KEY")
        .env("TELEGRAM_API_URL", "http://127.0.0.1:9")
        .env("BOT_ID", "77")
        .env("CHAT_RATE", "fast");
    let (code, findings) = found(away.clone().env("CHAT_RATE", "1")).await;
    assert_eq!(code, 1);
    has(&findings, "broker", "wrong", "127.0.0.1:9 can't be used");
    has(&findings, "redis", "wrong", "can't be used");
    has(&findings, "service", "wrong", "conversation at 127.0.0.1:9: ");
    has(&findings, "service", "ok", "matching");
    has(&findings, "telegram", "wrong", "Telegram can't be asked");
    has(&findings, "settings", "wrong", "BOT_ID is 77, and TELEGRAM_BOT_TOKEN is the token of bot");
    has(&findings, "clock", "warning", "nobody could be asked");
    let (code, stdout, stderr) = ended(away).await;
    assert_eq!((code, stderr.as_str()), (1, ""));
    assert!(stdout.contains("settings    WRONG    CHAT_RATE is \"fast\", but must be"), "{stdout}");
    assert!(stdout.contains("                     -> see that RabbitMQ runs"), "{stdout}");
    for secret in ["PASSWORD", "KEY", &world.token, &world.secret] {
        assert!(!stdout.contains(secret), "{secret} in {stdout}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_queues_is_told() {
    let (mut world, _telegram) = healthy(World::distributed()).await;
    let (code, findings) = found(doctor(&world, &[]).env("PARTITIONS", "16")).await;
    assert_eq!(code, 1);
    has(&findings, "queues", "wrong", "they were made for 4 partitions, PARTITIONS says 16");
    let (code, findings) = found(doctor(&world, &[]).env("AMQP_PREFIX", "nobody")).await;
    assert_eq!(code, 1);
    has(&findings, "queues", "wrong", "nothing has run with AMQP_PREFIX \"nobody\" yet");
    world.worker_mut().kill9();
    let (code, findings) = found(doctor(&world, &[])).await;
    assert_eq!(code, 1);
    has(&findings, "partitions", "wrong", "none has a worker");
    // Somebody deletes a queue, and makes another one of other arguments.
    let rabbit = Rabbit::shared().await;
    rabbit.delete_queue(&format!("{}.p.1", world.prefix)).await;
    rabbit.delete_queue(&format!("{}.p.2", world.prefix)).await;
    rabbit.declare_classic(&format!("{}.p.2", world.prefix)).await;
    let (code, findings) = found(doctor(&world, &[])).await;
    assert_eq!(code, 1);
    has(&findings, "queues", "wrong", &format!("not there: {}.p.1", world.prefix));
    has(&findings, "queues", "wrong", &format!("{}.p.2 has other arguments", world.prefix));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_works_and_wants_somebody_is_a_warning() {
    let (world, _telegram) = healthy(World::distributed()).await;
    world.accept(&Update::text(world.user(), "late").date(harness::now() - 100_000)).await;
    // Whoever looks at a letter has it for a moment, in which it does not wait.
    world.wait_metric("tgw_dead_letters_total", &[("reason", "expired")], 1.0).await;
    let (code, findings) = found(doctor(&world, &[])).await;
    assert_eq!(code, 3, "{findings:#?}");
    has(&findings, "letters", "warning", "1 dead letter waits");
    // Nobody is at the webhook's address, and it is another one than the ingress's.
    let other = Simulator::start().await;
    other.set_webhook(&world.token, "http://127.0.0.1:9/telegram", &world.secret).await;
    let (code, findings) = found(doctor(&world, &[]).env("TELEGRAM_API_URL", other.url())).await;
    assert_eq!(code, 3, "{findings:#?}");
    has(&findings, "webhook", "warning", "does not end in /webhook/telegram");
    has(&findings, "outside", "warning", "can't be reached from here");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_with_another_secret_is_named() {
    let (world, _telegram) = healthy(World::distributed()).await;
    let other = world.ingress_plan().env("TELEGRAM_WEBHOOK_SECRET", "ANOTHER").start();
    let words = format!(":{} does not take the configured secret", other.pid());
    wait_for("it is told", LONG, || async {
        let (code, findings) = found(doctor(&world, &[])).await;
        let told = findings.iter().any(|it| it.0 == "secret" && it.1 == "wrong" && it.2.contains(&words));
        (code == 1 && told).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_and_no_webhook_are_told() {
    let world = World::embedded().await;
    world.telegram.refuse_token(true);
    let (code, findings) = found(doctor(&world, &[])).await;
    assert_eq!(code, 1);
    has(&findings, "telegram", "wrong", "knows no bot with this token");
    let simulator = Simulator::start().await;
    let (code, findings) = found(doctor(&world, &[]).env("TELEGRAM_API_URL", simulator.url())).await;
    assert_eq!(code, 1);
    has(&findings, "webhook", "wrong", "none: 0 updates wait at Telegram");
    assert_eq!(ended(doctor(&world, &["--nonsense"])).await.0, 2);
}
