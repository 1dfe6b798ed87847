//! What belongs together is gathered to one job.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_belongs_together_is_one_job_however_it_came() {
    let (diary, lanes) = lanes(10);
    // Behind a job that runs, so all are there; then one by one; and the last of a set that is whole waits for nobody.
    lanes.push(CHAT, job(1, 50));
    (2..=4).for_each(|name| lanes.push(CHAT, one(name, Some(1), 10)));
    lanes.push(CHAT, job(5, 10));
    for name in 6..=9 {
        tokio::time::sleep(PATIENCE - Duration::from_millis(1)).await;
        lanes.push(CHAT, one(name, Some(2), 10));
    }
    lanes.push(CHAT, one(10, Some(2), 10));
    lanes.idle().await;
    let sets = [("begin", 2), ("with", 3), ("with", 4), ("begin", 5), ("begin", 6), ("with", 7), ("with", 8)];
    assert_eq!(done(&diary)[1..], [&sets[..], &[("with", 9), ("begin", 10)]].concat());
    assert!(lanes.inner.hand().is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_gathers_waits_until_another_stands_behind_it_or_nothing_came_for_its_time() {
    let (diary, lanes) = lanes(1);
    let begun = Instant::now();
    lanes.push(CHAT, one(1, Some(1), 10));
    lanes.push(CHAT, one(2, Some(1), 10));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((done(&diary).len(), lanes.in_hand(), lanes.oldest()), (0, 2, Some(begun)));
    // It has no permit while it waits.
    lanes.push(Some(LaneKey::Chat(2)), job(9, 1));
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(done(&diary), [("begin", 9)]);
    lanes.push(CHAT, one(3, Some(2), 10));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(done(&diary)[1..], [("begin", 1), ("with", 2)]);
    // The next is alone, and its time runs from when it came.
    tokio::time::sleep(PATIENCE - Duration::from_millis(20)).await;
    assert_eq!(done(&diary).len(), 3);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(done(&diary)[3..], [("begin", 3)]);
    lanes.idle().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_gathered_and_not_done_is_next_before_all_that_waits() {
    let (diary, lanes) = lanes(10);
    (1..=3).for_each(|name| lanes.push(CHAT, one(name, Some(1), 0)));
    lanes.push(CHAT, job(4, 10));
    lanes.idle().await;
    let expected =
        [("begin", 1), ("with", 2), ("with", 3), ("begin", 2), ("with", 3), ("begin", 3), ("begin", 4)];
    assert_eq!(done(&diary), expected);
}

#[tokio::test(start_paused = true)]
async fn an_end_is_kept_while_the_next_gathers() {
    let (diary, lanes) = lanes(10);
    lanes.push(CHAT, Job { keeping: (20, Next::Go), ..job(1, 10) });
    lanes.push(CHAT, one(2, Some(1), 10));
    tokio::time::sleep(Duration::from_millis(40)).await;
    assert_eq!(done(&diary), [("begin", 1), ("keep", 1), ("kept", 1)]);
    lanes.idle().await;
    assert_eq!(done(&diary)[3..], [("begin", 2)]);
}

#[tokio::test(start_paused = true)]
async fn after_a_halt_what_still_gathers_is_not_begun() {
    let (diary, lanes) = lanes(10);
    (1..=2).for_each(|name| lanes.push(CHAT, one(name, Some(1), 10)));
    tokio::time::sleep(Duration::from_millis(10)).await;
    lanes.halt();
    lanes.idle().await;
    assert_eq!(*diary.0.lock().unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn after_a_renewal_what_still_gathers_takes_each_in_once() {
    let (diary, lanes) = lanes(10);
    (1..=2).for_each(|name| lanes.push(CHAT, one(name, Some(1), 10)));
    tokio::time::sleep(Duration::from_millis(10)).await;
    lanes.renew();
    (1..=3).for_each(|name| lanes.push(CHAT, one(name, Some(1), 10)));
    tokio::time::sleep(Duration::from_millis(10)).await;
    // All that came again are in hand, and age.
    assert!(lanes.in_hand() >= 3 && lanes.oldest().is_some());
    lanes.push(CHAT, job(4, 10));
    lanes.idle().await;
    assert_eq!(done(&diary), [("begin", 1), ("with", 2), ("with", 3), ("begin", 4)]);
}

#[tokio::test(start_paused = true)]
async fn a_hand_that_is_full_ends_no_waiting_while_it_will_be_emptier() {
    let (diary, lanes) = lanes(10);
    lanes.has_room_for(3);
    lanes.push(Some(LaneKey::Chat(2)), job(9, 5000));
    (1..=2).for_each(|name| lanes.push(CHAT, one(name, Some(1), 10)));
    tokio::time::sleep(Duration::from_millis(5001)).await;
    assert_eq!(done(&diary), [("begin", 9)], "the third may wait for the ninth's end");
    lanes.push(CHAT, one(3, Some(1), 10));
    lanes.idle().await;
    assert_eq!(done(&diary)[1..], [("begin", 1), ("with", 2), ("with", 3)]);
}

#[tokio::test(start_paused = true)]
async fn a_hand_is_full_with_acks_that_are_late() {
    let (diary, lanes) = lanes(10);
    lanes.has_room_for(32);
    // With three that ended and are not acked the queue counts 32.
    (0..27).for_each(|name| lanes.push(Some(LaneKey::Chat(2)), job(100 + name, 3000)));
    (1..=2).for_each(|name| lanes.push(CHAT, one(name, Some(1), 10)));
    tokio::time::sleep(Duration::from_millis(2999)).await;
    assert_eq!(done(&diary), [("begin", 100)]);
    lanes.push(CHAT, one(3, Some(1), 10));
    lanes.idle().await;
    let of_album: Vec<_> = done(&diary).into_iter().filter(|(_, name)| *name < 100).collect();
    assert_eq!(of_album, [("begin", 1), ("with", 2), ("with", 3)]);
}

#[tokio::test(start_paused = true)]
async fn while_nothing_is_handed_out_for_a_renewal_no_waiting_ends() {
    let (diary, lanes) = lanes(10);
    lanes.has_room_for(100);
    (1..=2).for_each(|name| lanes.push(CHAT, one(name, Some(1), 10)));
    lanes.paused_until(50);
    tokio::time::sleep(2 * PATIENCE).await;
    lanes.renew();
    tokio::time::sleep(2 * PATIENCE).await;
    assert_eq!(done(&diary), []);
    lanes.has_room_for(50);
    (1..=2).for_each(|name| lanes.push(CHAT, one(name, Some(1), 10)));
    tokio::time::sleep(PATIENCE - Duration::from_millis(1)).await;
    assert_eq!(done(&diary), []);
    lanes.push(CHAT, one(3, Some(1), 10));
    tokio::time::sleep(PATIENCE + Duration::from_millis(20)).await;
    assert_eq!(done(&diary), [("begin", 1), ("with", 2), ("with", 3)]);
    // In a pause that only they could end, and in a renewal that never does.
    lanes.paused_until(1);
    (1..=2).for_each(|name| lanes.push(CHAT, one(name, Some(2), 10)));
    tokio::time::sleep(PATIENCE * 2).await;
    assert_eq!(done(&diary).len(), 5);
    lanes.renew();
    lanes.push(CHAT, one(9, Some(3), 10));
    tokio::time::sleep(PATIENCE * 9).await;
    assert_eq!(done(&diary).len(), 5);
    tokio::time::sleep(PATIENCE * 2).await;
    assert_eq!(done(&diary).len(), 6);
    lanes.idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_hand_is_waited_for_no_longer_than_it_makes_a_difference() {
    let (diary, lanes) = lanes(10);
    lanes.has_room_for(2);
    // Neither has anything else to wait for; the second then waits for the first to end, and a moment more: what was
    // kept out is there already.
    lanes.push(CHAT, one(1, Some(1), 10));
    lanes.push(Some(LaneKey::Chat(2)), one(2, Some(2), 10));
    tokio::time::sleep(PATIENCE + Duration::from_millis(1)).await;
    assert_eq!(done(&diary), [("begin", 1)]);
    tokio::time::sleep(PATIENCE / PART_OF_WAIT + Duration::from_millis(20)).await;
    assert_eq!(done(&diary), [("begin", 1), ("begin", 2)]);
    lanes.idle().await;
    // A hand full of others has come since, and the rest has not.
    lanes.push(CHAT, one(3, Some(3), 10));
    for name in 10..20 {
        lanes.push(Some(LaneKey::Chat(name)), job(name as u32, 700));
        tokio::time::sleep(Duration::from_millis(699)).await;
    }
    let begun: Vec<u32> = done(&diary).iter().map(|(_, name)| *name).collect();
    let at = begun.iter().position(|name| *name == 3).unwrap();
    assert!((3..=6).contains(&at), "{begun:?}");
    lanes.idle().await;
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_late_and_gathers_waits_from_its_own_arrival_on() {
    let (diary, lanes) = lanes(9);
    lanes.push(CHAT, job(1, 4950));
    lanes.push(CHAT, one(11, Some(1), 1));
    tokio::time::sleep(Duration::from_millis(4900)).await;
    lanes.push(CHAT, Job { late: true, ..one(10, Some(1), 1) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(lanes.oldest(), Some(Instant::now() - Duration::from_secs(5)), "the one that was joined");
    lanes.push(CHAT, one(12, Some(1), 1));
    lanes.idle().await;
    assert_eq!(done(&diary), [("begin", 1), ("begin", 10), ("with", 11), ("with", 12)]);
}
