//! A bad minute, from the first failure to the last late answer: a service dies under load, its users read the apology, dead
//! letters pile up, the alerts of the shipped rules fire in a real Prometheus, and the operator replays.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::{FakeService, LONG, Ledger, Load, Prometheus, Proxy, World, say_skipped, wait_for, wait_until};
use serde_json::Value;

const APOLOGY: &str = "Something went wrong on our side. Please try again in a minute.";

/// What the longest rule of these needs, on a machine that does much else.
const FIRES: Duration = Duration::from_secs(120);

const CHATS: usize = 20;

/// A chat's texts; the number that an answer echoes is its update's.
struct Read {
    apologies: usize,
    answers: Vec<i64>,
}

fn read(world: &World, chat: i64) -> Read {
    let texts = world.telegram.texts(chat);
    let apologies = texts.iter().filter(|text| *text == APOLOGY).count();
    let answers = texts.iter().filter_map(|text| text.strip_prefix("echo: ")?.parse().ok()).collect();
    Read { apologies, answers }
}

async fn ended(world: &World, arguments: &[&str]) -> (i32, String, String) {
    let mut command = world.command(arguments).start();
    let code = command.wait_exit().await;
    (code, command.stdout(), command.stderr())
}

/// The update_ids of the dead letters, as `tgw dead list` has them.
async fn listed(world: &World) -> Vec<i64> {
    let (code, stdout, stderr) = ended(world, &["dead", "list", "--reason", "service", "--json"]).await;
    assert_eq!(code, 0, "{stderr}");
    let letters: Vec<Value> = serde_json::from_str(&stdout).unwrap();
    letters.iter().map(|letter| letter["update_id"].as_i64().unwrap()).collect()
}

/// The service is away until what should have been noticed was; the dead letters' update_ids.
async fn outage(world: &World, prometheus: &Prometheus, service: &Proxy, chats: &[i64]) -> BTreeSet<i64> {
    service.cut();
    wait_until("every chat reads the apology", LONG, || {
        chats.iter().all(|chat| read(world, *chat).apologies > 0)
    })
    .await;
    let letters = prometheus.wait_firing("TgwDeadLetters", FIRES).await;
    assert_eq!(letters["labels"]["reason"], "service", "{letters}");
    assert_eq!(letters["annotations"]["runbook"], "docs/runbook.md#tgwdeadletters", "{letters}");
    let breaker = prometheus.wait_firing("TgwServiceBreakerOpen", FIRES).await;
    assert_eq!(breaker["labels"]["service"], "conversation", "{breaker}");
    prometheus.wait_at_least("max(tgw_dead_letters_waiting)", CHATS as f64, LONG).await;
    service.resume();
    // Both workers' breakers are closed again: nothing fails any more.
    wait_for("the breaker's alert is over", FIRES, || async {
        prometheus.firing("TgwServiceBreakerOpen").await.is_empty().then_some(())
    })
    .await;
    wait_for("a letter for each apology", LONG, || async {
        let apologies: usize = chats.iter().map(|chat| read(world, *chat).apologies).sum();
        let listed = listed(world).await;
        (listed.len() == apologies).then(|| listed.into_iter().collect())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_minute_is_noticed_and_made_good() {
    let conversation = FakeService::start().await;
    conversation.echo();
    let url = conversation.url();
    let address = url.trim_start_matches("http://").trim_end_matches("/ask").to_owned();
    let service = Proxy::to(&address).await;
    let world = World::distributed().set("CONVERSATION_SERVICE_URL", service.before(&url, &address)).await;
    let second = world.add_worker().await;
    let watched = [("tgw-ingress", &[&world.ingress][..]), ("tgw-worker", &[world.worker(), &second][..])];
    let Some(prometheus) = Prometheus::start(&watched).await else {
        return say_skipped("the story of a bad minute: prometheus is not installed");
    };
    let chats: Vec<i64> = (0..CHATS).map(|_| world.user()).collect();
    let ledger = Arc::new(Ledger::default());
    let ingress = [world.ingress.base_url()];
    let load = Load::start(&chats, Duration::from_secs(1), &ingress, &world.secret, &ledger);

    // All is well, and nobody is woken.
    wait_until("every chat is answered", LONG, || {
        chats.iter().all(|chat| !read(&world, *chat).answers.is_empty())
    })
    .await;
    prometheus.wait_at_least("sum(rate(tgw_updates_total{outcome=\"answered\"}[10s]))", 1.0, LONG).await;
    let firing = prometheus.query("ALERTS{alertstate=\"firing\"}").await;
    assert!(firing.is_empty(), "fires without a reason: {}", firing[0].0);
    let (rules, failing) = prometheus.rules().await;
    assert!(rules > 20 && failing.is_empty(), "{rules} rules, {failing:?}");

    let began = Instant::now();
    let letters = outage(&world, &prometheus, &service, &chats).await;
    let lasted = began.elapsed();

    let began = Instant::now();
    let replay = ["dead", "replay", "--reason", "service", "--rate", "50/s", "--by", "ann"];
    let (code, stdout, stderr) = ended(&world, &replay).await;
    let took = began.elapsed();
    let told = format!("replayed: {0} of {0}\n  service: {0}\n", letters.len());
    assert_eq!((code, stdout.as_str()), (0, told.as_str()), "{stderr}");
    // The first goes at once.
    assert!(took.as_secs_f64() > (letters.len() - 1) as f64 / 50.0 * 0.9, "{} in {took:?}", letters.len());

    load.stop(LONG).await;
    made_good(&world, &ledger, &letters).await;
    assert_eq!(listed(&world).await, Vec::<i64>::new());
    wait_for("Prometheus sees no letter any more", LONG, || async {
        prometheus
            .query("max(tgw_dead_letters_waiting)")
            .await
            .iter()
            .all(|(_, count)| *count < 0.5)
            .then_some(())
    })
    .await;
    println!("{} letters in {lasted:.0?}, replayed in {took:.1?}", letters.len());
}

/// Every update that was accepted is answered once, late or not; of each chat the late ones in their order, and the others
/// in theirs; and nobody was told twice that something went wrong.
async fn made_good(world: &World, ledger: &Ledger, letters: &BTreeSet<i64>) {
    let mut chats: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for (update, chat) in ledger.all_accepted() {
        chats.entry(chat).or_default().insert(update);
    }
    wait_until("every update is answered", LONG, || {
        chats.iter().all(|(chat, updates)| read(world, *chat).answers.len() >= updates.len())
    })
    .await;
    for (chat, updates) in chats {
        let Read { apologies, answers } = read(world, chat);
        let (late, live): (Vec<i64>, Vec<i64>) = answers.iter().partition(|update| letters.contains(update));
        assert!(late.is_sorted() && live.is_sorted(), "chat {chat}: {late:?} and {live:?}");
        assert_eq!(answers.len(), updates.len(), "chat {chat}: something was answered twice");
        assert_eq!(answers.into_iter().collect::<BTreeSet<_>>(), updates, "chat {chat}");
        assert_eq!(apologies, late.len(), "chat {chat}: an apology for each late answer, and no second");
        assert!(apologies > 0, "chat {chat} was spared");
    }
}
