//! Albums: the parts of a media group, each an update of its own, handed over as one call where the route says
//! `album = true`; whole, in their order and once, whatever is killed meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::{
    Answer, FakeService, Gate, LONG, Redis, Request, Update, World, WorldBuilder, over_both_worlds, pause,
    wait_until,
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

over_both_worlds!(
    an_album_is_one_call_with_all_its_parts_in_their_order,
    albums_and_texts_of_one_chat_stay_in_order,
    a_route_that_does_not_ask_for_albums_gets_a_call_a_part,
    a_part_that_comes_too_late_is_a_call_of_its_own,
    an_album_is_charged_once,
    an_album_that_a_worker_has_no_room_for_is_waited_for,
    killed_before_the_call_all_are_handed_over_as_one,
    killed_in_the_call_it_is_made_again_with_the_same_parts,
    killed_after_the_call_its_answer_is_sent_and_nobody_asked_again,
    a_worker_that_stops_gives_an_unfinished_album_back_whole,
    a_failing_service_costs_one_apology_and_a_replay_hands_all_over_again,
);

const APOLOGY: &str = "Something went wrong on our side. Please try again in a minute.";

const ROUTES: &str = r#"
[services.gallery]
url = "${GALLERY_URL}"
timeout = "60s"

[[routes]]
text = true
service = "conversation"

[[routes]]
content = "photo"
service = "gallery"
album = true
update = true
"#;

struct Scene {
    world: World,
    gallery: FakeService,
    _file: NamedTempFile,
}

impl Scene {
    async fn start(world: WorldBuilder) -> Self {
        Self::with(world, ROUTES).await
    }

    async fn with(world: WorldBuilder, routes: &str) -> Self {
        let (gallery, file) = (FakeService::start().await, NamedTempFile::new().unwrap());
        gallery.answer_with(|request| Answer::text(&format!("seen: {}", files(request).join(" "))));
        std::fs::write(file.path(), routes).unwrap();
        // A busy machine may take more than the default second to make one part safe before the next is posted.
        let world = world.set("ALBUM_WAIT", 5).set("GALLERY_URL", gallery.url());
        let world = world.set("ROUTES_FILE", file.path().display()).await;
        world.conversation.echo();
        Self { world, gallery, _file: file }
    }

    async fn accept(&self, updates: &[Update]) {
        for update in updates {
            self.world.accept(update).await;
        }
    }

    /// All that the chat reads once it has read this text's answer, which stands behind all that was accepted before.
    async fn read_to_the_end(&self, chat: i64) -> Vec<String> {
        let ends = || self.world.telegram.texts(chat).iter().filter(|text| *text == "echo: the end").count();
        let before = ends();
        self.world.accept(&Update::text(chat, "the end")).await;
        wait_until("the last answer", LONG, || ends() > before).await;
        self.world.telegram.texts(chat)
    }
}

/// The names of the files that a service was asked about, in the order in which it was.
fn files(request: &Request) -> Vec<String> {
    let body = request.body();
    let parts = body["album"].as_array().cloned().unwrap_or_default();
    parts.iter().map(|part| part["file_id"].as_str().unwrap_or("?").to_owned()).collect()
}

fn keys(requests: &[Request]) -> BTreeSet<String> {
    requests.iter().map(|request| request.header("Idempotency-Key").unwrap().to_owned()).collect()
}

/// An album of so many photos, named a1, a2 …; the second has the caption.
fn album(user: i64, name: &str, count: usize) -> Vec<Update> {
    let photo = |n: usize| Update::photo(user, &format!("{name}-{user}"), &format!("{name}{n}"));
    let caption = |n: usize, photo: Update| match n {
        2 => photo.set("/message/caption", json!(format!("caption of {name}"))),
        _ => photo,
    };
    (1..=count).map(|n| caption(n, photo(n))).collect()
}

async fn an_album_is_one_call_with_all_its_parts_in_their_order(world: WorldBuilder) {
    let scene = Scene::start(world).await;
    let user = scene.world.user();
    let parts = album(user, "a", 5);
    scene.accept(&parts).await;
    assert_eq!(scene.read_to_the_end(user).await, ["seen: a1 a2 a3 a4 a5", "echo: the end"]);
    let requests = scene.gallery.requests();
    assert_eq!(requests.len(), 1);
    let body = requests[0].body();
    assert_eq!((&body["message"], &body["kind"]), (&json!("caption of a"), &json!("message")));
    assert_eq!(requests[0].header("Idempotency-Key"), body["request_id"].as_str());
    let updates: Vec<Value> = parts.iter().map(|part| part.value().clone()).collect();
    assert_eq!((&body["updates"], &body["update"]), (&json!(updates), &Value::Null));
    let part = json!({"type": "photo", "file_id": "a2", "caption": "caption of a",
                      "message_id": parts[1].value()["message"]["message_id"]});
    assert_eq!(body["album"][1], part);
    // Each part has ended, and is counted.
    scene.world.wait_metric("tgw_updates_total", &[("outcome", "answered")], 6.0).await;
    scene.world.assert_no_dead_letters().await;
}

async fn albums_and_texts_of_one_chat_stay_in_order(world: WorldBuilder) {
    let scene = Scene::start(world).await;
    let user = scene.world.user();
    let (text, of) = (|words: &str| vec![Update::text(user, words)], |name, count| album(user, name, count));
    // The last is longer than an album can be.
    let all = [of("a", 2), text("one"), of("b", 3), of("c", 2), text("two"), text("three"), of("d", 11)];
    scene.accept(&all.concat()).await;
    let expected = [
        "seen: a1 a2",
        "echo: one",
        "seen: b1 b2 b3",
        "seen: c1 c2",
        "echo: two",
        "echo: three",
        "seen: d1 d2 d3 d4 d5 d6 d7 d8 d9 d10",
        "seen: d11",
        "echo: the end",
    ];
    assert_eq!(scene.read_to_the_end(user).await, expected);
    assert_eq!(keys(&scene.gallery.requests()).len(), 5);
}

async fn a_route_that_does_not_ask_for_albums_gets_a_call_a_part(world: WorldBuilder) {
    let scene = Scene::with(world, &ROUTES.replace("album = true", "")).await;
    let user = scene.world.user();
    let parts = album(user, "a", 3);
    scene.accept(&parts).await;
    scene.world.telegram.wait_texts(user, 3).await;
    let requests = scene.gallery.requests();
    assert_eq!((requests.len(), keys(&requests).len()), (3, 3));
    for (request, part) in requests.iter().zip(&parts) {
        assert_eq!((&request.body()["update"], &request.body()["album"]), (part.value(), &Value::Null));
    }
}

async fn a_part_that_comes_too_late_is_a_call_of_its_own(world: WorldBuilder) {
    let scene = Scene::start(world).await;
    let user = scene.world.user();
    let parts = album(user, "a", 3);
    scene.accept(&parts[..2]).await;
    scene.world.telegram.wait_texts(user, 1).await;
    scene.accept(&parts[2..]).await;
    assert_eq!(scene.world.telegram.wait_texts(user, 2).await, ["seen: a1 a2", "seen: a3"]);
    assert_eq!(keys(&scene.gallery.requests()).len(), 2);
}

async fn an_album_is_charged_once(world: WorldBuilder) {
    let scene = Scene::start(world.set("RATE_LIMIT_REQUESTS", 1).set("RATE_LIMIT_WINDOW", 600)).await;
    let user = scene.world.user();
    scene.accept(&album(user, "a", 4)).await;
    scene.accept(&album(user, "b", 4)).await;
    let texts = scene.world.telegram.wait_texts(user, 2).await;
    assert_eq!(texts[0], "seen: a1 a2 a3 a4");
    assert!(texts[1].contains("too fast"), "{texts:?}");
    assert_eq!(scene.gallery.count(), 1);
}

async fn an_album_that_a_worker_has_no_room_for_is_waited_for(world: WorldBuilder) {
    // One partition, of which a worker has 16 updates in hand.
    let world = world.set("PARTITIONS", 1).set("CONCURRENCY", 16).set("CONVERSATION_SERVICE_TIMEOUT", 60);
    let scene = Scene::start(world).await;
    let gate = Gate::default();
    scene.world.conversation.answer(gate.holds(Answer::text("late")));
    for _ in 0..13 {
        scene.world.accept(&Update::text(scene.world.user(), "hello")).await;
    }
    gate.wait_for(13).await;
    let user = scene.world.user();
    scene.accept(&album(user, "a", 5)).await;
    // Longer than a part is waited for where there is room.
    pause(Duration::from_millis(7500)).await;
    assert_eq!(scene.gallery.count(), 0);
    gate.open();
    assert_eq!(scene.world.telegram.wait_texts(user, 1).await, ["seen: a1 a2 a3 a4 a5"]);
    assert_eq!(scene.gallery.count(), 1);
}

async fn killed_before_the_call_all_are_handed_over_as_one(world: WorldBuilder) {
    let mut scene = Scene::start(world).await;
    let user = scene.world.user();
    scene.accept(&album(user, "a", 5)).await;
    // Nothing stands behind the album, so the worker waits for more of it.
    scene.world.worker_mut().kill9();
    scene.world.worker_mut().start_again();
    scene.world.worker_mut().wait_ready().await;
    scene.world.telegram.wait_texts(user, 1).await;
    assert_eq!(scene.read_to_the_end(user).await, ["seen: a1 a2 a3 a4 a5", "echo: the end"]);
    assert_eq!(keys(&scene.gallery.requests()).len(), 1);
}

async fn killed_in_the_call_it_is_made_again_with_the_same_parts(world: WorldBuilder) {
    let mut scene = Scene::start(world).await;
    let user = scene.world.user();
    scene.gallery.answer_first([Answer::Hang]);
    let parts = album(user, "a", 5);
    scene.accept(&parts[..4]).await;
    scene.gallery.wait_for(1).await;
    // The service may remember its answer to four parts, so the fifth, which comes meanwhile, is no part of that.
    scene.accept(&parts[4..]).await;
    scene.world.worker_mut().kill9();
    scene.world.worker_mut().start_again();
    scene.world.worker_mut().wait_ready().await;
    scene.world.telegram.wait_texts(user, 2).await;
    assert_eq!(scene.read_to_the_end(user).await, ["seen: a1 a2 a3 a4", "seen: a5", "echo: the end"]);
    let requests = scene.gallery.requests();
    assert_eq!(requests.len(), 3);
    assert_eq!(files(&requests[0]), files(&requests[1]));
    assert_eq!((keys(&requests[..2]).len(), keys(&requests).len()), (1, 2));
    scene.world.assert_no_dead_letters().await;
}

async fn killed_after_the_call_its_answer_is_sent_and_nobody_asked_again(world: WorldBuilder) {
    let mut scene = Scene::start(world).await;
    let user = scene.world.user();
    scene.world.telegram.script("sendMessage", 1, Answer::Hang);
    scene.accept(&album(user, "a", 5)).await;
    scene.world.telegram.wait_calls("sendMessage", 1).await;
    scene.world.worker_mut().kill9();
    scene.gallery.answer(Answer::text("another answer"));
    scene.world.worker_mut().start_again();
    scene.world.worker_mut().wait_ready().await;
    let seen = "seen: a1 a2 a3 a4 a5";
    // The first try's fate is unknown to Telegram's fake, and the second is the answer.
    assert_eq!(scene.read_to_the_end(user).await, [seen, seen, "echo: the end"]);
    // And once more, with nothing left: all its parts have ended.
    scene.world.worker_mut().kill9();
    scene.world.worker_mut().start_again();
    scene.world.worker_mut().wait_ready().await;
    // (The last text's end may not have been recorded when the worker was killed, and then it is read twice.)
    let read = scene.read_to_the_end(user).await;
    assert_eq!(read.iter().filter(|text| *text == seen).count(), 2, "{read:?}");
    assert_eq!(scene.gallery.count(), 1);
    scene.world.assert_no_dead_letters().await;
}

async fn a_worker_that_stops_gives_an_unfinished_album_back_whole(world: WorldBuilder) {
    let mut scene = Scene::start(world).await;
    let user = scene.world.user();
    scene.accept(&album(user, "a", 4)).await;
    scene.world.worker_mut().term();
    assert_eq!(scene.world.worker_mut().wait_exit().await, 0);
    scene.world.worker_mut().start_again();
    scene.world.worker_mut().wait_ready().await;
    assert_eq!(scene.read_to_the_end(user).await, ["seen: a1 a2 a3 a4", "echo: the end"]);
    assert_eq!(scene.gallery.count(), 1);
}

async fn a_failing_service_costs_one_apology_and_a_replay_hands_all_over_again(world: WorldBuilder) {
    let scene = Scene::start(world).await;
    let user = scene.world.user();
    scene.gallery.answer_first([Answer::Status(500, json!({})), Answer::Status(500, json!({}))]);
    scene.accept(&album(user, "a", 5)).await;
    assert_eq!(scene.read_to_the_end(user).await, [APOLOGY, "echo: the end"]);
    scene.world.wait_dead("service", 5).await;
    let mut replay = scene.world.command(&["dead", "replay", "--all", "--by", "ann"]).start();
    assert_eq!(replay.wait_exit().await, 0, "{}", replay.stderr());
    scene.world.telegram.wait_texts(user, 3).await;
    let read = scene.read_to_the_end(user).await;
    assert_eq!(read, [APOLOGY, "echo: the end", "seen: a1 a2 a3 a4 a5", "echo: the end"]);
    let requests = scene.gallery.requests();
    // Asked, asked once more, and replayed.
    assert_eq!((requests.len(), keys(&requests).len()), (3, 1));
    let mut list = scene.world.command(&["dead", "list", "--json"]).start();
    assert_eq!((list.wait_exit().await, list.stdout().trim()), (0, "[]"), "{}", list.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_worker_takes_a_whole_album_over() {
    let mut scene = Scene::start(World::distributed()).await;
    let _other = scene.world.add_worker().await;
    let gate = Gate::default();
    let held = gate.clone();
    scene
        .gallery
        .answer_with(move |request| held.holds(Answer::text(&format!("seen: {}", files(request).join(" ")))));
    // Chats of both workers.
    let users: Vec<i64> = (0..8).map(|_| scene.world.user()).collect();
    for user in &users {
        scene.accept(&album(*user, "a", 4)).await;
    }
    gate.wait_for(users.len()).await;
    scene.world.worker_mut().kill9();
    gate.open();
    for user in users {
        let texts = scene.world.telegram.wait_texts(user, 1).await;
        assert_eq!(texts, ["seen: a1 a2 a3 a4"]);
    }
}

/// The first worker gives half of its partitions to a second, and takes the other half anew with more in hand at a time;
/// then it stops, and the second takes all. Meanwhile album after album comes, and at any time some are being gathered.
#[tokio::test(flavor = "multi_thread")]
async fn while_workers_come_and_go_each_album_is_one_call() {
    let scene = Scene::start(World::distributed().set("CONCURRENCY", 64)).await;
    let over = AtomicBool::new(false);
    let posting = async {
        let mut users = Vec::new();
        while !over.load(Ordering::Relaxed) {
            // At most a dozen are under way.
            wait_until("room for another album", LONG, || scene.gallery.count() + 12 > users.len()).await;
            let user = scene.world.user();
            scene.accept(&album(user, "a", 4)).await;
            users.push(user);
        }
        users
    };
    let changing = async {
        let mut second = scene.world.add_worker().await;
        let shares = |line: &Value| line["message"] == "this worker's share of the partitions";
        let first = scene.world.worker();
        first.wait_log("half a share", |line| shares(line) && line["partitions"] == 2).await;
        let begun = scene.gallery.count();
        scene.gallery.wait_for(begun + 10).await;
        second.term();
        second.wait_exit().await;
        let begun = scene.gallery.count();
        scene.gallery.wait_for(begun + 10).await;
        over.store(true, Ordering::Relaxed);
    };
    let (users, ()) = tokio::join!(posting, changing);
    for user in &users {
        assert_eq!(scene.world.telegram.wait_texts(*user, 1).await, ["seen: a1 a2 a3 a4"]);
    }
    let requests = scene.gallery.requests();
    assert_eq!((requests.len(), keys(&requests).len()), (users.len(), users.len()));
    scene.world.assert_no_dead_letters().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_an_album_is_one_call_also_after_a_crash() {
    let redis = Redis::private().await;
    let mut scene = Scene::start(World::distributed().redis(redis.url())).await;
    drop(redis);
    scene
        .world
        .worker()
        .wait_log("Redis is away", |line| {
            line["message"] == "the store is away; updates go on without sessions and rate limits"
        })
        .await;
    let user = scene.world.user();
    scene.accept(&album(user, "a", 5)).await;
    assert_eq!(scene.world.telegram.wait_texts(user, 1).await, ["seen: a1 a2 a3 a4 a5"]);
    scene.gallery.answer_first([Answer::Hang]);
    scene.accept(&album(user, "b", 5)).await;
    scene.gallery.wait_for(2).await;
    scene.world.worker_mut().kill9();
    scene.world.worker_mut().start_again();
    scene.world.telegram.wait_texts(user, 2).await;
    let requests = scene.gallery.requests();
    let seen: Vec<_> = requests.iter().map(|request| files(request).join(" ")).collect();
    assert_eq!(seen, ["a1 a2 a3 a4 a5", "b1 b2 b3 b4 b5", "b1 b2 b3 b4 b5"]);
    assert_eq!(keys(&requests[1..]).len(), 1);
}
