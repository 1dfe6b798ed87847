//! `tgw webhook` against the simulator: it registers with the configured secret, tells how it is, and changes the secret
//! with no update refused in between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use harness::{LONG, Process, ProcessBuilder, Simulator, World, pause, wait_for, wait_until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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
    // Nobody is at that address: what went wrong there is told in words, and how long ago.
    simulator.message(7, "hello").await;
    wait_for("the error is told", LONG, || async {
        let (_, stdout, _) = ended(webhook(&simulator, &["info"])).await;
        let error = stdout.lines().find(|line| line.starts_with("error     "))?;
        (error.ends_with("s ago") && stdout.contains("pending   1\n")).then_some(())
    })
    .await;
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

/// Telegram, which answers `getWebhookInfo` only so many times, and hangs from then on. It counts the requests.
async fn hanging_telegram(answers: usize) -> (String, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut first = [0];
            connection.read_exact(&mut first).await.unwrap();
            if count.fetch_add(1, Ordering::SeqCst) < answers {
                let body = r#"{"ok":true,"result":{"url":""}}"#;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close", body.len());
                connection.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
            }
            open.push(connection);
        }
    });
    (url, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_it_while_telegram_hangs_and_it_says_what_was_done() {
    let simulator = Simulator::start().await;
    let set = ["set", "--url", URL];
    for (arguments, answers, words) in [
        (&["info"][..], 0, "stopped: Telegram was told nothing"),
        (&["delete", "--yes"], 0, "stopped: Telegram was told nothing"),
        (&["delete", "--yes"], 1, "stopped: whether Telegram has done it is not known"),
        (&set, 0, "stopped: Telegram was told nothing"),
        (&set, 1, "stopped: whether Telegram has done it is not known"),
    ] {
        for terminate in [false, true] {
            let (url, asked) = hanging_telegram(answers).await;
            // So long that it ends by the signal, or not at all.
            let command = webhook(&simulator, arguments).env("TELEGRAM_API_URL", url);
            let mut process = command.env("TELEGRAM_TIMEOUT", 300).start();
            wait_until("Telegram hangs", LONG, || asked.load(Ordering::SeqCst) > answers).await;
            if terminate {
                process.term()
            } else {
                process.interrupt()
            }
            assert_eq!(process.wait_exit().await, 1, "{arguments:?}");
            assert!(process.stderr().contains(words), "{arguments:?} {}", process.stderr());
        }
    }
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

/// What stands before several ingresses: connections go to one after the other.
async fn balancer(targets: Vec<String>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        for at in 0.. {
            let Ok((mut from, _)) = listener.accept().await else { return };
            let target = targets[at % targets.len()].clone();
            tokio::spawn(async move {
                let Ok(mut to) = tokio::net::TcpStream::connect(target).await else { return };
                tokio::io::copy_bidirectional(&mut from, &mut to).await.ok();
            });
        }
    });
    address
}

/// Two ingresses, of which one was forgotten when the new secret was given out.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_not_rotated_until_every_ingress_takes_the_new_one() {
    let simulator = Simulator::start().await;
    let mut world = World::distributed().set("TELEGRAM_API_URL", simulator.url()).await;
    world.conversation.echo();
    let mut other = world.add_ingress().await;
    let balancer = balancer(vec![world.ingress.address(), other.address()]).await;
    let url = format!("http://{balancer}/webhook/telegram");
    simulator.set_webhook(&world.token, &url, &world.secret).await;
    let old = world.secret.clone();
    world.set("TELEGRAM_WEBHOOK_SECRET", "SECRET-new");
    world.set("TELEGRAM_WEBHOOK_SECRET_PREVIOUS", &old);
    world.restart_ingress().await;
    let rotate = |arguments: &[&str]| ended(world.command(&[&["webhook", "rotate"], arguments].concat()));
    // Not even for who says yes to everything; and the one that lacks it is named.
    let (code, stdout, stderr) = rotate(&["--yes"]).await;
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    let lacks = format!(":{} does not take the new secret", other.pid());
    assert!(stderr.contains(&lacks) && stderr.contains("TELEGRAM_WEBHOOK_SECRET_PREVIOUS"), "{stderr}");
    assert!(!stderr.contains(&format!(":{} ", world.ingress.pid())), "{stderr}");
    for secret in ["SECRET-new", &old] {
        assert!(!stderr.contains(secret), "{stderr}");
    }
    // `set` warns of the same.
    let set = world
        .command(&["webhook", "set", "--url", &url, "--yes"])
        .env("TELEGRAM_API_URL", "http://127.0.0.1:9");
    let (code, _, stderr) = ended(set).await;
    assert!(code == 1 && stderr.contains("does not take the configured secret"), "{code} {stderr}");
    other.restart_as(world.ingress_plan()).await;
    // With a spool it is ready before it can be asked over the broker.
    for ingress in [&world.ingress, &other] {
        let knows = || async { (ingress.metrics().await.sum("tgw_ingress_peers", &[]) >= 1.0).then_some(()) };
        wait_for("both ingresses hear each other", LONG, knows).await;
    }
    let chats: Vec<i64> = (0..60).map(|_| world.user()).collect();
    for (at, &chat) in chats.iter().enumerate() {
        simulator.message(chat, "hello").await;
        if at == 30 {
            let (code, _, stderr) = rotate(&[]).await;
            assert!(code == 0 && stderr.contains("ingresses that take both secrets: 2"), "{code} {stderr}");
        }
        pause(Duration::from_millis(10)).await;
    }
    wait_for("all are answered", LONG, || async {
        let calls = simulator.calls(0).await;
        let answered = |chat| calls.iter().any(|call| call.chat == chat && call.status == Some(200));
        chats.iter().all(|&chat| answered(chat)).then_some(())
    })
    .await;
    for ingress in [&world.ingress, &other] {
        let metrics = ingress.metrics().await;
        let refused = metrics.sum("tgw_ingress_requests_total", &[("outcome", "wrong_secret")]);
        assert!(refused.abs() < f64::EPSILON, "{refused} with a wrong secret");
    }
    // What comes now comes with the new secret: the old one is of no use any more.
    world.set("TELEGRAM_WEBHOOK_SECRET_PREVIOUS", "");
    world.restart_ingress().await;
    other.restart_as(world.ingress_plan()).await;
    let last = world.user();
    simulator.message(last, "hello").await;
    wait_for("it is answered", LONG, || async {
        simulator.calls(0).await.iter().any(|call| call.chat == last).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_an_ingress_cannot_be_asked_somebody_has_to_say_so() {
    let simulator = Simulator::start().await;
    let rotate = |arguments: &[&str]| {
        let command = webhook(&simulator, &[&["rotate"], arguments].concat());
        command.env("TELEGRAM_WEBHOOK_SECRET_PREVIOUS", "SECRET-old")
    };
    simulator.set_webhook(TOKEN, URL, "SECRET-old").await;
    let nobody =
        |arguments: &[&str]| rotate(arguments).env("AMQP_URL", "amqp://guest:PASSWORD@127.0.0.1:9/%2f");
    let (code, stdout, stderr) = ended(nobody(&[])).await;
    assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
    assert!(
        stderr.contains("the broker at 127.0.0.1:9 can't be asked") && stderr.contains("--yes"),
        "{stderr}"
    );
    assert!(!stderr.contains("PASSWORD"), "{stderr}");
    assert_eq!(ended(nobody(&["--yes"])).await.0, 0);
    // Nothing says where the ingresses are.
    let (code, _, stderr) = ended(rotate(&[])).await;
    assert!(code == 0 && stderr.contains("warning: no ingress was asked"), "{code} {stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_has_all_of_telegrams_options() {
    let simulator = Simulator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let file = write("certificate.pem", &certificate);
    let set = [
        "set",
        "--url",
        URL,
        "--ip-address",
        "127.0.0.9",
        "--max-connections",
        "3",
        "--allowed-updates",
        "poll",
    ];
    let all = [&set[..], &["--drop-pending-updates", "--certificate", &file]].concat();
    assert_eq!(ended(webhook(&simulator, &all)).await.0, 2, "it destroys, and nobody is there to agree");
    let (code, stdout, stderr) = ended(webhook(&simulator, &[&all[..], &["--yes"]].concat())).await;
    assert!(code == 0 && stdout.contains("trust     a certificate"), "{code} {stdout} {stderr}");
    let call = simulator.last("setWebhook").await;
    let expected = json!({"url": URL, "ip_address": "127.0.0.9", "max_connections": "3", "allowed_updates": "[\"poll\"]",
        "drop_pending_updates": "true", "secret_token": "SECRET-new",
        "certificate": {"file_name": "certificate.pem", "file_size": certificate.len()}});
    assert_eq!(call, expected);
    // To rotate the secret Telegram wants the certificate again.
    let both = |arguments: &[&str]| {
        webhook(&simulator, arguments).env("TELEGRAM_WEBHOOK_SECRET_PREVIOUS", "SECRET-old")
    };
    let (code, _, stderr) = ended(both(&["rotate"])).await;
    assert!(code == 1 && stderr.contains("--certificate FILE"), "{code} {stderr}");
    assert_eq!(ended(both(&["rotate", "--certificate", &file])).await.0, 0);
    for (wrong, words) in [
        (write("key.pem", &key), "holds a private key"),
        (write("both.pem", &format!("{certificate}{key}")), "holds a private key"),
        (write("text.pem", "a text"), "must be a certificate in PEM"),
        ("no-such-file".to_owned(), "can't be read"),
    ] {
        let (code, _, stderr) =
            ended(webhook(&simulator, &["set", "--url", URL, "--certificate", &wrong])).await;
        assert!(code == 2 && stderr.contains(words), "{wrong}: {code} {stderr}");
    }
}
