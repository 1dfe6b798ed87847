//! Every operators' command from the real binary, well and badly called: what it prints, where, and its exit code. What the
//! words mean is tested elsewhere, by command; here it is seen when one of them changes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use harness::{
    Answer, LONG, Process, ProcessBuilder, Shot, Simulator, Update, World, assert_shots, wait_for,
};
use serde_json::json;

const AWAY: &str = "http://127.0.0.1:9";
const UPDATE: &str = r#"{"update_id":7,"message":{"message_id":1,"chat":{"id":5,"type":"private"},"from":{"id":5},"text":"/start x"}}"#;

fn tgw(arguments: &[&str]) -> ProcessBuilder {
    arguments.iter().fold(Process::of("tgw"), |command, argument| command.arg(argument))
}

/// With all that `tgw run` needs.
fn set_up(command: ProcessBuilder) -> ProcessBuilder {
    let services = ["CONVERSATION", "MATCHING", "NOTIFICATION", "USER_PROFILE"];
    let command = command.env("TELEGRAM_BOT_TOKEN", "123456:TOKEN").env("TELEGRAM_WEBHOOK_SECRET", "secret");
    services.iter().fold(command, |command, name| command.env(&format!("{name}_SERVICE_URL"), "sample:"))
}

async fn call(arguments: &[&str]) -> Shot {
    Shot::of(tgw(arguments), arguments).await
}

/// Where the deployment is.
async fn at(world: &World, arguments: &[&str]) -> Shot {
    Shot::of(world.command(arguments), arguments).await
}

#[tokio::test]
async fn check() {
    let shot = async |arguments: &'static [&'static str], wrong: bool| {
        let command = set_up(tgw(arguments));
        let command =
            if wrong { command.env("CHAT_RATE", "fast").env("REDIS_URL", "file:///x") } else { command };
        Shot::of(command, arguments).await
    };
    let shots = [
        shot(&["check"], false).await,
        shot(&["check", "--json"], false).await,
        shot(&["check", "--partitions", "0"], true).await,
        shot(&["check", "--json"], true).await,
        call(&["check", "--nonsense"]).await,
    ];
    assert_shots("check", &shots, &[]);
}

#[tokio::test]
async fn route() {
    let shots = [
        call(&["route", UPDATE]).await,
        call(&["route", "--json", UPDATE]).await,
        call(&["route", r#"{"message":{}}"#]).await,
        call(&["route", "no-such-file"]).await,
        call(&["route"]).await,
    ];
    assert_shots("route", &shots, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor() {
    let simulator = Simulator::start().await;
    let world = World::distributed().set("TELEGRAM_API_URL", simulator.url()).await;
    let url = format!("{}/webhook/telegram", world.ingress.base_url());
    simulator.set_webhook(&world.token, &url, &world.secret).await;
    wait_for("each partition has its worker", LONG, || async {
        (world.worker().metrics().await.sum("tgw_partitions_held", &[]) > 3.5).then_some(())
    })
    .await;
    let doctor = |arguments: &[&str]| {
        world.command(arguments).env("TELEGRAM_WEBHOOK_SECRET", &world.secret).env("SPOOL_MAX_BYTES", "1MiB")
    };
    let away = doctor(&["doctor"])
        .env("AMQP_URL", "amqp://guest:guest@127.0.0.1:9/%2f")
        .env("REDIS_URL", "redis://127.0.0.1:9")
        .env("CONVERSATION_SERVICE_URL", AWAY)
        .env("TELEGRAM_API_URL", AWAY)
        .env("CHAT_RATE", "fast");
    let shots = [
        Shot::of(doctor(&["doctor"]), &["doctor"]).await,
        Shot::of(doctor(&["doctor", "--json"]), &["doctor", "--json"]).await,
        Shot::of(away, &["doctor"]).await,
        call(&["doctor", "--nonsense"]).await,
    ];
    // Whoever's clock differs most.
    let masks = [(r"within [\d.]+ s of \w+'s", "within N s of SOMEBODY's")];
    assert_shots("doctor", &shots, &masks);
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook() {
    let simulator = Simulator::start().await;
    let webhook = async |arguments: &[&str], api: &str| {
        let command = tgw(arguments).env("TELEGRAM_API_URL", api).env("TELEGRAM_BOT_TOKEN", "123456:TOKEN");
        Shot::of(command.env("TELEGRAM_WEBHOOK_SECRET", "SECRET-new"), arguments).await
    };
    let api = simulator.url();
    let set = ["webhook", "set", "--url", "http://127.0.0.1:9/webhook/telegram"];
    let other = ["webhook", "set", "--url", "https://other.example/webhook/telegram"];
    let shots = [
        webhook(&["webhook", "info"], api).await,
        webhook(&[&set[..], &["--max-connections", "7", "--allowed-updates", "message"]].concat(), api).await,
        webhook(&["webhook", "info", "--json"], api).await,
        webhook(&other, api).await,
        webhook(&["webhook", "rotate"], api).await,
        webhook(&["webhook", "delete"], api).await,
        webhook(&["webhook", "delete", "--yes", "--json"], api).await,
        webhook(&["webhook", "set"], api).await,
        webhook(&["webhook", "set", "--url", "nowhere"], api).await,
        webhook(&["webhook", "info"], AWAY).await,
        call(&["webhook", "info"]).await,
    ];
    assert_shots("webhook", &shots, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn status() {
    let world = World::distributed().await;
    world.accept(&Update::text(41, "hello")).await;
    world.telegram.wait_texts(41, 1).await;
    wait_for("each partition has its worker, and all is told", LONG, || async {
        let metrics = world.worker().metrics().await;
        let told = metrics.count("tgw_partition_updates", &[("state", "ready")]);
        let waiting = metrics.sum("tgw_partition_updates", &[]);
        (metrics.sum("tgw_partitions_held", &[]) > 3.5 && told == 4 && waiting < 0.5).then_some(())
    })
    .await;
    let away = world.command(&["status"]).env("AMQP_URL", "amqp://guest:guest@127.0.0.1:9/%2f");
    let nobody = world.command(&["status"]).env("AMQP_PREFIX", "nobody");
    let shots = [
        at(&world, &["status"]).await,
        Shot::of(away, &["status"]).await,
        Shot::of(nobody, &["status"]).await,
        call(&["status", "--nonsense"]).await,
        call(&["top", "--interval", "0"]).await,
    ];
    let masks = [
        (r"\b[\w.-]+:\d+(#\w+)?  ", "PROCESS  "),
        (r"\b[\w.-]+:\d+(#\w+)?\n", "PROCESS\n"),
        (r"\d+(\.\d+)?/s", "N/s"),
        (r"\d+(\.\d+)? s\b", "N s"),
        (r"(ready|closed)  +[\d.]+", "$1  N"),
        (r"\b\d+(m \d+)?s\b", "AGE"),
    ];
    assert_shots("status", &shots, &masks);
}

/// One letter of a service that fails, one that came too late, and one that is no update.
async fn letters() -> World {
    let world = World::distributed().await;
    world.conversation.answer(Answer::Status(500, json!({})));
    world.accept(&Update::text(41, "a question").id(7001)).await;
    world.wait_metric("tgw_dead_letters_total", &[], 1.0).await;
    world.accept(&Update::text(42, "late").date(harness::now() - 100_000).id(7002)).await;
    assert_eq!(world.post_bytes(b"no update".to_vec()).await.status, 200);
    world.wait_metric("tgw_dead_letters_total", &[], 3.0).await;
    world
}

async fn id_of(world: &World, reason: &str) -> String {
    let shot = at(world, &["dead", "list", "--json", "--reason", reason]).await;
    let letters: serde_json::Value = serde_json::from_str(&shot.stdout).unwrap();
    letters[0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_that_are_looked_at() {
    let world = letters().await;
    let id = id_of(&world, "service").await;
    let away = world.command(&["dead", "list"]).env("AMQP_URL", "amqp://guest:guest@127.0.0.1:9/%2f");
    let shots = [
        at(&world, &["dead", "list"]).await,
        at(&world, &["dead", "list", "--reason", "service", "--json"]).await,
        at(&world, &["dead", "list", "--chat", "7"]).await,
        at(&world, &["dead", "list", "--reason", "nonsense"]).await,
        at(&world, &["dead", "list", "--since", "yesterday"]).await,
        Shot::of(away, &["dead", "list"]).await,
        at(&world, &["dead", "show", &id]).await,
        at(&world, &["dead", "show", "nobody"]).await,
        call(&["dead"]).await,
    ];
    assert_shots("dead-look", &shots, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_that_are_put_back_and_removed() {
    let world = letters().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letters.jsonl");
    let file = file.to_str().unwrap();
    let mut shots = vec![
        at(&world, &["dead", "replay", "--all", "--dry-run"]).await,
        at(&world, &["dead", "replay"]).await,
        at(&world, &["dead", "replay", "--all", "--rate", "fast"]).await,
        at(&world, &["dead", "replay", "--reason", "malformed"]).await,
        at(&world, &["dead", "export", "--out", file]).await,
        at(&world, &["dead", "export", "--out", file]).await,
        at(&world, &["dead", "discard", "--reason", "malformed"]).await,
        at(&world, &["dead", "discard", "--reason", "malformed", "--yes"]).await,
        at(&world, &["dead", "import", "no-such-file"]).await,
        at(&world, &["dead", "import", file]).await,
        at(&world, &["dead", "discard", "--all", "--yes", "--json"]).await,
        at(&world, &["dead", "import", file, "--json"]).await,
    ];
    world.conversation.answer(Answer::text("the answer"));
    shots.push(at(&world, &["dead", "replay", "--reason", "service", "--by", "ann"]).await);
    shots.push(at(&world, &["dead", "replay", "--reason", "expired", "--by", "ann", "--json"]).await);
    world.telegram.wait_texts(42, 1).await;
    std::fs::write(file, "no letter\n").unwrap();
    shots.push(at(&world, &["dead", "import", file]).await);
    assert_shots("dead-change", &shots, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn spool() {
    let world = World::distributed().without_broker().without_worker().await;
    for (id, chat) in [(7001, 41), (7002, 42)] {
        world.accept(&Update::text(chat, "hello").id(id)).await;
    }
    assert_eq!(world.post_bytes(b"no update".to_vec()).await.status, 200);
    let spool = async |arguments: &[&str]| {
        Shot::of(tgw(arguments).env("DATA_DIR", world.ingress.data_dir().display()), arguments).await
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spool.jsonl");
    let file = file.to_str().unwrap();
    let mut shots = vec![
        spool(&["spool", "list"]).await,
        spool(&["spool", "list", "--json", "--limit", "1"]).await,
        spool(&["spool", "list", "--limit", "few"]).await,
        spool(&["spool", "verify"]).await,
        spool(&["spool", "verify", "--json"]).await,
        spool(&["spool", "export", "--out", file]).await,
        spool(&["spool", "export", "--out", file]).await,
        call(&["spool"]).await,
    ];
    for command in [&["spool", "list"][..], &["spool", "verify"], &["spool", "export"]] {
        shots.push(Shot::of(tgw(command).env("DATA_DIR", "nowhere"), command).await);
    }
    assert_shots("spool", &shots, &[]);
}

#[tokio::test]
async fn completions_and_man() {
    let shots = [
        call(&["completions", "bash"]).await.beginning(6),
        call(&["completions", "fish"]).await.beginning(6),
        call(&["completions", "vi"]).await,
        call(&["completions"]).await,
        call(&["man"]).await,
        call(&["man", "--out", "no/such/folder"]).await,
    ];
    assert_shots("completions-and-man", &shots, &[]);
}

#[tokio::test]
async fn the_first_page_and_what_is_mistyped() {
    let shots =
        [call(&[]).await, call(&["--help"]).await, call(&["--version"]).await, call(&["webhok"]).await];
    assert_shots("tgw", &shots, &[]);
}
