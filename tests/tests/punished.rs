//! What other gateways get wrong: a chat that Telegram punishes with 429 freezes everybody, or each process has limits
//! of its own. Here 4 workers serve 2,000 chats of which 5 are punished again and again, by a simulator that holds them
//! to Telegram's limits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use harness::{Answer, Crew, Journaled, LONG, Simulator, World, wait_for};

const CHATS: usize = 2000;
const PUNISHED: usize = 5;
const WORKERS: usize = 4;
const PARTITIONS: usize = 16;

/// In turns nobody is punished, and some are, for so long; compared are times of the same run.
const TURN: Duration = Duration::from_secs(3);
const TURNS: usize = 14;

/// A message of another chat each.
const EVERY: Duration = Duration::from_millis(8);

/// And in a turn with punishment one of a punished chat each.
const PUNISHED_EVERY: Duration = Duration::from_millis(250);

/// What most of an answer's time is: the machine's noise is small beside it.
const SERVICE: Duration = Duration::from_millis(200);

/// Clocks in whole ms, and two processes that read them.
const NEAR_MS: u64 = 20;

fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A message that a user wrote.
struct Said {
    chat: i64,
    at_ms: u64,
    turn: usize,
}

/// Whether some are punished in a turn.
fn is_beside(turn: usize) -> bool {
    turn % 2 == 1
}

/// Everybody writes, each turn; message n says n.
async fn talk(simulator: &Simulator, punished: &[i64], others: &[i64]) -> Vec<Said> {
    let mut said = Vec::new();
    let mut others = others.iter().cycle();
    for turn in 0..TURNS {
        let (begun, beside) = (Instant::now(), is_beside(turn));
        if beside {
            for chat in punished {
                simulator.punish(*chat, TURN.as_secs()).await;
            }
        }
        let mut due = tokio::time::interval(EVERY);
        let (mut next, mut victims) = (Duration::ZERO, punished.iter().cycle());
        while begun.elapsed() < TURN {
            due.tick().await;
            let mut chats = vec![*others.next().unwrap()];
            // None in the last second, so that none of them falls into the next turn.
            if beside && begun.elapsed() > next && begun.elapsed() < TURN - Duration::from_secs(1) {
                next += PUNISHED_EVERY;
                chats.push(*victims.next().unwrap());
            }
            for chat in chats {
                said.push(Said { chat, at_ms: now_ms(), turn });
                simulator.message(chat, &(said.len() - 1).to_string()).await;
            }
        }
    }
    said
}

/// The 99th of a hundred, in the middle one of these turns: where the machine holds everybody up for a moment, it
/// spoils one of them.
fn p99<'a>(turns: impl Iterator<Item = &'a mut Vec<u64>>) -> u64 {
    let mut each: Vec<u64> = turns
        .map(|times| {
            times.sort_unstable();
            times[times.len() * 99 / 100]
        })
        .collect();
    each.sort_unstable();
    each[each.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn chats_that_telegram_punishes_delay_nobody_else() {
    let simulator = Simulator::start().await;
    let world = World::distributed().set("TELEGRAM_API_URL", simulator.url()).without_worker();
    let world = world.set("CHAT_RATE", 1).set("CHAT_BURST", 3).set("PARTITIONS", PARTITIONS);
    let world = world.set("LOG_LEVEL", "warn").await;
    world.conversation.keep_nothing();
    world.conversation.answer_with(|request| {
        Answer::text(request.body()["message"].as_str().unwrap_or_default()).after(SERVICE)
    });
    let mut crew = Crew::default();
    crew.grow(&world, WORKERS).await;
    crew.wait_even(PARTITIONS, Instant::now(), 2 * TURN).await;
    let webhook = format!("{}/webhook/telegram", world.ingress.base_url());
    simulator.set_webhook(&world.token, &webhook, &world.secret).await;
    let chats: Vec<i64> = (0..CHATS).map(|_| world.user()).collect();
    let (punished, others) = chats.split_at(PUNISHED);

    let said = talk(&simulator, punished, others).await;
    let all_sent = || async {
        let calls = simulator.calls(0).await;
        let sent = |call: &&Journaled| call.method == "sendMessage" && call.status == Some(200);
        (calls.iter().filter(sent).count() >= said.len()).then_some(calls)
    };
    let calls = wait_for("everything arrives", LONG * 2, all_sent).await;

    let mut read = BTreeMap::<i64, Vec<usize>>::new();
    let mut took = vec![Vec::new(); TURNS];
    for call in calls.iter().filter(|call| call.method == "sendMessage" && call.status == Some(200)) {
        let number: usize = call.text.parse().unwrap();
        read.entry(call.chat).or_default().push(number);
        if !punished.contains(&call.chat) {
            took[said[number].turn].push(call.at_ms.saturating_sub(said[number].at_ms));
        }
    }
    for (chat, numbers) in &read {
        let expected: Vec<usize> = (0..said.len()).filter(|n| said[*n].chat == *chat).collect();
        assert_eq!(*numbers, expected, "chat {chat} read in order, all of it, and once");
    }
    assert_eq!(read.len(), said.iter().map(|said| said.chat).collect::<BTreeSet<_>>().len());

    let refused = refusals(&calls, punished);
    let mut p99_of = |beside: bool| {
        p99(took
            .iter_mut()
            .enumerate()
            .filter(|(turn, _)| is_beside(*turn) == beside)
            .map(|(_, times)| times))
    };
    let (calm, beside) = (p99_of(false), p99_of(true));
    println!(
        "{} messages; {refused} refusals; p99 {calm} ms, and {beside} ms beside the punished",
        said.len()
    );
    assert!(refused >= PUNISHED, "nobody was punished");
    assert!(beside as f64 <= 1.2 * calm as f64, "the others' p99 was {beside} ms in place of {calm} ms");
}

/// How many calls were refused with 429; none may have been made before the time that an earlier one told was over.
fn refusals(calls: &[Journaled], punished: &[i64]) -> usize {
    let mut count = 0;
    for chat in punished {
        let mut not_before = 0_u64;
        for call in calls.iter().filter(|call| call.chat == *chat) {
            let early = not_before.saturating_sub(call.at_ms);
            assert!(early <= NEAR_MS, "chat {chat} was called again {early} ms before its time");
            if let Some(seconds) = call.retry_after {
                not_before = call.at_ms + seconds * 1000;
                count += 1;
            }
        }
    }
    let others = calls.iter().filter(|call| call.status == Some(429) && !punished.contains(&call.chat));
    assert_eq!(others.count(), 0, "others were refused too");
    count
}
