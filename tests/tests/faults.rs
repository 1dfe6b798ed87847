//! Invariants I1 to I4 and I8 under fire: while chats talk, every part is killed at random moments, again
//! and again. `tests/run faults --minutes 30` goes on for so long; TGW_FAULTS_SEED plays a schedule again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::{
    Answer, Dice, FakeService, FakeTelegram, Figures, LATENCY, LONG, Ledger, Load, Part, Rabbit, Redis,
    Stage, World, dead_letters, pause, wait_for,
};
use serde_json::json;
use tokio::sync::Mutex;

const CHATS: usize = 60;
/// All chats together: 100 updates a second, which two cores bear beside a broker that starts.
const EVERY: Duration = Duration::from_millis(600);
const PARTITIONS: u16 = 4;

/// After the last fault: no progress for so long is a loss.
const PATIENCE: Duration = Duration::from_secs(25);

/// Nothing more comes to Telegram for so long: duplicates are counted then.
const SILENCE: Duration = Duration::from_secs(2);

/// A deployment under fire.
struct Field {
    stage: Stage,
    _fakes: (FakeTelegram, FakeService),
    ingresses: Vec<String>,
    secret: String,
    prefix: String,
    chats: Vec<i64>,
}

#[tokio::test(flavor = "multi_thread")]
async fn under_random_kill_9_nothing_is_lost_reordered_refused_or_mixed() {
    let seed = number_from("TGW_FAULTS_SEED").unwrap_or_else(Dice::fresh_seed);
    let minutes = number_from("TGW_FAULTS_MINUTES").unwrap_or(0);
    println!("seed {seed}");
    let begun = Instant::now();
    let field = prepare().await;
    let ledger = field.stage.ledger.clone();
    let load = Load::start(&field.chats, EVERY, &field.ingresses, &field.secret, &ledger);
    wait_for("every chat is answered before the first kill", LONG, || async {
        (ledger.progress().1 >= 2 * CHATS).then_some(())
    })
    .await;
    field.stage.torment(&mut Dice::new(seed), Duration::from_secs(minutes * 60)).await;
    heal(&field.stage).await;
    load.stop(LONG * 2).await;
    settle(&ledger).await;

    for worker in &field.stage.workers {
        ledger.note_without_store(&*worker.lock().await);
    }
    let mut broker = field.stage.broker.lock().await;
    let letters = dead_letters(broker.url(), &field.prefix).await;
    let dead: BTreeSet<i64> =
        letters.iter().map(|letter| letter.json()["update_id"].as_i64().unwrap()).collect();
    let reasons: Vec<String> = letters.iter().map(|letter| letter.reason()).collect();
    let figures = Figures::of(&ledger, dead);
    let text = format!(
        "faults under load: seed {seed}, {:.1} minutes in all, {CHATS} chats\n{figures}\n",
        begun.elapsed().as_secs_f64() / 60.0
    );
    report(&text);
    if let Some(path) = std::env::var_os("TGW_FAULTS_TRACE") {
        std::fs::write(Path::new(&path), ledger.trace())
            .expect("the trace is written where it was asked for");
    }
    assert!(figures.kills() >= 40, "only {} kills", figures.kills());
    let wrong = figures.wrong();
    if !wrong.is_empty() {
        let queues = broker.control(&[
            "list_queues",
            "name",
            "messages_ready",
            "messages_unacknowledged",
            "consumers",
        ]);
        panic!("{}\nreasons of the letters: {reasons:?}\nwhat the broker holds:\n{queues}", wrong.join("\n"));
    }
}

/// Two ingresses and two workers over a broker and a Redis of their own, all ready and talked to once.
async fn prepare() -> Field {
    let (mut rabbit, redis) = tokio::join!(Rabbit::private(), Redis::private());
    let world = World::distributed().rabbit(rabbit.url()).redis(redis.url());
    // What users have: nobody is told to wait longer than this.
    let world = world.set("ACCEPT_DEADLINE", "0.5").set("PARTITIONS", PARTITIONS);
    // A line for each update would fill the disk of an hour's run.
    let world = world.set("LOG_LEVEL", "warn").await;
    let (second_ingress, second_worker) = tokio::join!(world.add_ingress(), world.add_worker());
    let chats = (0..CHATS).map(|_| world.user()).collect();
    // A queue that is younger than 3 s does not survive its node (ARCHITECTURE), and is not what is tested.
    let mut queues: Vec<String> = (0..PARTITIONS).map(|n| format!("{}.p.{n}", world.prefix)).collect();
    queues.push(format!("{}.dead", world.prefix));
    rabbit.wait_durable(&queues).await;

    let World { telegram, conversation, ingress, worker, secret, prefix, .. } = world;
    let ledger = Arc::new(Ledger::default());
    conversation.keep_nothing();
    answer_differently_each_time(&conversation);
    let seen = ledger.clone();
    telegram.watch(LATENCY, move |call| {
        if call.method == "sendMessage" {
            seen.sent(call.chat().unwrap_or_default(), call.text());
        }
    });
    let ingresses = [ingress, second_ingress];
    let workers = [worker.expect("a distributed world has one"), second_worker];
    Field {
        ingresses: ingresses.iter().map(|ingress| ingress.base_url()).collect(),
        stage: Stage {
            ingresses: ingresses.into_iter().map(|part| Arc::new(Mutex::new(part))).collect(),
            workers: workers.into_iter().map(|part| Arc::new(Mutex::new(part))).collect(),
            broker: Arc::new(Mutex::new(rabbit)),
            redis: Arc::new(Mutex::new(redis)),
            ledger,
        },
        _fakes: (telegram, conversation),
        secret,
        prefix,
        chats,
    }
}

/// Each answer carries a number of its own, so that parts of two answers can be told apart. Every third
/// update is answered in three parts.
fn answer_differently_each_time(conversation: &FakeService) {
    let nonce = AtomicU64::new(1);
    conversation.answer_with(move |request| {
        let update: i64 = request.body()["message"].as_str().unwrap_or_default().parse().expect("a number");
        let nonce = nonce.fetch_add(1, Ordering::Relaxed);
        let of = if update % 3 == 0 { 3 } else { 1 };
        let parts = (1..=of).map(|number| Part { update, number, of, nonce }.text());
        let messages: Vec<_> = parts.map(|text| json!({"type": "text", "content": text})).collect();
        Answer::Json(json!(messages)).after(Duration::from_millis(10))
    });
}

async fn heal(stage: &Stage) {
    for part in stage.ingresses.iter().chain(&stage.workers) {
        part.lock().await.wait_ready().await;
    }
}

/// Until every accepted update is answered, or nothing has come for too long; and then until no more
/// copies come.
async fn settle(ledger: &Ledger) {
    let (mut heard, mut since) = (0, Instant::now());
    loop {
        pause(Duration::from_millis(100)).await;
        let (now, (accepted, answered)) = (ledger.heard(), ledger.progress());
        if now != heard {
            (heard, since) = (now, Instant::now());
        }
        let patience = if answered >= accepted { SILENCE } else { PATIENCE };
        if since.elapsed() > patience {
            return;
        }
    }
}

/// To the file that `tests/run` shows at its end, since cargo keeps what a passing test prints.
fn report(text: &str) {
    println!("{text}");
    if let Some(path) = std::env::var_os("TGW_FAULTS_REPORT") {
        std::fs::write(Path::new(&path), text).expect("tests/run made that file");
    }
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}
