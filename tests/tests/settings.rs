//! Contract 6: a bad value stops the start with one line that names it, what it was and what it may be,
//! and exit code 2.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::net::TcpListener;

use harness::{Process, ProcessBuilder};
use tempfile::NamedTempFile;

const SERVICES: [&str; 4] = ["CONVERSATION", "MATCHING", "NOTIFICATION", "USER_PROFILE"];
const TOKEN: &str = "123456:TESTTOKEN-abcdefghijklmnopqrstuvwxyz";

fn ingress() -> ProcessBuilder {
    Process::of("tgw-ingress").env("TELEGRAM_WEBHOOK_SECRET", "good-secret")
}

fn with_services(worker: ProcessBuilder) -> ProcessBuilder {
    SERVICES.iter().fold(worker, |worker, name| worker.env(&format!("{name}_SERVICE_URL"), "sample:"))
}

fn worker() -> ProcessBuilder {
    with_services(Process::of("tgw-worker").env("TELEGRAM_BOT_TOKEN", TOKEN))
}

fn run() -> ProcessBuilder {
    let run = Process::of("tgw").arg("run").env("TELEGRAM_WEBHOOK_SECRET", "good-secret");
    with_services(run.env("TELEGRAM_BOT_TOKEN", TOKEN))
}

/// Starts it, expects exit code 2 and one line on stderr; the line.
async fn refused(process: ProcessBuilder) -> String {
    let mut process = process.start();
    assert_eq!(process.wait_exit().await, 2, "{}{}", process.stdout(), process.stderr());
    let line = process.stderr().trim_end().to_owned();
    assert_eq!(line.lines().count(), 1, "one line on stderr: {line}");
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_value_is_named_with_what_it_was() {
    let cases = [
        ("PARTITIONS", "abc"),
        ("PARTITIONS", "0"),
        ("PARTITIONS", "-1"),
        ("LISTEN_ADDR", "nowhere"),
        ("ACCEPT_DEADLINE", "soon"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("SHUTDOWN_GRACE", "-5"),
    ];
    for (name, value) in cases {
        let line = refused(ingress().env(name, value)).await;
        assert!(line.contains(name) && line.contains(value), "{name}={value}: {line}");
    }
    let cases = [
        ("RATE_LIMIT_REQUESTS", "many"),
        ("RATE_LIMIT_WINDOW", "0"),
        ("SESSION_TTL", "x"),
        ("REDIS_PORT", "65536"),
        ("CONCURRENCY", "0"),
        ("CONVERSATION_SERVICE_URL", "not a url"),
        ("MATCHING_SERVICE_TIMEOUT", "never"),
        ("TELEGRAM_API_URL", "telegram"),
        ("ROUTES_FILE", "no-such-file.toml"),
    ];
    for (name, value) in cases {
        for process in [worker(), run()] {
            let line = refused(process.env(name, value)).await;
            assert!(line.contains(name) && line.contains(value), "{name}={value}: {line}");
        }
    }
    // What both halves read is told once.
    for (name, value) in [("LISTEN_ADDR", "nowhere"), ("SHUTDOWN_GRACE", "-5")] {
        let line = refused(run().env(name, value)).await;
        assert!(line.contains(name) && line.contains(value), "{name}={value}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_secret_or_token_is_named_and_not_printed() {
    for value in ["two words", "ümlaut", "", &"x".repeat(257)] {
        let line = refused(ingress().env("TELEGRAM_WEBHOOK_SECRET", value)).await;
        assert!(line.contains("TELEGRAM_WEBHOOK_SECRET"), "{line}");
        assert!(value.is_empty() || !line.contains(value), "{line}");
    }
    let line = refused(ingress().env("TELEGRAM_WEBHOOK_SECRET_PREVIOUS", "a b")).await;
    assert!(line.contains("TELEGRAM_WEBHOOK_SECRET_PREVIOUS") && !line.contains("a b"), "{line}");
    let line = refused(worker().env("TELEGRAM_BOT_TOKEN", "hunter2")).await;
    assert!(line.contains("TELEGRAM_BOT_TOKEN") && !line.contains("hunter2"), "{line}");
    let line = refused(ingress().env("AMQP_URL", "http://u:hunter2@x/")).await;
    assert!(line.contains("AMQP_URL") && !line.contains("hunter2"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_required_and_missing_is_named() {
    let line = refused(Process::of("tgw-ingress")).await;
    assert!(line.contains("TELEGRAM_WEBHOOK_SECRET"), "{line}");
    let line = refused(with_services(Process::of("tgw-worker"))).await;
    assert!(line.contains("TELEGRAM_BOT_TOKEN"), "{line}");
    for name in SERVICES {
        let name = format!("{name}_SERVICE_URL");
        let line = refused(worker().env(&name, "")).await;
        assert!(line.contains(&name), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_routing_table_is_refused_with_what_is_wrong() {
    let cases = [
        ("this is not TOML", "ROUTES_FILE"),
        ("[[routes]]\ncommand = \"/weather\"\nservice = \"nobody\"\n", "nobody"),
        ("[[routes]]\ntext = \"(unclosed\"\nservice = \"conversation\"\n", "(unclosed"),
        ("[[routes]]\ncomand = \"/weather\"\nservice = \"conversation\"\n", "comand"),
        ("[services.x]\nurl = \"${TGW_NO_SUCH_VARIABLE}\"\n", "TGW_NO_SUCH_VARIABLE"),
    ];
    for (text, named) in cases {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let line = refused(worker().env("ROUTES_FILE", file.path().display())).await;
        assert!(line.contains("ROUTES_FILE") && line.contains(named), "{text}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_wins_over_the_environment() {
    let line = refused(ingress().arg("--partitions").arg("flagged").env("PARTITIONS", "4")).await;
    assert!(line.contains("flagged"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_begins_with_a_hyphen_is_a_value() {
    for (flag, name) in [("--accept-deadline", "ACCEPT_DEADLINE"), ("--partitions", "PARTITIONS")] {
        let line = refused(ingress().arg(flag).arg("-1")).await;
        assert!(line.contains(&format!(r#"{name} is "-1", but must be "#)), "{line}");
    }
    // Telegram takes such a secret, and so it is not what is wrong here.
    let secret = Process::of("tgw-ingress").arg("--telegram-webhook-secret").arg("--s3cretvalue");
    let line = refused(secret.env("PARTITIONS", "0")).await;
    assert!(line.contains("PARTITIONS") && !line.contains("s3cretvalue"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_without_a_flag_is_not_printed() {
    let headers = ingress().arg("--otel-exporter-otlp-headers").arg("authorization=Bearer");
    let mut process = headers.arg("s3cretvalue").start();
    assert_eq!(process.wait_exit().await, 2);
    let told = process.stderr();
    assert!(told.contains("needs quotes") && !told.contains("s3cretvalue"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_in_the_same_data_dir_ends_with_2() {
    let gateway = || run().env("TELEGRAM_API_URL", "http://127.0.0.1:9");
    // Their files have other names, and the folder is one process's all the same.
    for (first, second) in [(gateway(), gateway()), (gateway(), ingress()), (ingress(), gateway())] {
        let mut first = first.start();
        first.wait_ready().await;
        let line = refused(second.env("DATA_DIR", first.data_dir().display())).await;
        assert!(line.contains("DATA_DIR") && line.contains("in use by another process"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_another_has_is_told_and_nothing_else() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    // What was begun before would be heard of too, now and then.
    for _ in 0..10 {
        for part in [ingress(), worker(), run()] {
            let part = part.env("AMQP_URL", "amqp://localhost:1").env("REDIS_URL", "redis://localhost:1");
            let mut process = part.env("LISTEN_ADDR", taken).start();
            assert_eq!(process.wait_exit().await, 1);
            let told = process.stderr();
            assert!(told.starts_with(&format!("error: can't listen on {taken}: ")), "{told}");
            assert_eq!((told.lines().count(), process.stdout().as_str()), (1, ""));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_wrong_is_told_a_line_each() {
    for part in [worker(), run(), run().env("AMQP_URL", "amqp://127.0.0.1:1")] {
        let mut process =
            part.env("PARTITIONS", "abc").env("SESSION_TTL", "x").env("CONCURRENCY", "0").start();
        assert_eq!(process.wait_exit().await, 2);
        let said = process.stderr();
        let lines: Vec<_> = said.trim_end().lines().collect();
        assert_eq!(lines.len(), 3, "{said}");
        for name in ["PARTITIONS", "SESSION_TTL", "CONCURRENCY"] {
            assert!(lines.iter().any(|line| line.contains(name)), "{name}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_reader_hides_what_another_would_tell() {
    let parts = [
        (ingress(), &["AMQP_PREFIX", "TELEGRAM_WEBHOOK_SECRET", "TELEGRAM_WEBHOOK_SECRET_PREVIOUS"][..]),
        (worker(), &["AMQP_PREFIX", "ROUTES_FILE", "MATCHING_SERVICE_TIMEOUT"]),
        (run(), &["ROUTES_FILE", "MATCHING_SERVICE_TIMEOUT", "TELEGRAM_WEBHOOK_SECRET_PREVIOUS"]),
    ];
    for (part, names) in parts {
        let all = [&["LOG_LEVEL", "LOG_FORMAT", "PARTITIONS", "OTEL_TRACES_SAMPLER"], names].concat();
        let part = all.iter().fold(part, |part, name| part.env(name, "not this"));
        // Beside a URL the port says nothing; Kubernetes sets one of this form where a service is called redis.
        let part = part.env("REDIS_URL", "redis://127.0.0.1:1").env("REDIS_PORT", "tcp://10.0.0.1:6379");
        let mut process = part.start();
        assert_eq!(process.wait_exit().await, 2);
        let told = process.stderr();
        let named: Vec<&str> = told.lines().filter_map(|line| line.split(' ').nth(1)).collect();
        for name in &all {
            assert_eq!(named.iter().filter(|it| *it == name).count(), 1, "{name}: {told}");
        }
        assert_eq!(named.len(), all.len(), "{told}");
        assert_eq!(process.stdout(), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_env_file_hides_nothing_and_its_good_lines_are_read() {
    let mut ingress = Process::of("tgw-ingress").start();
    assert_eq!(ingress.wait_exit().await, 2);
    let lines =
        "PARTITIONS=0\nno line\nTELEGRAM_WEBHOOK_SECRET=hunter2\nLOG_LEVEL=info # no\n\"\nLOG_LEVEL=loud\n";
    std::fs::write(ingress.folder().join(".env"), lines).unwrap();
    let before = ingress.stderr();
    ingress.start_again();
    assert_eq!(ingress.wait_exit().await, 2);
    let told = ingress.stderr();
    let told = told.strip_prefix(&before).unwrap();
    for part in ["line 2 is not", "line 5 is not", "PARTITIONS is \"0\""] {
        assert_eq!(told.matches(part).count(), 1, "{part}: {told}");
    }
    assert!(!told.contains("TELEGRAM_WEBHOOK_SECRET"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_env_file_of_a_parent_folder_is_not_read() {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("tgw-ingress");
    let below = Process::of("/bin/sh").arg("-c").arg("mkdir -p below && cd below && exec \"$0\"");
    let mut ingress = below.arg(program.to_str().unwrap()).start();
    assert_eq!(ingress.wait_exit().await, 2);
    std::fs::write(ingress.folder().join(".env"), "PARTITIONS=0\n").unwrap();
    ingress.start_again();
    assert_eq!(ingress.wait_exit().await, 2);
    let told = ingress.stderr();
    assert!(told.contains("TELEGRAM_WEBHOOK_SECRET") && !told.contains("PARTITIONS"), "{told}");
    std::fs::write(ingress.folder().join("below/.env"), "PARTITIONS=0\n").unwrap();
    ingress.start_again();
    assert_eq!(ingress.wait_exit().await, 2);
    assert!(ingress.stderr().contains("PARTITIONS"), "{}", ingress.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_the_env_file_that_is_none_is_told_by_its_number_and_not_printed() {
    // The first start makes the folder, and has nothing to start with.
    let mut ingress = Process::of("tgw-ingress").start();
    assert_eq!(ingress.wait_exit().await, 2);
    let wrong = ["TELEGRAM_WEBHOOK_SECRET=hunter2 has spaces", "hunter2", "TELEGRAM_WEBHOOK_SECRET='hunter2"];
    for (before, line) in wrong.into_iter().enumerate() {
        let lines = format!("# The webhook\nLOG_LEVEL=info\n\n{line}\nPARTITIONS=4\n");
        std::fs::write(ingress.folder().join(".env"), lines).unwrap();
        ingress.start_again();
        assert_eq!(ingress.wait_exit().await, 2);
        let told = ingress.stderr();
        assert_eq!(told.matches("line 4 is not").count(), before + 1, "{line}: {told}");
        assert!(!told.contains("hunter2"), "{line}: {told}");
    }
}
