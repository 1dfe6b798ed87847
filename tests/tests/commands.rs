//! The operators' commands as a person calls them: what they print, where, and their exit codes (contract 8).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use harness::{Process, ProcessBuilder};
use serde_json::{Value, json};

/// All that `tgw run` needs, and no service that has to run.
fn with_settings(command: ProcessBuilder) -> ProcessBuilder {
    let services = ["CONVERSATION", "MATCHING", "NOTIFICATION", "USER_PROFILE"];
    let command = command.env("TELEGRAM_BOT_TOKEN", "123456:TOKEN").env("TELEGRAM_WEBHOOK_SECRET", "secret");
    services.iter().fold(command, |command, name| command.env(&format!("{name}_SERVICE_URL"), "sample:"))
}

fn tgw(arguments: &[&str]) -> ProcessBuilder {
    arguments.iter().fold(Process::of("tgw"), |command, argument| command.arg(argument))
}

/// Exit code, stdout, stderr.
async fn ended(command: ProcessBuilder) -> (i32, String, String) {
    let mut process = command.start();
    let code = process.wait_exit().await;
    (code, process.stdout(), process.stderr())
}

#[tokio::test]
async fn check_finds_nothing_wrong_and_touches_nothing() {
    let mut process = with_settings(tgw(&["check"])).env("AMQP_URL", "amqp://nobody:5672/%2f").start();
    assert_eq!(process.wait_exit().await, 0, "{}", process.stderr());
    assert_eq!(process.stdout(), "every setting and the table are right\n");
    assert!(!process.data_dir().exists());
    let (code, stdout, _) = ended(with_settings(tgw(&["check", "--json"]))).await;
    assert_eq!(
        (code, serde_json::from_str::<Value>(&stdout).unwrap()),
        (0, json!({"ok": true, "problems": []}))
    );
}

#[tokio::test]
async fn check_tells_all_that_is_wrong_at_once() {
    let routes = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(routes.path(), "[[routes]]\ncomand = \"/start\"\nservice = \"nobody\"\n").unwrap();
    let wrong = || {
        let command = with_settings(tgw(&["check", "--partitions", "0"])).env("CHAT_RATE", "fast");
        command.env("REDIS_URL", "file:///redis").env("ROUTES_FILE", routes.path().display())
    };
    let (code, stdout, stderr) = ended(wrong()).await;
    assert_eq!((code, stdout.as_str()), (2, ""));
    for name in ["PARTITIONS is \"0\"", "CHAT_RATE is \"fast\"", "REDIS_URL", "ROUTES_FILE", "comand"] {
        assert_eq!(stderr.matches(name).count(), 1, "{name} in {stderr}");
    }
    let (code, stdout, _) = ended(wrong().arg("--json")).await;
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &told["ok"]), (2, &json!(false)));
    assert!(told["problems"].as_array().unwrap().len() >= 4, "{told}");
}

#[tokio::test]
async fn check_tells_what_is_wrong_with_the_log_and_the_env_file_too() {
    let routes = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(routes.path(), "[[routes]]\ncomand = \"/start\"\n").unwrap();
    let wrong = [
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("PARTITIONS", "0"),
        ("AMQP_PREFIX", "a b"),
        ("AMQP_URL", "http://x"),
        ("TELEGRAM_WEBHOOK_SECRET", "a b"),
        ("TELEGRAM_WEBHOOK_SECRET_PREVIOUS", "c d"),
        ("ROUTES_FILE", routes.path().to_str().unwrap()),
        ("MATCHING_SERVICE_URL", "nowhere"),
        ("MATCHING_SERVICE_TIMEOUT", "never"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
    ];
    let command = with_settings(tgw(&["check", "--json"])).env("REDIS_URL", "redis://127.0.0.1:1");
    let mut process = wrong.iter().fold(command, |command, (name, value)| command.env(name, value)).start();
    assert_eq!(process.wait_exit().await, 2);
    let told: Value = serde_json::from_str(&process.stdout()).unwrap();
    let problems: Vec<&str> = told["problems"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for (name, _) in wrong {
        let named = |problem: &&&str| problem.split(' ').next() == Some(name);
        assert_eq!(problems.iter().filter(named).count(), 1, "{name} in {problems:#?}");
    }
    assert_eq!(problems.len(), wrong.len(), "{problems:#?}");

    std::fs::write(process.folder().join(".env"), "no line\n").unwrap();
    process.start_again();
    assert_eq!(process.wait_exit().await, 2);
    let told: Value = serde_json::from_str(process.stdout().lines().last().unwrap()).unwrap();
    let problems = told["problems"].as_array().unwrap();
    assert_eq!(problems.len(), wrong.len() + 1, "{told}");
    assert!(problems[0].as_str().unwrap().contains(".env"), "{told}");
}

const START: &str = r#"{"update_id":7,"message":{"message_id":1,"chat":{"id":5,"type":"private"},"from":{"id":5},"text":"/start x"}}"#;

#[tokio::test]
async fn route_says_which_row_takes_an_update_and_why() {
    let (code, stdout, stderr) = ended(tgw(&["route", START])).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    let expected = "update  7 (message)\n\
        seen    chat: private, command: /start, content: text\n\
        route   command:/start\n\
        to      service user_profile, asked as user_profile\n\
        also    text\n\
        why     of the rows that fit it is the most specific, or the first of these in the file\n";
    assert_eq!(stdout, expected);
}

#[tokio::test]
async fn route_reads_a_file_and_a_table() {
    let (update, routes) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    std::fs::write(update.path(), START).unwrap();
    std::fs::write(routes.path(), "[[routes]]\ncommand = \"/start\"\nreply = \"Welcome!\"\n").unwrap();
    let command = tgw(&["route", "--json", update.path().to_str().unwrap()]);
    let (code, stdout, _) = ended(command.env("ROUTES_FILE", routes.path().display())).await;
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &told["reply"], &told["service"]), (0, &json!("Welcome!"), &Value::Null));
}

#[tokio::test]
async fn route_refuses_what_is_no_update() {
    for (given, words) in [(r#"{"message":{}}"#, "update_id is missing"), ("no-such-file", "can't be read")] {
        let (code, stdout, stderr) = ended(tgw(&["route", given])).await;
        assert_eq!((code, stdout.as_str()), (2, ""));
        assert!(stderr.contains(words), "{stderr}");
    }
    assert_eq!(ended(tgw(&["route"])).await.0, 2);
}
