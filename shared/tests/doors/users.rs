//! What the store knows of users, whichever room is behind it: their sessions, the service that their free texts stick to,
//! and who has an internal id.

use std::time::{Duration, Instant};

use bytes::Bytes;
use shared::store::{Address, Begin, Beside, Charge, Session, Sticky};

use crate::backend::{LONG, Stored};
use crate::store::{key, of, run, to};

crate::over_stores!(
    a_session_lasts_as_long_as_it_is_used,
    a_service_sets_the_session,
    free_texts_stick_to_one_user_in_one_chat,
    a_sticky_service_ends_by_its_time_and_by_being_told,
    what_only_a_sticky_service_takes_is_charged_only_then,
    who_was_given_an_internal_id_is_found_by_it,
    an_address_is_forgotten_after_its_time,
    the_gateways_own_name_is_known_by_itself_unless_somebody_has_another,
);

fn said(session: Session<'_>) -> Beside<'_> {
    Beside { session: Some(session), ..Beside::default() }
}

/// A second or two of the real clock: Redis has no other.
async fn a_session_lasts_as_long_as_it_is_used(stored: Stored) {
    let session = async |update_id: u64| {
        let key = key(&stored, update_id, 5);
        run(&stored, &Begin { session_seconds: 3, ..of(&key, "w1") }).await.user_id.unwrap()
    };
    let first = key(&stored, 1, 5);
    run(&stored, &of(&first, "w1")).await;
    let named = said(Session { user: 5, user_id: "internal-5", seconds: 3 });
    stored.store.plan(&first, "w1", &Bytes::new(), Some(&named)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(session(2).await, "internal-5");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(session(3).await, "internal-5", "the second update renewed it");
    tokio::time::sleep(Duration::from_millis(3200)).await;
    assert_eq!(session(4).await, "user_5", "nobody used it");
}

async fn a_service_sets_the_session(stored: Stored) {
    let (first, second) = (key(&stored, 1, 5), key(&stored, 2, 5));
    run(&stored, &of(&first, "w1")).await;
    let session = said(Session { user: 5, user_id: "ünïcode \"5\"", seconds: 60 });
    stored.store.plan(&first, "w1", &Bytes::new(), Some(&session)).await.unwrap();
    assert_eq!(run(&stored, &of(&second, "w1")).await.user_id.as_deref(), Some("ünïcode \"5\""));
    let stranger = key(&stored, 3, 6);
    assert_eq!(run(&stored, &of(&stranger, "w1")).await.user_id.as_deref(), Some("user_6"));
}

/// The service that a free text of that user in that chat goes to.
async fn sticky(stored: &Stored, update_id: u64, owner: i64, chat: i64) -> Option<String> {
    let key = key(stored, update_id, owner);
    run(stored, &Begin { sticky_in: Some(chat), ..of(&key, "w2") }).await.sticky
}

async fn free_texts_stick_to_one_user_in_one_chat(stored: Stored) {
    let first = key(&stored, 1, 7);
    run(&stored, &of(&first, "w1")).await;
    stored.store.plan(&first, "w1", &Bytes::new(), Some(&to("quiz"))).await.unwrap();
    assert_eq!(sticky(&stored, 2, 7, 5).await.as_deref(), Some("quiz"), "by another worker too");
    assert_eq!(sticky(&stored, 3, 7, 6).await, None, "another chat of this user");
    assert_eq!(sticky(&stored, 4, 8, 5).await, None, "another user in this chat");
    let unasked = key(&stored, 5, 7);
    assert_eq!(run(&stored, &of(&unasked, "w1")).await.sticky, None, "no free text");
    // An answer that says nothing of it leaves it alone.
    stored.store.plan(&unasked, "w1", &Bytes::new(), None).await.unwrap();
    assert_eq!(sticky(&stored, 6, 7, 5).await.as_deref(), Some("quiz"));
}

/// Two seconds of the real clock: Redis has no other.
async fn a_sticky_service_ends_by_its_time_and_by_being_told(stored: Stored) {
    let store = &stored.store;
    let update = |update_id| key(&stored, update_id, 7);
    let short = Sticky { chat: 5, to: Some("quiz"), seconds: 2 };
    let short = Beside { sticky: Some(short), ..Beside::default() };
    store.plan(&update(1), "w1", &Bytes::new(), Some(&short)).await.unwrap();
    assert_eq!(sticky(&stored, 2, 7, 5).await.as_deref(), Some("quiz"));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(sticky(&stored, 3, 7, 5).await.as_deref(), Some("quiz"));
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(sticky(&stored, 4, 7, 5).await, None, "free texts do not renew it");
    store.plan(&update(5), "w1", &Bytes::new(), Some(&to("quiz"))).await.unwrap();
    store.plan(&update(6), "w1", &Bytes::new(), Some(&to("poll"))).await.unwrap();
    assert_eq!(sticky(&stored, 7, 7, 5).await.as_deref(), Some("poll"), "the last one counts");
    let end = Beside { sticky: Some(Sticky { chat: 5, to: None, seconds: 1 }), ..Beside::default() };
    store.plan(&update(8), "w1", &Bytes::new(), Some(&end)).await.unwrap();
    assert_eq!(sticky(&stored, 9, 7, 5).await, None);
}

async fn what_only_a_sticky_service_takes_is_charged_only_then(stored: Stored) {
    let charge = Charge {
        acted_ms: 1_790_000_000_000,
        album: None,
        requests: 1,
        window_ms: 1000,
        only_if_sticky: true,
    };
    let limited = async |update_id: u64| {
        let key = key(&stored, update_id, 7);
        let begin = Begin { sticky_in: Some(5), charge: Some(charge), ..of(&key, "w1") };
        run(&stored, &begin).await.limited
    };
    for update_id in 1..4 {
        assert!(!limited(update_id).await);
    }
    stored.store.plan(&key(&stored, 3, 7), "w1", &Bytes::new(), Some(&to("quiz"))).await.unwrap();
    assert!(!limited(4).await);
    assert!(limited(5).await);
    assert!(!limited(3).await, "decided once");
}

fn named(stored: &Stored, user_id: &'static str, user: i64) -> Address<'static> {
    Address { bot: stored.bot, user_id, user, seconds: 60, given: true }
}

async fn who_was_given_an_internal_id_is_found_by_it(stored: Stored) {
    let (store, bot) = (&stored.store, stored.bot);
    assert_eq!(store.find_user(bot, "anna").await.unwrap(), None);
    store.keep_address(&named(&stored, "anna", 5)).await.unwrap();
    assert_eq!(store.find_user(bot, "anna").await.unwrap(), Some(5));
    assert_eq!(store.find_user(bot + 1, "anna").await.unwrap(), None, "another bot's");
    store.keep_address(&named(&stored, "anna", 6)).await.unwrap();
    assert_eq!(store.find_user(bot, "anna").await.unwrap(), Some(6), "who was given it last");
    let had = Address { given: false, ..named(&stored, "anna", 5) };
    store.keep_address(&had).await.unwrap();
    assert_eq!(store.find_user(bot, "anna").await.unwrap(), Some(6), "who had it takes it from nobody");
    store.keep_address(&Address { user_id: "bert", ..had }).await.unwrap();
    assert_eq!(store.find_user(bot, "bert").await.unwrap(), Some(5));
}

async fn an_address_is_forgotten_after_its_time(stored: Stored) {
    let brief = Address { seconds: 1, ..named(&stored, "anna", 5) };
    stored.store.keep_address(&brief).await.unwrap();
    let deadline = Instant::now() + LONG;
    while stored.store.find_user(stored.bot, "anna").await.unwrap().is_some() {
        assert!(Instant::now() < deadline, "it is known for ever");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn the_gateways_own_name_is_known_by_itself_unless_somebody_has_another(stored: Stored) {
    let (store, bot) = (&stored.store, stored.bot);
    assert_eq!(store.find_user(bot, "user_7").await.unwrap(), Some(7));
    let key = key(&stored, 1, 7);
    run(&stored, &of(&key, "w1")).await;
    assert_eq!(store.find_user(bot, "user_7").await.unwrap(), Some(7));
    let session = Session { user: 7, user_id: "user_9", seconds: 60 };
    store.plan(&key, "w1", &Bytes::from_static(b"{}"), Some(&said(session))).await.unwrap();
    assert_eq!(store.find_user(bot, "user_7").await.unwrap(), None, "the service calls that one user_9");
    store.keep_address(&named(&stored, "user_9", 7)).await.unwrap();
    assert_eq!(store.find_user(bot, "user_9").await.unwrap(), Some(7));
}
