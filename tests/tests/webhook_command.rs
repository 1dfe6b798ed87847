//! `tgw webhook` against the simulator: it registers with the configured secret, tells how it is, and changes the secret
//! with no update refused in between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use harness::{LONG, Process, ProcessBuilder, Simulator, World, pause, wait_for};
use serde_json::{Value, json};

const TOKEN: &str = "123456:TOKEN";
const URL: &str = "http://127.0.0.1:9/webhook/telegram";

/// Exit code, stdout, stderr.
type Ended = (i32, String, String);

async fn ended(command: ProcessBuilder) -> Ended {
    let mut process = command.start();
    let code = process.wait_exit().await;
    (code, process.stdout(), process.stderr())
}

fn webhook(simulator: &Simulator, arguments: &[&str]) -> ProcessBuilder {
    let command = Process::of("tgw").arg("webhook");
    let command = arguments.iter().fold(command, |command, argument| command.arg(argument));
    command
        .env("TELEGRAM_API_URL", simulator.url())
        .env("TELEGRAM_BOT_TOKEN", TOKEN)
        .env("TELEGRAM_WEBHOOK_SECRET", "SECRET-new")
}

async fn info(simulator: &Simulator) -> Value {
    let (code, stdout, stderr) = ended(webhook(simulator, &["info", "--json"])).await;
    assert_eq!(code, 0, "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

#[tokio::test]
async fn a_webhook_is_set_told_and_deleted() {
    let simulator = Simulator::start().await;
    let (code, stdout, _) = ended(webhook(&simulator, &["info"])).await;
    assert_eq!((code, stdout.as_str()), (0, "webhook   none: updates wait at Telegram\npending   0\n"));
    let set = ["set", "--url", URL, "--max-connections", "7", "--allowed-updates", "message,callback_query"];
    let (code, stdout, stderr) = ended(webhook(&simulator, &set)).await;
    assert_eq!(code, 0, "{stderr}");
    let lines =
        ["at once   7", "kinds     message, callback_query", "error     none", &format!("webhook   {URL}")];
    lines.iter().for_each(|line| assert!(stdout.contains(line), "{line} in {stdout}"));
    assert!(stderr.contains("warning: Telegram itself posts to https only"), "{stderr}");
    assert!(!format!("{stdout}{stderr}").contains("SECRET-new") && !stderr.contains(TOKEN));
    assert_eq!(info(&simulator).await["max_connections"], 7);
    // Another address is asked about, and nobody is there to agree.
    let other = ["set", "--url", "https://a.example/webhook/telegram"];
    assert_eq!(ended(webhook(&simulator, &other)).await.0, 2);
    assert_eq!(info(&simulator).await["url"], URL);
    assert_eq!(ended(webhook(&simulator, &["delete"])).await.0, 2);
    assert_eq!(ended(webhook(&simulator, &["delete", "--yes"])).await.0, 0);
    assert_eq!(info(&simulator).await["url"], "");
}

#[tokio::test]
async fn what_is_wrong_is_told_without_the_token() {
    let simulator = Simulator::start().await;
    assert_eq!(ended(webhook(&simulator, &["set", "--url", "a.example"])).await.0, 2);
    assert_eq!(ended(webhook(&simulator, &["rotate"])).await.0, 2, "there is no previous secret");
    let both = webhook(&simulator, &["rotate"]).env("TELEGRAM_WEBHOOK_SECRET_PREVIOUS", "SECRET-old");
    assert_eq!(ended(both).await.0, 1, "there is no webhook");
    let nobody = webhook(&simulator, &["info"]).env("TELEGRAM_API_URL", "http://127.0.0.1:9");
    let (code, stdout, stderr) = ended(nobody).await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("Telegram can't be asked") && !stderr.contains("TOKEN"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_rotated_and_no_update_is_refused() {
    let simulator = Simulator::start().await;
    let mut world = World::embedded().set("TELEGRAM_API_URL", simulator.url()).await;
    world.conversation.echo();
    let url = format!("{}/webhook/telegram", world.ingress.base_url());
    simulator.set_webhook(&world.token, &url, &world.secret).await;
    let chats: Vec<i64> = (0..30).map(|_| world.user()).collect();
    // The new secret and the old one first, as in a rolling start.
    world.set("TELEGRAM_WEBHOOK_SECRET", "SECRET-new");
    world.set("TELEGRAM_WEBHOOK_SECRET_PREVIOUS", world.secret.clone());
    world.restart_ingress().await;
    for (at, &chat) in chats.iter().enumerate() {
        simulator.message(chat, "hello").await;
        if at == 15 {
            let (code, _, stderr) = ended(world.command(&["webhook", "rotate"])).await;
            assert_eq!(code, 0, "{stderr}");
        }
        pause(Duration::from_millis(20)).await;
    }
    wait_for("all are answered", LONG, || async {
        let calls = simulator.calls(0).await;
        let answered = |chat| calls.iter().any(|call| call.chat == chat && call.status == Some(200));
        chats.iter().all(|&chat| answered(chat)).then_some(())
    })
    .await;
    let refused = world.metric("tgw_ingress_requests_total", &[("outcome", "wrong_secret")]).await;
    assert!(refused.abs() < f64::EPSILON, "{refused} with a wrong secret");
    // Telegram sends the new one: the old one is no longer needed.
    world.set("TELEGRAM_WEBHOOK_SECRET_PREVIOUS", "");
    world.restart_ingress().await;
    let last = world.user();
    simulator.message(last, "hello").await;
    wait_for("it is answered", LONG, || async {
        simulator.calls(0).await.iter().any(|call| call.chat == last).then_some(())
    })
    .await;
    assert_eq!(json!(info_of(&world).await), json!(url));
}

async fn info_of(world: &World) -> String {
    let (_, stdout, _) = ended(world.command(&["webhook", "info", "--json"])).await;
    serde_json::from_str::<Value>(&stdout).unwrap()["url"].as_str().unwrap_or_default().to_owned()
}
